"""Evaluators of the refinement loop: drafts in, scores and structured critiques out. Used by 04.

Four kinds look at every draft: its form, tools (exact arithmetic, Python in the jail, stated tests), the
other drafts of the same instruction (self-consistency), and models that judge. None of them sees a reference
answer: this module imports neither tasks nor their verifier, and a test holds it to that.

    inspect(checklist("What is 30 + 20?"), draft, jail)
    # [..., Critique("every equation that it states holds", "tool", 0.0, "30 + 20 = 60 is false"), ...]
"""

import ast
import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from math import exp

from nbkit.models.engine import Completion, Engine, user_turn
from nbkit.refine.checklist import Item
from nbkit.refine.draft_checks import CHECKS, last_number, parsed
from nbkit.text.chat import final_answer, split_thought
from nbkit.verify.answers.extract.answer import extract_answer
from nbkit.verify.code.blocks import extract_code

_VERDICT = re.compile(r"(?:verdict\W+)?(right|wrong)\b\W*(.*)", re.I)


@dataclass(frozen=True)
class Critique:
    """One evaluator about one item: a score from 0 to 1, and what is wrong in words that a revision can use;
    without a comment the item is met."""

    item: str
    evaluator: str
    score: float
    comment: str = ""

    @property
    def met(self) -> bool:
        return not self.comment


@dataclass(frozen=True)
class Review:
    """A draft (`text`, by `author`) and what every evaluator says about it. `agreement`: the share of the
    other candidates of its instruction that give the same answer, 0 where there are none."""

    text: str
    author: str
    stopped: bool
    critiques: tuple[Critique, ...]
    agreement: float = 0.0

    @property
    def passed(self) -> bool:
        return all(critique.met for critique in self.critiques)

    def trusted(self, confidence: float, judged: float = 0.0) -> bool:
        """Does it meet every check by form and tools, does this share of the others agree with it, and do the
        judges give it so much on average?"""
        return (
            sound(self.critiques) and self.agreement >= confidence and mean_opinion(self.critiques) >= judged
        )

    @property
    def complaints(self) -> tuple[str, ...]:
        return tuple(critique.comment for critique in self.critiques if not critique.met)

    @property
    def rank(self) -> tuple[float, float]:
        """What the best draft is chosen by: the share of checks by form and tools that are met, then the
        weight of the vote for its answer and what the judges give it."""
        # Hard checks first: a vote or an opinion never outweighs a failed test or a false equation.
        hard = [c.met for c in self.critiques if c.evaluator in ("form", "tool")]
        soft = [c.score for c in self.critiques if c.evaluator not in ("form", "tool")]
        return sum(hard) / max(1, len(hard)), sum(soft) / max(1, len(soft))


def sound(critiques: Sequence[Critique]) -> bool:
    """Is every check by form and tools met?"""
    return all(c.met for c in critiques if c.evaluator in ("form", "tool"))


def mean_opinion(critiques: Sequence[Critique]) -> float:
    """What the judges give on average; 1 without judges."""
    scores = [c.score for c in critiques if c.evaluator == "judge"] or [1.0]
    return sum(scores) / len(scores)


def split_response(text: str) -> tuple[str, str]:
    """(chain of thought, final answer) of `<think>chain</think>answer`; without a chain ("", text)."""
    thought, answer = split_thought(text)
    return (thought or "").strip(), answer.strip()


def committed(text: str, items: Sequence[Item]) -> str:
    """What a draft counts as in a vote: the number it answers where the checklist wants one, code without
    regard to its layout where it wants that, else its final answer up to spacing."""
    kinds, answer = {item.kind for item in items}, split_response(text)[1]
    if "number" in kinds and (number := last_number(extract_answer(answer))) is not None:
        return str(number)
    if "defines" in kinds and (tree := parsed(extract_code(answer))):
        try:
            return ast.unparse(tree)
        except (RecursionError, ValueError):  # too deep, or a number too long to be written
            return answer
    return " ".join(final_answer(text).split())


