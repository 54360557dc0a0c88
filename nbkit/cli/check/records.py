"""Records per question and per step, as the stages log them, and what is computed from them anew. Used by
evaluation.py and training.py.

Shape legend: Q questions, K samples of each. A mark that is null belongs to a question that the grader failed
on: the whole question is masked, and counts nowhere.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from nbkit.evals.score import avg_at_k, paired_difference

SCORE = ("evals/score.py",)  # the module that all intervals come from


@dataclass(frozen=True)
class Derived:
    """A part of metrics.json computed anew: where it stands there, its value, and out of what.

    `modules` are those of nbkit that compute it, `firm` the names of numbers that follow from the records
    alone. Where a module changed since the run, only the firm ones can be held against the stored ones.
    """

    path: tuple[str, ...]
    value: Any
    source: str
    modules: tuple[str, ...] = SCORE
    firm: frozenset[str] = frozenset({"mean", "n", "infra", "repeats", "tokens", "removed"})


def read_log(path: Path) -> list[dict[str, Any]]:
    """The rows of a .jsonl file. Raises ValueError naming file and line for one that is cut, OSError for one
    that is gone."""
    rows = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError as error:
            raise ValueError(f"{path.name}, line {number} is not valid JSON ({error})") from None
    return rows


def marks(rows: Sequence[Sequence[bool | None]]) -> np.ma.MaskedArray:
    """Right or wrong, (Q, K), of marks in which null stands for a grader that failed."""
    right_QK = np.array([[np.nan if mark is None else float(mark) for mark in row] for row in rows])
    return np.ma.masked_invalid(right_QK.reshape(len(rows), -1))


def graded(right_QK: np.ma.MaskedArray) -> list[int]:
    """The questions that count."""
    return np.flatnonzero(~np.ma.getmaskarray(right_QK).any(1)).tolist()


def groups(about: Sequence[Mapping[str, Any]], attribute: str) -> dict[str, list[int]]:
    """The questions by domain, split or level."""
    found: dict[str, list[int]] = {}
    for number, row in enumerate(about):
        found.setdefault(str(row[attribute]), []).append(number)
    return found


def scores(right_QK: np.ma.MaskedArray, about: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """`overall`, `by_domain`, `by_split` and `infra` as a stage records them. Without `about` (what each
    question is) only the first and the last."""
    counted = graded(right_QK)
    found = {
        "overall": avg_at_k(right_QK[counted]).dict() if counted else None,
        "infra": len(right_QK) - len(counted),
    }
    for kind in ("domain", "split") if about else ():
        members = {name: [i for i in own if i in set(counted)] for name, own in groups(about, kind).items()}
        found[f"by_{kind}"] = {name: avg_at_k(right_QK[own]).dict() for name, own in members.items() if own}
    return found


def difference(after_QK: np.ndarray, before_QK: np.ndarray, chosen: Sequence[int]) -> dict[str, Any]:
    """after - before on the chosen questions."""
    return paired_difference(after_QK[chosen], before_QK[chosen]).dict()


def rebuilt(
    rows: Sequence[Mapping[str, Any]], sets: Sequence[str], count: int, splits: Sequence[str] = ("operands",)
) -> tuple[list[dict[str, Any]], str]:
    """Domain, level and split of the questions in `rows`, from the task sets they were drawn from; or [] and
    why not. They are drawn again, and count only where every question is the one that was asked."""
    from nbkit.tasks.sets import evaluation_tasks  # noqa: PLC0415 (slow, and newer records do not need it)

    try:
        tasks = evaluation_tasks(sets, count)
        for split in splits:
            tasks += evaluation_tasks(["embedded"], count, split) if split != "operands" else []
    except (ValueError, OSError, ImportError) as error:
        return [], f"the questions cannot be drawn again ({error})"
    if [task.question for task in tasks] != [row["question"] for row in rows]:
        return [], "this nbkit draws other questions than the run was asked, so their domains are not known"
    return [{"domain": t.domain, "level": t.level, "split": t.split} for t in tasks], ""
