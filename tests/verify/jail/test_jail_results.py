"""What the jail says of a program: text that anything can store, and the same verdict every time."""

import select
import sqlite3

import pytest

from nbkit.verify import Call, CallError, Case, Jail, JailResult, grade, grade_check, grade_program
from nbkit.verify.jail import link
from nbkit.verify.jail import wasm as jail_wasm
from nbkit.verify.jail.results import read_calls
from nbkit.verify.jail.text import printable
from nbkit.verify.jail.tiers import available

TIERS = available()
if not TIERS:
    pytest.skip("no jail on this machine", allow_module_level=True)


@pytest.fixture(scope="module", params=TIERS)
def jail(request):
    with Jail(wall_s=5.0, output_bytes=4096, tier=request.param) as warm:
        yield warm


# --- text ---

NASTY = [
    "\x1b[31mred",
    "\ud800",
    "a\x00b",
    "\r\x08gone",
    "\x9b2J\x85",
    "\u202eabc",
    "\ufdd0\ufeff\u200b",
    "\udcff" * 999,
]


def harmless(text):
    text.encode("utf-8")
    assert all(c.isprintable() or c in "\n\t" for c in text) and len(text) <= 400, repr(text)
    database = sqlite3.connect(":memory:")
    assert database.execute("select ?", (text,)).fetchone() == (text,)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("plain, é, 漢字\n\tand so on", "plain, é, 漢字\n\tand so on"),
        ("\x1b[31m", "\\x1b[31m"),
        ("\ud83d", "\\ud83d"),
        ("a\x00\x7f\x9b\r", "a\\x00\\x7f\\x9b\\r"),
        ("\u202e\u2028", "\\u202e\\u2028"),
        ("\U0010ffff", "\\U0010ffff"),
        ("\x1b" * 999, "\\x1b" * 75),
        ("x" * 999, "x" * 300),
        (5, ""),
        (None, ""),
        (["\ud800"], ""),
    ],
)
def test_what_cannot_be_printed_is_written_out(text, wanted):
    assert printable(text) == wanted
    assert JailResult("error", [], text).detail == CallError(text).detail == wanted
    assert printable(wanted) == wanted


@pytest.mark.parametrize("text", NASTY, ids=ascii)
def test_a_detail_is_harmless_text_wherever_it_comes_from(jail, text):
    if jail.tier == "wasmtime" and text != NASTY[1]:
        pytest.skip("slow, and the same gate")
    raising = f"raise ValueError({text!r})"
    inside = f"def f(x):\n    if x: return {text!r}\n    {raising}"
    named = f"class E(Exception): pass\nE.__name__ = {text!r}\ndef f(x): raise E({text!r})"
    check = "def check(c):\n    assert c(1) == 'x', c(1)"
    verdicts = [
        grade(jail, f"{raising}\ndef f(x): return x", "f", [Call([1], 1)]),
        grade(jail, inside, "f", [Call([0], "x")]),
        grade(jail, inside, "f", [Call([1], "x")]),
        grade(jail, named, "f", [Call([1], "x")]),
        grade(jail, "x = 1", text, [Call([1], 1)]),
        grade_check(jail, inside, "f", check),
        grade_check(jail, named, "f", check),
        grade_program(jail, raising, [Case("", "x")]),
        grade_program(
            jail,
            f"import sys\nsys.stdout.buffer.write({text!r}.encode('utf-8', 'surrogatepass'))",
            [Case("", "x")],
        ),
        grade_program(jail, f"import sys\nsys.exit({text!r})", [Case("", "x")]),
    ]
    for verdict in verdicts:
        assert verdict.status == "fail" and verdict.detail
        harmless(verdict.detail)


def test_a_forged_answer_is_harmless_too(jail):
    """What a program writes in the place of the worker's words, of any type."""
    if jail.tier == "wasmtime":
        pytest.skip("slow, and the same gate")
    forged = [
        '{"error": "\\\\ud800\\\\u001b"}',
        '{"error": [[], "\\\\u0000"]}',
        '{"error": 7}',
        '{"exit": "\\\\u001b"}',
    ]
    forged += [
        '{"exit": 1, "error": {"a": "\\\\ud800"}}',
        '{"exit": null}',
        '{"exit": [' + "[" * 500 + "]" * 501 + "}",
    ]
    for answer in forged:
        code = f"import os\ndata = b'{answer}'\nos.write(3, b'%08x' % len(data) + data)\nos._exit(0)"
        for result in (jail.call(code, "f", [[]]), jail.run(code)):
            assert result.status == "error", (answer, result)
            harmless(result.detail)
    harmless(read_calls({"error": "\ud800"}, 1).detail)


