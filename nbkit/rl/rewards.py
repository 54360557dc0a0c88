"""What a completion earns in each stage of reinforcement learning, and what becomes of one whose grader
failed. Used by 06.

    STEM, code   1 if the completion ended by itself and its answer is right, else 0 (`verified`); a part may
                 be paid for the steps of its chain (process.py). A code question is graded by synthetic tests
                 (`with_suite`), not by the examples it grew from
    preference   the mean probability of winning against fixed references, the answers of the policy that the
                 stage began with (`preferred`). Inside the group wins and losses would cancel: whatever the
                 policy did, the mean reward would stay 0.5

A grader that fails raises GraderError: that says nothing about the completion, so it is *masked*. `or_masked`
is the one place that turns the error into a reward of None, which counts in no mean. A step with no other
reward changes no weight (docs/formats.md, "Rewards that are None").

Shape legend: P questions, G completions of each, K references of each.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from typing import TypeVar

import numpy as np

from nbkit.models.engine import Completion, Engine, completion_of, sample_seed
from nbkit.rl.judge import PairwiseJudge
from nbkit.rl.loop.rollouts import Grade, Groups
from nbkit.rl.process import step_credit
from nbkit.run import files
from nbkit.tasks.skills import Task, final_answer, verify
from nbkit.tasks.world import instruction, prompt_of
from nbkit.verify import JailPool
from nbkit.verify.code.synthesis import Suite
from nbkit.verify.errors import GraderError

Score = TypeVar("Score")
_TRIES = 3  # samplings of references, before a question has none
Check = Callable[..., bool]  # check(task, text, jail) -> is it right? Raises as `verify` does
References = Callable[[Sequence[Task]], list[list[str]]]


def or_masked(score: Callable[..., Score], *arguments) -> Score | None:
    """`score(*arguments)`, or None where the grader failed."""
    try:
        return score(*arguments)
    except GraderError:
        return None


def correctness(task: Task, text: str, finished: bool, jail, check: Check = verify) -> float:
    """1.0 for a finished completion that `check` accepts, else 0.0; a cut-off one is not graded at all.
    Raises as `verify` does: GraderError where the grader failed, ValueError for an open question."""
    return float(finished and check(task, text, jail))


def verified(jails: JailPool, check: Check = verify, process: float = 0.0) -> Grade:
    """The reward of verifiable questions of any mix of domains: (1 - process) for a right answer, and
    `process` times the share of its steps that hold. Equal completions of a question are graded once; those
    that run code side by side, one jail each."""

    def of_one(jail, task: Task, completion: Completion) -> float | None:
        right = or_masked(correctness, task, completion.text, completion.stopped, jail, check)
        if right is None or not process or not completion.stopped:
            return right
        return (1 - process) * right + process * step_credit(task, completion.text)

    def grade(tasks: Sequence[Task], groups: Groups) -> list[list[float | None]]:
        jobs = {}
        for p, group in enumerate(groups):
            for completion in group:
                jobs.setdefault((p, completion.text, completion.stopped), (tasks[p], completion))
        # Only programs wait for a jail; the rest is compared here and now.
        code = {key: job for key, job in jobs.items() if job[0].kind == "code"}
        earned = dict(zip(code, jails.map(of_one, code.values()) if code else [], strict=True))
        earned |= {key: of_one(jails, *job) for key, job in jobs.items() if key not in code}
        return [[earned[p, c.text, c.stopped] for c in group] for p, group in enumerate(groups)]

    return grade


def with_suite(task: Task, suite: Suite) -> Task:
    """A code question that the tests of `suite` decide, the one it shows and the hidden ones, in place of
    its own examples: a program that remembers those earns nothing."""
    calls = tuple((tuple(call.args), call.expected) for call in [*suite.public, *suite.private])
    return replace(task, calls=calls)


def fixed_references(engine: Engine, n: int, max_new_tokens: int, seed: int) -> References:
    """At most `n` answers of `engine` to each question, sampled at temperature 1: the policy that the
    preference stage began with, which does not move as the trained one does. One that was cut off is no
    answer and left out; where none is left, `n` are sampled again, twice, then there is no reference. The
    same questions asked together get the same answers, in a resumed run too: the random numbers follow from
    their texts."""

    def references(tasks: Sequence[Task]) -> list[list[str]]:
        own = int(files.digest([instruction(task) for task in tasks])[:8], 16)
        found: list[list[str]] = [[] for _ in tasks]
        for again in range(_TRIES):
            lacking = [p for p, answers in enumerate(found) if not answers]
            if not lacking:
                break
            prompts = [prompt_of(tasks[p]) for p in lacking]
            groups = engine.sample(prompts, n, max_new_tokens, 1.0, seed=sample_seed(seed, own + again))
            for p, group in zip(lacking, groups, strict=True):
                found[p] = [final_answer(completion.text) for completion in group if completion.stopped]
        return found

    return references


def preferred(judge: PairwiseJudge, references: References) -> Grade:
    """The reward of questions without a verifier: the mean probability that `judge` prefers the answer to a
    reference's; 0.5 for equal ones. The judge sees final answers alone: a long chain of thought must not win
    by its length. A question on which the judge fails is masked whole: some rewards would have a mean of
    their own. Without a reference (the start was cut off each time) an answer that ends has won."""

    def grade(tasks: Sequence[Task], groups: Groups) -> list[list[float | None]]:
        rewards: list[list[float | None]] = []
        for task, group, theirs in zip(tasks, groups, references(tasks), strict=True):
            if not theirs:
                rewards.append([float(c.stopped) for c in group])
                continue
            answers = [final_answer(completion.text) for completion in group]
            # Sampled answers repeat: each distinct comparison is made once.
            pairs = sorted({(a, b) for a in answers for b in theirs if a != b})
            won = or_masked(judge.prefer, [(task.question, a, b) for a, b in pairs])
            if won is None:
                rewards.append([None] * len(group))
                continue
            chance = dict(zip(pairs, map(float, won), strict=True))
            # A cut-off completion gave no answer: it loses against all.
            rewards.append(
                [
                    float(np.mean([chance.get((a, b), 0.5) for b in theirs])) if c.stopped else 0.0
                    for a, c in zip(answers, group, strict=True)
                ]
            )
        return rewards

    return grade


def as_trl(grade: Grade, tasks: Sequence[Task], tokenizer, stops: Collection[int], group: int) -> Callable:
    """`grade` as a reward function of TRL, for the rows {"prompt", "index"} of `grpo`: `index` counts in
    `tasks`, and the completions of a question stand beside each other. Raises ValueError where a group holds
    several questions."""

    def reward(prompts, completions, index, completion_ids, **_) -> list[float | None]:
        starts = range(0, len(index), group)
        for start in starts:
            if len(set(index[start : start + group])) > 1:
                raise ValueError(
                    f"index: got questions {sorted(set(index[start : start + group]))} in the group at row "
                    f"{start}, wanted one; got group={group}, give the trainer's (num_generations)"
                )
        made = [completion_of(tokenizer, list(ids), stops, "length") for ids in completion_ids]
        groups = [made[start : start + group] for start in starts]
        earned = grade([tasks[index[start]] for start in starts], groups)
        return [value for group_of in earned for value in group_of]

    return reward
