"""`nbkit claims`: seeds side by side in roots of their own, kills, and the numbers over seeds by hand."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from conftest import USE_PARAMETERS, notebook

from nbkit.cli.commands import main
from nbkit.cli.study import seed_report, seeds
from nbkit.cli.study.seed_stats import collect
from nbkit.evals import claims
from nbkit.run import files
from nbkit.run.provenance import status_of

CLAIMS = [
    {"id": "gain", "claim": "a gain", "figure": "1", "metric": "02_use.gain"}
    | {"by": "02_use.parts", "effect": "b minus a", "questions": "all of them"},
    {"id": "data", "claim": "about the data", "figure": None, "metric": "01_make.data"},
    {"id": "never", "claim": "not measured", "figure": "2", "metric": "03_last.gain", "why": "no time"},
]
MEASURE = """
import os, time
numbers = json.loads(run.input("01_make", "numbers.json").read_text())
(run.dir / "threads").write_text(os.environ["OMP_NUM_THREADS"])
own = getattr(os, "sched_getaffinity", lambda process: [])(0)
(run.dir / "cores").write_text(str(sorted(own)))
(run.dir / "calls").open("a").write("x")
if (run.dir.parent / "raise").exists():
    raise RuntimeError("the marker of this failure")
if (run.dir.parent / "hang").exists():
    (run.dir / "pid").write_text(str(os.getpid()))
    time.sleep(60)
