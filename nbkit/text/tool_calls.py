"""Tool calls in text, `<tool_call>{"name": ..., "arguments": {...}}</tool_call>`: written, read and compared.
Used by 03-07. docs/formats.md has the conventions.

    called("<think>a tool</think>" + tool_call("weather", city="Lima"))  # [{"name": "weather", ...}]
    same_calls(called(a), called(b))

The text comes from a model: nothing here raises on it, and all of it is linear in its length. JSON is read
strictly: a key that occurs twice, NaN, Infinity and numbers too long to read make it no call.
"""

import json
import math
from collections import Counter
from collections.abc import Sequence

from nbkit.text.chat import CALL, END_THINK, THINK, behind_label, split_thought

OPEN, CLOSE = CALL, "</tool_call>"


def tool_call(tool: str, /, **arguments) -> str:
    return f"{OPEN}{json.dumps({'name': tool, 'arguments': arguments})}{CLOSE}"


def read_json(text: str, at: int = 0, whole_floats: bool = True) -> tuple[object, int]:
    """The JSON value that begins at `at`, and where it ends. Without `whole_floats` 2.0 is read as 2. Raises
    ValueError for anything but one strict value."""
    try:
        return _DECODERS[whole_floats].raw_decode(text, at)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def _object(pairs: list[tuple[str, object]]) -> dict:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key occurs twice")
    return found


def _no_number(name: str) -> None:
    raise ValueError(f"{name} is no JSON number")


def _float(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        raise ValueError("a number beyond all floats")
    return value


def _folded(digits: str) -> float | int:
    value = _float(digits)
    return int(value) if value.is_integer() else value


_DECODERS = {
    keep: json.JSONDecoder(object_pairs_hook=_object, parse_constant=_no_number, parse_float=reader)
    for keep, reader in ((True, _float), (False, _folded))
}


def _call(value: object) -> dict:
    """{"name": text, "arguments": object}; arguments may come as a JSON string, or be absent where the tool
    takes none. Raises ValueError."""
    if not isinstance(value, dict) or not {"name"} <= set(value) <= {"name", "arguments"}:
        raise ValueError("wanted an object of name and arguments")
    name, arguments = value["name"], value.get("arguments", "")
    if isinstance(arguments, str):
        arguments = {} if blank(arguments) else whole(arguments, whole_floats=False)
    if not isinstance(name, str) or not name or not isinstance(arguments, dict):
        raise ValueError("wanted a name and an object of arguments")
    return {"name": name, "arguments": arguments}


def blank(arguments: object) -> bool:
    """Are these arguments a text without anything in it? So servers write the call of a tool without any."""
    return isinstance(arguments, str) and not arguments.strip()


def whole(text: str, whole_floats: bool = True) -> object:
    """The one JSON value that a text consists of. Raises ValueError."""
    text = text.strip()
    value, end = read_json(text, 0, whole_floats)
    if end != len(text):
        raise ValueError("more than one JSON value")
    return value


def _one_at(text: str, at: int) -> tuple[dict, int]:
    """The call whose tag opens at `at`, and where the closing tag ends. Raises ValueError."""
    # 2.0 is read as 2 here: calls are compared by value, and JSON has one kind of number.
    value, end = read_json(text, _blank(text, at + len(OPEN)), whole_floats=False)
    end = _blank(text, end)
    if not text.startswith(CLOSE, end):
        raise ValueError("the tag does not close after the object")
    return _call(value), end + len(CLOSE)


def _blank(text: str, at: int) -> int:
    while at < len(text) and text[at] in " \t\r\n":
        at += 1
    return at


def parse_tool_calls(text: str) -> list[dict] | None:
    """All calls of a text, with any prose around them, in their order; None when one is malformed."""
    found, at = [], text.find(OPEN)
    try:
        while at >= 0:
            call, end = _one_at(text, at)
            found.append(call)
            at = text.find(OPEN, end)
    except ValueError:
        return None
    return found


def parse_tool_call(text: str) -> dict | None:
    """The only call of a text, or None when there is none, several, or it is malformed."""
    found = parse_tool_calls(text)
    return found[0] if found and len(found) == 1 else None


def called(response: str) -> list[dict] | None:
    """The calls that are the whole answer of a response; None when it says anything else.

    The answer begins after the thought (nbkit.text.chat; at the last </think>, if what follows it is no
    calls), or after the "Answer:" of a worked document. An opened thought that never closes has no answer."""
    text = response.strip()
    # Without a thought the calls must be everything that is said.
    if text.startswith(OPEN):
        return _only_calls(text)
    thinks = THINK in text.partition(OPEN)[0]
    # With a thought only what follows it counts, at the first tag that closes it or at the last.
    answers = [] if thinks else [text]
    if END_THINK in text:
        answers += [split_thought(text)[1], text.rpartition(END_THINK)[2]]
    return next((calls for answer in answers if (calls := _only_calls(behind_label(answer)))), None)


def _only_calls(text: str) -> list[dict] | None:
    """The calls of which a text consists, with nothing but space between and around."""
    calls, at, text = [], 0, text.strip()
    try:
        while at < len(text):
            if not text.startswith(OPEN, at):
                return None
            call, at = _one_at(text, at)
            calls.append(call)
            at = _blank(text, at)
    except ValueError:
        return None
    return calls or None


def same_calls(ours: Sequence[dict] | None, wanted: Sequence[dict] | None) -> bool:
    """The same calls, each as often, in any order: calls of one turn run side by side. As in JSON 1 is 1.0,
    but true is not 1 and "1" is not 1; the order of keys does not count, that of a list does."""
    try:
        return bool(ours and wanted) and _counted(ours) == _counted(wanted)
    except RecursionError:  # nested just deep enough to be read, too deep to be written
        return False


def same_tools(ours: Sequence[dict] | None, wanted: Sequence[dict] | None) -> bool:
    """Are the same tools called, each as often, with whatever arguments?"""
    names = [Counter(call["name"] for call in calls or ()) for calls in (ours, wanted)]
    return bool(ours and wanted) and names[0] == names[1]


def _counted(calls: Sequence[dict]) -> Counter:
    return Counter(json.dumps(call, sort_keys=True) for call in calls)
