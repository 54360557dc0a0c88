r"""Where a value in a sentence begins, and where a clause behind it ends it (for `statements.py`).

first_clause("5, since 2 + 3 = 5", cut=True)  # "5"
first_clause("2, 3, and 5 are prime", cut=True)  # "2, 3, and 5"
"""

import re

from nbkit.verify.answers.extract.equations import formulas

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
_CLAUSE = (  # what no longer belongs to a value
    r"\s(?:but|with|if|rather|while|unless|including|instead|per(?=\s\w{1,12},\s)"
    r"|because|since|so|as|which|that|hence|therefore|thus|given|is|was|are|in (?:total|all)|altogether"
    r"|overall|after|based|according|obtained|rounded|by|from|not|non|nicht|of|where|when"
    r"|and (?:the|she|he|it|this|that|so|we|they|I)|for(?! all\b| every\b| any\b| some\b| \$| [a-z]\b))\b"
    r"|\s\((?=[A-Za-z]{3})(?!mod|or |and )|\s[(\[](?=[0-9]{1,9}\s[a-z]{2}|see\b|as\b)"
    r"|,?\s(?:i\.e|e\.g)\.|\sin base (?:10|ten)\b|:\s(?=[a-z]{2})"
    r"|\s(?:[–—→]|-(?=\s(?:the|not|that|this|it|which|as|so)\b))\s(?=[0-9]{0,9}\s?[a-z]{2})"
    r"|\s?(?:です|である|だ(?=。|$)|입니다|이다)"
)
_BREAK = re.compile(
    rf"\\?[(\[{{]|\\?[)\]}}]|\\.|\.(?=\s|$|[{CJK}\"'])|[。！？]|[?!](?=\s|$)|[,;](?=\s|$|[{CJK}])|{_CLAUSE}"
)
_SPACES = re.compile(r"^(?:\s|\\[,;:! ]|\\q?quad(?![a-z])|~)+")
_SHARE = re.compile(
    r"(?:%|\spercent|/[0-9]{1,9}|\\frac\S{2,30}|\sout)\$?$"
)  # 3/4 of 16 and 3 out of 4 are whole
_OPERATED = ("divided", "multiplied", "increased", "decreased", "reduced")  # 8 divided by 2 is whole
_LINKED = re.compile(r"(?:and|or|或|和)\s+")


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
            return line[: mark.start()].strip()
    return line.strip()


def _ends(line: str, mark: re.Match, cut: bool) -> bool:
    sign, rest = mark[0], _SPACES.sub("", line[mark.end() :], count=1)
    # A dot ends the sentence, unless it is one of several ("...").
    if sign == ".":
        return line[max(0, mark.start() - 1) : mark.start()] != "." or not rest
    if sign.strip() == "of" and re.match(r"\s{0,3}\$?[0-9]", line[mark.end() :]):
        return cut and not _SHARE.search(line[max(0, mark.start() - 40) : mark.start()])
    if sign.strip() == "by" and line[: mark.start()].endswith(_OPERATED):
        return False
    if sign in "。！？?":
        return True
    if sign == "!":  # behind a number it is a factorial
        return line[max(0, mark.start() - 2) : mark.start()].isalpha()
    # A comma ends it only where no further value follows: "2, 3, and 5" is one answer.
    if sign in ",;":
        linked = _LINKED.match(rest)
        return cut and bool(rest) and not starts_with_value(rest[linked.end() :] if linked else rest)
    return cut
