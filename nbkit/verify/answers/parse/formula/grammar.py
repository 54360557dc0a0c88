"""The rules of the grammar: what binds what, in which order, and each part as postfix tokens."""

import re
from fractions import Fraction

from nbkit.verify.answers.parse.formula.special import Special
from nbkit.verify.answers.parse.formula.tokens import GREEK, Refused

_MAX_DEPTH = 120  # calls of `Parser._atom` inside each other
_CLOSING = {"(": ")", "[": "]", "{": "}", "⌊": "⌋", "⌈": "⌉"}
_INVERSE = {name: "arc" + name for name in ("sin", "cos", "tan")}
_STARTS = set("([{|√⌊⌈π∞∑") | set(GREEK)


class Parser(Special):
    """Recursive descent over the tokens of one formula; every method returns postfix tokens."""

    bars = 0  # open "|": inside, the next one closes and does not begin a factor

    def __init__(self, text: str) -> None:
        super().__init__(text)
        letters = {text for kind, text, _ in self.tokens if kind == "letter"}
        self.vectors = "j" in letters
        self.depth = 0
        self.running: list[str] = []  # the names that run in the sums and products around

    def whole(self) -> list[str]:
        value = self._sum()
        if self._next()[0] != "end":
            raise Refused("more follows")
        return value

    def _sum(self) -> list[str]:
        value = self._term()
        while operator := self._accept("+", "-"):
            value = value + self._term() + ["add" if operator == "+" else "sub"]
        return value

    def _term(self) -> list[str]:
        # Signs before a term: an odd number of minus signs negates all of it.
        negative = False
        while sign := self._accept("+", "-"):
            negative ^= sign == "-"
        value, plain = self._product()
        while True:
            if self._accept("*"):
                value, plain = value + self._signed(self._product) + ["mul"], False
            elif self._accept("/"):
                # 1/2x is (1/2)x, but a/bc is a/(bc).
                numeric = plain and self._next()[0] == "number"
                value = value + self._signed(self._power if numeric else self._product) + ["div"]
                plain = False
            elif self._starts():
                value = value + self._product()[0] + ["mul"]
            else:
                return value + ["neg"] if negative else value

    def _signed(self, read) -> list[str]:
        negative = bool(self._accept("-")) if not self._accept("+") else False
        value = read()
        value = value[0] if isinstance(value, tuple) else value
        return value + ["neg"] if negative else value

    def _starts(self) -> bool:
        """Can the next token begin a factor that is written without a sign of multiplication?"""
        kind, text, _ = self._next()
        if kind == "sign":
            return text in _STARTS and not (text == "|" and self.bars)
        return kind in ("letter", "vector", "function", "command", "number", "repeating")

    def _product(self, in_function: bool = False) -> tuple[list[str], bool]:
        """Factors side by side; True when it is a lone number."""
        # 1 1/2 is a sum, 2x a product: a number in front is looked at first.
        first = self._next()[0]
        value = self._power()
        plain = first == "number" and len(value) == 1
        if first == "number" and (mixed := self._mixed(value)):
            return mixed, False
        while self._starts():
            kind, _, _ = self._next()
            # "3 4" is neither a product nor a number that anyone would write.
            if kind in ("number", "repeating") and self.tokens[self.at - 1][0] in ("number", "repeating"):
                raise Refused("two numbers side by side")
            if in_function and kind == "function":
                break
            value, plain = value + self._power() + ["mul"], False
        return value, plain

    def _mixed(self, whole: list[str]) -> list[str] | None:
        """1\\frac{1}{2} or 1 1/2: the sum, when the second is a proper fraction of whole numbers."""
        rest = self.tokens[self.at : self.at + 7]
        shape = "".join("#" if kind == "number" else text for kind, text, _ in rest)
        if not (len(whole) == 1 and whole[0].isdigit()):
            return None
        if shape.startswith("#/#") and rest[0][2]:
            top, bottom, length = rest[0][1], rest[2][1], 3
        elif shape.startswith("frac{#}{#}"):
            top, bottom, length = rest[2][1], rest[5][1], 7
        elif shape.startswith("frac#") and len(rest[1][1]) == 2:
            (top, bottom), length = rest[1][1], 2
        else:
            return None
        if not (top.isdigit() and bottom.isdigit() and 0 < int(top) < int(bottom)):
            return None
        self.at += length
        return [*whole, top, bottom, "div", "add"]

    def _power(self) -> list[str]:
        value = self._postfix(self._atom())
        if self._accept("^"):
            value = value + self._exponent() + ["pow"]
            value = self._postfix(value)
        return value

    def _exponent(self) -> list[str]:
        negative = bool(self._accept("-"))
        value = self._power()  # groups to the right
        return value + ["neg"] if negative else value

    def _postfix(self, value: list[str]) -> list[str]:
        while True:
            if self._accept("!"):
                if self._accept("!"):
                    raise Refused("!!")
                value = value + ["fact"]
            elif self._accept("°"):
                value = value + ["π", "mul", "180", "div"]
            else:
                return value

    def _atom(self) -> list[str]:
        self.depth += 1
        if self.depth > _MAX_DEPTH:
            raise Refused("nested too deeply")
        try:
            kind, text, _ = self._next()
            self.at += 1
            return getattr(self, "_read_" + kind)(text)
        finally:
            self.depth -= 1

    def _read_end(self, _: str) -> list[str]:
        raise Refused("it ends early")

    def _read_number(self, text: str) -> list[str]:
        return [str(Fraction(text.replace(",", "")))]

    def _read_repeating(self, text: str) -> list[str]:
        whole, fixed, again = re.fullmatch(r"([0-9]*)\.([0-9]*)\\[a-z]+ ?\{?([0-9]+)\}?", text).groups()
        tail = Fraction(int(again), (10 ** len(again) - 1) * 10 ** len(fixed))
        return [str(Fraction(f"{whole or 0}.{fixed or 0}") + tail)]

    def _read_letter(self, text: str) -> list[str]:
        if self.running and (index := self._running_index()):
            return [*index, "@" + text]
        if text in ("C", "P") and (chosen := self._choice(text)):
            return chosen
        name = text + self._subscript()
        while self._accept("'"):
            name += "'"
        if name in self.running:
            return ["#" + name]
        if name == "e" or (name == "i" and not self.vectors):
            return [name]
        return ["$" + name]

    def _subscript(self) -> str:
        if not self._accept("_"):
            return ""
        braces, parts = bool(self._accept("{")), []
        while self._next()[0] in ("letter", "number") and (braces or not parts):
            parts.append(self._next()[1])
            self.at += 1
        if braces:
            self._expect("}")
        if not parts:
            raise Refused("subscript")
        return "_" + "".join(parts)

    def _read_sign(self, text: str) -> list[str]:
        if text in "π∞":
            return [text]
        if text == "Γ" and self._next()[1] == "(":
            return [*self._atom(), "1", "sub", "fact"]  # Γ(n + 1) is n!
        # Greek letters are variables with names of their own; only π and ∞ have values.
        if text in GREEK:
            return ["$" + text + self._subscript()]
        if text == "√":
            return self._root()
        if text == "∑":
            return self._series("sum")
        # A bar closes the one that is open; the same sign opens and closes.
        if text == "|":
            self.bars += 1
            value = self._sum()
            self.bars -= 1
            self._expect("|")
            return value + ["abs"]
        if text not in _CLOSING:
            raise Refused(text)
        # Inside brackets the bars of outside do not count.
        bars, self.bars = self.bars, 0
        value = self._sum()
        self._expect(_CLOSING[text])
        self.bars = bars
        return value + {"⌊": ["floor"], "⌈": ["ceil"]}.get(text, [])

    def _root(self) -> list[str]:
        index = ["2"]
        if self._accept("["):
            index = self._sum()
            self._expect("]")
        return self._argument() + index + ["root"]

    def _series(self, kind: str) -> list[str]:
        r"""Behind ∑ or \prod: _{k=1}^{n} in either order, then its term, up to the next + or -."""
        name, low, high = "", [], []
        # Bounds in either order; without both, and a name that runs, it is no series.
        for _ in range(2):
            if self._accept("^"):
                high = self._exponent()
            elif self._accept("_"):
                self._expect("{")
                name, low = self._next()[1], []
                self.at += 1
                self._expect("=")
                low = self._sum()
                self._expect("}")
        known = re.fullmatch("[a-zA-Z]", name) and low and high and name not in self.running
        if not known or "∞" in low + high:
            raise Refused("bounds")
        # Inside the term the name is an index, no variable.
        self.running.append(name)
        term = self._term()
        self.running.pop()
        return [*low, *high, f"[{kind}", f"#{name}", *term, "]"]

    def _argument(self) -> list[str]:
        """One group or one token, as after \\frac or √."""
        kind, text, _ = self._next()
        if kind == "sign" and text not in _STARTS:
            raise Refused("argument")
        return self._atom()

    def _read_command(self, text: str) -> list[str]:
        if text == "prod":
            return self._series("prod")
        if text in ("gcd", "lcm"):
            return self._divisor(text)
        if text not in ("frac", "binom"):
            raise Refused(text)
        kind, digits, _ = self._next()
        if kind == "number" and len(digits) > 1:  # \\frac12, \\frac1{2}: one digit each
            if not digits.isdigit():
                raise Refused(text)
            self.tokens[self.at : self.at + 1] = [("number", digits[0], False), ("number", digits[1:], False)]
        return self._argument() + self._bottom() + ["div" if text == "frac" else text]

    def _bottom(self) -> list[str]:
        kind, digits, _ = self._next()
        if kind == "number" and len(digits) > 1 and digits.isdigit():
            self.tokens[self.at : self.at + 1] = [("number", digits[0], False), ("number", digits[1:], True)]
        return self._argument()

    def _read_function(self, text: str) -> list[str]:
        if text in ("sqrt", "cbrt"):
            index = ["3"] if text == "cbrt" else ["2"]
            return self._argument() + index + ["root"]
        # log alone has base 10 here; an index gives another, an exponent comes after the function.
        base, power = (["10"] if text in ("log", "lg") else []), None
        for _ in range(2):
            if text == "log" and self._accept("_"):
                base = self._argument()
            elif self._accept("^"):
                power = self._exponent()
        # sin^{-1} is the inverse, not one over the sine.
        if power == ["1", "neg"] and text in _INVERSE:
            text, power = _INVERSE[text], None
        if self._next()[1] in ("(", "{", "|", "["):
            value = self._postfix(self._atom())
        else:
            value = self._product(in_function=True)[0]
        value = value + (base + ["log"] if base else [text])
        return value + power + ["pow"] if power else value
