"""`nbkit compare RUN_A RUN_B`: what differs between two runs, and do their numbers agree?

    nbkit compare small /from/a/colleague/small
    nbkit compare outputs/small/05_dpd /elsewhere/small/05_dpd --json differences.json

What two runs were made with is listed and decides nothing; whether their numbers agree is decided by the
table in tolerances.py.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from nbkit.cli.check import places, settings, tolerances, trees
from nbkit.run import files, params

if TYPE_CHECKING:
    from nbkit.cli.check.places import Place, Stage
    from nbkit.cli.check.settings import Setting
    from nbkit.cli.check.tolerances import Judged

SAME = "Made with the same parameters, code, data, packages and kind of machine."
MOST_LINES = 40  # of disagreeing numbers on the screen; --json holds all


class Comparison(NamedTuple):
    """Two runs side by side. `missing`: (stage, what is wrong in A, in B) of stages that cannot be compared;
    `judged`: (stage, number) of all that can."""

    settings: list[Setting]
    judged: list[tuple[str, Judged]]
    missing: list[tuple[str, str, str]]

    @property
    def agree(self) -> bool:
        return not self.missing and all(one.agrees is not False for _, one in self.judged)


def add(commands: Any) -> None:
    """Add the command to the parser's `commands`."""
    text = "say what differs between two runs, and whether their numbers agree within tolerances"
    rules = [f"  {kind:<9} {told}" for kind, told in tolerances.TOLERANCES.items()]
    command = commands.add_parser(
        "compare",
        help=text,
        description=text + ". Exit code 0 where they agree, 1 where not, 2 for wrong usage.",
        epilog="\n".join(["tolerances:", *rules]),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    for name in ("RUN_A", "RUN_B"):
        command.add_argument(name.lower(), metavar=name, help="a profile or the folder of a run")
    command.add_argument("--json", metavar="FILE", help="also write everything that was compared to FILE")
    command.set_defaults(action=run)


def run(arguments: argparse.Namespace) -> int:
    """Compare and print; returns the exit code."""
    a, b = places.find(arguments.run_a), places.find(arguments.run_b)
    if a.home == b.home and a.stages == b.stages:
        raise ValueError(f"RUN_A and RUN_B are both {a.home}; give two different runs")
    for place in (a, b):
        if all(place.read(stage).state == "missing" for stage in place.stages):
            raise ValueError(
                f"{place.home} holds no published stage; make one with `nbkit run`, or name another"
            )
    found = compare(a, b)
    print(f"A  {a.home}\nB  {b.home}\n")
    print(*text(found), sep="\n")
    if arguments.json:
        files.write_json(arguments.json, {"a": str(a.home), "b": str(b.home), **as_data(found)})
        print(f"written: {arguments.json}")
    return 0 if found.agree else 1


def compare(a: Place, b: Place) -> Comparison:
    """Stage by stage; one that neither run has published is left out, one that only one has is missing."""
    found = Comparison([], [], [])
    for name in [stage for stage in params.schemas() if stage in {*a.stages, *b.stages}]:
        one, other = a.read(name), b.read(name)
        if one.state == other.state == "missing":
            continue
        told = [_trouble(stage) for stage in (one, other)]
        if any(told):
            found.missing.append((name, *(trouble or "published" for trouble in told)))
            continue
        found.settings.extend(settings.differing(name, one.manifest, other.manifest))
        # Data is no result: its content must be equal, whatever else differs.
        for entry, *hashes in settings.other_data(one.manifest, other.manifest):
            found.judged.append((name, tolerances.Judged(("input", entry), "data", *hashes, False)))
        same = settings.same_machine(one.manifest, other.manifest)
        judged = tolerances.judge(one.metrics, other.metrics, same)
        found.judged.extend((name, number) for number in judged)
    return found


def _trouble(stage: Stage) -> str:
    """Why the numbers of a stage cannot be compared; "" when they can."""
    if stage.state != "complete":
        return f"{stage.state}, {stage.reason}"
    path, wanted = stage.folder / "metrics.json", stage.manifest["outputs"]["metrics.json"]["sha256"]
    if not path.is_file() or files.sha256(path) != wanted:
        return "metrics.json is not what was published; `nbkit verify` says more"
    return ""


def text(found: Comparison) -> list[str]:
    """The lines that are printed: what differs in the making, in the numbers, and the verdict."""
    lines = ["What they were made with:"] if found.settings else [SAME]
    lines += _table([(", ".join(stages), what, a, b) for (what, a, b), stages in _by_setting(found).items()])
    lines += [f"\n{stage} cannot be compared. A: {a}. B: {b}" for stage, a, b in found.missing]
    wrong = [(stage, one) for stage, one in found.judged if one.agrees is False]
    if wrong:
        lines += ["", "Numbers that do not agree:"]
        rows = [(s, f"{'.'.join(one.path)} ({one.kind})", _told(one.a), _told(one.b)) for s, one in wrong]
        lines += _table(rows[:MOST_LINES])
        if len(rows) > MOST_LINES:
            lines.append(f"... and {len(rows) - MOST_LINES} more; --json FILE writes all")
    lines += ["", _summary(found)]
    return lines


def as_data(found: Comparison) -> dict[str, Any]:
    """The comparison as plain data: `settings`, `missing`, `tolerances`, `numbers` that are not identical,
    `counts` by outcome, `agree`."""
    unlike = [(stage, one) for stage, one in found.judged if one.a != one.b or one.agrees is False]
    return {
        "agree": found.agree,
        "counts": dict(_counts(found)),
        "tolerances": tolerances.TOLERANCES,
        "settings": [setting._asdict() for setting in found.settings],
        "missing": [{"stage": stage, "a": a, "b": b} for stage, a, b in found.missing],
        "numbers": [
            {"stage": stage, "path": list(one.path), "kind": one.kind, "agrees": one.agrees}
            | {side: value for side, value in (("a", one.a), ("b", one.b)) if value is not trees.ABSENT}
            for stage, one in unlike
        ],
    }


def _by_setting(found: Comparison) -> dict[tuple[str, str, str], list[str]]:
    """What differs alike in several stages stands in one line: a package, the machine."""
    together: dict[tuple[str, str, str], list[str]] = {}
    for stage, what, a, b in found.settings:
        together.setdefault((what, _plain(a), _plain(b)), []).append(stage.partition("_")[0])
    return together


def _table(rows: Sequence[tuple[str, str, str, str]]) -> list[str]:
    """Rows of stage, what, A and B with columns as wide as their widest entry, 60 characters at most."""
    if not rows:
        return []
    rows = [("stage", "what", "A", "B"), *rows]
    widths = [min(60, max(len(row[i]) for row in rows)) for i in range(3)]
    return ["  " + "  ".join([f"{row[i]:<{widths[i]}}" for i in range(3)] + [row[3]]) for row in rows]


def _plain(value: Any) -> str:
    return value if isinstance(value, str) and len(value) <= 60 else trees.shown(value)


def _told(value: Any) -> str:
    """A value for people: an accuracy as a percentage with its interval."""
    if isinstance(value, dict):
        return f"{value['mean']:.4g} [{value['low']:.4g}, {value['high']:.4g}] n={value['n']}"
    return trees.shown(value)


def _counts(found: Comparison) -> Counter:
    counts = Counter({"identical": 0, "within tolerance": 0, "do not agree": 0, "not judged": 0})
    for _, one in found.judged:
        if one.agrees is None:
            counts["not judged"] += 1
        elif not one.agrees:
            counts["do not agree"] += 1
        else:
            counts["identical" if one.a == one.b else "within tolerance"] += 1
    return counts


def _summary(found: Comparison) -> str:
    counts = ", ".join(f"{count} {name}" for name, count in _counts(found).items())
    verdict = "The runs agree" if found.agree else "The runs do not agree"
    return f"{verdict}: of {len(found.judged)} numbers and texts {counts}."
