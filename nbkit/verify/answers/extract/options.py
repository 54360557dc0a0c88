"""Letters of options (for `statements.py`): which of (A) to (J) a line states as its answer.

stated_option("option C: 42")  # "(C) 42"
option_letter("so B is correct")  # "B"
"""

import re

from nbkit.verify.answers.extract.bounds import denied_at, qualified_from
from nbkit.verify.answers.extract.clauses import CJK, first_clause, starts_with_value
from nbkit.verify.answers.extract.decoration import tidy
from nbkit.verify.answers.extract.hedges import offers_another
from nbkit.verify.answers.extract.marks import named_option, several_options

_OPTION = re.compile(
    r"(?P<no>(?:\bnot|n't|never|\bcannot|不)\s{0,3})?(?:\bit'?s|\bis|\bbe|\b[Cc]hoose"
    r"|\b[Pp]ick|\b[Ss]elect|\bgo with|\b[Ss]o,?"
    r"|\b(?:[Hh]ence|[Tt]hus|[Tt]herefore),?|\boption"
    r"|\bchoice|\banswer|\bbut|选择?|是)\s{0,3}(?P<nor>not\s{1,3})?\(?([A-HJ])\)?(?=[\s.,;:!。]|$)"
    r"(?!\s(?:(?:is|was|are|looks|seems)\s)?"
    r"(?:not|wrong|incorrect|false|cannot|can['’]?t|isn|impossible|fail|contradict|too)\b)"
    r"|(?:^|[\s(])([A-HJ])\)?\s(?:is|seems|must be)\s(?:the\s)?(?:correct|right|valid|true|best|answer)"
)
_LEADING_OPTION = re.compile(
    rf"\(?([A-HJ])(?:\)|[.:,。、](?=\s|$|[{CJK}])|"
    rf"(?=[{CJK}]|\s(?:because|since)\s|\s[-–—]\s[^\W\d_]{{1,20}}\s[a-z]{{2}}))"
)
_OR_BEFORE = re.compile(
    r"(?:^|[\s(])[A-HJ]\)?,?\s(?:or|else|alternatively|otherwise|but\sit\s(?:could|might|may)|maybe|perhaps|possibly)\b[^.;!?\n]{0,20}$"
)
LABELLED_OPTION = re.compile(r"(?:\([A-HJ]\)|[A-HJ][.):])\s")


def stated_option(line: str) -> str:
    """ "option C, Cecile" → C, "option C: 42" → (C) 42, "both A and C" → A and C."""
    line = line.strip("* ")
    if several := several_options(line.rstrip(".!* ")):
        return several
    if not (named := named_option(line)):
        return ""
    letter, rest = named
    behind = re.match(r"[\s*]{0,3}(?:[:=(,]|which is|with)\s{0,3}(?:which is\s|that is\s|i\.e\.,?\s)?", rest)
    value = first_clause(rest[behind.end() :], cut=True) if behind else ""
    value = tidy(value.rstrip(")") if value.count("(") < value.count(")") else value)
    return (
        f"({letter}) {value}" if value and starts_with_value(value) and re.search("[0-9]", value) else letter
    )


def option_letter(line: str) -> str:
    """The option that a line names first or chooses last, a list of several as it stands; "" without one.

    Where it offers another one as well ("B, or else C"), the whole line, which equals neither."""
    if several := several_options(line.rstrip(".! ")):
        return several
    found, group = _LEADING_OPTION.match(line), 1
    if not found:
        affirmed = [option for option in _OPTION.finditer(line) if _is_affirmed(option, line)]
        if not affirmed:
            return ""
        found = affirmed[-1]
        group = 3 if found[3] else 4
    hedged = offers_another(line[found.end(group) :]) or _OR_BEFORE.search(line[: found.start(group)])
    return line if hedged else found[group]


def _is_affirmed(option: re.Match, line: str) -> bool:
    at = option.start(3) if option[3] else option.start(4)
    denied = option["no"] or option["nor"] or denied_at(line, at)
    return not denied and qualified_from(line, at) < 0
