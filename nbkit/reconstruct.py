"""Chain-of-thought reconstruction: from instruction and refined solution to a chain that leads there
(report). Used by 04.

The chain-completion model first writes a one-line summary, then the chain. A chain is kept only when it
*leads to* its solution: the same model, given the chain alone, must continue with that solution.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from nbkit.data.skills import Task, final_answer
from nbkit.generate import Generator, user_prompt


@dataclass(frozen=True)
class Reconstruction:
    """`consistent`: continuing from the chain reaches `solution`. Only consistent ones become training
    data."""

    question: str
    solution: str
    summary: str
    chain: str
    consistent: bool

    @property
    def messages(self) -> list[dict]:
        return [
            {"role": "user", "content": self.question},
            {"role": "assistant", "reasoning_content": self.chain, "content": self.solution},
        ]


def request(question: str, solution: str) -> str:
    return f"{question}\nSolution: {solution}\nSummarise, then reason."


def chats(tasks: Sequence[Task]) -> list[list[dict]]:
    """Training data of the chain-completion model: question and solution in, summary and chain out."""
    return [
        [
            {"role": "user", "content": request(t.question, t.answer)},
            {"role": "assistant", "content": f"Summary: {summarise(t)}\n<think>{t.chain}</think>"},
        ]
        for t in tasks
    ]


def summarise(task: Task) -> str:
    return f"{len(task.steps)} step{'s' if len(task.steps) > 1 else ''}, last {task.steps[-1]}"


def parse(text: str) -> tuple[str, str] | None:
    """(summary, chain) of a model's output, or None when either is missing."""
    head, opened, rest = text.partition("<think>")
    chain, closed, _ = rest.partition("</think>")
    if not (opened and closed and head.startswith("Summary:") and chain.strip()):
        return None
    return head.removeprefix("Summary:").strip(), chain.strip()


def reconstruct(
    questions: Sequence[str],
    solutions: Sequence[str],
    model: Generator,
    max_new_tokens: int = 80,
    seed: int = 0,
) -> list[Reconstruction]:
    """One reconstruction per question, malformed ones marked inconsistent (nothing is silently dropped)."""
    prompts = [user_prompt(model.tokenizer, request(q, s)) for q, s in zip(questions, solutions, strict=True)]
    outputs = [
        group[0].text for group in model.sample(prompts, 1, max_new_tokens, temperature=0.0, seed=seed)
    ]
    parsed = [parse(text) or ("", "") for text in outputs]
    continued = model.sample(
        [
            f"{user_prompt(model.tokenizer, q)}<think>{chain}</think>"
            for q, (_, chain) in zip(questions, parsed, strict=True)
        ],
        1,
        max_new_tokens,
    )
    return [
        Reconstruction(q, s, summary, chain, bool(chain) and final_answer(c[0].text) == s.strip())
        for q, s, (summary, chain), c in zip(questions, solutions, parsed, continued, strict=True)
    ]
