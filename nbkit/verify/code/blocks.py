"""The program in a model's answer, put together from its blocks of code (02-07, benchmarks).

extract_code("Here:\n```python\ndef f(x):\n    return 2 * x\n```\nTests:\n```python\nassert f(1) == 2\n```")

A block of tests or of usage is not the solution, and what the solution needs from other blocks (helpers,
imports, constants) is put before it. `docs/code_grading.md` states the rules.
"""

import ast
import builtins
import re
import symtable
from collections.abc import Sequence

from nbkit.text.chat import behind_label, split_thought
from nbkit.verify.code.fences import PYTHON, Block, fences
from nbkit.verify.code.own_imports import without_own_imports
from nbkit.verify.code.pieces import (
    DEFINES,
    DEFINITION,
    FILE,
    FUNCTION,
    READS,
    UNREADABLE,
    WRITES,
    Piece,
    parse,
    read_piece,
    silence,
    words,
)
from nbkit.verify.code.unfenced import by_margin, indented, tagged

_PROGRAM = re.compile(r"^(?:def|class|import|from|async|@\w|if __name__)", re.MULTILINE)
_ODD_SPACE = re.compile("[\u00a0\u2007\u202f]")
_ODD_MARGIN = re.compile(r"^[ \t]*+[\u00a0\u2007\u202f][ \t\u00a0\u2007\u202f]*+", re.MULTILINE)
# A line at the margin that is neither code nor a comment: a sentence.
_PROSE = re.compile(
    r"^(?!(?:def|class|import|from|async|if|for|while|with|try|return|print)\b)\w+[,:;]? +\w+ "
)


def extract_code(text: str, entry: str | None = None) -> str:
    """The program in a model's answer; `entry` is the function that it must define, where that is known.

    Of the fenced Python blocks, the last that defines `entry` (else: the last that defines anything but
    tests, else the last) with what it needs of the others; without any block the whole text, or its part that
    looks like code. The thought before the answer is ignored. Never raises, in time linear in the text.
    """
    text = split_thought(text)[1]
    code = _read(text, entry)
    # Spaces that only look like spaces, from a web page: at the margin first, where no string is meant.
    for pattern in (_ODD_MARGIN, _ODD_SPACE) if _ODD_SPACE.search(text) and parse(code) is None else ():
        mended = _read(pattern.sub(lambda found: _ODD_SPACE.sub(" ", found[0]), text), entry)
        if parse(mended) is not None:
            return mended
    return code


def _read(text: str, entry: str | None) -> str:
    """The program in an answer without its thought."""
    found = fences(text)
    blocks = [block for block in found if block.language in ("", *PYTHON)]
    if not blocks:  # a program under another label
        blocks = [block for block in found if DEFINES.search(block.body) and parse(block.body)]
    return _program(blocks, entry, text) if blocks else _unfenced(text, entry)


def _program(blocks: Sequence[Block], entry: str | None, text: str) -> str:
    """What the blocks of an answer, `text`, are together."""
    pieces = without_own_imports([read_piece(_trimmed(block.body)) for block in blocks], text)
    labelled = [block.language in PYTHON for block in blocks]
    main = _solution(pieces, entry) or _statements(pieces, labelled)
    others = [piece for piece in pieces if piece is not main]
    if entry:
        return _joined(main, others, [], reads=False)
    if start := _start(main, others):
        others.remove(start)
        main = read_piece(f"{main.source}\n\n{start.source}")
    return _joined(main, others, _other_functions(others, main), reads=True)


def complete(code: str, *sources: str) -> str:
    """`code` with the definitions and imports of `sources` that it uses and lacks put before it."""
    return _joined(read_piece(code), [read_piece(source) for source in sources], [], reads=False)


def _is_stub(node: ast.stmt | None) -> bool:
    """A function with a signature and no body."""
    return isinstance(node, FUNCTION) and all(
        isinstance(line, ast.Pass)
        or (isinstance(line, ast.Expr) and isinstance(line.value, ast.Constant))
        or (isinstance(line, ast.Raise) and "NotImplementedError" in words(line))
        for line in node.body
    )


