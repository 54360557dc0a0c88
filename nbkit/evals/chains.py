"""Does a chain of thought lead to its solution? Checked step by step, to *measure* reconstruction. For 04.

A step is valid when the reference solution has it, or when it states equations that all hold. A chain leads
to its solution when every step is valid and the last one yields the solution: as the result of its equation,
or because it is the reference's last step and the solution is right. Stricter than it need be: a true step in
other words than the reference's counts as invalid.
"""

import re
from collections.abc import Sequence

import numpy as np

from nbkit.evals.evaluate import verdicts
from nbkit.tasks.skills import Task, verify
from nbkit.text.equations import equations

_RESULT = re.compile(r"= ?(-?\d+(?:\.\d+)?)\D*$")


def leads(task: Task, chain: str, solution: str, jail=None) -> bool:
    """Raises what `verify` raises."""
    steps = [line.strip() for line in chain.split("\n") if line.strip()]
    if not steps or not all(_valid(task, step) for step in steps):
        return False
    # The chain's own equation may end in the solution, whatever the reference's last step says.
    result = _RESULT.search(steps[-1])
    if result and result[1] == solution.strip():
        return True
    # Else only the reference's last step will do, and the solution must then be right by itself.
    return steps[-1:] == list(task.steps[-1:]) and verify(task, solution, jail)


def all_lead(tasks: Sequence[Task], chains: Sequence[tuple[str, str]], jail) -> np.ma.MaskedArray:
    """`leads` for every (chain, solution), shape (n, 1); masked where the grader failed, however often: this
    only measures, and the log says how often."""

    def grade(task: Task, pair: tuple[str, str], jail) -> bool:
        return leads(task, *pair, jail)

    return verdicts(tasks, [[pair] for pair in chains], jail, infra_limit=1.0, grade=grade).astype(bool)


def _valid(task: Task, step: str) -> bool:
    stated = equations(step)
    return step in task.steps or (bool(stated) and all(stated))
