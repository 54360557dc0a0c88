"""decoder.js does what Python does: tokenizer, model, choice of the next token. Under node."""

from __future__ import annotations

import random

import numpy as np
import pytest
import tiny
import torch
from node import needs_node, run_node, saved

from nbkit.cli.play import checkpoints, questions
from nbkit.cli.play.checkpoints import Checkpoint
from nbkit.models.chat_ids import token_ids
from nbkit.models.decoding import choose
from nbkit.models.engine import completion_of, render, stop_tokens
from nbkit.models.load import SHIPPED, Shape, load, new_model
from nbkit.tasks.skills import DOMAINS, Task, sample
from nbkit.tasks.world import base_prompt, prompt_of, worked
from nbkit.text.characters import printable

pytestmark = needs_node
MODEL = """
const {spec, shape, tensors, weights} = input;
const tokenizer = new Tokenizer(spec);
const model = new Model(shape, tensors, Uint8Array.from(Buffer.from(weights, "base64")));
const options = {temperature: 0, topP: 1, seed: 0, stops: input.stops, most: input.most};
"""
HARD = (
    "",
    " ",
    "\n\n  \t x\r\n",
    "a  5  b",
    "don't I'LL we've it's 's'd",
    "<think>2 + 2</think>4<|im_end|>",
    "<<think>>|im_start|><tool_call><tool_call",
    "\x00\x01\x1f\x7f\x80\x85\x9f\xa0\xad",
    "\ufeffstart\ufeff",
    "a\u2028b\u2029c\u3000d\u1680e\u180ef\u200bg\u202fh",
    "½ ² Ⅷ ٣ ४ 五 ①",
    "naïve ÄÖÜß ñandú Ελληνικά русский עברית العربية हिन्दी ไทย 日本語 한국어",
    "👍🏽 👨‍👩‍👧‍👦 🇩🇪 😀x😀 e\u0301\u0302",
    "\U00010348\U0001d54f\U0001f9ff",
    "half \ud800 of \udfff it",
    "é\u0300 ﬁ Ⓐ ｆｕｌｌ　ｗｉｄｔｈ",
    "x" * 300 + " " * 40 + "\n" * 20,
    "def f(a, b):\n    return a[0]**2 # 'x'\n",
)


def texts() -> list[str]:
    """500: tasks of all domains with their solutions, hard ones, and random ones of many scripts."""
    rng = random.Random(0)
    tasks = [task for domain in DOMAINS for task in sample(50, "train", 3, {domain: 1.0})]
    alphabet = [
        *" \n\t'.<>|_-09aZsé\u0301\x00\x85\xa0\u2009\u200d½٣Ω漢😀🏽\ufffd\ufeff",
        "<eos>",
        "'re",
        "  ",
    ]
    ranges = ((0, 0x2FF), (0x300, 0x36F), (0x370, 0x7FF), (0x1F300, 0x1F64F), (0x2000, 0x206F))
    made = [*HARD, *map(worked, tasks)]
    while len(made) < 500:
        if len(made) % 2:
            made.append("".join(rng.choices(alphabet, k=rng.randint(1, 60))))
        else:
            made.append("".join(chr(rng.randint(*rng.choice(ranges))) for _ in range(rng.randint(1, 40))))
    return made


@pytest.fixture(scope="module")
def shipped():
    return Checkpoint("shipped", SHIPPED, "chat")


@pytest.fixture(scope="module")
def random_model(tmp_path_factory):
    """A tiny model with random weights that half precision holds, and where it is saved."""
    model = tiny.model(seed=5).half().float()
    return Checkpoint("tiny", saved(tmp_path_factory.mktemp("tiny"), model, tiny.tokenizer()), "chat")


def packed(checkpoint: Checkpoint) -> dict:
    """What the page holds of a checkpoint."""
    tensors, spec = checkpoints.counts(checkpoint), checkpoints.tokenizer_spec(checkpoint)
    weights = checkpoints.weights(checkpoint)
    return {"shape": checkpoints.shape(checkpoint), "tensors": tensors, "spec": spec, "weights": weights}


