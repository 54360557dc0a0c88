"""Evaluators of the refinement loop: drafts in, scores and structured critiques out. Used by 04.

Four kinds look at every draft: its form, tools (exact arithmetic, Python in the jail, stated tests), the
other drafts of the same instruction (self-consistency), and models that judge. None of them sees a reference
answer: this module imports neither tasks nor their verifier, and a test holds it to that.

    inspect(checklist("What is 30 + 20?"), draft, jail)
    # [..., Critique("every equation that it states holds", "tool", 0.0, "30 + 20 = 60 is false"), ...]
"""

import ast
import json
import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from math import exp

from nbkit.checklist import _BRACKETS, Item
from nbkit.data.equations import equations
from nbkit.generate import Completion, Engine
from nbkit.verify.code import extract_code, grade
from nbkit.verify.jail import CallError
from nbkit.verify.math import extract_answer
from nbkit.verify.suites import mbpp_calls

_EQUATION = re.compile(r"-?\d+ [-+*/] -?\d+ = -?\d+")
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?")
_SAMPLES = (3, [2, 1], "ab")  # one input that a function accepts will do: its type is unknown


@dataclass(frozen=True)
class Critique:
    """One evaluator about one item. `score` is 0 to 1, met from 0.5; `comment` says what is wrong in words
    that a revision can use, and is empty when the item is met."""

    item: str
    evaluator: str
    score: float
    comment: str = ""

    @property
    def met(self) -> bool:
        return self.score >= 0.5


@dataclass(frozen=True)
class Review:
    """A draft (`text`, by `author`) and what every evaluator says about it."""

    text: str
    author: str
    stopped: bool
    critiques: tuple[Critique, ...]

    @property
    def passed(self) -> bool:
        return all(critique.met for critique in self.critiques)

    def trusted(self, confidence: float) -> bool:
        """Does it meet every check by form and tools, and has its answer this share of the vote?"""
        checks = [c.met for c in self.critiques if c.evaluator in ("form", "tool")]
        votes = [c.score >= confidence for c in self.critiques if c.evaluator == "agreement"]
        return all(checks) and all(votes) and bool(votes)

    @property
    def complaints(self) -> tuple[str, ...]:
        return tuple(critique.comment for critique in self.critiques if not critique.met)

    @property
    def rank(self) -> tuple[float, float]:
        """What the best draft is chosen by: the share of checks by form and tools that are met, then the
        weight of the vote for its answer and what the judges give it."""
        hard = [c.met for c in self.critiques if c.evaluator in ("form", "tool")]
        soft = [c.score for c in self.critiques if c.evaluator not in ("form", "tool")]
        return sum(hard) / max(1, len(hard)), sum(soft) / max(1, len(soft))


class JailFailed(RuntimeError):
    """The jail failed, not the draft: no verdict on it may be taken from that."""


def split_response(text: str) -> tuple[str, str]:
    """(chain of thought, final answer) of `<think>chain</think>answer`; without a chain ("", text)."""
    head, closed, answer = text.rpartition("</think>")
    return (head.removeprefix("<think>").strip(), answer.strip()) if closed else ("", text.strip())


def committed(text: str) -> str:
    """What a draft counts as in a vote: its final answer, or the number that ends it when that is prose."""
    answer = split_response(text)[1]
    prose = len(answer.split()) > 12 and "def " not in answer and "<tool_call>" not in answer
    return extract_answer(answer) if prose else " ".join(answer.split())


def inspect(items: Sequence[Item], draft: Completion, jail) -> list[Critique]:
    """Form and tool checks of one draft. Raises JailFailed when the jail could not run its code."""
    chain, answer = split_response(draft.text)
    found = []
    for item in items:
        if item.kind == "judged":
            continue
        check, evaluator = _CHECKS[item.kind]
        comment = check(draft, chain, answer, item.value, jail)
        found.append(Critique(str(item), evaluator, 0.0 if comment else 1.0, comment))
    return found


