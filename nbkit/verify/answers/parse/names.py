r"""Do the left sides of two answers name the same thing (for `structures.py`)?

same_names("f(2)", "f(3)")  # False: values of different things, whatever they are
same_names("Area", "A")  # True: a word and a letter may mean the same
same_names("x", "y")  # None: compare the two equations
"""

import re

from nbkit.verify.answers.parse import formula
from nbkit.verify.answers.parse.rational import exact

_APPLIED = re.compile(r"([a-zA-Z]+'*(?:\^\{?-?[0-9]\}?)?)[(\[]([^()\[\]]+)[)\]]")
_COMPLEMENT = re.compile(r"\\(?:overline|bar)\{?([A-Z])\}?|([A-Z])(?:'|\^\{?[cC]\}?)")
_LETTER = re.compile(r"([a-zA-Zα-ωΑ-Ω])(?:_(?:\{([^{}]*)\}|([a-zA-Z0-9])))?('*)")
_WORDS = re.compile(r"[a-zA-Z]{3,}(?: ?[a-zA-Z]{2,})*")
_FIGURE = re.compile(r"\|?(?:\\overline ?\{?)?([A-Z]{2,4}'?)\}?\|?")
_RATIO = re.compile(r"[/:]|\\frac")
_DERIVATIVE = re.compile(r"d[a-z]/d[a-z]|\\frac ?\{d[a-z]?\} ?\{d[a-z]\}(?:\([a-z]\))?|[a-z]'(?:\([a-z]\))?")
_FUNCTION = re.compile(r"(sin|cos|tan|cot|sec|csc)[ (]?(.*?)\)?")
# A command or a known word, and what it is applied to: \max, \det A, Var(X), \mathbb {E}[X].
_OPERATOR = re.compile(
    r"(?:\\(?!frac|overline|bar|triangle|hat|dot|ddot|mathbb)(?P<command>[a-zA-Z]{2,14})(?![a-zA-Z])"
    r"|\\mathbb ?\{?(?P<double>[A-Z])\}?"
    r"|(?P<word>det|tr|trace|rank|rk|dim|ker|nullity|lcm|gcd|max|min|sup|inf|arg|deg|ord|sgn|span|Re|Im|Res|Var|Cov|Corr|Pr|SD)"
    r"(?![a-z]))(?:_ ?(?:\{[^{}]{0,40}\}|\w))?(?P<argument>.{0,80})"
)
_SAME_OPERATOR = {"trace": "tr", "rk": "rank", "Pr": "P"}
_DRESS = re.compile(r"\\(?:mathbb|triangle|overline|bar|overrightarrow|vec)(?![a-z])")
_LITTLE = {"the", "an", "of", "for", "in", "answer", "value", "result", "total", "ans", "final", "solution"}


def same_names(one: str, other: str) -> bool | None:
    """True: their values decide. False: they name different things. None: compare them as equations."""
    if one == other:
        return True
    one, other = (re.sub(r"\\triangle|∠", "", name).strip() for name in (one, other))
    if all(len(name) == 1 or _RATIO.search(name) for name in (one, other)) and not _derivatives(one, other):
        return None
    if _derivatives(one, other):
        return True
    if None not in (operators := [_operator(name) for name in (one, other)]):
        return operators[0][0] == operators[1][0] and _same_arguments(operators[0][1], operators[1][1])
    kinds = [_kind(name) for name in (one, other)]
    if kinds[0][0] != kinds[1][0]:
        return not {kinds[0][0], kinds[1][0]} <= {"letter", "figure", "function"}
    return _same(*kinds)


def _derivatives(one: str, other: str) -> bool:
    return bool(_DERIVATIVE.fullmatch(one) and _DERIVATIVE.fullmatch(other))


def _operator(name: str) -> tuple[str, str] | None:
    """("det", "A") of \\det A, det(A); ("E", "X") of \\mathbb {E}[X] and E[X]; None for any other name."""
    if match := _OPERATOR.fullmatch(name):
        word = match["command"] or match["double"] or match["word"]
        return _SAME_OPERATOR.get(word, word), match["argument"].strip("()[]{} ")
    if match := re.fullmatch(r"([EPD])[(\[](.{1,80})[)\]]", name):
        return match[1], match[2].strip()
    return None


def _kind(name: str) -> tuple:
    """("letter", letter, subscript, primes), ("call", function, argument), ("figure", corners) …"""
    if name[0] == "⇀":
        return "vector", name
    if match := _LETTER.fullmatch(name):
        return "letter", match[1], (match[2] or match[3] or "").replace(" ", ""), match[4]
    if (match := _FUNCTION.fullmatch(name)) and match[2]:
        return "function", match[1], match[2]
    if match := _APPLIED.fullmatch(name):
        return "call", match[1], match[2]
    if match := _FIGURE.fullmatch(name):
        return "figure", min(match[1], match[1][::-1])
    if _WORDS.fullmatch(name):
        return "words", frozenset(re.findall("[a-z]{2,}", name.casefold())) - _LITTLE
    return "other", name


def _same(one: tuple, other: tuple) -> bool:
    if one[0] == "letter":
        corners = [re.fullmatch("[A-Z]{2,}", kind[2]) and sorted(kind[2]) for kind in (one, other)]
        subscripts = one[2] == other[2] or not (one[2] and other[2]) or (corners[0] or 0) == corners[1]
        return one[1] == other[1] and one[3] == other[3] and subscripts
    if one[0] == "call":
        return one[1] == other[1] and _same_arguments(one[2], other[2])
    if one[0] == "words":
        return not (one[1] and other[1]) or bool(one[1] & other[1])
    return one[0] == "other" and _parts(one[1]) == _parts(other[1]) or one == other


def _parts(name: str) -> list[str]:
    """The operators, figures and numbers of a name: \\max f is not \\min f, and [ABC] is [CBA]."""
    found = re.findall(r"\\[a-zA-Z]+|[A-Z]+|[0-9]+", _DRESS.sub("", name))
    return ["".join(sorted(part)) if part.isalpha() else part for part in found]


def _same_arguments(one: str, other: str) -> bool:
    """False for different numbers or capital letters: f(2), f(3); P(A), P(B); x in f(x) is free."""
    known = [_known_argument(text) for text in (one, other)]
    return None in known or known[0] == known[1]


def _known_argument(text: str) -> object:
    """What an argument says, where it holds no variable; A∩B is B∩A and AB, and A' is the complement of A."""
    parts = [formula.parse(part) for part in text.split(",")]
    if all(parts) and not any(formula.variables(part) for part in parts):
        values = [exact(part) for part in parts]
        return [part if value is None else value for part, value in zip(parts, values, strict=True)]
    if not re.fullmatch("[A-Z0-9∪∩|,=]+", _COMPLEMENT.sub("A", text)):
        return None
    text = _COMPLEMENT.sub(lambda match: (match[1] or match[2]).lower(), text)
    return text if re.search("[|=]", text) else sorted(re.sub("[∩,]", "", text))
