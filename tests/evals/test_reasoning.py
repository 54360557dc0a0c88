"""The form of answers, counted by hand, and what the cold start's curve refuses."""

import numpy as np
import pytest
import tiny

from nbkit.evals.evaluate import Evaluation
from nbkit.evals.reasoning import chain, form, well_formed
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
