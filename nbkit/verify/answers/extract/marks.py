r"""Answers that stand in a list or name an option, (A) to (J) (for `statements.py` and `answer.py`).

list_items("\n\n- 14\n- 15")  # ["14", "15"]: below a marker such as "Answer:", a mark is no minus sign
named_option("option C, Cecile")  # ("C", ", Cecile")
stated_option("option C: 42")  # "(C) 42"
option_letter("so B is correct")  # "B"
"""

import re

from nbkit.verify.answers.extract.bounds import denied_at, qualified_from
from nbkit.verify.answers.extract.clauses import CJK, first_clause, starts_with_value
from nbkit.verify.answers.extract.hedges import offers_another
from nbkit.verify.answers.extract.markup import tidy

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
