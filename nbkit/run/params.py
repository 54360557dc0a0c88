"""Strict parameters: one frozen dataclass per stage, filled from a notebook's globals or a params/ file.

Used by every notebook through `nbkit.end`. Fields are declared with `par`, which keeps the unit, the range
and where the value comes from beside the default.

>>> @dataclass(frozen=True)
... class Demo(Common):
...     steps: int = par(100, "optimizer steps", lo=1)
...     lr: float = par(1e-3, "peak learning rate", lo=0.0, hi=1.0)
>>> coerce(Demo, {"lr": "3e-4"}).lr          # so papermill hands it over: YAML 1.1 reads 3e-4 as text
0.0003
>>> coerce(Demo, {"stpes": 5})
Traceback (most recent call last):
ValueError: Demo: unknown parameter 'stpes' (did you mean 'steps'?); known: lr, profile, seed, steps
"""

from __future__ import annotations

import ast
import dataclasses
import difflib
import importlib
import json
import math
import os
import re
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from nbkit.run import yaml_text
from nbkit.run.files import is_clutter, of_project

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_SAFE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
SOURCES = ("our choice", "report", "released config")
ROLES = ("scientific", "nuisance", "fixed")


def par(
    default: Any,
    doc: str,
    *,
    lo: float | None = None,
    hi: float | None = None,
    choices: Sequence[Any] | None = None,
    source: str = "our choice",
    role: str = "scientific",
) -> Any:
    """A schema field: default, meaning with unit, inclusive range or choices, where the value comes from."""
    if source not in SOURCES or role not in ROLES:
        raise ValueError(
            f"par: source must be one of {SOURCES}, role one of {ROLES}; got {source!r}, {role!r}"
        )
    meta = {"doc": doc, "lo": lo, "hi": hi, "choices": choices, "source": source, "role": role}
    if isinstance(default, list):
        return dataclasses.field(default_factory=lambda: list(default), metadata=meta)
    return dataclasses.field(default=default, metadata=meta)


@dataclass(frozen=True)
class Common:
    """What every stage has. A schema may add `check(self)` raising ValueError for rules across fields."""

    profile: str = par(
        "small", "which params/<profile>/ and outputs/<profile>/ this run belongs to", role="fixed"
    )
    seed: int = par(0, "seed of python, numpy and torch", lo=0, hi=2**32 - 1, role="nuisance")

    def upstream(self) -> tuple[str, ...]:
        """The stages that the notebook reads with these parameters, by their full names."""
        return ()


SchemaT = TypeVar("SchemaT", bound=Common)


