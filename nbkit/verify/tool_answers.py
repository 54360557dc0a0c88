"""Are tool calls among the accepted ones? The rules of the Berkeley Function-Calling Leaderboard for single
turns with Python functions (`nbkit eval --tasks bfcl`).

    accepted = [{"area": {"base": [10], "unit": ["units", ""]}}]      # "" : may be left out
    calls_match([{"name": "area", "arguments": {"base": 10}}], accepted, functions)   # True

Names count exactly, and so does every required parameter; a value must be one of those listed, of the type
that the function's schema names. In texts, case, spaces and the signs , . / - _ * ^ do not count; several
calls may come in any order. A whole number stands for a float, as in Python; 2.0 was read as 2 before
(nbkit.text.tool_calls), so it passes for an integer, which the leaderboard refuses.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

_TYPES = {
    "string": str, "integer": int, "float": float, "boolean": bool, "array": list, "tuple": list,
    "dict": dict, "any": str,
}  # fmt: skip
_SIGNS = re.compile(r"[ ,./\-_*^]")


def calls_match(calls: Sequence[Mapping], accepted: Sequence[Mapping], functions: Sequence[Mapping]) -> bool:
    """Is each accepted call made once, and none besides? `calls`: {"name", "arguments"} each. `accepted`:
    {name: {parameter: accepted values}} each. `functions`: the schemas offered. Raises ValueError for an
    accepted call of a function that is not offered."""
    if len(calls) != len(accepted):
        return False
    schemas, left = {function["name"]: function for function in functions}, list(calls)
    for wanted in accepted:
        name = next(iter(wanted))
        if name not in schemas:
            raise ValueError(f"ground_truth: {name!r} is none of the functions {sorted(schemas)}")
        # The first call that fits is taken, as the leaderboard does.
        found = next((call for call in left if _fits(call, name, wanted[name], schemas[name])), None)
        if found is None:
            return False
        left.remove(found)
    return True


def _fits(call: Mapping, name: str, wanted: Mapping[str, Sequence], schema: Mapping) -> bool:
    given, about = call["arguments"], schema["parameters"]
    if call["name"] != name or any(parameter not in given for parameter in about.get("required", ())):
        return False
    # "" among the accepted values: the parameter may be left out.
    if any(parameter not in given and "" not in values for parameter, values in wanted.items()):
        return False
    types = about["properties"]
    return all(
        parameter in types and parameter in wanted and _value_fits(value, wanted[parameter], types[parameter])
        for parameter, value in given.items()
    )


def _value_fits(value: Any, accepted: Sequence, about: Mapping) -> bool:
    """Of the schema's type, or of that of the accepted values where a variable's name stands for a value."""
    kind = _TYPES.get(about["type"], str)
    if about["type"] == "float" and type(value) is int:
        value = float(value)
    inner = _TYPES.get(about.get("items", {}).get("type", "")) if kind is list else None
    listed = next((type(one) for one in accepted if one != ""), None)
    if type(value) is not kind:
        return type(value) is listed and value in accepted
    if inner and not any(_all_of(value, inner, one) for one in accepted):
        return False
    # A variable's name in the key stands for itself: it is compared as it is.
    if listed not in (None, kind):
        return value in accepted
    if kind is dict:
        return any(_dict_fits(value, one) for one in accepted if one != "")
    if inner is dict:
        return any(_dicts_fit(value, one) for one in accepted if isinstance(one, list))
    if kind is str:
        return _plain(value) in [_plain(one) for one in accepted if isinstance(one, str)]
    if kind is list:
        return [*map(_plain, value)] in [[*map(_plain, one)] for one in accepted if isinstance(one, list)]
    return value in accepted


def _all_of(value: list, inner: type, accepted: Any) -> bool:
    """Are all elements of the inner type, or of the type that the accepted list has?"""
    if not isinstance(accepted, list):
        return True
    listed = next((type(one) for one in accepted if one != ""), None)
    return all(type(one) is inner or (listed and type(one) is listed) for one in value)


def _dict_fits(value: Mapping, accepted: Mapping) -> bool:
    if any(key not in value and "" not in values for key, values in accepted.items()):
        return False
    return all(
        key in accepted and _plain(one) in [_plain(a) for a in accepted[key]] for key, one in value.items()
    )


def _dicts_fit(value: Sequence, accepted: Sequence) -> bool:
    return len(value) == len(accepted) and all(
        isinstance(ours, Mapping) and isinstance(theirs, Mapping) and _dict_fits(ours, theirs)
        for ours, theirs in zip(value, accepted, strict=True)
    )


def _plain(value: Any) -> Any:
    """A text without case and most signs, anything else as it is."""
    return _SIGNS.sub("", value).lower().replace("'", '"') if isinstance(value, str) else value
