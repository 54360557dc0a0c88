"""begin/end/Run: what is accepted, what is refused, and what stands on the disk after each."""

from __future__ import annotations

import json
import math
import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

import matplotlib
import numpy
import pytest
import torch
from matplotlib import pyplot

from nbkit.evals.score import Estimate
from nbkit.run import files, provenance
from nbkit.run.provenance import status_of
from nbkit.run.stage import begin, end


def start(stage: str = "01_make", profile: str = "tiny", **values):
    """Play cells A, B and C of a notebook; returns (namespace, run)."""
    namespace = {"json": json}
    namespace["run"] = begin(namespace, stage)
    namespace.update(profile=profile, **values)
    end(namespace)
    return namespace, namespace["run"]


def publish_make(steps: int = 4, profile: str = "tiny") -> Path:
    """Publish stage 01 as its notebook does; returns its folder."""
    _, run = start("01_make", profile, steps=steps)
    with run.artifact("numbers.json") as temp:
        temp.write_text(json.dumps(list(range(steps))))
    run.record(total=sum(range(steps)))
    run.publish({"total": sum(range(steps))})
    return run.dir


def test_globals_become_the_coerced_values_and_missing_ones_defaults(project, capsys):
    namespace, run = start(lr="5e-2", steps=7)
    assert (namespace["lr"], namespace["steps"], namespace["shuffle"]) == (0.05, 7, True)
    assert run.cfg.lr == 0.05 and run.dir == project / "outputs" / "tiny" / "01_make"
    printed = capsys.readouterr().out
    assert printed.count("\n") == 1 and "01_make | profile tiny | seed 0" in printed


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"stpes": 5}, "unknown parameter 'stpes' (did you mean 'steps'?)"),
        ({"steps": "4"}, "steps='4' is a str, wanted int"),
        ({"steps": 0}, "steps=0 is out of range [1, 100]"),
        ({"shuffle": "false"}, "write false without quotes"),
        ({"profile": "../x"}, "profile='../x' is not a plain folder name"),
    ],
)
def test_bad_parameters_are_refused_and_leave_no_folder(project, values, message):
    with pytest.raises(ValueError) as error:
        start(**{"profile": "tiny", **values})
    assert message in str(error.value)
    assert not (project / "outputs").exists()


def test_names_that_are_not_parameters_are_left_alone(project):
    namespace = {"already": 3, "In": ["x"], "Out": {}, "_": 5}
    namespace["run"] = begin(namespace, "01_make")
    namespace.update(profile="tiny", _private=1, os=os, In=["y"], function=len)
    assert end(namespace).steps == 4 and namespace["already"] == 3


def test_rerunning_cells_b_and_c_picks_up_changes_among_work_variables(project):
    namespace, run = start(steps=3)
    namespace["work_variable"] = 17
    run.record(old=1)
    namespace["steps"] = 9
    assert end(namespace).steps == 9
    run.publish({})
    assert files.read_json(run.dir / "metrics.json") == {}


def test_rerunning_all_cells_forgets_a_parameter_that_was_deleted(project):
    namespace, _ = start(steps=9)
    namespace["work_variable"] = 17
    namespace["run"] = begin(namespace, "01_make")
    namespace["profile"] = "tiny"
    assert end(namespace).steps == 4
    namespace["run"] = begin(namespace, "01_make")
    namespace.update(profile="tiny", stpes=2)
    with pytest.raises(ValueError, match="did you mean 'steps'"):
        end(namespace)


def test_end_without_begin_and_dir_before_end_say_what_to_run(project):
    with pytest.raises(ValueError, match="first run the cell with nbkit.begin"):
        end({})
    with pytest.raises(ValueError, match="nbkit.end"):
        _ = begin({}, "01_make").dir


def test_seeding_repeats(project):
    def draw() -> tuple:
        start(seed=3)
        return random.random(), float(numpy.random.rand()), float(torch.rand(1))

    first = draw()
    assert draw() == first
    start(seed=4)
    assert random.random() != first[0]


def test_manifest_vouches_for_outputs_and_success_for_the_manifest(project):
    folder = publish_make()
    manifest = files.read_json(folder / "manifest.json")
    assert (folder / "_SUCCESS").read_text().strip() == files.sha256(folder / "manifest.json")
    assert set(manifest["outputs"]) == {"metrics.json", "numbers.json"}
    assert manifest["outputs"]["numbers.json"] == {
        "sha256": files.sha256(folder / "numbers.json"),
        "bytes": len("[0, 1, 2, 3]"),
    }
    assert manifest["params"]["steps"] == 4 and manifest["headline"] == {"total": 6}
    assert manifest["packages"]["torch"] and manifest["peak_rss_mb"] > 10 and manifest["wall_s"] >= 0
    assert status_of("01_make", "tiny") == ("complete", "")


def test_two_equal_runs_give_identical_metrics_and_identity(project):
    folder = publish_make()
    first = (folder / "metrics.json").read_bytes()
    identity = provenance.manifest_id(files.read_json(folder / "manifest.json"))
    publish_make()
    assert (folder / "metrics.json").read_bytes() == first
    assert provenance.manifest_id(files.read_json(folder / "manifest.json")) == identity


