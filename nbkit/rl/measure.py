"""What an RL stage did, on questions that it cannot have seen: those with operands that no training question
has, drawn apart from the list on which the ladder stands. Used by 06.

    tasks = fresh_questions(["embedded"], 60)                  # of each domain
    before, after = (measure(Generator(*load(p)), tasks, jails, k=8, max_new_tokens=96) for p in (a, b))
    changes(after, before, ["math", "science"])                # in the stage's own domains
    changes(after, before, ["code", "general", "agent"])       # what it forgot elsewhere

GRPO mostly sharpens: sampled accuracy rises first, greedy answers and pass@k hardly. So all of them are
measured: avg@k at temperature 1 (as in training) and at 0.6 with top-p 0.95 (as in 07), greedy, pass@k.
Intervals are clustered by question.

Shape legend: Q questions, K samples of each.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np

from nbkit.evals.evaluate import verdicts
from nbkit.evals.score import Estimate, avg_at_k, paired_difference
from nbkit.models.engine import Engine
from nbkit.rl.judge import PairwiseJudge
from nbkit.rl.loop.rollouts import Groups
from nbkit.rl.rewards import References
from nbkit.run import progress
from nbkit.tasks.sets import domains_of, evaluation_tasks
from nbkit.tasks.skills import DOMAINS, Task, final_answer, sample, verify
from nbkit.tasks.world import CHATTER_PARTS, prompt_of
from nbkit.verify.errors import GraderError

_SEED = 314_159  # one list for every run, whatever its own seed; not the ladder's


@dataclass(frozen=True)
class Measured:
    """Right or wrong of one policy: `hot_QK` at temperature 1, `cool_QK` at 0.6 and top-p 0.95, `greedy_Q1`.
    Rows are masked where the grader failed."""

    tasks: Sequence[Task]
    hot_QK: np.ma.MaskedArray
    cool_QK: np.ma.MaskedArray
    greedy_Q1: np.ma.MaskedArray

    def marks(self) -> dict[str, np.ma.MaskedArray]:
        """(Q, K) or (Q, 1) by measure: "avg T=1", "avg T=0.6", "greedy", "pass@k" (any of the K at
        temperature 1; masked where none of the graded ones is right and some were not graded)."""
        right_Q = self.hot_QK.filled(False).any(axis=1)
        # A right sample decides; without one, a sample that nobody graded may have been it.
        unknown_Q = np.ma.getmaskarray(self.hot_QK).any(axis=1) & ~right_Q
        any_Q1 = np.ma.array(right_Q, mask=unknown_Q).reshape(-1, 1)
        return {"avg T=1": self.hot_QK, "avg T=0.6": self.cool_QK, "greedy": self.greedy_Q1, "pass@k": any_Q1}

    def rows(self, domains: Collection[str]) -> list[int]:
        """The questions of these domains."""
        return [q for q, task in enumerate(self.tasks) if task.domain in domains]

    def scores(self, domains: Collection[str]) -> dict[str, Estimate]:
        """Every measure over the questions of these domains, with its interval over questions."""
        rows = self.rows(domains)
        return {name: avg_at_k(marks[rows]) for name, marks in self.marks().items()}


def changes(after: Measured, before: Measured, domains: Collection[str]) -> dict[str, Estimate]:
    """after - before by measure, question by question, over these domains."""
    rows, earlier = after.rows(domains), before.marks()
    return {name: paired_difference(m[rows], earlier[name][rows]) for name, m in after.marks().items()}


def fresh_questions(names: Sequence[str], per_domain: int) -> list[Task]:
    """`per_domain` different held-out questions of every domain of the sets (levels 1 to 4 of the world), or
    all that there are."""
    tasks: list[Task] = []
    for name in names:
        if name != "embedded":
            tasks += evaluation_tasks([name], per_domain)
            continue
        for domain in [d for d in DOMAINS if d in domains_of([name])]:
            drawn = sample(4 * per_domain, "operands", _SEED, {domain: 1.0}, levels=(1, 4))
            tasks += list({task.question: task for task in drawn}.values())[:per_domain]
    return tasks


@progress.doing("measuring")
def measure(
    engine: Engine, tasks: Sequence[Task], jail, k: int, max_new_tokens: int, seed: int = 0
) -> Measured:
    """Answers of `engine` to `tasks`, graded: k at each temperature, one greedy. A completion that was cut
    off is wrong. Raises GraderError as `nbkit.evals.evaluate.verdicts` does."""
    prompts = [prompt_of(task) for task in tasks]

    def graded(n: int, temperature: float, top_p: float) -> np.ma.MaskedArray:
        groups = engine.sample(prompts, n, max_new_tokens, temperature, top_p, seed)
        return verdicts(tasks, [[c.text if c.stopped else None for c in group] for group in groups], jail)

    return Measured(tasks, graded(k, 1.0, 1.0), graded(k, 0.6, 0.95), graded(1, 0.0, 1.0))


def planted_preference(task: Task, answer: str, jail) -> int:
    """How the raters of the embedded world value an answer: 0 for a wrong one, 1 for a right one in small
    talk, 2 for a right one. A rule, independent of the judge that the policy was trained by."""
    if verify(task, answer, jail):
        return 2
    plain = answer.strip()
    for phrase in (phrase for part in CHATTER_PARTS for phrase in part):
        plain = plain.removeprefix(f"{phrase} ").removesuffix(f" {phrase}")
    return int(plain != answer.strip() and verify(task, plain, jail))


def win_rates(
    tasks: Sequence[Task], groups: Groups, references: References, judge: PairwiseJudge, jail
) -> dict[str, Estimate]:
    """Share of comparisons with the references that the answers win (a tie is half a win), over questions:
    by the "judge" that trained them, and by the "rule" of `planted_preference`. One that was cut off is no
    answer and loses, as in `nbkit.rl.rewards.preferred`. Without a reference (all were cut off) an answer
    that ended has won, the others have a tie."""
    by_judge, by_rule = [], []
    for task, group, theirs in zip(tasks, groups, references(tasks), strict=True):
        if not theirs:
            for shares in (by_judge, by_rule):
                shares.append(np.mean([1.0 if completion.stopped else 0.5 for completion in group]))
            continue
        pairs = [(final_answer(completion.text), other) for completion in group for other in theirs]
        ended = np.array([completion.stopped for completion in group for _ in theirs])
        try:
            value = {text: planted_preference(task, text, jail) for pair in pairs for text in pair}
        except GraderError:
            continue
        chances = judge.prefer([(task.question, a, b) for a, b in pairs])
        # Equal answers are a draw, whatever the judge makes of them.
        won = np.array([0.5 if a == b else p for (a, b), p in zip(pairs, chances, strict=True)])
        right = np.array([0.5 + 0.5 * np.sign(value[a] - value[b]) for a, b in pairs])
        by_judge.append(np.mean(won * ended))
        by_rule.append(np.mean(right * ended))
    return {"judge": avg_at_k(np.array(by_judge)), "rule": avg_at_k(np.array(by_rule))}
