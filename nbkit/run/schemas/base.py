"""What the parameters of every stage share: a strict, frozen pydantic model, and errors in plain words.

Fields are declared with `par`, which keeps the meaning with its unit, the range and where the value comes
from beside the default. Imported only where a run begins, since pydantic takes 0.1 s to import.

>>> class Demo(Common):
...     steps: int = par(100, "optimizer steps", lo=1)
...     lr: float = par(1e-3, "peak learning rate", lo=0.0, hi=1.0)
>>> Demo.coerced({"lr": "3e-4"}).lr          # so papermill hands it over: YAML 1.1 reads 3e-4 as text
0.0003
>>> Demo.coerced({"stpes": 5})
Traceback (most recent call last):
ValueError: Demo: unknown parameter 'stpes' (did you mean 'steps'?); known: lr, profile, seed, steps
"""

from __future__ import annotations

import re
import types
import typing
from collections.abc import Mapping, Sequence
from typing import Any, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from nbkit.run import yaml_text
from nbkit.run.params import nearest

SOURCES = ("our choice", "report", "released config")
ROLES = ("scientific", "nuisance", "fixed")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_SAFE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
_TYPE_ERRORS = {
    "bool_type": bool,
    "float_type": float,
    "int_type": int,
    "string_type": str,
}  # pydantic's names


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
    """A field: default, meaning with unit, inclusive range or choices (of a list: of each item), where the
    default comes from (SOURCES) and what varying it would be for (ROLES)."""
    if source not in SOURCES or role not in ROLES:
        raise ValueError(
            f"par: source must be one of {SOURCES}, role one of {ROLES}; got {source!r}, {role!r}"
        )
    about = {"doc": doc, "lo": lo, "hi": hi, "choices": choices, "source": source, "role": role}
    return Field(default, description=doc, json_schema_extra=about)