def _solution(pieces: list[Piece], entry: str | None) -> Piece | None:
    """The piece that defines what is asked for; None where none defines anything, or only tests beside a
    program that reads or prints."""
    # By name where one is asked for; else whatever defines functions and is no test.
    choices = [p for p in pieces if p.is_real(entry)] or [p for p in pieces if entry in p.defines]
    if not choices:
        entry = None
        choices = [p for p in pieces if p.functions and not p.is_test()]
    if not choices:
        choices = [p for p in pieces if p.functions]
        # A program that reads or prints is the answer, if the functions are only its tests.
        tested = {name for p in choices for name in p.functions}
        if any(_is_script(p) and not words(p.tree) & tested for p in pieces if p not in choices):
            return None
    # Of several the last, and a whole one before a stub or a piece that does not parse.
    whole = [piece for piece in choices if piece.tree is not None]
    names = {id(piece): [entry] if entry else piece.functions for piece in whole}
    full = [p for p in whole if not all(_is_stub(p.last(name)) for name in names[id(p)])]
    return [None, *choices, *whole, *full][-1]


def _is_script(piece: Piece) -> bool:
    return piece.tree is not None and not piece.is_test() and bool(words(piece.tree) & (READS | WRITES))


def _statements(pieces: list[Piece], labelled: list[bool]) -> Piece:
    """Of pieces that define no function: the last that reads and prints, else prints, else reads, else does
    more than show a value; labelled ones first."""
    known = [piece for piece, label in zip(pieces, labelled, strict=True) if label]
    active = [
        piece
        for piece in known or pieces
        if piece.tree is not None
        and any(not isinstance(getattr(node, "value", None), ast.Constant) for node in piece.tree.body)
    ]
    scripts = [piece for piece in active if _is_script(piece)]
    prints = [piece for piece in scripts if words(piece.tree) & WRITES]
    both = [piece for piece in prints if words(piece.tree) & READS]
    return (both or prints or scripts or active or known or pieces)[-1]


def _other_functions(others: Sequence[Piece], main: Piece) -> list[str]:
    """Functions of other blocks that nobody may need but the caller: where the wanted name is unknown, an
    answer that defines two of them in two blocks offers both."""
    return [
        name
        for piece in others
        if piece.tree is not None and not piece.is_test()
        for name in piece.functions
        if name not in main.defines and not _is_stub(piece.defines[name])
    ]


def _start(main: Piece, others: Sequence[Piece]) -> Piece | None:
    """The block that starts a program that so far only defines: it calls functions of `main` and is a
    `__main__` guard, or a bare `main()`, or it or they read input. Anything else is an example of usage."""
    if main.tree is None or not main.functions:
        return None
    # A block that calls its own functions at the top level needs no other to start it.
    called = {*main.functions}
    for node in main.tree.body:
        used = set() if isinstance(node, DEFINITION) else words(node)
        if used & (WRITES | {"__name__"}) or (isinstance(node, ast.Expr) and used & called):
            return None  # it has a start of its own
    scripts = [piece for piece in others if piece.tree is not None and not piece.functions]
    reads = any(words(piece.tree) & READS for piece in [main, *scripts])
    found = []
    for piece in others:
        if piece.tree is None or piece.functions or piece.is_test() or not piece.is_plain:
            continue
        used = words(piece.tree)
        if used & called and (reads or used & (READS | {"__name__"}) or _is_bare_call(piece.tree)):
            found.append(piece)
    return found[-1] if found else None


def _is_bare_call(tree: ast.Module) -> bool:
    match tree.body:
        case [ast.Expr(value=ast.Call(func=ast.Name(), args=[], keywords=[]))]:
            return True
    return False


