"""The program in a model's answer, put together from its blocks of code (02-07, benchmarks).

extract_code("Here:\n```python\ndef f(x):\n    return 2 * x\n```\nTests:\n```python\nassert f(1) == 2\n```")

A block of tests or of usage is not the solution, and what the solution needs from other blocks (helpers,
imports, constants) is put before it. `docs/code_grading.md` states the rules.
"""

import ast
import builtins
import functools
import re
import symtable
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from .fences import PYTHON, fences
from .jail import MAX_CODE  # a program that is longer is not run, so it need not be read

_DEFINES = re.compile(r"^[ \t]*+(?:async[ \t]++)?(?:def|class)[ \t]++(\w++)", re.MULTILINE)
_ANSWER = re.compile(r"^[ \t>#*]*+(?:final )?answer[ \t*]*+:[ \t*]*+", re.MULTILINE | re.IGNORECASE)
_PROGRAM = re.compile(r"^(?:def|class|import|from|async|@\w|if __name__)", re.MULTILINE)
# A line at the margin that is neither code nor a comment: a sentence.
_PROSE = re.compile(
    r"^(?!(?:def|class|import|from|async|if|for|while|with|try|return|print)\b)\w+[,:;]? +\w+ "
)
_FUNCTION = (ast.FunctionDef, ast.AsyncFunctionDef)
_DEFINITION = (*_FUNCTION, ast.ClassDef)
# What reading hostile source may raise.
UNREADABLE = (SyntaxError, ValueError, RecursionError, MemoryError, OverflowError)


def parse(source: str) -> ast.Module | None:
    """The tree of a program; None where it is none, or too long or too deep to be read."""
    if len(source) > MAX_CODE:
        return None
    try:
        return ast.parse(source)
    except UNREADABLE:
        return None


def compiles(source: str) -> bool:
    """Is it a program? Unlike `parse` this refuses a `return` outside a function. Nothing of it is run."""
    try:
        return len(source) <= MAX_CODE and compile(source, "<answer>", "exec") is not None
    except UNREADABLE:
        return False


@dataclass(eq=False)
class _Piece:
    """One block of code. `defines` maps a name to the statement of the block that gives it its value last."""

    source: str
    tree: ast.Module | None
    defines: dict[str, ast.stmt]

    @functools.cached_property
    def lines(self) -> list[str]:
        return self.source.split("\n")

    @functools.cached_property
    def is_plain(self) -> bool:
        """Does it import nothing outside the standard library, so that loading its functions cannot fail?"""
        found = [n for n in ast.walk(self.tree) if isinstance(n, ast.Import | ast.ImportFrom)]
        names = [getattr(node, "module", None) or alias.name for node in found for alias in node.names]
        return {name.partition(".")[0] for name in names} <= sys.stdlib_module_names

    @functools.cached_property
    def functions(self) -> list[str]:
        return [name for name, node in self.defines.items() if isinstance(node, _DEFINITION)]

    def is_test(self) -> bool:
        """Tests only: functions or classes of tests and nothing else that is defined, or bare asserts."""
        if self.functions:
            return all(map(_is_test, map(self.defines.get, self.functions)))
        return self.tree is not None and any(isinstance(node, ast.Assert) for node in self.tree.body)

    def text(self, node: ast.stmt) -> str:
        first = min([node.lineno, *(d.lineno for d in getattr(node, "decorator_list", []))])
        return "\n".join(self.lines[first - 1 : node.end_lineno])


def extract_code(text: str, entry: str | None = None) -> str:
    """The program in a model's answer; `entry` is the function that it must define, where that is known.

    Of the fenced Python blocks, the last that defines `entry` (else: the last that defines anything but
    tests, else the last) with what it needs of the others; without any block the whole text, or its part that
    looks like code. Anything up to `</think>` is ignored. Never raises, in time linear in the text.
    """
    text = text.rpartition("</think>")[2]
    found = fences(text)
    blocks = [block for block in found if block.language in ("", *PYTHON)]
    if not blocks:  # a program under another label
        blocks = [block for block in found if _DEFINES.search(block.body) and parse(block.body)]
    if not blocks:
        return _unfenced(text)
    pieces = [_piece(_trimmed(block.body)) for block in blocks]
    labelled = [block.language in PYTHON for block in blocks]
    main = _solution(pieces, entry) or _statements(pieces, labelled)
    others = [piece for piece in pieces if piece is not main]
    spare = [] if entry else _other_functions(others, main)
    code = _joined(main, others, spare)
    return code + _start(main, pieces[pieces.index(main) + 1 :])


def complete(code: str, *sources: str) -> str:
    """`code` with the definitions and imports of `sources` that it uses and lacks put before it."""
    return _joined(_piece(code), [_piece(source) for source in sources], [])


def _piece(source: str) -> _Piece:
    tree = parse(source)
    defines = {} if tree is None else dict(_defined(tree.body))
    if tree is None:  # it will not run, but its name tells what it was meant to be
        defines = {name: ast.ClassDef(name, [], [], [], []) for name in _DEFINES.findall(source)}
    return _Piece(source, tree, defines)


def _defined(body: Sequence[ast.stmt]) -> Iterable[tuple[str, ast.stmt]]:
    """(name, statement) of everything that a program gives a name at its top level."""
    for node in body:
        names: list[str] = []
        if isinstance(node, _DEFINITION):
            names = [node.name]
        elif isinstance(node, ast.Import | ast.ImportFrom):
            names = [alias.asname or alias.name.partition(".")[0] for alias in node.names]
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            parts = [t for target in targets for t in getattr(target, "elts", [target])]
            names = [part.id for part in parts if isinstance(part, ast.Name)]
        elif isinstance(node, ast.Try):
            names = [name for name, _ in _defined(node.body)]
        yield from ((name, node) for name in names)


