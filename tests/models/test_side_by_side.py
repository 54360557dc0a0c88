"""Small trainings beside each other: one thread each, finished ones kept, nothing alive after a failure."""

import json
import os
import subprocess
import sys
import time
from types import SimpleNamespace

import psutil
import pytest

from nbkit.models import side_by_side
from nbkit.models.side_by_side import clean_up, finished, together, workshop
from nbkit.pretrain import launch
from nbkit.run import progress

MODULE = """
import json, os, sys, time
from pathlib import Path

def main(argv):
    path = Path(argv[0])
    config = json.loads(path.read_text())
    (path.parent / "pid").write_text(str(os.getpid()))
    if config.get("needs") and not Path(config["branch_from"]).exists():
        raise RuntimeError("started too early")
    if config.get("crash"):
        raise RuntimeError(f"the words of {config['name']}")
    time.sleep(config.get("sleep", 0))
    if "makes" in config:
        Path(config["makes"]).write_text("checkpoint")
    result = {"world_size": 1, "name": config.get("name"), "threads": os.environ["OMP_NUM_THREADS"]}
    (path.parent / "result.json").write_text(json.dumps(result))
"""


@pytest.fixture
def module(tmp_path, monkeypatch):
    (tmp_path / "a_small_training.py").write_text(MODULE)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.syspath_prepend(str(tmp_path))
    yield "a_small_training"
    sys.modules.pop("a_small_training", None)


def folders(tmp_path, *names):
    for name in names:
        (tmp_path / name).mkdir()
    return [tmp_path / name for name in names]


def result(folder) -> dict:
    return json.loads((folder / "result.json").read_text())


def test_what_an_interrupted_process_said_is_gone(module, tmp_path):
    (folder,) = folders(tmp_path, "a")
    (folder / progress.FILE).write_text("step 48/292")
    together(module, {folder: {}})
    assert not (folder / progress.FILE).exists(), "the small training says nothing by itself"


def test_each_has_one_thread_and_finished_ones_are_kept(module, tmp_path, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    jobs = {folder: {"name": folder.name} for folder in folders(tmp_path, "a", "b", "c")}
    together(module, jobs, at_once=2)
    assert [(result(f)["name"], result(f)["threads"]) for f in jobs] == [("a", "1"), ("b", "1"), ("c", "1")]
    before = {folder: (folder / "result.json").stat().st_mtime_ns for folder in jobs}
    together(module, jobs | {tmp_path / "a": {"name": "other"}})
    again = [folder.name for folder in jobs if (folder / "result.json").stat().st_mtime_ns != before[folder]]
    assert again == ["a"] and not finished(tmp_path / "a", {"name": "a"})
    assert launch.run(module, jobs[tmp_path / "b"], tmp_path / "b")["name"] == "b"  # read, not run again


def test_what_branches_from_a_checkpoint_waits_for_it(module, tmp_path):
    first, other, later = folders(tmp_path, "first", "other", "later")
    checkpoint = str(tmp_path / "checkpoint")
    jobs = {
        later: {"branch_from": checkpoint, "needs": True, "name": "later"},
        first: {"makes": checkpoint, "sleep": 0.5, "name": "first"},
        other: {"name": "other"},
    }
    together(module, jobs, at_once=2)
    assert [result(f)["name"] for f in (first, other, later)] == ["first", "other", "later"]


def test_what_other_code_finished_is_forgotten_and_checkpoints_are_kept(tmp_path, monkeypatch):
    run = SimpleNamespace(dir=tmp_path, stage="02_pretrain")
    job = workshop(run) / "a"
    (job / "checkpoint-5").mkdir(parents=True)
    (job / "job.json").write_text("{}")
    (job / "result.json").write_text("{}")
    assert workshop(run) == tmp_path / "training" and finished(job, {})
    monkeypatch.setattr("nbkit.run.provenance.code_of", lambda stage: {"sft.py": "changed"})
    assert not finished(workshop(run) / "a", {}) and (job / "checkpoint-5").is_dir()
    clean_up(run)
    assert not (tmp_path / "training").exists()


def test_one_that_fails_ends_the_others_with_its_words(module, tmp_path):
    good, bad = folders(tmp_path, "good", "bad")
    with pytest.raises(RuntimeError, match="the words of bad"):
        together(module, {good: {"sleep": 60}, bad: {"crash": True, "name": "bad"}}, at_once=2)
    said = good / "pid"
    assert not said.exists() or not psutil.pid_exists(int(said.read_text()))


@pytest.mark.skipif(not os.path.isdir("/proc/self/task"), reason="threads are listed by /proc, of Linux")
def test_code_that_was_edited_since_the_server_started_is_imported_anew(module, tmp_path, monkeypatch):
    before, after = folders(tmp_path, "before", "after")
    together(module, {before: {"name": "old"}})
    (tmp_path / "a_small_training.py").write_text(MODULE.replace('config.get("name")', '"new code"'))
    monkeypatch.setattr(side_by_side, "_sources", lambda: "edited")
    together(module, {after: {"name": "old"}})
    assert [result(folder)["name"] for folder in (before, after)] == ["old", "new code"]


def test_what_the_fork_server_imports_starts_no_thread_that_a_fork_would_break():
    code = (
        "import os, nbkit.dpd.job, nbkit.pretrain.job, nbkit.sft.job; "
        "print([open(f'/proc/self/task/{t}/comm').read().strip() for t in os.listdir('/proc/self/task')])"
    )
    environment = os.environ | {"PYTHONPATH": os.getcwd(), "OMP_NUM_THREADS": "1"}
    out = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    threads = json.loads(out.stdout.splitlines()[-1].replace("'", '"'))
    # jemalloc, pyarrow's allocator, stops and starts its thread around a fork by handlers of its own.
    assert len([name for name in threads if name != "jemalloc_bg_thd"]) == 1, threads


def test_no_process_is_left_where_we_are_killed(module, tmp_path):
    (folder,) = folders(tmp_path, "a")
    code = (
        "from pathlib import Path; from nbkit.models.side_by_side import together; "
        f"together({module!r}, {{Path({str(folder)!r}): {{'sleep': 60}}}})"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([os.getcwd(), str(tmp_path)])}
    parent = subprocess.Popen([sys.executable, "-c", code], env=environment)
    deadline = time.monotonic() + 60
    while not (folder / "pid").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    child = int((folder / "pid").read_text())
    parent.kill()
    parent.wait()
    while psutil.pid_exists(child) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not psutil.pid_exists(child)
