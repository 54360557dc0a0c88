"""When two answers are equal (docs/equality.md), and that no text can hang or break the check."""

import itertools
import math
import re
import time
from fractions import Fraction
from pathlib import Path

import pytest
from conftest import with_math
from hypothesis import example, given, settings
from hypothesis import strategies as st

from nbkit.verify import verdict
from nbkit.verify.answers import compare, question, values
from nbkit.verify.answers.extract import (
    answer,
    bounds,
    boxes,
    clauses,
    equations,
    hedges,
    last,
    marks,
    markup,
    numerals,
    statements,
)
from nbkit.verify.answers.extract.words import about, rivals
from nbkit.verify.answers.parse import (
    clean,
    forms,
    formula,
    leaves,
    named,
    names,
    reading,
    splitting,
    structures,
    units,
)
from nbkit.verify.answers.parse.kinds import numbers, points, regions

PAIRS = Path(__file__).resolve().parents[2] / "math_pairs" / "conventions.txt"
WALL_S = 5.0


@pytest.fixture(scope="module")
def jail(jail):
    return with_math(jail)


def sections():
    found = {}
    for line in PAIRS.read_text(encoding="utf-8").splitlines():
        if line.startswith("["):
            rows = found[line.strip("[]")] = []
        elif line[:1] in ("=", "!", ">") and " ~~ " in line:
            rows.append((line[0], *(side.strip() for side in line[2:].split(" ~~ "))))
    return found


@pytest.mark.parametrize("name", sections())
def test_conventions(jail, name):
    wrong = []
    for sign, one, other in sections()[name]:
        there, back = verdict(one, other, jail), verdict(other, one, jail)
        wanted = {"=": ("pass", "pass"), "!": ("fail", "fail"), ">": ("pass", "fail")}[sign]
        if (there, back) != wanted:
            wrong.append((sign, one, other, there, back))
    assert not wrong


@pytest.mark.parametrize(
    ("gold", "prediction"),
    [
        ("1+e^{-10^6}", "1"),
        ("1+e^{-10^8}", "1"),
        ("9^{9^{9^9}}", "2"),
        (r"\frac{1}{2", "5"),
        (r"\sum_{k=1}^{10^9} \frac{1}{k^2}", "1"),
        (r"\prod_{k=1}^{10^9} (1+\frac{1}{k^3})", "2"),
        (r"\sum_{1 \le k \le n} k", r"\frac{n(n+1)}{2}"),
    ],
)
def test_what_cannot_be_told_is_never_paid(jail, gold, prediction):
    assert verdict(prediction, gold, jail) == "infra"
    assert verdict(gold, prediction, jail) == "fail"


def test_points_differ_between_pairs_but_not_between_calls(jail):
    key = ("formula", ("$x", "2", "pow"))
    one, same, other = (values.evaluate([key], jail, seed)[key].points for seed in (1, 1, 2))
    assert one == same != other
    reals = [point.real for point in one]
    assert len(one) == 24 and min(reals) == 0 and max(reals) > 10**25


def test_more_digits_are_asked_for_where_a_term_would_be_lost(jail):
    plain, small = ("formula", ("$x",)), ("formula", ("$x", "1", "10", "90", "pow", "div", "add"))
    found = values.evaluate([plain, small], jail, 7)
    assert {point.digits for point in found[plain].points} >= {60}
    assert values.short(found[plain], found[small]) > 90 and values.short(found[small], found[small]) == 0
    more = values.evaluate([plain, small], jail, 7, values.short(found[plain], found[small]))
    assert values.short(more[plain], more[small]) == 0 and not values.equal(more[plain], more[small])


def test_zero_is_near_nothing_else():
    tiny = values.Values.of(Fraction(1, 10**3000))
    assert values.equal(tiny, tiny) and not values.equal(tiny, values.Values.of(Fraction(0)))


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("zero", 0),
        ("forty-two", 42),
        ("Minus five", -5),
        ("a hundred", 100),
        ("one hundred and five", 105),
        ("twelve thousand three hundred and forty-five", 12_345),
        ("two million and one", 2_000_001),
        ("nineteen hundred", 1_900),
        *(
            (text, None)
            for text in ("five forty", "forty apples", "a", "and", "hundred", "one thousand million", "")
        ),
        *((text, None) for text in ("forty-two two", "five and six", "twenty eleven", "thousand")),
    ],
)
def test_numbers_in_words(text, number):
    assert numbers.in_words(text) == number


def test_intervals_are_joined_where_no_gap_is_between_them():
    def interval(text):
        return structures.as_region(reading.read(text))

    def joined(*texts):
        return regions.merged(tuple(interval(text) for text in texts))

    assert joined("[2, 3]", "[1, 2)") == (interval("[1, 3]"),)
    assert joined("(1, 4)", "[2, 3]", "[4, 5)") == (interval("(1, 5)"),)
    assert joined("[1, 2]", "[1, 2)") == (interval("[1, 2]"),)
    apart = tuple(interval(text) for text in ("[1, 2)", "(2, 3]"))
    unknown = tuple(interval(text) for text in ("[1, a]", "[a, 3]"))
    assert regions.merged(apart) == apart and regions.merged(unknown) == unknown


# Without an order, every item may have to be compared with every other one.
LETTERS = [structures.Leaf(f"{letter}{digit}") for letter in "abcdefghijklmnopqrst" for digit in range(10)]