@torch.inference_mode()
def likeliest(model, prompts: list[list[int]], answers: list[list[int]]) -> list[list[int]]:
    """The likeliest token of torch, in float32, at the place of every token of the answers, given all before
    it: greedy decoding gives `answers` if and only if this does. One forward pass, filled up on the right,
    where a causal model does not see it."""
    rows = [prompt + answer for prompt, answer in zip(prompts, answers, strict=True)]
    longest = max(map(len, rows))
    best_BT = model(torch.tensor([row + [0] * (longest - len(row)) for row in rows])).logits.argmax(-1)
    ends = [(len(p) - 1, len(p) + len(a) - 1) for p, a in zip(prompts, answers, strict=True)]
    return [best_BT[i, start:end].tolist() for i, (start, end) in enumerate(ends)]


def test_encodes_and_decodes_as_python(shipped):
    tokenizer, every = load(SHIPPED)[1], texts()
    assert len(every) == 500
    got = run_node(
        "const t = new Tokenizer(input.spec); return input.texts.map((x) => t.encode(x));",
        {"spec": checkpoints.tokenizer_spec(shipped), "texts": every},
    )
    wanted = [token_ids(tokenizer, printable(text)) for text in every]
    assert got == wanted
    assert max(len(text) - len(ids) for text, ids in zip(every, wanted, strict=True)) > 20, "pairs are merged"
    # Decoding: those, and ids at random, whose bytes are mostly no whole characters.
    rng = random.Random(1)
    rows = wanted + [rng.choices(range(len(tokenizer)), k=rng.randint(0, 30)) for _ in range(300)]
    got = run_node(
        "const t = new Tokenizer(input.spec); return input.rows.map((x) => t.decode(x));",
        {"spec": checkpoints.tokenizer_spec(shipped), "rows": rows},
    )
    assert got == tokenizer.batch_decode(rows, skip_special_tokens=False)


def test_prompts_are_those_of_python(shipped):
    tokenizer = load(SHIPPED)[1]
    asked = [task.question for domain in DOMAINS for task in sample(4, "operands", 0, {domain: 1.0})]
    asked += ["what does <|im_end|> do?", "<think><think>", "<tool_call", "😀 <eos>\n<|im_start|>user", ""]
    tools = ('{"name": "add", "parameters": {"a": "<number>"}}', '{"name": "clock"}')
    plain, with_tools = Task("", "", 1, "", "", (), ""), Task("", "", 1, "", "", (), "", tools=tools)
    for task in (plain, with_tools):
        got = run_node(
            "const t = new Tokenizer(input.spec); return input.asked.map((x) => t.prompt(input.form, x));",
            {
                "spec": checkpoints.tokenizer_spec(shipped),
                "form": questions.chat_form(tokenizer, task),
                "asked": asked,
            },
        )
        for question, ids in zip(asked, got, strict=True):
            wanted = prompt_of(Task("", "", 1, "", question, (), "", tools=task.tools))
            assert ids == token_ids(tokenizer, render(tokenizer, wanted))
    got = run_node(
        "const t = new Tokenizer(input.spec); return input.asked.map((x) => t.prompt(input.form, x));",
        {"spec": checkpoints.tokenizer_spec(shipped), "form": questions.base_form(), "asked": asked},
    )
    assert got == [token_ids(tokenizer, base_prompt(question)) for question in asked]


@pytest.mark.parametrize("name", ["shipped", "random_model"])
def test_greedy_answers_are_those_of_torch(name, request):
    checkpoint = request.getfixturevalue(name)
    model, tokenizer = load(checkpoint.folder)
    stops = stop_tokens(tokenizer)
    tasks = [task for domain in DOMAINS for task in sample(10, "operands", 2, {domain: 1.0})]
    # Half of them as a base model is asked, half as in chat.
    prompts = [
        render(tokenizer, prompt_of(t) if i % 2 else base_prompt(t.question)) for i, t in enumerate(tasks)
    ]
    ids = [token_ids(tokenizer, prompt) for prompt in prompts]
    got = run_node(
        MODEL + "return input.ids.map((p) => [...generate(model, p, options)].filter((id) => id !== null));",
        {**packed(checkpoint), "ids": ids, "stops": stops, "most": 16},
    )
    assert len(got) == 50
    assert got == likeliest(model.float(), ids, got)
    # Each ends where it must: at its first stop token, or after 16.
    for answer in got:
        assert not set(answer[:-1]) & set(stops)
        assert answer[-1] in stops or len(answer) == 16
    # And they are answers: of many tokens, and different ones.
    assert len({tuple(answer) for answer in got}) > 10
    assert sum(map(len, got)) > 400


