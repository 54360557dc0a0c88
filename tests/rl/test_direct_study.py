"""benchmarks/rl/direct.py: what it takes from a run, and its rows and summary by hand."""

import importlib
import json
import sys
from argparse import Namespace
from pathlib import Path

import numpy as np
import pytest

from nbkit.evals.evaluate import Evaluation
from nbkit.models.engine import Completion
from nbkit.run import files
from nbkit.tasks.sets import training_tasks
from nbkit.tasks.skills import Task
from nbkit.tasks.world import instruction

TASK = Task("add", "math", 1, "operands", "What is 3 + 4?", (), "7", "number")
PARAMS = {"task_sets": ["embedded"], "prompts": 30, "shares": [0.4, 0.3, 0.2, 0.1], "seed": 0}


@pytest.fixture
def study(monkeypatch):
    monkeypatch.syspath_prepend(Path(__file__).parents[2] / "benchmarks/rl")
    yield importlib.import_module("direct")
    for name in ("direct", "ablations", "study"):
        sys.modules.pop(name, None)


@pytest.fixture
def run(tmp_path):
    """04 of a run: every solution is its reference answer; the first one has a rebuilt chain."""
    folder = tmp_path / "04_sft_overall"
    files.write_json(folder / "manifest.json", {"params": PARAMS})
    mixture = {"general": 0.3, "agent": 0.2, "code": 0.1, "math": 0.2, "science": 0.2}
    asked = [instruction(task) for task in training_tasks(["embedded"], 30, mixture, 1)]
    rows = []
    for text in dict.fromkeys(asked):
        review = {"text": f"<think>old</think>{text}", "author": "a", "stopped": True, "critiques": []}
        rows.append({"question": text, "checklist": [], "first": "", "drafts": [], "history": [review]})
    built = {"question": asked[0], "solution": asked[0], "summary": "", "chain": "new"}
    for name, logged in (("refined", rows), ("reconstructed", [built])):
        text = "".join(json.dumps(row) + "\n" for row in logged)
        files.atomic_write(folder / f"logs/{name}.jsonl", text)
    return tmp_path


def test_the_recipe_is_that_of_the_run(study, run):
    tasks, samples = study.learned(run)
    assert samples and all(text.endswith(f"</think>{instruction(tasks[i])}") for i, text in samples)
    assert {text[:10] for i, text in samples if i} == {"<think>old"}
    assert {text[:10] for i, text in samples if not i} <= {"<think>new"}
    files.write_json(run / "04_sft_overall/manifest.json", {"params": PARAMS | {"seed": 5}})
    with pytest.raises(ValueError, match="refined other instructions than this code draws"):
        study.learned(run)


def answered(*texts):
    right = np.ma.array([[text.endswith("7") for text in texts]])
    return {"greedy": Evaluation([TASK], right, 1.0, [], answers=[[Completion(t) for t in texts]])}


def test_rows_before_and_after(study):
    rows = study.measures(answered("<think>a</think>7", "8"), answered("7", "7"))
    means = {
        name: {when: found and found["mean"] for when, found in row.items()} for name, row in rows.items()
    }
    assert means == {
        "greedy": {"before": 0.5, "after": 1.0, "change": 0.5},
        "thinks, greedy": {"before": 0.5, "after": 0.0, "change": -0.5},
        "right with a chain, greedy": {"before": 1.0, "after": None},
        "right without, greedy": {"before": 0.0, "after": 1.0},
    }


def test_the_summary_is_over_seeds_and_against_the_first_share(study):
    def row(seed, share, change):
        return {"seed": seed, "share": share, "measure": "greedy", "change": {"mean": change}}

    told = study.summary([row(1, 0.0, 0.1), row(2, 0.0, 0.2), row(1, 0.3, 0.3), row(2, 0.3, 0.5)])["greedy"]
    assert set(told["0.0"]) == {"change"} and told["0.3"]["change"]["mean"] == pytest.approx(0.4)
    assert told["0.3"]["change minus share 0"]["mean"] == pytest.approx(0.25)
    assert study.summary([row(1, 0.0, 0.1), row(1, 0.3, 0.3)])["greedy"] == {"0.0": {}, "0.3": {}}


def test_a_file_of_another_study_is_refused(study, tmp_path):
    sizes = {"run": "a", "sft_steps": 0, "rollouts": 64, "questions": 2, "k": 2, "pool": 0}
    options = Namespace(out=tmp_path / "rl_direct.json", **sizes)
    nothing = study.opened(options, tuple(sizes), {"rows": []})
    assert nothing["rows"] == [] and nothing["about"]["k"] == "2"
    files.write_json(options.out, nothing | {"rows": [1]})
    assert study.opened(options, tuple(sizes), {"rows": []})["rows"] == [1]
    options.k = 4
    with pytest.raises(ValueError, match="name another file"):
        study.opened(options, tuple(sizes), {"rows": []})
