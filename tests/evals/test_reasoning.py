"""The form of answers, counted by hand, and what the cold start's curve refuses."""

from dataclasses import replace

import numpy as np
import pytest
import tiny

from nbkit.evals.evaluate import Evaluation, evaluate
from nbkit.evals.reasoning import (
    by_chain,
    chain,
    final,
    form,
    format_of,
    format_table,
    spread,
    well_formed,
)
from nbkit.models.engine import Completion
from nbkit.run import files, params
from nbkit.run.schemas import SCHEMAS
from nbkit.tasks.skills import Task
from nbkit.text.equations import equations

TASK = Task("add", "math", 1, "operands", "What is 3 + 4?", (), "7", "number")


@pytest.mark.parametrize(
    ("text", "ended", "wanted"),
    [
        ("<think>3 + 4 = 7</think>7", True, True),
        ("<think></think>7", True, True),
        ("<think>3 + 4 = 7</think>7", False, False),
        ("7", True, False),
        (" <think>a</think>7", True, False),
        ("<think>a</think>7</think>", True, False),
        ("<think>a<think>b</think>7", True, False),
        ("<think>a", True, False),
        ("", True, False),
    ],
)
def test_the_right_form(text, ended, wanted):
    assert well_formed(text, ended) is wanted


def test_the_chain_of_an_answer():
    assert chain("<think>a\nb</think>c</think>") == "a\nb"
    assert chain("<think>never ends") == "never ends" and chain("no</think>") == "" == chain("")


def test_the_form_of_answers_is_as_counted_by_hand():
    texts = ["<think>3 + 4 = 7\n1 + 1 = 3</think>7", "<think>ab</think>7", "2 * 3 = 6", "hm"]
    result = Evaluation([TASK] * 4, np.ma.zeros((4, 1), bool), 0.75, texts, [True, True, True, False])
    found = form(result, tiny.tokenizer())
    lengths = [len(tiny.tokenizer()(chain(text)).input_ids) for text in texts]
    assert found["right form"].mean == 0.5 and found["states an equation"].mean == 0.5
    assert lengths[2:] == [0, 0] and found["tokens of thought"].mean == np.mean(lengths) > 0
    assert (found["its equations hold"].mean, found["its equations hold"].n) == (0.75, 2)  # (1/2 + 1) / 2


def test_answers_without_equations_have_none_that_hold():
    result = Evaluation([TASK] * 2, np.ma.zeros((2, 1), bool), 1.0, ["a", "b"], [True, True])
    assert "its equations hold" not in form(result, tiny.tokenizer())


@pytest.mark.parametrize(
    ("text", "ended", "wanted"),
    [
        ("7", True, True),
        ("7", False, False),
        ("<think>3 + 4 = 7</think>7", True, True),
        ("3 + 4 = 7</think>7", True, True),  # the prompt had opened the chain
        ("<think>3 + 4 = 7</think>", True, False),
        ("<think>3 + 4 = 7", True, False),
        ("<think>a</think>7<think>b", True, False),
        ("<think>a</think>b</think>7", True, False),
        ("", True, False),
        ("  \n", True, False),
        ('<tool_call>{"name": "clock"}</tool_call>', True, True),
        ('<tool_call>{"name": "clock"</tool_call>', True, False),
    ],
)
def test_a_well_formed_final_answer(text, ended, wanted):
    assert final(text, ended) is wanted


# Two answers to each of four questions, with their lengths in tokens.
ANSWERS = [
    [("<think>a</think>7", "stop", 4), ("<think>b</think>7", "stop", 6)],
    [("<think></think>7", "stop", 8), ("<think>going on", "length", 96)],
    [("no end", "length", 96), ("neither", "length", 96)],
    [("7", "stop", 10), ("", "context", 20)],
]


def answers():
    return [[Completion(text, stop=stop, counted=n) for text, stop, n in group] for group in ANSWERS]


def test_formats_are_as_counted_by_hand():
    found = format_of(answers())
    means = {name: value.mean for name, value in found.items() if name != "tokens"}
    assert means == {
        "ends by itself": 4 / 8,
        "at the limit": 3 / 8,
        "otherwise": 1 / 8,
        "with a chain": 3 / 8,
        "final answer": 4 / 8,
    }
    assert found["tokens"] == {"n": 8, "mean": 42.0, "median": 15.0, "p90": 96.0, "most": 96.0}
    # The question is the unit: two samples of each are no eight independent ones.
    assert found["ends by itself"].n == 4
    assert found["ends by itself"].low < 0.2 and found["ends by itself"].high > 0.8


