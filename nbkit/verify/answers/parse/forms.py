"""Forms of cleaned text with rules of their own: sequences with dots, congruences, matrices.

Used by `reading.py`; `read` among the arguments is its reader of parts.

    read_congruence("x ≡ 10 (mod 7)", read)  # Node("congruence", (Leaf("7"), Leaf("10")), "x")
    read_sequence([one, two, dots, ten])  # of 1, 2, …, 10: the list of ten numbers
"""

import re
from collections.abc import Callable
from fractions import Fraction

from nbkit.verify.answers.parse import formula
from nbkit.verify.answers.parse.kinds.nodes import Leaf, Node, span
from nbkit.verify.answers.parse.leaves import read_leaf
from nbkit.verify.answers.parse.splitting import split

Read = Callable[[str], Node | Leaf]

_CONGRUENCE = re.compile(
    r"([^≡=]{1,40}[≡=])?([^≡=]{1,60}?),? ?(?:\( ?mod(?:ulo)? ([^()]{1,40})\)|mod(?:ulo)? ([^()]{1,40}))"
)
_MATRIX = re.compile(
    r"(?P<left>.*?)\\begin ?\{(?:[pbBvV]?matrix|smallmatrix|array)\}(?: ?\{[lcr| ]*\})?(?P<rows>.*)"
    r"\\end ?\{\w+\}(?P<right>.*)",
    re.DOTALL,
)
_ANY_INTEGER = re.compile(r"(?<![a-zA-Z])([a-zA-Z]) ?∈ ?ℤ(?! ?[\^_+-])")
OTHER_FORM = re.compile(r"^([^()]{0,200}[^()\s]) ?\( ?or ([^()]{1,200})\)$")  # 3/4 (or 0.75)
_SYSTEM = re.compile(
    r"[⦃{]? ?\\begin ?\{(?:[dr]?cases|array|align(?:ed)?|gather(?:ed)?|split)\*?\}(?: ?\{[lcr| ]*\})?"
    r"(?P<rows>.*)\\end ?\{\w+\*?\} ?",
    re.DOTALL,
)
_ANGLE = re.compile(r"(?:m ?)?∠ ?\{? ?([A-Z]{3}) ?\}?")
_LONGEST = 1000  # elements that dots may stand for


def read_sequence(items: list) -> Node:
    """1, 3, …, 9 as the list it stands for; one whose end is not a number, or is open, keeps its dots."""
    # Where the dots stand, and what is known before and behind them.
    at = [place for place, item in enumerate(items) if isinstance(item, Leaf) and item.text == "…"]
    head, tail = items[: at[0]], items[at[-1] + 1 :]
    first = [_plain(item) for item in head]
    if len(at) > 1 or None in first or len(first) < 2:
        return Node("sequence", tuple(items))
    # Only even steps have one continuation.
    step = first[1] - first[0]
    last = [_plain(item) for item in tail]
    even = all(b - a == step for a, b in zip(first, first[1:], strict=False)) and step != 0
    if not even:
        return Node("sequence", tuple(items))
    if tail and None not in last:
        # Write it out, if its end fits the steps and it is not too long.
        count = (last[-1] - first[0]) / step + 1
        listed = [first[0] + step * k for k in range(int(min(count, _LONGEST + 1)))] if count > 0 else []
        if (
            count == len(listed) <= _LONGEST
            and listed[-len(last) :] == last
            and len(first) + len(last) <= count
        ):
            return Node("list", tuple(Leaf(str(n), (str(n),), n) for n in listed))
        return Node("sequence", tuple(items))
    return Node("sequence", (*head[:2], *items[at[0] :]))  # the first two and the end say all of it


def _plain(item: object) -> Fraction | None:
    plain = isinstance(item, Leaf) and type(item.value) is Fraction and not (item.unit or item.percent)
    return item.value if plain else None


def read_congruence(text: str, read: Read) -> Node | None:
    """x ≡ 3 (mod 7), or 3 (mod 7); a bare mod behind no ≡, 17 mod 5 or x = 17 mod 5, has the sides "mod"."""
    if "mod" not in text or not (match := _CONGRUENCE.fullmatch(text)):
        return None
    left, modulus = (match[1] or "").rstrip("≡= ").strip(), read_leaf(match[3] or match[4])
    residue = read(match[2])
    if modulus.tokens is None or residue == "":
        return None
    if value := formula.parse(left) if left else None:
        left = left.replace(" ", "") if formula.variables(value) else ""  # 3^100 ≡ 4: the left side is known
    # 2 + 17 mod 5 and 17 mod 5 + 2 may be read in two ways: nothing is computed of them.
    bare = match[4] is not None
    twofold = bare and (_has(match[2], "+-±∓") or _has(match[4], "+-±∓*/"))
    sides = "?" if twofold else "mod" if bare and "≡" not in (match[1] or "") else ""
    return Node("congruence", (modulus, residue), left, sides)


