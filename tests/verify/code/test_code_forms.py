"""Programs in tags or indented, without any fence; blocks that import each other as files."""

import textwrap

import pytest

from nbkit.verify import Call, Jail, extract_code, grade, grade_check

F = "```"
ADD = "def add(a, b):\n    total = a + b\n\n    return total"
SQRT = (
    "import math\n\nLIMIT = 9\n\n\ndef root(x):\n    if x < LIMIT:\n        x = 0\n    return math.isqrt(x)"
)
SCRIPT = "n = int(input())\nfor i in range(n):\n    print(i)"
CODES = [(ADD, "add"), (SQRT, "root"), (SCRIPT, None), (ADD, None), (SQRT, None)]


@pytest.fixture(scope="module")
def jail():
    with Jail() as jail:
        yield jail


def by_four(code, by="    "):
    return textwrap.indent(code, by)


@pytest.mark.parametrize("code, entry", CODES)
@pytest.mark.parametrize(
    "form",
    [
        "<code>{}</code>",
        "The program:\n<code>\n{}\n</code>\nIt takes two numbers and adds them.",
        'So it is: <pre><code class="language-python">\n{}\n</code></pre>',
        "<python>\n{}\n</python>",
        "[PYTHON]\n{}\n[/PYTHON]\n[TESTS]\nassert True\n[/TESTS]",
        "I would write\n<answer>\n{}\n</answer>",
        "\\begin{{lstlisting}}[language=Python]\n{}\n\\end{{lstlisting}}",
        "Cut short: <code>\n{}",
        "<code>x</code> is the input of <code>\n{}\n</code> and <code>y</code> its output.",
        "<think>no <code>def add(a, b): return 0</code></think><code>\n{}\n</code>",
    ],
)
def test_programs_in_tags(form, code, entry):
    assert extract_code(form.format(code), entry) == code


def test_tags_as_html_writes_them_and_in_several_places():
    assert extract_code("<code>\ndef f(a, b):\n    return a &lt; b\n</code>", "f").endswith("a < b")
    two = "<code>\ndef plus(a):\n    return a\n</code> then <code>\ndef f(a):\n    return plus(a)</code>"
    assert "def plus" in extract_code(two, "f")
    page = 'Here it is:\ndef f(x):\n    return f"<code>{x}</code>"'
    assert extract_code(page, "f") == page.partition("\n")[2]


@pytest.mark.parametrize("code, entry", CODES)
@pytest.mark.parametrize(
    "form",
    [
        "{}",
        "Here is the function:\n\n{}\n\nIt takes two numbers.",
        "The code:\n{}",
        "## Solution\n\n{}\n\n## How it works\n\nIt adds.",
        "Solution\n\n{}\n",
        "1. We write this program\n\n{}\n\n2. We run it\n\n    $ python add.py\n",
        "<think>Let me see.\n\n    def add(a, b):\n        return 0\n</think>\nHere you are.\n\n{}",
        "Answer:\n\n{}",
    ],
)
@pytest.mark.parametrize("by", ["    ", "\t", "      "])
def test_programs_that_are_indented(form, code, entry, by):
    assert extract_code(form.format(by_four(code, by)), entry) == code


@pytest.mark.parametrize(
    "doc",
    [
        '"""Twice.\n    >>> f(1)\n    2\n    """',
        '"""\n    Twice.\n\n    >>> f(1)\n    2\n    >>> f(\n    ...     2)\n    4\n    """',
        '""">>> f(1)\n    2\n    """',
        "# >>> f(1)\n    # 2",
        'r"""\n    Examples\n    --------\n    >>> f(\'</think>\')\n    """',
    ],
)
def test_examples_in_a_docstring_are_no_session(doc):
    code = f"def f(x):\n    {doc}\n    return 2 * x"
    for entry in ("f", None):
        assert extract_code(f"{F}python\n{code}\n{F}\nDone.", entry) == code
        assert extract_code(f"Here it is:\n\n{by_four(code)}\n\nDone now.", entry) == code
    session = f"{F}pycon\n# so\n>>> def f(x):\n...     return 2 * x\n...\n>>> f(1)\n2\n{F}"
    assert "def f(x):\n    return 2 * x" in extract_code(session, "f")


