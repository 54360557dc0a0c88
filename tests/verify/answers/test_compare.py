"""Final answers: extraction, equality by every route, limits, and answers that attack."""

import gzip
import json
import os
import time
from fractions import Fraction
from pathlib import Path

import pytest
from conftest import with_math

from nbkit.verify import JailResult, SandboxUnavailable, equivalent, extract_answer, verdict
from nbkit.verify.answers import values
from nbkit.verify.errors import GraderError

ROOT = Path(__file__).resolve().parents[3]
DATA = Path(os.environ.get("NBKIT_DATA_DIR") or ROOT.parent / "shared" / "data")
ATTACKS = DATA.parent / "attacks" / "attacks.json"
WALL_S = 1.0
BOUND_S = 30.0  # by the clock, on a slow and busy machine; what is not bounded takes for ever


@pytest.fixture(scope="module")
def jail(jail):
    return with_math(jail)


class Untouched:
    """A jail that nobody may use."""

    def __getattr__(self, name):
        raise AssertionError(f"the jail was asked for {name}")


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("<think>maybe 7</think>So 3 + 4 = 8.\n#### 8", "8"),
        ("<think>the answer is 7", ""),
        (r"Hence \boxed{\frac{1}{2}}.", r"\frac{1}{2}"),
        (r"\boxed{1} no, \boxed{2}", "2"),
        (r"\boxed{1} and \boxed{2", ""),
        ("The answer is 3.5.", "3.5"),
        ("The answer is **12** apples.\nBye", "12 apples"),
        ("Answer: $x = 5$", "$x = 5$"),
        ("**Answer:** 18\n", "18"),
        ("Final answer:\n\n-4", "-4"),
        ("The answer is 5. That took 2 steps.", "5"),
        (r"The answer is 4. Wait: \boxed{6}", "6"),
        ("she pays 3 and then 1,250.50 in total", "1,250.50"),
        ("x = 2 + 3 = 5", "5"),
        ("(3, -1)", "(3, -1)"),
        (r"$9^{9^{9}}$", r"9^{9^{9}}"),
        ("yes", "yes"),
        ("所以答案是：12页。", "12页"),
        ("", ""),
    ],
)
def test_extract_answer(text, answer):
    assert extract_answer(text) == answer


CHEAP_EQUAL = [
    ("18", "18.0"), ("1,234", "1234"), ("+7", "7"), ("-0.50", "-1/2"), ("50%", "0.5"),
    ("50 percent", r"50\%"), ("18%", "18"), ("18 dollars", "18"), (r"\$18.00", "18"),
    ("5 apples", "5 apple"), ("5 km/h", "5"), ("9页", "9"), (r"90^\circ", "90"), (r"12\text{ cm}^2", "12"),
    ("**42**", "42"), ("x = 5", "5"), ("(B)", "b"), ("( 1 , 2 )", "(1,2)"),
    (r"\left( 1, \dfrac12 \right)", r"(1,\frac{1}{2})"), ("blue", "Blue"), ("１２", "12"), ("2.", "2"),
    ("5e3", "5000"), (r"\{1, 2\}", "2, 1"), ("100 cm", "1 m"), (r"\pm 3", "3, -3"), ("2^{10}", "1024"),
    (r"\sqrt{\frac{9}{4}}", "1.5"), (r"\frac{1}{1+\frac{1}{2}}", "2/3"), ("-2^2", "-4"), ("3(2+1)", "9"),
    (r"0.\overline{3}", "1/3"), ("x > 3", r"(3, \infty)"),
]  # fmt: skip
CHEAP_UNEQUAL = [
    ("18", "19"), ("0.333", "1/3"), ("1 1/2", "11/2"), ("5x", "5"), ("5 cm", "5 m"), ("0.5%", "0.5"),
    ("5 or 6", "5"), ("2", "-2"), ("1/0", "1"), ("1,23", "123"), ("10 9 8 7 2", "2"), ("", "2"), ("A", "B"),
    ("(1,2)", "(2,1)"), ("1/3 + 1/3", "0.6666666666666"), ("2**", "2"), ("7//2", "3"), ("5 million", "5"),
]  # fmt: skip


def forms(sign):
    lines = (ROOT / "tests/math_pairs/forms.txt").read_text(encoding="utf-8").splitlines()
    return [tuple(side.strip() for side in line[2:].split(" ~~ ")) for line in lines if line[0] == sign]


