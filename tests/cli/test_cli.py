"""`nbkit run | status | verify` on the throwaway project: exit codes, skipping, crashes, clean-up."""

from __future__ import annotations

import errno
import io
import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from nbkit.cli import calibrate, runner
from nbkit.cli.commands import main
from nbkit.run import files
from nbkit.run.provenance import status_of


def calls(project: Path) -> int:
    """How many times the expensive step of 01 was built."""
    path = project / "outputs/tiny/01_make/calls.txt"
    return len(path.read_text()) if path.exists() else 0


def write_params(project: Path, text: str) -> None:
    (project / "params/tiny/01_make.yaml").write_text(f"profile: tiny\nseed: 0\n{text}\n")


def play(project: Path, stage: str = "01_make") -> None:
    """Execute a notebook's cells in this process: as a kernel would, without the seconds a kernel takes."""
    namespace: dict = {}
    for cell in json.loads((project / f"notebooks/{stage}.ipynb").read_text())["cells"]:
        if cell["cell_type"] == "code":
            exec(cell["source"], namespace)
    assert status_of(stage, "tiny") == ("complete", "")


def run(*arguments: str) -> int:
    return main(["run", "--profile", "tiny", *arguments])


def test_whole_run_then_skip_then_only_what_changed(project, capsys):
    assert run() == 0
    first = capsys.readouterr().out
    assert first.count("done in") == 3 and "01_make  started, expected ?" in first and "total: 6" in first
    for stage in ("01_make", "02_use", "03_last"):
        folder = project / "outputs/tiny" / stage
        assert status_of(stage, "tiny") == ("complete", "")
        assert (folder / f"{stage}.ipynb").is_file() and not list(folder.glob("*.part.ipynb"))
        assert files.read_json(folder / "resources.json")["peak_bytes"] > 30e6
        assert files.read_json(folder / ".cell")["text"].startswith("cell "), "the executor names the cells"
        assert files.read_json(folder / ".progress")["text"] == "", "the kernel clears what a cell said"
    assert files.read_json(project / "outputs/tiny/03_last/metrics.json")["total"] == 24
    assert "report: " in first and (project / "outputs/tiny/report/index.html").is_file()
    assert run() == 0
    assert capsys.readouterr().out.count("up to date") == 3
    # A change in 02's parameters leaves 01 alone; 03 follows because its input is another one.
    (project / "params/tiny/02_use.yaml").write_text("profile: tiny\nfactor: 3\n")
    assert run("--from", "02") == 0
    again = capsys.readouterr().out
    assert (
        "02_use  stale: parameters changed: factor" in again
        and "03_last  stale: 02_use was made anew" in again
    )
    assert files.read_json(project / "outputs/tiny/03_last/metrics.json")["total"] == 36
    assert calls(project) == 1


def test_force_overrides_and_a_typed_value(project, capsys):
    assert run("--only", "01", "-p", "steps=3", "-p", "lr=1e-2") == 0
    metrics = files.read_json(project / "outputs/tiny/01_make/metrics.json")
    assert metrics == {"total": 3, "lr": 0.01}
    assert run("--only", "01", "-p", "steps=3", "-p", "lr=1e-2") == 0
    assert "up to date" in capsys.readouterr().out
    assert run("--only", "01", "-p", "steps=3", "-p", "lr=1e-2", "--force") == 0
    # not "~00:0": on a busy machine a run of this toy stage can take longer than ten seconds
    assert "01_make  started, expected ~" in capsys.readouterr().out and calls(project) == 1, (
        "the step is kept"
    )
    resources = files.read_json(project / "outputs/tiny/01_make/resources.json")
    assert resources["expected_s"] >= resources["wall_s"], "a run that reused a step says little of the next"
    assert files.read_json(project / "outputs/tiny/01_make/manifest.json")["reused"] == ["pool"]
    assert main(["status", "--profile", "tiny"]) == 0
    assert "parameters changed: lr, steps" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--only", "07"], "unknown stage '07'; stages: 01_make"),
        (["--from", "02_sue"], "did you mean '02_use'"),
        (["-p", "stpes=3"], "-p stpes: no chosen stage has this parameter (did you mean 'steps'?)"),
        (["--only", "02", "-p", "lr=1"], "; 01_make has it: choose that stage (now 02_use), or leave it out"),
        (["--only", "01", "-p", "factor=3"], "; 02_use, 03_last have it: choose one of these (now 01_make)"),
        (["-p", "shuffle='false'"], "write false without quotes"),
        (["-p", "steps=0"], "steps=0 is out of range"),
        (["-p", "steps"], "write -p KEY=VALUE"),
        (["-p", "profile=other"], "--profile NAME"),
    ],
)
def test_wrong_usage_is_code_2_before_anything_runs(project, capsys, arguments, message):
    assert run(*arguments) == 2
    assert message in capsys.readouterr().err and not (project / "outputs").exists()