def test_a_new_run_withdraws_the_old_success_and_clears_leftovers(project):
    folder = publish_make()
    (folder / ".tmp-999999999-ab-model").mkdir()
    (folder / ".tmp-999999999-ab-model" / "half").write_text("x")
    start()
    assert not (folder / "_SUCCESS").exists() and not list(folder.glob(".tmp-*"))
    assert status_of("01_make", "tiny") == ("missing", "not finished: it runs now, or was interrupted")


@pytest.mark.parametrize("name", ["../x", "/tmp/x", "", "manifest.json", "_SUCCESS"])
def test_artifact_names_stay_inside_the_run_folder(project, name):
    _, run = start()
    with pytest.raises(ValueError, match="must be a plain path"), run.artifact(name) as temp:
        temp.write_text("x")


def test_record_takes_numbers_and_refuses_nan_and_paths(project):
    _, run = start()
    run.record(
        a=numpy.float32(0.5), b={"c": numpy.int64(3), "d": [torch.tensor(2.0), True]}, e=numpy.arange(2)
    )
    with pytest.raises(ValueError, match=r"loss\.x\[1\] is nan"):
        run.record(loss={"x": [1.0, math.nan]})
    with pytest.raises(ValueError, match="where is a PosixPath"):
        run.record(where=Path("/x"))
    run.timing(train=numpy.float64(1.5))
    run.publish({"a": 0.5})
    assert files.read_json(run.dir / "metrics.json") == {
        "a": 0.5,
        "b": {"c": 3, "d": [2.0, True]},
        "e": [0, 1],
    }
    assert files.read_json(run.dir / "manifest.json")["timing_s"] == {"train": 1.5}


def test_an_estimate_is_recorded_as_its_numbers_wherever_it_stands():
    found = {"accuracy": Estimate(0.5, 0.4, numpy.float64(0.6), 10), "parts": [Estimate(1.0, 1.0, 1.0, 2)]}
    assert files.plain(found) == {
        "accuracy": {"mean": 0.5, "low": 0.4, "high": 0.6, "n": 10},
        "parts": [{"mean": 1.0, "low": 1.0, "high": 1.0, "n": 2}],
    }
    with pytest.raises(ValueError, match=r"gain\.high is inf"):
        files.plain(Estimate(0.5, 0.4, math.inf, 1), "gain")


def test_log_and_figure_are_artifacts(project):
    matplotlib.use("Agg")
    _, run = start()
    run.log("loss", [{"step": 1, "loss": 2.5}, {"step": 2, "loss": 2.0}])
    figure, axis = pyplot.subplots(figsize=(2, 1))
    axis.plot([1, 2])
    path = run.figure(figure, "loss")
    assert path.read_bytes()[:4] == b"\x89PNG" and not pyplot.fignum_exists(figure.number)
    run.publish({})
    outputs = files.read_json(run.dir / "manifest.json")["outputs"]
    assert {"logs/loss.jsonl", "figures/loss.png"} <= set(outputs)
    assert [json.loads(line)["step"] for line in (run.dir / "logs/loss.jsonl").open()] == [1, 2]


def test_publish_refuses_an_artifact_that_is_gone(project):
    _, run = start()
    with run.artifact("x.txt") as temp:
        temp.write_text("1")
    (run.dir / "x.txt").unlink()
    with pytest.raises(ValueError, match="x.txt was made in this run but is gone"):
        run.publish({})
    assert not (run.dir / "_SUCCESS").exists()


def test_output_folder_that_cannot_be_made(project, monkeypatch):
    (project / "outputs").write_text("a file in the way")
    with pytest.raises(OSError, match=r"cannot write in .*outputs/tiny/01_make.*NBKIT_OUTPUTS"):
        start()
    monkeypatch.setenv("NBKIT_OUTPUTS", str(project / "elsewhere"))
    assert start()[1].dir == project / "elsewhere/tiny/01_make"


def test_import_is_cheap():
    heavy = "{'torch', 'numpy', 'papermill', 'matplotlib', 'transformers', 'psutil', 'pydantic'}"
    code = f"import sys, nbkit; print(sorted({heavy} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"


def test_directory_hash_sees_names_content_and_moves(tmp_path):
    (tmp_path / "d" / "sub").mkdir(parents=True)
    (tmp_path / "d" / "a").write_text("1")
    (tmp_path / "d" / "sub" / "b").write_text("2")
    first = files.sha256(tmp_path / "d")
    shutil.copytree(tmp_path / "d", tmp_path / "copy")
    assert files.sha256(tmp_path / "copy") == first
    os.rename(tmp_path / "copy" / "a", tmp_path / "copy" / "sub" / "a")
    assert files.sha256(tmp_path / "copy") != first
    assert files.size_of(tmp_path / "d") == 2


def test_json_refuses_nan_and_broken_text_names_the_file(tmp_path):
    with pytest.raises(ValueError, match="a.json cannot be written"):
        files.write_json(tmp_path / "a.json", {"x": math.inf})
    assert not (tmp_path / "a.json").exists()
    (tmp_path / "b.json").write_text('{"x": 1')
    with pytest.raises(ValueError, match="b.json is not valid JSON"):
        files.read_json(tmp_path / "b.json")