def vote(drafts: Sequence[Completion], weights: Sequence[float]) -> list[Critique]:
    """Self-consistency among the drafts of one instruction: the share of all weight that agrees with each.
    Where no draft has weight, all count alike."""
    if not any(weights):
        weights = [1.0] * len(drafts)
    total, by_answer = sum(weights), defaultdict(float)
    answers = [committed(draft.text) for draft in drafts]
    for answer, weight in zip(answers, weights, strict=True):
        by_answer[answer] += weight
    favourite = max(by_answer, key=by_answer.__getitem__)
    critiques = []
    for answer in answers:
        share = by_answer[answer] / total
        agrees = answer == favourite
        comment = "" if agrees else f"others say {favourite}"
        # the favourite counts as met however small its share: among many answers none may reach a half
        score = max(0.5, share) if agrees else min(0.49, share)
        critiques.append(Critique("agrees with the other drafts", "agreement", score, comment))
    return critiques


def judge(
    engine: Engine, requests: Sequence[str], checklists: Sequence[Sequence[Item]], max_new_tokens: int
) -> list[list[Critique]]:
    """What a model says about every draft, greedily. It ends with the line `right`, or `wrong: why`; before
    that it may give lines `N: met` or `N: unmet, why` about numbered items. Without a verdict it has no
    opinion (0.5). Where the engine gives log-probs, a verdict in the first line scores the probability of its
    first token, else 1 or 0. Equal requests are asked once."""
    distinct = list(dict.fromkeys(requests))
    turns = [[{"role": "user", "content": request}] for request in distinct]
    answers = engine.sample(turns, 1, max_new_tokens)
    by_request = {request: answer for request, (answer,) in zip(distinct, answers, strict=True)}
    return [_opinion(by_request[r], items) for r, items in zip(requests, checklists, strict=True)]


def _opinion(answer: Completion, items: Sequence[Item]) -> list[Critique]:
    lines = split_response(answer.text)[1].splitlines() or [""]
    critiques = []
    for line in lines[:-1]:
        found = re.match(r"(\d+)\W+(met|unmet)\b\W*(.*)", line.strip(), re.I)
        if found and 1 <= int(found[1]) <= len(items):
            unmet = found[2].lower() == "unmet"
            comment = (found[3] or "unmet") if unmet else ""
            critiques.append(Critique(str(items[int(found[1]) - 1]), "judge", float(not unmet), comment))
    word, _, why = lines[-1].strip().partition(":")
    sure = exp(answer.logprobs[0]) if answer.logprobs and len(lines) == 1 else 1.0
    score = {"right": sure, "wrong": 1 - sure}.get(word.lower().rstrip("."), 0.5)
    comment = "" if score >= 0.5 else f"judged wrong: {why.strip()}".rstrip(": ")
    return [*critiques, Critique("is right", "judge", score, comment)]


def _arithmetic(draft, chain, answer, value, jail) -> str:
    wrong = [m.group() for m in _EQUATION.finditer(draft.text) if not all(equations(m.group()))]
    return f"{wrong[0]} is false" if wrong else ""


def _reasons(draft, chain, answer, value, jail) -> str:
    good = draft.text.startswith("<think>") and draft.text.count("</think>") == 1 and chain
    return "" if good else "no reasoning"


def _number(draft, chain, answer, value, jail) -> str:
    return "" if _NUMBER.search(extract_answer(answer)) else "not a number"


def _supported(draft, chain, answer, value, jail) -> str:
    """The last step must name the answer's number, if the chain has any equation."""
    stated, numbers = _NUMBER.findall(extract_answer(answer)), _NUMBER.findall(chain.split("\n")[-1])
    if not stated or "=" not in chain or not numbers:
        return ""
    return "" if float(stated[-1]) in map(float, numbers) else f"the steps do not end in {stated[-1]}"


def _unit(draft, chain, answer, value, jail) -> str:
    other = re.search(r"\d ?([A-Za-z]+(?:/\w+)?)\b", answer)
    return f"the unit is {value[0]}" if other and other[1] != value[0] else ""


