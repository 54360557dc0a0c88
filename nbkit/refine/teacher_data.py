"""Training data of a teacher's roles: draft, judge, revise, complete. Used by 04.

A small model cannot be told what a critique is; it has to be trained on some. The data comes from *other*
training tasks than those that are refined later: their reference answers are known, so the teacher's own
drafts of them can be labelled. This is the only module around the loop that may read a reference answer.

    tasks, drafted, right = own_drafts(tasks, teacher, jail)  # reviewed, and labelled
    draft_chats(tasks)  # question -> the reference solution
    judge_chats(tasks, drafted, right)  # question, draft -> "right" or "wrong: <first fault>"
    revise_chats(tasks, drafted, right, seed=0)  # question, draft, critique -> the reference solution
    complete_chats(tasks)  # question, solution -> summary and chain
"""

import contextlib
import random
from collections.abc import Mapping, Sequence
from dataclasses import replace

from nbkit.models.engine import Engine, user_turn
from nbkit.refine.checklist import checklist
from nbkit.refine.critique import Critique, Review, split_response
from nbkit.refine.findings import evidence_of
from nbkit.refine.loop import Refined, RefineSettings, refine
from nbkit.refine.prompts import TRAINED, judge_request, revision_request
from nbkit.run import progress
from nbkit.tasks.skills import Task, verify
from nbkit.tasks.world import answer_turn, instruction
from nbkit.verify.errors import GraderError

_KEPT = 0.7  # share of wrong drafts whose critique has a judge's part: at work a judge misses some
_FALSE = 0.15  # share of right drafts that a judge condemns: at work it errs that way too


def draft_chats(tasks: Sequence[Task]) -> list[list[dict]]:
    """The task as the loop asks it, tools in words, and the reference solution."""
    return [[*user_turn(instruction(task)), answer_turn(task)] for task in tasks]


def own_drafts(
    tasks: Sequence[Task], teacher: Engine, jail, **options
) -> tuple[list[Task], list[Refined], list[list[bool]]]:
    """The tasks that could be graded, the teacher's drafts of them, reviewed without judges, and whether each
    is right by the reference answer. `options` are fields of `RefineSettings`. Raises ValueError for a task
    that nothing can check."""
    # Without judges and rounds: the teacher's judge is what these drafts are to train.
    settings = RefineSettings(rounds=0, **options)
    drafted, _ = refine([instruction(t) for t in tasks], {"teacher": teacher}, None, [], jail, settings)
    graded = []
    for task, found in progress.each(zip(tasks, drafted, strict=True), "grading drafts", len(tasks)):
        with contextlib.suppress(GraderError):  # the grader failed: no label, no lesson
            graded.append((task, found, [verify(task, review.text, jail) for review in found.drafts]))
    return tuple(map(list, zip(*graded, strict=True))) if graded else ([], [], [])


def first_fault(task: Task, text: str) -> str:
    """The first step of a wrong draft that the reference solution does not have; "the answer" if all are
    there."""
    steps = split_response(text)[0].split("\n")
    return next((step for step in steps if step and step not in task.steps), "the answer")


def judge_chats(
    tasks: Sequence[Task], drafted: Sequence[Refined], right: Sequence[Sequence[bool]]
) -> list[list[dict]]:
    """At most one right and one wrong draft of every task, so that a judge has to look at the draft: the
    question alone, hard or easy, tells less. `right[i][j]`: is draft j of task i right?"""
    chats = []
    for task, refined, marks in zip(tasks, drafted, right, strict=True):
        items = checklist(instruction(task))
        # By label: a task that was solved every time, or never, gives one row only.
        one_of_each = {good: review.text for review, good in zip(refined.drafts, marks, strict=True)}
        for good, text in one_of_each.items():
            verdict = "right" if good else f"wrong: {first_fault(task, text)}"
            chats.append(_turns(judge_request(instruction(task), text, items), verdict))
    return chats


def revise_chats(
    tasks: Sequence[Task],
    drafted: Sequence[Refined],
    right: Sequence[Sequence[bool]],
    seed: int,
    evidence: str = "critique",
    jail=None,
) -> list[list[dict]]:
    """At most two different drafts of every task that have anything to criticise: draft and critique in, the
    reference solution out. The judge's part of a critique is what a perfect one would say, left out or false
    now and then. `evidence`: what the loop tells a reviser, so that it learns from words of that kind; the
    verifier's findings need the `jail`."""
    rng, chats = random.Random(f"revise/{seed}"), []
    for task, refined, marks in zip(tasks, drafted, right, strict=True):
        # Critiques as at work, that is with a judge that errs at the rates _KEPT and _FALSE.
        reviews = [_judged(task, r, good, rng) for r, good in zip(refined.drafts, marks, strict=True)]
        faulty = list({review.text: review for review in reviews if not review.passed}.values())
        for review in rng.sample(faulty, min(2, len(faulty))):
            if told := evidence_of(review, instruction(task), evidence, jail):
                request = revision_request(instruction(task), review, TRAINED, told)
                chats.append([*user_turn(request), answer_turn(task)])
    return chats


def _judged(task: Task, review: Review, good: bool, rng: random.Random) -> Review:
    # Mostly nothing is added to a right draft, and mostly a fault is named in a wrong one.
    if rng.random() < (1 - _FALSE if good else 1 - _KEPT):
        return review
    fault = first_fault(task, review.text) if not good else rng.choice([*task.steps, "the answer"])
    condemned = Critique("is right", "judge", 0.0, f"judged wrong: {fault}")
    return replace(review, critiques=(*review.critiques, condemned))


def complete_chats(tasks: Sequence[Task]) -> list[list[dict]]:
    """Question and solution in, a summary of the reasoning and the chain out; tasks without a chain teach
    nothing here."""
    chats = []
    for task in filter(lambda task: task.steps, tasks):
        # Summaries are made by rule: they only have to announce the chain, not to teach style.
        request = TRAINED.complete.format(question=instruction(task), solution=task.answer)
        chats.append(_turns(request, f"Summary: {summary(task)}\n<think>{task.chain}</think>"))
    return chats


def summary(task: Task) -> str:
    return f"{len(task.steps)} step{'s' if len(task.steps) > 1 else ''}, last {task.steps[-1]}"


def _turns(request: str, answer: str) -> list[dict]:
    return [*user_turn(request), {"role": "assistant", "content": answer}]


def shuffled(lessons: Mapping[str, Sequence], seed: int) -> list:
    """All roles' conversations in one order that mixes them."""
    mixed = [conversation for chats in lessons.values() for conversation in chats]
    random.Random(f"roles/{seed}").shuffle(mixed)
    return mixed
