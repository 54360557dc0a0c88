"""RL stages that left the model as it was are named as such."""

from __future__ import annotations

from pathlib import Path

import pytest

from nbkit.evals import untrained

ROOT = Path(__file__).resolve().parents[2]
METRICS = {
    "skipped": ["stem"],
    "stages": {"stem": {"counts": {}}, "code": {"kept_step": 2}, "preference": {"kept_step": 0}},
}


def test_what_was_skipped_or_kept_its_start():
    assert untrained.left_alone(METRICS) == {"RL: STEM": "skipped", "RL: + preference": "start kept"}
    assert untrained.marked("RL: STEM", METRICS) == "RL: STEM (skipped)"
    assert untrained.marked("RL: + code", METRICS) == "RL: + code"
    assert untrained.marked("DPD", METRICS) == "DPD"


def test_the_sentence_says_why():
    assert untrained.sentence(METRICS) == (
        "Not every RL stage changed the model: STEM was skipped, since no question was inside the band of "
        "pass rates; preference kept its start, since no later checkpoint was better on "
        "held-back training questions."
    )
    none = {"skipped": ["stem", "code", "preference"], "stages": {}}
    assert untrained.sentence(none).startswith("No RL stage changed the model: STEM was skipped")


def test_a_better_score_that_was_not_eligible_is_no_lack_of_one():
    looks = [{"score": 0.4, "eligible": True}, {"score": 0.6, "eligible": False}]
    metrics = {"skipped": [], "stages": {"code": {"kept_step": 0, "watched": looks}}}
    said = "code kept its start: what scored better lost on other questions or showed signs of"
    assert said in untrained.sentence(metrics)
    looks[1]["score"] = 0.3
    assert "code kept its start, since no later checkpoint was better" in untrained.sentence(metrics)


@pytest.mark.parametrize("metrics", [{}, {"stages": {"code": {"kept_step": 80}}, "skipped": []}])
def test_nothing_is_said_of_stages_that_changed_the_model(metrics):
    assert untrained.left_alone(metrics) == {} and untrained.sentence(metrics) == ""
    assert untrained.marked("RL: + code", metrics) == "RL: + code"


def test_the_names_are_those_of_07():
    text = (ROOT / "notebooks/07_eval.ipynb").read_text(encoding="utf-8")
    for label in untrained.CHECKPOINTS.values():
        assert f'\\"{label}\\": \\"rl' in text