def _items(draft, chain, answer, value, jail) -> str:
    got = answer.split(", ") if ", " in answer else answer.split()
    return "" if sorted(got) == sorted(value) else "other items"


def _ascending(draft, chain, answer, value, jail) -> str:
    numbers = [float(x) for x in _NUMBER.findall(answer)]
    return "" if numbers == sorted(numbers) else "not in order"


def _copies(draft, chain, answer, value, jail) -> str:
    words = answer.split()
    return "" if len(words) == int(value[0]) and len(set(words)) == 1 else f"not {value[0]} times"


def _literal(draft, chain, answer, value, jail) -> str:
    try:
        ast.literal_eval(answer)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return "not a Python value"
    return ""


def _wrapped(draft, chain, answer, value, jail) -> str:
    left, right = _BRACKETS[value[0]]
    return (
        "" if answer.startswith(left) and answer.endswith(right) and len(answer) > 2 else f"not in {value[0]}"
    )


def _tool(draft, chain, answer, value, jail) -> str:
    body = re.fullmatch(r"<tool_call>(.*)</tool_call>", answer, re.S)
    try:
        call = json.loads(body[1]) if body else None
    except (ValueError, RecursionError):
        call = None
    good = (
        isinstance(call, dict) and set(call) == {"name", "arguments"} and isinstance(call["arguments"], dict)
    )
    return "" if good else "must call a tool"


def _defines(draft, chain, answer, value, jail) -> str:
    try:
        body = ast.parse(extract_code(answer)).body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        body = []
    found = any(isinstance(node, ast.FunctionDef) and node.name == value[0] for node in body)
    return "" if found else f"must define {value[0]}"


def _runs(draft, chain, answer, value, jail) -> str:
    results = [jail.call(extract_code(answer), value[0], [[sample]]) for sample in _SAMPLES]
    if any(r.status == "infra" for r in results):
        raise JailFailed(f"the jail could not run a draft: {results[0].detail}")
    ran = any(r.status == "ok" and not isinstance(r.values[0], CallError) for r in results)
    return "" if ran else "does not run"


def _tests(draft, chain, answer, value, jail) -> str:
    parsed = mbpp_calls(value)
    if parsed is None:
        return ""  # a test that cannot be run without trusting the program says nothing
    verdict = grade(jail, extract_code(answer), *parsed)
    if verdict.status == "infra":
        raise JailFailed(f"the jail could not test a draft: {verdict.detail}")
    return "" if verdict.status == "pass" else f"fails: {verdict.detail[:80] or value[0]}"


_CHECKS = {
    "finished": (lambda d, c, a, v, j: "" if d.stopped and a else "not finished", "form"),
    "reasons": (_reasons, "form"),
    "arithmetic": (_arithmetic, "tool"),
    "number": (_number, "form"),
    "supported": (_supported, "tool"),
    "unit": (_unit, "form"),
    "choice": (
        lambda d, c, a, v, j: "" if a.strip(".").lower() in v else f"not one of {', '.join(v)}",
        "form",
    ),
    "items": (_items, "tool"),
    "ascending": (_ascending, "tool"),
    "first": (lambda d, c, a, v, j: "" if re.split(r"[, ]", a)[0] == v[0] else f"begins with {v[0]}", "tool"),
    "copies": (_copies, "tool"),
    "literal": (_literal, "tool"),
    "wrapped": (_wrapped, "form"),
    "letter": (lambda d, c, a, v, j: "" if len(a) == 1 and a in v[0] else "not one letter of it", "form"),
    "tool": (_tool, "form"),
    "defines": (_defines, "tool"),
    "runs": (_runs, "tool"),
    "tests": (_tests, "tool"),
    "at most words": (
        lambda d, c, a, v, j: "" if len(a.split()) <= int(v[0]) else f"over {v[0]} words",
        "form",
    ),
    "json": (lambda d, c, a, v, j: "" if _is_json(a) else "not JSON", "form"),
}


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True
