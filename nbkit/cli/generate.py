"""Writes what repeats the schemas: the parameters cell of each notebook and the files of each profile.

A parameter's name, type, default, meaning and range stand in nbkit/run/schemas/ only. A profile is one file,
params/<profile>.yaml, with what differs from those defaults, since somebody chooses its values together, for
one machine or purpose:

    about: "one GPU, about an hour"        # stands at the head of each file of the profile
    mark_sources: true                     # optional: the comment of every value says where it comes from
    02_pretrain:
      batch: 64
      hidden: {value: 2560, source: "released config"}

From both, `nbkit params --sync` writes the parameters cells of notebooks/ (the defaults) and
params/<profile>/<stage>.yaml (all parameters, so that plain `papermill -f` can read them); `--check` only
compares.
"""

from __future__ import annotations

import json
import textwrap
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nbkit.run import files, params, yaml_text
from nbkit.run.schemas.base import SOURCES, Common

WIDTH = 110  # of a line in a notebook, as ruff wants it
OUR_CHOICE = SOURCES[0]  # goes without saying


@dataclass(frozen=True)
class Profile:
    """params/<name>.yaml: what a profile changes of the defaults, and where those values come from."""

    name: str
    about: str
    mark_sources: bool = False
    values: dict[str, dict[str, Any]] = field(default_factory=dict)  # stage -> parameter -> value
    sources: dict[str, dict[str, str]] = field(default_factory=dict)  # stage -> parameter -> source


@dataclass(frozen=True)
class Written:
    """A generated text: where it belongs, what stands there (None: nothing) and what should."""

    path: Path
    found: str | None
    wanted: str


def sync() -> list[Path]:
    """Write every cell and file that differs; returns their paths. Raises ValueError as `texts` does."""
    # Compared first: a file whose text is right keeps its time of change.
    differing = [text for text in texts() if text.found != text.wanted]
    for text in differing:
        if text.path.suffix == ".ipynb":
            content = files.read_json(text.path)
            params.tagged_cell(content, text.path)["source"] = text.wanted.splitlines(keepends=True)
            whole = json.dumps(content, indent=1, ensure_ascii=False) + "\n"
        else:
            text.path.parent.mkdir(exist_ok=True)
            whole = text.wanted
        files.atomic_write(text.path, whole)
    return [text.path for text in differing]


def differences() -> list[str]:
    """One line for each cell or file that `sync` would write, with the first line that differs."""
    return [_first_difference(text) for text in texts() if text.found != text.wanted]


def texts() -> Iterator[Written]:
    """All that is generated. Raises ValueError, naming the file, for a params/<profile>.yaml that is wrong,
    a profile's folder without one, or a notebook without a parameters cell."""
    root, schemas = files.project_root(), params.schemas()
    for stage, schema in schemas.items():
        # Each notebook's cell holds the defaults, each profile's file all values of a stage.
        notebook = root / "notebooks" / f"{stage}.ipynb"
        source = params.tagged_cell(files.read_json(notebook), notebook)["source"]
        yield Written(notebook, "".join(source), cell(schema))
    for profile in profiles(root / "params"):
        for stage, schema in schemas.items():
            path = root / "params" / profile.name / f"{stage}.yaml"
            found = path.read_text(encoding="utf-8") if path.is_file() else None
            yield Written(path, found, profile_file(profile, stage, schema))


def profiles(folder: Path) -> list[Profile]:
    """The profiles that have a file in `folder`; ValueError for one that has only the generated folder."""
    found = [read_profile(path) for path in files.named(folder, "*.yaml")]
    # A folder without its file would keep old values for ever: nothing writes it any more.
    if lost := sorted(set(params.profiles()) - {profile.name for profile in found}):
        raise ValueError(
            f"{folder / lost[0]} has no {lost[0]}.yaml beside it, from which its files are written; "
            "write one with what differs from the defaults, or remove the folder"
        )
    return found


def read_profile(path: Path) -> Profile:
    """params/<profile>.yaml. Raises ValueError, naming the file, for broken YAML, an unknown stage or
    parameter, a value that the schema refuses, and a source that is none of SOURCES."""
    content = params.read_yaml(path, nested=True)
    about, mark = content.pop("about", None), content.pop("mark_sources", False)
    if not isinstance(about, str) or not isinstance(mark, bool):
        raise ValueError(
            f"{path}: got about={about!r} and mark_sources={mark!r}, wanted a text that says what the "
            "profile is for, and true or false"
        )
    profile = Profile(path.stem, _one_line(about), mark)
    for stage, changed in content.items():
        if stage not in (known := params.schemas()):
            near = params.nearest(stage, list(known))
            raise ValueError(f"{path}: unknown stage {stage!r}{near}; stages: {', '.join(known)}")
        if not isinstance(changed, dict):
            raise ValueError(f"{path}: {stage}: got {changed!r}, wanted `name: value` lines below it")
        # {value: 2560, source: "report"} is taken apart; the schema then checks all values together.
        with_source = {name: _checked_source(path, name, v) for name, v in changed.items() if type(v) is dict}
        profile.sources[stage] = {name: _one_line(v["source"]) for name, v in with_source.items()}
        values = changed | {name: v["value"] for name, v in with_source.items()}
        config = params.coerce(known[stage], values | {"profile": profile.name}, f"{path}: {stage}")
        profile.values[stage] = {name: vars(config)[name] for name in values}
    return profile


