"""The first failures of a new user: one clear line each, with what to do, and exit code 2.

Nothing is installed here but one attempt that cannot reach an index: what pip and venv say was recorded.
"""

from __future__ import annotations

import ast
import errno
import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from nbkit.cli import commands, runner

ROOT = Path(__file__).resolve().parents[2]
EARLY = ("install.py", "nbkit/__init__.py")  # what an old Python reads first


@pytest.fixture
def install(monkeypatch):
    """install.py as a module; its commands are collected instead of run."""
    spec = importlib.util.spec_from_file_location("install", ROOT / "install.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.commands = []
    module.real_run = module.run
    monkeypatch.setattr(module, "run", lambda command, folder: module.commands.append(command))
    return module


def fails_with(install, capsys, *arguments: str) -> str:
    """The one line of a failing install."""
    assert install.main(list(arguments)) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("nbkit: ")
    return line


# --- Python ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("file", EARLY)
def test_what_an_old_python_reads_first_is_old_syntax(file):
    tree = ast.parse((ROOT / file).read_text(), feature_version=(3, 4))
    assert not [node for node in ast.walk(tree) if isinstance(node, ast.JoinedStr)], "f-strings came with 3.6"


@pytest.mark.parametrize("version", [(3, 10, 13), (3, 6, 15), (2, 7, 18), (3, 10, 0), (3, 9, 2)])
def test_an_old_python_is_told_so(install, capsys, monkeypatch, version):
    monkeypatch.setattr(install, "works", lambda name: False)
    monkeypatch.setattr(install.check_python, "__defaults__", (version, "/usr/bin/python3"))
    line = fails_with(install, capsys)
    found = ".".join(map(str, version))
    assert f"Python 3.11 or later is needed, found {found} (/usr/bin/python3)" in line
    assert "apt install python3.11" in line and not install.commands
    monkeypatch.setattr(install, "works", lambda name: name == "python3.12")
    assert "python3.12 is here: make run PYTHON=python3.12" in fails_with(install, capsys)


@pytest.mark.parametrize("version", [(3, 11, 0), (3, 12, 1), (3, 14, 0), (4, 0, 0)])
def test_a_new_python_is_taken(install, version):
    install.check_python(version)


def test_a_python_that_does_not_start_is_not_named(install, tmp_path):
    broken = tmp_path / "python3.11"  # as a shim of pyenv without that version
    broken.write_text("#!/bin/sh\nexit 127\n")
    broken.chmod(0o755)
    assert not install.works(str(broken)) and not install.works(str(tmp_path / "absent"))
    assert install.works(sys.executable, "import sys")


@pytest.mark.parametrize("name", ["python3.10", "python3.9", "python3.8", "python3.6"])
def test_with_a_real_old_python(name):
    if shutil.which(name) is None or subprocess.run([name, "-c", ""], capture_output=True).returncode:
        pytest.skip(f"no {name} on this machine")
    for command in (["install.py"], ["-m", "nbkit", "status"]):
        done = subprocess.run([name, *command], cwd=ROOT, capture_output=True, text=True)
        assert done.returncode == 2 and not done.stdout
        assert done.stderr.count("\n") == 1 and "Python 3.11 or later is needed, found 3." in done.stderr
    done = subprocess.run([name, "-c", "import nbkit"], cwd=ROOT, capture_output=True, text=True)
    assert "ImportError: nbkit: Python 3.11 or later is needed" in done.stderr


@pytest.mark.parametrize("missing", ["venv", "ensurepip"])
def test_a_python_without_venv(install, capsys, monkeypatch, missing):
    monkeypatch.setitem(sys.modules, missing, None)  # what Debian's python3 is without python3-venv
    line = fails_with(install, capsys)
    assert "apt install python3-venv" in line and missing in line and not install.commands


def test_a_package_that_is_missing_is_named(project, capsys, monkeypatch):
    def absent(*_):
        raise ModuleNotFoundError("No module named 'psutil'", name="psutil")

    monkeypatch.setattr(commands, "_status", absent)
    assert commands.main(["status", "--profile", "tiny"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "lacks the package 'psutil'" in line and "make" in line and "install.py" in line


def test_a_fault_of_our_own_keeps_its_traceback(project, monkeypatch):
    def wrong(*_):
        raise ModuleNotFoundError("No module named 'nbkit.x'", name="nbkit.x")

    monkeypatch.setattr(commands, "_status", wrong)
    with pytest.raises(ModuleNotFoundError):
        commands.main(["status", "--profile", "tiny"])


# --- pip ------------------------------------------------------------------------------------------------

SAID = {
    "WARNING: Retrying (Retry(total=1, ...)) after connection broken by 'NewConnectionError('<pip._vendor."
    "urllib3...>: Failed to establish a new connection: [Errno -3] Temporary failure in name resolution')'\n"
    "ERROR: Could not find a version that satisfies the requirement torch==2.13.0 (from versions: none)\n"
    "ERROR: No matching distribution found for torch==2.13.0": "cannot reach the package index",
    "pip._vendor.urllib3.exceptions.ReadTimeoutError: HTTPSConnectionPool(host='files.pythonhosted.org', "
    "port=443): Read timed out.\nReadTimeout": "cannot reach the package index",
    "WARNING: Retrying after connection broken by 'ProxyError('Cannot connect to proxy.', OSError('Tunnel "
    "connection failed: 403 Forbidden'))'\nERROR: No matching distribution": "set HTTPS_PROXY",
    "Could not fetch URL https://pypi.org/simple/torch/: There was a problem confirming the ssl certificate: "
    "SSLError(SSLCertVerificationError(1, '[SSL: CERTIFICATE_VERIFY_FAILED]'))": "cannot reach the package",
    "ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device": "disk is full",
    "OSError: [Errno 122] Disk quota exceeded": "the disk is full",
    "ERROR: Could not install packages due to an OSError: [Errno 13] Permission denied: '/opt/nbkit/.venv'\n"
    "Check the permissions.": "NBKIT_OUTPUTS=",
    "Error: [Errno 30] Read-only file system: '/media/cd/.venv'": "make run VENV=",
    "ERROR: Could not find a version that satisfies the requirement torch==2.13.0 (from versions: 2.1)\n"
    "ERROR: No matching distribution found for torch==2.13.0": "pip finds no package that fits",
    "Traceback (most recent call last):\n  File ...\nKeyError: 'x'": "its last words: KeyError: 'x'",
    "": "its last words: nothing",
}


@pytest.mark.parametrize("said", SAID)
def test_what_pip_says_becomes_one_line(install, tmp_path, said):
    line = install.explain(said, str(tmp_path / "not" / "there"))
    assert SAID[said] in line and "\n" not in line


def test_no_network_for_real(install, tmp_path, monkeypatch):
    for name in ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PIP_RETRIES", "1")
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(tmp_path)]
    with pytest.raises(install.Trouble, match="cannot reach the package index"):
        install.real_run(
            [*command, "--index-url", "http://127.0.0.1:9/simple", "absent-package"], str(tmp_path)
        )


@pytest.mark.parametrize(
    ("code", "words"),
    [(errno.ENOSPC, "the disk is full"), (errno.EROFS, "cannot write in"), (errno.EACCES, "cannot write in")],
)
def test_a_disk_that_refuses_is_explained(install, capsys, monkeypatch, tmp_path, code, words):
    def refuse(folder):
        raise OSError(code, os.strerror(code), folder)

    monkeypatch.setattr(install, "make_venv", refuse)
    assert words in fails_with(install, capsys, "--venv", str(tmp_path / "venv"))


# --- the environment ------------------------------------------------------------------------------------


def whole(install, monkeypatch, tmp_path, venv: Path) -> list[list[str]]:
    """A whole install into `venv` without its commands; these, in short."""
    packages = tmp_path / "site-packages"
    packages.mkdir(exist_ok=True)
    monkeypatch.setattr(install.subprocess, "check_output", lambda command: str(packages).encode())
    venv.mkdir(parents=True, exist_ok=True)
    assert install.main(["--venv", str(venv), "--torch-index", "https://an.index/cpu"]) == 0
    assert (venv / ".installed").is_file()
    return [command[command.index("-m") + 1 :] for command in install.commands]


def test_an_install_is_three_steps_and_a_stamp(install, monkeypatch, tmp_path, capsys):
    commands = whole(install, monkeypatch, tmp_path, tmp_path / "a b" / "venv")
    assert commands[0] == ["venv", str(tmp_path / "a b" / "venv")]
    torch, lock, own = (command[4:] for command in commands[1:])
    assert torch[:2] == ["--index-url", "https://an.index/cpu"] and torch[2].startswith("torch==")
    assert lock == ["-r", str(ROOT / "requirements.lock")] and own == ["--no-deps", "-e", str(ROOT)]
    assert "torch" in capsys.readouterr().out


def test_a_checkout_that_is_read_only_is_copied(install, monkeypatch, tmp_path):
    monkeypatch.setattr(install.os, "access", lambda path, mode: False)
    own = whole(install, monkeypatch, tmp_path, tmp_path / "venv")[-1][4:]
    assert own[0] == "--no-deps" and "-e" not in own and own[-1] != str(ROOT)
    assert not Path(own[-1]).exists(), "the copy is removed"


@pytest.mark.parametrize("left", ["pyvenv.cfg", "bin", "lib"])
def test_an_environment_made_by_half_is_made_anew(install, tmp_path, left):
    (tmp_path / "venv" / left).mkdir(parents=True)
    install.make_venv(str(tmp_path / "venv"))
    assert install.commands == [[sys.executable, "-m", "venv", "--clear", str(tmp_path / "venv")]]


def test_an_environment_that_works_is_kept(install, tmp_path, monkeypatch):
    monkeypatch.setattr(install, "works", lambda python, test: "pip" in test)
    install.make_venv(str(tmp_path))
    assert not install.commands


def test_a_folder_of_the_users_own_is_never_cleared(install, capsys, tmp_path):
    (tmp_path / "thesis.txt").write_text("precious")
    line = fails_with(install, capsys, "--venv", str(tmp_path))
    assert "is in the way" in line and (tmp_path / "thesis.txt").exists() and not install.commands


def test_packages_installed_by_half_are_forgotten(install, tmp_path, monkeypatch, capsys):
    for name, whole in (("torch-2.13.0", True), ("scipy-1.17.1", False), ("pip-26.0", True)):
        (tmp_path / f"{name}.dist-info").mkdir()
        (tmp_path / f"{name}.dist-info" / "METADATA").write_text("")
        if whole:
            (tmp_path / f"{name}.dist-info" / "RECORD").write_text("")
    (tmp_path / "scipy").mkdir()
    monkeypatch.setattr(install.subprocess, "check_output", lambda command: str(tmp_path).encode())
    install.mend_packages("venv")
    left = sorted(path.name for path in tmp_path.iterdir())
    assert left == ["pip-26.0.dist-info", "scipy", "torch-2.13.0.dist-info"]
    assert "scipy-1.17.1 was installed by half" in capsys.readouterr().out


# --- where it runs --------------------------------------------------------------------------------------


def test_the_command_line_needs_no_module_of_one_system():
    code = (
        "import psutil, sys\n"  # psutil itself needs `resource` on Linux
        "sys.modules.update(fcntl=None, resource=None, termios=None, pwd=None, grp=None)\n"
        "import nbkit, nbkit.cli.commands, nbkit.cli.runner, nbkit.cli.execute\n"
        "import nbkit.cli.study.seeds, nbkit.cli.report\n"
        "print(nbkit.run.provenance.peak_rss_mb())"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.strip() == "0.0", done.stderr


@pytest.mark.parametrize("held", [False, True])
def test_the_lock_where_there_is_no_fcntl(project, monkeypatch, held):
    class Msvcrt:
        LK_NBLCK = 2

        @staticmethod
        def locking(descriptor: int, mode: int, size: int) -> None:
            assert (mode, size) == (2, 1)
            if held:
                raise OSError(errno.EACCES, "Permission denied")

    monkeypatch.setitem(sys.modules, "fcntl", None)
    monkeypatch.setitem(sys.modules, "msvcrt", Msvcrt)
    if held:
        with pytest.raises(BlockingIOError, match="another nbkit run"), runner.lock("tiny"):
            pass
    else:
        with runner.lock("tiny"):
            pass