def _joined(main: Piece, others: Sequence[Piece], spare: Sequence[str], reads: bool) -> str:
    """The source of `main` after what it (and the `spare` names) needs of the others, in their order;
    `reads`: also statements that fill a variable from the input."""
    if main.tree is None:
        return main.source
    # Which block gives which name: the last one that defines it, or the first that gives it a value.
    whole = [(number, piece) for number, piece in enumerate(others) if piece.tree is not None]
    available: dict[str, tuple[int, Piece]] = {}
    for number, piece in whole:
        for name in piece.defines:
            if name not in available or piece.gives(name):
                available[name] = (number, piece)
    # Names that are needed grow with every statement that is taken.
    needed = [*_free(main.source), *(name for name in spare if available[name][1].is_plain)]
    taken: dict[tuple[int, int], str] = {}

    def take(number: int, piece: Piece, nodes: Sequence[ast.stmt]) -> None:
        nonlocal needed
        for node in nodes:
            if not reads and not isinstance(node, DEFINITION) and words(node, functions=False) & READS:
                continue
            if (key := (number, node.lineno)) not in taken:  # two statements of a line come together
                taken[key] = text = piece.text(node)
                needed += _free(text)

    for number, piece in whole:
        if not piece.is_test():
            take(number, piece, piece.setup.get("", []))
    # Follow the needed names through the blocks; what nobody defines may come from an import *.
    seen, unknown = set(main.defines), False
    while needed:
        name = needed.pop()
        if name in seen:
            continue
        seen.add(name)
        if name not in available:
            unknown = True
            continue
        number, piece = available[name]
        take(number, piece, [top for top, _ in piece.defines[name]])
        take(number, piece, piece.setup.get(name, []))
    for number, piece in whole if unknown else ():
        take(number, piece, piece.stars)
    return _before(main, [taken[key] for key in sorted(taken)])


def _before(main: Piece, parts: Sequence[str]) -> str:
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
    # Python's own symbol table: scopes, globals and comprehensions are its business.
    silence()
    try:
        top = symtable.symtable(source, FILE, "exec")
    except UNREADABLE:
        return []
    names, tables = set(), [top]
    while tables:
        table = tables.pop()
        tables += table.get_children()
        for symbol in table.get_symbols():
            outer = table is top or symbol.is_global()
            used = symbol.is_referenced() or (table is not top and symbol.is_declared_global())
            if outer and used and not (table is top and symbol.is_assigned()):
                names.add(symbol.get_name())
    return sorted(name for name in names if not hasattr(builtins, name))


def _unfenced(text: str, entry: str | None) -> str:
    """The program in a text without fences."""
    # The whole text may be a program, or what follows "Answer:".
    whole, text = text, behind_label(text)
    for source in map(by_margin, dict.fromkeys((whole, text))):
        tree = parse(source)
        if tree is not None and any(not isinstance(node, ast.Expr) for node in tree.body):
            return without_own_imports([read_piece(source)])[0].source
    # Else between tags, then text as it is, then indented blocks: from sure to doubtful.
    for blocks in (tagged(text), [Block("", _trimmed(text.strip()))], indented(text)):
        blocks = [block for block in blocks if parse(block.body)]
        if any(_is_program(read_piece(block.body), entry) for block in blocks):
            return _program(blocks, entry, text)
    return _trimmed(text.strip())


def _is_program(piece: Piece, entry: str | None) -> bool:
    """Rather than a word that is set apart, or the lines that continue a prompt."""
    return entry in piece.defines if entry else bool(piece.functions) or _is_script(piece)


def _trimmed(text: str) -> str:
    """Without the sentences around the code, where that makes a program of it."""
    if parse(text) is not None or (first := _PROGRAM.search(text)) is None:
        return text
    lines = text[first.start() :].split("\n")
    stop = next((number for number, line in enumerate(lines) if _PROSE.match(line)), len(lines))
    code = "\n".join(lines[:stop]).rstrip()
    return text if parse(code) is None else code
