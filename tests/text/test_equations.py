"""Stated equations, by hand and against Python."""

import random

import pytest

from nbkit.text.equations import equations


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2 + 3 = 5", [True]),
        ("2 + 3 = 6", [False]),
        ("2 + 3 * 4 = 14, not 2 + 3 * 4 = 20", [True, False]),
        ("48/2 = <<48/2=24>>24", [True]),
        ("7 - 9 = -2 and -3 + 5 = 2", [True, True]),
        ("10 / 4 = 2.5; 10 / 3 = 3.33; 10 / 3 = 3", [True, True, False]),
        ("$5 * 3 = $15 and 1,000 + 2 = 1,002.", [True, True]),
        ("3 x 4 = 12, 3 × 4 = 13", [True, False]),
        ("5 / 0 = 0", [False]),
        ("2 + 3 = 4 + 1", []),  # the right side goes on
        ("(2 + 3) * 4 = 20", []),  # brackets are left alone
        ("2x + 3 = 7", []),
        ("y - 3 + 5 = 2", []),
        ("2^3 + 1 = 9", []),
        ("17 / 5 = 3 remainder 2", []),
        ("1.5 + 1.5 = 3.05", [False]),
        ("- 1 + 1 = 2\n- 1 + 1 = 3", [True, False]),  # bullets, not signs
        ("60 students x 2/3 = 40 students", []),
        ("no numbers = here", []),
    ],
)
def test_equations(text, expected):
    assert equations(text) == expected


def test_random_equations_against_python():
    rng = random.Random(0)
    for _ in range(300):
        terms = [str(rng.randint(1, 50)) for _ in range(rng.randint(2, 5))]
        expression = " ".join(x for term in terms for x in (term, rng.choice("+-*")))[:-2]
        value = eval(expression)  # noqa: S307 - built above from digits and + - *
        assert equations(f"so {expression} = {value}.") == [True]
        assert equations(f"so {expression} = {value + rng.choice([-1, 1, 10])}.") == [False]
