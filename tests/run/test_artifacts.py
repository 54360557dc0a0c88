"""Artifacts: input is verified, stale ones are refused, work is kept once and whole."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from test_stage import publish_make, start

from nbkit.run import files, provenance
from nbkit.run.provenance import notebook_hash, status_of


def publish_use(stage: str = "02_use", upstream: str = "01_make", name: str = "numbers.json") -> Path:
    _, run = start(stage)
    total = sum(json.loads(run.input(upstream, name).read_text())) * 2
    with run.artifact("out.json") as temp:
        temp.write_text(json.dumps([total]))
    run.record(total=total)
    run.publish({"total": total})
    return run.dir


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
