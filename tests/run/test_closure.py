"""A stage goes stale when code that its notebook can run does something else, and never otherwise."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from nbkit.run import closure, files, params, provenance
from nbkit.run.provenance import status_of
from nbkit.run.stage import begin, end

STAGES = list(params.schemas())
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def package(tmp_path, monkeypatch) -> Path:
    """A copy of nbkit that may be edited, in place of the one that is hashed."""
    copy = tmp_path / "copy" / "nbkit"
    shutil.copytree(closure.PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(closure, "PACKAGE", copy)
    return copy


@pytest.fixture
def published(tmp_path, monkeypatch, package) -> Path:
    """All seven stages published at `smoke`, each from the one before; returns the outputs folder."""
    monkeypatch.setenv("NBKIT_OUTPUTS", str(tmp_path / "outputs"))
    monkeypatch.setenv("NBKIT_ROOT", str(ROOT))
    upstream = None
    for stage in STAGES:
        namespace: dict = {}
        run = begin(namespace, stage)
        namespace.update(params.load_profile("smoke", stage))
        end(namespace)
        if upstream:
            run.metrics_of(upstream)
        run.publish({})
        upstream = stage
    return tmp_path / "outputs"


def edit(path: Path, old: str, new: str) -> None:
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new, 1))


def states() -> list[str]:
    return [status_of(stage, "smoke")[0] for stage in STAGES]


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("x = 1 + 2", "x = (1 +\n     2)  # a sum", True),
        ("def f():\n    return 1", 'def f():\n    """One."""\n    return 1', True),
        ("class A:\n    x = 1", 'class A:\n    """A."""\n\n    x = 1', True),
        ('"""Old."""\nx = 1', '"""New."""\nx = 1', True),
        ("async def f():\n    await g()", 'async def f():\n    "doc"\n    await g()', True),
        ("x = 'a'", 'x = "a"', True),
        ("x = 1 + 2", "x = 1 - 2", False),
        ("x = 1", "x = 1.0", False),
        ("x = 1", "x = True", False),
        ("x = 'a'", "x = b'a'", False),
        ("f(a, b)", "f(b, a)", False),
        ("x = 'no docstring'", "x = 'another text'", False),
        ("def f(x=1): return x", "def f(x=2): return x", False),
        ("if a:\n    b()\nc()", "if a:\n    b()\n    c()", False),
    ],
)
def test_the_digest_is_that_of_what_code_does(one, other, same):
    assert (closure.code_digest(one) == closure.code_digest(other)) is same


def test_imports_in_every_form_are_followed(package, tmp_path):
    made = {
        "odd/__init__.py": "",
        "odd/a.py": "from . import b\nfrom .c import name\nfrom ..odd import d",
        "odd/b.py": "def f():\n    import nbkit.odd.e as alias",
        "odd/c.py": 'name = "f.py"',
        "odd/d.py": 'start = ["-m", "nbkit.odd.g"]',
        **{f"odd/{name}.py": "" for name in "efgh"},
        "odd/.i.py": "",
    }
    for name, content in made.items():
        files.atomic_write(package / name, content)
    cells = [{"cell_type": "code", "source": ["%matplotlib inline\n", "from nbkit.odd import a"]}]
    files.write_json(tmp_path / "book.ipynb", {"cells": cells})
    found = closure.module_hashes(tmp_path / "book.ipynb")
    assert set(found) == {"__init__.py", "odd/__init__.py", *(f"odd/{name}.py" for name in "abcdefg")} | {
        name
        for name in found
        if "odd" not in name  # what nbkit/__init__.py itself imports
    }
    assert "run/stage.py" in found


def test_every_module_that_runs_is_among_those_hashed():
    """Jobs of the jail load their modules by path, training processes are started by name."""
    hashed = closure.module_hashes(ROOT / "notebooks/06_rl.ipynb")
    inside = {
        f"verify/jail/inside/{path.name}" for path in (ROOT / "nbkit/verify/jail/inside").glob("jail_*.py")
    }
    assert len(inside) > 10
    assert inside <= set(hashed)
    assert "pretrain/job.py" in closure.module_hashes(ROOT / "notebooks/02_pretrain.ipynb")
    assert "evals/claims.yaml" in closure.module_hashes(ROOT / "notebooks/07_eval.ipynb")


def test_no_notebook_depends_on_the_command_line():
    reached = set().union(*(closure.module_hashes(p) for p in (ROOT / "notebooks").glob("*.ipynb")))
    assert not reached & set(closure.DISPLAY)
    assert not [name for name in reached if name.startswith("cli/")]


def test_comments_and_docstrings_anywhere_make_nothing_stale(published, package):
    assert states() == ["complete"] * 7
    for path in package.rglob("*.py"):
        source = path.read_text()
        if source.startswith('"""'):
            source = '"""Another docstring.' + source[3:]
        path.write_text(source + "\n\n# a comment at the end\n")
    assert states() == ["complete"] * 7


def test_one_operator_in_a_module_of_05_makes_it_and_what_follows_stale(published, package):
    edit(package / "dpd/loss.py", "start + chunk", "start - chunk")
    assert states() == ["complete"] * 4 + ["stale"] * 3
    assert status_of("05", "smoke")[1] == "nbkit changed: dpd/loss.py"
    assert status_of("07", "smoke")[1].startswith("its input 06_rl is stale: its input 05_dpd is stale")


def test_a_changed_module_of_every_notebook_makes_all_stale(published, package):
    edit(package / "run/files.py", "value - value", "value + value")
    assert states() == ["stale"] * 7


def test_outputs_of_an_older_nbkit_are_refused_with_the_command_that_remakes_them(published):
    folder = published / "smoke" / STAGES[0]
    manifest = files.read_json(folder / "manifest.json")
    del manifest["format"], manifest["code"]
    files.write_json(folder / "manifest.json", manifest)
    files.atomic_write(folder / "_SUCCESS", files.sha256(folder / "manifest.json") + "\n")
    assert status_of("01", "smoke")[0] == "stale"
    assert provenance.load_manifest("smoke", STAGES[0])[1].startswith("made by an older nbkit")
    namespace: dict = {}
    run = begin(namespace, STAGES[1])
    namespace.update(params.load_profile("smoke", STAGES[1]))
    end(namespace)
    with pytest.raises(ValueError, match="made by an older nbkit.*nbkit run --profile smoke --only 01"):
        run.metrics_of(STAGES[0])
