"""The one error of a grader that failed."""


class GraderError(RuntimeError):
    """The grader or its reference failed, which says nothing about the answer: it is neither right nor wrong,
    belongs in no mean and pays no reward. Verdicts inside `nbkit.verify` say "infra" for the same."""