def test_unknown_profile_and_bad_files_are_code_2_all_told_at_once(project, capsys):
    for command in ("run", "status", "verify", "report", "claims"):
        assert main([command, "--profile", "tinny"]) == 2
        assert "did you mean 'tiny'?); profiles: other, tiny" in capsys.readouterr().err
    write_params(project, "stpes: 3")
    (project / "params/tiny/03_last.yaml").write_text("profile: tiny\nfactor: 0\n")
    (project / "notebooks/02_use.ipynb").unlink()
    assert run() == 2
    told = capsys.readouterr().err
    assert "'stpes'" in told and "factor=0 is out of range" in told and "02_use.ipynb; restore it" in told
    with pytest.raises(SystemExit) as exit_error:
        main(["run", "--from", "01", "--only", "02"])
    assert exit_error.value.code == 2


def test_a_parameter_missing_from_the_notebook_is_found_before_the_run(project, capsys):
    path = project / "notebooks/02_use.ipynb"
    content = json.loads(path.read_text())
    content["cells"][2]["source"] = 'profile: str = "tiny"\nseed: int = 0'
    path.write_text(json.dumps(content))
    assert run() == 2
    assert "'factor' is not in the notebook's parameters cell" in capsys.readouterr().err


def test_verify_tells_every_changed_file(project, capsys):
    assert main(["verify", "--profile", "tiny"]) == 1, "nothing published is not a pass"
    play(project)
    assert main(["verify", "--profile", "tiny"]) == 0
    assert "3 artifacts checked, 0 problems" in capsys.readouterr().out
    (project / "outputs/tiny/01_make/pool/data.txt").write_text("9")
    (project / "outputs/tiny/01_make/numbers.json").unlink()
    assert main(["verify", "--profile", "tiny"]) == 1
    out = capsys.readouterr().out
    assert "pool was changed" in out and "numbers.json is gone" in out and "2 problems" in out


def test_output_folder_in_the_way_is_code_1_with_a_message(project, capsys):
    (project / "outputs").write_text("a file")
    assert run("--only", "01") == 1
    assert "nbkit: " in capsys.readouterr().err


def no_write(*arguments, **options):
    raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(arguments[0]))


@pytest.mark.parametrize("command", ["run", "report"])
def test_a_read_only_checkout_names_the_folder_and_the_way_out(project, capsys, monkeypatch, command):
    (project / "outputs/tiny").mkdir(parents=True)
    monkeypatch.setattr(Path, "mkdir", no_write)
    assert main([command, "--profile", "tiny"]) == 1
    told = capsys.readouterr().err
    assert len(told.splitlines()) == 1 and "Read-only file system" in told
    assert str(project / "outputs") in told and "set NBKIT_OUTPUTS to a" in told


@pytest.mark.parametrize("inside", ["", "/deeper/still"])
def test_outputs_that_cannot_be_a_folder_name_it_too(project, capsys, monkeypatch, tmp_path, inside):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("NBKIT_OUTPUTS", f"{tmp_path}/file{inside}")
    assert run("--only", "01") == 1
    told = capsys.readouterr().err
    assert len(told.splitlines()) == 1 and f"{tmp_path}/file" in told and "NBKIT_OUTPUTS" in told


def test_a_report_of_nothing_is_refused(project, capsys):
    assert main(["report", "--profile", "tiny"]) == 2
    assert "no outputs yet in" in capsys.readouterr().err


def test_other_disk_errors_stay_as_they_are(project, capsys, monkeypatch, tmp_path):
    def fail(*_):
        raise FileNotFoundError(errno.ENOENT, "No such file or directory", str(tmp_path / "elsewhere"))

    (project / "outputs/tiny").mkdir(parents=True)
    monkeypatch.setattr("nbkit.cli.report.build", fail)
    assert main(["report", "--profile", "tiny"]) == 1
    told = capsys.readouterr().err
    assert "elsewhere" in told and "NBKIT_OUTPUTS" not in told


def test_a_checkout_with_spaces_and_signs_in_its_path_runs(project, tmp_path, capsys, monkeypatch):
    """The kernel's folder, the interpreter's search path and every artifact lie below it."""
    home = project.rename(tmp_path / "my runs [v2] #1 é")
    monkeypatch.syspath_prepend(str(home))
    monkeypatch.setenv("NBKIT_ROOT", str(home))
    monkeypatch.setenv("PYTHONPATH", f"{home}{os.pathsep}{Path(__file__).resolve().parents[2]}")
    monkeypatch.setenv("TMPDIR", str(home))
    monkeypatch.setattr("tempfile.tempdir", None)
    assert run("--only", "01") == 0, capsys.readouterr().err
    assert status_of("01_make", "tiny") == ("complete", "")


