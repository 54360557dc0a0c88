"""What is checked before anything runs: upstream stages; parameters, whose errors name the notebook."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
from test_cli import play, run, write_params

from nbkit.cli import planning
from nbkit.run import files, params, provenance
from nbkit.run.schemas import SCHEMAS

ROOT = Path(__file__).resolve().parents[2]


def refused(capsys, *arguments: str) -> str:
    """The one line of a run that is refused before any kernel starts."""
    capsys.readouterr()
    assert run(*arguments) == 2
    out, err = capsys.readouterr()
    (line,) = err.splitlines()
    assert not out and line.startswith("nbkit: ") and "Traceback" not in line
    return line


def made(project: Path, *stages: str) -> None:
    for stage in stages:
        play(project, stage)


def folder(project: Path, stage: str) -> Path:
    return project / "outputs/tiny" / stage


def test_every_missing_upstream_is_named_at_once_with_one_command(project, capsys):
    line = refused(capsys, "--only", "03")
    assert line == (
        "nbkit: 03_last: first make 01_make (missing: not run yet), 02_use (missing: not run yet) with "
        "`nbkit run --profile tiny --only 01,02`"
    )
    assert not list((project / "outputs").rglob("execute.log")), "no kernel was started"
    assert refused(capsys, "--from", "02").startswith("nbkit: 02_use: first make 01_make (missing")


def test_only_what_is_missing_is_named(project, capsys):
    made(project, "01_make")
    line = refused(capsys, "--only", "03")
    assert "02_use (missing: not run yet)" in line and "01_make" not in line and line.endswith("--only 02`")


@pytest.mark.parametrize(
    ("spoil", "told", "numbers"),
    [
        ("changed", ["02_use (stale: 01_make was made anew with another result since)"], "02"),
        (
            "removed",
            ["01_make (missing: not run yet)", "02_use (stale: its input 01_make is missing"],
            "01,02",
        ),
        ("half", ["01_make (missing: not finished: it runs now, or", "02_use (stale: "], "01,02"),
        ("forged", ["01_make (corrupt: manifest.json differs", "02_use (stale: "], "01,02"),
        ("no manifest", ["02_use (corrupt: manifest.json is gone)"], "02"),
    ],
)
def test_what_is_stale_or_damaged_is_named_too(project, capsys, spoil, told, numbers):
    made(project, "01_make", "02_use")
    if spoil == "changed":
        book = project / "notebooks/01_make.ipynb"
        book.write_text(book.read_text().replace("steps: int = 4", "steps: int = 5"))
        write_params(project, "steps: 5")
        made(project, "01_make")
    elif spoil == "removed":
        shutil.rmtree(folder(project, "01_make"))
    elif spoil == "half":
        (folder(project, "01_make") / "_SUCCESS").unlink()
    elif spoil == "forged":
        (folder(project, "01_make") / "_SUCCESS").write_text("0" * 64)
    else:
        (folder(project, "02_use") / "manifest.json").unlink()
    line = refused(capsys, "--only", "03")
    assert all(words in line for words in told) and line.endswith(
        f"`nbkit run --profile tiny --only {numbers}`"
    )


def test_nothing_is_in_the_way_of_a_whole_run_or_a_whole_upstream(project):
    everything = {stage: {} for stage in params.schemas()}
    assert planning.missing_upstream("tiny", everything) == ""
    made(project, "01_make", "02_use")
    assert planning.missing_upstream("tiny", {"03_last": {}}) == ""
    assert planning.missing_upstream("other", {"03_last": {}}).endswith("--profile other --only 01,02`")


def test_code_that_changed_since_does_not_stop_what_rests_on_it(project, monkeypatch):
    """As in the notebook: what was published is taken as published."""
    made(project, "01_make")
    monkeypatch.setattr(provenance, "code_of", lambda stage: {"another.py": "0"})
    assert provenance.status_of("01_make", "tiny")[0] == "stale"
    assert planning.missing_upstream("tiny", {"02_use": {}}) == ""


@pytest.mark.parametrize(
    ("first", "only", "stages"),
    [
        (None, None, ["01_make", "02_use", "03_last"]),
        ("02", None, ["02_use", "03_last"]),
        (None, "use", ["02_use"]),
        (None, "03,01", ["01_make", "03_last"]),
        (None, "02, 02_use", ["02_use"]),
    ],
)
def test_the_chosen_stages_come_in_pipeline_order(project, first, only, stages):
    assert planning.chosen(first, only) == stages


def test_an_unknown_stage_in_a_list_is_refused(project, capsys):
    assert "unknown stage '09'" in refused(capsys, "--only", "01,09")
    assert "unknown stage ''" in refused(capsys, "--only", "01,")


# --- what the notebooks read ----------------------------------------------------------------------------


@pytest.mark.parametrize("stage", SCHEMAS)
def test_a_schema_names_the_stages_that_its_notebook_reads(stage):
    cells = files.read_json(ROOT / "notebooks" / f"{stage}.ipynb")["cells"]
    code = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
    named = {name for name in re.findall(r'"(\d\d_\w+)"', code) if name in SCHEMAS} - {stage}
    most = {"teacher_model": "trained"} if "teacher_model" in SCHEMAS[stage].model_fields else {}
    assert set(SCHEMAS[stage](**most).upstream()) == named


@pytest.mark.parametrize(
    ("stage", "values", "upstream"),
    [
        ("03_sft_cold_start", {"base_model": "hub/id"}, []),
        ("04_sft_overall", {"teacher_model": "folder"}, ["03_sft_cold_start"]),
        ("04_sft_overall", {"teacher_model": "trained"}, ["02_pretrain", "03_sft_cold_start"]),
        ("05_dpd", {"teacher_model": "folder"}, ["04_sft_overall"]),
        ("05_dpd", {"teacher_model": "trained", "student_model": "b"}, ["04_sft_overall"]),
        ("05_dpd", {"teacher_model": "a", "student_model": "b"}, []),
        ("06_rl", {"start": "sft"}, ["03_sft_cold_start", "04_sft_overall"]),
        ("06_rl", {"start": "sft_continued"}, ["03_sft_cold_start", "04_sft_overall", "05_dpd"]),
        ("07_eval", {"stages": []}, []),
        ("07_eval", {"stages": ["03"]}, ["01_data_mix", "03_sft_cold_start"]),
    ],
)
def test_parameters_decide_what_is_read(stage, values, upstream):
    assert list(SCHEMAS[stage](**values).upstream()) == upstream


# --- whose parameter is wrong ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("only", "pair", "told"),
    [
        ("01", "steps=0", "01_make: steps=0 is out of range"),
        ("01", "lr=fast", "01_make: lr='fast' is a str"),
        ("01", "fail=never", "01_make: fail='never' is not one of"),
        ("02", "factor=0.5", "02_use: factor=0.5 is a float"),
        ("03", "factor=0", "03_last: factor=0 is out of range"),
    ],
)
def test_errors_name_the_notebook(project, capsys, only, pair, told):
    line = refused(capsys, "--only", only, "-p", pair)
    assert told in line and not re.search(r"\b(Make|Use|Last):", line)


def test_profile_files_and_notebooks_name_the_stage_too(project, capsys):
    write_params(project, "stpes: 3")
    assert refused(capsys, "--only", "01").startswith("nbkit: 01_make: unknown parameter 'stpes'")
    with pytest.raises(ValueError, match="^01_make: unknown parameter 'stpes'"):
        provenance.status_of("01_make", "tiny")
    book = project / "notebooks/01_make.ipynb"
    book.write_text(book.read_text().replace("steps: int = 4", "steps: int = 400"))
    with pytest.raises(ValueError, match="^01_make: steps=400 is out of range"):
        play(project)


def test_the_rules_across_fields_name_it_as_well():
    with pytest.raises(ValueError, match="^06_rl: pass_low: got 0.9"):
        params.coerce(SCHEMAS["06_rl"], {"pass_low": 0.9, "pass_high": 0.1}, "06_rl")
    with pytest.raises(ValueError, match="^05_dpd: profile='a/b'"):
        params.coerce(SCHEMAS["05_dpd"], {"profile": "a/b"}, "05_dpd")


# --- one source of times --------------------------------------------------------------------------------


@pytest.mark.parametrize("profile", ["small", "smoke"])
def test_no_parameter_file_says_a_time_that_timings_json_says(profile):
    times = files.read_json(ROOT / "outputs/reference/timings.json")[profile]
    assert list(times) == list(SCHEMAS)
    for path in (ROOT / "params" / profile).glob("*.yaml"):
        title = path.read_text().splitlines()[0]
        assert not re.search(r"\d+ (minutes|min|hours|h|s)\b", title) and "timings.json" in title