def test_the_table_has_a_line_per_model():
    table = format_table({"cold start": format_of(answers()), "b": format_of(answers()[:1])}).split("\n")
    assert table[0].split("  ")[-7:] == [
        "tokens: median", "90% below", "ends by itself", "at the limit", "otherwise", "with a chain",
        "final answer",
    ]  # fmt: skip
    assert table[1].split() == ["cold", "start", "15", "96", "50%", "38%", "12%", "38%", "50%"]
    assert table[2].split() == ["b", "5", "6", "100%", "0%", "0%", "100%", "100%"]
    assert len({len(line) for line in table}) == 1


def test_answers_with_a_chain_and_without_are_counted_by_hand():
    right = np.ma.array([[1, 0], [1, 1], [0, 0], [1, 1]], bool)
    tasks = [TASK, TASK, TASK, replace(TASK, domain="agent")]
    result = Evaluation(tasks, right, 1.0, [], answers=answers())
    found = {name: (e.mean, e.n) for name, e in by_chain(result, ["math"]).items()}
    # Question by question: both of the first, one of the second (it was cut off), none of the third.
    assert found["thinks"] == (0.5, 3)
    assert found["right with a chain"] == ((1 / 2 + 1) / 2, 2) and found["right without"] == (1 / 2, 2)


def test_what_was_not_graded_or_never_said_is_in_no_share():
    right = np.ma.zeros((4, 2), bool)
    right[0] = right[1] = np.ma.masked
    found = by_chain(Evaluation([TASK] * 4, right, 1.0, [], answers=answers()), ["math"])
    assert set(found) == {"thinks", "right without"} and found["thinks"].mean == 0.0


def test_lengths_of_one_answer():
    assert spread([5]) == {"n": 1, "mean": 5.0, "median": 5.0, "p90": 5.0, "most": 5.0}


class Scripted:
    """An engine that says what it is told to."""

    def __init__(self, *said):
        self.said = list(said)

    def sample(self, prompts, n, *rest, **more):
        return [[Completion(text, [1] * 9, stop) for text, stop in self.said]]


def test_a_document_ends_where_the_next_question_begins():
    said = ("7\nQuestion: What is 1 + 1?\nAnswer: 2", "length"), ("7 and so on", "length")
    base = evaluate(Scripted(*said), [TASK], "base", None, k=2)
    assert [(one.text, one.stop, one.tokens) for one in base.answers[0]] == [
        ("7", "stop", 9),
        ("7 and so on", "length", 9),
    ]
    assert format_of(base.answers)["ends by itself"].mean == 0.5
    assert base.stopped == 0.0, "the share of those that stopped at a stop token is another number"
    chat = evaluate(Scripted(*said), [TASK], "chat", None, k=2)
    assert [one.stop for one in chat.answers[0]] == ["length", "length"]


@pytest.mark.parametrize("sizes", [[10, 20, 40], [10, 20, 20, 40], [40, 20, 30, 10]])
def test_a_curve_needs_four_growing_sizes_or_none(sizes):
    schema = SCHEMAS["03_sft_cold_start"]
    with pytest.raises(ValueError, match="curve: got .*, wanted four or more growing sizes"):
        params.coerce(schema, {"curve": sizes})
    assert params.coerce(schema, {"curve": []}).curve == []


def test_the_report_s_lengths_stand_in_full():
    for stage, length in (("03_sft_cold_start", 32_768), ("04_sft_overall", 65_536)):
        assert params.load_profile("full", stage)["max_length"] == length
        text = files.of_project(f"params/full/{stage}.yaml").read_text()
        assert f"max_length: {length}  # report |" in text


def test_equations_that_nobody_would_state_are_not_read():
    nines = "9" * 5000
    assert equations(f"1 + 1 = {nines}") == equations(f"{nines} + 1 = 2") == []
    assert equations(" + ".join(["1"] * 2000) + " = 2000") == []  # over 1,000 characters
    assert equations(" + ".join(["1"] * 200) + " = 200; 1 + 1 = 3") == [True, False]
    assert equations("x - 3 + 5 = 2, 3 + 5 = 8, 1 + 2 = 3 + 4 = 7") == [True, True]
    assert equations("- 3 + 5 = 2\n- 3 + 5 = 8") == [False, True]
    assert equations("1 + 2 and 3 + 4 x 5, 2 * 3 = 6") == [True]
