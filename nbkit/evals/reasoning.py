"""The form of answers: why they end, how long they are, do they think first and state equations that hold?
Used by 03, 07 and `nbkit eval`.

form(result, tokenizer)["right form"]    # Estimate over the answers, e.g. 98.3% [96.1, 99.4]
print(format_table({"cold start": format_of(result.answers)}))
by_chain(result, ["math"])["thinks"]  # and how many are right with a chain, and without
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import numpy as np

from nbkit.evals.evaluate import Evaluation
from nbkit.evals.score import Estimate, avg_at_k, estimate
from nbkit.models.chat_ids import token_ids_of
from nbkit.models.engine import Completion
from nbkit.text.chat import CALL, END_THINK, THINK, split_thought
from nbkit.text.equations import equations
from nbkit.text.tool_calls import parse_tool_calls

SHARES = ("ends by itself", "at the limit", "otherwise", "with a chain", "final answer")


def chain(text: str) -> str:
    """What stands between <think> and </think>; up to the end where thinking does not end, "" without any."""
    _, opened, rest = text.partition(THINK)
    thought = split_thought(opened + rest)[0]
    return rest if thought is None else thought


def has_chain(text: str) -> bool:
    """Is there a chain of thought that is not empty, closed or not?"""
    return bool(chain(text).strip())


def well_formed(text: str, ended: bool) -> bool:
    """Begins with the one chain of thought, closes it once, and stops by itself."""
    return ended and text.startswith(THINK) and text.count(THINK) == text.count(END_THINK) == 1


def form(result: Evaluation, tokenizer) -> dict[str, Estimate]:
    """Over the first answer to each question, with 95% intervals:

    right form            share that is `well_formed`
    tokens of thought     mean length of `chain`, 0 where there is none
    states an equation    share whose text, chain or not, holds one such as 3 + 4 = 7
    its equations hold    share of true ones among them, mean over those answers; absent where none has any
    """
    shaped = [well_formed(t, e) for t, e in zip(result.texts, result.ended, strict=True)]
    lengths = [len(ids) for ids in token_ids_of(tokenizer, [chain(text) for text in result.texts])]
    stated = [equations(text) for text in result.texts]
    found = {
        "right form": avg_at_k(np.array(shaped)),
        # A number of tokens has no upper bound, a share has.
        "tokens of thought": estimate(lengths, (0.0, np.inf)),
        "states an equation": avg_at_k(np.array([bool(s) for s in stated])),
    }
    if any(stated):
        # Only answers that state some: an answer without equations has none that are false.
        found["its equations hold"] = estimate([np.mean(s) for s in stated if s], (0.0, 1.0))
    return found


def final(text: str, ended: bool) -> bool:
    """Is there a well-formed final answer: the chain of thought, if any, is closed, a text without further
    tags of thought or broken tool calls follows, and the model ended it?"""
    thought, answer = split_thought(text)
    closed = thought is not None or not text.lstrip().startswith(THINK)
    calls = CALL not in answer or parse_tool_calls(answer) is not None
    return (
        ended
        and closed
        and calls
        and bool(answer.strip())
        and THINK not in answer
        and END_THINK not in answer
    )


def spread(tokens: Sequence[int]) -> dict[str, float]:
    """Number, mean, median, 90% quantile and largest of some lengths."""
    median, p90 = np.quantile(tokens, (0.5, 0.9))
    return {
        "n": len(tokens),
        "mean": float(np.mean(tokens)),
        "median": float(median),
        "p90": float(p90),
        "most": float(max(tokens)),  # no count: `nbkit compare` wants those equal
    }


def format_of(answers: Sequence[Sequence[Completion]]) -> dict[str, Any]:
    """Over K answers to each of Q questions, shares with 95% intervals (the question is the unit) of those
    that

    ends by itself    the model ended; of a document also where it began with the next question
    at the limit      max_new_tokens cut off
    otherwise         the model's context cut off, or that never came
    with a chain      have a chain of thought that is not empty, closed or not
    final answer      have a well-formed final answer (`final`)

    and "tokens": the `spread` of the lengths in tokens, of documents with all that follows the answer."""

    def part(holds: Callable[[Completion], bool]) -> Estimate:
        return avg_at_k(np.array([np.mean([holds(one) for one in group]) for group in answers]))

    return {
        "ends by itself": part(lambda one: one.stopped),
        "at the limit": part(lambda one: one.stop == "length"),
        "otherwise": part(lambda one: one.stop not in ("stop", "length")),
        "with a chain": part(lambda one: has_chain(one.text)),
        "final answer": part(lambda one: final(one.text, one.stopped)),
        "tokens": spread([one.tokens for group in answers for one in group]),
    }


def by_chain(result: Evaluation, domains: Collection[str]) -> dict[str, Estimate]:
    """Over the graded questions of these domains, with 95% intervals (the question is the unit):

    thinks              share of the answers that have a chain of thought (`has_chain`)
    right with a chain  accuracy of these, over the questions that have such answers
    right without       accuracy of the others, likewise

    What there is none of is absent. The two accuracies are of different questions, since the model chooses
    where it thinks: their difference is not what thinking brings."""
    shares, sides = [], {"right with a chain": [], "right without": []}
    for q in (q for q in result.graded if result.tasks[q].domain in domains):
        thinks_K = np.array([has_chain(answer.text) for answer in result.answers[q]])
        right_K = result.correct_QK.data[q][: len(thinks_K)]
        shares.append(thinks_K.mean())
        for side, own_K in zip(sides.values(), (thinks_K, ~thinks_K), strict=True):
            if own_K.any():
                side.append(right_K[own_K].mean())
    means = {"thinks": shares, **sides}
    return {name: avg_at_k(np.array(values)) for name, values in means.items() if values}


def format_table(formats: Mapping[str, Mapping[str, Any]]) -> str:
    """One line per model (or task), one column per number of `format_of`."""
    width = max(map(len, formats), default=0) + 2
    heads = ("tokens: median", "90% below", *SHARES)
    lines = [" " * width + "  ".join(heads)]
    for name, found in formats.items():
        lengths = (f"{found['tokens'][key]:,.0f}" for key in ("median", "p90"))
        values = [*lengths, *(f"{found[key].mean:.0%}" for key in SHARES)]
        cells = (f"{value:>{len(head)}}" for value, head in zip(values, heads, strict=True))
        lines.append(f"{name:<{width}}" + "  ".join(cells))
    return "\n".join(lines)
