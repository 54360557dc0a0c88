r"""The last value of a text, with the words before it that change it (for `statements.py`).

last_in("she pays 3 and then 1,250.50 in total")  # "1,250.50"
last_in("so it is at least 5")  # "at least 5"
several(r"Therefore $a=3$, $b=4$.")  # "$a=3$, $b=4$"
"""

import re

from nbkit.verify.answers.extract.bounds import denied_at, qualified_from
from nbkit.verify.answers.extract.equations import chain, formulas
from nbkit.verify.answers.extract.hedges import offers_another, second_value, takes_back
from nbkit.verify.answers.extract.numerals import BARE_LATEX, LIST_LABEL, NUMBER
from nbkit.verify.answers.extract.words.about import asked
from nbkit.verify.answers.parse.units import NO_PLACE

# What makes another number of the one before it, of which it is a part.
_SCALE = re.compile(
    r"\s(?:hundred|thousand|million|billion|trillion|dozen|percent|below\szero|squared|cubed|factorial|to\sthe)\b"
    r"|_\{?[0-9]{1,2}\}?|\s\(?(?:in\s)?(?:the\s)?(?:base[\s-]?(?!10\b|ten\b)\w{1,9}|binary|octal|hex\w{0,8})\)?"
)
_ORDINAL_OF = re.compile(  # the 9th prime is not 9
    r"[0-9]{1,20}\^?[{\\a-z ]{0,9}(?:st|nd|rd|th)[}$) ]{0,6}\s(?:[a-z]{2,12}\s)?"
    rf"(?:{'|'.join(sorted(NO_PLACE - {'of', 'before', 'after', 'from'}))})\b",
    re.IGNORECASE,
)
_EVERY = re.compile(r"\bevery\s[0-9]{1,9}(?:st|nd|rd|th)$", re.IGNORECASE)
_TIE = r"(?:\s?[,;]\s(?:and\s|or\s)?|\s(?:and|or)\s)"
_ASSIGNED = (
    r"(?:\$[A-Za-z](?:_\w|_\{\w{1,3}\})?\s?=(?:[^$=\\+]|\\(?!cdot|times).){1,60}\$"
    r"|\\\([A-Za-z]\s?=[^$=\\]{1,60}\\\)|[A-Za-z]\s?=\s?(?:[^\s=,;$\\]|\\[a-zA-Z]){1,40})"
)
_ONE = r"(?:\$[^$=]{1,60}\$|[-−]?[0-9][0-9./]{0,20})"
_SEVERAL = re.compile(  # "$a=3$, $b=4$.", "the roots are 2 and 3."
    rf"(?:^|(?<!\bif)(?<!\bsince)(?<!\bwhen)(?<!\bfrom)(?<!\bwith)(?<!\bwhere)\s)({_ASSIGNED}(?:{_TIE}{_ASSIGNED}){{1,9}})"
    r"(?:,\s[a-z][^.=0-9$\\]{0,40})?[.]?$"
    rf"|(?<=\bare\s)({_ONE}(?:{_TIE}{_ONE}){{1,9}})[.]?$",
    re.IGNORECASE,
)
_LABEL = re.compile(r"(?:\s(?!or\b|and\b|if\b|else\b|for\b)[a-z]{2,15}(?=[\s,;]))?")
_NAME_NOISE = re.compile(r"\\(?:triangle|angle)(?![a-z])|_\{?\w+\}?")


def several(line: str) -> str:
    """Values with which a line ends, with "and" or commas between: "$a=3$, $b=4$", "are 2 and 3"; else ""."""
    found = _SEVERAL.search(line[-400:])
    return (found[1] or found[2]) if found else ""


def last_in(text: str) -> str:
    """The last formula or number of a text; the bare name of a variable is neither."""
    covered = formulas(text)
    best = (-1, "", 0)
    # The last formula that is no mere name; then numbers outside formulas, if they come later.
    for start, end, content in covered:
        if not is_name(content):
            best = (end, chain(content), start)
    for pattern in (NUMBER, BARE_LATEX):
        inner = 0
        for number in pattern.finditer(text):
            while inner < len(covered) and covered[inner][1] <= number.start():
                inner += 1
            in_formula = inner < len(covered) and covered[inner][0] < number.start()
            if not in_formula and not LIST_LABEL.fullmatch(number[0]) and number.end() > best[0]:
                best = (number.end(), number[0], number.start())
    # "… is not 5" gives nothing; "at least 5" is the whole of it, and so is "5, else 6".
    end, value, start = best
    if denied_at(text, start) or takes_back(text[end:]) or asked(text, start, end):
        return ""
    if end > 0 and (scale := _SCALE.match(text, end)):
        return f"{value}{scale[0]}"
    if every := _EVERY.search(text[max(0, start - 20) : end + 2]):
        return every[0]
    if ordinal := _ORDINAL_OF.search(text[start : end + 40]):
        return ordinal[0]
    if offers_another(text[end:]):  # "5, or six"
        return f"{value}{text[end:].partition(chr(10))[0]}"
    qualified = qualified_at(text, start, end)
    if qualified < 0:
        return value
    phrase = " ".join(text[qualified:end].split())
    return phrase + ")" if phrase.count("(") > phrase.count(")") and text[end : end + 1] == ")" else phrase


def qualified_at(text: str, start: int, end: int) -> int:
    """Where the words begin that make the value from `start` to `end` a bound, another value or one of two
    that are offered ("5, else 6"), -1 for none."""
    if (qualified := qualified_from(text, start)) >= 0:
        return qualified
    line = text[max(0, start - 120) : start].rpartition("\n")[2]
    at = start - len(line)
    for first in list(NUMBER.finditer(line))[-6:]:
        behind = text[at + first.end() : end + 40]
        for label in {0, _LABEL.match(behind).end()}:  # "5, else" and "5 apples, else"
            second = second_value(behind[label:])
            if second >= 0 and start - 3 <= at + first.end() + label + second <= end + 12:
                return at + first.start()
    return -1


def is_name(formula: str) -> bool:
    return not re.search(r"^-|[0-9=<>≤≥∈\\]", _NAME_NOISE.sub("", formula))
