"""`nbkit init`, and the wheel that it copies from: built here, without a network."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from nbkit.cli import init_command
from nbkit.cli.commands import main
from nbkit.run import files, params

ROOT = Path(__file__).resolve().parents[2]
CARRIED = "nbkit/project/"
NEEDED = ("pyproject.toml", "setup.py", "MANIFEST.in", "README.md", "LICENSE", "nbkit", "notebooks", "params")


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> Path:
    """A copy of the checkout with what building reads, and with what must not get into a wheel."""
    folder = tmp_path_factory.mktemp("checkout")
    for name in NEEDED:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, folder)
    (folder / "outputs/reference").mkdir(parents=True)
    shutil.copy(ROOT / "outputs/reference/timings.json", folder / "outputs/reference")
    (folder / "outputs/small").mkdir()
    (folder / "outputs/small/own.json").write_text("{}")
    for name in ("notebooks/.ipynb_checkpoints/01-checkpoint.ipynb", "params/.ipynb_checkpoints/own.yaml"):
        (folder / name).parent.mkdir()
        (folder / name).write_text("{}")
    stale = folder / "build/lib/nbkit/project/notebooks"
    stale.mkdir(parents=True)
    (stale / "00_deleted_since.ipynb").write_text("{}")
    return folder


def build(source: Path, kind: str, out: Path) -> Path:
    """The wheel or sdist of a checkout, by the hook that pip and build call; returns its path."""
    setuptools = pytest.importorskip("setuptools", minversion="77")  # as pyproject.toml asks
    assert setuptools
    code = f"from setuptools import build_meta; print(build_meta.build_{kind}({str(out)!r}))"
    done = subprocess.run([sys.executable, "-c", code], cwd=source, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return out / done.stdout.split()[-1]


@pytest.fixture(scope="module")
def wheel(source, tmp_path_factory) -> Path:
    """The built wheel, unpacked as pip would."""
    folder = tmp_path_factory.mktemp("wheel")
    with zipfile.ZipFile(build(source, "wheel", folder)) as archive:
        archive.extractall(folder / "site-packages")
    return folder / "site-packages"


def names(folder: Path) -> set[str]:
    return {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}


def committed() -> set[str]:
    """What every project holds: the checkout's own notebooks, parameters and reference times."""
    held = {f"{part}/{name}" for part in ("notebooks", "params") for name in files.files_in(ROOT / part)}
    assert {f"notebooks/{stage}.ipynb" for stage in params.schemas()} <= held
    assert {f"params/smoke/{stage}.yaml" for stage in params.schemas()} <= held
    return held | {"outputs/reference/timings.json"}


def test_the_wheel_holds_the_package_and_the_project_and_nothing_else(wheel):
    held = {name for name in names(wheel) if ".dist-info/" not in name}
    own = {f"nbkit/{name}" for name in files.files_in(ROOT / "nbkit") if not name.startswith("project/")}
    assert {name for name in held if name.startswith(CARRIED)} == {CARRIED + name for name in committed()}
    assert {name for name in held if not name.startswith(CARRIED)} == own
    for name in committed():
        assert (wheel / CARRIED / name).read_bytes() == (ROOT / name).read_bytes(), name


def test_a_wheel_without_notebooks_is_not_built(source, tmp_path):
    for name in NEEDED[:5]:
        shutil.copy(source / name, tmp_path)
    (tmp_path / "nbkit").mkdir()
    (tmp_path / "nbkit/__init__.py").touch()
    code = "from setuptools import build_meta; build_meta.build_wheel('.')"
    pytest.importorskip("setuptools", minversion="77")
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 1
    assert "build from a whole checkout or sdist" in done.stderr


def test_the_sdist_builds_the_same_wheel(source, wheel, tmp_path):
    shutil.unpack_archive(build(source, "sdist", tmp_path), tmp_path / "sdist")
    (unpacked,) = (tmp_path / "sdist").iterdir()
    with zipfile.ZipFile(build(unpacked, "wheel", tmp_path)) as archive:
        found = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert found == {name for name in names(wheel) if ".dist-info/" not in name}


