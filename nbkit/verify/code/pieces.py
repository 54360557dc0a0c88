"""One block of code of an answer: what it defines, what it sets up, what it is (used by `blocks.py`).

read_piece("T = []\nfor i in range(3): T.append(i)").setup["T"]  # [the loop]
"""

import ast
import functools
import re
import sys
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from nbkit.verify.jail.jail import MAX_CODE  # a program that is longer is not run, so it need not be read

DEFINES = re.compile(r"^[ \t]*+(?:async[ \t]++)?(?:def|class)[ \t]++(\w++)", re.MULTILINE)
FUNCTION = (ast.FunctionDef, ast.AsyncFunctionDef)
DEFINITION = (*FUNCTION, ast.ClassDef)
IMPORT = (ast.Import, ast.ImportFrom)
READS, WRITES = {"input", "stdin", "raw_input"}, {"print", "stdout"}
USAGE = READS | WRITES | {"__name__"}
_SWITCHES = {"setrecursionlimit", "set_int_max_str_digits", "stack_size"}
# What reading hostile source may raise.
UNREADABLE = (SyntaxError, ValueError, RecursionError, MemoryError, OverflowError)
FILE = "<answer>"  # the file name under which Python reads hostile source
_SILENT = ("ignore", None, Warning, re.compile(FILE), 0)  # the entry in `warnings.filters` for that file


def silence() -> None:
    """No warnings about the source named FILE: of `1if x` Python warns while it reads, and with
    PYTHONWARNINGS=error the program would not be read at all.

    The entry stays. `warnings.catch_warnings` would not do: it is not safe with threads, and makes Python
    forget which other warnings it has shown already.
    """
    if not warnings.filters or warnings.filters[0] != _SILENT:
        warnings.filterwarnings("ignore", module=FILE)


def tree_of(source: str) -> ast.Module:
    """The tree of a source of any length, without warnings. Raises one of UNREADABLE."""
    silence()
    return ast.parse(source, FILE)


def parse(source: str) -> ast.Module | None:
    """The tree of a program; None where it is none, or too long or too deep to be read."""
    if len(source) > MAX_CODE:
        return None
    try:
        return tree_of(source)
    except UNREADABLE:
        return None


def compiles(source: str) -> bool:
    """Is it a program? Unlike `parse` this refuses a `return` outside a function. Nothing of it is run."""
    silence()
    try:
        return len(source) <= MAX_CODE and compile(source, FILE, "exec") is not None
    except UNREADABLE:
        return False


@dataclass(eq=False)
class Piece:
    """One block of code. `defines` maps a name to the statements that give it a value: each is (the statement
    at the top level, the statement in it that does so; the same one outside `if`, `for` and so on)."""

    source: str
    tree: ast.Module | None
    defines: dict[str, list[tuple[ast.stmt, ast.stmt]]]

    @functools.cached_property
    def lines(self) -> list[str]:
        return self.source.split("\n")

    @functools.cached_property
    def foreign(self) -> set[ast.stmt]:
        """Its imports of what is not in the standard library."""
        found = [n for n in ast.walk(self.tree or ast.Module([], [])) if isinstance(n, IMPORT)]
        return {node for node in found if _is_foreign(node)}

    @functools.cached_property
    def is_plain(self) -> bool:
        """Does it import nothing outside the standard library, so that loading its functions cannot fail?"""
        return not self.foreign

    @functools.cached_property
    def functions(self) -> list[str]:
        return [name for name in self.defines if isinstance(self.last(name), DEFINITION)]

    def last(self, name: str) -> ast.stmt | None:
        """The statement that gives the name its value last."""
        return self.defines[name][-1][1] if name in self.defines else None

    def is_test(self) -> bool:
        """Tests only: functions or classes of tests and nothing else that is defined, or bare asserts."""
        if self.functions:
            return all(map(is_test, map(self.last, self.functions)))
        return self.tree is not None and any(isinstance(node, ast.Assert) for node in self.tree.body)

    def is_real(self, name: str | None) -> bool:
        """Does it define the function, rather than import it or give another one its name?"""
        own = {*self.functions} - {name}
        for _, node in self.defines.get(name, []):
            value = getattr(node, "value", None)
            if isinstance(node, DEFINITION) or isinstance(value, ast.Lambda):
                return True
            if isinstance(value, ast.expr) and words(value) & own:
                return True
        return False

    def gives(self, name: str) -> bool:
        """Does it give the name a value that another block can use? Not so `from solution import f`."""
        return any(
            node not in self.foreign and getattr(getattr(node, "value", None), "id", None) != name
            for _, node in self.defines.get(name, [])
        )

    @functools.cached_property
    def setup(self) -> dict[str, list[ast.stmt]]:
        """Name -> statements at the top level that change what it holds: `for i in ..: T[i] = ..`,
        `memo.update(..)`, `f.cache = {}`; under "" those that set up Python itself. None of them prints."""
        found: dict[str, list[ast.stmt]] = {}
        for node in self.tree.body if self.tree else []:
            if isinstance(node, (*DEFINITION, *IMPORT)):
                continue
            used = words(node, functions=False)
            if used & (WRITES | {"__name__"}) or any(isinstance(n, ast.Assert) for n in ast.walk(node)):
                continue
            if used & _SWITCHES:
                found.setdefault("", []).append(node)
            for name in self._changed(node, used):
                found.setdefault(name, []).append(node)
        return found

    def _changed(self, node: ast.stmt, used: set[str]) -> list[str]:
        """Names of this block whose values the statement may change. To call a function is usage."""
        if isinstance(node, ast.Assign | ast.AnnAssign | ast.AugAssign | ast.Delete):
            targets = getattr(node, "targets", None) or [node.target]
            return [name for name in set().union(*map(words, targets)) if name in self.defines]
        fixed = (*DEFINITION, *IMPORT)
        return [name for name in used if name in self.defines and not isinstance(self.last(name), fixed)]

    @functools.cached_property
    def stars(self) -> list[ast.stmt]:
        return [
            node
            for node in (self.tree.body if self.tree else [])
            if isinstance(node, ast.ImportFrom) and node.names[0].name == "*" and node not in self.foreign
        ]

    def text(self, node: ast.stmt) -> str:
        first = min([node.lineno, *(d.lineno for d in getattr(node, "decorator_list", []))])
        return "\n".join(self.lines[first - 1 : node.end_lineno])


