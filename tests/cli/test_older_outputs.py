"""Outputs that an older, or a newer, nbkit made are recognised and refused with the command that remakes
them; no command reads a value out of them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from nbkit.cli.commands import main
from nbkit.cli.report import stage_facts
from nbkit.cli.study import seed_stats, seeds
from nbkit.run import files, params, provenance
from nbkit.run.provenance import status_of
from nbkit.run.stage import begin, end

OLDER = "made by an older nbkit (manifest format 1, this one has 2)"


def play(project: Path, stage: str) -> None:
    """Execute a notebook's cells in this process: as a kernel would, without the seconds a kernel takes."""
    namespace: dict = {}
    for cell in json.loads((project / f"notebooks/{stage}.ipynb").read_text())["cells"]:
        if cell["cell_type"] == "code":
            exec(cell["source"], namespace)


def age(project: Path, stage: str, **changed: object) -> Path:
    """Turn a published run into what the nbkit before `format` left: no such key, one hash over all code, and
    other names. `changed` are keys on top. Its `_SUCCESS` vouches for it, as it did then."""
    folder = project / "outputs/tiny" / stage
    manifest = files.read_json(folder / "manifest.json")
    for key in ("format", "code", "wall_s", "peak_rss_mb"):
        del manifest[key]
    files.write_json(folder / "manifest.json", manifest | {"sources": "c0ffee"} | changed)
    files.atomic_write(folder / "_SUCCESS", files.sha256(folder / "manifest.json") + "\n")
    return folder


@pytest.fixture
def old(project) -> Path:
    """A project whose stage 01 was made by the nbkit before, and 02 after it by this one."""
    play(project, "01_make")
    play(project, "02_use")
    age(project, "01_make")
    return project


def test_status_names_it_and_the_command(old, capsys):
    assert main(["status", "--profile", "tiny"]) == 0
    out, err = capsys.readouterr()
    first, second, _ = out.splitlines()
    assert first.startswith("01_make              stale") and first.endswith(OLDER)
    assert second.startswith("02_use               stale")
    assert second.endswith(f"its input 01_make is stale ({OLDER})")
    assert err == (
        "nbkit: another nbkit made 01_make, which cannot be read; "
        "`nbkit run --profile tiny --only 01` makes it anew\n"
    )


def test_a_newer_one_is_not_read_either(old, capsys):
    age_again = files.read_json(old / "outputs/tiny/01_make/manifest.json")
    files.write_json(old / "outputs/tiny/01_make/manifest.json", age_again | {"format": 3})
    success = old / "outputs/tiny/01_make/_SUCCESS"
    files.atomic_write(success, files.sha256(success.with_name("manifest.json")) + "\n")
    assert status_of("01", "tiny") == ("stale", "made by a newer nbkit (manifest format 3, this one has 2)")
    assert provenance.load_manifest("tiny", "01_make")[2] == {}


def test_verify_does_not_count_it_as_checked(old, capsys):
    assert main(["verify", "--profile", "tiny"]) == 0
    out, err = capsys.readouterr()
    assert f"01_make              {OLDER}" in out
    assert "2 artifacts checked, 0 problems" in out, "those of 02"
    assert "--only 01" in err


def test_a_notebook_is_refused_its_artifacts_metrics_and_parameters(old):
    namespace: dict = {}
    run = begin(namespace, "02_use")
    namespace["profile"] = "tiny"
    end(namespace)
    why = "02_use needs 01_make, which is stale: made by an older nbkit .*"
    wanted = f"{why}; run `nbkit run --profile tiny --only 01` again"
    for ask in (
        lambda: run.input("01_make", "numbers.json"),
        lambda: run.metrics_of("01_make"),
        lambda: run.params_of("01_make"),
    ):
        with pytest.raises(ValueError, match=wanted):
            ask()


def test_a_run_of_what_reads_it_starts_nothing(old, capsys):
    before = files.sha256(old / "outputs/tiny/01_make")
    assert main(["run", "--profile", "tiny", "--only", "02"]) == 2
    assert capsys.readouterr().err == (
        f"nbkit: 02_use: first make 01_make (stale: {OLDER}) with `nbkit run --profile tiny --only 01`\n"
    )
    assert files.sha256(old / "outputs/tiny/01_make") == before


def test_the_command_that_was_named_remakes_it_and_takes_no_old_step(old, capsys):
    folder = old / "outputs/tiny/01_make"
    assert len((folder / "calls.txt").read_text()) == 1
    step = files.read_json(folder / "pool/_step.json")
    files.write_json(folder / "pool/_step.json", step | {"made_from": "as the older one hashed it"})
    assert main(["run", "--profile", "tiny", "--only", "01"]) == 0
    assert f"01_make  stale: {OLDER}" in capsys.readouterr().out
    assert status_of("01", "tiny") == ("complete", "")
    assert len((folder / "calls.txt").read_text()) == 2


def test_the_report_shows_it_as_stale_without_its_numbers(old, capsys):
    figure = old / "outputs/tiny/01_make/figures/loss.png"
    figure.parent.mkdir()
    figure.write_bytes(b"an old figure")
    assert main(["report", "--profile", "tiny"]) == 0
    assert "--only 01" in capsys.readouterr().err
    page = (old / "outputs/tiny/report/index.html").read_text()
    assert OLDER in page
    stage = stage_facts.facts("tiny", "01_make", stage_facts.status("tiny", "01_make"))
    assert (stage["status"], stage["time"], stage["memory"]) == ("stale", "–", "–")
    assert stage["headline"] == [] and stage["figures"] == []


def test_claims_over_seeds_refuse_it(old, monkeypatch):
    study = seeds.Study("tiny", (0, 1), ("01_make", "02_use"))
    for seed in study.seeds:
        seeds.share_data(study, seed)
    with pytest.raises(
        ValueError, match="01_make: seed 0 is stale .made by an older nbkit.*without --no-run"
    ):
        seed_stats.collect(study)


def test_claims_without_running_refuse_it_on_the_command_line(old, capsys):
    arguments = ["--seeds", "0-1", "--stages", "01", "--no-run"]
    for seed in (0, 1):
        seeds.share_data(seeds.Study("tiny", (0, 1), ("01_make",)), seed)
    assert main(["claims", "--profile", "tiny", *arguments]) == 2
    assert "run the same command, without --no-run, to make it" in capsys.readouterr().err


def test_an_old_run_that_never_finished_is_missing(old):
    (old / "outputs/tiny/01_make/_SUCCESS").unlink()
    assert status_of("01", "tiny") == ("missing", "not finished: it runs now, or was interrupted")
    assert params.resolve_stage("01") == "01_make"
