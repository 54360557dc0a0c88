"""Chain-of-thought reconstruction: from instruction and refined solution to a chain that leads there
(report). Used by 04.

A chain-completion model writes a short summary of the reasoning, then the chain. A chain is kept only when
it holds and leads to its solution, as far as anyone without the reference answer can tell: its equations are
true and it ends in the solution (tools), models that continue from it reach the solution, and the judges
find the whole right. Rejected ones keep their reason.

    (built,), spent = reconstruct([("What is 30 + 20?", "50")], teacher, [teacher], [teacher], jail)
    built.kept, built.rejected      # True, ""
"""

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial

from nbkit.models.engine import Completion, Engine, user_turn
from nbkit.refine.checklist import Item, checklist
from nbkit.refine.critique import committed, inspect, judge
from nbkit.refine.loop import LOST, SAMPLING, Spent
from nbkit.refine.prompts import TRAINED, Prompts, judge_request
from nbkit.run import progress
from nbkit.text.chat import THINK, split_thought
from nbkit.verify.errors import GraderError


@dataclass(frozen=True)
class Reconstruction:
    """`rejected` says why a chain is not kept; empty: it is."""

    question: str
    solution: str
    summary: str
    chain: str
    rejected: str = ""

    @property
    def kept(self) -> bool:
        return not self.rejected

    @property
    def reason(self) -> str:
        """A short class of `rejected`, to count by."""
        classes = {
            "malformed": "malformed",
            "a model goes on": "continued elsewhere",
            "judged": "judged wrong",
            "the jail failed": "the jail failed",
        }
        return next((c for start, c in classes.items() if self.rejected.startswith(start)), "a check failed")

    @property
    def response(self) -> str:
        return f"<think>{self.chain}</think>{self.solution}"

    def row(self) -> dict:
        return asdict(self)


def parse(text: str) -> tuple[str, str] | None:
    """(summary, chain) of a model's output, or None when either is missing or anything follows. The chain
    ends where every reader of the response will end it (nbkit.text.chat)."""
    # Split by the rule that readers of the response use, or a kept chain would end elsewhere for them.
    head, opened, rest = text.partition(THINK)
    chain, after = split_thought(opened + rest)
    if chain is None or split_thought(chain)[0] is not None:  # several thoughts in a row are not one chain
        return None
    whole = head.startswith("Summary:") and chain.strip() and not after.strip()
    return (head.removeprefix("Summary:").strip(), chain.strip()) if whole else None


@dataclass(frozen=True)
class ReconstructSettings:
    """How `reconstruct` works. `prompts`: the wording that the models know. `continuations`: samples by every
    continuer, all of which must reach the solution. `max_new_tokens`: of a chain, a continuation and an
    opinion each."""

    prompts: Prompts = TRAINED
    continuations: int = 8
    max_new_tokens: int = 80
    seed: int = 0


DEFAULT = ReconstructSettings()


def reconstruct(
    solved: Sequence[tuple[str, str]],
    model: Engine,
    continuers: Sequence[Engine],
    judges: Sequence[Engine],
    jail,
    settings: ReconstructSettings = DEFAULT,
) -> tuple[list[Reconstruction], Spent]:
    """One reconstruction per (question, solution), greedily; each is checked until something rejects it. All
    samples of every continuer must reach the solution. Raises GraderError or Unanswered when over 1% got
    lost."""
    # Write the chains.
    start, spent, prompts = time.perf_counter(), Spent(), settings.prompts
    turns = [user_turn(prompts.complete.format(question=question, solution=s)) for question, s in solved]
    with progress.doing("completing chains"):
        outputs = spent.metered("complete", model).sample(turns, 1, settings.max_new_tokens)
    built = []
    for (question, solution), (output,) in zip(solved, outputs, strict=True):
        summary, chain = parse(output.text) or ("", "")
        built.append(Reconstruction(question, solution, summary, chain, "" if chain else "malformed"))
    # Check them, cheapest first: what one check rejects, the next is not asked about.
    filters = [partial(_false_steps, jail=jail)]
    for engine in continuers:
        metered = spent.metered("continue", engine)
        filters.append(partial(_continued, engine=metered, jail=jail, settings=settings))
    for engine in judges:
        filters.append(partial(_condemned, engine=spent.metered("judge", engine), settings=settings))
    for reasons_of in filters:
        # Only those that nothing has rejected yet.
        alive = [i for i, candidate in enumerate(built) if candidate.kept]
        with progress.doing("checking chains"):
            reasons = list(reasons_of([built[i] for i in alive]))
        for i, reason in zip(alive, reasons, strict=True):
            built[i] = replace(built[i], rejected=reason)
    # A jail that fails says nothing about a chain: a few are counted, many are an error.
    lost = sum(candidate.reason == "the jail failed" for candidate in built)
    if lost > LOST * len(built):
        raise GraderError(f"the jail failed on {lost} of {len(built)} chains: mend it, then run again")
    spent.close(start)
    return built, spent


def _complaint(response: str, items: Sequence[Item], jail) -> str:
    # The finished response is inspected like a draft of the loop: same form, same tools.
    try:
        critiques = inspect(items, Completion(response, []), jail)
    except GraderError as reason:
        return f"the jail failed: {reason}"
    return next((critique.comment for critique in critiques if not critique.met), "")


def _false_steps(built: Sequence[Reconstruction], jail) -> list[str]:
    """What form and tools find wrong with chain and solution together."""
    return [_complaint(b.response, checklist(b.question), jail) for b in built]


def _continued(
    built: Sequence[Reconstruction], *, engine: Engine, jail, settings: ReconstructSettings
) -> list[str]:
    """Where a model arrives that is given the chain and goes on."""
    # The chain as the beginning of the assistant's turn: the model only has to answer.
    turns = [
        [
            *user_turn(settings.prompts.draft.format(question=b.question)),
            {"role": "assistant", "content": f"<think>{b.chain}</think>"},
        ]
        for b in built
    ]
    n, length, seed = settings.continuations, settings.max_new_tokens, settings.seed
    groups = engine.sample(turns, n, length, seed=seed, **SAMPLING) if turns else []
    # One sample that arrives elsewhere rejects: a chain that leads to two answers explains neither.
    reasons = []
    for b, group in zip(built, groups, strict=True):
        other = next((c.text.strip() for c in group if not _reaches(b, c, jail)), None)
        reasons.append("" if other is None else f"a model goes on to {other[:60]!r}")
    return reasons


def _reaches(b: Reconstruction, completion: Completion, jail) -> bool:
    """Does it stop by itself at the same answer, or at code that passes the same stated tests?"""
    # Equal answers, or (since many programs are right) other code that passes the same tests.
    items = checklist(b.question)
    if not completion.stopped:
        return False
    if committed(completion.text, items) == committed(b.solution, items):
        return True
    tested = any(item.kind == "tests" for item in items)
    return tested and not _complaint(f"<think>{b.chain}</think>{completion.text}", items, jail)


def _condemned(built: Sequence[Reconstruction], engine: Engine, settings: ReconstructSettings) -> list[str]:
    """What a model that judges finds wrong."""
    lists = [checklist(b.question) for b in built]
    requests = [
        judge_request(b.question, b.response, items, settings.prompts)
        for b, items in zip(built, lists, strict=True)
    ]
    # Judges see chain and solution together: a right answer after a false chain is no training row.
    opinions = judge(engine, requests, lists, settings.max_new_tokens) if built else []
    return [next((c.comment for c in opinion if not c.met), "") for opinion in opinions]