def _checked_source(path: Path, name: str, entry: Mapping[str, Any]) -> Mapping[str, Any]:
    """`entry` if it is {value: ..., source: ...} with a source that begins as one of SOURCES."""
    if set(entry) != {"value", "source"} or not str(entry["source"]).startswith(SOURCES):
        raise ValueError(
            f"{path}: {name}: got {dict(entry)!r}, wanted a value, or {{value: ..., source: ...}} with a "
            f"source that begins with {', '.join(SOURCES)}"
        )
    return entry


def cell(schema: type[Common]) -> str:
    """The parameters cell: `name: type = default  # meaning` for each field, as ruff formats it."""
    lines = []
    for name, default in vars(schema()).items():
        # The type as it is written: `int`, or `list[str]` with what it holds.
        kind = schema.model_fields[name].annotation
        start = f"{name}: {str(kind) if typing.get_origin(kind) else kind.__name__} = "
        comment = _with_source(schema.about(name)["doc"], schema.about(name)["source"])
        if len(line := f"{start}{python_text(default)}  # {comment}") <= WIDTH:
            lines.append(line)
            continue
        # Too long for one line: the meaning goes above it, and a long list gets a line per item.
        lines += [f"# {part}" for part in textwrap.wrap(comment, WIDTH - 2)]
        line = start + python_text(default)
        if len(line) > WIDTH and isinstance(default, list):
            line = "\n".join([start + "[", *(f"    {python_text(item)}," for item in default), "]"])
        lines.append(line)
    return "\n".join(lines)


def profile_file(profile: Profile, stage: str, schema: type[Common]) -> str:
    """params/<profile>/<stage>.yaml: `name: value  # meaning` for each field."""
    values = vars(schema()) | {"profile": profile.name} | profile.values.get(stage, {})
    lines = [
        f"# {profile.name} / {stage}: {profile.about}",
        f"# Written by `nbkit params --sync`; change nbkit/run/schemas/ or params/{profile.name}.yaml.",
    ]
    for name, value in values.items():
        comment = schema.about(name)["doc"]
        # A source that the schema gives is that of its default, not of another value.
        default = schema.about(name)["source"] if value == schema.model_fields[name].default else OUR_CHOICE
        source = profile.sources.get(stage, {}).get(name, default)
        if not profile.mark_sources:
            comment = _with_source(comment, source)
        elif name not in Common.model_fields:  # these belong to the run, not to the recipe
            comment = f"{source} | {comment}"
        lines.append(f"{name}: {yaml_value(value)}  # {comment}")
    return "\n".join(lines) + "\n"


def _one_line(text: str) -> str:
    """The text as it can stand in a comment."""
    return " ".join(text.split())


def _with_source(doc: str, source: str) -> str:
    return doc if source == OUR_CHOICE else f"{doc} [{source}]"


def python_text(value: Any) -> str:
    """A value as Python: double quotes, and 40_000 for numbers of five digits and more."""
    if isinstance(value, list):
        return f"[{', '.join(map(python_text, value))}]"
    if isinstance(value, str):
        return yaml_text.quoted(value)
    return f"{value:_}" if isinstance(value, int) and abs(value) >= 10_000 else repr(value)


def yaml_value(value: Any) -> str:
    """A value as YAML that 1.1 and 1.2 read alike: text in quotes, 5.0e-5 with its point."""
    if isinstance(value, list):
        return f"[{', '.join(map(yaml_value, value))}]"
    if isinstance(value, str):
        return yaml_text.quoted(value)
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    digits, exponent, power = repr(value).replace("e-0", "e-").partition("e")
    return digits + (".0" if exponent and "." not in digits else "") + exponent + power


def _first_difference(text: Written) -> str:
    """'notebooks/02_pretrain.ipynb, parameters cell, line 17: has `...`, wanted `...`'."""
    name = text.path.relative_to(files.project_root()).as_posix()
    if text.found is None:
        return f"{name}: is missing"
    place = f"{name}, parameters cell" if text.path.suffix == ".ipynb" else name
    found, wanted = text.found.split("\n"), text.wanted.split("\n")
    common = min(len(found), len(wanted))
    at = next((i for i in range(common) if found[i] != wanted[i]), common)
    has, wants = (f"`{lines[at]}`" if at < len(lines) else "no such line" for lines in (found, wanted))
    return f"{place}, line {at + 1}: has {has}, wanted {wants}"