def inspect(items: Sequence[Item], draft: Completion, jail) -> list[Critique]:
    """Form and tool checks of one draft. Raises GraderError when the jail could not run its code."""
    chain, answer = split_response(draft.text)
    found = []
    for item in items:
        if item.kind == "judged":
            continue
        check, evaluator = CHECKS[item.kind]
        comment = check(draft, chain, answer, item.value, jail)
        found.append(Critique(str(item), evaluator, 0.0 if comment else 1.0, comment))
    return found


def vote(answers: Sequence[str], weights: Sequence[float], candidates: int) -> list[tuple[Critique, float]]:
    """Self-consistency among the drafts of one instruction, given what each commits to. The critique holds
    the share of all weight that agrees with a draft; where no draft has weight, all count alike. The number
    is its `agreement`: the share of the *other* candidates (the first so many drafts; revisions follow and
    are not independent) that give its answer."""
    # Only sound drafts have weight; where none is sound, the vote is among all of them.
    if not any(weights):
        weights = [1.0] * len(answers)
    by_answer = defaultdict(float)
    for answer, weight in zip(answers, weights, strict=True):
        by_answer[answer] += weight
    favourite = max(by_answer, key=by_answer.__getitem__)
    found = []
    for number, answer in enumerate(answers):
        comment = "" if answer == favourite else f"others say {favourite}"
        # Two measures: the share of weight steers the loop, the share of *other* candidates is for `trusted`.
        share = by_answer[answer] / sum(weights)
        others = [a for i, a in enumerate(answers[:candidates]) if i != number]
        agreement = others.count(answer) / len(others) if others and answer else 0.0
        found.append((Critique("agrees with the other drafts", "agreement", share, comment), agreement))
    return found


def judge(
    engine: Engine, requests: Sequence[str], checklists: Sequence[Sequence[Item]], max_new_tokens: int
) -> list[list[Critique]]:
    """What a model says about every draft, greedily. It ends with the line `right`, or `wrong: why`; before
    that it may give lines `N: met` or `N: unmet, why` about numbered items. Without a verdict it has no
    opinion (0.5). Where the engine gives log-probs, a verdict in the first line scores the probability of its
    first token, else 1 or 0. Equal requests are asked once."""
    # The same draft comes up often (greedy students, short answers), and a judge answers it the same.
    distinct = list(dict.fromkeys(requests))
    answers = engine.sample([user_turn(request) for request in distinct], 1, max_new_tokens)
    by_request = {request: answer for request, (answer,) in zip(distinct, answers, strict=True)}
    return [_opinion(by_request[r], items) for r, items in zip(requests, checklists, strict=True)]


def _opinion(answer: Completion, items: Sequence[Item]) -> list[Critique]:
    lines = split_response(answer.text)[1].splitlines() or [""]
    # Lines before the last may be about single items of the numbered checklist.
    critiques = []
    for line in lines[:-1]:
        found = re.match(r"(\d{1,4})\W+(met|unmet)\b\W*(.*)", line.strip(), re.I)
        if found and 1 <= int(found[1]) <= len(items):
            unmet = found[2].lower() == "unmet"
            comment = (found[3] or "unmet") if unmet else ""
            critiques.append(Critique(str(items[int(found[1]) - 1]), "judge", float(not unmet), comment))
    # The last line is the verdict on the whole; anything else there is no opinion.
    score, why = 0.5, ""
    if verdict := _VERDICT.match(lines[-1].strip()):
        first = answer.logprobs and answer.text.lower().startswith(verdict[1].lower())
        # P(first token of the verdict) is how sure the judge is; "wrong" at 0.9 is "right" at 0.1.
        sure = exp(answer.logprobs[0]) if first else 1.0
        score, why = (sure if verdict[1].lower() == "right" else 1 - sure), verdict[2]
    comment = "" if score >= 0.5 else f"judged wrong: {why}".rstrip(": ")
    return [*critiques, Critique("is right", "judge", score, comment)]
