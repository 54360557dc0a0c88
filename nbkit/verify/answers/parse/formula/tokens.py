"""The tokens of a formula, and reading them one after the other (the grammar is in `grammar.py`)."""

import re

from nbkit.verify.answers.parse.clean import FUNCTIONS

_DIGITS = r"(?:[0-9]{1,3}(?:,[0-9]{3})+(?![0-9])|[0-9]+)"
_TOKEN = re.compile(
    rf"(?P<repeating>[0-9]*\.[0-9]*\\(?:overline|bar|dot) ?\{{?[0-9]+\}}?)"
    rf"|⇀(?P<vector>[A-Z]{{2}})"
    rf"|(?P<number>(?:{_DIGITS}(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]{{1,3}}(?![0-9]))?)"
    r"|(?P<word>[a-zA-Z]+)|\\(?P<command>[a-zA-Z]+)|(?P<sign>.)",
    re.DOTALL,
)
GREEK = "αβγδεζηθκλμνξρστφχψωΓΔΘΛΣΦΨΩ"
NAMED = {"pi": "π", "infty": "∞", "infinity": "∞", "inf": "∞", "theta": "θ", "alpha": "α", "beta": "β",
          "lambda": "λ", "phi": "φ", "omega": "ω", "mu": "μ", "rho": "ρ", "sigma": "σ"}  # fmt: skip
_PLAIN_WORDS = frozenset({
    "or", "and", "to", "of", "is", "no", "not", "if", "the", "for", "all", "yes", "odd", "even", "none",
    "any", "are", "was", "has", "true", "only", "mod", "per",
})  # fmt: skip


class Refused(ValueError):
    """Not a formula of this grammar."""


class TokenStream:
    """The tokens of `text`, each (kind, text, was there a space before it), and where the parser stands.

    Raises Refused at a run of letters that is neither a function nor a constant nor a product of letters.
    """

    def __init__(self, text: str) -> None:
        self.tokens, space = [], False
        for match in _TOKEN.finditer(text):
            kind = match.lastgroup
            if match[kind] == " ":
                space = True
                continue
            if kind == "word":
                self._words(match[kind], space)
            else:
                self.tokens.append((kind, match[kind], space))
            space = False
        self.at = 0

    def _words(self, run: str, space: bool) -> None:
        """A run of letters: a function, a named constant, or a product of letters."""
        if run in FUNCTIONS:
            self.tokens.append(("function", run, space))
        elif run in ("gcd", "lcm"):
            self.tokens.append(("command", run, space))
        elif run in NAMED:
            self.tokens.append(("sign", NAMED[run], space))
        elif run[:-1] in FUNCTIONS:
            self.tokens += [("function", run[:-1], space), ("letter", run[-1], False)]
        elif len(run) <= 4 and run.casefold() not in _PLAIN_WORDS:
            self.tokens += [("letter", letter, space and not at) for at, letter in enumerate(run)]
        else:
            raise Refused(run)

    def _next(self) -> tuple[str, str, bool]:
        return self.tokens[self.at] if self.at < len(self.tokens) else ("end", "", False)

    def _accept(self, *signs: str) -> str:
        kind, text, _ = self._next()
        if kind == "sign" and text in signs:
            self.at += 1
            return text
        return ""

    def _expect(self, sign: str) -> None:
        if not self._accept(sign):
            raise Refused(f"wanted {sign}")