gain = {"mean": factor * (seed + 1) / 100, "low": -1.0, "high": 1.0, "n": 10 * len(numbers)}
run.record(gain=gain, parts={"half": {"first": gain, "second": gain | {"mean": -0.1 * seed}}})
run.publish({"gain": gain["mean"]})
"""


@pytest.fixture
def study(project, monkeypatch) -> seeds.Study:
    """The throwaway project with a 02 that measures a gain, and claims about it."""
    book = notebook("02_use", USE_PARAMETERS, MEASURE)
    (project / "notebooks/02_use.ipynb").write_text(json.dumps(book))
    monkeypatch.setattr(claims, "claims", lambda: CLAIMS)
    return seeds.Study("tiny", (0, 1), ("01_make", "02_use"))


def play(study: seeds.Study, stage: str, place: int, **values) -> None:
    """Execute a notebook's cells in a seed's root in this process, without the seconds a kernel takes."""
    own = study.own(stage, place) | values
    root = study.root(place) if stage != study.shared else files.outputs_root()
    with seeds.outputs_at(root):
        namespace: dict = {}
        path = files.project_root() / f"notebooks/{stage}.ipynb"
        for cell in json.loads(path.read_text())["cells"]:
            if cell["cell_type"] == "code":
                exec(cell["source"], namespace)
            if cell["metadata"].get("tags"):
                namespace.update(own)


def play_all(study: seeds.Study) -> None:
    play(study, "01_make", 0)
    for seed in study.seeds:
        seeds.share_data(study, seed)
        play(study, "02_use", seed)


def run(*arguments: str) -> int:
    return main(["claims", "--profile", "tiny", "--seeds", "0-1", "--stages", "01,02", *arguments])


def folder(study: seeds.Study, seed: int) -> Path:
    return study.root(seed) / "tiny/02_use"


def calls(study: seeds.Study, seed: int) -> int:
    """How often 02 was begun for a seed."""
    path = folder(study, seed) / "calls"
    return len(path.read_text()) if path.exists() else 0


# --- the command


@pytest.mark.parametrize(
    ("text", "wanted"), [("0-4", (0, 1, 2, 3, 4)), ("7,0-2", (7, 0, 1, 2)), (" 3 , 5 ", (3, 5))]
)
def test_seed_lists(text, wanted):
    assert seeds.parse(text) == wanted


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--seeds", "0-"], "'0-' is no seed and no range; write 0-4"),
        (["--seeds", ""], "'' is no seed"),
        (["--seeds", "3,,4"], "'' is no seed"),
        (["--seeds", "4-0"], "'4-0' is no seed"),
        (["--seeds=-1,2"], "'-1' is no seed"),
        (["--seeds", "0-3,2"], "seed 2 stands twice"),
        (["--seeds", "3"], "one seed has no interval"),
        (["--seeds", "0-99999999999"], "more than 1000 seeds"),
        (["--seeds", "0,4294967296"], "seed=4294967296 is out of range"),
        (["--stages", "01,9"], "unknown stage '9'"),
        (["--stages", ""], "unknown stage ''"),
        (["--jobs", "0"], "--jobs 0: wanted 1 or more"),
        (["-p", "seed=3"], "use --seeds LIST"),
        (["-p", "stpes=3"], "did you mean 'steps'?"),
        (["--publish", "../out"], "wanted the name of one folder"),
        (["--profile", "tinny"], "did you mean 'tiny'?"),
    ],
)
def test_wrong_usage_is_code_2_before_anything_runs(study, capsys, arguments, message):
    assert run(*arguments) == 2
    assert message in capsys.readouterr().err and not files.outputs_root().exists()


def test_run_then_skip_then_publish(study, project, capsys):
    """Two seeds at a time on one set of data: roots, threads, numbers, and a second run that adds nothing."""
    assert run("--jobs", "2", "-p", "factor=3", "-p", "steps=5") == 0
    out = capsys.readouterr().out
    assert "data  01_make  done in" in out and "seed 1  02_use  done in" in out
    assert len((project / "outputs/tiny/01_make/calls.txt").read_text()) == 1, "the data is made once"
    for seed in (0, 1):
        threads, own = ((folder(study, seed) / name).read_text() for name in ("threads", "cores"))
        assert (threads, own) in [
            (
                str(len(group) or max(1, seeds.cores() // 2)),
                str(group or sorted(getattr(os, "sched_getaffinity", lambda _: [])(0))),
            )
            for group in seeds.core_groups(2)
        ]
        with seeds.outputs_at(study.root(seed)):
            assert status_of("01_make", "tiny", {"steps": 5}) == ("complete", "")
            assert status_of("02_use", "tiny", {"factor": 3, "seed": seed}) == ("complete", "")
    result = files.read_json(project / "outputs/tiny/claims.json")
    row = result["claims"][0]
    assert (
        row["per_seed"] == {"0": 0.03, "1": 0.06} and row["mean"] == pytest.approx(0.045) and row["n"] == 50
    )
    assert row["verdict"] == "inconclusive" and result["seeds"] == [0, 1]
    assert result["overrides"] == {"01_make": {"steps": 5}, "02_use": {"factor": 3}}
    assert result["by"]["gain"]["half"]["second"]["mean"] == pytest.approx(-0.05)
    assert [(r["seed"], r["stage"]) for r in result["runs"]] == [(0, "01_make"), (0, "02_use"), (1, "02_use")]
    assert (project / "outputs/tiny/gain.png").read_bytes().startswith(b"\x89PNG")

    before = (project / "outputs/tiny/claims.json").read_bytes()
    assert run("--publish", "whole", "-p", "factor=3", "-p", "steps=5") == 0
    assert capsys.readouterr().out.count("up to date") == 3 and calls(study, 0) == calls(study, 1) == 1
    published = project / "outputs/reference/whole"
    assert sorted(p.name for p in published.iterdir()) == ["claims.csv", "claims.json", "gain.png"]
    assert (published / "claims.json").read_bytes() == before, "no times, no paths: equal runs, equal bytes"
    rows = list(csv.DictReader((published / "claims.csv").open()))
    assert [(r["claim"], r["group"], r["name"], r["seed_1"]) for r in rows] == [
        ("gain", "", "", "0.06"),
        ("gain", "half", "first", "0.06"),
        ("gain", "half", "second", "-0.1"),
    ]


@pytest.mark.parametrize(
    ("cores", "jobs", "groups"),
    [
        ({0, 1}, 2, [[0], [1]]),
        ({4, 5, 6, 7, 9}, 2, [[4, 6, 9], [5, 7]]),
        ({0, 1, 2, 3}, 1, [[0, 1, 2, 3]]),
        ({3}, 2, [[], []]),
    ],
)
def test_seeds_at_a_time_share_no_core(monkeypatch, cores, jobs, groups):
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: cores, raising=False)
    assert seeds.core_groups(jobs) == groups


@pytest.mark.slow
def test_fresh_data_is_made_by_each_seed_and_kept_apart(study, project):
    assert run("--fresh-data", "--jobs", "2") == 0
    home = project / "outputs/tiny/fresh"
    for seed in (0, 1):
        made = home / f"seed-{seed}/tiny/01_make"
        assert not made.is_symlink() and files.read_json(made / "manifest.json")["seed"] == seed
    assert files.read_json(home / "claims.json")["data"] == "made anew by each seed"
    assert not (project / "outputs/tiny/claims.json").exists()


def test_a_failure_names_the_seed_and_starts_nothing_new(study, capsys):
    (study.root(0) / "tiny").mkdir(parents=True)
    (study.root(0) / "tiny/raise").touch()
    play(study, "01_make", 0)
    assert run("--stages", "02") == 1
    out, err = capsys.readouterr()
    assert "seed 0  " in out and "the marker of this failure" in out and "seed 0 failed" in err
    assert calls(study, 1) == 0 and not (study.home / "claims.json").exists()


def wait_gone(pids: list[int], seconds: float = 15.0) -> bool:
    deadline = time.monotonic() + seconds
    while any(map(psutil.pid_exists, pids)) and time.monotonic() < deadline:
        time.sleep(0.1)
    return not any(map(psutil.pid_exists, pids))


@pytest.mark.parametrize(
    ("sign", "code"), [(signal.SIGKILL, -9), pytest.param(signal.SIGTERM, 143, marks=pytest.mark.slow)]
)
def test_a_kill_leaves_no_process_and_the_same_command_goes_on(study, capsys, sign, code):
    hang = study.root(1) / "tiny/hang"
    hang.parent.mkdir(parents=True)
    hang.touch()
    play(study, "01_make", 0)
    arguments = ["claims", "--profile", "tiny", "--seeds", "0-1", "--stages", "01,02"]
    process = subprocess.Popen(
        [sys.executable, "-m", "nbkit", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    pid, deadline = folder(study, 1) / "pid", time.monotonic() + 60
    while not (pid.exists() and pid.read_text()):
        assert process.poll() is None and time.monotonic() < deadline, process.communicate()[0]
        time.sleep(0.1)
    family = [child.pid for child in psutil.Process(process.pid).children(recursive=True)]
    assert int(pid.read_text()) in family
    os.kill(process.pid, sign)
    process.communicate(timeout=30)
    assert process.returncode == code and wait_gone(family)

    hang.unlink()
    assert run() == 0
    out = capsys.readouterr().out
    assert "data  01_make  up to date" in out and "seed 0  02_use  up to date" in out
    assert (calls(study, 0), calls(study, 1)) == (1, 2)
    assert files.read_json(study.home / "claims.json")["claims"][0]["per_seed"] == {"0": 0.02, "1": 0.04}


def test_no_run_judges_what_is_there(study, capsys):
    assert run("--no-run") == 2
    assert "no claim is measured by all seeds" in capsys.readouterr().err
    play_all(study)
    assert run("--no-run") == 0
    assert "  inconclusive       gain" in capsys.readouterr().out
    assert main(["claims", "--profile", "tiny", "--seeds", "0-2", "--stages", "02", "--no-run"]) == 2
    assert "01_make: seed 2 is missing" in capsys.readouterr().err


def test_data_made_anew_makes_the_seeds_stale_and_is_told(study, capsys):
    play_all(study)
    play(study, "01_make", 0, steps=7)
    assert run("--no-run") == 0
    out = capsys.readouterr().out
    assert "note: 02_use: seed 0 is stale (01_make was made anew" in out and "; used" in out


def test_a_stage_that_was_not_chosen_counts_only_when_up_to_date(study):
    play_all(study)
    narrow = seeds.Study("tiny", (0, 1), ("01_make",))
    metrics, _, remarks = collect(narrow)
    assert list(metrics[1]) == ["01_make", "02_use"] and remarks == []
    play(study, "02_use", 1, factor=5)
    metrics, _, remarks = collect(narrow)
    assert list(metrics[1]) == ["01_make"]
    assert remarks == ["02_use: seed 1 is stale (parameters changed: factor); left out"]


@pytest.mark.parametrize(
    ("values", "message"),
    [({"factor": 5}, "factor is 2 in seed 0, 5 in seed 1"), ({"seed": 9}, "seed-1 holds a run with seed 9")],
)
def test_seeds_that_differ_in_more_than_their_seed_are_refused(study, values, message):
    play_all(study)
    play(study, "02_use", 1, **values)
    with pytest.raises(ValueError, match=message):
        collect(study)


def test_damage_in_one_seed_is_refused(study):
    play_all(study)
    (folder(study, 1) / "metrics.json").write_text("{}")
    with pytest.raises(ValueError, match="02_use: seed 1 is corrupt .*metrics.json was changed"):
        seed_report.build(study)


def test_a_folder_where_the_link_to_the_data_belongs_is_not_overwritten(study, capsys):
    place = study.root(1) / "tiny/01_make"
    place.mkdir(parents=True)
    (place / "precious").touch()
    assert run() == 2
    assert "is not the link to the shared 01_make; move it away" in capsys.readouterr().err
    assert (place / "precious").exists() and calls(study, 0) == 0
