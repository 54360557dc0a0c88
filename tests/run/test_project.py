"""Where notebooks and parameters are read and outputs written: in a checkout, a project, and with a wheel
alone. A wheel is played by a copy of the package with its project/ folder."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from nbkit.run import files, params, project, provenance
from nbkit.run.provenance import status_of
from nbkit.run.stage import begin, end

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def alone(tmp_path, monkeypatch) -> Path:
    """An installed nbkit that carries its project, and an empty current folder with no project around it."""
    site = tmp_path / "site-packages" / "nbkit"
    (site / "run").mkdir(parents=True)
    for part in ("notebooks", "params"):
        shutil.copytree(ROOT / part, site / "project" / part)
    monkeypatch.setattr(project, "__file__", str(site / "run" / "project.py"))
    for name in ("NBKIT_ROOT", "NBKIT_OUTPUTS", "NBKIT_SCHEMAS"):
        monkeypatch.delenv(name, raising=False)
    here = tmp_path / "my notes"
    here.mkdir()
    monkeypatch.chdir(here)
    return here


def cells(stage: str) -> list[dict]:
    return json.loads((ROOT / f"notebooks/{stage}.ipynb").read_text())["cells"]


@pytest.mark.parametrize("stage", list(params.schemas()))
def test_a_notebook_opened_alone_begins_at_its_defaults(alone, stage, capsys):
    """Cells A, B and C as Colab runs them: only nbkit is installed, the notebook file is nowhere."""
    namespace: dict = {}
    for cell in cells(stage)[:4]:
        if cell["cell_type"] == "code":
            exec("".join(cell["source"]), namespace)
    run = namespace["run"]
    assert run.cfg == params.schemas()[stage]()
    assert run.dir == alone / "outputs" / "small" / stage
    assert f"{stage} | profile small" in capsys.readouterr().out
    assert [p.name for p in alone.iterdir()] == ["outputs"]


def test_a_notebook_opened_alone_publishes_and_its_result_is_up_to_date(alone):
    namespace: dict = {}
    run = begin(namespace, "01_data_mix")
    namespace.update(params.load_profile("smoke", "01_data_mix"))
    end(namespace)
    run.record(documents=3)
    run.publish({"documents": 3})
    assert status_of("01", "smoke") == ("complete", "")
    namespace = {}
    run = begin(namespace, "02_pretrain")
    namespace.update(params.load_profile("smoke", "02_pretrain"))
    end(namespace)
    assert run.metrics_of("01_data_mix") == {"documents": 3}


def test_the_wheel_s_profiles_serve_where_there_is_no_project(alone):
    assert files.project_root() == alone
    assert files.outputs_root() == alone / "outputs"
    assert params.profiles() == sorted(
        p.name for p in (ROOT / "params").iterdir() if p.is_dir() and p.name != "accelerate"
    )
    assert params.load_profile("smoke", "02_pretrain")["profile"] == "smoke"
    assert provenance.notebook_path("01_data_mix").is_relative_to(project.carried())


def test_a_project_around_the_current_folder_comes_first(alone, monkeypatch):
    for part in ("notebooks", "params/own"):
        (alone / part).mkdir(parents=True)
    deep = alone / "notebooks"
    monkeypatch.chdir(deep)
    assert files.project_root() == alone
    assert params.profiles() == ["own"]
    with pytest.raises(ValueError, match=r"my notes/notebooks/01_data_mix.ipynb; restore it"):
        provenance.notebook_path("01_data_mix")


def test_one_deleted_folder_of_a_project_is_not_replaced_by_the_wheel_s(alone, monkeypatch):
    (alone / "params" / "own").mkdir(parents=True)
    monkeypatch.setenv("NBKIT_ROOT", str(alone))
    assert params.profiles() == ["own"]
    with pytest.raises(ValueError, match="no notebook .*my notes"):
        provenance.notebook_path("01_data_mix")


def test_no_project_at_all_says_how_to_mend_it(alone, monkeypatch):
    shutil.rmtree(project.carried())
    with pytest.raises(ValueError, match="change into the checkout or set NBKIT_ROOT"):
        files.project_root()
    monkeypatch.setenv("NBKIT_ROOT", str(alone / "nowhere"))
    with pytest.raises(ValueError, match="is not a folder"):
        files.project_root()


def test_a_checkout_is_found_from_any_folder(tmp_path):
    """In a process of its own: without NBKIT_ROOT, as a user's."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("NBKIT_")}
    code = "from nbkit.run import project; print(project.project_root(), project.carried().exists())"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=clean | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.stdout.split() == [str(ROOT), "False"], done.stderr
