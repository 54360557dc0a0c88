"""`make` installs once and runs, in folders of any name."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SHIM = """#!/bin/sh
for part in "$@"; do printf '<%s>' "$part" >> calls; done
mkdir -p .venv/bin
printf '#!/bin/sh\\necho "nbkit $*"\\n' > .venv/bin/nbkit
chmod +x .venv/bin/nbkit
touch .venv/.installed
"""


@pytest.fixture
def checkout(tmp_path) -> Path:
    """A checkout in a folder with spaces, with an interpreter that only notes how it was called."""
    folder = tmp_path / "my own (new) folder"
    folder.mkdir()
    for name in ("Makefile", "pyproject.toml", "requirements.lock", "install.py"):
        shutil.copy(ROOT / name, folder)
    (folder / "shim").write_text(SHIM)
    (folder / "shim").chmod(0o755)
    return folder


def make(checkout: Path, *arguments: str) -> subprocess.CompletedProcess:
    if shutil.which("make") is None:
        pytest.skip("no make on this machine")
    # `make test VENV=...` hands its variables down in the environment; they are not for this make
    handed = ("MAKE", "MFLAGS", "VENV", "PYTHON", "PROFILE", "PYTEST", "TORCH_INDEX")
    clean = {name: value for name, value in os.environ.items() if not name.startswith(handed)}
    return subprocess.run(
        ["make", "--no-print-directory", *arguments], cwd=checkout, env=clean, capture_output=True, text=True
    )


def test_make_in_a_folder_with_spaces_installs_once_and_runs(checkout):
    first = make(checkout, "run", "PYTHON=./shim", "TORCH_INDEX=https://an.index/cpu")
    assert first.returncode == 0 and "nbkit run --profile small" in first.stdout, first.stderr
    wanted = "<install.py><--venv><.venv><--torch-index><https://an.index/cpu>"
    assert (checkout / "calls").read_text() == wanted
    again = make(checkout, "smoke", "PYTHON=./shim")
    assert "nbkit run --profile smoke" in again.stdout and (checkout / "calls").read_text() == wanted


def test_make_without_python_says_so(checkout):
    done = make(checkout, "run", "PYTHON=no-such-python")
    assert done.returncode == 2 and "nbkit: there is no no-such-python; install Python 3.11" in done.stderr


def test_make_refuses_an_environment_with_a_space(checkout):
    done = make(checkout, "run", "VENV=/tmp/a b/venv")
    assert done.returncode == 2 and "cannot handle a space in this path" in done.stderr


def test_a_failed_install_stops_make_and_leaves_no_stamp(checkout):
    (checkout / "shim").write_text("#!/bin/sh\necho 'nbkit: the disk is full' >&2\nexit 2\n")
    done = make(checkout, "run", "PYTHON=./shim")
    assert done.returncode == 2 and done.stderr.startswith("nbkit: the disk is full\n")
    assert "Traceback" not in done.stderr and not (checkout / ".venv").exists()
