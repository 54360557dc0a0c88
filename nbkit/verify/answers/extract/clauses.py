r"""Where a value in a sentence begins, and where a clause behind it ends it (for `statements.py`).

first_clause("5, since 2 + 3 = 5", cut=True)  # "5"
first_clause("2, 3, and 5 are prime", cut=True)  # "2, 3, and 5"
"""

import re

from nbkit.verify.answers.extract.equations import formulas
from nbkit.verify.answers.extract.markup import END_OF_PROOF, PICTURES
from nbkit.verify.answers.extract.numerals import NUMBER_WORDS
from nbkit.verify.answers.parse import formula
from nbkit.verify.answers.parse.clean import clean
from nbkit.verify.answers.parse.rational import exact

CJK = "\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af"
_OPERATION = (
    r"\s{0,3}(?:[=<>≤≥≠∈∉+*/^]|!=|[-−](?=\s?[\w\\])"
    r"|\\(?:leq?|geq?|lt|gt|neq?|not|in|notin|approx|equiv|pm|cdot|times)(?![a-z]))"
)
_VALUE = re.compile(
    r"(?:[<>≤≥≠]=?\s?)?[-+−±]?\s?(?:[$€£¥]|\\\$)?\s?"
    r"(?:\.?[0-9]|[√π∞∅¼-¾|⟨]|\\(?![,;:! ]|text\s*\{\s*[a-z]|$)|[(\[{](?=[-+\s\\$]{0,4}[\w√π|({\[∞])|\$)"
    rf"|[-+]?[A-Za-z](?:[_^'][\w{{}}(]{{1,9}}|\([^()\s]{{1,9}}\))?{_OPERATION}"  # x = …, f(x) = …, n + 1
    r"|[-+]?[A-Za-z]{2,4}[=<>+*/^-](?=[\w\\(])|[-+]?[a-z](?=$|[.,;])|[a-z]\((?=[^()\s]{0,20}[0-9])"
    rf"|[A-HJ](?=$|[.,:;)]|\s+(?:because|since|as|and|or|not|non|nicht)\b|\s+[A-Z0-9$\\]|[{CJK}])"
)
_WORDS = (  # conjunctions, relatives, prepositions, verbs and adverbs that begin a clause: a closed class
    r"but|with|if|rather|while|whilst|unless|including|instead|because|since|so|as|which|who|whom|whose|that|what|why"
    r"|hence|therefore|thus|consequently|accordingly|however|nevertheless|nonetheless|indeed|namely|given|granted"
    r"|is|was|are|were|has|have|had|can|could|will|would|should|must|may|might|does|do|did|equals|works|satisfies"
    r"|altogether|overall|after|before|based|according|obtained|rounded|provided|found|shown|computed|calculated"
    r"|by|from|of|on|upon|during|within|via|among|across|despite|due|owing|thanks|regardless|not|non|nicht"
    r"|no\smatter|unlike|besides|inside|outside|amid|regarding|although|though|even(?=\s(?:though|if|when|as|after)\b)|albeit|whereas|whenever|wherever|whether"
    r"|whichever|where|when|once|lest|in case"
    r"|(?:we|she|he|they|it|you|this|there)(?=\s[a-z])"
    r"|at(?!\s(?:least|most|(?:the\s)?(?:very\s)?(?:minimum|maximum|best|worst))\b)"
    r"|[a-z]{2,14}ing(?=\s)|per(?=\s\w{1,12},\s)|(?:without|until|till)(?!\s[$0-9])"
    r"|in(?=\s(?!base\b|binary|hex|octal|by\b|per\b|and\b|or\b)[a-z]{3})"
    rf"|to(?=\s(?:the\snearest\b|(?!the\b|an?\b|infinity\b|pi\b|about\b|around\b|roughly\b|{NUMBER_WORDS}\b)[a-z]{{2}}))"
    rf"|and(?=\s(?!an?\b|half\b|infinity\b|pi\b|sqrt\b|also\b|maybe\b|perhaps\b|possibly\b|{NUMBER_WORDS}\b)(?:I\b|[A-Z]?[a-z]{{2}}))"
    r"|and(?=\s[0-9][0-9 +*/×·^().-]{1,60}=)"
    r"|for(?!\sall\b|\severy\b|\sany\b|\ssome\b|\s\$(?![^$\s=]{1,9}\s?=)|\s[a-z]\b(?!\s?=))"
)
_CLAUSE = (  # what no longer belongs to a value
    rf"\s(?:{_WORDS})\b"
    r"|\s[(\[](?=[A-Za-z]{3}|[a-z]{2}\s|i\.e|e\.g)(?!mod|or |and |(?:in )?(?:base|binary|octal|hex))"
    r"|\s[(\[](?=[0-9]{1,9}\s[a-z]{2}|=|[0-9][0-9 +*/×·^.-]{0,40}=)"
    r"|\s[({\[](?=[0-9][0-9 +*/×·^.-]{1,40}[)}\]])"  # a calculation, which must have that value
    r"|,?\s(?:i\.e|e\.g)\.|\sin base (?:10|ten)\b|:\s(?=[a-z]{2})"
    r"|\s(?:[–—→]|-{1,3}(?=\s(?!sin|cos|tan|cot|sec|csc|log|exp|sqrt|arc)[a-z]{2,20}\b))\s(?=[0-9]{0,9}\s?[a-z]{2})"
    rf"|\s?[{PICTURES}]|\s?{END_OF_PROOF}|\s?[…—]\s?(?=[A-Za-z]{{2}})"
    r"|\s?\.{3,9}\s?(?=[A-Za-z]{2})(?!and\s[0-9])|\s(?:#|//|/\*|<--?|←|[:;]-?\)|\^_\^|¯)(?=\s|$|\\)"
    r"|\s?(?:です|である|だ(?=。|$)|입니다|이다)"
)
_BREAK = re.compile(
    rf"\\?[(\[{{]|\\?[)\]}}]|\\.|\.(?=\s|$|[{CJK}\"'])|[。！？]|\?(?=\s|$)|!{{1,9}}(?=\s|$)|[,;](?=\s|$|[{CJK}])|{_CLAUSE}"
)
_SPACES = re.compile(r"^(?:\s|\\[,;:! ]|\\q?quad(?![a-z])|~)+")
_SHARE = re.compile(
    r"(?:%|\spercent|/[0-9]{1,9}|\\frac\S{2,30}|\sout)\$?$"
)  # 3/4 of 16 and 3 out of 4 are whole
_SHORT = re.compile(r"(?<![a-zA-Z])(?:sq|cu|approx|fl|no|vs)$")
_SENTENCE = re.compile(r"(?:[A-Z]['’a-z]{1,20}|I|A)\b")
_OPERATED = ("divided", "multiplied", "increased", "decreased", "reduced")  # 8 divided by 2 is whole
_LINKED = re.compile(r"(?:and|or|或|和)\s+")
_CALCULATION = re.compile(r"[0-9][0-9 +*/×·^().-]{0,60}=")  # "60, 5*12 = 60"
_SAYS = re.compile(r"[0-9]{1,9}\s[a-z]{2}|[0-9 +*/×·^.-]{1,60}=")
_GOES_ON = re.compile(r"\s[A-Za-z]{2}")  # "7... done"


