"""What two runs of a stage were made with: parameters, code, data, packages, machine. Used by
compare_command.py."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

DATA = "01_data_mix"  # what it makes must be equal, not only alike: it is no result of training
MACHINE = ("cpu", "device", "precision")  # one kind of machine: the same sums, in the same number format
BESIDE = ("python", "platform", "cores", "threads")


class Setting(NamedTuple):
    """Something that differs between two runs of a stage."""

    stage: str
    what: str
    a: Any
    b: Any


def same_machine(a: Mapping[str, Any], b: Mapping[str, Any]) -> bool:
    """Did two runs of a stage compute on machines of one kind?"""
    return all(a.get(name) == b.get(name) for name in MACHINE)


def differing(stage: str, a: Mapping[str, Any], b: Mapping[str, Any]) -> Iterator[Setting]:
    """Everything that differs between two manifests of a stage and may explain other results."""
    # Parameters first: what a user changed on purpose. A parameter that only one version has is "absent".
    for name in sorted({*a["params"], *b["params"]} - {"profile"}):
        one, other = a["params"].get(name, "absent"), b["params"].get(name, "absent")
        if one != other:
            yield Setting(stage, f"parameter {name}", one, other)
    # The code: its commit, the notebook, and how many modules do something else.
    if modules := sorted(n for n in {*a["code"], *b["code"]} if a["code"].get(n) != b["code"].get(n)):
        more = f" and {len(modules) - 3} more" if len(modules) > 3 else ""
        yield Setting(stage, f"code: {', '.join(modules[:3])}{more}", _commit(a), _commit(b))
    if a["notebook"] != b["notebook"]:
        yield Setting(stage, "notebook", a["notebook"][:9], b["notebook"][:9])
    # What it read, by content.
    for name in sorted({*a["inputs"], *b["inputs"]}):
        one, other = (_hash(manifest["inputs"].get(name)) for manifest in (a, b))
        if one != other:
            yield Setting(stage, f"input {name}", one[:9], other[:9])
    # Packages and machine.
    for name in sorted({*a["packages"], *b["packages"]}):
        one, other = a["packages"].get(name), b["packages"].get(name)
        if one != other:
            yield Setting(stage, f"package {name}", one or "absent", other or "absent")
    for name in (*MACHINE, *BESIDE):
        if a.get(name) != b.get(name):
            yield Setting(stage, name, a.get(name), b.get(name))


def other_data(a: Mapping[str, Any], b: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """(input, sha256 in a, in b) of the data of 01 that differs; its metrics are compared as numbers."""
    found = []
    for name in sorted({*a["inputs"], *b["inputs"]}):
        if name.startswith(f"{DATA}/") and not name.endswith("metrics.json"):
            one, other = (_hash(manifest["inputs"].get(name)) for manifest in (a, b))
            found += [(name, one, other)] if one != other else []
    return found


def _hash(entry: Mapping[str, str] | None) -> str:
    return entry["sha256"] if entry else "absent"


def _commit(manifest: Mapping[str, Any]) -> str:
    git = manifest["git"]
    return (git["commit"] or "no commit")[:9] + ("+dirty" if git["dirty"] else "")
