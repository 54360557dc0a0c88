"""Parameter values from text: the `-p KEY=VALUE` of the command line and the files under params/.

YAML 1.2 says what a bare word means, and a word that YAML 1.1 (PyYAML, hence `papermill -f`) reads as
something else is refused instead of guessed: `seed: 010` is ten to one reader and eight to the other. So a
file means the same whoever reads it. The rules are listed in docs/data_conventions.md.

>>> read_value("5"), read_value("[gsm8k, mbpp]"), read_value("/data/run #2/model")
(5, ['gsm8k', 'mbpp'], '/data/run #2/model')
>>> read_value("010")
Unclear('010')
"""

from __future__ import annotations

import re
import shlex
from typing import Any

import yaml

_DIGITS = 400  # longer numbers are damage; Python itself refuses to read more than 4,300
_CORE = (  # YAML 1.2, core schema: pattern, reader
    (re.compile(r"~|null|Null|NULL|"), lambda text: None),
    (re.compile(r"true|True|TRUE"), lambda text: True),
    (re.compile(r"false|False|FALSE"), lambda text: False),
    (re.compile(r"[-+]?[0-9]+"), int),
    (re.compile(r"0o[0-7]+"), lambda text: int(text[2:], 8)),
    (re.compile(r"0x[0-9a-fA-F]+"), lambda text: int(text, 16)),
    (re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?"), float),
    (
        re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)"),
        lambda text: float(text.lower().replace(".", "")),
    ),
)
_OPENS = "[{\"'"  # a list, a mapping, quoted text
_NO_START = re.compile(r"""[\]},#&*!|>%@`]|[-?:](?:\s|$)""")  # YAML keeps these for itself
_CUT = re.compile(r"[ \t]+#[^ \t\r\n#]")


class Unclear(str):
    """A bare word that YAML 1.1 and 1.2 read differently, or nothing at all; `why` says how."""

    why: str
    cut: bool  # only its beginning is kept

    def __new__(cls, text: str, why: str = "", cut: bool = False) -> Unclear:
        self = super().__new__(cls, text)
        self.why, self.cut = why, cut
        return self

    def __repr__(self) -> str:
        return f"Unclear({str(self)!r})"

    def advice(self, wanted: str) -> str:
        """What to write instead where a "bool", "int", "float" or "list" is wanted."""
        plain = {
            "bool": "true or false",
            "int": "plain decimal digits without leading zeros",
            "list": "a list such as [a, b]",
        }
        return f"write {plain.get(wanted, 'a plain decimal number')}" + (
            ", or leave it out" if not self else ""
        )


class _Int(int):
    """A whole number that was written in another way than Python writes it; `text` is that way."""

    text: str


class _Float(float):
    """The same for other numbers: the text 1.10 must not become 1.1 in an error message."""

    text: str


def plain(value: Any) -> Any:
    """The value without the way in which it was written."""
    return int(value) if type(value) is _Int else float(value) if type(value) is _Float else value


def written(value: Any) -> str:
    """A scalar as it was written: 1.10, 0x1F, true, null."""
    if value is None or isinstance(value, bool):
        return "null" if value is None else str(value).lower()
    return getattr(value, "text", str(value))


def in_quotes(name: str, value: Any) -> str:
    """How to give parameter `name` the text, or the list of texts, that `value` was written as: YAML's quotes
    inside the shell's."""
    items = value if isinstance(value, list) else [value]
    # Neither a list in a list nor a number of hundreds of digits is known as it was written.
    if any(isinstance(item, (list, dict)) or getattr(item, "cut", False) for item in items):
        return "for text write each item in double quotes"
    shown = ", ".join(quoted(written(item)) for item in items)
    pair = f"{name}=[{shown}]" if isinstance(value, list) else f"{name}={shown}"
    return f"for text write it in quotes, on the command line -p {shlex.quote(pair)}"


