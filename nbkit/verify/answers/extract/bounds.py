r"""Words that turn a value into something else than an answer: bounds, denials, a choice of two.

behind_denial("isn't 12"[2:])  # "12": what the sentence says the answer is not
qualified_from("so it is at least 5", 18)  # 9: where "at least" begins, -1 for none
"""

import re

_BOUND = (
    r"(?:(?:strictly|definitely)\s{1,3})?(?:at\s{1,3}(?:least|most)|up\s{1,3}to"
    r"|(?:no\s{1,3}|not\s{1,3})?(?:more|less|fewer|greater|larger|bigger|smaller|higher|lower)\s{1,3}than"
    r"(?:\s{1,3}or\s{1,3}equal\s{1,3}to)?"
    r"|under|over|above|below|beyond|exceeds|between\s{1,3}[^.;!?\n]{1,40}?\s{1,3}and)"
)
_STARTS = re.compile(rf"{_BOUND}\b", re.IGNORECASE)
_OPENS = r"[\s$({*\\]{1,6}(?:text\{)?"
_BEFORE = re.compile(rf"(?<!\w)(?:{_BOUND}){_OPENS}$", re.IGNORECASE)
_DENIED_BEFORE = re.compile(
    r"(?:\bnot|n['’]t|\bcannot|\bnever)\s{1,3}(?:(?:be|equal(?:\s{1,3}to)?|possibly)\s{1,3}){0,2}[$({*\\]{0,3}$",
    re.IGNORECASE,
)
_CHOICE_BEFORE = re.compile(
    r"(?:\beither\s{1,3}[^.;!?\n]{1,40}?|(?<![\w.,/])-?[0-9][0-9.,/]{0,30}|\$[^$\n]{1,40}\$)"
    r"\s{1,3}or\s{1,3}(?:(?:maybe|perhaps|possibly|else)\s{1,3})?[$({*\\]{0,3}$",
    re.IGNORECASE,
)
_RELATION_BEFORE = re.compile(  # "so x <= 4" states the whole relation
    r"(?<!\w)[A-Za-z]\w{0,3}\s?(?:[<>!]=|=/=|/=|<>|[<>≤≥≠∉]|\\(?:[lg]eq?|neq?|not\s?(?:=|\\in)|notin|equiv))\s?$"
)
_DENIAL = re.compile(
    r"\s{0,3}(?:n?['’]t|not|never|neither|no longer|different from)\s{1,3}"
    r"(?:(?:be|equal(?: to)?|simply|just|actually|possibly)\s{1,3}){0,2}",
    re.IGNORECASE,
)
_INSTEAD = re.compile(r"[^.;!?\n]{0,60}?(?:\bbut(?: rather)?|[,;] (?:it is|it's|it’s))\s{1,3}", re.IGNORECASE)
_NEAR = 80  # characters before a value in which such words are looked for


def starts_with_bound(text: str) -> bool:
    """Does a text begin with "at least", "more than", "between 3 and" …?"""
    return bool(_STARTS.match(text))


def behind_denial(text: str) -> str | None:
    """What follows "not", "n't be" … at the start of a text; None where it begins otherwise."""
    found = _DENIAL.match(text)
    return text[found.end() :] if found else None


def instead(text: str) -> str:
    """ "5 but 7" (behind a "not"): the text that says what holds instead, "" for none."""
    found = _INSTEAD.match(text)
    return text[found.end() :] if found else ""


def qualified_from(text: str, at: int) -> int:
    """Where the words begin that make the value at `at` a bound or one of two, -1 for none."""
    start = max(0, at - _NEAR)
    near = text[start:at].rpartition("\n")[2]
    found = _BEFORE.search(near) or _CHOICE_BEFORE.search(near) or _RELATION_BEFORE.search(near)
    return at - len(near) + found.start() if found else -1


def denied_at(text: str, at: int) -> bool:
    """Is the value at `at` one that the text says it is not?"""
    return bool(_DENIED_BEFORE.search(text[max(0, at - _NEAR) : at]))
