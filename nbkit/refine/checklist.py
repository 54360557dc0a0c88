"""The dynamic checklist of one instruction: what a good answer must satisfy, read off the instruction.
Used by 04.

    >>> for item in checklist("Is 27 even or odd?"): print(item)
    stops by itself
    reasons between <think> and </think>, then answers
    every equation that it states holds
    answers one of: even, odd

The report names the criteria (correctness, completeness, consistency, executability, safety), not how they
are found. Ours come from rules over the wording; a model may add items of its own (`prompts.py`), which only
a model can judge. Rules about the form of a short answer look at short instructions only: in a long one the
same words mostly mean something else. Nothing here sees a reference answer. `critique.py` checks the items.
"""

import json
import re
from collections.abc import Sequence
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
    "tool": "calls one tool",
    "known tool": "calls no other tools than {}",
    "defines": "defines the Python function {}",
    "runs": "the function runs on some input",
    "tests": "passes the tests that the instruction states",
    "at most words": "has at most {} words",
    "json": "is valid JSON",
    "judged": "{}",
}
BRACKETS = {"brackets": "[]", "quotes": '""', "stars": "**", "braces": "{}", "parentheses": "()"}
SHORT = 20  # words
_LONGEST = 1000  # characters of a short instruction: rules about form are quadratic in the worst case
_FORM_ONLY = {"finished", "reasons", "arithmetic"}
_WORD = r"[\w.'-]+"
_UNITS = r"km/h|mph|m/s2?|km|cm|mm|m|kg|mg|g|ml|l|N|V|A|W|J|C|hours?|minutes?|seconds?|days?|dollars?|cents?"
_PROSE = re.compile(
    r"an?|and|as|by|called|can|code|for|from|function|given|has|if|in|is|it|must|named?|of|on|or|returns?|should|"
    r"so|such|takes|that|the|this|to|using|which|will|with|written|you|your",
    re.I,
)
_FUNCTION = re.compile(
    r"\bfunction (?:named |called )?`?(\w+)|\bDefine (\w+)\(|\bPython: (\w+)\b|\bdef (\w+)\("
)
_CHOICE = re.compile(rf"((?:{_WORD}, )*){_WORD} or {_WORD}|\bof ({_WORD}) and ({_WORD})", re.I)
_ASKS_CHOICE = re.compile(r"\b(which|is|whether|choose|pick|either|larger|first|decide|even|should)\b", re.I)
_LIST = re.compile(rf"{_WORD}(?:, {_WORD})+")


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
    # Tools are stated as lines of JSON: the rules below are for prose and must not read them.
    tools, text = _without_tools(instruction)
    items = [Item("finished"), Item("reasons"), Item("arithmetic")]
    if tools:
        items.append(Item("known tool", tools))
    else:
        rules = [_code, _tool_call]
        if len(text) <= _LONGEST and len(text.split()) <= SHORT:
            rules += [_python_value, _ordering, _copies, _wrapped, _letter, _choice]
        # The first rule that fits decides the form: `_number` is last, since most questions hold numbers.
        items += next((found for rule in (*rules, _number) if (found := rule(text))), [])  # one form each
    return (*items, *_limits(text), *(Item("judged", (words,)) for words in written))


def has_content(items: Sequence[Item]) -> bool:
    """Is there an item about the content, beyond the form that every answer needs?"""
    return any(item.kind not in _FORM_ONLY for item in items)


def _without_tools(instruction: str) -> tuple[tuple[str, ...], str]:
    """(names of the tools, the rest) of an instruction that begins with tools as lines of JSON."""
    # The layout of nbkit.tasks.world.instruction: "Tools:", one JSON object a line, then the question.
    lines = instruction.split("\n")
    if lines[0] != "Tools:":
        return (), instruction
    names = []
    for line in lines[1:]:
        try:
            tool = json.loads(line)
        except (ValueError, RecursionError):
            break
        if not isinstance(tool, dict):
            break
        names.append(str(tool.get("name")))
    return tuple(names), "\n".join(lines[1 + len(names) :])


