r"""Words behind a value that offer another one, or take it back (for `statements.py` and `boxes.py`).

offers_another(", or else 6")  # True: "5, or else 6" commits to nothing
offers_another(" if x = 1, else 6")  # True
offers_another(", since it is 2 + 3 or 1 + 4")  # False: an explanation
takes_back(" is wrong")  # True
"""

import re

from nbkit.verify.answers.extract.numerals import NUMBER_WORDS

_NEXT = (
    rf"(?:[$({{\[*\\\s]{{0,4}}"
    rf"(?:[-−]?[.]?[0-9]|[-−]?[√π]|\\[a-z]|[a-zA-Z]\s?=|{NUMBER_WORDS}\b|\(?[A-J]\)?(?=[\s.,;!?]|$)))"
)
_OTHER = (
    r"(?:or|else|otherwise|alternatively|maybe|perhaps|possibly|conceivably|potentially|versus|vs|unless"
    r"|might|could|may|oder|ou)"
)
_FILLS = (
    r"(?:then|even|also|if\snot|failing\sthat|but|and|it['’]?s|it|that|is|be|was|would|equals|just|some"
    r"|say|else|the|answer)"
)
_SECOND = re.compile(
    rf"[\s,;:.…?!()\[\]/$*—–-]{{0,8}}(?:{_FILLS}\b[\s,.:]{{1,3}}){{0,4}}{_OTHER}\b(?:,[^,.\n]{{1,40}},\s|[\s,.:()]{{1,3}})"
    rf"(?:(?:{_OTHER}|{_FILLS})\b[\s,.:()]{{1,3}}){{0,5}}{_NEXT}(?![^.!\n]{{0,40}}\?)",
    re.IGNORECASE,
)
_OTHER_FORM = re.compile(r"[^a-zA-Z]*or\b[\s,$({]*[a-zA-Z]\s?=", re.IGNORECASE)  # "2x = 10, or x = 5"
# The value holds under a condition, and another one holds else.
_CONDITION = re.compile(
    r"[\s,;(]{0,3}(?:only\s)?(?:if|unless|when|whenever|provided|for|where|in\scase|assuming|depending|as\slong|given)\b",
    re.IGNORECASE,
)
_ELSE = re.compile(
    rf"\b(?:else|otherwise|alternatively|then)\b[\s,:]{{0,3}}(?:{_FILLS}\s){{0,4}}{_NEXT}"
    rf"|(?:[,;]|\b(?:and|but|or)\b)[\s,]{{0,3}}(?:{_FILLS}\s){{0,4}}{_NEXT}[^\s]{{0,20}}\s{{1,2}}\(?"
    r"(?:if|otherwise|when|whenever|unless|for|else|provided|where|in)\b"
    rf"|\b(?:and|but|or)\b[\s,]{{0,3}}(?:{_OTHER}|{_FILLS})\s.{{0,20}}?{_NEXT}",
    re.IGNORECASE,
)
_TAKES_BACK = re.compile(
    r"[\s,;(—–-]{0,4}(?:(?:but|which|that|this|it)\s){0,2}(?:(?:is|was|seems|looks|must\sbe|cannot\sbe|can['’]t\sbe)\s)?"
    r"(?:wrong|incorrect|false|impossible|not\s(?:the\s)?(?:correct|right|answer|possible|valid|true|it\b))",
    re.IGNORECASE,
)
_BASE = re.compile(
    r"[\s,;(\[]{0,4}(?:(?:if|when|as|is|being|which\sis)\s)?(?:(?:written|expressed|represented|given|read|taken|reading|working)\s)?"
    r"(?:in\s|using\s|to\s|as\s|a\s|number\s){0,3}(?:the\s)?(?:base[\s-]?(?!10\b|ten\b)\w|binary|octal|hex)",
    re.IGNORECASE,
)


def offers_another(behind: str) -> bool:
    """Does what stands behind a value offer a second one?"""
    return second_value(behind) >= 0


def second_value(behind: str) -> int:
    """Where the second value that is offered behind a first one ends, as far as that is seen; -1 for none."""
    behind = behind[:200].partition("\n")[0]
    found = _SECOND.match(behind) or (_CONDITION.match(behind) and _ELSE.search(behind))
    if not found or _OTHER_FORM.fullmatch(found[0]):
        return -1
    return found.end()


def takes_back(behind: str) -> bool:
    """Is the value before it said to be wrong at once?"""
    return bool(_TAKES_BACK.match(behind[:200]))


def names_base(behind: str) -> bool:
    """Does what stands behind a number say in which base it is written, other than ten?"""
    return bool(_BASE.match(behind[:200]))
