"""What goes wrong silently in reinforcement learning, as alarms. Used by train.py and notebook 06.

`refuse_bad_start` raises before the first step. `Alarms` reads the row of every step and returns words for
what it sees; training goes on, since most of these need a look at the curves and not a stop. Only a grader
that gives nothing for `PATIENCE` steps in a row ends the stage.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from nbkit.tasks.skills import Task
from nbkit.verify.errors import GraderError

PATIENCE = 3  # steps in a row, before what may be chance in one step is said
_LONGEST = 200  # characters of a prompt in an error


@dataclass(frozen=True)
class Limits:
    """Where an alarm begins.

    `failures`: share of completions whose grader failed. `gap`: mean absolute difference, in nats per token,
    of the sampler's and the trainer's log-probabilities (bf16 alone makes about 0.01). `cut`: share of
    completions that ran into the generation limit. `held`: share of tokens whose ratio the clip holds back.
    `drift`: mean length of the last steps over that of the first, either way. `entropy`: share of the
    entropy of the first steps that must be left."""

    failures: float = 0.01
    gap: float = 0.05
    cut: float = 0.1
    held: float = 0.3
    drift: float = 1.5
    entropy: float = 0.3


@dataclass
class Alarms:
    """Call it with each step's row of the history; it answers with the alarms of that step."""

    limits: Limits = field(default_factory=Limits)
    rows: list[Mapping] = field(default_factory=list)

    def __call__(self, row: Mapping) -> list[str]:
        """Words for what is wrong at this step; [] for nothing. Raises GraderError after PATIENCE steps
        without any reward."""
        self.rows.append(row)
        return [*self._rewards(), *self._measures(row), *self._drifts()]

    def _rewards(self) -> list[str]:
        last = self.rows[-PATIENCE:]
        found, share = [], 1 - self.rows[-1]["graded"]
        if share == 1:
            found.append("no completion got a reward: this step changes no weight")
            if len(last) == PATIENCE and all(row["graded"] == 0 for row in last):
                raise GraderError(
                    f"no completion got a reward for {PATIENCE} steps in a row; mend the grader (for code: "
                    "the jail), then run the notebook again: it goes on from the last checkpoint"
                )
        elif share > self.limits.failures:
            found.append(f"the grader failed on {share:.0%} of the completions")
        # Equal rewards in one step may be chance; over several they teach nothing.
        graded = [row for row in last if row["graded"]]
        for value in (0.0, 1.0):
            if len(graded) == PATIENCE and all(
                row["reward_min"] == row["reward_max"] == value for row in graded
            ):
                found.append(f"every reward was {value:g} for {PATIENCE} steps: nothing can be learned")
        return found

    def _measures(self, row: Mapping) -> list[str]:
        limits = self.limits
        found = []
        if row["gap"] > limits.gap:
            found.append(
                f"sampler and trainer differ by {row['gap']:.3f} nats a token: they run different weights or "
                "number formats"
            )
        if row["cut"] > limits.cut:
            found.append(f"{row['cut']:.0%} of the completions ran into max_new_tokens and were masked")
        if row["held"] > limits.held:
            found.append(f"the clip holds back {row['held']:.0%} of the tokens: lower lr or updates")
        return found

    def _drifts(self) -> list[str]:
        if len(self.rows) < 2 * PATIENCE:
            return []
        # Means over the first and the last steps: the questions of a single step make it long or short.
        (length, entropy), (first_length, first_entropy) = (
            [sum(row[name] for row in rows) / PATIENCE for name in ("length", "entropy")]
            for rows in (self.rows[-PATIENCE:], self.rows[:PATIENCE])
        )
        found, ratio = [], length / max(first_length, 1e-9)
        if not 1 / self.limits.drift <= ratio <= self.limits.drift:
            found.append(f"completions are {ratio:.1f} times as long as at the start")
        if entropy < self.limits.entropy * first_entropy:
            found.append(
                f"entropy fell from {first_entropy:.3f} to {entropy:.3f} nats a token: the policy samples "
                "one answer only"
            )
        return found


def refuse_bad_start(tokenizer) -> None:
    """Raises ValueError for a tokenizer without a chat template: the policy would be asked in another form
    than it learned, and every reward be 0."""
    if not getattr(tokenizer, "chat_template", None):
        raise ValueError(
            "tokenizer: got one without a chat template, wanted the one that fine-tuning saved (03 or 04); "
            "load the policy from there, or set tokenizer.chat_template"
        )


def refuse_leaks(tasks: Sequence[Task], prompts: Sequence[str]) -> None:
    """Raises ValueError for a prompt that gives its answer away around its question: the answer or the worked
    solution stands there. The question itself may hold the answer, among its numbers ("Which is larger, 5 or
    7?") or by name ("Answer A or B")."""
    for task, prompt in zip(tasks, prompts, strict=True):
        around = prompt.replace(task.question.strip(), " ")
        answer = re.escape(task.answer.strip())
        told = answer and re.search(rf"\banswer\b(?: is)?[ :]*{answer}(?!\w)", around, re.IGNORECASE)
        # Tools are part of the prompt, and a call names one: only whole solutions count there.
        beside = answer and not task.tools and re.search(rf"(?<!\w){answer}(?!\w)", around)
        solution = len(task.steps) > 1 and task.chain in around
        if told or beside or solution:
            raise ValueError(
                f"prompts: the reference answer {task.answer!r} of a {task.skill} question stands in its "
                f"prompt {prompt!r:.{_LONGEST}}; take it out, or the policy learns to copy"
            )
