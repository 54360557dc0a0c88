"""Several answers side by side: lists of boxes, hedges between boxes, tags or `####` (for `answer.py`).

tied(" and ")  # True: \\boxed{2} and \\boxed{3} are one list
tied("\n- ", "- ")  # True: so are two boxes in two items of a list
hedged("\nAlternatively: ")  # True: "<answer>6</answer>\nAlternatively: <answer>5</answer>" is a hedge
"""

import re

from nbkit.verify.answers.extract.hedges import takes_back

_GAP_NOISE = re.compile(
    r"\\(?:text|mathrm|mbox|textbf|quad|qquad|left|right|[,;:! ()\[\]])|[${}*~]"
    r"|[A-Za-z](?:\\?_\{?\w{1,3}\}?|\([a-z]\))?\s{0,3}=(?=\s{0,3}$)"
)
_JOINS = re.compile(r"(?:^|.*[\s,;])(?:and|or|und|et|ou|y|o|和|或|或者|与)$|.*[,;]$", re.IGNORECASE)
_HEDGES = re.compile(  # a second try, not a correction
    r"(?:[\s,;:.?(\[–—-]|\b(?:if\snot|failing\sthat|hm{1,3}|or|and|else|maybe|perhaps|possibly|alternatively|otherwise|vs|versus|either|could|might"
    r"|be|it|is|also|may)\b){1,12}",
    re.IGNORECASE,
)
OTHER_FORM = re.compile(r",[\s$]*(?:i\.e\.|or\b(?!\s{1,3}(?:maybe|perhaps|possibly|else|alternatively)))")
_GOES_ON = re.compile(
    r"\b(?:no|not|wait|but|actually|wrong|so|thus|hence|therefore|then|check|which|gives|is|instead)\b",
    re.IGNORECASE,
)
_LABELS = (
    r"(?:guess|case|possibility|option|attempt|try|candidate|alternative|choice|scenario|answer"
    r"|solution|variant)"
)
_MARK = (
    rf"[ \t>*_]{{0,8}}(?:(?P<bullet>[-+•–‣▪])|(?P<star>(?<=\*))"
    rf"|(?P<number>\(?[0-9]{{1,2}}[.)])|(?P<letter>\(?[a-h]\))"
    rf"|(?P<label>{_LABELS})\s?#?\(?\w{{0,3}}\)?\s?(?:[:.)–—-]|is\b))"
)
_KINDS = ("bullet", "star", "number", "letter", "label")
_ITEM = re.compile(rf"{_MARK}(?P<rest>[^\n]{{0,80}})$", re.IGNORECASE)
_OFFERS = re.compile(
    r"(?:^|[\s,;:.(–—-])(?:or|alternatively|maybe|perhaps|possibly|otherwise|else|if\snot)\b[\s:,.*_]{0,6}$",
    re.IGNORECASE,
)


def tied(gap: str, before: str = "") -> bool:
    """Does what stands between two boxes make one list of them? `before`: the line before the first one."""
    if "\n" in gap and _items(before, gap):
        return True
    if len(gap) > 120:
        return False
    words = " ".join(_GAP_NOISE.sub(" ", gap).split())
    if words in ("/", "|") or (re.search(r"[a-z?]", words, re.IGNORECASE) and _HEDGES.fullmatch(words)):
        return True
    if "\n\n" in gap:
        return False
    if not words:
        return "\n" not in gap
    return bool(_JOINS.match(words)) and len(words.split()) <= 6 and not _GOES_ON.search(words)


def _items(before: str, gap: str) -> bool:
    """Do both boxes stand in items of one list, or behind labels such as "Case 1:"?"""
    behind, _, line = gap.rpartition("\n")
    first, second = _ITEM.fullmatch(before), _ITEM.fullmatch(line)
    if not (first and second) or takes_back(behind) or _GOES_ON.search(behind):
        return False
    kinds = [[name for name in _KINDS if one[name] is not None] for one in (first, second)]
    if kinds[0] != kinds[1]:
        return False
    if kinds[0] == ["label"]:
        return first["label"].casefold() == second["label"].casefold()
    return not any(_GAP_NOISE.sub(" ", one["rest"]).strip() for one in (first, second))


def hedged(gap: str) -> bool:
    """Does the text before a marker end with a word that offers what follows as a second answer?"""
    return bool(_OFFERS.search(gap[-40:]))
