r"""Words behind a value that offer another one, or take it back (for `statements.py` and `boxes.py`).

offers_another(", or else 6")  # True: "5, or else 6" commits to nothing
offers_another(" if x = 1, else 6")  # True
offers_another(", since it is 2 + 3 or 1 + 4")  # False: an explanation
takes_back(" is wrong")  # True
"""

import re

from nbkit.verify.answers.extract.numerals import NUMBER_WORDS
from nbkit.verify.answers.extract.words import foreign

_NEXT = (
    rf"(?:[$({{\[*\\\s]{{0,4}}(?:[-−]?[.]?[0-9]|[-−]?[√π]|\\[a-z]|[a-zA-Z]\s?=|{NUMBER_WORDS}\b"
    r"|\(?[A-J]\)?(?=[\s.,;!?]|$)))"
)
_OTHER = (
    r"(?:or|else|otherwise|alternatively|maybe|perhaps|possibly|conceivably|potentially|likely|probably|versus|vs"
    r"|unless|might|could|may|oder|ou|if\snot|failing\sthat|in\sother\scases|in\sthe\sother\scase)"
)
_FILLS = (
    r"(?:then|even|also|but|though|although|yet|and|it['’]?s|it|that|is|be|was|would|equals|just|some|say|else|the"
    r"|hm{1,3}|um{1,3}|uh|er|well|answer|most|about|around|roughly|approximately|equivalently)"
)
_SECOND = re.compile(
    rf"[\s,;:.…?!()\[\]/$*—–-]{{0,8}}(?:(?:{_FILLS}\b[\s,.:]{{1,3}}){{0,4}}{_OTHER}\b"
    rf"(?:,[^,.\n]{{1,40}},\s|[\s,.:()]{{1,3}})(?:(?:{_OTHER}|{_FILLS})\b[\s,.:()]{{1,3}}){{0,5}}{_NEXT}"
    r"(?![^.!\n]{0,40}\?\s{0,3}(?:no|nope|not)\b)"
    # "5 with a small chance of 6"
    rf"|[\s,(]{{0,3}}with\s(?:a|an|some)\s[\w%\s]{{0,20}}(?:chance|probability|possibility|likelihood)\s(?:of|that)\s"
    rf"(?:(?:it|it['’]s|is|being|for)\s){{0,2}}{_NEXT}"
    # "5 (6 otherwise)", "5? 6?", "5, but 6 is possible"
    rf"|(?<=[(\[]){_NEXT}\S{{0,20}}\s(?:otherwise|if|else|when|unless|in\sother)\b"
    rf"|(?<=\?\s){_NEXT}\S{{0,20}}\s?\?"
    rf"|[\s,;.]{{0,3}}(?:but|though|although)\s{_NEXT}\S{{0,9}}\s(?:(?:is|could|might|may|would|can)\s(?:also\s|be\s)?"
    r"(?:possible|plausible|likely|right|correct|be|work)|(?:also\s)?(?:works?|fits?|satisf\w{2,4})\b)"
    r"|[\s,;(]{0,4}(?:give\sor\stake|plus\sor\sminus)\b)",
    re.IGNORECASE,
)
_OTHER_FORM = re.compile(r"[^a-zA-Z]*or\b[\s,$({]*[a-zA-Z]\s?=", re.IGNORECASE)  # "2x = 10, or x = 5"
# The value holds under a condition, and another one holds else.
_CONDITION = re.compile(
    r"[\s,;(]{0,3}(?:only\s)?(?:if|unless|when|whenever|provided|for|where|in\scase|assuming|depending|as\slong|given"
    r"|in\s(?:the|one|this|that|some)\s(?:\w{3,8}\s)?case)\b",
    re.IGNORECASE,
)
_ELSE = re.compile(
    rf"\b(?:else|otherwise|alternatively|then)\b[\s,:]{{0,3}}(?:{_FILLS}\s){{0,4}}{_NEXT}"
    rf"|[,;]\s(?:or|(?:and\s)?(?:if|when|for|in)\b[^.;\n]{{1,40}}?,)\s{_NEXT}[^\s]{{0,20}}[.;!\s]{{0,3}}$"
    rf"|(?:[,;(]|\b(?:and|but|or)\b)[\s,]{{0,3}}(?:{_FILLS}\s){{0,4}}{_NEXT}[^\s]{{0,20}}\s{{1,2}}\(?"
    r"(?:if|otherwise|when|whenever|unless|for|else|provided|where|in)\b"
    rf"|\b(?:and|but|or)\b[\s,]{{0,3}}(?:{_OTHER}|{_FILLS})\s.{{0,20}}?{_NEXT}",
    re.IGNORECASE,
)
_RIGHT = r"(?:the\s)?(?:correct|right|answer|possible|valid|true|it\b|work|fit|hold)"
REJECTED = (
    r"(?:wrong|incorrect|false|impossible|invalid|untrue|rejected|discarded|dismissed|extraneous|inadmissible|nonsense"
    r"|nope|ruled\sout|(?:(?:much|way|far)\s)?too\s(?:small|large|big|high|low|much|many|few|little|great)"
    r"|a\scontradiction|(?:fails?|failed|contradicts?)(?=[\s.!;,)]|$))"
)
_SENTENCE_ENDS = r"(?=\s{0,2}(?:[.!,;:)]|$))"
_TAKES_BACK = re.compile(
    r"[\s,;(\[—–-]{0,4}(?:(?:but|which|that|this|it|however|though)[\s,]{1,2}){0,3}(?:(?:is|was|seems|looks|gets?|must\sbe)\s)?"
    rf"(?:{REJECTED}|not\s{_RIGHT}"
    rf"|(?:is|was|do|does|did|can|could|will|would)(?:n['’]t|\snot|not)\s(?:be\s)?{_RIGHT}"
    r"|(?:is|was|does|can|could)(?:n['’]t|\snot)(?=[\s.!)]{0,4}$))"
    # In a sentence of its own: "5. That's wrong.", "5. Scratch that."
    r"|[.!]{0,2}[*$)]{0,3}\s{1,3}(?:(?:no|oh|hm{1,3}|wait|sorry|oops|well|actually)[,.!]{0,2}\s){0,2}"
    r"(?:(?:that|this|it)(?:['’]?s|\sis|\swas|\sseems|\slooks)\s(?:(?:just|clearly|obviously|of\scourse|completely)\s)?"
    rf"(?:wrong|incorrect|false|impossible|not\s(?:right|correct|possible|it|true)){_SENTENCE_ENDS}"
    rf"|(?:scratch|strike|ignore|forget|disregard|discard)\s(?:that|this|it){_SENTENCE_ENDS}|never\s?mind\b"
    rf"|I\s(?:retract|withdraw|take)\s(?:that|this|it)\b|I\s(?:was|am)\swrong{_SENTENCE_ENDS})"
    rf"|{foreign.BEHIND_NOT}"
    r"|[\s,;(?.!—–-]{1,4}(?:(?:no|nope|wait|sorry|I\s(?:was|am)\swrong|my\smistake)\b[\s.,!?]{0,3}){1,3}$",
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
    return bool(_TAKES_BACK.match(behind[:200].partition("\n")[0]))


def names_base(behind: str) -> bool:
    """Does what stands behind a number say in which base it is written, other than ten?"""
    return bool(_BASE.match(behind[:200]))
