"""Prompts, marks by rule, and log-likelihoods."""

import numpy as np
import pytest
import tiny
import torch

from nbkit.evals.bench import loglik, prompts
from nbkit.evals.bench.grading import mark
from nbkit.evals.bench.readers import READERS, Item
from nbkit.evals.bench.table import benchmark
from nbkit.models.engine import Completion

GSM = Item("0", {"question": "3 * 6?", "solution": "3 * 6 = 18\n#### 18"}, "18")


def test_a_document_has_the_harness_form():
    asker = prompts.Asker(benchmark("gsm8k"), "base")
    assert asker.prompt(GSM) == "Question: 3 * 6?\nAnswer:"
    shot = Item("1", {"question": "1 + 1?", "solution": "#### 2"}, "2")
    asker = prompts.Asker(benchmark("gsm8k"), "base", [shot])
    assert asker.prompt(GSM) == "Question: 1 + 1?\nAnswer: #### 2\n\nQuestion: 3 * 6?\nAnswer:"


def test_mmlu_shows_the_shots_of_its_own_subject():
    row = {"question": "Which?", "choices": ["a", "b", "c", "d"], "answer": 1}
    law, art = (READERS["mmlu"](row | {"subject": s}, 0) for s in ("law", "art"))
    text = prompts.Asker(benchmark("mmlu"), "base", [law, art]).prompt(law)
    assert text.startswith(
        "The following are multiple choice questions (with answers) about law.\n\nWhich?\nA. a"
    )
    assert text.count("Answer: B\n\n") == 1
    assert text.endswith("D. d\nAnswer:")


def test_a_document_ends_at_its_stop_text():
    asker = prompts.Asker(benchmark("gsm8k"), "base")
    assert asker.answer(Completion(" 18\nQuestion: 4?", stop="length")) == (" 18\n", "stop")
    assert asker.answer(Completion(" 18", stop="length")) == (" 18", "length")


def test_tools_go_through_the_template_or_into_a_system_turn():
    tool = {
        "name": "add",
        "parameters": {"type": "dict", "properties": {"a": {"type": "float"}}, "required": []},
    }
    item = Item("t", {"question": "Add."}, {"any": False}, tools=(tool,))
    native = prompts.Asker(benchmark("bfcl"), "chat", native_tools=True).prompt(item)
    assert native["tools"][0]["parameters"]["type"] == "object"
    assert native["tools"][0]["parameters"]["properties"]["a"]["type"] == "number"
    told = prompts.Asker(benchmark("bfcl"), "chat").prompt(item)
    assert [turn["role"] for turn in told] == ["system", "user"]
    assert '"name": "add"' in told[0]["content"] and "<tool_call>" in told[0]["content"]


def test_a_conversation_is_no_document():
    with pytest.raises(ValueError, match="form: bfcl is a conversation"):
        prompts.Asker(benchmark("bfcl"), "base")
    with pytest.raises(ValueError, match="form: got 'talk'"):
        prompts.Asker(benchmark("gsm8k"), "talk")


@pytest.mark.parametrize(
    ("text", "ours", "strict", "flexible"),
    [
        ("3 * 6 = 18\n#### 18", 1, 1, 1),
        ("The answer is 18.", 1, 0, 1),
        ("So \\boxed{18}", 1, 0, 1),
        ("$18.00 in all", 1, 0, 0),
        ("It is 18, since 3 times 6", 0, 0, 0),
        ("", 0, 0, 0),
    ],
)
def test_gsm8k_by_our_rule_and_by_the_harness(text, ours, strict, flexible, jail):
    found = mark(benchmark("gsm8k"), GSM, text, "base", jail)
    assert (found.also["strict-match"], found.also["flexible-extract"]) == ([strict], [flexible])
    if text:  # of the last two ours may differ by its own rules
        assert found.value in (0.0, 1.0)
    if text in ("3 * 6 = 18\n#### 18", "The answer is 18.", "So \\boxed{18}"):
        assert found.value == ours


def test_a_thought_that_did_not_end_is_wrong():
    found = mark(benchmark("gsm8k"), GSM, "<think>it is 18", "chat", None)
    assert (found.value, found.detail) == (0.0, "the chain of thought did not end")


@pytest.mark.parametrize(
    ("said", "right"),
    [
        ("First A. So the answer is (B).", 1),
        ("the answer is (A).", 0),
        ("(B)", 0),
        ("<think>x</think>the answer is (B)", 1),
    ],
)
def test_bbh_reads_what_is_stated(said, right):
    item = Item("b", {"question": "Which?"}, "(B)")
    assert mark(benchmark("bbh"), item, said, "chat").value == right


@pytest.mark.parametrize(
    ("said", "right"), [("The answer is (C).", 1), ("\\boxed{C}", 1), ("The answer is (A).", 0)]
)
def test_letters(said, right, jail):
    item = Item("l", {"question": "Which?"}, "C")
    assert mark(benchmark("supergpqa"), item, said, "chat", jail).value == right


