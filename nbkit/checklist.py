"""The dynamic checklist of one instruction: what a good answer must satisfy, read off the instruction.
Used by 04.

    >>> for item in checklist("Is 27 even or odd?"): print(item)
    stops by itself
    reasons between <think> and </think>, then answers
    every equation that it states holds
    answers one of: even, odd

The report names the criteria (correctness, completeness, consistency, executability, safety), not how they
are found. Ours come from rules over the wording; a model may add items of its own (`refine.Prompts`), which
only a model can judge. Nothing here sees a reference answer. `critique.py` checks the items.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

_TEXTS = {
    "finished": "stops by itself",
    "reasons": "reasons between <think> and </think>, then answers",
    "arithmetic": "every equation that it states holds",
    "number": "answers with a number",
    "supported": "the number it answers is one that its reasoning ends in",
    "unit": "gives no other unit than {}",
    "choice": "answers one of: {}",
    "items": "answers with exactly these items: {}",
    "ascending": "puts the numbers in increasing order",
    "first": "begins with {}",
    "copies": "writes it {} times",
    "literal": "answers with a Python value",
    "wrapped": "stands in {}",
    "letter": "answers with one letter of {}",
    "tool": "calls one tool, with values from the instruction",
    "defines": "defines the Python function {}",
    "runs": "the function runs on some input",
    "tests": "passes the tests that the instruction states",
    "at most words": "has at most {} words",
    "json": "is valid JSON",
    "judged": "{}",
}
_FORM_ONLY = {"finished", "reasons", "arithmetic"}
_WORD = r"[\w.'-]+"
_PROSE = {"to", "it", "return", "returns", "that", "which", "for", "of"}  # follow "function" in prose
_FUNCTION = re.compile(r"\bfunction (\w+)|\bDefine (\w+)\(|\bPython: (\w+)\b")
_CHOICE = re.compile(rf"((?:{_WORD}, )*){_WORD} or {_WORD}|\bof ({_WORD}) and ({_WORD})", re.I)
_ASKS_CHOICE = re.compile(r"\b(which|is|whether|choose|pick|either|larger|first|decide|even|should)\b", re.I)
_LIST = re.compile(rf"{_WORD}(?:, {_WORD})+")
_BRACKETS = {
    "brackets": "[]",
    "quotes": '""',
    "stars": "**",
    "braces": "{}",
    "parentheses": "()",
}


@dataclass(frozen=True)
class Item:
    """One requirement; `kind` chooses its check, `value` is what it asks for."""

    kind: str
    value: tuple[str, ...] = ()

    def __str__(self) -> str:
        return _TEXTS[self.kind].format(", ".join(self.value))


def checklist(instruction: str, written: Sequence[str] = ()) -> tuple[Item, ...]:
    """Items of an instruction; `written` are further ones in words, from a model. The first three hold for
    every instruction; `has_content` tells whether there is more."""
    items = [Item("finished"), Item("reasons"), Item("arithmetic")]
    for find in (_code, _tool_call, _python_value, _ordering, _copies, _wrapped, _letter, _choice, _number):
        if found := find(instruction):
            items += found
            break  # an answer has one form
    return (*items, *_limits(instruction), *(Item("judged", (text,)) for text in written))


def has_content(items: Sequence[Item]) -> bool:
    """Is there an item about the content, beyond the form that every answer needs?"""
    return any(item.kind not in _FORM_ONLY for item in items)


def _code(text: str) -> list[Item]:
    names = [name for groups in _FUNCTION.findall(text) for name in groups if name and name not in _PROSE]
    if not names:
        return []
    tests = tuple(line.strip() for line in re.findall(r"\bassert .+", text))
    items = [Item("defines", (names[-1],)), Item("runs", (names[-1],))]
    return [*items, Item("tests", tests)] if tests else items


def _tool_call(text: str) -> list[Item]:
    asks = re.search(
        r"\b(?:use|call) (?:a|the|your) tools?\b|\bwith your tools?\b|\blet the calculator\b", text, re.I
    )
    return [Item("tool")] if asks else []


def _python_value(text: str) -> list[Item]:
    python = re.search(r"\bprint\(|\bin Python\?|\b(?:Evaluate|value of) (?:[\[(]|\w+\(|\d+ [<>=])", text)
    return [Item("literal")] if python else []


def _ordering(text: str) -> list[Item]:
    given = _LIST.search(text)
    word = re.search(rf"\bspell ({_WORD}) backwards|\breverse the letters of ({_WORD})", text, re.I)
    if word:
        letters = (word[1] or word[2]).strip(".")
        return [Item("items", tuple(letters)), Item("first", (letters[-1],))]
    if not given:
        return []
    items = tuple(part.strip(".") for part in given[0].split(", "))
    if re.search(r"\bsort\b|in order\b|increasing|small to large", text, re.I):
        return [Item("items", items), Item("ascending")]
    if re.search(r"\breverse the list\b|\bbackwards\b|\bfrom last to first\b", text, re.I):
        return [Item("items", items), Item("first", (items[-1],))]
    return []


def _copies(text: str) -> list[Item]:
    found = re.search(r"\b(?:repeat|write|say|give)\b[^=]*?\b(\d+) (?:times|copies)\b", text, re.I)
    return [Item("copies", (found[1],))] if found else []


def _wrapped(text: str) -> list[Item]:
    found = re.search(rf"\b(?:in|with|inside) ({'|'.join(_BRACKETS)})\b", text)
    return [Item("wrapped", (found[1],))] if found else []


def _letter(text: str) -> list[Item]:
    found = re.search(rf"\b(?:first|last) letter of (?:the word )?({_WORD})", text, re.I)
    return [Item("letter", (found[1].strip("."),))] if found else []


def _choice(text: str) -> list[Item]:
    found = _CHOICE.search(text)
    if not found or len(text.split()) > 30 or not _ASKS_CHOICE.search(text):
        return []
    options = re.split(r", | or | and ", re.sub(r"^of ", "", found[0], flags=re.I))
    return [Item("choice", tuple(option.strip(".").lower() for option in options))]


def _number(text: str) -> list[Item]:
    asks = re.search(
        r"\bhow (?:many|much|often|fast)\b|\d ?(?:%|percent)|\b(?:add|subtract|multiply|divide|sum|product|"
        r"remainder|mod(?:ulo)?|maximum|largest|next|speed|force|voltage|count|length)\b|\d [-+*/] \d",
        text,
        re.I,
    )
    if not asks or re.match(r"(?:which (?!number)|name|pick|choose)\b", text, re.I):
        return []
    unit = re.search(r"\b(?:in|to|into) ([A-Za-z]{1,4}(?:/[a-z]\d?)?)[.?]?$", text)
    return [Item("number"), Item("supported"), *([Item("unit", (unit[1],))] if unit else [])]


def _limits(text: str) -> list[Item]:
    """Limits that real instructions state in words."""
    rules: dict[str, Callable[[re.Match], Item]] = {
        r"\b(?:at most|no more than|up to|under|less than|fewer than|within) (\d+) words\b": lambda m: Item(
            "at most words", (m[1],)
        ),
        r"\b(?:in|as|valid) JSON\b": lambda m: Item("json"),
    }
    return [make(found) for rule, make in rules.items() if (found := re.search(rule, text))]