@pytest.mark.parametrize(("prediction", "gold"), CHEAP_EQUAL)
def test_equal_answers_without_a_jail(prediction, gold):
    assert equivalent(prediction, gold) and equivalent(gold, prediction)
    assert verdict(prediction, gold, Untouched()) == "pass"


@pytest.mark.parametrize(("prediction", "gold"), CHEAP_UNEQUAL)
def test_unequal_answers(prediction, gold, jail):
    assert verdict(prediction, gold) == verdict(prediction, gold, jail) == "fail"


@pytest.mark.parametrize(("prediction", "gold"), forms("="))
def test_equal_answers(prediction, gold, jail):
    assert (verdict(prediction, gold, jail), verdict(gold, prediction, jail)) == ("pass", "pass")


@pytest.mark.parametrize(("prediction", "gold"), forms("!"))
def test_different_answers(prediction, gold, jail):
    assert (verdict(prediction, gold, jail), verdict(gold, prediction, jail)) == ("fail", "fail")


def test_agreement_on_the_development_pairs(jail):
    """Labelled pairs that the rules were developed on: a check against regressions, not a measurement."""
    rows = [json.loads(line) for line in (ROOT / "tests/math_pairs/dev.jsonl").open(encoding="utf-8")]
    wrong, slowest = [], 0.0
    for row in rows:
        started = time.monotonic()
        status = verdict(row["prediction"], row["gold"], jail)
        slowest = max(slowest, time.monotonic() - started)
        if status != ("pass" if row["equal"] else "fail"):
            wrong.append((row["id"], status))
    assert len(wrong) <= 0.01 * len(rows), wrong
    assert slowest <= BOUND_S


@pytest.mark.parametrize(
    ("prediction", "gold"),
    [
        ("9^9^9^9", "2"), ("9^(10^9)", "2"), ("exp(exp(exp(100)))", "2"), ("100000000!", "2"),
        (r"\binom{100000000}{50000000}", "2"), (r"\sum_{k=1}^{10^9} k^{0.5}", "2"), ("1/(1-1)", "2"),
        ("√" * 19 + "2", r"\sqrt{2}"), ("sin(10^{10^{10}})", "x+1"),
    ],
)  # fmt: skip
def test_expensive_answers_fail_in_time(jail, prediction, gold):
    started = time.monotonic()
    assert verdict(prediction, gold, jail) == "fail"
    assert time.monotonic() - started < BOUND_S
    assert verdict(prediction, gold) == "fail"  # without a jail nothing is evaluated


@pytest.mark.parametrize(
    "gold",
    ["", "  ", None, 5, r"\frac{1}{2", "}{", "1/0", "9^9^9^9", "@@##", "(1,2", "=", r"\foo{1}", "ln 0",
     "1" * 2000, "\u202e12", "\x0012"],
)  # fmt: skip
def test_a_malformed_reference_is_infra(jail, gold):
    assert verdict("2", gold, jail) == "infra"
    with pytest.raises(GraderError, match="malformed"):
        equivalent("2", gold, jail)


@pytest.mark.parametrize(
    "gold", ["2", r"\sqrt{2}", r"(3,\infty)", "x+1", r"\{1,2\}", "y=2x+1", "blue", "x+y<3"]
)
@pytest.mark.parametrize(
    "prediction",
    [None, 5, 2.0, b"2", ["2"], "", " ", "@@##", "(((", "x=", "NaN", "1" * 10_000_000, "\u202e2", "\ud800",
     "٢", "\x00", r"\foo{1}", "≈" * 300, "x<" * 200 + "3", "and " * 100,
     r"\lim_{x\to 0} \frac{1}{x}", "∫∫∫", "\\text{" * 100 + "2", "±" * 99 + "1"],
    ids=range(24),
)  # fmt: skip
def test_bad_predictions_fail(jail, prediction, gold):
    assert verdict(prediction, gold, jail) == verdict(prediction, gold) == "fail"


def test_a_broken_jail_is_infra():
    class Broken:
        def sibling(self, math):
            return self

        def call(self, *_):
            return JailResult("infra", [], "worker lost")

    assert verdict(r"\sqrt{2}", r"\sqrt{8}/2", Broken()) == "infra"
    assert verdict("1+1", "2", Broken()) == verdict("2", "2", Broken()) == "pass"


