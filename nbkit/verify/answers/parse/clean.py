"""The markup of an answer brought to one plain form (notebooks 04, 06 and 07).

`clean` rewrites an answer so that the parsers behind it (`structures.py`, `formula/`) see one spelling of
everything: LaTeX commands and Unicode variants become the same single characters, and wrappers, delimiters
and spacing commands go. The value is untouched.

    clean(r"$\\left\\{ 2\\,\\pi , \\text{five} \\right\\}$.")  # "⦃ 2 π , five ⦄": ⦃⦄ are set braces, {} group
"""

import re
import unicodedata

MAX_ANSWER = 1000  # characters of an answer as written; a longer one is not an answer
_BOLD = re.compile(r"(?<!\S)\*\*([^\s*][^*]*)\*\*(?![\w(])")

FUNCTIONS = frozenset({
    "sin", "cos", "tan", "cot", "sec", "csc", "arcsin", "arccos", "arctan", "sinh", "cosh", "tanh", "ln",
    "log", "lg", "exp", "sqrt", "cbrt", "cis", "abs",
})  # fmt: skip
SYMBOLS = {
    "alpha": "α", "beta": "β", "gamma": "γ", "delta": "δ", "epsilon": "ε", "varepsilon": "ε", "zeta": "ζ",
    "eta": "η", "theta": "θ", "vartheta": "θ", "kappa": "κ", "lambda": "λ", "mu": "μ", "nu": "ν", "xi": "ξ",
    "pi": "π", "rho": "ρ", "sigma": "σ", "tau": "τ", "phi": "φ", "varphi": "φ", "chi": "χ", "psi": "ψ",
    "omega": "ω", "Gamma": "Γ", "Delta": "Δ", "Theta": "Θ", "Lambda": "Λ", "Sigma": "Σ", "Phi": "Φ",
    "Psi": "Ψ", "Omega": "Ω", "infty": "∞", "cup": "∪", "cap": "∩", "in": "∈", "le": "≤", "leq": "≤",
    "leqslant": "≤", "ge": "≥", "geq": "≥", "geqslant": "≥", "ne": "≠", "neq": "≠", "lt": "<", "gt": ">",
    "pm": "±", "mp": "∓", "cdot": "*", "times": "*", "ast": "*", "div": "/", "emptyset": "∅",
    "varnothing": "∅", "mid": "|", "vert": "|", "lvert": "|", "rvert": "|", "lVert": "|",
    "rVert": "|", "lbrace": "⦃", "rbrace": "⦄",
    "langle": "⟨", "rangle": "⟩", "lfloor": "⌊", "rfloor": "⌋", "lceil": "⌈", "rceil": "⌉", "sqrt": "√",
    "approx": "≈", "setminus": "∖", "backslash": "∖", "degree": "°", "circ": "°", "colon": ":", "ldots": "…",
    "dots": "…", "cdots": "…", "dotsc": "…", "dotsb": "…", "dotso": "…", "hdots": "…", "lor": " or ",
    "vee": " or ", "land": " and ", "wedge": " and ", "R": "ℝ", "equiv": "≡",
    "notin": "∉", "nless": "≥", "ngtr": "≤", "nleq": ">", "ngeq": "<",
    "imath": "i", "jmath": "j", "prime": "'", "int": "∫", "sum": "∑", "to": "→", "rightarrow": "→",
    "angle": "∠", "measuredangle": "∠",
}  # fmt: skip
_DROPPED = {
    "left", "right", "big", "Big", "bigg", "Bigg", "bigl", "bigr", "Bigl", "Bigr", "biggl", "biggr",
    "Biggl", "Biggr", "displaystyle", "textstyle", "limits", "quad", "qquad", "rm", "bf", "it", "tiny",
    "small", "large",
    "Large", "LARGE", "huge", "Huge", "normalsize", "scriptsize", "footnotesize",
    "hspace", "hfill", "thinspace", "enspace",
}  # fmt: skip
_COMMANDS = (
    FUNCTIONS
    | SYMBOLS.keys()
    | _DROPPED
    | {"frac", "dfrac", "tfrac", "binom", "text", "mathbb", "mathrm", "not"}
)
_SAME = str.maketrans(
    {
        "−": "-", "–": "-", "—": "-", "×": "*", "·": "*", "⋅": "*", "∙": "*", "∗": "*", "÷": "/", "⁄": "/",
        "∕": "/", "⩽": "≤", "≦": "≤", "⩾": "≥", "≧": "≥", "º": "°", "˚": "°", "、": ",", "。": ".",
        "“": '"', "”": '"', "‘": "'", "’": "'", "′": "'", "〈": "⟨", "〉": "⟩", "∣": "|", "ϕ": "φ", "ϵ": "ε",
        "△": "\\triangle ", "ø": "∅", "Ø": "∅", "∨": " or ", "∧": " and ",
    }
)  # fmt: skip
_RAISED, _LOWERED = "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻ⁿ", "₀₁₂₃₄₅₆₇₈₉"
_VULGAR = re.compile("[¼-¾⅐-⅞]")
# Direction marks can make an answer read differently from what it is; control characters have no use here.
_FORBIDDEN = re.compile("[\x00-\x08\x0b-\x1f\x7f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_INVISIBLE = re.compile("[\u200b-\u200f\u2060\ufeff\u00ad]")
_THIN_SPACE = re.compile("(?<=[0-9])[\u2009\u202f\u00a0\u2006](?=[0-9]{3}(?![0-9]))")
# Relations behind \not, which some fonts write as a stroke before the sign.
_NEGATED = {"=": "≠", "∈": "∉", "<": "≥", ">": "≤", "≤": ">", "≥": "<", "≡": "≢", "|": "∤"}
_WRAPPER = re.compile(
    r"\\(?:text(?:bf|it|rm|sf|tt|sc|up|md|normal)?|emph|math(?:rm|bf|it|sf|tt|cal|normal)|mbox|hbox|operatorname\*?|boldsymbol|bm"
    r"|vec|hat|widehat|boxed|fbox|underline)(?![a-zA-Z])\s*(?:\{((?:[^{}]|\{[^{}]*\})*)\})?"
)
# Between vectors a cross is no dot: it gets a sign of its own, with which nothing is computed.
_VECTOR = re.compile(
    r"\\(?:vec|overrightarrow|mathbf|boldsymbol|bm)(?![a-zA-Z])\s?(?:[A-Za-z]|\{\s?(?:[A-Za-z]{1,2}|\\[a-z]{1,9})\s?\})"
)
_ARROW = re.compile(r"\\(?:vec|overrightarrow)\s?\{\s?([A-Z])\s?([A-Z])\s?\}")  # from A to B, with an order
_CROSS = re.compile(r"(?<!(?<!_)[0-9])\s{0,3}(?:\\times(?![a-zA-Z])|\*)(?! ?[0-9])")
_GROUP = r"((?:[^{}]|\{[^{}]{0,60}\}){1,80}?)"  # what a group may hold
_INDEX = r"\{? ?([0-9]{1,3}|[a-zA-Z]) ?\}?"


def _chosen(match: re.Match) -> str:
    """C_n^k as a binomial coefficient; C_2^3 stays a power."""
    below, above = match.groups()
    counts = not (below.isdigit() and above.isdigit()) or int(below) > int(above)
    return f"\\binom {{{below}}}{{{above}}}" if counts else match[0]


_REWRITES = [
    (re.compile(rf"\{{{_GROUP}\\(?:(choose)|over)(?![a-zA-Z]){_GROUP}\}}"), lambda m: _divided(*m.groups())),
    (
        re.compile(r"^\$?([^{}$\\=]{1,40})\\(?:(choose)|over)(?![a-zA-Z])([^{}$\\=]{1,40})\$?$"),
        lambda m: _divided(*m.groups()),
    ),
    (re.compile(rf"(?<![a-zA-Z\\_}}])C ?_ ?{_INDEX} ?\^ ?{_INDEX}(?![a-zA-Z0-9])"), _chosen),
    # The indices before the letter: {}_nC_k, ^nC_k, _5P_2.
    (
        re.compile(rf"(?:(?<![\w)}}\]])|\{{ ?\}}) ?[_^] ?{_INDEX} ?([CP]) ?_ ?{_INDEX}(?![a-zA-Z0-9])"),
        r" \2(\1,\3) ",
    ),
    (re.compile(r"(?<=[0-9])\{ ?: ?\}(?=[0-9])"), ":"),
    (re.compile(r"\\\\(?:\[[^\]]*\])?"), " ↵ "),  # the end of a matrix row
    # Thousands: 1{,}234, 1,\!234, 1\,234; any other {,} is a decimal comma or a list.
    (re.compile(r"(?<=[0-9])(?: ?\{ ?, ?\} ?|,\\! ?|\\[,;:! ])(?=[0-9]{3}(?![0-9]))"), ""),
    (re.compile(r"(?<=[0-9])\{,\}(?=[0-9])"), "."),
    (re.compile(r"\{,\}|,\\!"), ","),
    (re.compile(r"\\q?quad"), " "),
    (re.compile(r'\\"'), '"'),
    (re.compile(r"\\textsuperscript(?![a-zA-Z])"), "^"),
    (re.compile(r"\\p?mod\s?\{([^{}]*)\}|\\pmod\s?([0-9a-z])"), r" (mod \1\2)"),
    (re.compile(r"\\b?mod(?![a-zA-Z])"), " mod "),
    (re.compile(r"\\mathbb\s*\{?\s*([RNZQC])\s*\}?"), lambda m: "ℝℕℤℚℂ"["RNZQC".index(m[1])]),
    (re.compile(r"\\[dtc]frac(?![a-zA-Z])"), r"\\frac "),
    (re.compile(r"\\[dt]binom(?![a-zA-Z])"), r"\\binom "),
    (re.compile(r"\\(?:left|right|[bB]igg?[lr]?)\s*\."), " "),
    (re.compile(r"\\[,;:!> ]|~"), " "),
    (re.compile(r"\\[()\[\]]"), " "),
    (re.compile(r"\\\{"), "⦃"),
    (re.compile(r"\\\}"), "⦄"),
    (re.compile(r"\\\|"), "|"),
    (re.compile(r"\\([%#&_])"), r"\1"),
]
_LAST = [
    (re.compile(r"\^\s*\{?\s*°\s*\}?"), "°"),
    (re.compile(r"\^\s*\{\s*'+\s*\}|\^\s*'"), "'"),
    (re.compile(r"\*\*"), "^"),
    (re.compile(r"<=|=<"), "≤"),
    (re.compile(r">=|=>"), "≥"),
    (re.compile(r"(?:\\not|\u0338) {0,3}([=∈<>≤≥≡|])"), lambda match: _NEGATED[match[1]]),
    (re.compile(r"!=|=/=|/=|<>"), "≠"),
    (re.compile(r"\+\s*/\s*-"), "±"),
    (re.compile(r"百分之 ?([0-9.]+)"), r"\1%"),
    (
        re.compile(r"(?<![0-9.,/])([0-9]{1,20}(?:\.[0-9]{1,20})?) ?(?:‰|(?:per ?mille|permill?)(?![a-z]))"),
        r"\\frac {\1}{1000}",
    ),
    (re.compile(r"\s+"), " "),
    (
        re.compile(
            r"(?<=[0-9}]) ?\((?!(?:not|mod|base|binary|octal|hex|wrong|incorrect|false|maybe|perhaps"
            r"|possibly|if|unless|else|otherwise|rejected|discarded|invalid|extraneous|too|fails|failed"
            r"|nope)\b)[a-z]{3,}(?:[ -][a-z]{3,})*\)\.? ?$"
        ),
        "",
    ),  # 5 (five)
    (re.compile(r"(?<![0-9.])([0-9]+) ?\^ ?\{? ?(st|nd|rd|th) ?\}?(?![a-zA-Z])"), r"\1\2"),  # an ordinal
    (  # thousands with spaces or apostrophes; "1 234/567" is a mixed number
        re.compile(
            r"(?<![\w.,'^/])(?<![0-9] )[1-9][0-9]{0,2}(?:(?: [0-9]{3})+|(?:'[0-9]{3})+)"
            r"(?![0-9'_^!]| ?[/\\]| [0-9]|,[0-9])"
        ),
        lambda match: re.sub("[ ']", "", match[0]),
    ),
    (re.compile(r"\. ?\. ?\.+"), "…"),
    (re.compile(r"(?<=[0-9]) ?…[. ]*$"), ""),  # 3.14…
]
_SPREAD = 4  # normal forms of Unicode may be longer than what was written
_LEAD = re.compile(
    r"[≈=]\s*|the\s(?=[0-9]{1,30}(?:st|nd|rd|th)\b)|(?:approximately|about|exactly|only|either|both"
    r"|(?:the )?(?:final )?answer(?: is\b)?:?)"
    r"\s+(?=\S)"
    r"|(?:所以|因此|故|答案?|[一总合]?共[有计]?|合计|总计|大概|大?约|等于|即|[是为第]){1,4}[: ]?"
    r"(?=[-$(]?(?:[0-9√π]|\\[a-z]))",
    re.IGNORECASE,
)


def acceptable(text: object) -> bool:
    """Is this an answer that may be looked at: a string of bounded length, no control or direction marks?"""
    return isinstance(text, str) and 0 < len(text) <= MAX_ANSWER and not _FORBIDDEN.search(text)


def balanced(text: str) -> bool:
    """Do the LaTeX groups of a text close, none before it opens?"""
    depth = 0
    for brace in re.findall(r"(?<!\\)[{}]", text.replace("\\\\", "")):
        depth += 1 if brace == "{" else -1
        if depth < 0:
            return False
    return depth == 0


def clean(text: str) -> str:
    """One spelling for markup, Unicode variants and spacing (see above); "" for what is too long."""
    text = _unicode(text[: MAX_ANSWER + 1])
    # Unicode's wide forms may grow: what is no answer by its length is not worth reading.
    if len(text) > _SPREAD * MAX_ANSWER:
        return ""
    text = _BOLD.sub(r"\1", text)
    if _VECTOR.search(text):
        text = _CROSS.sub("⨯", text)
    text = _ARROW.sub(r" ⇀\1\2 ", text)
    if "\\begin" not in text:  # where no row can end, two of them come of escaping twice
        text = re.sub(r"\\\\([a-zA-Z]+)", lambda match: match[0][match[1] in _COMMANDS :], text)
    for pattern, replacement in _REWRITES:
        text = pattern.sub(replacement, text)
    text = _dollars(text)
    for _ in range(3):  # wrappers nest; what is left of one is its group
        text = _WRAPPER.sub(lambda match: f" {match[1] or ''} ", text)
    # Known commands become single signs, unknown ones are left for the reader to refuse.
    text = re.sub(r"\\([a-zA-Z]+)", _command, text)
    for pattern, replacement in _LAST:
        text = pattern.sub(replacement, text)
    text = text.strip(' \t\n`"*_').rstrip('.,; "')
    return _LEAD.sub("", text, count=1) if _LEAD.match(text) else text


def _divided(above: str, choose: str | None, below: str) -> str:
    """{a \\choose b} and {a \\over b}, the ways of plain TeX."""
    return f"\\{'binom' if choose else 'frac'} {{{above.strip()}}}{{{below.strip()}}}"


def _unicode(text: str) -> str:
    text = _THIN_SPACE.sub("", _INVISIBLE.sub("", text))
    text = _VULGAR.sub(_vulgar, text)
    for script, sign in ((_RAISED, "^"), (_LOWERED, "_")):
        plain = str.maketrans(script, "0123456789+-n"[: len(script)])
        text = re.sub(f"[{script}]+", lambda m, p=plain, s=sign: f"{s}{{{m[0].translate(p)}}}", text)
    text = text.replace("ℝ", r"\mathbb{R}").replace("ℤ", r"\mathbb{Z}").replace("ℕ", r"\mathbb{N}")
    text = text.replace("ℚ", r"\mathbb{Q}").replace("ℂ", r"\mathbb{C}").replace("∛", r"\sqrt[3]")
    text = text.replace("…", r"\ldots ").replace("∖", r"\setminus ").replace("\u2033", "''")
    return unicodedata.normalize("NFKC", text).translate(_SAME)


def _vulgar(match: re.Match) -> str:
    top, bottom = unicodedata.normalize("NFKC", match[0]).split("⁄")
    return f"\\frac{{{top}}}{{{bottom}}}"


def _dollars(text: str) -> str:
    r"""`$…$` delimits a formula and goes; `\$` and a lone `$` before a number are money and stay as "$"."""
    text = text.replace(r"\$", "\x00").replace("$$", " ")
    if text.count("$") % 2:
        text = re.sub(r"\$(?=\s*-?[0-9.])", "\x00", text, count=1)
    return text.replace("$", " ").replace("\x00", "$")


def _command(match: re.Match) -> str:
    name = match[1]
    if name in FUNCTIONS and name != "sqrt":
        return f" {name} "
    if name in _DROPPED:
        return " "
    symbol = SYMBOLS.get(name)
    if symbol is None:
        return f"\\{name} "
    return symbol