def nbkit(wheel: Path, cwd: Path, *arguments: str) -> subprocess.CompletedProcess:
    """The command line of the unpacked wheel, as in a fresh environment: no checkout in sight."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("NBKIT_")}
    command = [sys.executable, "-m", "nbkit", *arguments]
    environment = clean | {"PYTHONPATH": str(wheel)}
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True)


def test_init_with_the_wheel_makes_a_project_that_status_reads(wheel, tmp_path):
    done = nbkit(wheel, tmp_path, "init", "my run")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("made my run: 7 notebooks, 7 profiles in params/\nnext:\n    cd 'my run'\n")
    assert "nbkit run --profile smoke" in done.stdout
    assert names(tmp_path / "my run") == committed()
    (tmp_path / "my run/params/smoke/01_data_mix.yaml").write_text("profile: smoke\nstpes: 3\n")
    done = nbkit(wheel, tmp_path / "my run/notebooks", "status", "--profile", "smoke")
    assert done.returncode == 2
    assert "'stpes'" in done.stderr, "the project's own parameters are read, not the wheel's"


def test_status_with_the_wheel_alone_reads_the_wheel_s_profiles(wheel, tmp_path):
    done = nbkit(wheel, tmp_path, "status", "--profile", "smoke")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("not run yet") == 7
    assert f"no outputs yet in {tmp_path / 'outputs' / 'smoke'}" in done.stderr
    done = nbkit(wheel, tmp_path, "status", "--profile", "smok")
    assert "did you mean 'smoke'?); profiles: claims, full," in done.stderr


# --- init in a checkout ---------------------------------------------------------------------------------


def init(folder: Path | str) -> int:
    return main(["init", str(folder)])


def test_init_in_an_empty_current_folder_keeps_hidden_files(tmp_path, monkeypatch, capsys):
    (tmp_path / ".venv").mkdir()
    (tmp_path / ".venv/pyvenv.cfg").write_text("home = /usr/bin")
    monkeypatch.chdir(tmp_path)
    assert init(".") == 0
    assert "    cd " not in capsys.readouterr().out
    assert names(tmp_path) == committed() | {".venv/pyvenv.cfg"}
    assert os.access(tmp_path / "notebooks/01_data_mix.ipynb", os.W_OK)


def test_a_folder_that_is_not_empty_is_refused_and_untouched(tmp_path, capsys):
    (tmp_path / "thesis.txt").write_text("precious")
    assert init(tmp_path) == 2
    told = capsys.readouterr().err
    assert told == (
        f"nbkit: init: {tmp_path} is not empty, it holds 'thesis.txt'; give the name of a new or an empty "
        "folder\n"
    )
    assert names(tmp_path) == {"thesis.txt"}


def test_a_project_is_not_made_twice(tmp_path, capsys):
    assert init(tmp_path / "a") == 0
    assert init(tmp_path / "a") == 2
    assert "it holds 'notebooks'" in capsys.readouterr().err


def test_a_file_in_place_of_the_folder_is_refused(tmp_path, capsys):
    (tmp_path / "a").write_text("x")
    assert init(tmp_path / "a") == 2
    assert "a is a file; give the name of a new or an empty folder" in capsys.readouterr().err


def test_a_folder_below_a_file_is_refused(tmp_path, capsys):
    (tmp_path / "a").write_text("x")
    assert init(tmp_path / "a" / "b") == 1
    assert "cannot write in" in capsys.readouterr().err


@pytest.mark.parametrize("code", [errno.EACCES, errno.EROFS, errno.ENOSPC])
def test_a_folder_that_cannot_be_written_is_refused_and_left_empty(tmp_path, capsys, monkeypatch, code):
    def refuse(*_):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(init_command.shutil, "copyfile", refuse)
    assert init(tmp_path / "a") == 1
    told = capsys.readouterr().err
    assert f"cannot write in {tmp_path / 'a'}: {os.strerror(code)}; free space, fix its permissions" in told
    assert not list((tmp_path / "a").iterdir())


def test_an_nbkit_that_carries_nothing_says_so(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(init_command, "source", lambda: tmp_path / "nowhere")
    assert init(tmp_path / "a") == 2
    assert "carries no notebooks" in capsys.readouterr().err
    assert not (tmp_path / "a").exists()