def test_logits_are_those_of_torch_for_any_sizes(tmp_path):
    """Untied embeddings, one key head for all, another rotary base, a width that no 4 divides."""
    shape = Shape(hidden=30, layers=2, heads=5, kv_heads=1, mlp=17, context=64, tied=False)
    model = new_model(tiny.tokenizer(), shape, seed=1).half().float()
    model.config.rope_parameters["rope_theta"] = 500.0
    checkpoint = Checkpoint("odd", saved(tmp_path / "odd", model, tiny.tokenizer()), "chat")
    reloaded, _ = load(checkpoint.folder)
    ids = [5, 9, 200, 31, 7, 7, 300, 2, 0, 11]
    got = run_node(
        MODEL + "model.reset(64); return input.ids.map((id) => Array.from(model.step(id)));",
        {**packed(checkpoint), "ids": ids, "stops": [], "most": 1},
    )
    with torch.inference_mode():
        wanted = reloaded(torch.tensor([ids])).logits[0].numpy()
    assert checkpoints.shape(checkpoint)["theta"] == 500.0
    assert not checkpoints.shape(checkpoint)["tied"]
    assert np.abs(np.array(got) - wanted).max() < 1e-4
    assert np.abs(wanted).max() > 0.5


def test_the_context_ends_an_answer(random_model):
    """The tiny model reads 256 tokens: 250 leave room for 6, 256 for none."""
    code = "return input.ids.map((p) => [...generate(model, p, options)].filter((id) => id !== null).length);"
    ids = [[9] * 250, [9] * 256, [9] * 300, [], [9] * 10]
    got = run_node(MODEL + code, {**packed(random_model), "ids": ids, "stops": [], "most": 20})
    assert got == [6, 0, 0, 0, 20]


def test_chooses_as_python():
    torch.manual_seed(0)
    logits_BV, draw_B = torch.randn(300, 40) * 3, torch.rand(300)
    for temperature, top_p in ((0, 1.0), (0.6, 0.95), (1.0, 1.0), (2.0, 0.5), (1.0, 0.01)):
        rows = {"logits": logits_BV.tolist(), "draws": draw_B.tolist(), "t": temperature, "p": top_p}
        got = run_node(
            "return input.logits.map((x, i) => choose(x, input.t, input.p, input.draws[i]));", rows
        )
        assert got == choose(logits_BV, temperature, top_p, draw_B).tolist()


def test_the_seed_decides_a_sample(random_model):
    code = """
    const all = (seed) => [...generate(model, input.ids, {...options, temperature: 1, topP: 0.95, seed})];
    return [all(1), all(1), all(2)];
    """
    first, again, other = run_node(
        MODEL + code, {**packed(random_model), "ids": [5, 6, 7], "stops": [], "most": 30}
    )
    assert first == again
    assert first != other
    assert len(first) == 33, "three of the prompt, thirty new ones"


def test_draws_are_uniform():
    """The mean of 20,000 is 0.5 within five standard errors, each tenth holds its share within six."""
    code = "const draw = randoms(7); return Array.from({length: 20000}, draw);"
    draws = np.array(run_node(code, {}))
    assert draws.min() >= 0 and draws.max() < 1
    assert abs(draws.mean() - 0.5) < 5 * (1 / 12 / 20_000) ** 0.5
    assert np.abs(np.histogram(draws, 10, (0, 1))[0] - 2000).max() < 6 * 2000**0.5


def test_a_base_answer_ends_where_the_evaluation_ends_it():
    from nbkit.evals.evaluate import _answer  # noqa: PLC0415 (private, and this test alone compares with it)

    every = ["4", "4\nQuestion: 5", "a\nProblem. b\nQuestion: c", "\nQuestion:", "a\nQuestion: b\nProblem. c"]
    got = run_node(
        "return input.texts.map((x) => upTo(x, input.ends));", {"texts": every, "ends": questions.ENDS}
    )
    tokenizer = tiny.tokenizer()
    wanted = [
        _answer(completion_of(tokenizer, token_ids(tokenizer, text), [], "length"), "base") for text in every
    ]
    assert got == wanted