@pytest.mark.parametrize(
    ("wanted", "said", "right"),
    [
        (False, "I have no function for that.", 1),
        (False, '<tool_call>{"name": "f", "arguments": {}}</tool_call>', 0),
        (True, '<tool_call>{"name": "f", "arguments": {}}</tool_call>', 1),
        (True, "No.", 0),
    ],
)
def test_calls_that_are_not_wanted(wanted, said, right):
    assert mark(benchmark("bfcl"), Item("t", {}, {"any": wanted}), said, "chat").value == right


@pytest.mark.parametrize(
    ("form", "said", "right"),
    [
        ("base", "    return a + b\n", 1),
        ("base", "    return a - b\n", 0),
        ("chat", "Here:\n```python\ndef add(a, b):\n    return a + b\n```", 1),
        ("chat", "I cannot.", 0),
    ],
)
def test_humaneval_in_both_forms(form, said, right, jail):
    test = "def check(candidate):\n    assert candidate(1, 2) == 3\n"
    key = {"prompt": 'def add(a, b):\n    """Add."""\n', "entry_point": "add", "test": test}
    assert mark(benchmark("humaneval"), Item("h", {}, key), said, form, jail).value == right


def test_fullstack_runs_its_asserts(jail):
    key = {
        "solution": "def add(a, b):\n    return a + b",
        "test": "assert add(1, 2) == 3\nassert add(0, 0) == 0",
    }
    item = Item("f", {}, key)
    right, wrong = (
        "```python\ndef add(a, b):\n    return a + b\n```",
        "```python\ndef add(a, b):\n    return 3\n```",
    )
    assert mark(benchmark("fullstack_bench"), item, right, "chat", jail).value == 1
    assert mark(benchmark("fullstack_bench"), item, wrong, "chat", jail).value == 0
    broken = Item("g", {}, key | {"solution": "x = 1"})
    assert mark(benchmark("fullstack_bench"), broken, right, "chat", jail).value is None


def test_ifeval_marks_prompts_and_instructions():
    key = {"instructions": ["punctuation:no_comma", "startend:quotation"], "kwargs": [{}, {}], "prompt": "p"}
    found = mark(benchmark("ifeval"), Item("i", {}, key), "no comma here", "chat")
    assert found.value == 0
    assert found.also["instruction, strict"] == [1.0, 0.0]
    assert mark(benchmark("ifeval"), Item("i", {}, key), '<think>a, b</think>"none"', "chat").value == 1


def by_hand(model, tokenizer, context, choices):
    """Each choice in a pass of its own, without anything shared."""
    found = []
    for choice in choices:
        before, ids = loglik.encode_pair(tokenizer, context, f" {choice}")
        row = torch.tensor([(before + ids)[-(model.config.max_position_embeddings + 1) :]])
        with torch.no_grad():
            logits_TV = torch.log_softmax(model(input_ids=row[:, :-1]).logits[0].float(), -1)
        found.append(sum(float(logits_TV[i - len(ids), row[0, i - len(ids)]]) for i in range(len(ids))))
    return found


@pytest.mark.parametrize("context", ["Question: 2 + 2?\nAnswer:", "", "ends in spaces  ", "word " * 300, "a"])
def test_log_likelihoods_equal_those_of_single_passes(context):
    model, tokenizer = tiny.model().eval(), tiny.tokenizer()
    choices = ["3", "forty four", "A", "the long answer to this question"]
    found = loglik.choice_scores(model, tokenizer, context, choices)
    assert found.loglik == pytest.approx(by_hand(model, tokenizer, context, choices), abs=1e-4)
    assert found.cut == (len(context) > 1000)


def test_picks_by_sum_and_per_character():
    scores = loglik.Scores((-4.0, -6.0), (2, 6), 3)
    assert (scores.pick(), scores.pick("acc_norm")) == (0, 1)  # -2 and -1 per character
    assert loglik.Scores((-1.0, -1.0), (1, 1), 2).pick() == 0
    with pytest.raises(ValueError, match="metric: got 'f1'"):
        scores.pick("f1")


def test_pairs_are_encoded_as_the_harness_does():
    tokenizer = tiny.tokenizer()
    # Spaces at the end of a context belong to the continuation.
    assert loglik.encode_pair(tokenizer, "a b ", "c") == loglik.encode_pair(tokenizer, "a b", " c")
    before, ids = loglik.encode_pair(tokenizer, "", " yes")
    assert before == [tokenizer.eos_token_id]
    assert tokenizer.decode(ids) == " yes"
    whole = tokenizer.encode("the answer is")
    before, ids = loglik.encode_pair(tokenizer, "the answer", " is")
    assert before + ids == whole


def test_choices_that_cannot_be_scored():
    model, tokenizer = tiny.model().eval(), tiny.tokenizer()
    with pytest.raises(ValueError, match="choices: got 1, wanted two or more"):
        loglik.choice_scores(model, tokenizer, "x", ["a"])
    with pytest.raises(ValueError, match="has no score"):
        loglik.choice_scores(model, tokenizer, "x", ["a", ""], delimiter="")
    with pytest.raises(ValueError, match="the model reads 256"):
        loglik.choice_scores(model, tokenizer, "x", ["a", "word " * 400])
    assert np.isfinite(loglik.choice_scores(model, tokenizer, "x", ["a", "b"]).loglik).all()