class _Loader(yaml.SafeLoader):
    """SafeLoader with the scalars above. It refuses two equal keys, of which SafeLoader keeps the last."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        keys = [key.value for key, _ in node.value]
        if twice := sorted({k for k in keys if keys.count(k) > 1}):
            raise ValueError(f"key {twice[0]!r} stands twice; keep one")
        return super().construct_mapping(node, deep)

    def flatten_mapping(self, node: Any) -> None:
        """No merge key: `<<` is a key like others in YAML 1.2."""

    def scalar(self, node: Any) -> Any:
        return node.value if node.style else read_scalar(node.value)


for _kind in ("null", "bool", "int", "float", "timestamp", "value", "merge", "str"):
    _Loader.add_constructor(f"tag:yaml.org,2002:{_kind}", _Loader.scalar)


def read_scalar(text: str) -> Any:
    """What a word without quotes means: None, bool, int, float, text; `Unclear` where YAML 1.1 disagrees."""
    # A number of hundreds of digits is damage, and slow to read.
    if len(text) > _DIGITS and re.fullmatch(r"[-+.0-9a-fA-FoOxX_]+", text):
        return Unclear(
            text[:20] + "...", f"is a number of {len(text):,} digits, which no parameter takes", True
        )
    # The first pattern that fits, in the order of the YAML 1.2 core schema; else it is text.
    new = next((read(text) for pattern, read in _CORE if pattern.fullmatch(text)), text)
    old, kind = _yaml_1_1(text)
    if isinstance(new, float) and kind == "text":
        return text  # 1e-3: `coerce` makes it a number where one is wanted, as it does for papermill
    # Both versions agree in type and value: the word is clear.
    if type(new) is type(old) and (new == old or new != new):  # NaN is not equal to itself
        return _as_written(new, text)
    return Unclear(text, f"is {_shown(old, kind)} to YAML 1.1 and {_shown(new)} to YAML 1.2")


def _as_written(value: Any, text: str) -> Any:
    kind = {int: _Int, float: _Float}.get(type(value))
    if kind is None or str(value) == text:
        return value
    number = kind(value)
    number.text = text
    return number


def _yaml_1_1(text: str) -> tuple[Any, str]:
    """(value, kind) of a bare word as PyYAML reads it."""
    loader = yaml.SafeLoader("")
    # PyYAML's own resolver says what 1.1 takes the word for.
    tag = loader.resolve(yaml.ScalarNode, text, (True, False))
    kind = {"timestamp": "a date", "str": "text", "value": "text", "merge": "text"}.get(tag[18:], tag[18:])
    if kind in ("a date", "text"):
        return (None if kind == "a date" else text), kind
    try:
        return loader.construct_object(yaml.ScalarNode(tag, text)), kind
    except (ValueError, OverflowError):  # 0x, 09:99
        return None, f"a broken {kind}"


def _shown(value: Any, kind: str = "") -> str:
    if kind.startswith("a "):
        return kind
    return "text" if isinstance(value, str) else str(value).lower() if value in (True, False) else repr(value)


def read_value(text: str, name: str = "KEY") -> Any:
    """The VALUE of `-p KEY=VALUE`: a list in brackets, text in quotes, else the whole as one bare word, in
    which `#` and `: ` mean nothing. Raises ValueError, in one line, for what is none of these; `name` is the
    KEY."""
    text = text.strip()
    if not text:
        return Unclear("", "is empty")
    if _NO_START.match(text):
        raise ValueError(f"starts with {text[0]!r}, which YAML keeps for itself; {in_quotes(name, text)}")
    # No bracket and no quote: the whole is one word, and `#` is part of it.
    if text[0] not in _OPENS:
        return read_scalar(text)
    try:
        # YAML would stop at the end of the first value and say nothing of the rest.
        node = yaml.compose(text, _Loader)
        if rest := text[node.end_mark.index :].strip():
            raise ValueError(f"goes on with {rest!r} behind its end")
        return yaml.load(text, _Loader)  # noqa: S506 (a SafeLoader)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        wanted = {"[": "a list such as [a, b]", "{": "a mapping"}.get(text[0], "text in quotes")
        hint = in_quotes(name, text)
        if text[0] == "[":
            example = shlex.quote(f'{name}=["a", "b"]')
            hint = f"for a list write each item in quotes, -p {example}; {hint}"
        raise ValueError(f"is not {wanted} ({_in_one_line(error)}); {hint}") from None


def read_mapping(text: str) -> Any:
    """A params file. Raises ValueError for broken YAML, equal keys, and a value that a `#` cuts."""
    try:
        _check_cuts(yaml.compose(text, _Loader), text)
        return yaml.load(text, _Loader)  # noqa: S506 (a SafeLoader)
    except (yaml.YAMLError, RecursionError) as error:
        raise ValueError(_in_one_line(error)) from None


def _check_cuts(node: Any, text: str) -> None:
    """`model: /data/run #2/model` would be read as /data/run; comments have a space behind their `#`."""
    for key, value in node.value if isinstance(node, yaml.MappingNode) else []:
        if isinstance(value, yaml.ScalarNode) and not value.style and _CUT.match(text, value.end_mark.index):
            raise ValueError(
                f"{key.value}: the value ends at {value.value!r}, since ' #' begins a comment; write the "
                "whole in quotes, or a space behind the # of a comment"
            )
        _check_cuts(value, text)


def _in_one_line(error: Exception) -> str:
    if isinstance(error, RecursionError):
        return "too deeply nested"
    mark = getattr(error, "problem_mark", None)
    problem = getattr(error, "problem", None) or " ".join(str(error).split())
    return f"{problem}, line {mark.line + 1} column {mark.column + 1}" if mark else problem


def quoted(text: str) -> str:
    """The text in double quotes, as YAML and Python both read it; what cannot be printed is escaped."""

    def escaped(character: str) -> str:
        code = ord(character)
        if character in '"\\':
            return "\\" + character
        if character.isprintable():
            return character
        return f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}" if code < 65536 else f"\\U{code:08x}"

    return f'"{"".join(map(escaped, text))}"'
