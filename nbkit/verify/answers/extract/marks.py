r"""Answers that stand in a list or name an option (for `statements.py` and `answer.py`).

list_items("\n\n- 14\n- 15")  # ["14", "15"]: below a marker such as "Answer:", a mark is no minus sign
named_option("option C, Cecile")  # ("C", ", Cecile")
"""

import re

from nbkit.verify.answers.extract.clauses import starts_with_value

_MARK = re.compile(
    r"[ \t]{0,8}(?:(?P<bullet>[-*+•–—‣▪])|(?P<number>\(?[0-9]{1,2}[.)])|(?P<letter>\(?[a-h]\)))"
    r"[ \t]{1,4}(?=\S)"
)
_MOST_ITEMS = 20
_NAMED = re.compile(
    r"(?i:(?:the\s)?(?:correct\s|right\s|best\s)?(?:option|choice|letter|alternative)\s{1,3}(?:is\s{1,3})?)"
    r"(?:\(([A-Ja-j])\)|([A-J])(?![\w'’]))(?!\s{0,3}(?:,\s{0,3})?(?:or|and|nor)\b|,\s{0,3}[A-J]\b)"
)
_CHOSEN = re.compile(
    r"\b(?:is|be|choose|pick|select|so|therefore|thus|hence),?\s{1,3}(?=(?:the\s)?(?:option|choice)\s)",
    re.IGNORECASE,
)
_SEVERAL = re.compile(
    r"(?i:both\s{1,3}|options\s{1,3}|choices\s{1,3}|answers\s{1,3}){0,2}"
    r"(\(?[A-J]\)?(?:(?:,\s{0,3}(?:and\s{1,3})?|\s{1,3}and\s{1,3})\(?[A-J]\)?){1,8})"
    r"(?:$|(?=\s{1,3}(?:are|is)\s(?:both\s|all\s)?(?:the\s)?(?:correct|right|true|valid|answers?)\b))"
)
_LABELLED = re.compile(
    r"((?:\([A-HJ]\)|[A-HJ][.):])\s[^.;\n]{1,40})[.;]\s{1,3}"
    r"(?=\(?[A-HJ]\)|[A-HJ]\s(?:is|and|are)\b|(?i:options?|because|explan|reason|since)\b)"
)
_EXPLAINED = re.compile(
    r"\s{0,9}[*_#> \t]{0,9}(?:explanation|explained|reason(?:ing|s)?|because|rationale|justification|why"
    r"|since|解析|理由|解释)(?![a-z])",
    re.IGNORECASE,
)
_PROSE_BELOW = re.compile(
    r"\s{0,9}[*_#>]{0,9}\s{0,3}(?:option|\(?[A-J]\)"
    r"|(?:[^\W\d_]{2,20},?\s[^\s]{1,20}|[^\W\d_]{1,20}\s[^\W\d_]{2,20})\s[^\s]{1,20}\s)",
    re.IGNORECASE,
)
_FIRST_LINE = re.compile(
    r"[*_\s]{0,6}(?i:(?:option|choice|answer)\s{0,3}:?\s{0,3})?"
    r"(?:\(([A-HJ])\)|([A-HJ])(?=[.):*_ \t]{0,6}(?:\n|$)|[.):]))[.):]?(?P<rest>[^\n]{0,200})(?:\n|$)"
)


def list_items(text: str) -> list[str]:
    """The items of a list with which the text behind a line's end begins, without their marks; [] for none.

    A number with a mark counts as one only before a value or a word: "42." is the answer itself.
    """
    lines = text.split("\n", 2 * _MOST_ITEMS + 3)
    # Text on the marker's own line is the answer, and what follows is no list of it.
    if lines[0].strip(" \t*_`:") or len(lines) == 1:
        return []
    items, kind = [], None
    for line in lines[1:]:
        if not line.strip():
            continue
        mark = _MARK.match(line)
        # One kind of mark throughout: another one begins something else.
        if not mark or (kind and mark.lastgroup != kind) or len(items) == _MOST_ITEMS:
            break
        rest, kind = line[mark.end() :].strip(), mark.lastgroup
        word = len(rest.split()) < 3 and not rest.endswith(".")
        if kind != "bullet" and not (word or starts_with_value(rest.lstrip("*_`"))):
            break
        items.append(rest)
    return items


def named_option(text: str) -> tuple[str, str] | None:
    """(letter, what follows) of a text that begins with "option C"; None also for "option A or B"."""
    found = _NAMED.match(text)
    return ((found[1] or found[2]).upper(), text[found.end() :]) if found else None


def chosen_option(line: str) -> str:
    """ "option B (12 km)" of "My choice is option B (12 km)", "" for anything else."""
    found = list(_CHOSEN.finditer(line))
    return line[found[-1].end() :] if found else ""


def several_options(text: str) -> str:
    """ "Both A and C are correct": "A and C"; "" for anything else."""
    found = _SEVERAL.match(text)
    return found[1] if found else ""


def first_labelled(line: str) -> str:
    """ "C) 12 km" of "C) 12 km. A) is too short", "" for anything else."""
    found = _LABELLED.match(line)
    return found[1] if found else ""


def option_above(text: str) -> str:
    """The letter on the first line of a text that goes on to explain it, "" for none."""
    found = _FIRST_LINE.match(text)
    if not found or not text[found.end() :].strip():
        return ""
    bare = not found["rest"].strip(" *_.")
    below = _EXPLAINED.match(text, found.end()) or (bare and _PROSE_BELOW.match(text, found.end()))
    return found[1] or found[2] if below else ""
