"""Blocks of an answer that import another block as a file: `from solution import f` (used by `blocks.py`).

without_own_imports(["def f(x): return x", "import solution\nprint(solution.f(1))"])
# ["def f(x): return x", "print(f(1))"]

The blocks become one program, so the import of a file that does not exist goes, and `solution.f` becomes `f`.
"""

import ast
import re
from collections import Counter, defaultdict
from collections.abc import Sequence

from nbkit.verify.code.pieces import IMPORT, Piece, read_piece

_FILE = re.compile(r"\b([A-Za-z_]\w{0,60})\.py\b")
_USUAL = {"solution", "solutions", "main", "answer", "candidate", "program", "submission", "your_module"}
# `np.add` is not the answer's own `add`
_LIBRARIES = {
    *("numpy", "scipy", "pandas", "sympy", "networkx", "sortedcontainers", "torch", "sklearn", "matplotlib"),
    *("pytest", "mpmath"),
}


def without_own_imports(pieces: Sequence[Piece], text: str = "") -> list[Piece]:
    """The pieces without imports of each other. An import is one of them where what it takes is defined in
    the answer; one that takes nothing, where the text names that file or the name is a usual one."""
    if not any(piece.foreign for piece in pieces):
        return list(pieces)
    given = {name for piece in pieces for name in piece.defines if _defines(piece, name)}
    files = _USUAL | {found[1] for found in _FILE.finditer(text)}
    return [_without(piece, given, files) if piece.foreign else piece for piece in pieces]


def _defines(piece: Piece, name: str) -> bool:
    return piece.gives(name) and any(not isinstance(node, IMPORT) for _, node in piece.defines[name])


def _without(piece: Piece, given: set[str], files: set[str]) -> Piece:
    edits: list[tuple[ast.AST, str]] = []
    taken: dict[str, list[ast.Attribute]] = defaultdict(list)  # what is taken of each name,
    used: Counter[str] = Counter()  # and all its uses
    gone: set[str] = set()
    # How each name is used: by its attributes alone, or otherwise too.
    for node in ast.walk(piece.tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            taken[node.value.id].append(node)
        elif isinstance(node, ast.Name):
            used[node.id] += 1
    for node in piece.foreign:
        # Imports of our own files; those of libraries stay.
        module = getattr(node, "module", None) or node.names[0].name
        if module.partition(".")[0] in _LIBRARIES:
            continue
        if isinstance(node, ast.ImportFrom):
            names = [(alias.name, alias.asname) for alias in node.names]
            stars = names == [("*", None)] and module.rpartition(".")[2] in files
            if stars or all(name in given for name, _ in names):
                others = [f"{own} = {name}" for name, own in names if own and own != name]
                edits.append((node, "; ".join(others)))
        elif len(node.names) == 1:  # `import solution`, `import solution as s`: `s.f` becomes `f`
            name = node.names[0].asname or node.names[0].name
            parts = taken[name]
            if name in gone:
                edits.append((node, ""))
            elif all(part.attr in given for part in parts) if parts else node.names[0].name in files:
                kept = f"{name} = __import__('sys').modules[__name__]" if used[name] > len(parts) else ""
                edits += [(node, kept), *((part, part.attr) for part in parts)]
                gone.add(name)
    if not edits:
        return piece
    # A change that spoilt the source is not made.
    changed = read_piece(_edited(piece.source, edits, {id(node) for node in piece.tree.body}))
    return changed if changed.tree is not None else piece


def _edited(source: str, edits: list[tuple[ast.AST, str]], tops: set[int]) -> str:
    """The source with every node replaced by its text; "" is `pass`, or nothing for a statement that has its
    lines for itself. Offsets of `ast` count bytes."""
    lines = [line.encode() for line in source.split("\n")]
    for node, text in sorted(edits, key=lambda edit: (edit[0].lineno, edit[0].col_offset), reverse=True):
        first, last = node.lineno - 1, node.end_lineno - 1
        before, after = lines[first][: node.col_offset], lines[last][node.end_col_offset :]
        alone = id(node) in tops and not before.strip() and (not after.strip() or after.lstrip()[:1] == b"#")
        whole = before + (text or "pass").encode() + after
        lines[first : last + 1] = [] if alone and not text else [whole]
    return b"\n".join(lines).decode().strip("\n")
