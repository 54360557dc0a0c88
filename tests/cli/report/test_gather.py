"""What the page of one run shows, as a dict: whole, partial, failed and stale runs."""

from __future__ import annotations

import pytest
from tiny_runs import fail, play, ran

from nbkit.cli.report import gather, notebook, stage_facts
from nbkit.run import files

__all__ = ["ran"]


def cell(kind: str, source: str | list[str], duration: float | None = None) -> dict:
    metadata = {} if duration is None else {"papermill": {"duration": duration}}
    return {"cell_type": kind, "source": source, "metadata": metadata}


def test_a_whole_run(ran):
    found = gather.gathered("tiny")
    assert found["facts"]["Stages"] == "3 of 3 finished"
    assert found["facts"]["Seed"] == "0"
    assert found["sums"] == {"of": 3, "trouble": "", "command": ""}
    assert [stage["status"] for stage in found["stages"]] == ["complete"] * 3
    assert found["stages"][0]["title"] == "01_make"
    assert found["ladder"]["data"].startswith("data:image/png;base64,")
    assert found["ladder_text"] == "Accuracy over all questions: base 25%"
    assert [figure["title"] for figure in found["stages"][2]["figures"]] == [
        "Accuracy stage by stage",
        "loss curve",
    ]
    assert [sentence["group"] for sentence in found["ledger"]["sentences"]] == [
        "held",
        "against",
        "unmeasured",
    ]


def test_headline_numbers_are_for_reading(ran):
    numbers = gather.gathered("tiny")["stages"][2]["headline"]
    assert [(n["name"], n["text"], n["interval"]) for n in numbers] == [
        ("gain <x>", "0.123", ""),
        ("base", "13.2%", "[10.2%, 16.2%]"),
        ("rows read", "12,345", ""),
        ("nothing", "–", ""),
    ]


def test_the_time_and_memory_are_those_recorded(ran):
    resources = {"wall_s": 9.0, "peak_bytes": 3 * 2**30, "expected_s": 9.0}
    files.write_json(ran / "outputs/tiny/01_make/resources.json", resources)
    found = gather.gathered("tiny")
    assert found["stages"][0]["memory"] == "3.0 GiB" and found["facts"]["Peak memory"] == "3.0 GiB"
    seconds = [stage["seconds"] for stage in found["stages"]]
    assert sum(row["share"] for row in found["timings"]) == pytest.approx(100 if sum(seconds) else 0)


def test_the_example_parts_thought_and_answer(ran):
    example = gather.gathered("tiny")["example"]
    assert (example["question"], example["wanted"], example["right"]) == ("2 + 2?", "4", 1)
    assert example["answers"][1] == {"label": "SFT", "thought": "2 and 2", "answer": "4", "right": True}
    assert example["answers"][0]["answer"] == "<script>alert('x')</script>5"


@pytest.mark.parametrize("metrics", [{}, {"example": {}}, {"example": {"answers": {}}}, {"example": 3}])
def test_no_example(metrics):
    assert gather.example(metrics, {}) is None


def test_nothing_has_run(project):
    found = gather.gathered("tiny")
    assert found["facts"]["Stages"] == "0 of 3 finished" and found["facts"]["Finished"] == "–"
    assert found["sums"]["trouble"] == "01, 02, 03 missing (no finished run)"
    assert found["sums"]["command"] == "nbkit run --profile tiny"
    assert found["timings"] == [] and found["parameters"]["tables"] == [] and found["ladder"] is None
    assert found["ledger"]["tables"] == [] and found["ledger"]["sentences"] == []


def test_a_failed_stage_says_why_and_hides_what_was_before(ran):
    fail(ran, "02_use")
    found = gather.gathered("tiny")
    stage = found["stages"][1]
    assert stage["status"] == "failed" and stage["error"] == ["first", "RuntimeError: <b>why</b>"]
    assert stage["headline"] == [] and stage["figures"] == [] and stage["time"] == "–"
    # What read it can no longer be vouched for, though it is whole itself.
    assert found["stages"][2]["status"] == "stale"
    assert found["sums"]["trouble"].startswith("02 failed (a cell raised an error); 03 stale")


def test_a_stale_stage_keeps_its_numbers(ran):
    (ran / "params/tiny/02_use.yaml").write_text("profile: tiny\nfactor: 3\n")
    found = gather.gathered("tiny")
    assert [stage["status"] for stage in found["stages"]][:2] == ["complete", "stale"]
    assert found["stages"][1]["reason"] == "parameters changed: factor"
    assert found["stages"][1]["headline"][0]["text"] == "12"
    assert found["facts"]["Stages"] == "3 of 3 finished"


