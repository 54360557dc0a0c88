"""Which answer does a completion state? The conventions stand in docs/answers.md.

tests/math_pairs/extraction.jsonl holds a text, an answer, and whether the text states that answer.
"""

import json
import random
import time
from itertools import product
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from nbkit.verify import equivalent, extract_answer
from nbkit.verify.answers.extract.answer import extract_answer as from_math
from nbkit.verify.answers.extract.equations import chain, formulas
from nbkit.verify.answers.parse.clean import MAX_ANSWER

CASES = Path(__file__).parents[2] / "math_pairs" / "extraction.jsonl"
ROWS = [json.loads(line) for line in CASES.read_text(encoding="utf-8").splitlines()]
PIECES = [
    "answer ", "The answer is ", "the answer is not 5. ", "answer to the ", "final answer ", r"\boxed{",
    r"\boxed{}", r"\boxed{1} and ", r"\boxed 7 ", "#### ", "#### 1. a\n", "#", "<answer>", "<answer>1",
    "</think>", "<think>", r"\text{", "1,", "9", "(", "[", "{", "}", ". ", "-", r"\frac{", r"\frac{1}{",
    r"\sqrt{", "$", "$$", "$ ", r"\[", r"\(", " = ", "= 1 ", "\n", " ", "\u3000", "**", "**a** ", "is 5 ",
    "答案", "。", "答:", "A. ", "it's A ", "not A ", "and ", ", ", "\nQuestion:", "\nQ 1:", "\nAnswer:",
    "Answer:\n", "answer is:\n", "```\n", "1\u2009234", "\\", r"\begin{align}", "&", "a", "\x00",
    "\ud800", "\u202e", "réponse ", "answer (a", "therefore ", "1:", "5 × 10^", "<|im_end|>", "x = ", "3. ",
    "Suppose the ", "It is false that ", "Is the answer ", "5? ", "~~5~~ ", "5 ❌", "答案不是", "n'est pas ",
    "Case 1: ", "- ", "#### 6 or\n", "</answer> or ", "make that ", "That's wrong. ", "two and ", "∴ ",
]  # fmt: skip


def test_one_function_under_three_names():
    assert extract_answer is from_math
    assert extract_answer.__module__ == "nbkit.verify.answers.extract.answer"


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row['kind']}: {row['text'][:40]}")
def test_answers_that_texts_state(row):
    assert equivalent(extract_answer(row["text"]), row["answer"]) is row["equal"]


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("x = 2 + 3 = 5", "5"),
        ("2 + 3 = 5", "5"),
        ("x = 5", "x = 5"),
        ("x = y = 5", "x = y = 5"),
        ("7 = 11a + c", "7 = 11a + c"),
        ("2x + y = 3", "2x + y = 3"),
        ("AB = 4, CD = 5", "AB = 4, CD = 5"),
        (r"p = 1 \text{ and } p = 2", r"p = 1 \text{ and } p = 2"),
        (r"2x = 10 \Rightarrow x = 5", "x = 5"),
        ("x <= 1", "x <= 1"),
        (r"f(1 = 1) = 2 = 2", "2"),
    ],
)
def test_the_end_of_a_chain_of_equations(text, answer):
    assert chain(text) == answer


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("so $x = 5$ costs $7", ["x = 5"]),
        ("from $5 to $7 and $x$", ["x"]),
        ("paid $3 for it and $4 for that", []),
        (r"a \(b\) \[c\] $$d$$ \$5$e$", ["b", "c", "d", "e"]),
        ("$a\n$ $b$", ["b"]),
        ("$$\na\n$$", ["a"]),
    ],
)
def test_formulas_and_money(text, found):
    assert [content for _, _, content in formulas(text)] == found


@settings(max_examples=150, deadline=None, derandomize=True)
@given(st.lists(st.sampled_from(PIECES) | st.text(max_size=5), max_size=30).map("".join))
@example("9" * 20_000)
@example(r"\boxed{" * 5_000 + "}" * 5_000)
@example("The answer is " + "(" * 20_000)
def test_no_text_raises(text):
    answer = extract_answer(text)
    assert isinstance(answer, str) and len(answer) <= MAX_ANSWER


def test_time_grows_with_the_length_only():
    """About 2 s on a slow core. A pattern that is quadratic takes ten minutes, an exponential one years."""
    texts = ["".join(random.Random(seed).choices(PIECES, k=10_000)) for seed in range(2)]
    texts += [piece * (100_000 // len(piece)) for piece in ("answer to the ", "\nQ 1:", "$")]
    for piece, (before, behind) in product(PIECES, [("", ""), (r"The answer is \boxed{", "}")]):
        texts.append(before + piece * (4_000 // len(piece)) + behind)
    started = time.monotonic()
    for text in texts:
        extract_answer(text)
    assert time.monotonic() - started < 60
