"""How the models of the refinement loop are asked, role by role. Used by 04.

TRAINED is for a model that was tuned for the roles (teacher_data.py) and as short as it gets; GENERAL tells
an instruction-tuned model in words what its answer must look like. Both lead to answers of one form.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from nbkit.refine.checklist import Item
from nbkit.refine.critique import Review


@dataclass(frozen=True)
class Prompts:
    """How each role is asked. `checklist` empty: no model writes items of its own."""

    draft: str = "{question}"
    judge: str = "{question}\nDraft: {draft}\nRight or wrong?"
    revise: str = "{question}\nDraft: {draft}\nCritique: {critique}\nRevise."
    complete: str = "{question}\nSolution: {solution}\nSummarise, then reason."
    checklist: str = ""


TRAINED = Prompts()
_FORM = "Reason between <think> and </think>, then give only the final answer."
GENERAL = Prompts(
    draft="{question}\n\n" + _FORM,
    judge="Instruction:\n{question}\n\nSolution:\n{draft}\n\nRequirements:\n{checklist}\n\n"
    "Check the solution against every requirement. Write one line per requirement, `N: met` or "
    "`N: unmet, reason`. Then write one last line: `right`, or `wrong: reason`.",
    revise="Instruction:\n{question}\n\nSolution:\n{draft}\n\nCritique:\n{critique}\n\n"
    "Rewrite the solution so that it answers every point of the critique. " + _FORM,
    complete="Instruction:\n{question}\n\nFinal solution:\n{solution}\n\n"
    "Write one line `Summary: ...` that sums up the reasoning which leads from the instruction to this "
    "solution. Then write that reasoning, step by step, between <think> and </think>, and nothing after it.",
    checklist="Instruction:\n{question}\n\nList what a good answer must satisfy: correctness, completeness, "
    "consistency, executability, safety, as far as they apply. At most five lines, each beginning with `- `.",
)


def flat(text: str) -> str:
    """A draft as it is shown to a model: without the marks that would open a chain of thought."""
    return text.replace("<think>", "").replace("</think>", " -> ").strip()


def revision_request(
    question: str, review: Review, prompts: Prompts = TRAINED, told: Sequence[str] | None = None
) -> str:
    """`told`: what is wrong with the draft in words (nbkit.refine.findings); None: the loop's complaints."""
    wrong = review.complaints if told is None else told
    return prompts.revise.format(question=question, draft=flat(review.text), critique="; ".join(wrong))


def judge_request(question: str, text: str, items: Sequence[Item], prompts: Prompts = TRAINED) -> str:
    numbered = "\n".join(f"{number}. {item}" for number, item in enumerate(items, 1))
    return prompts.judge.format(question=question, draft=flat(text), checklist=numbered)
