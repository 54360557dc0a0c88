"""What a completion earns in each stage of reinforcement learning, and what becomes of one whose grader
failed. Used by 06.

    STEM, code   1 if the completion ended by itself and its answer is right, else 0 (`verified`). A code
                 question is graded by synthetic tests (`with_suite`), not by the examples it grew from
    preference   the mean probability of winning against other completions of its group, by the pairwise judge
                 (`preferred`)

A grader that fails raises GraderError: that says nothing about the completion, so it is *masked*. `or_masked`
is the one place that turns the error into TRL's encoding, a reward of None, which counts in no mean. A step
with no other reward changes no weight (nbkit.rl.grpo; docs/formats.md, "Rewards that are None").

Shape legend: P questions, K samples of each. The columns that TRL passes have one row per completion, those
of one question beside each other.
"""

import asyncio
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from typing import TypeVar

import numpy as np

from nbkit.models.engine import Engine
from nbkit.rl.judge import PairwiseJudge
from nbkit.tasks.skills import Task, final_answer, verify
from nbkit.verify import JailPool
from nbkit.verify.code.synthesis import Suite
from nbkit.verify.errors import GraderError

Score = TypeVar("Score")
Reward = Callable[..., object]  # TRL's: reward(prompts, completions, **columns) -> a reward or None of each


def or_masked(score: Callable[..., Score], *arguments) -> Score | None:
    """`score(*arguments)`, or None where the grader failed."""
    try:
        return score(*arguments)
    except GraderError:
        return None


def correctness(task: Task, text: str, finished: bool, jail) -> float:
    """1.0 for a finished completion that `verify` accepts, else 0.0; a cut-off one is not graded at all.
    Raises as `verify` does: GraderError where the grader failed, ValueError for an open question."""
    return float(finished and verify(task, text, jail))


def verified(tasks: Sequence[Task], jails: JailPool, stops: Collection[int]) -> Reward:
    """The reward of verifiable questions of any mix of domains, for the rows {"prompt", "index"} of `grpo`:
    `index` counts in `tasks`. `stops`: ids of the tokens that end a turn; a completion is finished if it ends
    in one. Completions of a step are graded at once, one jail each."""

    def of_one(jail, task: Task, text: str, ids: Sequence[int]) -> float | None:
        finished = bool(ids) and ids[-1] in stops
        return or_masked(correctness, task, text, finished, jail)

    async def reward(prompts, completions, index, completion_ids, **_) -> list[float | None]:
        # Graded side by side, each in a jail of the pool as one comes free.
        rows = zip(index, completions, completion_ids, strict=True)
        return await asyncio.gather(*(jails.do(of_one, tasks[i], text, ids) for i, text, ids in rows))

    return reward


def with_suite(task: Task, suite: Suite) -> Task:
    """A code question that the tests of `suite` decide, the one it shows and the hidden ones, in place of
    its own examples: a program that remembers those earns nothing."""
    calls = tuple((tuple(call.args), call.expected) for call in [*suite.public, *suite.private])
    return replace(task, calls=calls)


def preferred(
    tasks: Sequence[Task], judge: PairwiseJudge, *, group: int, opponents: int, seed: int
) -> Reward:
    """The reward of questions without a verifier: of every `group` completions of one question, each one's
    mean probability of winning against `opponents` others. A group whose judge fails is masked whole. Raises
    ValueError where a group holds several questions: their answers must not be compared."""

    def reward(prompts, completions, index, **_) -> list[float | None]:
        rewards: list[float | None] = []
        for start in range(0, len(index), group):  # TRL keeps the completions of a question together
            rows = slice(start, start + group)
            if len(set(index[rows])) > 1:
                raise ValueError(
                    f"index: got questions {sorted(set(index[rows]))} in the group at row {start}, wanted "
                    f"one; got group={group}, give the trainer's (num_generations)"
                )
            # The judge sees final answers alone: a long chain of thought must not win by its length.
            answers = [final_answer(text) for text in completions[rows]]
            question = tasks[index[start]].question
            # All or nothing: a group with some rewards missing would have a mean of the others only.
            won = or_masked(judge.win_rates, question, answers, opponents, seed)
            rewards += [None] * len(answers) if won is None else won
        return rewards

    return reward


def preference_rates(
    judge: PairwiseJudge,
    policy: Engine,
    prompts: Sequence,
    tasks: Sequence[Task],
    *,
    n: int,
    max_new_tokens: int,
    seed: int,
) -> np.ndarray:
    """What `pass_rates` is to a verifier, by the judge: the share of a task's `n` samples that it prefers to
    the policy's own greedy answer, shape (P,). A tie is no preference. NaN where the judge failed: no band
    holds it."""
    # One greedy answer per question is the bar: the samples are judged against it, not each other.
    greedy = policy.sample(prompts, 1, max_new_tokens)
    samples_PK = policy.sample(prompts, n, max_new_tokens, temperature=1.0, seed=seed)
    rates_P = np.full(len(tasks), np.nan)
    for p, (task, (own,), group) in enumerate(zip(tasks, greedy, samples_PK, strict=True)):
        baseline = final_answer(own.text)
        # P x K comparisons, asked per question, so that one failure of the judge costs one question.
        duels = [(task.question, final_answer(sample.text), baseline) for sample in group]
        won_K = or_masked(judge.prefer, duels)
        if won_K is not None:
            rates_P[p] = np.mean(won_K > 0.5)
    return rates_P