def _has(text: str, signs: str) -> bool:
    """Is one of the signs, other than a leading one, outside all brackets?"""
    return len(split(text.strip().lstrip("-"), signs) or "??") > 1


def same_integer(ours: str, gold: str) -> str:
    """Ours with the letter of the other for a number that both call any integer: nπ, n ∈ ℤ as kπ, k ∈ ℤ."""
    mine, theirs = _ANY_INTEGER.search(ours), _ANY_INTEGER.search(gold)
    if not (mine and theirs) or mine[1] == theirs[1]:
        return ours
    letters = re.sub(r"\\?[a-zA-Z]{3,}|,.*", "", ours)  # without functions and what stands behind the value
    if theirs[1] in letters or re.search(rf"[a-zA-Z]{mine[1]}|{mine[1]}[a-zA-Z]", letters):
        return ours
    return re.sub(rf"(?<![a-zA-Z\\]){mine[1]}(?![a-zA-Z])", theirs[1], ours)


def read_angle(text: str, read: Read) -> Node | Leaf | None:
    """∠ABC is ∠CBA, but not ∠ACB; the sign is nothing more before a formula or a name."""
    if "∠" not in text:
        return None
    if match := _ANGLE.fullmatch(text):
        return Leaf(f"∠{min(match[1], match[1][::-1])}")
    return read(text.replace("∠", " "))


def read_cross(text: str, read: Read) -> Node | None:
    """The cross product of two vectors, which is no product of numbers."""
    if "⨯" not in text or _has(text, "+-±=<>≤≥≠∈,;") or len(parts := split(text, "⨯") or ()) != 2:
        return None
    return Node("cross", tuple(read(part) for part in parts))


_VALUE_AND_CONDITION = re.compile(r"[^&=<>≤≥≠]+&\s*[^&\s=<>≤≥≠].*")  # "0 & x < 0", unlike "x &= 1"


def read_system(text: str, read: Read) -> Node | None:
    """The lines of cases, array, aligned …, each of which is an equation or an inequality, as a list."""
    if "\\begin" not in text or not (match := _SYSTEM.fullmatch(text)) or "\\begin" in match["rows"]:
        return None
    lines = [line for line in match["rows"].split("↵") if line.strip(" ,;.&")]
    if any(_VALUE_AND_CONDITION.fullmatch(line) for line in lines):
        return None  # a function by cases
    rows = [line.replace("&", " ").strip(" ,;.") for line in lines]
    if len(rows) < 2 or not all(len(split(row, "=<>≤≥≠") or "?") > 1 and "," not in row for row in rows):
        return None
    return Node("list", tuple(read(row) for row in rows))


def read_matrix(text: str, read: Read) -> Node | Leaf | None:
    match = _MATRIX.fullmatch(text)
    if match is None or "\\begin" in match["rows"] or "{vmatrix}" in text or "{Vmatrix}" in text:
        return None
    left, right = match["left"].strip(), match["right"].strip()
    if (left, right) in (("[", "]"), ("(", ")")):
        left = right = ""
    factor = f"({left})*" if left else ""
    if right or (left and formula.parse(left) is None):
        return None
    rows = [row.split("&") for row in match["rows"].split("↵") if row.strip()]
    return Node("matrix", tuple(tuple(_cell(factor, cell.strip(), read) for cell in row) for row in rows))


def _cell(factor: str, text: str, read: Read) -> Node | Leaf:
    return read_leaf(f"{factor}({text})") if factor else read(text)


def read_distance(match: re.Match, bound: str, sign: str) -> Node:
    """|x - a| < b lies between a - b and a + b; |x - a| > b outside."""
    centre = f"{'-' if match[2] == '+' else ''}({match[3] or '0'})"
    low, high = read_leaf(f"{centre}-({bound})"), read_leaf(f"{centre}+({bound})")
    closed = sign in "≤≥"
    if sign in "<≤":
        return span("[" if closed else "(", low, high, "]" if closed else ")", match[1])
    outer = (
        (read_leaf("-∞"), low, "(", "]" if closed else ")"),
        (high, read_leaf("∞"), "[" if closed else "(", ")"),
    )
    return Node("union", tuple(span(left, a, b, right, match[1]) for a, b, left, right in outer))


def read_ratio(text: str, _: int) -> Node | Leaf | None:
    if ":" not in text or not (parts := split(text, ":")) or not 2 <= len(parts) <= 6 or not all(parts):
        return None
    shares = [read_leaf(f"({part})/({parts[-1]})") for part in parts[:-1]]
    return shares[0] if len(shares) == 1 else Node("tuple", tuple(shares), ":")
