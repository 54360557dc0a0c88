"""What verify computes anew of 01 to 06, against numbers computed by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from published import publish

from nbkit.cli.check import places, training


def derived(folder) -> dict:
    place = places.find(str(folder))
    found, _ = training.DERIVE[folder.name](place.read(folder.name), place)
    return {part.path: part.value for part in found}


def test_01_tokens_left_after_each_filter(tmp_path):
    folder = publish(tmp_path, "01_data_mix", {}, {})
    fate = {"decision": ["hq", "mq", "mq", "drop", "removed"], "tokens": [10.0, 20.0, 30.0, 40.0, np.nan]}
    pd.DataFrame(fate).to_parquet(folder / "documents.parquet")
    found = derived(folder)
    assert found["waterfall", "2"] == {"tokens": 100}
    assert found["waterfall", "3"] == {"tokens": 60, "of_previous": 0.6}
    assert found["waterfall", "4"] == {"tokens": 10, "of_previous": 10 / 60}


def test_03_the_study_of_data_size(tmp_path):
    values = {"curve": [10, 40], "repeats": 2}
    folder = publish(tmp_path, "03_sft_cold_start", {}, {}, params=values)
    # Four questions: at size 10 one is right in both repeats, at size 40 three and one; again: two.
    marks = {"curve_10_repeat_0": [1, 0, 0, 0], "curve_10_repeat_1": [1, 0, 0, 0]}
    marks |= {"curve_40_repeat_0": [1, 1, 1, 0], "curve_40_repeat_1": [1, 0, 0, 0]}
    marks |= {"curve_10_repeat_0_again": [1, 1, 0, 0], "curve_10_repeat_1_again": [1, 1, 0, np.nan]}
    for name, right in marks.items():
        (folder / name).mkdir()
        np.save(folder / name / "correct.npy", np.array(right, dtype=float)[:, None])
    found = derived(folder)
    assert found["scaling_gain",]["mean"] == 0.25  # 0, 1/2, 1/2, 0
    assert found["scaling_gain_equal_steps",]["n"] == 3, "a question that was not graded is left out"
    assert found["scaling_gain_equal_steps",]["mean"] == 0.0  # 0, -1/2, +1/2
    assert found["slope_per_doubling",]["mean"] == pytest.approx(0.125)  # +1/2 and 0 over two doublings
    assert found["curve",]["40"]["repeats"] == [0.75, 0.25]
    assert found["curve",]["10"]["mean"] == 0.25


def test_04_solutions_and_chains_are_counted(tmp_path):
    chain = {"question": "q", "solution": "7", "summary": "s", "chain": "3 + 4 = 7"}
    rejected = ["", "", "judged wrong by one", "3 + 4 = 8 is false"]
    logs = {"refined": [{}] * 5, "reconstructed": [chain | {"rejected": why} for why in rejected]}
    found = derived(publish(tmp_path, "04_sft_overall", {}, logs))
    assert found["tokens",] == {"instructions": 5}
    reasons = {"kept": 2, "judged wrong": 1, "a check failed": 1}
    assert found["chains",] == {"usable": 4, "reasons": reasons}


def test_05_arms_differences_and_loss_terms(tmp_path, monkeypatch):
    def nothing(*_):
        raise ValueError("no sets here")

    monkeypatch.setattr("nbkit.tasks.sets.evaluation_tasks", nothing)
    right = {"sft": [0, 0, 1, 0], "sft_continued": [0, 1, 1, 0], "dpd": [1, 1, 1, 0], "w_neg=1": [1, 0, 1, 1]}
    right |= {"teacher": [1, 1, None, 0], "on_policy": [1, 1, 1, 0], "kl_both": [1, 0, 1, 0]}
    right |= {"kl_on_policy": [1, 1, 1, 1]}
    rows = [{"question": f"q{i}"} | {n: m[i] and bool(m[i]) for n, m in right.items()} for i in range(4)]
    steps = [{"dpd/dpo": 0.1 * i, "dpd/margin": float(i)} for i in range(10)]
    metrics = {"results": dict.fromkeys(right), "ends": {"dpd": {"dpo": 0.7, "margin": 7.0}}}
    metrics["by_teacher"] = {"teacher right": {"dpd": {}}, "teacher wrong": {"dpd": {}}}
    passes = {"on_policy": [{"pass": 1, "fresh": 0}], "kl_on_policy": [{"pass": 1, "fresh": 3}]}
    metrics["fresh"] = passes
    values = {"task_sets": ["embedded"], "eval_questions": 4, "w_neg": 0.5, "beta": 0.1}
    folder = publish(tmp_path, "05_dpd", metrics, {"answers": rows, "loss_dpd": steps}, params=values)
    found = derived(folder)
    assert found["results", "dpd"]["overall"]["mean"] == 0.75
    assert found["results", "teacher"] == found["results", "teacher"] | {"infra": 1}
    assert found["change",]["mean"] == 0.5 and found["against_sft",]["mean"] == 0.25
    assert ("against_dpo",) not in found, "that arm was not trained"
    assert ("on_policy",) not in found, "no negative of that arm was fresh"
    assert found["kl_on_policy",]["mean"] == 0.5
    assert found["by_teacher", "teacher right"]["dpd"]["mean"] == 0.5  # questions 0 and 1: +1, 0
    assert found["by_teacher", "teacher wrong"]["dpd"]["n"] == 1
    assert found["sensitivity", "w_neg", "1"]["mean"] == 0.25
    assert found["sensitivity", "w_neg", "0.5"]["mean"] == 0.25
    assert not [path for path in found if path[1:2] == ("beta",)], "no other value of beta was tried"
    assert found["ends", "dpd"] == {"dpo": pytest.approx(0.7), "margin": 7.0}  # the mean of steps 5 to 9


def test_06_rewards_and_skipped_stages(tmp_path):
    stem = [{"reward": 0.1, "graded": 0}, {"reward": 0.2, "graded": 1}, {"reward": 0.6}]
    logs = {"rl_stem": stem, "rl_code": [], "rl_preference": [{"reward": 0.5}]}
    found = derived(publish(tmp_path, "06_rl", {}, logs))
    assert found["rewards", "stem"] == {"first": 0.2, "last": 0.6}, (
        "a step without a graded answer is left out"
    )
    assert found["rewards", "preference"] == {"first": 0.5, "last": 0.5}
    assert found["skipped",] == ["code"]
