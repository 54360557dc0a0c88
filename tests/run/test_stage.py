"""begin/end/Run: what is accepted, what is refused, and what stands on the disk after each."""

from __future__ import annotations

import errno
import json
import math
import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from nbkit.run import files, provenance
from nbkit.run.provenance import notebook_hash, status_of
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


def publish_use(stage: str = "02_use", upstream: str = "01_make", name: str = "numbers.json") -> Path:
    _, run = start(stage)
    total = sum(json.loads(run.input(upstream, name).read_text())) * 2
    with run.artifact("out.json") as temp:
        temp.write_text(json.dumps([total]))
    run.record(total=total)
    run.publish({"total": total})
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
    import numpy
    import torch

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
    assert status_of("01_make", "tiny") == ("missing", "never finished")


def test_input_is_verified_and_recorded(project):
    publish_make()
    folder = publish_use()
    manifest = files.read_json(folder / "manifest.json")
    upstream = project / "outputs/tiny/01_make"
    assert manifest["inputs"] == {
        "01_make/numbers.json": {
            "sha256": files.sha256(upstream / "numbers.json"),
            "manifest": provenance.manifest_id(files.read_json(upstream / "manifest.json")),
        }
    }
    assert files.read_json(folder / "metrics.json") == {"total": 12}


def test_missing_upstream_names_the_command(project):
    _, run = start("02_use")
    with pytest.raises(ValueError, match="run `nbkit run --profile tiny --only 01` first"):
        run.input("01_make", "numbers.json")
    with pytest.raises(ValueError, match="unknown stage '01_mkae'"):
        run.input("01_mkae", "numbers.json")


def test_unknown_artifact_gets_the_nearest_name(project):
    publish_make()
    _, run = start("02_use")
    with pytest.raises(ValueError, match="did you mean 'numbers.json'"):
        run.input("01", "number.json")


def test_artifact_changed_after_its_manifest_is_refused(project):
    folder = publish_make()
    (folder / "numbers.json").write_text("[0, 1, 2, 4]")
    _, run = start("02_use")
    with pytest.raises(ValueError, match=r"numbers.json is not what 01_make published.*--only 01` again"):
        run.input("01_make", "numbers.json")
    state, reason = status_of("01_make", "tiny")
    assert state == "corrupt" and "numbers.json was changed" in reason
    (folder / "numbers.json").unlink()
    with pytest.raises(ValueError, match="is not what 01_make published"):
        run.input("01_make", "numbers.json")


def test_a_forged_or_truncated_manifest_is_corrupt(project):
    folder = publish_make()
    raw = (folder / "manifest.json").read_text()
    (folder / "manifest.json").write_text(raw.replace('"seed": 0', '"seed": 1'))
    _, run = start("02_use")
    with pytest.raises(ValueError, match="damaged: manifest.json differs"):
        run.input("01_make", "numbers.json")
    (folder / "manifest.json").unlink()
    assert status_of("01_make", "tiny") == ("corrupt", "manifest.json is gone")


def test_stale_upstream_is_refused_all_the_way_down(project):
    publish_make(steps=4)
    publish_use()
    publish_use("03_last", "02_use", "out.json")
    publish_make(steps=4)
    _, run = start("03_last")
    assert run.input("02_use", "out.json").exists(), "an equal rerun of 01 leaves 02 valid"
    publish_make(steps=5)
    with pytest.raises(ValueError, match="02_use, which is stale: 01_make was made anew.*--only 02` again"):
        run.input("02_use", "out.json")
    assert status_of("02_use", "tiny")[0] == "stale"
    run.publish({})
    assert status_of("03_last", "tiny")[1].startswith("its input 02_use is stale: 01_make was made anew")


def test_status_names_what_changed(project):
    publish_make()
    assert status_of("01", "tiny", {"lr": 0.5}) == ("stale", "parameters changed: lr")
    book = project / "notebooks/01_make.ipynb"
    content = json.loads(book.read_text())
    before = notebook_hash("01_make")
    content["cells"][0]["source"] = "# only prose changed"
    content["cells"][1]["outputs"] = [{"output_type": "stream", "name": "stdout", "text": "x"}]
    book.write_text(json.dumps(content))
    assert notebook_hash("01_make") == before and status_of("01", "tiny")[0] == "complete"
    content["cells"][-1]["source"] += "\n\n# a comment"
    book.write_text(json.dumps(content))
    assert status_of("01", "tiny")[0] == "complete"
    content["cells"][-1]["source"] += "\nprint(1)"
    book.write_text(json.dumps(content))
    assert status_of("01", "tiny") == ("stale", "the notebook changed")