def starts_with_value(text: str) -> bool:
    """Does a text begin with a number, a formula or the letter of an option?"""
    return bool(_VALUE.match(text))


def first_clause(line: str, cut: bool) -> str:
    """The first sentence; with `cut` only up to where a clause begins that is no further value."""
    protected = formulas(line)
    depth, inner = 0, 0
    for mark in _BREAK.finditer(line):
        # Signs inside a formula end no clause; both lists are walked once, so the time is linear.
        while inner < len(protected) and protected[inner][1] <= mark.start():
            inner += 1
        if inner < len(protected) and protected[inner][0] <= mark.start():
            continue
        sign = mark[0]
        if sign[-1] in "([{" and not sign[0].isspace():
            depth += 1
        elif sign[-1] in ")]}":
            depth = max(0, depth - 1)
        elif depth == 0 and sign[0] != "\\" and _ends(line, mark, cut):
            return line[: mark.start()].rstrip(" .") if sign == "." else line[: mark.start()].strip()
    return line.strip()


def _ends(line: str, mark: re.Match, cut: bool) -> bool:
    sign, rest = mark[0], _SPACES.sub("", line[mark.end() :], count=1)
    # A dot ends the sentence, unless it is one of several ("...").
    if sign == ".":
        if _SHORT.search(line[max(0, mark.start() - 8) : mark.start()]) and rest[:1].islower():
            return False  # sq. units
        dots = line[max(0, mark.start() - 1) : mark.start()] == "."
        return not dots or not rest or (cut and bool(_GOES_ON.match(line, mark.end())))
    if sign.strip() and sign.strip() in "({[" and rest[:1].isdigit() and not _SAYS.match(rest):
        return cut and _same_value(line[: mark.start()], re.split(r"[)}\]]", rest, maxsplit=1)[0])
    if sign.strip() == "of" and re.match(r"\s{0,3}\$?[0-9]", line[mark.end() :]):
        return cut and not _SHARE.search(line[max(0, mark.start() - 40) : mark.start()])
    if sign.strip() == "by" and line[: mark.start()].endswith(_OPERATED):
        return False
    if sign in "。！？?":
        return True
    if sign[0] == "!":  # behind a number one is a factorial, unless another sentence follows
        letters = line[max(0, mark.start() - 2) : mark.start()].isalpha()
        return letters or len(sign) > 1 or bool(_SENTENCE.match(rest))
    # A comma ends it only where no further value follows: "2, 3, and 5" is one answer.
    if sign in ",;":
        linked = _LINKED.match(rest)
        rest = rest[linked.end() :] if linked else rest
        return cut and bool(rest) and (not starts_with_value(rest) or bool(_CALCULATION.match(rest)))
    return cut


def _same_value(before: str, calculation: str) -> bool:
    """Does a bracket hold a calculation of the number before it: 60 (5 · 12)? Of 2 (3 + 4) it is a factor."""
    number = re.search(r"[0-9][0-9.,]{0,30}(?=[$*]{0,3}(?:\s[a-z]{2,20}){0,2}$)", before[-80:])
    sides = [formula.parse(clean(text)) for text in (number[0] if number else "", calculation)]
    return all(sides) and exact(sides[0]) == exact(sides[1]) is not None