class Common(BaseModel):
    """What every stage has. A schema may override `check`, raising ValueError for rules across fields."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid", allow_inf_nan=False, defer_build=True)

    profile: str = par(
        "small", "which params/<profile>/ and outputs/<profile>/ this run belongs to", role="fixed"
    )
    seed: int = par(0, "seed of python, numpy and torch", lo=0, hi=2**32 - 1, role="nuisance")

    def check(self) -> None:
        """Rules across fields; asked only when each field by itself is right."""

    def upstream(self) -> tuple[str, ...]:
        """The stages that the notebook reads with these parameters, by their full names."""
        return ()

    @classmethod
    def about(cls, name: str) -> Mapping[str, Any]:
        """What `par` was told of a field: doc, lo, hi, choices, source, role."""
        return typing.cast("Mapping[str, Any]", cls.model_fields[name].json_schema_extra)

    @classmethod
    def coerced(cls, values: Mapping[str, Any], stage: str = "") -> Self:
        """The parameters from plain values; missing keys take their defaults. `stage` is what errors name,
        since a user knows notebooks, not classes; "": the class.

        Raises one ValueError with a line per problem: unknown key (with the nearest known one), wrong type,
        out of range, not a choice, NaN or infinity, and what `check` refuses.
        """
        try:
            return cls.model_validate(dict(values))
        except ValidationError as error:
            order = list(values)
            # One line per parameter, in the order they were given: the first problem of each.
            found: dict[Any, str] = {}
            for problem in error.errors(include_url=False):
                name = problem["loc"][0] if problem["loc"] else None  # None: of `check`
                found.setdefault(name, _in_words(cls, problem, values))  # of a list, the first wrong item
            lines = [
                found[name] for name in sorted(found, key=lambda n: order.index(n) if n in order else -1)
            ]
        raise ValueError("\n".join(f"{stage or cls.__name__}: {line}" for line in lines))

    @field_validator("*", mode="before")
    @classmethod
    def _read(cls, value: Any, info: ValidationInfo) -> Any:
        name = typing.cast("str", info.field_name)
        return _prepared(name, value, cls.model_fields[name].annotation, cls.about(name)["choices"])

    @field_validator("*")
    @classmethod
    def _in_range(cls, value: Any, info: ValidationInfo) -> Any:
        name = typing.cast("str", info.field_name)
        _check_range(name, value, cls.about(name))
        return value

    @field_validator("profile")
    @classmethod
    def _is_folder_name(cls, value: str) -> str:
        if not _SAFE_NAME.fullmatch(value):
            raise ValueError(f"profile={value!r} is not a plain folder name, such as 'small'")
        return value

    @model_validator(mode="after")
    def _follows_rules(self) -> Self:
        self.check()
        return self


class Computing(Common):
    """What every stage has that runs a model."""

    precision: str = par(
        "auto",
        "bf16 or fp32; auto: bf16 where the machine multiplies it faster, else fp32",
        choices=["auto", "bf16", "fp32"],
        role="nuisance",
    )


def _prepared(
    name: str, value: Any, kind: Any, choices: Sequence[Any] | None = None, whole: Any = None
) -> Any:
    """`value` before pydantic sees it, strictly: a tuple as a list, and for a float an integer or a number
    that YAML 1.1 reads as text (1e-3). A word that YAML 1.1 and 1.2 read differently is refused. `whole`: the
    list that it is an item of."""
    if isinstance(kind, types.UnionType):  # int | None
        # `int | None` is read as int where it is no None.
        kind = next(arm for arm in typing.get_args(kind) if arm is not type(None))
    if isinstance(value, yaml_text.Unclear):
        wanted, given = kind.__name__, value if whole is None else whole
        advice = value.advice(wanted)
        if kind is str or kind == list[str] and value:
            advice = _as_text(name.partition("[")[0], given if kind is str else [value], choices)
        raise ValueError(f"{name}={value} {value.why}, wanted {wanted}; {advice}")
    value = yaml_text.plain(value)
    if typing.get_origin(kind) is list and isinstance(value, list | tuple):
        (item,) = typing.get_args(kind)
        return [
            _prepared(f"{name}[{i}]", element, item, choices, list(value)) for i, element in enumerate(value)
        ]
    # papermill hands 1e-3 over as text, since YAML 1.1 wants 1.0e-3.
    if kind is float and isinstance(value, str) and _NUMBER.fullmatch(value.strip()):
        return float(value)
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        try:
            return float(value)
        except OverflowError:
            raise ValueError(
                f"{name}: an integer of {value.bit_length():,} bits, too large for a float"
            ) from None
    return value


def _as_text(name: str, value: Any, choices: Sequence[Any] | None) -> str:
    """What to write where text, or a list of it, is wanted: what was given, quoted, or one of the choices."""
    items = value if isinstance(value, list) else [value]
    if choices and not all(yaml_text.written(item) in choices for item in items):
        return f"write one of {list(choices)}"
    return yaml_text.in_quotes(name, value)


def _check_range(name: str, value: Any, about: Mapping[str, Any]) -> None:
    """ValueError unless `value`, or each item of it, is one of the choices and within the range."""
    lo, hi, choices = about["lo"], about["hi"], about["choices"]
    for item in value if isinstance(value, list) else [value]:
        if item is None:
            continue
        if choices is not None and item not in choices:
            close = nearest(item, [c for c in choices if isinstance(c, str)]) if isinstance(item, str) else ""
            raise ValueError(f"{name}={item!r} is not one of {list(choices)}{close}")
        if (lo is not None and item < lo) or (hi is not None and item > hi):
            low, high = "-inf" if lo is None else lo, "inf" if hi is None else hi
            raise ValueError(f"{name}={item!r} is out of range [{low}, {high}]: {about['doc']}")


def _in_words(schema: type[Common], problem: Mapping[str, Any], values: Mapping[str, Any]) -> str:
    """One error of pydantic as a line: the key, what was given, what is wanted, what to write instead."""
    kind, value = problem["type"], problem["input"]
    if kind == "value_error":  # raised here or by a schema, in words already
        return str(problem["ctx"]["error"])
    first, *inside = problem["loc"]
    name = first + "".join(f"[{i}]" for i in inside)
    if kind == "extra_forbidden":
        known = list(schema.model_fields)
        return f"unknown parameter {name!r}{nearest(name, known)}; known: {', '.join(sorted(known))}"
    if kind == "finite_number":
        return f"{name}={value!r} is not finite; give a number"
    given = "None" if value is None else f"a {type(value).__name__}"
    if kind == "list_type":
        return f"{name}={value!r} is {given}, wanted a list; {_as_list(first, values[first], schema)}"
    if kind not in _TYPE_ERRORS:
        return f"{name}={value!r}: {problem['msg']}"
    wanted = _TYPE_ERRORS[kind]
    if wanted is str:
        as_given = values[first][inside[0]] if inside else values[first]
        advice = "write the text without brackets or braces, or in quotes where they belong to it"
        if not isinstance(as_given, (list, dict)):
            advice = _as_text(first, values[first], schema.about(first)["choices"])
        return f"{name}={_shown(as_given)} is {given}, wanted str; {advice}"
    return f"{name}={_shown(value)} is {given}, wanted {wanted.__name__}{_advice(value, wanted)}"


def _shown(value: Any) -> str:
    """A value as a user wrote it, as far as that is known."""
    if isinstance(value, list):
        return f"[{', '.join(map(_shown, value))}]"
    return repr(str(value)) if isinstance(value, str) else getattr(value, "text", repr(value))


def _as_list(name: str, value: Any, schema: type[Common]) -> str:
    if isinstance(value, dict):
        return "write a list such as [a, b]"
    if schema.model_fields[name].annotation == list[str]:
        return _as_text(name, [value], schema.about(name)["choices"])
    return f"write [{value!r}]"


def _advice(value: Any, wanted: type) -> str:
    """What to write instead of a value of the wrong type, where that can be told."""
    if wanted is bool and isinstance(value, str) and value.lower() in ("true", "false"):
        return f"; write {value.lower()} without quotes in YAML (papermill -p: {value.capitalize()})"
    if wanted is int and isinstance(value, str) and _NUMBER.fullmatch(value.strip()):
        return "; write the whole number in plain digits, without quotes or exponent"
    if wanted is int and isinstance(value, float) and value.is_integer():
        return f"; write {int(value)}"
    return ""
