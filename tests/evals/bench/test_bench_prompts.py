"""What a model is asked is what lm-evaluation-harness asks, to the byte."""

import copy
import os
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
import tiny

from nbkit.evals.bench import items, readers
from nbkit.evals.bench.prompts import Asker
from nbkit.evals.bench.table import benchmark
from nbkit.models.chat_ids import token_ids
from nbkit.models.engine import render
from nbkit.text.tokenizer import CHAT_TEMPLATE

SHARED = Path(__file__).resolve().parents[4] / "shared" / "data"
needs_data = pytest.mark.skipif(
    not (os.environ.get("NBKIT_DATA_DIR") or SHARED.is_dir()),
    reason="set NBKIT_DATA_DIR to the mirrors of the real sets",
)
# That of SmolLM2-135M-Instruct, word for word: it opens with a system turn of its own.
OWN_SYSTEM = (
    "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}"
    "{{ '<|im_start|>system\n"
    "You are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n' }}{% endif %}"
    "{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
PROMPTS = [
    "Say 5 < 6.",
    "Write {two} lines.\nNo commas.",
    " In German: Grüße?  ",
    'Repeat "a [placeholder]".',
]


@pytest.fixture
def mirrors(monkeypatch):
    if not os.environ.get("NBKIT_DATA_DIR"):
        monkeypatch.setenv("NBKIT_DATA_DIR", str(SHARED))


@pytest.fixture(params=[CHAT_TEMPLATE, OWN_SYSTEM], ids=["the kit's template", "SmolLM2's template"])
def tokenizer(request):
    made = copy.deepcopy(tiny.tokenizer())
    made.chat_template = request.param
    return made


def ifeval_item(prompt: str):
    row = {"key": 1, "prompt": prompt, "instruction_id_list": ["punctuation:no_comma"], "kwargs": [{}]}
    return readers.ifeval(row, 0)


@pytest.mark.parametrize("prompt", PROMPTS)
def test_a_chat_is_what_the_template_makes_of_one_user_turn(tokenizer, prompt):
    asker = Asker(benchmark("ifeval"), "chat", native_tools="tools" in tokenizer.chat_template)
    ours = render(tokenizer, asker.prompt(ifeval_item(prompt)))
    # lm-evaluation-harness with --apply_chat_template makes this call, and encodes its text.
    turn = [{"role": "user", "content": prompt}]
    theirs = tokenizer.apply_chat_template(turn, tokenize=False, add_generation_prompt=True)
    assert ours == theirs and prompt in ours
    assert token_ids(tokenizer, ours) == tokenizer(theirs, add_special_tokens=False)["input_ids"]
    assert ours.count("You are a helpful") == int(tokenizer.chat_template == OWN_SYSTEM)


@pytest.mark.parametrize("name", ["arc_challenge", "arc_easy", "hellaswag", "gsm8k", "ifeval"])
@needs_data
def test_twenty_questions_of_the_harness(name, tokenizer, mirrors):
    harness = _harness()
    if name == "ifeval":
        _needs_punkt()
    from lm_eval.models.huggingface import HFLM  # noqa: PLC0415 (where it is installed)

    bench, asked = benchmark(name), items.load(benchmark(name), limit=20).items
    task = harness.their_task(name, asked)
    # Its own method, which needs no model.
    model = SimpleNamespace(tokenizer=tokenizer, chat_template_args={})
    model.apply_chat_template = partial(HFLM.apply_chat_template, model)
    form = "chat" if name == "ifeval" else "base"
    asker = Asker(bench, form)
    for item, doc in zip(asked, task.eval_docs, strict=True):
        assert render(tokenizer, asker.prompt(item)) == harness.their_prompt(task, model, doc, form)
        if bench.answers == "choose":
            told = [request.args for request in task.construct_requests(doc=doc, ctx="?")]
            assert [choice for _, choice in told] == [f" {choice}" for choice in item.choices]


def test_hellaswag_is_cleaned_as_the_harness_cleans_it():
    _harness()
    import datasets  # noqa: PLC0415 (beside lm_eval)
    from lm_eval.tasks.hellaswag.utils import process_docs  # noqa: PLC0415 (where it is installed)

    rows = [
        {
            "ind": 0,
            "activity_label": "Health",
            "ctx_a": "How to rest [title] Lie down.",
            "ctx_b": "a cat",
            "endings": [" [header] Sleep [title] now", "[step] Eat  it.", "Run [a]  far.", "Sit."],
            "label": "2",
        },
        {
            "ind": 1,
            "activity_label": "Baking",
            "ctx_a": "Two men bake.",
            "ctx_b": "",
            "endings": ["a", "b", "c", "d"],
            "label": "0",
        },
    ]
    for row, doc in zip(rows, process_docs(datasets.Dataset.from_list(rows)), strict=True):
        item = readers.hellaswag(row, 0)
        assert item.question == doc["query"]
        assert list(item.choices) == doc["choices"] and item.gold == doc["gold"]


def _harness():
    """benchmarks/parts/harness.py, where lm-evaluation-harness is installed."""
    pytest.importorskip(
        "lm_eval", reason="lm-evaluation-harness is not installed (benchmarks/eval_agreement.py)"
    )
    from benchmarks.parts import harness  # noqa: PLC0415 (needs lm_eval)

    return harness


def _needs_punkt():
    """Without it the harness would go to the network for it."""
    import nltk  # noqa: PLC0415 (comes with lm_eval's IFEval)

    try:
        nltk.data.find("tokenizers/punkt_tab")
    except LookupError:
        pytest.skip("NLTK's punkt_tab is not installed")
