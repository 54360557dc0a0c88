r"""Formulas in running text (for `statements.py`): where they stand, and what a chain of equations ends in.

formulas("so $x = 5$ costs $7")  # [(3, 10, "x = 5")]: the second dollar sign is money
chain("x = 2 + 3 = 5")  # "5"
chain("2x + y = 3")  # "2x + y = 3": an equation may be the answer
"""

import re

TAIL = 8000  # characters at the end of a text in which an answer without a marker is looked for
_DELIMITER = re.compile(r"(?<!\\)\\[\[\]()]|(?<!\\)\$\$?|\n")
_CLOSES = {"$": "$", "$$": "$$", r"\(": r"\)", r"\[": r"\]"}
_NO_WORDS = re.compile(
    r"\\(?:text\w{0,6}|math[a-z]{2,4}|mbox|operatorname|begin|end)\s?\*?\{[^{}]*\}(?:\{[lcr|]+\})?"
)
_WORD = re.compile(
    r"(?<![A-Za-z\\])(?!(?:sqrt|sin|cos|tan|log|ln|pi|mod)\b|(?:or|and)(?:\b|[A-Z]))[^\W\d_]{2,}"
)
_SENTENCE = re.compile(r"[a-z]{2,} [a-z]{2,}")
_ENVIRONMENT = re.compile(r"\\(?:begin|end)\{(?:align|aligned|gather|gathered|split|equation)\*?\}|&|\\\\")
_ARROW = re.compile(r"\\(?:R|r|Longr|longr)ightarrow|\\implies|\\therefore|⇒|⟹|=>")
_ARITHMETIC = re.compile(r"[^A-Za-z]*[0-9][^A-Za-z]*")
_AMOUNT = re.compile(r"[^A-Za-z]*[0-9][^A-Za-z]*(?:\s[A-Za-z].*)?")
_SIDE_NOISE = re.compile(
    r"\\(?:times|cdot|div|[dtc]?frac|[dt]?binom|sqrt|left|right|pi|quad|%|\$|,)(?![A-Za-z])"
)
_STRUCTURE = re.compile(
    r"\\text\w{0,6}\s?\{\s{0,3}(?:and|or)|\\(?:begin|end)\s?\{\w{1,20}\*?\}|\\[a-zA-Z]+|\\.|[(\[{]|[)\]}]|=/=|[<>!:/]=|=[<>]|[=,;<>≤≥∈≠≈]"
    r"|(?<![A-Za-z])(?:or|and)(?![a-z])|[或和]"
)
_LISTS = re.compile(r"\\(?:text\w{0,6}\s?\{.*|le|leq|ge|geq|lt|gt|in|ne|neq|quad|qquad|pm|approx|equiv)")


def formulas(text: str) -> list[tuple[int, int, str]]:
    r"""(start, end, content) of each delimited formula: `$…$`, `$$…$$`, `\(…\)`, `\[…\]`.

    A dollar sign before a number that no formula follows is money.
    """
    found = []
    opened: tuple[str, int, int] | None = None  # what closes it, start, start of the content
    for delimiter in _DELIMITER.finditer(text):
        sign = delimiter[0]
        # A dollar sign that is not closed on its line, or soon, was money.
        if opened and (delimiter.start() - opened[1] > TAIL or (sign == "\n" and opened[0] in ("$", r"\)"))):
            opened = None
        if opened and sign == opened[0]:
            content = text[opened[2] : delimiter.start()]
            if sign != "$" or _is_formula(content, text[delimiter.end() : delimiter.end() + 1]):
                found.append((opened[1], delimiter.end(), content.strip()))
                opened = None
            else:
                opened = (sign, delimiter.start(), delimiter.end())
        elif opened is None and sign in _CLOSES:
            opened = (_CLOSES[sign], delimiter.start(), delimiter.end())
    return found


def _is_formula(content: str, following: str) -> bool:
    if not content.strip() or following.isdigit():
        return False
    spaced = content[0].isspace() + content[-1].isspace()
    if spaced:  # "$5 and $" is spaced on one side only: two amounts of money
        return not has_words(content) and (spaced == 2 or not re.search(r"\b(?:and|or)\b", content))
    return not _SENTENCE.search(_NO_WORDS.sub("", content))


