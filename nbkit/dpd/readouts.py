"""What a distillation did beyond its own questions: other domains (what was forgotten), unseen wordings,
longer compositions, and pass@k. Used by 05.

    sets = question_sets(["embedded"], 300, trained={"math"})
    right = read_outs(engine, sets, jail, k=16, max_new_tokens=96)  # name -> right or wrong, (Q, 1)

Shape legend: Q questions.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from nbkit.evals.evaluate import evaluate
from nbkit.evals.score import Estimate, paired_difference
from nbkit.models.engine import Engine
from nbkit.tasks.sets import evaluation_tasks
from nbkit.tasks.skills import Task

SPLITS = {"unseen wordings": "template", "longer compositions": "composition"}  # of the embedded world


def question_sets(names: Sequence[str], count: int, trained: set[str]) -> dict[str, list[Task]]:
    """Up to `count` held-out questions each: "in domain", of the domains that were `trained`, "other domains"
    (left out where all were trained), and, of the embedded world, those of SPLITS, trained domains alone."""
    asked = evaluation_tasks(names, count)
    sets = {"in domain": [task for task in asked if task.domain in trained]}
    sets["other domains"] = [task for task in asked if task.domain not in trained]
    for name, split in SPLITS.items() if "embedded" in names else ():
        sets[name] = [t for t in evaluation_tasks(["embedded"], count, split) if t.domain in trained]
    return {name: tasks for name, tasks in sets.items() if tasks}


def read_outs(
    engine: Engine, sets: Mapping[str, Sequence[Task]], jail, k: int, max_new_tokens: int
) -> dict[str, np.ma.MaskedArray]:
    """Right or wrong, (Q, 1), of one greedy answer to each question of every set; "pass@k": is one of `k`
    samples (temperature 0.6, top-p 0.95) of a question in domain right? Masked where the grader failed."""
    found = {}
    for name, tasks in sets.items():
        found[name] = evaluate(engine, tasks, "chat", jail, max_new_tokens=max_new_tokens).correct_QK
    if k > 1 and "in domain" in sets:
        samples = evaluate(engine, sets["in domain"], "chat", jail, k, max_new_tokens).correct_QK
        found[f"pass@{k}"] = samples.any(axis=1, keepdims=True)
    return found


def gaps(
    after: Mapping[str, np.ma.MaskedArray], before: Mapping[str, np.ma.MaskedArray]
) -> dict[str, Estimate]:
    """after - before, question by question, of every read-out that both have."""
    return {name: paired_difference(after[name], before[name]) for name in after if name in before}
