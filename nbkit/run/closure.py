"""Which source files a notebook can run, and a hash of each that only its meaning changes (`provenance`).

A notebook depends on the modules that its cells import and on whatever those import in turn, inside functions
too. Two kinds of text count as imports, because that is how a program is started by name or by path: the
dotted name of a module (`"nbkit.pretrain.job"`), and the path of a file from the same folder
(`"inside/jail_worker.py"`, `"claims.yaml"`).

The hash of a Python file is taken over its syntax tree without docstrings; comments, blank lines and the
layout are not in the tree. Any other file is hashed as it is.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import re
from collections.abc import Iterator
from pathlib import Path

from nbkit.run import files

PACKAGE = Path(__file__).parent.parent
# What a notebook imports, but which only shows a run: editing these changes no result.
DISPLAY = ("run/progress.py",)
_FILE_NAME = re.compile(r"(\w+/)*\w+\.\w+")
_WITH_DOCSTRING = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


def module_hashes(notebook: Path) -> dict[str, str]:
    """File name relative to the package, such as "train/sft.py" -> hash, of all that `notebook` can run.

    Raises SyntaxError, naming the file, when one of them cannot be parsed.
    """
    found: dict[str, str] = {}
    # From the cells on, whatever is imported, and each package's `__init__` on the way.
    waiting = set().union(*(_cell(source)[1] for source in code_cells(notebook)))
    waiting |= _packages("__init__.py")
    while waiting:
        name = waiting.pop()
        # Whatever only shows a run may be edited without making results stale.
        if name in found or name in DISPLAY:
            continue
        found[name], imports = _read(name, (PACKAGE / name).read_bytes())
        waiting |= imports
    return dict(sorted(found.items()))


def code_cells(notebook: Path) -> list[str]:
    """Sources of the code cells, without IPython's own lines ("%matplotlib inline", "!ls")."""
    cells = files.read_json(notebook)["cells"]
    sources = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    return ["\n".join(line for line in s.splitlines() if not line.startswith(("%", "!"))) for s in sources]


def code_digest(source: str) -> str:
    """Hash of what Python code does: the same after a change of comments, docstrings or layout."""
    return _cell(source)[0]


@functools.lru_cache(maxsize=1024)
def _cell(source: str) -> tuple[str, frozenset[str]]:
    """(hash, files of the package that it imports) of a cell."""
    tree = _tree(source)
    return hashlib.sha256(_described(tree).encode()).hexdigest(), frozenset(_imported(tree, PACKAGE))


@functools.lru_cache(maxsize=1024)  # by content: a test, or an editor, may change the file meanwhile
def _read(name: str, content: bytes) -> tuple[str, frozenset[str]]:
    """(hash, files it imports) of one file of the package."""
    if not name.endswith(".py"):
        return hashlib.sha256(content).hexdigest(), frozenset()
    tree = _tree(content.decode(), name)
    imports = _imported(tree, (PACKAGE / name).parent)
    return hashlib.sha256(_described(tree).encode()).hexdigest(), frozenset(imports - {name})


def _tree(source: str, name: str = "<cell>") -> ast.Module:
    """The syntax tree without docstrings."""
    tree = ast.parse(source, name)
    for node in ast.walk(tree):
        if isinstance(node, _WITH_DOCSTRING) and ast.get_docstring(node, clean=False) is not None:
            del node.body[0]
    return tree


def _described(node: object) -> str:
    """The tree as text. `ast.dump` is not used: it writes empty fields in some versions of Python only."""
    if isinstance(node, list):
        return f"[{','.join(map(_described, node))}]"
    if not isinstance(node, ast.AST):
        return repr(node)
    fields = ((name, value) for name, value in ast.iter_fields(node) if value not in (None, []))
    return f"{type(node).__name__}({','.join(f'{name}={_described(value)}' for name, value in fields)})"


def _imported(tree: ast.Module, folder: Path) -> set[str]:
    """Files of the package that the code in `tree`, a file of `folder`, imports or names."""
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            # A relative import counts dots from the folder of the file.
            above = folder.parents[node.level - 2] if node.level > 1 else folder
            base = [".".join(["nbkit", *above.relative_to(PACKAGE).parts])] if node.level else []
            origin = ".".join([*base, *([node.module] if node.module else [])])
            # "from nbkit.run import files" may name a module or something in one: both are looked for.
            names = [origin, *(f"{origin}.{alias.name}" for alias in node.names)]
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            names = [node.value]
            # Programs that are started by name or path are text in the code, not imports.
            found |= set(_beside(node.value, folder))
        else:
            continue
        for name in names:
            found |= _files_of(name)
    return found


def _files_of(dotted: str) -> set[str]:
    """The file of module `dotted` and the `__init__.py` of each package above it; none if it is not ours."""
    first, *parts = dotted.split(".")
    if first != "nbkit" or not all(part.isidentifier() for part in parts):
        return set()
    for name in ("/".join(parts) + ".py", "/".join([*parts, "__init__.py"])):
        if (PACKAGE / name).is_file():
            return {name} | _packages(name)
    return set()


def _packages(name: str) -> set[str]:
    """`__init__.py` of every package that importing the file `name` runs first."""
    above = [Path(name), *Path(name).parents][1:]
    return {str(p / "__init__.py") for p in above if (PACKAGE / p / "__init__.py").is_file()}


def _beside(text: str, folder: Path) -> Iterator[str]:
    """The file under `folder` that `text` names, if it is the path of one."""
    if len(text) < 100 and _FILE_NAME.fullmatch(text) and (folder / text).is_file():
        yield (folder / text).relative_to(PACKAGE).as_posix()
