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
import warnings
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import exp

from nbkit.checklist import BRACKETS, Item
from nbkit.data.equations import stated
from nbkit.generate import Completion, Engine, user_turn
from nbkit.tool_calls import called
from nbkit.verify.code import extract_code, grade
from nbkit.verify.jail import CallError
from nbkit.verify.math import extract_answer
from nbkit.verify.suites import mbpp_calls

_NUMBER = re.compile(r"-?\d+(?:,\d{3})*(?:\.\d+)?")
_LONGEST = 1000  # characters of a number, as of an answer; Python refuses to read 4,301 digits
_LONGEST_PROGRAM = 100_000  # characters; the parser of Python takes minutes for some longer ones
_VERDICT = re.compile(r"(?:verdict\W+)?(right|wrong)\b\W*(.*)", re.I)
_SAMPLES = (3, [2, 1], "ab")  # one input that a function accepts will do: its type is unknown


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


class JailFailed(RuntimeError):
    """The jail failed, not the draft: no verdict on it may be taken from that."""


def split_response(text: str) -> tuple[str, str]:
    """(chain of thought, final answer) of `<think>chain</think>answer`; without a chain ("", text)."""
    head, closed, answer = text.rpartition("</think>")
    return (head.removeprefix("<think>").strip(), answer.strip()) if closed else ("", text.strip())


def committed(text: str, items: Sequence[Item]) -> str:
    """What a draft counts as in a vote: the number it answers where the checklist wants one, code without
    regard to its layout where it wants that, else its final answer up to spacing."""
    kinds, answer = {item.kind for item in items}, split_response(text)[1]
    if "number" in kinds and (number := _last_number(extract_answer(answer))) is not None:
        return str(number)
    if "defines" in kinds and (tree := _parsed(extract_code(answer))):
        try:
            return ast.unparse(tree)
        except RecursionError:
            return answer
    return " ".join(answer.split())


def _numbers(text: str) -> list[Fraction]:
    return [Fraction(found.replace(",", "")) for found in _NUMBER.findall(text) if len(found) <= _LONGEST]


def _last_number(text: str) -> Fraction | None:
    found = next((found for found in reversed(_NUMBER.findall(text)) if len(found) <= _LONGEST), None)
    return None if found is None else Fraction(found.replace(",", ""))


def _parsed(code: str, mode: str = "exec") -> ast.Module | ast.Expression | None:
    """The syntax tree of a program of a model, which may be anything; None where it is no program."""
    if len(code) > _LONGEST_PROGRAM:
        return None
    try:
        with warnings.catch_warnings():  # an invalid escape in a model's string is no news for the reader
            warnings.simplefilter("ignore")
            return ast.parse(code, mode=mode)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


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


def vote(answers: Sequence[str], weights: Sequence[float], candidates: int) -> list[tuple[Critique, float]]:
    """Self-consistency among the drafts of one instruction, given what each commits to. The critique holds
    the share of all weight that agrees with a draft; where no draft has weight, all count alike. The number
    is its `agreement`: the share of the *other* candidates (the first so many drafts; revisions follow and
    are not independent) that give its answer."""
    if not any(weights):
        weights = [1.0] * len(answers)
    by_answer = defaultdict(float)
    for answer, weight in zip(answers, weights, strict=True):
        by_answer[answer] += weight
    favourite = max(by_answer, key=by_answer.__getitem__)
    found = []
    for number, answer in enumerate(answers):
        comment = "" if answer == favourite else f"others say {favourite}"
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
    distinct = list(dict.fromkeys(requests))
    answers = engine.sample([user_turn(request) for request in distinct], 1, max_new_tokens)
    by_request = {request: answer for request, (answer,) in zip(distinct, answers, strict=True)}
    return [_opinion(by_request[r], items) for r, items in zip(requests, checklists, strict=True)]


