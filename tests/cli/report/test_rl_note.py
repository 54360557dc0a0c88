"""The report says which RL stages left the model as it was, and shows them as no step."""

from __future__ import annotations

import pytest
from page_checks import Page
from tiny_runs import STAGES, ran

from nbkit.cli.report import gather, pages, stage_facts, two_runs

__all__ = ["ran"]
OF_RL = {
    "skipped": ["stem"],
    "stages": {"stem": {}, "code": {"kept_step": 0}, "preference": {"kept_step": 9}},
}
NOTE = "Not every RL stage changed the model: STEM was skipped, since no question was inside the band"


@pytest.fixture
def with_rl(ran, monkeypatch):
    """The tiny run, as if its last stage had read these metrics of 06."""
    monkeypatch.setattr(stage_facts, "metrics_of_rl", lambda run, last: OF_RL)
    return ran


def test_it_stands_beside_the_ladder(with_rl):
    text = pages.index("tiny", dict.fromkeys(STAGES, ""))
    assert Page(text).wrong == []
    shown = Page(text).text
    assert shown.index("What held.") < shown.index(NOTE) < shown.index("One question")
    assert (
        "code kept its start, since no later checkpoint was better on held-back training questions." in shown
    )


def test_it_stands_below_the_ladder_of_each_of_two_runs(with_rl):
    found = two_runs.gathered("tiny", "tiny")
    assert all(run["ladder_note"].startswith(NOTE) for run in found["runs"])
    text = pages.render("compare.html.j2", **found)
    assert Page(text).wrong == [] and text.count(NOTE) == 2


def test_names_of_checkpoints_are_marked():
    results = {"DPD": {"overall": {"mean": 0.5}}, "RL: STEM": {"overall": {"mean": 0.5}}}
    assert gather.ladder_text({"results": results}, OF_RL).endswith("DPD 50%, RL: STEM (skipped) 50%")
    answers = {"DPD": {"text": "4", "right": True}, "RL: + code": {"text": "4", "right": True}}
    example = gather.example({"example": {"question": "q", "wanted": "4", "answers": answers}}, OF_RL)
    assert [answer["label"] for answer in example["answers"]] == ["DPD", "RL: + code (start kept)"]


def test_headline_numbers_are_marked(with_rl, monkeypatch):
    facts = stage_facts.facts

    def with_checkpoint(run, stage, status=None):
        found = facts(run, stage, status)
        return found | {"headline": [stage_facts.headline("RL: STEM", "13.2% [10.2, 16.2]")]}

    monkeypatch.setattr(stage_facts, "facts", with_checkpoint)
    (number,) = gather.gathered("tiny")["stages"][-1]["headline"]
    assert number["name"] == "RL: STEM (skipped)"


def test_without_a_stage_that_was_skipped_nothing_is_said(ran):
    assert gather.gathered("tiny")["ladder_note"] == ""


@pytest.mark.parametrize(("there", "wanted"), [("a", OF_RL), ("b", {})])
def test_only_the_metrics_that_the_last_stage_read_count(monkeypatch, there, wanted):
    """06 that ran again since says nothing about an older 07."""
    manifests = {
        "07_eval": {"inputs": {"06_rl/metrics.json": {"sha256": "a"}}},
        "06_rl": {"outputs": {"metrics.json": {"sha256": there}}},
    }
    monkeypatch.setattr(
        stage_facts.provenance, "load_manifest", lambda run, s: ("complete", "", manifests[s])
    )
    monkeypatch.setattr(stage_facts, "metrics", lambda run, stage: OF_RL)
    assert stage_facts.metrics_of_rl("tiny", "07_eval") == wanted
