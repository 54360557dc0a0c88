"""Evaluation: prompts in, graded samples out. Used by 02-07.

    result = evaluate(Generator(model, tokenizer), eval_tasks(300, "operands"), form="chat", k=3, jail=jail)
    result.overall, result.by("domain")
Shape legend: Q questions, K samples of each.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from nbkit.evals.score import Estimate, avg_at_k, estimate, paired_difference
from nbkit.models.engine import Completion, Engine
from nbkit.run import progress
from nbkit.tasks.skills import Task, verify
from nbkit.tasks.world import base_prompt, prompt_of, worked
from nbkit.text.characters import printable
from nbkit.verify.errors import GraderError


def verdicts(
    tasks: Sequence[Task],
    texts: Sequence[Sequence[str | None]],
    jail,
    infra_limit: float = 0.01,
    grade: Callable = verify,
) -> np.ma.MaskedArray:
    """Is each of the K texts of each of the Q tasks right? Shape (Q, K), bool; a text that is None counts as
    wrong. With another `grade` than `verify`, such as `partial_credit`, its scores: float.

    A question on which the grader itself fails is masked whole: it is neither right nor wrong, so it
    belongs in no mean. Lost questions are logged. Raises GraderError with the first reason once they are
    more than the share `infra_limit` of all: then the jail is broken, or failures may favour a model."""
    if not 0 <= infra_limit <= 1:
        raise ValueError(f"infra_limit: got {infra_limit}, wanted a share from 0 to 1")
    # (Q, K); a question whose group is shorter stays False where it has no text.
    right_QK = np.ma.zeros((len(tasks), max(map(len, texts), default=1)), bool if grade is verify else float)
    reasons = []
    pairs = zip(tasks, texts, strict=True)
    for q, (task, group) in enumerate(progress.each(pairs, "grading", len(tasks))):
        try:
            right_QK[q] = [text is not None and grade(task, text, jail) for text in group]
        except GraderError as error:
            # Neither right nor wrong; and too many of these are an error of the run, told at once.
            right_QK[q] = np.ma.masked
            reasons.append(f"{task.skill}: {error}")
            if len(reasons) / len(tasks) > infra_limit:
                raise GraderError(
                    f"the grader failed on {len(reasons)} of the first {q + 1} of {len(tasks)} questions, "
                    f"over infra_limit={infra_limit:g} of all; mend the jail or the set; first reason: "
                    f"{reasons[0]}"
                ) from error
    # A few are told and left out.
    if reasons:
        logging.getLogger(__name__).warning(
            "infra: the grader failed on %d of %d questions, left out; first reason: %s",
            len(reasons),
            len(tasks),
            reasons[0],
        )
    return right_QK


@dataclass(frozen=True)
class Evaluation:
    """Graded samples of one model. `stopped` is the share that ended by itself; `texts` are the first
    samples, `ended` says which of them did. `answers`: all samples, documents up to where the answer ends.
    Rows of `correct_QK` are masked where the grader failed; no score counts them."""

    tasks: Sequence[Task]
    correct_QK: np.ma.MaskedArray
    stopped: float
    texts: list[str]
    ended: Sequence[bool] = ()
    answers: Sequence[Sequence[Completion]] = ()

    @property
    def graded(self) -> list[int]:
        """The questions that count: all but those on which the grader failed."""
        return np.flatnonzero(~np.ma.getmaskarray(self.correct_QK).any(1)).tolist()

    @property
    def infra(self) -> int:
        """How many questions the grader failed on."""
        return len(self.tasks) - len(self.graded)

    @property
    def overall(self) -> Estimate:
        return avg_at_k(self.correct_QK[self.graded])

    def by(self, attribute: str) -> dict[str, Estimate]:
        """Scores by an attribute of the tasks: domain, skill, level or split."""
        rows: dict[str, list[int]] = {}
        for i in self.graded:
            rows.setdefault(str(getattr(self.tasks[i], attribute)), []).append(i)
        return {key: avg_at_k(self.correct_QK[rows[key]]) for key in sorted(rows)}

    def summary(self) -> dict:
        return {
            "overall": self.overall.dict(),
            "by_domain": {name: e.dict() for name, e in self.by("domain").items()},
            "by_split": {name: e.dict() for name, e in self.by("split").items()},
            "stopped": self.stopped,
            "infra": self.infra,
        }


@progress.doing("evaluating")
def evaluate(
    engine: Engine,
    tasks: Sequence[Task],
    form: str,
    jail,
    k: int = 1,
    max_new_tokens: int = 96,
    seed: int = 0,
    infra_limit: float = 0.01,
) -> Evaluation:
    """`form`: "base" completes a document, "chat" answers a turn. k = 1 is greedy; more samples use the
    report's temperature 0.6 and top-p 0.95. In base form the completion counts up to the next question,
    since a base model goes on writing. `infra_limit` as in `verdicts`."""
    if form not in ("base", "chat"):
        raise ValueError(f"form: got {form!r}, wanted 'base' or 'chat'")
    # Base models complete a document; chat models get their template, and tools where a task has some.
    prompts = [base_prompt(t.question) if form == "base" else prompt_of(t) for t in tasks]
    sampling = {} if k == 1 else {"temperature": 0.6, "top_p": 0.95}
    groups = engine.sample(prompts, k, max_new_tokens, seed=seed, **sampling)
    # One question's samples stay together: the interval is clustered by question.
    texts = [[_answer(completion, form) for completion in group] for group in groups]
    correct_QK = verdicts(tasks, texts, jail, infra_limit)
    stopped = float(np.mean([c.stopped for group in groups for c in group]))
    firsts = [group[0] for group in groups]
    answers = [[_whole(completion, form) for completion in group] for group in groups]
    ended = [c.stopped for c in firsts]
    return Evaluation(tasks, correct_QK, stopped, [c.text for c in firsts], ended, answers)


def difference_by(after: Evaluation, before: Evaluation, attribute: str) -> dict[str, Estimate]:
    """after - before on the same questions, by an attribute of the tasks: domain, skill, level or split."""
    groups: dict[str, list[int]] = {}
    for i, task in enumerate(after.tasks):
        groups.setdefault(str(getattr(task, attribute)), []).append(i)
    return {
        name: paired_difference(after.correct_QK[rows], before.correct_QK[rows])
        for name, rows in sorted(groups.items())
    }


@torch.no_grad()
def solution_loss(model, tokenizer, tasks: Sequence[Task], batch: int = 50) -> Estimate:
    """Mean loss in nats per token of the worked solutions given their questions, over questions: a smoother
    measure of a base model than greedy answers. Solutions longer than the model's context are cut."""
    losses, limit = [], model.config.max_position_embeddings
    for start in progress.each(range(0, len(tasks), batch), "loss on solutions"):
        chosen = tasks[start : start + batch]
        # Tokens of the question alone: loss is counted from there on.
        questions = [printable(base_prompt(t.question)) for t in chosen]
        solutions = [printable(worked(t)) for t in chosen]
        known = [len(ids) for ids in tokenizer(questions).input_ids]
        full = tokenizer(solutions, padding=True, padding_side="right", return_tensors="pt")
        ids_QT = full.input_ids[:, :limit].to(model.device)
        logits_QTV = model(
            input_ids=ids_QT, attention_mask=full.attention_mask[:, :limit].to(model.device)
        ).logits
        loss_QT = torch.nn.functional.cross_entropy(
            logits_QTV[:, :-1].float().transpose(1, 2), ids_QT[:, 1:], reduction="none"
        ).cpu()
        at_T = torch.arange(1, ids_QT.shape[1])
        # Position t of the loss is token t + 1: after the question, before the padding.
        solution_QT = (at_T >= torch.tensor(known)[:, None]) & full.attention_mask[:, 1:limit].bool()
        losses += ((loss_QT * solution_QT).sum(1) / solution_QT.sum(1)).tolist()
    return estimate(losses)


def _answer(completion: Completion, form: str) -> str | None:
    """The text to grade. A chat answer that was cut off is no answer; a base model has no duty to stop."""
    if form == "base":
        return completion.text.split("\nQuestion:")[0].split("\nProblem.")[0]
    return completion.text if completion.stopped else None


def _whole(completion: Completion, form: str) -> Completion:
    """The answer without the questions that a base model writes after it: there it has ended. Its tokens are
    counted, not kept: at 64K each they would fill the memory."""
    text = completion.text if form == "chat" else _answer(completion, form)
    stop = "stop" if text != completion.text else completion.stop
    return replace(completion, text=text, stop=stop, ids=[], logprobs=None, counted=completion.tokens)