def test_once_reuses_only_equal_and_whole_work(project, capsys):
    built = []

    def build(folder: Path) -> None:
        built.append(1)
        (folder / "weights.bin").write_bytes(b"abc")

    _, run = start()
    place = run.once("model", build, width=8)
    assert run.once("model", build, width=8) == place and len(built) == 1
    assert "model: reused" in capsys.readouterr().out
    run.once("model", build, width=9)
    assert len(built) == 2, "another key"
    _, run = start(lr=0.5)
    run.once("model", build, width=9)
    assert len(built) == 3, "another parameter"
    (place / "weights.bin").write_bytes(b"abd")
    run.once("model", build, width=9)
    assert len(built) == 4 and (place / "weights.bin").read_bytes() == b"abc", "a flipped byte"
    run.publish({})
    assert "model" in files.read_json(run.dir / "manifest.json")["outputs"]


def test_once_killed_inside_build_leaves_nothing_that_is_accepted(project):
    code = (
        "import os, signal, nbkit\nns = {}\nns['run'] = nbkit.begin(ns, '01')\nns['profile'] = 'tiny'\n"
        "nbkit.end(ns)\n"
        "def build(folder):\n"
        "    (folder / 'weights.bin').write_bytes(b'ha')\n    os.kill(os.getpid(), signal.SIGKILL)\n"
        "ns['run'].once('model', build)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True).returncode == -9
    folder = project / "outputs/tiny/01_make"
    assert not (folder / "model").exists() and list(folder.glob(".tmp-*-model"))
    _, run = start()
    assert not list(folder.glob(".tmp-*-model")), "the next run clears it"
    whole = run.once("model", lambda temp: (temp / "weights.bin").write_bytes(b"all"))
    assert (whole / "weights.bin").read_bytes() == b"all"


def test_a_failing_block_keeps_the_previous_artifact(project):
    _, run = start()
    for name in ("numbers.json", "metrics_like/deep.txt"):
        with run.artifact(name) as temp:
            temp.write_text("whole")
        with pytest.raises(RuntimeError), run.artifact(name) as temp:
            temp.write_text("ha")
            raise RuntimeError
        assert (run.dir / name).read_text() == "whole"
    with pytest.raises(ValueError, match="nothing was written for empty.txt"), run.artifact("empty.txt"):
        pass
    with run.artifact_dir("model") as temp:
        (temp / "a").write_text("1")
    with run.artifact_dir("model") as temp:
        (temp / "b").write_text("2")
    assert [p.name for p in (run.dir / "model").iterdir()] == ["b"] and not list(run.dir.rglob(".tmp-*"))


@pytest.mark.parametrize("name", ["../x", "/tmp/x", "", "manifest.json", "_SUCCESS"])
def test_artifact_names_stay_inside_the_run_folder(project, name):
    _, run = start()
    with pytest.raises(ValueError, match="must be a plain path"), run.artifact(name) as temp:
        temp.write_text("x")


def test_record_takes_numbers_and_refuses_nan_and_paths(project):
    import numpy
    import torch

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


def test_log_and_figure_are_artifacts(project):
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

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


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS])
def test_full_or_read_only_disk_keeps_the_old_file_and_says_where(project, monkeypatch, code):
    _, run = start()
    with run.artifact("x.txt") as temp:
        temp.write_text("old")

    def refuse(*_):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(files.os, "fsync", refuse)
    with (
        pytest.raises(OSError, match=r"cannot write in .*01_make.*free space or fix") as error,
        run.artifact("x.txt") as t,
    ):
        t.write_text("new")
    assert error.value.errno == code and (run.dir / "x.txt").read_text() == "old"
    assert not list(run.dir.glob(".tmp-*"))
    with pytest.raises(OSError, match="cannot write in"):
        start()


@pytest.mark.skipif(
    os.geteuid() != 0 or sys.platform != "linux", reason="mounting a tmpfs needs root on Linux"
)
def test_a_truly_full_disk(project, monkeypatch):
    small = project / "small"
    small.mkdir()
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(small)], capture_output=True
    ).returncode:
        pytest.skip("this container may not mount")
    try:
        monkeypatch.setenv("NBKIT_OUTPUTS", str(small))
        _, run = start()
        with run.artifact("x.bin") as temp:
            temp.write_bytes(b"1" * 1000)
        with (
            pytest.raises(OSError, match=r"cannot write in .*small/tiny/01_make"),
            run.artifact("x.bin") as temp,
        ):
            temp.write_bytes(b"2" * 200_000)
        assert (run.dir / "x.bin").read_bytes() == b"1" * 1000
    finally:
        subprocess.run(["umount", "-l", str(small)], check=True)


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


def test_no_project_root_says_how_to_mend_it(tmp_path, monkeypatch):
    monkeypatch.delenv("NBKIT_ROOT", raising=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(files, "__file__", str(tmp_path / "nbkit" / "files.py"))
    with pytest.raises(ValueError, match="set NBKIT_ROOT"):
        files.project_root()
    monkeypatch.setenv("NBKIT_ROOT", str(tmp_path / "nowhere"))
    with pytest.raises(ValueError, match="is not a folder"):
        files.project_root()
