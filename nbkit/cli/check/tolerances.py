"""When two runs agree: one table, a rule per kind of number. Used by compare_command.py; docs/running.md
shows it.

The kind of a number follows from its name and its shape in metrics.json, `kind_of`; what a kind allows is in
TOLERANCES.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from nbkit.cli.check import trees

# Standard errors that two accuracies may be apart; the part of a loss that two of them may differ by.
ERRORS, RELATIVE = 2.0, 1e-3
NORMAL = 1.96  # half a 95% interval in standard errors, for many questions

# kind -> what is allowed, in words for people: printed by `nbkit compare`, and a table in docs/running.md.
TOLERANCES = {
    "count": "equal: questions, tokens, steps, parameters, and every other whole number",
    "verdict": "equal: verdicts of the ledger, and every other text but a model's own",
    "data": "equal sha256 of what 01 made and later stages read (pools, tokenizer, plan)",
    "accuracy": f"means at most {ERRORS:g} standard errors of their difference apart (unpaired)",
    "loss": f"{RELATIVE:g} relative on machines of one kind (processor, device, precision); else not judged",
    "number": f"{RELATIVE:g} relative on machines of one kind; else not judged: every other fraction",
    "answer": "not judged: what a model said, and the question shown",
}
LOSSES = (
    "loss",
    "ends",
    "eval_loss",
    "solution_loss",
    "loss_at_the_switch",
    "decay_minus_this",
    "validation",
)
ANSWERS = ("example", "ours", "claim", "report")  # the last three repeat numbers, or the ledger's own words
ESTIMATE = {"mean", "low", "high", "n"}


@dataclass(frozen=True)
class Judged:
    """Two values of one number, and whether they agree: True, False, or None where nothing is asked."""

    path: trees.Path
    kind: str
    a: Any
    b: Any
    agrees: bool | None


def judge(a: Mapping[str, Any], b: Mapping[str, Any], same_machine: bool) -> Iterator[Judged]:
    """Every number and text of two metrics.json, judged by its kind; what only one of them has disagrees.

    An estimate (mean, low, high, n) of an accuracy is one number here: its mean with its interval.
    """
    ours, theirs = dict(_units(a)), dict(_units(b))
    for path in {**ours, **theirs}:
        one, other = ours.get(path, trees.ABSENT), theirs.get(path, trees.ABSENT)
        kind = kind_of(path, one if other is trees.ABSENT else other)
        if one is trees.ABSENT or other is trees.ABSENT:
            yield Judged(path, kind, one, other, None if kind == "answer" else False)
        else:
            yield Judged(path, kind, one, other, agree(kind, one, other, same_machine))


def kind_of(path: trees.Path, value: Any) -> str:
    """The kind of a number or text, one of TOLERANCES."""
    if any(part in ANSWERS for part in path):
        return "answer"
    lossy = any(part in LOSSES for part in path)
    if isinstance(value, Mapping):
        return "loss" if lossy else "accuracy"
    if isinstance(value, float):
        return "loss" if lossy else "number"
    return "count" if trees.is_number(value) else "verdict"


def agree(kind: str, a: Any, b: Any, same_machine: bool) -> bool | None:
    """Do two values of a kind agree? None where the kind is not judged."""
    if kind == "answer":
        return None
    if kind == "accuracy" and isinstance(a, Mapping) and isinstance(b, Mapping):
        return a["n"] == b["n"] and _within(a, b)
    if kind in ("loss", "number"):
        return _close(a, b) if same_machine else None
    return type(a) is type(b) and a == b


def _units(metrics: Mapping[str, Any]) -> Iterator[tuple[trees.Path, Any]]:
    """(path, value) with an estimate as one value; the ledger's rows by their ids."""

    def walk(tree: Any, path: trees.Path) -> Iterator[tuple[trees.Path, Any]]:
        if isinstance(tree, Mapping) and set(tree) >= ESTIMATE and None not in map(tree.get, ESTIMATE):
            yield path, {name: tree[name] for name in ("mean", "low", "high", "n")}
            rest = {name: value for name, value in tree.items() if name not in ESTIMATE}
            yield from walk(rest, path)
        elif isinstance(tree, Mapping):
            for name, value in tree.items():
                yield from walk(value, (*path, str(name)))
        elif isinstance(tree, list):
            for number, value in enumerate(tree):
                yield from walk(value, (*path, str(number)))
        else:
            yield path, tree

    return walk(trees.by_id(metrics), ())


def _within(a: Mapping[str, float], b: Mapping[str, float]) -> bool:
    """|a - b| <= 2 standard errors of a difference of independent means."""
    apart = abs(a["mean"] - b["mean"])
    return apart <= ERRORS * math.hypot(_error(a), _error(b)) + 1e-9


def _error(estimate: Mapping[str, float]) -> float:
    """The standard error behind an interval. One that ends at the scale's end is cut there: the longer side
    counts."""
    mean = estimate["mean"]
    return max(estimate["high"] - mean, mean - estimate["low"]) / NORMAL


def _close(a: Any, b: Any) -> bool:
    """Alike to within RELATIVE; of estimates mean and interval, and n equal."""
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        return a["n"] == b["n"] and all(_close(a[name], b[name]) for name in ("mean", "low", "high"))
    if not (trees.is_number(a) and trees.is_number(b)):
        return a == b
    return math.isclose(a, b, rel_tol=RELATIVE, abs_tol=1e-9)
