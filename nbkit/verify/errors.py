"""The one error of a grader that failed.

settled(grade(jail, code, "f", calls), "grade an answer").status  # "pass" or "fail", else GraderError
"""

from typing import Protocol, TypeVar


class GraderError(RuntimeError):
    """The grader or its reference failed, which says nothing about the answer: it is neither right nor wrong,
    belongs in no mean and pays no reward. Verdicts inside `nbkit.verify` say "infra" for the same.

    Outside of `nbkit.verify` a failure travels as this error alone, up to the place that goes on without the
    grade: a mask (nbkit.evals.evaluate.verdicts), a reward of None (nbkit.rl.rewards.or_masked, for TRL) or
    a count of what was dropped (nbkit.refine)."""


class Outcome(Protocol):
    """What a jail or a grader says: the status "infra" is its own failure."""

    status: str
    detail: str


AnyOutcome = TypeVar("AnyOutcome", bound=Outcome)


def settled(outcome: AnyOutcome, doing: str) -> AnyOutcome:
    """The outcome, where it says anything; GraderError where it is "infra". `doing`: "grade an answer"."""
    if outcome.status == "infra":
        raise GraderError(f"the jail could not {doing}: {outcome.detail}")
    return outcome