def test_what_is_indented_but_no_program_of_its_own():
    plain = "Here:\nimport math\n\ndef f(x):\n    y = x\n\n    def g():\n        return y\n\n    return g()"
    assert extract_code(plain, "f") == plain.partition("\n")[2]
    rest = "out = []\n\n    def near(a):\n        return a\n\n    return out"  # lines that continue a prompt
    assert extract_code(rest, "total") == rest
    assert extract_code("The result:\n\n    12\n\nis right.") == "The result:\n\n    12\n\nis right."


def blocks(*bodies):
    return "\n".join(f"{F}python\n{body}\n{F}\n" for body in bodies)


PLUS = "def plus(a, b):\n    return a + b"
CALLS = "def add(a, b):\n    return plus(a, b)"
SHORT = "def add(a, b):\n    return a + b"


@pytest.mark.parametrize("entry", ["add", None])
@pytest.mark.parametrize(
    "text",
    [
        blocks(PLUS, f"from helpers import plus\n\n{CALLS}"),
        blocks(PLUS, "from .helpers import plus as p\n\ndef add(a, b):\n    return p(a, b)"),
        blocks(PLUS, "import helpers\n\ndef add(a, b):\n    return helpers.plus(a, helpers.plus(b, 0))"),
        blocks(PLUS, "import helpers as h\n\ndef add(a, b):\n    return h.plus(a, b)  # né"),
        blocks(PLUS, "def add(a, b):\n    from helpers import plus\n    return plus(a, b)"),
        blocks(PLUS, f"try:\n    from solution import plus\nexcept ImportError:\n    pass\n\n{CALLS}"),
        blocks(f"# file: tools.py\n{PLUS}", f"import tools\nfrom tools import *\n\n{CALLS}"),
        blocks(f"import solution\n\n{SHORT}\n\nassert solution.add(1, 2) == 3"),
        blocks(f"from solution import add\n{SHORT}\nassert add(1, 2) == 3"),
        blocks(f"{SHORT}\n\nfrom main import add as same, add\nassert same(1, 2) == 3"),
        blocks(SHORT, "import solution\n\ndef test_add():\n    assert solution.add(1, 2) == 3"),
        blocks(SHORT, "from main import *\nprint(add(1, 2))"),
        blocks("from your_module import add", SHORT),
        f"import solution\n\n{SHORT}",
        blocks(PLUS, "import tools as h\n\ndef add(a, b):\n    import tools as h\n    return h.plus(a, b)"),
        f"<code>{PLUS}</code>\n<code>from solution import plus\ndef add(a, b): return plus(a, b)</code>",
    ],
)  # fmt: skip
def test_blocks_that_import_each_other(text, entry):
    names = {"__name__": "candidate"}
    exec(compile(extract_code(text, entry), "<test>", "exec"), names)  # a program of this file
    assert names["add"](2, 3) == 5


def test_a_program_that_imports_its_solution_runs(monkeypatch, capsys):
    for last in (
        "from solution import solve\nsolve()",
        "import solution\n\nif __name__ == '__main__':\n    solution.solve()",
        "import sys\nfrom solution import solve\n\ndef main():\n    solve()\n\nmain()",
    ):
        code = extract_code(blocks("def solve():\n    print(int(input()) + 1)", last))
        monkeypatch.setattr("builtins.input", lambda: "4")
        exec(compile(code, "<test>", "exec"), {"__name__": "__main__"})
        assert capsys.readouterr().out == "5\n"