def test_without_sympy_plain_arithmetic_still_decides(jail):
    class NoMath:
        eval = jail.eval

        def sibling(self, math):
            raise SandboxUnavailable("symbolic comparison needs sympy")

    assert verdict(r"2\sqrt{3}", r"\sqrt{12}", NoMath()) == "pass"
    assert verdict(r"2\pi", "6", NoMath()) == "fail"
    assert verdict("1.41421356237310", r"\sqrt{2}", NoMath()) == "infra"  # floats cannot tell
    assert verdict("x+x", "x*2", NoMath()) == "infra"


def test_the_reference_stays_out_of_the_predictions_job(jail):
    jobs = []

    class Spy:
        def sibling(self, math):
            return self

        def call(self, code, entry, args):
            jobs.append(args)
            return jail.sibling(math=True).call(code, entry, args)

    assert verdict(r"2\sqrt{3}", r"\sqrt{12}", Spy()) == "pass"
    assert jobs == [[["formula", ["12", "2", "root"]]], [["formula", ["2", "3", "2", "root", "mul"]]]]


@pytest.mark.parametrize(
    "lie",
    [
        None,
        True,
        5,
        "equal",
        [],
        (60, None),
        (330, [["nan", "0"]]),
        (330, [["1", "0"], 7]),
        (9, [["1", "0"]]),
        [["1", "0", 9]],
        [["nan", "0", 60]],
        [["1", "0", 60], 7],
        [[1, 0, 60]],
        [["1", "0", True]],
        [["1", "0", 60, 60]],
    ],
)
def test_a_job_that_lies_is_no_evidence(lie):
    assert values._read(lie) is None


def test_digits_enough_to_tell_any_decimal(jail):
    digits = str(values.evaluate([("formula", ("2", "2", "root"))], jail).popitem()[1].points[0][0])
    assert verdict(digits[:290], r"\sqrt{2}", jail) == "fail"
    assert (
        values.equal(values.Values.of(Fraction(1, 3)), values.Values.of(Fraction(10**300 // 3, 10**300)))
        is False
    )


def test_hostile_lengths_are_quick():
    started = time.monotonic()
    for unit in ("answer ", "\\boxed{", "^ ", "\\text{", "1,", "9", "(", ". ", "-", "\\frac{", "$", " = "):
        text = unit * (100_000 // len(unit))
        assert verdict(extract_answer(text), "2") == "fail"
        assert verdict(text, "2") == "fail"
    assert time.monotonic() - started < BOUND_S


def items(kind):
    if not ATTACKS.exists():
        return []
    return [item for item in json.loads(ATTACKS.read_text())[kind] if item["mode"] == "math"]


@pytest.mark.parametrize(
    "item", items("attacks") + items("controls"), ids=lambda item: f"{item['id']}-{item['name']}"
)
def test_attack_suite(jail, item, tmp_path):
    started = time.monotonic()
    answer = item["answer"].replace("{{CANARY}}", str(tmp_path))
    outcomes = {verdict(extract_answer(answer), item["gold"], jail), verdict(answer, item["gold"], jail)}
    assert outcomes == {"pass" if item["expect_reward"] else "fail"}
    assert time.monotonic() - started < BOUND_S
    assert list(tmp_path.iterdir()) == []
    assert verdict("\\sqrt{2}", "2/\\sqrt{2}", jail) == "pass"


@pytest.mark.parametrize("name", ["gsm8k", "math500"])
def test_reference_solutions_are_right_and_neighbours_wrong(jail, name):
    path = DATA / name / "test.jsonl.gz"
    if not path.exists():
        pytest.skip(f"the {name} mirror is absent: set NBKIT_DATA_DIR")
    with gzip.open(path, "rt") as lines:
        rows = [json.loads(line) for _, line in zip(range(300), lines, strict=False)]
    solutions = [row.get("solution") or row["answer"] for row in rows]
    golds = [row["answer"].rpartition("####")[2].strip() for row in rows]
    right = [verdict(extract_answer(text), gold, jail) for text, gold in zip(solutions, golds, strict=True)]
    wrong = [verdict(gold, other, jail) for gold, other in zip(golds, golds[1:], strict=False)]
    assert right.count("pass") >= 0.99 * len(right) and "infra" not in right + wrong
    chance = sum(gold == other for gold, other in zip(golds, golds[1:], strict=False))
    assert wrong.count("pass") <= chance + 1