def _opinion(answer: Completion, items: Sequence[Item]) -> list[Critique]:
    lines = split_response(answer.text)[1].splitlines() or [""]
    critiques = []
    for line in lines[:-1]:
        found = re.match(r"(\d{1,4})\W+(met|unmet)\b\W*(.*)", line.strip(), re.I)
        if found and 1 <= int(found[1]) <= len(items):
            unmet = found[2].lower() == "unmet"
            comment = (found[3] or "unmet") if unmet else ""
            critiques.append(Critique(str(items[int(found[1]) - 1]), "judge", float(not unmet), comment))
    score, why = 0.5, ""
    if verdict := _VERDICT.match(lines[-1].strip()):
        first = answer.logprobs and answer.text.lower().startswith(verdict[1].lower())
        sure = exp(answer.logprobs[0]) if first else 1.0
        score, why = (sure if verdict[1].lower() == "right" else 1 - sure), verdict[2]
    comment = "" if score >= 0.5 else f"judged wrong: {why}".rstrip(": ")
    return [*critiques, Critique("is right", "judge", score, comment)]


def _arithmetic(draft, chain, answer, value, jail) -> str:
    wrong = [equation for equation, holds in stated(draft.text) if not holds]
    return f"{wrong[0]} is false" if wrong else ""


def _reasons(draft, chain, answer, value, jail) -> str:
    good = draft.text.startswith("<think>") and draft.text.count("</think>") == 1 and chain
    return "" if good else "no reasoning"


def _number(draft, chain, answer, value, jail) -> str:
    return "" if _last_number(extract_answer(answer)) is not None else "not a number"


def _supported(draft, chain, answer, value, jail) -> str:
    """The last step must name the answer's number, if the chain has any equation."""
    answered, ends = _last_number(extract_answer(answer)), _numbers(chain.split("\n")[-1])
    if answered is None or not ends or "=" not in chain:
        return ""
    return "" if answered in ends else f"the steps do not end in {answered}"


def _unit(draft, chain, answer, value, jail) -> str:
    other = re.search(r"\d ?([A-Za-z]+(?:/\w+)?)\b", answer)
    return f"the unit is {value[0]}" if other and other[1] != value[0] else ""


def _items(draft, chain, answer, value, jail) -> str:
    got = answer.split(", ") if ", " in answer else answer.split()
    return "" if sorted(got) == sorted(value) else "other items"


def _ascending(draft, chain, answer, value, jail) -> str:
    numbers = _numbers(answer)
    return "" if numbers == sorted(numbers) else "not in order"


def _copies(draft, chain, answer, value, jail) -> str:
    words = answer.split()
    return "" if len(words) == int(value[0]) and len(set(words)) == 1 else f"not {value[0]} times"


def _literal(draft, chain, answer, value, jail) -> str:
    tree = _parsed(answer, "eval")
    try:
        ast.literal_eval(tree or "")
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return "not a Python value"
    return ""


def _wrapped(draft, chain, answer, value, jail) -> str:
    left, right = BRACKETS[value[0]]
    return (
        "" if answer.startswith(left) and answer.endswith(right) and len(answer) > 2 else f"not in {value[0]}"
    )


def _tool(draft, chain, answer, value, jail) -> str:
    return "" if len(called(draft.text) or ()) == 1 else "must call a tool"


def _known_tool(draft, chain, answer, value, jail) -> str:
    """Text may be the right answer too: a question back, or a refusal."""
    if "<tool_call>" not in answer:
        return ""
    calls = called(draft.text) or [{"name": None}]
    return "" if all(call["name"] in value for call in calls) else f"calls none of {', '.join(value)}"


def _function(answer: str, name: str) -> ast.FunctionDef | None:
    tree = _parsed(extract_code(answer))
    body = tree.body if tree else []
    return next((node for node in body if isinstance(node, ast.FunctionDef) and node.name == name), None)


def _defines(draft, chain, answer, value, jail) -> str:
    return "" if _function(answer, value[0]) else f"must define {value[0]}"


def _runs(draft, chain, answer, value, jail) -> str:
    function = _function(answer, value[0])
    count = len(function.args.args) if function else 1
    results = [jail.call(extract_code(answer), value[0], [[sample] * count]) for sample in _SAMPLES]
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
    "known tool": (_known_tool, "form"),
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
