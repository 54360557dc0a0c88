"""Whole numbers in English words (used by `leaves.py`).

in_words("forty-two")  # 42
in_words("three thousand and five")  # 3005; of "forty apples" None
"""

import re

_SMALL = dict(
    zero=0, one=1, two=2, three=3, four=4, five=5, six=6, seven=7, eight=8, nine=9, ten=10, eleven=11,
    twelve=12, thirteen=13, fourteen=14, fifteen=15, sixteen=16, seventeen=17, eighteen=18, nineteen=19,
)  # fmt: skip
_TENS = {
    "twenty": 20, "thirty": 30, "forty": 40, "fourty": 40, "fifty": 50, "sixty": 60, "seventy": 70,
    "eighty": 80, "ninety": 90,
}  # fmt: skip
_GROUPS = {"thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12}
_MOST_WORDS = 24


def in_words(text: str) -> int | None:
    """The number that a whole text spells; None for anything else."""
    if len(text) > 200 or not re.fullmatch(r"[A-Za-z]+(?:[ -][A-Za-z]+)*", text):
        return None
    words = text.casefold().replace("-", " ").split()
    negative, words = words[0] in ("minus", "negative"), words[words[0] in ("minus", "negative") :]
    if not words or len(words) > _MOST_WORDS:
        return None
    total, group, before, limit = 0, 0, "", 10**15
    for word in words:
        # Each word may stand only where it makes the number longer: "five forty" is none.
        if (
            word in _SMALL
            and before in ("", "and", "hundred", "thousands")
            or (before == "tens" and 0 < _SMALL.get(word, 0) < 10)
        ):
            group, before = group + _SMALL[word], "small"
        elif word in _TENS and before in ("", "and", "hundred", "thousands"):
            group, before = group + _TENS[word], "tens"
        elif word == "hundred" and (before == "small" and 0 < group < 100 or before == "a"):
            group, before = max(group, 1) * 100, "hundred"
        elif word in _GROUPS and before in ("small", "tens", "hundred", "a") and _GROUPS[word] < limit:
            limit = _GROUPS[word]
            total, group, before = total + max(group, 1) * limit, 0, "thousands"
        elif word == "and" and before in ("hundred", "thousands"):
            before = "and"
        elif word == "a" and not before:
            before = "a"
        else:
            return None
    if before in ("and", "a"):
        return None
    return -(total + group) if negative else total + group
