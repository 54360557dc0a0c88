"""Where a cleaned text may be split, and what counts as a name in it (used by `reading.py`).

split("1, (2, 3)", ",")  # ["1", " (2, 3)"]
join_thousands("1,331; 1,728")  # "1331; 1728"
NAMED.fullmatch("S_{ABC}")  # the left side of S_{ABC} = 12 names a value
"""

import re

OPEN, CLOSE = "([{⦃⟨⌊⌈", ")]}⦄⟩⌋⌉"
NAME = r"[a-zA-Zα-ωΑ-Ω](?: ?_ ?(?:\{[^{}]*\}|[a-zA-Z0-9]))?'*"
_SIDE = rf"(?:[A-Z]{{2,4}}'?|{NAME})"  # of a figure: AB, ABC, a
NAMED = re.compile(
    rf"{NAME}|{NAME} ?\( ?{NAME}(?: ?, ?{NAME})* ?\)|[fghpquvwFGHPEVASTQR]'* ?\([^()]*\)|\|[^|]+\|"
    rf"|{_SIDE}|\\frac ?\{{ ?{_SIDE} ?\}} ?\{{ ?{_SIDE} ?\}}|{_SIDE} ?[/:] ?{_SIDE}"
    r"|[a-zA-Z]{3,12}(?: [a-zA-Z]{2,12}){0,3}"
    r"|d[a-z]/d[a-z]|\\frac ?\{d[a-z]?\} ?\{d[a-z]\}"
    r"|\\overline ?\{[A-Z]+\}"
    rf"|(?:sin|cos|tan|cot|sec|csc) ?(?:{NAME}|\( ?{NAME} ?\))"
)
_GROUPS = re.compile(r"(?<![0-9.,])[1-9][0-9]{0,2}(?:,[0-9]{3})+(?!,?[0-9])")
_SEPARATOR = re.compile(r"[;…=<>≤≥≠]|,(?![0-9])|(?<![0-9]),|(?<![a-zA-Z])(?:and|or)(?![a-zA-Z])|[或和]")
_DOMAIN_WORDS = (
    rf"(?:where |for |with )?(?:(?:some |all |any |every )?{NAME} ?"
    r"(?:∈ ?[ℤℕ][^=]*|(?:is )?an(?:y)? integer|any integer)"
    rf"|(?:some |all |any |every |an )?integers? {NAME})"
)
DOMAIN = re.compile(_DOMAIN_WORDS)
IN_DOMAIN = re.compile(
    rf"([^()]{{1,200}}) (?:\((?:{_DOMAIN_WORDS})\)|(?=where |for |with )(?:{_DOMAIN_WORDS}))"
)


def split(text: str, separators: str) -> list[str] | None:
    """Parts between separators outside all brackets; None when brackets do not match."""
    parts, start, depth, environments = [], 0, 0, 0
    for at, character in enumerate(text):
        if character in OPEN:
            depth += 1
        elif character in CLOSE:
            depth -= 1
        # Rows of a matrix are inside an environment, which has no bracket of its own.
        elif character == "\\":
            environments += text.startswith("\\begin", at) - text.startswith("\\end", at)
        elif character in separators and depth == 0 and environments == 0:
            parts.append(text[start:at])
            start = at + 1
        # A bracket that closes nothing: the text cannot be split with any sense.
        if depth < 0:
            return None
    return [*parts, text[start:]] if depth == 0 and environments == 0 else None


def closes_at_end(text: str) -> bool:
    depth = 0
    for at, character in enumerate(text):
        depth += (character in OPEN) - (character in CLOSE)
        if depth == 0:
            return at == len(text) - 1
    return False


def is_one_number(text: str) -> bool:
    """1 234 567: neither a list nor a product."""
    return bool(re.fullmatch(r"[0-9]{1,3}(?: [0-9]{3})+", text))


def join_thousands(text: str, bracketed: bool = False) -> str:
    """Numbers such as 1,331 without their commas, outside brackets: (1,331) is a point.

    `bracketed`: the content of brackets, where one needs to see that something else separates."""
    if not _GROUPS.search(text) or (bracketed and not _SEPARATOR.search(text)):
        return text
    return _GROUPS.sub(
        lambda match: match[0].replace(",", "") if outside(text, match.start()) else match[0], text
    )


def outside(text: str, at: int) -> bool:
    """Is a place outside all brackets that may hold a point or a set?"""
    before = text[:at]
    return all(before.count(left) <= before.count(right) for left, right in ("()", "[]", "⦃⦄", "⟨⟩"))