def test_an_unfinished_last_stage_shows_no_ledger(project):
    files.write_json(project / "outputs/tiny/03_last/metrics.json", {"ledger": [{"id": "C1"}]})
    assert gather.gathered("tiny")["ledger"]["tables"] == []


def test_broken_metrics_hide_nothing_else(ran):
    (ran / "outputs/tiny/03_last/metrics.json").write_text("{")
    found = gather.gathered("tiny")
    assert found["stages"][2]["status"] == "corrupt" and found["ledger"]["tables"] == []
    assert len(found["stages"][2]["figures"]) == 2


def test_an_unknown_profile_is_named(project):
    with pytest.raises(ValueError, match="unknown profile 'tinny'.*did you mean 'tiny'"):
        gather.gathered("tinny")


def test_what_differs_between_stages_is_listed():
    manifest = {"device": "cpu", "cpu": "A", "cores": 1, "threads": 1, "precision": None, "seed": 0}
    manifest |= {"git": {"commit": None}, "created": "2026-11-27T12:57:13+00:00"}
    other = manifest | {"git": {"commit": "0123456789", "dirty": True}, "cores": 8, "precision": "bf16"}
    facts = gather.facts([manifest, other], [{"seconds": 30.0, "peak_bytes": None}] * 2)
    assert facts["Machine"] == "cpu (A, 1 core, 1 thread); cpu (A, 8 cores, 1 thread)"
    assert facts["Commit"] == "no git checkout; 0123456 with changes"
    assert (facts["Time"], facts["Precision"], facts["Peak memory"]) == ("01:00", "bf16", "–")
    assert facts["Finished"] == "2026-11-27 12:57 UTC"


def test_the_bars_are_of_the_longest_and_the_shares_of_the_sum():
    stages = [
        {"stage": s, "seconds": t, "time": "", "reused": [], "cells": []} for s, t in [("a", 3.0), ("b", 1.0)]
    ]
    rows = gather.timings([*stages, {"seconds": None}])
    assert [(row["stage"], row["share"], row["width"]) for row in rows] == [
        ("a", 75.0, 100.0),
        ("b", 25.0, pytest.approx(100 / 3)),
    ]


def test_the_longest_cells_with_the_heading_above():
    cells = [
        cell("markdown", "# Title\n\ntext", 0.1),
        cell("code", "import a\n# why\nrun()", 2.0),
        cell("markdown", ["## Method\n", "### Part"]),
        cell("code", ["train(", "x)"], 70.0),
        cell("code", "import b", 5.0),
        cell("code", "not_timed()"),
    ]
    assert notebook.longest_cells(cells, most=2) == [
        {"where": "Part", "does": "train(x)", "seconds": 70.0},
        {"where": "Part", "does": "import b", "seconds": 5.0},
    ]


def test_the_cells_of_a_run_are_in_its_timings(ran):
    (row, *_) = gather.gathered("tiny")["timings"]
    assert [c["does"] for c in row["cells"]][:2] == [
        'with run.artifact("numbers.json") as temp:',
        'calls = run.dir / "calls.txt"',
    ]
    assert row["cells"][0]["time"] == "5.0 s"


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("# 02 · Pre-training\n\n**One idea.**\n\n**Then.** more", ("02 · Pre-training", "One idea.")),
        ("no heading", ("x", "")),
    ],
)
def test_title_and_idea(text, wanted):
    assert notebook.title_and_idea([cell("code", "# 1"), cell("markdown", text)], "x") == wanted


@pytest.mark.parametrize("content", ["{", "[]", '{"cells": 3}', '{"cells": ["a"]}'])
def test_a_broken_notebook_has_no_cells(tmp_path, content):
    (tmp_path / "a.ipynb").write_text(content)
    assert notebook.cells_of(tmp_path / "a.ipynb") == []


def test_a_stage_without_notebook_or_run(project):
    (project / "notebooks/02_use.ipynb").unlink()
    found = stage_facts.facts("tiny", "02_use")
    assert (found["title"], found["status"], found["source"]) == ("02_use", "missing", False)


def test_play_leaves_a_complete_stage(project):
    play(project, "01_make")
    assert stage_facts.facts("tiny", "01_make")["status"] == "complete"
