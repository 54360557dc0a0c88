"""Right answers that are long pass at the defaults, in every form that counts as equal; floods do not."""

from decimal import Decimal
from fractions import Fraction

import pytest

from nbkit.verify import Call, Case, JailPool, grade, grade_program
from nbkit.verify.code.printed import room, same_output

N = 20_000
LINES = "".join(f"{i}\n" for i in range(N))
PRINTED = [
    ("print('\\n'.join(map(str, range(20000))))", LINES),
    ("for i in range(20000): print(i, end=' \\n')\nprint('\\n' * 50_000)", LINES),
    ("for i in range(20000): print(i, end='\\r\\n')", LINES),
    ("print('a' * (1 << 20))", "a" * (1 << 20)),
    ("print('é漢😀' * 40_000)", "é漢😀" * 40_000),
    ("for i in range(20000): print(i + 1 / 3)", "".join(f"{i + 1 / 3:.1f}3333333\n" for i in range(N))),
    ("for i in range(20000): print('0.' + '5' + '0' * 35)", "0.5\n" * N),
    ("import sys\nsys.stdout.write('x y\\n' * 100_000)", "x y\n" * 100_000),
    ("import os\nfor i in range(30): os.write(1, b'0' * 65536)", "0" * 65536 * 30),
    ("print(2 ** 1_000_000 % 10 ** 100_000 // 10 ** 99_999, '7' * 99_999)", None),
    ("print(*[[i, str(i)] for i in range(9000)])", " ".join(f"[{i}, '{i}']" for i in range(9000))),
]


@pytest.mark.parametrize(("code", "expected"), PRINTED)
def test_long_output_passes_at_the_defaults(jail, code, expected):
    if expected is None:
        expected = f"{2**1_000_000 % 10**100_000 // 10**99_999} {'7' * 99_999}"
    verdict = grade_program(jail, code, [Case("", expected), Case("x", expected)])
    assert verdict.status == "pass", verdict
    cut = grade_program(jail, code, [Case("", expected[: len(expected) * 3 // 4])])
    assert cut.status == "fail" and ("wanted" in cut.detail or "longer" in cut.detail), cut


@pytest.mark.parametrize(
    "code",
    [
        "while True: print('x' * 1000)",
        "import os\nwhile True: os.write(1, b'0\\n' * 9999)",
        "print('a' * (1 << 22))",
        f"for i in range({N}): print(i, ' ' * 1000)",
    ],
)
def test_floods_end_at_the_limit(jail, code):
    verdict = grade_program(jail, code, [Case("", LINES)])
    assert verdict.status == "fail" and f"longer than {room(LINES)} bytes" in verdict.detail


def test_the_limit_of_a_run_can_be_raised(jail):
    code, text = "print(input() * 100_000)", "ab" * 100_000 + "\n"
    assert "longer than 65536 bytes" in jail.run(code, "ab").detail
    assert jail.run(code, "ab", output_bytes=len(text)).values == [text]
    assert "longer than 200000 bytes" in jail.run(code, "ab", output_bytes=len(text) - 1).detail
    assert "longer than 65536 bytes" in jail.run(code, "ab", output_bytes=9).detail  # never lowered
    with JailPool(1) as pool:
        assert pool.run(code, "ab", 1 << 20).values == [text]
        assert grade_program(pool, code, [Case("ab", text)]).status == "pass"


def test_room_for_every_way_to_write_it():
    for printed, expected in [("0." + "3" * 37, "0.3333333"), ("1e-05", "0.00001"), (" x" * 9, " x" * 9)]:
        assert same_output(printed, expected) and len(printed) <= room(expected)
    assert room("") == 0 and room("\ud800") > 0


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("def f(n): return [1.0] * n", [1] * N),
        ("from fractions import Fraction\ndef f(n): return [Fraction(i) for i in range(n)]", list(range(N))),
        ("from decimal import Decimal\ndef f(n): return [Decimal(i) for i in range(n)]", list(range(N))),
        ("def f(n): return [1] * n", [True] * N),
        ("def f(n): return [1] * n", [Fraction(1)] * N),
        ("def f(n): return [i * 1.0 for i in range(n)]", [Decimal(i) for i in range(N)]),
        ("def f(n): return {i: (i * 1.0,) for i in range(n)}", {i: (i,) for i in range(N)}),
        ("def f(n): return [[0.0] * 3] * n", [[0] * 3] * N),
    ],
)
def test_long_answers_that_are_equal_numbers(jail, code, expected):
    verdict = grade(jail, code, "f", [Call([N], expected)])
    assert verdict.status == "pass", verdict
