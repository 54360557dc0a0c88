r"""Does the left side of an equation only name the value on the right (for `reading.py`)?

names_value(r"\frac {[ABD]}{[ABC]}")  # True: a ratio of areas
names_value(r"\det A")  # True: a command that formulas do not know is an operator with a name
names_value("x + y")  # False: x + y = 5 may be the answer itself
"""

import re

from nbkit.verify.answers.parse import formula
from nbkit.verify.answers.parse.clean import FUNCTIONS
from nbkit.verify.answers.parse.splitting import NAME, NAMED
from nbkit.verify.answers.values import latex

_INDEX = r"(?: ?_ ?(?:\{[^{}]{0,40}\}|[a-zA-Z0-9]))?"
_CALL = rf"(?:[a-zA-Z]{_INDEX}'{{0,3}} ?\([^()]{{1,60}}\))"
_FIGURE = (  # AB, [ABC], |AB|, \triangle ABC, S_{ABC}
    r"(?:⇀[A-Z]{2}|\[ ?[A-Z]{3,8}'? ?\]"
    r"|\|[A-Z]{2,4}\||(?:\\(?:overline|overrightarrow|triangle) ?)?\{?[A-Z]{2,8}'?\}?"
    r"|[A-Z]_ ?\{[A-Z ]{1,8}\})"
)
_FIGURES = rf"{_FIGURE}(?: ?[+*-]? ?{_FIGURE}){{0,4}}"
_ARGUMENT = (
    rf"(?:{_CALL}|\((?:[^()]|\([^()]{{0,60}}\)){{1,60}}\)|\[[^\[\]]{{1,60}}\]|\{{[^{{}}]{{1,60}}\}}"
    rf"|\|[^|]{{1,60}}\||{NAME}|[A-Z]{{2,8}})"
)
# A name with what it is applied to: \det A, \Pr (A), Re (z), \max _{x} f(x), \mathbb {E}[X].
_OPERATOR = re.compile(
    rf"(?P<name>\\[a-zA-Z]{{2,14}}|[A-Z][a-z]{{1,11}}|[a-z]{{3,12}}"
    rf"|tr){_INDEX} ?{_ARGUMENT}(?: ?{_ARGUMENT})?"
)
_NO_OPERATOR = FUNCTIONS | {"frac", "binom", "begin", "end", "not", "pm"}
_BIG = re.compile(r"[∫∑]|\\(?:prod|lim|sup|inf|i{2,3}nt|oint)(?![a-zA-Z])")
_OTHERS = re.compile(
    rf"{_FIGURE}|\\frac ?\{{ ?{_FIGURES} ?\}} ?\{{ ?{_FIGURES} ?\}}|\(?{_FIGURES}\)? ?[/:] ?\(?{_FIGURES}\)?"
    r"|m [A-Z]{1,4}|m ?\([A-Z]{1,4}\)"  # the measure of an angle
    rf"|[fghFGH]{_INDEX}'{{0,3}} ?\^ ?\{{? ?(?:-1|\([0-9]\)|[0-9]) ?\}}? ?\([^()]{{1,60}}\)"  # f^{{-1}}(2)
    rf"|[fghFGHPEVASTQRD]{_INDEX}'{{0,3}} ?(?:\((?:[^()]|\([^()]{{0,60}}\)){{1,60}}\)|\[[^\[\]]{{1,60}}\])"
    r"|[a-zA-Z] ?\([A-Z](?:[ ∪∩∖|,'A-Z]|\^c){0,30}\)|#(?: ?[A-Z]|\([^()]{1,30}\))"  # n(A∪B)
    r"|[φτσμζΓ] ?\([0-9]{1,20}\)|[CPS] ?\([0-9]{1,9} ?, ?[0-9]{1,9}\)"
    r"|(?:\{ ?\})? ?[_^]? ?\{?[0-9]{1,4}\}? ?[CP] ?_? ?\{?[0-9]{1,4}\}?"
    # Area of \triangle ABC
    rf"|[a-zA-Z]{{3,14}}(?: [a-zA-Z]{{1,14}}){{0,9}}(?: ?{_INDEX}| {_FIGURE}| {_CALL})"
)


def names_value(text: str) -> bool:
    """Is this a quantity by name (f(2), [ABC], \\det A, Area of ABC), rather than a formula of variables?"""
    text = text.replace("∠", " ").replace("  ", " ").strip()
    if NAMED.fullmatch(text) or _BIG.match(text) or _OTHERS.fullmatch(text):
        return True
    operator = _OPERATOR.fullmatch(text)
    return bool(operator) and operator["name"].lstrip("\\") not in _NO_OPERATOR


def is_constant(text: str) -> bool:
    """Is this a calculation without variables: 2 + 3, log_2 8, gcd(12, 18)?"""
    if tokens := formula.parse(text):
        return not formula.variables(tokens)
    read = latex(text) or ""
    return bool(re.search("[0-9]", read)) and not re.search("[a-zA-Z]", re.sub(r"\\[a-zA-Z]+", "", read))
