"""A reader that leaves, a folder that cannot be written, a bad option: one line, never a traceback."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from test_cli import play

from nbkit.cli import commands as cli
from nbkit.cli import filter_command
from nbkit.cli.commands import main
from nbkit.run import files

ROOT = Path(__file__).resolve().parents[2]


# --- a reader that leaves -------------------------------------------------------------------------------


@pytest.fixture
def unread():
    """A stream into a pipe that nobody reads."""
    reader, writer = os.pipe()
    os.close(reader)
    with open(writer, "w", buffering=1) as stream:
        yield stream


@pytest.mark.parametrize(
    "command",
    [
        ["status", "--profile", "tiny"],
        ["verify", "--profile", "tiny"],
        ["report", "--profile", "tiny"],
        ["plan", "--profile", "tiny"],
        ["run", "--profile", "tiny", "--only", "01"],
        ["--help"],
        ["filter", "--help"],
        ["claims", "--help"],
    ],
    ids=" ".join,
)
def test_every_command_ends_quietly_when_nobody_reads_on(project, monkeypatch, capsys, unread, command):
    monkeypatch.setattr("nbkit.cli.plan_command.table", lambda profile, changed: "the plan")
    monkeypatch.setattr("nbkit.cli.estimate.report.estimate", lambda *_: SimpleNamespace(refused=[]))
    monkeypatch.setattr("nbkit.cli.estimate.report.table", lambda *_: "what it takes")
    play(project)
    capsys.readouterr()
    monkeypatch.setattr(sys, "stdout", unread)
    assert main(command) == 141
    assert not capsys.readouterr().err
    unread.write("what the interpreter flushes at its end goes nowhere, and is no error")
    unread.flush()


def test_errors_that_nobody_reads_are_quiet_too(project, monkeypatch, unread):
    monkeypatch.setattr(sys, "stderr", unread)
    assert main(["status", "--profile", "tinny"]) == 141


def test_the_interpreter_adds_nothing_at_its_end(project, monkeypatch, unread):
    """In a process of its own, whose few lines stay in the buffer until the end."""
    monkeypatch.delenv("PYTHONUNBUFFERED", raising=False)
    command = [sys.executable, "-m", "nbkit", "status", "--profile", "tiny"]
    done = subprocess.run(command, stdout=unread, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 141 and done.stderr.count("\n") == 1 and "no outputs yet" in done.stderr


def test_another_pipe_that_breaks_is_an_error(project, monkeypatch, capsys):
    def broken(*_):
        raise BrokenPipeError(32, "Broken pipe")

    monkeypatch.setattr(cli, "_status", broken)
    assert main(["status", "--profile", "tiny"]) == 1
    assert capsys.readouterr().err == "nbkit: Broken pipe\n"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full on this system")
def test_output_that_cannot_be_stored_is_one_line(project, monkeypatch, capsys):
    with open("/dev/full", "w") as full:
        monkeypatch.setattr(sys, "stdout", full)
        assert main(["status", "--profile", "tiny"]) == 1
    told = capsys.readouterr().err.splitlines()
    assert told[-1] == "nbkit: the output cannot be written: No space left on device"


# --- outputs that are absent, or cannot be written ------------------------------------------------------


@pytest.mark.parametrize("command", ["status", "verify"])
@pytest.mark.parametrize("state", ["absent", "file", "below a file", "read-only", "parent read-only"])
def test_status_and_verify_say_what_is_wrong_with_the_outputs(
    project, tmp_path, monkeypatch, capsys, command, state
):
    place = tmp_path / "results"
    if "file" in state:
        place.write_text("in the way")
        place = place / "deeper" if "below" in state else place
    elif state != "absent":
        (place / "tiny" if state == "read-only" else tmp_path).mkdir(parents=True, exist_ok=True)
        monkeypatch.setattr(files.os, "access", lambda *_: False)  # root may write everywhere
    monkeypatch.setenv("NBKIT_OUTPUTS", str(place))
    code = main([command, "--profile", "tiny"])
    out, err = capsys.readouterr()
    (line,) = err.splitlines()
    assert code == (0 if command == "status" else 1) and out.count("not run yet") == 3
    if state == "absent":
        assert line == f"nbkit: no outputs yet in {place}/tiny; `nbkit run --profile tiny` makes them"
    else:
        assert "cannot write in" in line and str(tmp_path) in line and "set NBKIT_OUTPUTS to a" in line


@pytest.mark.parametrize("command", ["status", "verify"])
def test_nothing_is_said_of_outputs_that_are_well(project, capsys, command):
    play(project)
    assert main([command, "--profile", "tiny"]) == 0
    assert not capsys.readouterr().err


def test_there_is_one_wording_of_a_folder_that_cannot_be_written(project, tmp_path, monkeypatch, capsys):
    """That of a stage, of the command line and of any artifact."""
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("NBKIT_OUTPUTS", str(tmp_path / "file"))
    end = "; free space or fix its permissions, or set NBKIT_OUTPUTS to a writable folder"
    told = []
    for command in (["status"], ["report"], ["run", "--only", "01"]):
        main([*command, "--profile", "tiny"])
        told.append(capsys.readouterr().err.strip().removeprefix("nbkit: "))
    with pytest.raises(OSError, match="cannot write in") as failure:
        files.write_json(tmp_path / "file/x.json", {})
    told.append(failure.value.strerror)
    with pytest.raises(OSError, match="cannot write in") as failure:
        play(project)
    told.append(failure.value.strerror)
    assert all(text.startswith("cannot write in /") and text.endswith(end) for text in told), told


# --- nbkit filter: options before notices ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--on-bad", "keep"], "on_bad='keep': want one of"),
        (["--executor", "cloud"], "executor='cloud': want one of"),
        (["--executor", "slurm"], "not given: partition, time"),
        (["--tasks", "0"], "tasks=0, workers=1"),
        (["--workers", "-2"], "workers=-2"),
        (["--hq-tokens", "-1"], "negative token budgets"),
        (["-x", "speed=9"], "executor_options do not fit executor='local'"),
        (["-x", "speed"], "write -x KEY=VALUE"),
        (["-x", "workers=3"], "executor_options do not fit executor='local'"),
        (
            ["--executor", "slurm", "-x", "time=1", "-x", "partition=a", "-x", "job_name=b"],
            "do not fit executor",
        ),
        (["--inputs", "no-such-*.jsonl"], "matches no file"),
        (["--inputs", __file__], "is none of .jsonl"),
        (["--filter", "no-such-folder"], "holds no saved filter"),
    ],
)
def test_filter_refuses_bad_options_before_it_says_more(tmp_path, monkeypatch, capsys, options, told):
    (tmp_path / "filter/tokenizer").mkdir(parents=True)
    (tmp_path / "a.jsonl").write_text('{"id": "a", "text": "x"}\n')
    monkeypatch.setattr(
        filter_command, "_evaluation_texts", lambda: print("not checked for leaks of x") or {}
    )
    given = ["--filter", str(tmp_path / "filter"), "--out", str(tmp_path / "out")]
    given += ["--hq-tokens", "1", "--mq-tokens", "1"]
    given += [] if "--inputs" in options else ["--inputs", str(tmp_path / "a.jsonl")]
    assert main(["filter", *given, *options]) == 2
    out, err = capsys.readouterr()
    assert not out and told in err and len(err.splitlines()) == 1 and not (tmp_path / "out").exists()


# --- benchmarks -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", sorted((ROOT / "benchmarks").glob("*.py")), ids=lambda path: path.stem)
def test_a_benchmark_says_with_which_python_it_runs(path):
    header = path.read_text().split('"""')[1]
    assert f".venv/bin/python benchmarks/{path.name}" in header
    assert not re.search(r"(?<!\.venv/bin/)python benchmarks/", header)