@pytest.mark.parametrize(
    ("ours", "gold", "most", "equal"),
    [
        (LETTERS[:1] * 500, LETTERS[:1] * 499 + LETTERS[1:2], 2, False),
        (LETTERS[:2] * 250, LETTERS[1::-1] * 250, 0, True),
        (LETTERS, LETTERS[::-1], 0, True),
        (LETTERS, LETTERS[1:] + [structures.Leaf("x")], 400, False),
        (LETTERS[:150], [structures.Leaf(f"x{at}") for at in range(150)], 0, False),
    ],
)
def test_long_lists_take_few_comparisons(ours, gold, most, equal):
    asked = []

    def same(one, other):
        asked.append((one, other))
        return one == other

    lists = [structures.Node("list", tuple(items)) for items in (ours, gold)]
    assert structures.compare(*lists, same) is equal and len(asked) <= most


# --- no text hangs or breaks the check ---

FRAGMENTS = r"""
\frac{ \frac { } ( ) [ ] | \{ \} 1 2 10 x n π \pi ^ _ ! + - * / , ; and or = < \le \in \cup ∞ \infty \sqrt
\sqrt[3]{ \text{ \boxed{ % $ \$ \ldots ... … \pmod{7} ≡ mod th ^{th} 1,000 0.5 1e5 1e999 km/h apples (five)
\begin{pmatrix} \end{pmatrix} & \\ ± ≈ ° : ' " “ ① ﷺ ½ ² ₃ 𝟙 中文 约 ℝ ∅ ∖ A B (A) x= log sin cis ln e i
\lim_{x\to0} \sum_{k=1}^{n} \int_0^1 dx _8 ~ \, \! {,} \quad 3:00 p.m. 1:2 ⟨ ⟩ ⌊ ⌋ \fracn
""".split()  # noqa: SIM905
texts = st.one_of(
    st.lists(st.sampled_from([*FRAGMENTS, " ", "9" * 40, "a" * 40]), max_size=60).map("".join),
    st.lists(st.sampled_from([*FRAGMENTS, " "]), max_size=30).map(" ".join),
    st.builds(
        lambda piece, n: piece * n, st.sampled_from([*FRAGMENTS, " ", "( ", "a,"]), st.integers(1, 400)
    ),
    st.text(max_size=80),
)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(texts, texts)
@example("1\\frac n", "2")
@example("9" * 5000, "9" * 5000)
@example("(" * 100_000, "[" * 999)
@example("\ud800", "\x00")
def test_no_text_raises(one, other):
    faults, compare._TEXT_FAULTS = compare._TEXT_FAULTS, ()  # what is caught in the end is not to occur
    try:
        for prediction, gold in ((one, other), (other, one), (one, "2"), (one, "x+1"), (one, one)):
            assert verdict(prediction, gold) in ("pass", "fail", "infra")
    finally:
        compare._TEXT_FAULTS = faults


def test_a_fault_of_ours_is_a_verdict(monkeypatch):
    def broken(text, depth=0):
        if text != "2":
            raise RecursionError
        return structures.Leaf("2", ("2",), Fraction(2))

    monkeypatch.setattr(compare, "read", broken)
    assert verdict("1+1", "2") == "fail" and verdict("2", "1+1") == "infra"


MODULES = (
    about,
    answer,
    bounds,
    boxes,
    clauses,
    clean,
    compare,
    equations,
    formula,
    forms,
    hedges,
    last,
    leaves,
    marks,
    markup,
    named,
    names,
    numerals,
    points,
    question,
    reading,
    rivals,
    splitting,
    statements,
    structures,
    units,
    values,
)
REPEATED = [
    "a", "9", "9 ", "a ", "(", "[", "{", "\\", "\\frac{", "\\text{", "^", " ", "^ { ", "1,", "1,234,", ",",
    ". ", "5 (aaa ", "aaa, ", "_ ", "'", "x_1", "x=", "A, ", "|x", "-", "$", "中", "\\begin{matrix}", "&",
    "9.", "a-", "and ", "9…", "mod ", "% ", "9:", "th", "9^{", "the ", "{,}", "f(", "**a", "** ",
    "C_", "C(1,", "{}_5C_2", "\\choose ", "\\over", "∠A", "~~", "~~a", "if the ", "not true ", "or ", "❌",
    "- ", "1) ", "Case 1: ", "two ", "two and ", "I take that ", "no, ", "? ", "but it ", "pas ", "不是",
    "(A,", "\\implies ", "p→",
]  # fmt: skip


def patterns(found):
    if isinstance(found, re.Pattern):
        yield found
    elif isinstance(found, list | tuple):
        for part in found:
            yield from patterns(part)


def test_every_pattern_is_quick_on_hostile_text():
    """An exponential or cubic pattern takes minutes on these; all of them together take a few seconds."""
    every = {pattern for module in MODULES for found in vars(module).values() for pattern in patterns(found)}
    assert len(every) > 60
    for pattern, piece in itertools.product(every, REPEATED):
        text = "5 (" + piece * math.ceil(1000 / len(piece))
        started = time.process_time()
        pattern.fullmatch(text)
        sum(1 for _ in pattern.finditer(text[:500]))
        assert time.process_time() - started < 2, (pattern.pattern, piece)


@pytest.mark.parametrize("piece", REPEATED)
def test_hostile_text_is_judged_in_time(piece):
    started = time.process_time()
    for start in ("", "5 ("):
        text = (start + piece * 1000)[: clean.MAX_ANSWER]
        assert verdict(text, "5") != "pass" or piece in ("{,}", "th", "9…") or not text.strip(" 5(")
        verdict(text[:-1], text)
    assert time.process_time() - started < 5


def test_a_sentence_in_brackets_is_judged_in_time():
    started = time.process_time()
    assert verdict("5 (" + "a" * 70, "5") == "fail"
    assert verdict("12 (" + "this is an ordinary sentence that goes on and on " * 5 + "!)", "12") == "fail"
    assert time.process_time() - started < 2
