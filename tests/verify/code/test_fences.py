"""Fences of every kind, and text of any kind between them."""

import random
import time

import pytest
from test_blocks import block, value

from nbkit.verify import extract_code
from nbkit.verify.code.fences import fences

F = "```"
ADD = "def add(a, b):\n    return a + b"


@pytest.mark.parametrize(
    "text",
    [
        f"1. Code:\n   {F}python\n   def add(a, b):\n       return a + b\n   {F}",
        f"- {F}python\n  def add(a, b):\n      return a + b\n  {F}",
        f"> {F}python\n> def add(a, b):\n>     return a + b\n> {F}",
        f"\t{F}py\n\tdef add(a, b):\n\t    return a + b\n\t{F}",
        f"~~~python\n{ADD}\n~~~",
        f"````python\n{ADD}\n````",
        f"````python\n{ADD}\n{F}\nDone.",
        f"{F}python\n{ADD}\n~~~\nDone.",
        f"{F}python\n{ADD}{F}\nDone.",
        f"{F}python\n{ADD}\n{F}.\nIt adds.",
        f"{F}python\n{ADD}\n{F} And that is all.",
        f"{F}python\n{ADD}\n{F}bash\nls\n{F}",
        f"{F}python\n{ADD}",
        f"{F}python\n{ADD}\n\nThis function adds the two numbers.",
        f"The code: {F}python\n{ADD}\n{F}",
        f"{F}Python3\n{ADD}\n{F}",
        f"{F}{{.python}}\n{ADD}\n{F}",
        f'{F}python title="a.py"\n{ADD}\n{F}',
        f"{F}python\r\ndef add(a, b):\r\n    return a + b\r\n{F}\r\n",
        f"{F}python def add(a, b):\n    return a + b\n{F}",
        f"{F}pycon\n>>> def add(a, b):\n...     return a + b\n>>> add(1, 2)\n3\n{F}",
        f"{F}text\n{ADD}\n{F}",
        f"{F}bash\nls\n{F}\n{F}python\n{ADD}\n{F}\n{F}javascript\nfunction add(a, b) {{ }}\n{F}",
        f"{F}cpp\nint add() {{}}\n{F}\n{F}\n{ADD}\n{F}",
        f"<think>{F}python\ndef add(a, b): return 0\n{F}</think>{F}python\n{ADD}\n{F}",
        f"Answer:\n{F}python\n{ADD}\n{F}",
        f"{F}python\n# Answer: the sum\n{ADD}\n\nif __name__:\n    print('Answer:', add(1, 2))\n{F}",
        ADD,
        f"I add them.\nAnswer: {ADD}",
        f"Here is the function.\n\n{ADD}\n\nIt returns the sum of both.",
        f'{F}python\ndef add(a, b):\n    """A\n    {F}python\n    add(1, 2)\n    {F}"""\n    return a + b\n'
        f"{F}",
        f"{F}python\ndef add(a, b):\n    # {F}not the end{F}\n    return a + b\n{F}",
    ],
)
def test_fences_of_every_kind(text):
    assert value(extract_code(text)) == 5
    assert value(extract_code(text, "add")) == 5


@pytest.mark.parametrize("quote", ['"', "'", '"' * 3])
@pytest.mark.parametrize("thought", ["", "<think>a</think>\n", f"{F}py\nx = 1\n{F}\n</think>\n"])
def test_the_end_of_a_thought_inside_a_string(quote, thought):
    code = f"def add(a, b):\n    return a + b + len({quote}</think>{quote}) - 8"
    assert extract_code(thought + block(code)) == code
    assert extract_code(f"{thought}The code:\n{F}python\n{code}") == code
    assert extract_code(f"x {F}python\n{ADD}0\n{F}\n</think>\n{block(ADD)}") == ADD
    assert extract_code(f"{F}python\nan open fence\n</think>\n{block(ADD)}") == ADD


def test_fences_give_every_block():
    text = f"{block('x = 1')}a `b` c\n  ~~~js\n  y\n  ~~~\n{F}\nz"
    assert [(found.language, found.body) for found in fences(text)] == [
        ("python", "x = 1"),
        ("js", "y"),
        ("", "z"),
    ]


ATOMS = [
    "`",
    F,
    "~~~",
    "\n",
    "\n```python\n",
    "def f(x):\n    return x\n",
    '"""',
    "'''",
    "#",
    " ",
    "> ",
    "1. ",
    "import os\n",
    "x = 1;",
    "(",
    "[",
    "not ",
    "-",
    "a.",
    "f'{",
    "\\",
    "\t",
    "\r\n",
    "</think>",
    "Answer:",
    "class T(TestCase):\n",
    "@d\n",
    "\ud800",
    "\0",
    "é",
    "9",
    ">>> ",
    "a b c ",
    "main()\n",
    "a, b = 1, 2\n",
    "import a, b, c\n",
    "raise x.y\n",
    "1+",
    "a += b\n",
    "for a in b: a\n",
    "from math import *\n",
]


def test_no_text_raises():
    rng = random.Random(0)
    for _ in range(300):
        text = "".join(rng.choices(ATOMS, k=rng.randint(1, 120)))
        assert isinstance(extract_code(text, rng.choice([None, "f"])), str)


@pytest.mark.parametrize(
    "atom",
    [*ATOMS, "`\n", "a`" + F, F + "\n" + ADD + "\n", F + "\na = 1\na[0] = b\n" + F + "\n", '"""' + F + "\n"],
)
def test_time_is_linear(atom):
    """48 KB of backticks took 5 s. The bound is for a slow machine; quadratic ones take far longer."""
    started = time.process_time()
    extract_code(atom * (48_000 // len(atom)))
    assert time.process_time() - started < 5