def test_plan_prints_the_dry_run_of_the_profile(project, capsys, monkeypatch):
    monkeypatch.setattr("nbkit.cli.plan_command.table", lambda profile, changed: f"the plan of {profile}")
    monkeypatch.setattr("nbkit.cli.estimate.report.estimate", lambda *_: SimpleNamespace(refused=[]))
    monkeypatch.setattr("nbkit.cli.estimate.report.table", lambda *_: "what it takes")
    assert main(["plan", "--profile", "tiny"]) == 0
    assert capsys.readouterr().out == "the plan of tiny\n\nwhat it takes\n"
    with pytest.raises(SystemExit) as usage:
        main(["plan", "--help"])
    assert usage.value.code == 0
    told = " ".join(capsys.readouterr().out.split())
    assert "learning rates" in told and "(default: small)" in told


def test_two_runs_of_one_profile_do_not_mix(project, capsys):
    with runner.lock("tiny"):
        assert run("--only", "01") == 1
    assert "another nbkit run is at work" in capsys.readouterr().err


RATES = {"python": 4e6, "matmul": 2e11, "train": 5e3}


def test_expected_time_comes_from_the_last_run_then_the_reference(project, monkeypatch):
    assert runner.expected("tiny", "01_make") == (None, "")
    timings = {"tiny": {"01_make": 700}}
    files.write_json(project / "outputs/reference/timings.json", timings)
    # Another machine's time says nothing alone: it was 700 once, and wrong by the factor of the two machines.
    assert runner.expected("tiny", "01_make") == (None, "as the reference run's machine is not known")
    files.write_json(project / "outputs/reference/timings.json", {**timings, "calibration": RATES})
    monkeypatch.setattr(calibrate, "_measured", lambda: None)
    assert runner.expected("tiny", "01_make", measure=True)[0] is None, "this machine cannot be measured"
    monkeypatch.setattr(calibrate, "_measured", lambda: RATES)
    assert runner.expected("tiny", "01_make")[0] is None, "not measured where nobody asked for it"
    assert runner.expected("tiny", "01_make", measure=True) == (700, "scaled from a similar machine")
    files.write_json(project / "outputs/tiny/01_make/resources.json", {"wall_s": 12.5, "peak_bytes": 1})
    assert runner.expected("tiny", "01_make") == (12.5, "")
    # A run that went on after a kill took less than a whole one: only a whole one counts.
    resumed = {"wall_s": 3.0, "peak_bytes": 1, "expected_s": None}
    files.write_json(project / "outputs/tiny/01_make/resources.json", resumed)
    files.write_json(project / "outputs/tiny/01_make/manifest.json", {"wall_s": 2.0, "reused": ["pool"]})
    assert runner.expected("tiny", "01_make") == (700, "scaled from a similar machine")
    files.write_json(project / "outputs/tiny/01_make/resources.json", resumed | {"expected_s": 90.0})
    assert runner.expected("tiny", "01_make") == (90.0, "")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_live_line_on_a_terminal_and_in_a_log():
    terminal = Terminal()
    line = runner.Line("02_pretrain", 700, terminal)
    line.update(192, int(1.3 * 2**30), "step 40/200")
    assert terminal.getvalue() == "\r02_pretrain  03:12 / ~11:40  1.3 GiB  step 40/200"
    line.close(runner.Outcome(True, 3700, 2**30))
    assert terminal.getvalue().rstrip().endswith("\r02_pretrain  done in 1:01:40, peak 1.0 GiB")
    log = io.StringIO()
    line = runner.Line("02_pretrain", None, log)
    for second in range(125):
        line.update(second, 0, "x")
    assert [text.split()[1] for text in log.getvalue().splitlines()] == ["started,", "01:00", "02:00"]


def test_plain_papermill_works_from_any_folder(project, tmp_path):
    target = tmp_path / "out.ipynb"
    command = [sys.executable, "-m", "papermill", str(project / "notebooks/01_make.ipynb"), str(target)]
    yaml = str(project / "params/tiny/01_make.yaml")
    done = subprocess.run([*command, "-f", yaml], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert status_of("01_make", "tiny") == ("complete", "")
    done = subprocess.run(
        [*command, "-f", yaml, "-p", "stpes", "9"], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 1 and "did you mean 'steps'" in done.stderr