def _is_test(node: ast.stmt | None) -> bool:
    name = getattr(node, "name", "").lower()
    bases = {name for base in getattr(node, "bases", []) for name in _words(base)}
    return name.startswith("test") or name.endswith(("_test", "_tests")) or "TestCase" in bases


def _words(tree: ast.AST) -> set[str]:
    """Names and attributes in an expression."""
    return {getattr(node, "id", getattr(node, "attr", "")) for node in ast.walk(tree)}


def _is_stub(node: ast.stmt | None) -> bool:
    """A function with a signature and no body."""
    return isinstance(node, _FUNCTION) and all(
        isinstance(line, ast.Pass)
        or (isinstance(line, ast.Expr) and isinstance(line.value, ast.Constant))
        or (isinstance(line, ast.Raise) and "NotImplementedError" in _words(line))
        for line in node.body
    )


def _solution(pieces: list[_Piece], entry: str | None) -> _Piece | None:
    """The piece that defines what is asked for; None where none defines anything."""
    choices = [piece for piece in pieces if entry in piece.defines]
    if not choices:
        entry = None
        choices = [p for p in pieces if p.functions and not p.is_test()] or [p for p in pieces if p.functions]
    whole = [piece for piece in choices if piece.tree is not None]
    names = {id(piece): [entry] if entry else piece.functions for piece in whole}
    full = [p for p in whole if not all(_is_stub(p.defines[name]) for name in names[id(p)])]
    return [None, *choices, *whole, *full][-1]


def _statements(pieces: list[_Piece], labelled: list[bool]) -> _Piece:
    """Of pieces that define no function: the last that does more than show a value, labelled ones first."""
    known = [piece for piece, label in zip(pieces, labelled, strict=True) if label]
    active = [
        piece
        for piece in known or pieces
        if piece.tree is not None
        and any(not isinstance(getattr(node, "value", None), ast.Constant) for node in piece.tree.body)
    ]
    return (active or known or pieces)[-1]


def _other_functions(others: Sequence[_Piece], main: _Piece) -> list[str]:
    """Functions of other blocks that nobody may need but the caller: where the wanted name is unknown, an
    answer that defines two of them in two blocks offers both."""
    return [
        name
        for piece in others
        if piece.tree is not None and not piece.is_test()
        for name in piece.functions
        if name not in main.defines and not _is_stub(piece.defines[name])
    ]


def _start(main: _Piece, later: Sequence[_Piece]) -> str:
    """The bare `main()` of a block of its own, which starts a program that so far only defines."""
    if main.tree is None or not all(
        isinstance(n, (*_DEFINITION, ast.Import, ast.ImportFrom)) for n in main.tree.body
    ):
        return ""
    for piece in later:
        match piece.tree and piece.tree.body:
            case [ast.Expr(value=ast.Call(func=ast.Name(id=name), args=[], keywords=[]))] if (
                name in main.defines
            ):
                return f"\n\n{piece.source}"
    return ""


def _joined(main: _Piece, others: Sequence[_Piece], spare: Sequence[str]) -> str:
    """The source of `main` after what it (and the `spare` names) needs of the others, in their order."""
    if main.tree is None:
        return main.source
    available: dict[str, tuple[int, _Piece, ast.stmt]] = {}
    for number, piece in enumerate(others):
        if piece.tree is not None:
            available |= {name: (number, piece, node) for name, node in piece.defines.items()}
    needed = [*_free(main.source), *(name for name in spare if available[name][1].is_plain)]
    taken: dict[tuple[int, int], str] = {}
    seen = set(main.defines)
    while needed:
        name = needed.pop()
        if name in seen or name not in available:
            continue
        seen.add(name)
        number, piece, node = available[name]
        if (key := (number, node.lineno)) not in taken:  # two statements of a line come together
            taken[key] = text = piece.text(node)
            needed += _free(text)
    return _before(main, [taken[key] for key in sorted(taken)])


def _before(main: _Piece, parts: Sequence[str]) -> str:
    """The parts, then the program; its `from __future__ import` must stay first."""
    if not parts:
        return main.source
    future = [n for n in main.tree.body if isinstance(n, ast.ImportFrom) and n.module == "__future__"]
    last = future[-1].end_lineno if future else 0
    lines = main.source.split("\n")
    head, rest = "\n".join(lines[:last]), "\n".join(lines[last:])
    return "\n\n".join([*([head] if head else []), *parts, rest])


def _free(source: str) -> list[str]:
    """Names that a program reads and never gives a value, built-in ones apart; sorted."""
    try:
        top = symtable.symtable(source, "<answer>", "exec")
    except UNREADABLE:
        return []
    names, tables = set(), [top]
    while tables:
        table = tables.pop()
        tables += table.get_children()
        for symbol in table.get_symbols():
            outer = table is top or symbol.is_global()
            if outer and symbol.is_referenced() and not (table is top and symbol.is_assigned()):
                names.add(symbol.get_name())
    return sorted(name for name in names if not hasattr(builtins, name))


def _unfenced(text: str) -> str:
    """The program in a text without fences."""
    text = text.strip()
    tree = parse(text)
    if tree is not None and any(not isinstance(node, ast.Expr) for node in tree.body):
        return text
    if marks := list(_ANSWER.finditer(text)):
        text = text[marks[-1].end() :].strip()
    return _trimmed(text)


def _trimmed(text: str) -> str:
    """Without the sentences around the code, where that makes a program of it."""
    if parse(text) is not None or (first := _PROGRAM.search(text)) is None:
        return text
    lines = text[first.start() :].split("\n")
    stop = next((number for number, line in enumerate(lines) if _PROSE.match(line)), len(lines))
    code = "\n".join(lines[:stop]).rstrip()
    return text if parse(code) is None else code
