"""A step's completions and their rewards, as train.py and stage.py read them.

Shape legend: P prompts, G completions of each.
"""

from collections.abc import Callable, Sequence

import numpy as np

from nbkit.evals.reasoning import has_chain
from nbkit.models.engine import Completion, Engine
from nbkit.rl.loop import objective
from nbkit.tasks.skills import Task
from nbkit.tasks.world import prompt_of

Groups = Sequence[Sequence[Completion]]  # G completions of each of P tasks
# The rewards of P groups, None where the grader failed: that says nothing about the completion.
Grade = Callable[[Sequence[Task], Groups], Sequence[Sequence[float | None]]]


def checked(given: Sequence[Sequence[float | None]], shape: tuple[int, int]) -> np.ndarray:
    """Rewards as an array (P, G), NaN for None. Raises ValueError for another shape, or a reward that is no
    finite number."""
    sizes = {len(group) for group in given}
    if len(given) != shape[0] or sizes != {shape[1]}:
        raise ValueError(
            f"got rewards of {len(given)} groups of {sorted(sizes)}, wanted {shape[0]} of {shape[1]}"
        )
    for reward in (r for group in given for r in group):
        if reward is not None and not np.isfinite(reward):
            raise ValueError(f"got a reward of {reward}, wanted a number, or None where the grader failed")
    return np.array([[np.nan if r is None else r for r in group] for group in given], float)


def pass_rate(rewards_G: np.ndarray) -> float:
    """Share of a question's completions that pass, of those with a reward: more than one half of it, which a
    right answer earns whatever its steps earn, and an answer that the judge prefers. NaN without any."""
    known_G = rewards_G[np.isfinite(rewards_G)]
    return float((known_G > 0.5).mean()) if len(known_G) else float("nan")


def summary(groups: Groups, rewards_PG: np.ndarray, advantages_PG: np.ndarray) -> dict[str, float]:
    """What a step's rollouts say: rewards (0 without any, "graded" says so), groups with signal, lengths in
    tokens, shares that were cut off and that think."""
    flat = [c for group in groups for c in group]
    known = rewards_PG[np.isfinite(rewards_PG)]
    return {
        "reward": float(known.mean()) if len(known) else 0.0,
        "reward_min": float(known.min()) if len(known) else 0.0,
        "reward_max": float(known.max()) if len(known) else 0.0,
        "graded": len(known) / rewards_PG.size,
        "signal": objective.with_signal(advantages_PG),
        "length": float(np.mean([c.tokens for c in flat])),
        "cut": float(np.mean([not c.stopped for c in flat])),
        "thinks": float(np.mean([has_chain(c.text) for c in flat])),
    }


def pass_rates(
    policy: Engine, grade: Grade, tasks: Sequence[Task], samples: int, limit: int, seed: int
) -> np.ndarray:
    """Share of right answers of each task, (P,), of `samples` at temperature 1 of at most `limit` tokens: the
    report's filter before a stage."""
    groups = policy.sample([prompt_of(task) for task in tasks], samples, limit, temperature=1.0, seed=seed)
    rewards_PG = checked(grade(tasks, groups), (len(tasks), samples))
    return np.array([pass_rate(row) for row in rewards_PG])
