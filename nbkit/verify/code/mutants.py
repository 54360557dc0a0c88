"""Mutants: programs that differ from a correct one in one place, to measure what tests notice (06).

mutants("def f(a):\n    return a + 1", limit=9)  # ["def f(a):\n    return a - 1", "… a + 2"]
mutation_score(jail, solution, "f", calls)  # (killed, total)
"""

import ast
import copy
from collections.abc import Sequence

from nbkit.verify.code.grade import Call, grade
from nbkit.verify.code.pieces import tree_of
from nbkit.verify.jail.jail import MAX_CODE, Jail

# Each is written out whole: more places, or more characters in all, are thinned out first.
_MOST_TRIED, _MOST_WRITTEN = 300, 2_000_000

_OPERATOR = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.FloorDiv,
    ast.FloorDiv: ast.Mult,
    ast.Div: ast.Mult,
    ast.Mod: ast.Mult,
    ast.Pow: ast.Mult,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
    ast.BitXor: ast.BitAnd,
    ast.LShift: ast.RShift,
    ast.RShift: ast.LShift,
    ast.And: ast.Or,
    ast.Or: ast.And,
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.USub: ast.UAdd,
    ast.UAdd: ast.USub,
    ast.Not: ast.UAdd,  # + keeps the truth of what it stands before
}
# Functions and methods that a program may mistake for each other.
_NAMES = {"sum": "len", "len": "sum", "sorted": "list", "append": "extend", "update": "clear", "abs": "int"}
for _pair in (
    "max min",
    "any all",
    "upper lower",
    "startswith endswith",
    "lstrip rstrip",
    "find rfind",
    "add discard",
):
    _one, _other = _pair.split()
    _NAMES |= {_one: _other, _other: _one}


def _constant(value: object) -> object:
    """The changed constant, or None to leave it (strings are mostly docstrings and messages)."""
    if type(value) is bool:
        return not value
    return value + 1 if type(value) in (int, float) else None


def mutants(code: str, limit: int) -> list[str]:
    """At most `limit` programs that differ from `code` in one operator, condition, constant or function.

    The same ones every time; with more places than `limit`, evenly spread over the program. None of a program
    that is too long or too deep to be changed. Raises ValueError for what is not Python.
    """
    if len(code) > MAX_CODE:
        return []
    try:
        # Too deep for the parser is no fault of the code.
        tree = tree_of(code)
    except (RecursionError, MemoryError):
        return []
    except (SyntaxError, ValueError, OverflowError) as error:
        raise ValueError(f"mutants: the code does not parse: {error}") from error
    try:
        # Only the statement that changes is written anew: unparsing all of it for every mutant is slow.
        parts = [ast.unparse(statement) for statement in tree.body]
        owner = {id(node): k for k, statement in enumerate(tree.body) for node in ast.walk(statement)}
        places = [
            (node, place)
            for node in ast.walk(tree)
            for place in range(len(node.ops) if isinstance(node, ast.Compare) else 1)
            if _change(copy.copy(node), place)
        ]
        tried = max(limit, min(_MOST_TRIED, _MOST_WRITTEN // (len(code) + 1)))
        found = []
        for node, place in (places[number] for number in _spread(len(places), tried)):
            number = owner[id(node)]
            text = _changed(tree.body[number], node, place)
            found.append(_joined(tree, [*parts[:number], text, *parts[number + 1 :]]))
    except (RecursionError, MemoryError, ValueError):  # the last: a number too long to be written
        return []
    # Changes that come out as the same text count once, and the program itself is no mutant.
    unique = [text for text in dict.fromkeys(found) if text != _joined(tree, parts)]
    return [unique[number] for number in _spread(len(unique), limit)]


def _spread(count: int, limit: int) -> list[int]:
    """At most `limit` of range(count), evenly spread."""
    taken = min(limit, count)
    return [number * count // taken for number in range(taken)]


def _changed(statement: ast.stmt, node: ast.AST, place: int) -> str:
    """The source of a statement with one of its nodes changed; it is the same tree as before afterwards."""
    before = dict(vars(node))
    try:
        _change(node, place)
        return ast.unparse(statement)
    finally:
        vars(node).update(before)


def _joined(tree: ast.Module, parts: Sequence[str]) -> str:
    """The source of a program from that of its statements, spaced as `ast.unparse` does."""
    spaced = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    gaps = ["\n\n" if isinstance(statement, spaced) else "\n" for statement in tree.body]
    return "".join(gap + part for gap, part in zip(gaps, parts, strict=True)).lstrip("\n")


def _change(node: ast.AST, place: int) -> bool:
    """Give `node` other attributes (its children stay as they are); False when there is nothing to change."""
    # One small change per kind of node; what has none is no place for a mutant.
    if isinstance(node, ast.BinOp | ast.AugAssign | ast.BoolOp | ast.UnaryOp) and type(node.op) in _OPERATOR:
        node.op = _OPERATOR[type(node.op)]()
    elif isinstance(node, ast.If | ast.IfExp | ast.While):
        node.test = ast.UnaryOp(ast.Not(), node.test)
    elif isinstance(node, ast.Name) and node.id in _NAMES:
        node.id = _NAMES[node.id]
    elif isinstance(node, ast.Attribute) and node.attr in _NAMES:
        node.attr = _NAMES[node.attr]
    elif isinstance(node, ast.Compare):
        node.ops = [_OPERATOR[type(op)]() if i == place else op for i, op in enumerate(node.ops)]
    elif isinstance(node, ast.Constant) and (value := _constant(node.value)) is not None:
        node.value = value
    else:
        return False
    return True


def mutation_score(
    jail: Jail, code: str, entry: str, calls: Sequence[Call], limit: int = 20
) -> tuple[int, int]:
    """(killed, total): how many one-change mutants of a correct program the calls tell from it.

    A mutant whose verdict is "infra" counts in neither number. Some mutants are equivalent to the program,
    so a perfect suite need not reach killed == total. Raises ValueError when `code` itself does not pass.
    """
    verdict = grade(jail, code, entry, calls)
    if verdict.status != "pass":
        raise ValueError(f"mutation_score: the program must pass its own tests first, got {verdict}")
    outcomes = [grade(jail, mutant, entry, calls).status for mutant in mutants(code, limit)]
    return outcomes.count("fail"), outcomes.count("fail") + outcomes.count("pass")
