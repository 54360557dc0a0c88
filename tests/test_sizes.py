"""Sizes that keep the code readable (CONTRIBUTING.md, "Size"). Those of cells: test_notebooks.py."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
LINES_OF_A_FILE, FILES_OF_A_FOLDER, LINES_OF_A_FUNCTION, ARGUMENTS = 300, 12, 60, 8
README_LINES, README_WORDS = 150, 1300
# What is larger, and why.
FOLDERS = {"tests/filter": 13}  # one file per module of nbkit/filter, and two that need a server or data sets
WIDE = {
    "nbkit/dpd/pairs.py: sample_pairs": 9,  # the ninth is **sampling, which goes on to the engine
    "nbkit/dpd/trainer.py: __init__": 9,  # the ninth is **kwargs, which goes on to TRL's trainer
}


def python_files() -> list[Path]:
    folders = [ROOT / name for name in ("nbkit", "tests", "benchmarks")]
    return [*ROOT.glob("*.py"), *(path for folder in folders for path in sorted(folder.rglob("*.py")))]


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def functions(tree: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    return (node for node in ast.walk(tree) if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)))


def lines_of(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Without its decorators, which may hold long tables."""
    return function.end_lineno - function.lineno + 1


def arguments_of(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """`self` and `cls` do not count, `*args` and `**kwargs` do."""
    given = function.args
    named = [argument.arg for argument in (*given.posonlyargs, *given.args, *given.kwonlyargs)]
    return (
        len([name for name in named if name not in ("self", "cls")]) + bool(given.vararg) + bool(given.kwarg)
    )


@pytest.mark.parametrize("path", python_files(), ids=name_of)
def test_files_and_functions_stay_small(path):
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= LINES_OF_A_FILE, f"{name_of(path)}: split it where its parts part"
    for function in functions(ast.parse(text)):
        where = f"{name_of(path)}: {function.name}"
        assert lines_of(function) <= LINES_OF_A_FUNCTION, f"{where} has {lines_of(function)} lines"
        most = WIDE.get(where, ARGUMENTS)
        assert arguments_of(function) <= most, f"{where} has {arguments_of(function)} arguments: make a class"


def test_folders_stay_small():
    counts = Counter(name_of(path.parent) for path in python_files())
    assert len(counts) > 40
    assert not {
        folder: count for folder, count in counts.items() if count > FOLDERS.get(folder, FILES_OF_A_FOLDER)
    }


def test_no_exception_outlives_its_reason():
    counts = Counter(name_of(path.parent) for path in python_files())
    assert {folder: counts[folder] for folder in FOLDERS} == FOLDERS
    found = {}
    for path in python_files():
        for function in functions(ast.parse(path.read_text(encoding="utf-8"))):
            where = f"{name_of(path)}: {function.name}"
            found[where] = max(found.get(where, 0), arguments_of(function))
    assert {where: found.get(where) for where in WIDE} == WIDE


def test_the_readme_is_short():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(text.splitlines()) <= README_LINES and len(text.split()) <= README_WORDS


@pytest.mark.parametrize(
    ("code", "arguments"),
    [
        ("def f(): pass", 0),
        ("def f(a, /, b, *, c): pass", 3),
        ("def f(self, a): pass", 1),
        ("def f(cls, *args, a=1, **kwargs): pass", 3),
        ("async def f(a, b, c, d, e, f, g, h, i): pass", 9),
    ],
)
def test_arguments_are_counted_as_said(code, arguments):
    (function,) = functions(ast.parse(code))
    assert arguments_of(function) == arguments


@pytest.mark.parametrize(
    ("code", "lines"), [("def f(): pass", 1), ("@x\n@y\ndef f():\n    a = 1\n\n    return a", 4)]
)
def test_lines_are_counted_as_said(code, lines):
    (function,) = functions(ast.parse(code))
    assert lines_of(function) == lines
