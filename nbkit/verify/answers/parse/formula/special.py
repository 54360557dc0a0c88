"""Parts with several arguments or an index (for `grammar.py`): gcd(a, b), C(n, k), a_k, vectors."""

from nbkit.verify.answers.parse.formula.tokens import TokenStream


class Special(TokenStream):
    """Base of the parser, whose `_sum` and `_argument` it calls; every method returns postfix tokens."""

    def _read_vector(self, corners: str) -> list[str]:
        """From B to A is minus from A to B."""
        first, last = sorted(corners)
        return [f"$⇀{first}{last}", "neg"] if corners != first + last else [f"$⇀{corners}"]

    def _choice(self, letter: str) -> list[str]:
        """C(n, k), which is the binomial coefficient, and P(n, k), k! times it; [] for anything else."""
        at = self.at
        if self._accept("("):
            top = self._sum()
            if self._accept(","):
                bottom = self._sum()
                self._expect(")")
                return top + bottom + ["binom"] + ([*bottom, "fact", "mul"] if letter == "P" else [])
        self.at = at
        return []

    def _running_index(self) -> list[str]:
        """The index of a_k or F_{n-k-1} in a sum over k; [] for any other subscript."""
        at = self.at
        if self._accept("_"):
            index = self._argument()
            if any(token[0] == "#" for token in index):
                return index
        self.at = at
        return []

    def _divisor(self, name: str) -> list[str]:
        """gcd(a, b, …) or lcm."""
        self._expect("(")
        value = self._sum()
        self._expect(",")
        value = value + self._sum() + [name]
        while self._accept(","):
            value = value + self._sum() + [name]
        self._expect(")")
        return value