def has_words(text: str) -> bool:
    r"""Does a text hold words outside of `\text{…}`, so that it is more than a formula?"""
    return bool(_WORD.search(_NO_WORDS.sub("", text)))


def without_formulas(text: str) -> str:
    for start, end, _ in reversed(formulas(text)):
        text = f"{text[:start]} {text[end:]}"
    return text


def chain(formula: str) -> str:
    r"""The end of a calculation (`2 + 3 = 5` → 5, `x = 2 + 3 = 5` → 5); an equation (`x = 5`, `2x + y = 3`)
    and a list of them stay whole, and so does a system of equations on lines of its own."""
    # Aligned equations are one calculation over several lines, unless they are a system.
    if aligned := re.search(r"\\begin\{(?:align|gather|split|equation)", formula):
        if formula[: aligned.start()].strip() or _is_system(formula):
            return formula
        formula = " ".join(_ENVIRONMENT.sub(" ", formula).split())
    # Behind an arrow stands what follows from what was before it.
    parts = [part.strip() for part in _ARROW.split(formula)]
    formula = next((part for part in reversed(parts) if part and not part.isalpha()), formula)  # "5 => done"
    whole = formula
    if formula.startswith("(") and formula.endswith(")") and "=" in formula and "," not in formula:
        formula = formula[1:-1]
    parts = [part.strip() for part in _top_level(formula)]
    if len(parts) < 2 or not parts[-1]:
        return whole
    if all(re.fullmatch(r"\$?\\?[A-Za-z]+", part) for part in parts[:-1]):
        return whole  # x = y = 1
    # A calculation ends in its value; an equation such as 2x + y = 3 may be the answer itself.
    plain = [_SIDE_NOISE.sub(" ", _NO_WORDS.sub(" ", part)) for part in parts]
    calculated = all(_ARITHMETIC.fullmatch(part) for part in plain[:-1]) and _AMOUNT.fullmatch(plain[-1])
    return parts[-1].strip("$ ") if calculated or len(parts) > 2 else whole


def _is_system(formula: str) -> bool:
    r"""Do the lines of an environment state several things (x &= 1 \\ y &= 2), rather than derive one?

    A derivation ends in one unknown that all lines are about (2x &= 4 \\ x &= 2), or goes on from what the
    lines before have found (a &= 3 \\ b &= 4 \\ a + b &= 7)."""
    rows = [_side(row).partition("=") for row in re.split(r"\\\\(?:\[[^\]]{0,9}\])?", formula)]
    stated = [at for at, (left, _, right) in enumerate(rows) if left.strip() and right]
    if len(stated) < 2:
        return False
    last = stated[-1]
    before = [_letters(left + right) for left, _, right in rows[:last]]
    if re.fullmatch(r"[A-Za-z](?:_\{?\w+\}?)?", name := rows[last][0].strip()):
        used = {letter for _, _, right in rows[last:] for letter in _letters(right)}
        found = {letter for at in stated[:-1] for letter in _letters(rows[at][0])}
        return not set().union(*before) <= _letters(name) and not used & found
    names = [rows[at][0].strip() for at in stated[:-1]]
    return not (all(re.fullmatch("[A-Za-z]", one) for one in names) and _letters(rows[last][0]) <= set(names))


def _side(row: str) -> str:
    return re.sub(r"\\[a-zA-Z]+", " ", _ENVIRONMENT.sub(" ", _NO_WORDS.sub(" ", row)))


def _letters(text: str) -> set[str]:
    return set(re.findall(r"[A-Za-z](?:_\{?\w+\}?)?", text))


def _top_level(formula: str) -> list[str]:
    """The sides of an equation; one part where a list or an inequality stands outside of brackets."""
    # Only signs outside of all brackets split.
    depth, last, parts = 0, 0, []
    for mark in _STRUCTURE.finditer(formula):
        sign = mark[0]
        if sign in ("(", "[", "{") or sign.startswith(r"\begin"):
            depth += 1
        elif sign in (")", "]", "}") or sign.startswith(r"\end"):
            depth -= 1
        elif depth > 0 or (sign == "," and re.match(r"[0-9]{3}", formula[mark.end() : mark.end() + 3])):
            continue
        elif sign == "=":
            parts.append(formula[last : mark.start()])
            last = mark.end()
        elif sign[0] != "\\" or _LISTS.fullmatch(sign):
            return [formula]
    return [*parts, formula[last:]]