def test_libraries_and_unknown_modules_stay():
    numpy = "import numpy as np\n\ndef add(a, b):\n    return np.add(a, b)"
    assert extract_code(blocks(numpy), "add") == numpy
    other = "from elsewhere import missing\n\ndef add(a, b):\n    return missing(a, b)"
    assert extract_code(blocks(other), "add") == other


NBSP = "\u00a0"


@pytest.mark.parametrize("form", ["{}", "```python\n{}\n```", "Here:\n\n```\n{}\n```\nDone."])
@pytest.mark.parametrize(("code", "entry"), CODES)
def test_no_break_spaces_at_the_margin_are_spaces(form, code, entry):
    odd = "\n".join(line.replace("    ", NBSP * 4) if line[:1] == " " else line for line in code.split("\n"))
    assert NBSP in odd
    assert extract_code(form.format(odd), entry) == code
    assert extract_code(form.format(odd.replace(NBSP * 4, f"{NBSP} {NBSP} ")), entry) == code


def test_no_break_spaces_elsewhere():
    text = f"def f():\n{NBSP * 4}return '5{NBSP}km'"
    assert extract_code(text, "f") == text.replace(NBSP * 4, "    ")  # that of the string stays
    whole = f"def f():\n    return '5{NBSP}km'"
    assert extract_code(whole, "f") == whole
    assert extract_code(f"def{NBSP}f(x):\n{NBSP}return{NBSP}x", "f") == "def f(x):\n return x"
    broken = f"def f(:\n{NBSP}return x"
    assert extract_code(broken, "f") == broken


METHOD = "class Solution:\n    def add(self, a, b): return a + b\n"


@pytest.mark.parametrize(
    ("code", "status"),
    [
        (METHOD, "pass"),
        (METHOD.replace("a + b", "a - b"), "fail"),
        (METHOD.replace("Solution", "Adder") + "class Other: pass", "pass"),
        (f"{METHOD}class Other:\n    def add(self, a, b): return 0", "pass"),  # Solution before the last one
        ("class A:\n    def add(self, a, b): return 0\n" + METHOD.replace("Solution", "B"), "pass"),
        ("class Solution:\n    @staticmethod\n    def add(a, b): return a + b", "pass"),
        ("class Base:\n    def add(self, a, b): return a + b\nclass Solution(Base): pass", "pass"),
        # A fresh instance each time; what does not make one is the program's fault.
        (
            "class Solution:\n    n = 0\n    def add(self, a, b): self.n += 1; return a + b + self.n - 1",
            "pass",
        ),
        ("class Solution:\n    def __init__(self, x): pass\n    def add(self, a, b): return a + b", "fail"),
        (f"{METHOD}def add(a, b): return 0", "fail"),  # a function comes first
        ("from collections import Counter\nclass Solution: pass", "fail"),
        ("class Solution:\n    add = 5", "fail"),
    ],
)
def test_methods_of_a_class(jail, code, status):
    calls = [Call([2, 3], 5), Call([1, 1], 2)]
    assert grade(jail, code, "add", calls).status == status
    assert grade(jail, code, "add", [Call("add(2, 3)", 5), Call("add(b=1, a=1)", 2)]).status == status
    test = "def check(candidate):\n    assert candidate(2, 3) == 5 and candidate(1, b=1) == 2"
    assert grade_check(jail, code, "add", test).status == status


def test_a_method_with_the_name_of_a_built_in_may_call_it(jail):
    code = "class Solution:\n    def sum(self, a): return sum(a)"
    assert grade(jail, code, "sum", [Call("sum([1, 2])", 3), Call([[4]], 4)]).status == "pass"
    assert grade(jail, "def f(): pass", "update", [Call([], None)]).detail.endswith(
        "no function named 'update'"
    )


def test_a_class_in_an_answer_is_its_program():
    text = f"Here:\n{F}python\n{METHOD}{F}\nUse:\n{F}python\nprint(Solution().add(1, 2))\n{F}"
    assert extract_code(text, "add") == METHOD.strip()