def nearest(name: str, known: Sequence[str]) -> str:
    """ " (did you mean 'steps'?)", or "" when nothing is close."""
    close = difflib.get_close_matches(name, list(known), n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""


def coerce(schema: type[SchemaT], values: Mapping[str, Any], stage: str = "") -> SchemaT:
    """Build the frozen `schema` from plain values; missing keys take their defaults. `stage` is what errors
    name, since a user knows notebooks, not classes; "": the class.

    Raises one ValueError listing every problem: unknown key (with the nearest known one), wrong type, out of
    range, not a choice, NaN or infinity, and what the schema's own `check` refuses.
    """
    title, hints = stage or schema.__name__, typing.get_type_hints(schema)
    fields = {f.name: f for f in dataclasses.fields(schema)}
    problems, clean = [], {}
    for name, value in values.items():
        if name not in fields:
            known = ", ".join(sorted(fields))
            problems.append(f"unknown parameter {name!r}{nearest(name, list(fields))}; known: {known}")
            continue
        try:
            clean[name] = _convert(name, value, hints[name])
            _check_range(name, clean[name], fields[name].metadata)
        except ValueError as error:
            problems.append(str(error))
    if problems:
        raise ValueError("\n".join(f"{title}: {problem}" for problem in problems))
    config = schema(**clean)
    if not _SAFE_NAME.fullmatch(config.profile):
        raise ValueError(f"{title}: profile={config.profile!r} is not a plain folder name, such as 'small'")
    if callable(check := getattr(config, "check", None)):
        try:
            check()
        except ValueError as error:
            raise ValueError(f"{title}: {error}") from None
    return config


def _convert(name: str, value: Any, hint: Any) -> Any:
    """`value` as exactly the type `hint` names, or ValueError saying what was given and wanted."""
    if isinstance(hint, types.UnionType) or typing.get_origin(hint) is typing.Union:
        if value is None:
            return None
        hint = next(arm for arm in typing.get_args(hint) if arm is not type(None))
    if isinstance(value, yaml_text.Unclear):
        wanted = getattr(hint, "__name__", "list")
        raise ValueError(f"{name}={value} {value.why}, wanted {wanted}; {value.advice(name, wanted)}")
    if typing.get_origin(hint) is list:
        if not isinstance(value, list | tuple):
            raise ValueError(f"{name}={value!r} is {_kind(value)}, wanted a list; write [{value!r}]")
        (item,) = typing.get_args(hint)
        return [_convert(f"{name}[{i}]", element, item) for i, element in enumerate(value)]
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        value = _as_float(name, value)
    if hint is float and isinstance(value, str) and _NUMBER.fullmatch(value.strip()):
        value = float(value)  # papermill, whose YAML 1.1 reads 1e-3 as a string
    if type(value) is not hint:
        raise ValueError(f"{name}={value!r} is {_kind(value)}, wanted {hint.__name__}{_hint(value, hint)}")
    if hint is float and not math.isfinite(value):
        raise ValueError(f"{name}={value!r} is not finite; give a number")
    return value


def _as_float(name: str, value: int) -> float:
    try:
        return float(value)
    except OverflowError:
        raise ValueError(
            f"{name}: an integer of {value.bit_length():,} bits, too large for a float"
        ) from None


def _kind(value: Any) -> str:
    return "None" if value is None else f"a {type(value).__name__}"


def _hint(value: Any, hint: type) -> str:
    if hint is bool and isinstance(value, str) and value.lower() in ("true", "false"):
        return f"; write {value.lower()} without quotes in YAML (papermill -p: {value.capitalize()})"
    if hint is int and isinstance(value, str) and _NUMBER.fullmatch(value.strip()):
        return "; write the whole number in plain digits, without quotes or exponent"
    if hint is int and isinstance(value, float) and value.is_integer():
        return f"; write {int(value)}"
    return ""


def _check_range(name: str, value: Any, meta: Mapping[str, Any]) -> None:
    for item in value if isinstance(value, list) else [value]:
        if item is None:
            continue
        lo, hi, choices = meta.get("lo"), meta.get("hi"), meta.get("choices")
        if choices is not None and item not in choices:
            close = nearest(item, [c for c in choices if isinstance(c, str)]) if isinstance(item, str) else ""
            raise ValueError(f"{name}={item!r} is not one of {list(choices)}{close}")
        if (lo is not None and item < lo) or (hi is not None and item > hi):
            low, high = "-inf" if lo is None else lo, "inf" if hi is None else hi
            raise ValueError(f"{name}={item!r} is out of range [{low}, {high}]: {meta['doc']}")


def schemas() -> dict[str, type[Common]]:
    """Stage name -> schema, in stage order, from nbkit.run.schemas:SCHEMAS or NBKIT_SCHEMAS="module:ATTR"."""
    module, _, attribute = os.environ.get("NBKIT_SCHEMAS", "nbkit.run.schemas:SCHEMAS").partition(":")
    return getattr(importlib.import_module(module), attribute or "SCHEMAS")


def resolve_stage(text: str) -> str:
    """The full name of "02", "02_pretrain" or "pretrain"; else a ValueError listing the stages."""
    names = list(schemas())
    matches = [n for n in names if text in (n, n.partition("_")[0], n.partition("_")[2])]
    if len(matches) != 1:
        raise ValueError(f"unknown stage {text!r}{nearest(text, names)}; stages: {', '.join(names)}")
    return matches[0]


def profiles() -> list[str]:
    """Profiles that have a params/ folder."""
    folder = of_project("params")
    return sorted(p.name for p in folder.iterdir() if p.is_dir() and not is_clutter(p.name))


def load_profile(profile: str, stage: str) -> dict[str, Any]:
    """params/<profile>/<stage>.yaml as a flat dict (not yet coerced).

    The file must say `profile: <its folder>`, or plain papermill would write into another profile's outputs.
    """
    if profile not in profiles():
        known = profiles()
        raise ValueError(
            f"unknown profile {profile!r}{nearest(profile, known)}; profiles: {', '.join(known)}"
        )
    path = of_project(f"params/{profile}/{stage}.yaml")
    if not path.is_file():
        raise ValueError(f"profile {profile!r} has no {path.name}; add {path} or choose another profile")
    values = read_yaml(path)
    if values.get("profile") != profile:
        raise ValueError(f"{path}: has profile={values.get('profile')!r}; write `profile: {profile}` in it")
    return values


def read_yaml(path: Path) -> dict[str, Any]:
    """A flat YAML mapping (rules: yaml_text.py); equal keys, nesting, keys that are no text and broken syntax
    are a ValueError naming the file."""
    try:
        found = yaml_text.read_mapping(path.read_text(encoding="utf-8-sig"))
    except ValueError as error:  # UnicodeDecodeError is one
        raise ValueError(f"{path}: {error}") from None
    if not isinstance(found, dict) or any(isinstance(v, dict) for v in found.values()):
        raise ValueError(
            f"{path}: wanted a flat mapping `key: value`, got {type(found).__name__} or nested keys"
        )
    if odd := [key for key in found if type(key) is not str]:
        raise ValueError(f"{path}: the key {odd[0]!r} is no name of a parameter")
    return found


def parameters_cell(notebook: str | Path) -> dict[str, tuple[str, Any]]:
    """name -> (annotation, value) of the cell tagged "parameters".

    Raises ValueError unless there is one such cell and it holds only `name: type = literal` lines.
    """
    cells = json.loads(Path(notebook).read_text(encoding="utf-8"))["cells"]
    tagged = [c for c in cells if "parameters" in c["metadata"].get("tags", [])]
    if len(tagged) != 1:
        raise ValueError(f"{notebook}: wanted exactly one cell tagged 'parameters', found {len(tagged)}")
    found: dict[str, tuple[str, Any]] = {}
    for node in ast.parse("".join(tagged[0]["source"])).body:
        try:
            if not (isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value):
                raise ValueError("not an annotated assignment")
            value = ast.literal_eval(node.value)
        except ValueError:
            line = ast.unparse(node)
            raise ValueError(
                f"{notebook}: parameters cell may hold only `name: type = literal`; got `{line}`"
            ) from None
        if node.target.id in found:
            raise ValueError(f"{notebook}: parameter {node.target.id!r} stands twice in the parameters cell")
        found[node.target.id] = (ast.unparse(node.annotation), value)
    return found