# --- wrong programs, always the same verdict ---

FLOODS = {
    "print for ever": "while True: print('x' * 1000)",
    "one long line": "print('x' * 10_000_000)",
    "many short ones, then an end": "for i in range(100_000): print(i)",
    "raw writes": "import os\nwhile True: os.write(1, b'x' * 65536)",
    "raw writes, then exit": "import os\nfor _ in range(4): os.write(1, b'x' * 65536)\nos._exit(0)",
    "a flood, then an error": "print('x' * 100_000)\n1/0",
    "from a thread": "import threading\nthreading.Thread(target=lambda: print('x' * 100_000)).start()",
    "a little too much": "print('x' * 4096)",
}


@pytest.fixture
def late(monkeypatch):
    """The parent looks at a job only once that has printed too much, as on a busy machine."""

    def linux(job):
        if job._printing is not None:
            assert select.select([job._printing], [], [], 60)[0]
        return begin[0](job)

    def wasm(job):
        if job._collect:
            job._threads[1].join(60)  # which collects what is printed, up to the limit
        return begin[1](job)

    begin = link.ForkJob.begin, jail_wasm.WasmJob.begin
    monkeypatch.setattr(link.ForkJob, "begin", linux)
    monkeypatch.setattr(jail_wasm.WasmJob, "begin", wasm)


@pytest.mark.parametrize("flood", FLOODS)
def test_a_flood_of_output_is_a_fail_however_late_we_look(jail, flood, late):
    if jail.tier == "wasmtime" and flood not in ("print for ever", "a little too much"):
        pytest.skip("slow there")
    for _ in range(1 if jail.tier == "wasmtime" else 3):
        verdict = grade_program(jail, FLOODS[flood], [Case("", "x")])
        assert verdict.status == "fail", verdict
        assert verdict.detail == "case 1 of 1: error: answer longer than 4096 bytes"


@pytest.mark.parametrize(
    "code",
    [
        "def f(): return 'x' * 5000",
        "def f():\n    while True: os.write(3, b'0' * 65536)",
        "def f():\n    while True: os.write(3, b'z' * 65536)",
        "def f():\n    while True: os.write(3, b'00000002{}')",
        "def f(): os.write(3, b'z' * 100); os._exit(0)",
        "def f(): os.write(3, b'7fffffff'); os._exit(0)",
    ],
)
def test_a_flood_in_place_of_an_answer_has_one_verdict(jail, code):
    if jail.tier == "wasmtime":
        pytest.skip("the answers have another descriptor there")
    found = {grade(jail, f"import os\n{code}", "f", [Call([], 5)]) for _ in range(4)}
    assert len(found) == 1 and {verdict.status for verdict in found} == {"fail"}, found


@pytest.mark.parametrize(
    "test",
    [
        "c('x' * c(1))",
        "c(b'x' * c(1))",
        "c(['x' * 1000] * (c(1) // 1000))",
        "c(1)\n    c(c(1) * 'x')",
        "c({i: 'x' * 100_000 for i in range(c(1) // 100_000)})",
        "c(k=('y' * c(1),))",
    ],
)
def test_an_argument_that_the_answer_makes_too_long_is_a_fail(jail, test):
    if jail.tier == "wasmtime":
        pytest.skip("slow there, and the same conversation")
    for _ in range(2):
        verdict = grade_check(jail, "def f(x=0, k=0): return 17 << 20", "f", f"def check(c):\n    {test}")
        assert verdict.status == "fail" and verdict.detail, verdict


def test_an_answer_that_kills_the_test_is_a_fail_and_a_test_that_dies_alone_is_infra(jail):
    if jail.tier == "wasmtime":
        pytest.skip("no ctypes there")
    crash = "import ctypes\ndef check(c):\n    if {}: ctypes.string_at(0)"
    assert grade_check(jail, "def f(): return 1", "f", crash.format("c() == 1")).status == "fail"
    assert grade_check(jail, "def f(): return 0", "f", crash.format("c() == 1")).status == "pass"
    assert grade_check(jail, "def f(): return 1", "f", crash.format("True")).status == "infra"
    long = f"def check(c):\n    c('x' * {17 << 20})"
    assert grade_check(jail, "def f(x): return 1", "f", long).status == "infra"
