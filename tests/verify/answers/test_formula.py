"""The grammar of formulas: what passes it, as which tokens, and what never reaches the jail."""

import pytest

from nbkit.verify import verdict
from nbkit.verify.answers.parse import formula
from nbkit.verify.answers.parse.clean import clean
from nbkit.verify.answers.parse.rational import exact

WALL_S = 1.0


class Untouched:
    """A jail that nobody may use."""

    def __getattr__(self, name):
        raise AssertionError(f"the jail was asked for {name}")


@pytest.mark.parametrize(
    ("text", "same"),
    [
        (r"$\left\{ 2\,\pi , \text{five} \right\}$.", "⦃ 2 π , five ⦄"),
        ("１２，５００", "12,500"),
        ("1½", r"1\frac {1}{2}"),
        ("x² − 1", "x^{2} - 1"),
        (r"10\,000", "10000"),
        (r"\$5 and \$6", "$5 and $6"),
        ("$5$ and $6$", "5 and 6"),
        (r"90^{\circ}", "90°"),
        (r"\(x \le 3\)", "x ≤ 3"),
        ("1\u200b2", "12"),
    ],
)
def test_markup_has_one_spelling(text, same):
    assert clean(text).split() == same.split()


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os')", "open('x')", "a.b", "2;3", "print(2)", "'x'", "1_0", "lambda:0", "3 4", "x@y",
        "`x`",
        "5!!", "x if y", "{", r"\input{x}", "²^", "evaluate", "(" * 21 + "1" + ")" * 21,
        "1" + "+1" * 200, "√" * 200 + "2", "(1", ")1(", "1e9999", "",
    ],
)  # fmt: skip
def test_only_formulas_pass_the_grammar(text):
    assert formula.parse(text) is None


@pytest.mark.parametrize(
    "answer",
    [
        "__import__('os').system('x')",
        "open('x','w')",
        "a.b.c(2)",
        "x@y",
        "`ls /`",
        "lambda x: x.y",
        r"\input{/etc/passwd}",
    ],
)
def test_what_the_grammar_refuses_never_reaches_the_jail(answer):
    assert verdict(answer, "2", Untouched()) == "fail"
    assert verdict(answer, "blue", Untouched()) == "fail"
    assert verdict("2", answer, Untouched()) != "pass"


def test_formulas_become_plain_tokens():
    assert formula.parse(clean(r"\frac{1}{2} + 2x")) == ("1", "2", "div", "2", "$x", "mul", "add")
    assert formula.parse("1/2x") == ("1", "2", "div", "$x", "mul")
    assert formula.parse("a/bc") == ("$a", "$b", "$c", "mul", "div")
    assert formula.parse("2i + j")[1] == "$i" and formula.parse("2i + 1")[1] == "i"
    assert exact(formula.parse("2^{10} - 1")) == 1023
    assert exact(formula.parse("9^9^9")) is None and exact(formula.parse("1000000!")) is None
    assert exact(formula.parse("√2")) is None and exact(formula.parse("1/0")) is None