def read_piece(source: str) -> Piece:
    tree = parse(source)
    defines: dict[str, list[tuple[ast.stmt, ast.stmt]]] = {}
    for name, top, node in _defined(tree.body) if tree else ():
        defines.setdefault(name, []).append((top, node))
    if tree is None:  # it will not run, but its name tells what it was meant to be
        for name in DEFINES.findall(source):
            node = ast.ClassDef(name, [], [], [], [])
            defines[name] = [(node, node)]
    return Piece(source, tree, defines)


def _defined(body: Sequence[ast.stmt]) -> Iterable[tuple[str, ast.stmt, ast.stmt]]:
    """(name, statement at the top level, statement in it) of everything that a program gives a name outside
    its functions. What a `__main__` guard or a loop that reads or prints gives a name is usage."""
    for top in body:
        if isinstance(top, ast.If | ast.For | ast.While | ast.With) and words(top, functions=False) & USAGE:
            continue
        stack: list[ast.AST] = [top]  # no recursion: a chain of `elif` is as deep as it is long
        while stack:
            node = stack.pop()
            yield from ((name, top, node) for name in _names(node))
            if not isinstance(node, DEFINITION):
                parts = ast.iter_child_nodes(node)
                stack += reversed([n for n in parts if isinstance(n, ast.stmt | ast.ExceptHandler)])


def _names(node: ast.AST) -> list[str]:
    """Names that this statement itself gives a value."""
    match node:
        case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
            return [node.name]
        case ast.Import() | ast.ImportFrom():
            return [alias.asname or alias.name.partition(".")[0] for alias in node.names if alias.name != "*"]
        # Assignments, loops and with: every target that is stored to.
        case ast.Assign():
            targets = node.targets
        case ast.AnnAssign() | ast.For():
            targets = [node.target]
        case ast.With():
            targets = [item.optional_vars for item in node.items if item.optional_vars]
        case _:
            return []
    found = (n for target in targets for n in ast.walk(target))
    return [n.id for n in found if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)]


def _is_foreign(node: ast.Import | ast.ImportFrom) -> bool:
    """An import of something that is not in the standard library."""
    if getattr(node, "level", 0):
        return True
    names = [getattr(node, "module", None) or alias.name for alias in node.names]
    return not {name.partition(".")[0] for name in names} <= sys.stdlib_module_names


def is_test(node: ast.stmt | None) -> bool:
    name = getattr(node, "name", "").lower()
    bases = {name for base in getattr(node, "bases", []) for name in words(base)}
    return name.startswith("test") or name.endswith(("_test", "_tests")) or "TestCase" in bases


def words(tree: ast.AST, functions: bool = True) -> set[str]:
    """Names and attributes in a statement or expression, and (unless told) in functions inside it."""
    found, stack = set(), [tree]
    while stack:
        node = stack.pop()
        found.add(getattr(node, "id", getattr(node, "attr", "")))
        if functions or not isinstance(node, DEFINITION):
            stack += ast.iter_child_nodes(node)
    return found - {""}