def _code(text: str) -> list[Item]:
    # "a function that returns ...": the word after "function" may be prose instead of a name.
    names = [n for groups in _FUNCTION.findall(text) for n in groups if n and not _PROSE.fullmatch(n)]
    if not names or not re.search(r"\bpython\b|\bcode\b|\bassert\b|\bdef\b", text, re.I):
        return []
    # Stated tests say more than "runs": they replace it.
    tests = tuple(line.strip() for line in re.findall(r"\bassert .+", text))
    return [Item("defines", (names[-1],)), Item("tests", tests) if tests else Item("runs", (names[-1],))]


def _tool_call(text: str) -> list[Item]:
    asks = re.search(
        r"\b(?:use|call) (?:a|the|your) tools?\b|\bwith your tools?\b|\blet the calculator\b", text, re.I
    )
    return [Item("tool")] if asks else []


def _python_value(text: str) -> list[Item]:
    python = re.search(r"\bby print\(|\bin Python\?|\b(?:Evaluate|value of) (?:[\[(]|\w+\(|\d+ [<>=])", text)
    return [Item("literal")] if python else []


def _ordering(text: str) -> list[Item]:
    word = re.search(rf"\bspell ({_WORD}) backwards|\breverse the letters of ({_WORD})", text, re.I)
    if word:
        letters = (word[1] or word[2]).strip(".")
        return [Item("items", tuple(letters)), Item("first", (letters[-1],))]
    # The list to be put in order is the first run of words between commas.
    given = _LIST.search(text)
    if not given:
        return []
    items = tuple(part.strip(".") for part in given[0].split(", "))
    if re.search(r"\bsort\b|in order\b|increasing|small to large", text, re.I):
        return [Item("items", items), Item("ascending")]
    if re.search(r"\breverse the list\b|\bbackwards\b|\bfrom last to first\b", text, re.I):
        return [Item("items", items), Item("first", (items[-1],))]
    return []


def _copies(text: str) -> list[Item]:
    found = re.search(
        r"\b(?:repeat|write|say|give)\b[^=]*?\b(\d{1,4}) (?:times|copies)\b(?! (?:more|as|the))", text, re.I
    )
    return [Item("copies", (found[1],))] if found else []


def _wrapped(text: str) -> list[Item]:
    found = re.search(rf"\b(?:in|with|inside) ({'|'.join(BRACKETS)})\b", text)
    return [Item("wrapped", (found[1],))] if found else []


def _letter(text: str) -> list[Item]:
    found = re.search(rf"\b(?:first|last) letter of (?:the word )?({_WORD})", text, re.I)
    return [Item("letter", (found[1].strip("."),))] if found else []


def _choice(text: str) -> list[Item]:
    found = _CHOICE.search(text)
    if not found or not _ASKS_CHOICE.search(text):
        return []
    # Options as bare lower-case words, as `draft_checks` compares them.
    options = re.split(r", | or | and ", re.sub(r"^of ", "", found[0], flags=re.I))
    return [Item("choice", tuple(option.strip(".").lower() for option in options))]


def _number(text: str) -> list[Item]:
    # A question that counts or measures has a number for an answer ...
    counted = re.search(r"\bhow (?:many|much|often|fast)\b", text, re.I)
    # ... and so has a short one that shows numbers and an operation on them.
    worked = re.search(
        r"\d ?(?:%|percent)|\b(?:add|subtract|multiply|divide|sum|product|remainder|mod(?:ulo)?|maximum|"
        r"largest|next|speed|force|voltage)\b|\d [-+*/] \d",
        text,
        re.I,
    )
    short = len(text.split()) <= SHORT and (
        worked and re.search(r"\d", text) or re.search(r"^count\b", text, re.I)
    )
    if not (counted or short) or re.match(r"(?:which (?!number)|name|pick|choose)\b", text, re.I):
        return []
    # The unit counts only at the very end ("... in km"), where it is what the answer is wanted in.
    unit = re.search(rf"\b(?:in|to|into) ({_UNITS})[.?]?$", text)
    return [Item("number"), Item("supported"), *([Item("unit", (unit[1],))] if unit else [])]


def _limits(text: str) -> list[Item]:
    """Limits that instructions state in words."""
    words = re.search(
        r"\b(?:at most|no more than|up to|under|less than|fewer than|within) (\d{1,6}) words\b", text
    )
    shape = re.search(r"\b(?:in|as|valid) JSON\b", text)
    return [*([Item("at most words", (words[1],))] if words else []), *([Item("json")] if shape else [])]
