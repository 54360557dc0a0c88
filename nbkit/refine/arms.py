"""Further sets of the same solutions, for 04: critiques that a student reads in training only, chains cut to
their last step, and answers without a chain.

    critique_chat(task, refined, response)  # question, draft, critique -> the response
    terse("<think>2 * 4 = 8\\n3 + 8 = 11</think>11")  # "<think>3 + 8 = 11</think>11"
    direct("<think>2 * 4 = 8\\n3 + 8 = 11</think>11")  # "11"
"""

import random
import re
from collections.abc import Collection, Sequence

from nbkit.refine.critique import Review, split_response
from nbkit.refine.findings import evidence_of
from nbkit.refine.loop import Refined
from nbkit.refine.prompts import TRAINED, Prompts, revision_request
from nbkit.tasks.skills import Task
from nbkit.tasks.world import Conversation, instruction, responded

# Arms of 04 that the recipe's number of steps does not depend on: they may be added without changing it.
OPTIONAL = ("sft_critique", "sft_terse", "sft_terse_rebuilt")
REASONING = ("math", "science", "code")  # domains in which the cold start of 03 taught to think
DIFFER = 0.3  # rebuilt chains are judged only where at least this share of the responses differs
_TOKEN = re.compile(r"[\w.]*\w")


def criticised(found: Refined, response: str) -> Review | None:
    """The draft whose critique is shown: the current model's own, if it has faults, else the first that has
    some. Never one that says what the response says; None where there is no such draft."""
    faulty = [r for r in found.drafts if not r.passed and not _says(r.text, response)]
    own = [review for review in faulty if review.author == "student"]
    return next(iter([*own, *faulty]), None)


def _says(draft: str, response: str) -> bool:
    """A response without a chain is its answer: a draft that has the same one would give it away."""
    if not split_response(response)[0]:
        draft, response = split_response(draft)[1], split_response(response)[1]
    return draft.split() == response.split()


def critique_chat(
    task: Task,
    found: Refined,
    response: str,
    prompts: Prompts = TRAINED,
    evidence: str = "both",
    jail=None,
) -> Conversation:
    """The task with a faulty draft and its critique in the question, and the refined response as its answer:
    critique-guided distillation (arXiv 2505.11628). When the student is tested, there is neither draft nor
    critique. Where no draft has a fault that can be told, the plain question. `evidence` and `jail` as in
    nbkit.refine.findings.evidence_of."""
    plain, review = responded(task, response), criticised(found, response)
    told = evidence_of(review, instruction(task), evidence, jail) if review else ()
    told = without_answer(told, response, f"{task.question} {review.text if review else ''}")
    if not told:
        return plain
    # Only the user's turn changes: tools, where there are some, stay where the template puts them.
    messages = plain["messages"] if isinstance(plain, dict) else plain
    asked = {"role": "user", "content": revision_request(task.question, review, prompts, told)}
    changed = [asked, *messages[1:]]
    return {**plain, "messages": changed} if isinstance(plain, dict) else changed


def without_answer(told: Sequence[str], response: str, seen: str) -> tuple[str, ...]:
    """The parts of a critique that do not give the response's answer away: those that have no word of it
    which question and draft (`seen`) do not hold already."""
    known = set(_TOKEN.findall(seen))
    secret = set(_TOKEN.findall(split_response(response)[1])) - known
    return tuple(part for part in told if not secret & set(_TOKEN.findall(part)))


def terse(text: str) -> str:
    """A response whose chain is its last step alone; one without a chain as it is."""
    chain, answer = split_response(text)
    last = chain.rpartition("\n")[2]
    return f"<think>{last}</think>{answer}" if chain else text


def direct(text: str) -> str:
    """The answer of a response without its chain; a response that has no chain, or no answer behind it, as it
    is."""
    chain, answer = split_response(text)
    return answer if chain and answer else text


def drawn_direct(domains: Sequence[str], share: float, seed: int) -> frozenset[int]:
    """Which instructions are learned without a chain, as indices into `domains`: `share` of those of each
    domain in REASONING. The draw knows the seed and no response, so that right and wrong ones are as likely;
    those of a smaller share are among those of a larger one."""
    chosen: list[int] = []
    for domain in REASONING:
        own = [i for i, found in enumerate(domains) if found == domain]
        random.Random(f"direct/{domain}/{seed}").shuffle(own)
        chosen += own[: round(share * len(own))]
    return frozenset(chosen)


def without_chains(samples: Sequence[tuple[int, str]], chosen: Collection[int]) -> list[tuple[int, str]]:
    """The samples (instruction, response), those of the chosen instructions with the answer alone."""
    return [(i, direct(text) if i in chosen else text) for i, text in samples]


def differing(first: Sequence[tuple[int, str]], second: Sequence[tuple[int, str]]) -> float:
    """Share of the samples (instruction, response) of two sets of the same instructions whose responses
    differ."""
    different = [a[1] != b[1] for a, b in zip(first, second, strict=True)]
    return sum(different) / len(different)
