"""The transformers engine against `model.generate` and a full forward, its sampling against the
distribution, and its edges."""

from functools import cache

import pytest
import tiny
import torch
from transformers import GPT2Config, GPT2LMHeadModel, MistralConfig, MistralForCausalLM

from nbkit.models.engine import (
    Completion,
    Generator,
    completion_of,
    count_stops,
    render,
    sample_seed,
    user_prompt,
)
from nbkit.models.load import Shape, new_model
from nbkit.tasks import world

PROMPTS = [world.base_prompt(t.question) for t in world.eval_tasks(24, "operands")]


@cache
def peaked():
    """An untied model whose logits spread by some nats: it neither repeats its last token, as the tied tiny
    one does, nor hides an error in a flat distribution."""
    shape = Shape(hidden=32, layers=2, heads=4, kv_heads=2, mlp=64, context=256, tied=False)
    model = new_model(tiny.tokenizer(), shape, seed=1)
    with torch.no_grad():
        model.lm_head.weight.mul_(5)
    return model.eval()


@pytest.fixture
def generator(monkeypatch):
    monkeypatch.setenv("NBKIT_PRECISION", "fp32")  # exactness is a float32 claim
    return Generator(tiny.model(), tiny.tokenizer(), batch=7)


@pytest.fixture
def sharp(generator):
    return Generator(peaked(), tiny.tokenizer(), batch=32)


def reference(model, prompts: list[list[int]], stop: list[int], new: int) -> list[list[int]]:
    """Greedy completions of `model.generate`, one prompt at a time, stop token included."""
    rows = []
    for ids in prompts:
        row = model.generate(
            input_ids=torch.tensor([ids]),
            attention_mask=torch.ones(1, len(ids), dtype=torch.long),
            max_new_tokens=new,
            do_sample=False,
            eos_token_id=stop or None,
            pad_token_id=0,
        )[0, len(ids) :].tolist()
        rows.append(row)
    return rows


@pytest.mark.parametrize("name", ["generator", "sharp"])
def test_greedy_equals_generate_token_for_token(request, name):
    generator = request.getfixturevalue(name)
    model = peaked() if name == "sharp" else tiny.model().eval()
    texts = dict.fromkeys(world.base_prompt(t.question) for t in world.eval_tasks(260, "operands"))
    texts = [text[: len(text) - i % 17] for i, text in enumerate(texts)]
    ids = [list(x) for x in dict.fromkeys(map(tuple, tiny.tokenizer()(texts)["input_ids"]))][:210]
    assert len(ids) >= 200 and len(set(map(len, ids))) > 20
    generator.batch = 64
    first = [c[0].ids[0] for c in generator.sample_ids(ids[:40], 1, 1, 0.0, 1.0, 0)]
    generator.stop = sorted({*generator.stop, max(set(first), key=first.count)})  # so that some end early
    got = generator.sample_ids(ids, 1, 16, 0.0, 1.0, 0)
    assert [c[0].ids for c in got] == reference(model, ids, generator.stop, 16)
    assert set(count_stops(got)) == {"stop", "length"}
    assert all(c[0].stopped == (c[0].ids[-1] in generator.stop) for c in got)


@pytest.mark.parametrize(
    "model",
    [
        MistralForCausalLM(
            MistralConfig(
                vocab_size=320,
                hidden_size=32,
                intermediate_size=64,
                num_hidden_layers=2,
                num_attention_heads=4,
                num_key_value_heads=2,
                sliding_window=8,
                max_position_embeddings=128,
            )
        ),
        GPT2LMHeadModel(GPT2Config(vocab_size=320, n_embd=32, n_layer=2, n_head=4, n_positions=128)),
    ],
    ids=["sliding window", "learned positions"],
)
def test_other_architectures_equal_generate_too(monkeypatch, model):
    monkeypatch.setenv("NBKIT_PRECISION", "fp32")
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(3)
    model.eval()
    ids = tiny.tokenizer()(PROMPTS[:12], add_special_tokens=False)["input_ids"]
    assert max(map(len, ids)) > 8 and len(set(map(len, ids))) > 1
    generator = Generator(model, tiny.tokenizer())
    generator.stop = []
    got = [c[0].ids for c in generator.sample_ids(ids, 1, 12, 0.0, 1.0, 0)]
    model.generation_config.eos_token_id = None
    assert got == reference(model, ids, [], 12)


def test_rows_that_finish_early_do_not_disturb_the_others(generator):
    together = generator.sample(PROMPTS, max_new_tokens=16)
    alone = [generator.sample([p], max_new_tokens=16)[0] for p in PROMPTS[:6]]
    assert [c[0].ids for c in together[:6]] == [c[0].ids for c in alone]


def test_equal_prompts_are_read_once_and_finished_rows_leave(generator):
    shapes = []
    generator.model.get_input_embeddings().register_forward_pre_hook(lambda _, x: shapes.append(x[0].shape))
    generator.batch = 64
    generator.stop = list(range(0, 320, 8))  # about an eighth of the rows ends at each step
    done = generator.sample([PROMPTS[0], PROMPTS[1], PROMPTS[0]], n=20, max_new_tokens=30, temperature=1.0)
    assert shapes[0][0] == 2 and shapes[1][0] <= 60
    rows = [shape[0] for shape in shapes[1:]]
    assert rows == sorted(rows, reverse=True) and rows[-1] < 20
    for group in done:
        for completion in group:
            assert not any(token in generator.stop for token in completion.ids[:-1])
            assert completion.stopped or len(completion.ids) == 30


def test_stop_token_ends_a_completion(generator):
    favourite = generator.sample(PROMPTS[:1], max_new_tokens=8)[0][0].ids[3]
    generator.stop = [favourite]
    completion = generator.sample(PROMPTS[:1], max_new_tokens=8)[0][0]
    assert completion.stopped and completion.ids[-1] == favourite and len(completion.ids) <= 4
    assert completion.text == tiny.tokenizer().decode(completion.ids[:-1])


def test_same_seed_same_samples_and_groups_differ_inside(generator):
    first = generator.sample(PROMPTS[:4], n=5, max_new_tokens=8, temperature=1.0, seed=3)
    again = generator.sample(PROMPTS[:4], n=5, max_new_tokens=8, temperature=1.0, seed=3)
    other = generator.sample(PROMPTS[:4], n=5, max_new_tokens=8, temperature=1.0, seed=4)
    assert first == again and first != other
    assert all(len(group) == 5 and len({tuple(c.ids) for c in group}) > 1 for group in first)
    assert len({c.seed for groups in (first, other) for group in groups for c in group}) == 40


def test_a_sample_depends_on_its_seed_and_place_alone(generator):
    many = generator.sample(PROMPTS[:6], n=5, max_new_tokens=8, temperature=1.0, seed=3)
    generator.batch = 64
    assert generator.sample(PROMPTS[:6], n=5, max_new_tokens=8, temperature=1.0, seed=3) == many
    few = generator.sample(PROMPTS[:2], n=2, max_new_tokens=8, temperature=1.0, seed=3)
    assert few == [group[:2] for group in many[:2]]
    longer = generator.sample(PROMPTS[:2], n=2, max_new_tokens=30, temperature=1.0, seed=3)
    assert [c.ids[:8] for g in longer for c in g] == [c.ids for g in few for c in g]
    assert sample_seed(0, 0, 1) != sample_seed(1, 0, 0)


def test_a_full_context_is_told_and_leaves_the_others_alone(generator):
    generator.stop, generator.logprobs = [], True
    short, long = tiny.tokenizer()([PROMPTS[0], "a b c d " * 200], add_special_tokens=False)["input_ids"]
    assert len(long) > 300 and generator.context == 256
    prompts = [long[:300], short, long[:250], long[:256], long[:246]]
    over, fits, cut, full, exact = (g[0] for g in generator.sample_ids(prompts, 1, 10, 0.0, 1.0, 0))
    for none in (over, full):
        assert (none.text, none.ids, none.stop, none.logprobs) == ("", [], "context", [])
    assert fits.stop == exact.stop == "length" and len(fits.ids) == len(exact.ids) == 10
    assert cut.stop == "context" and len(cut.ids) == 6 and cut.text
    assert fits.ids == generator.sample_ids([short], 1, 10, 0.0, 1.0, 0)[0][0].ids
    assert cut.ids == generator.sample_ids([long[:250]], 1, 10, 0.0, 1.0, 0)[0][0].ids
    assert count_stops([[over, fits], [cut, full, exact]]) == {"context": 3, "length": 2}
    assert generator.sample_ids([long[:300]], 1, 10, 0.0, 1.0, 0) == [[over]]


def test_a_model_that_never_stops_is_cut(generator):
    generator.stop = []
    (group,) = generator.sample(PROMPTS[:1], n=3, max_new_tokens=5, temperature=1.0)
    assert [c.stop for c in group] == ["length"] * 3 and [len(c.ids) for c in group] == [5] * 3


def test_a_model_that_stops_at_once_gives_empty_text(generator):
    generator.stop = list(range(320))
    (completion,) = generator.sample(PROMPTS[:1])[0]
    assert completion.text == "" and completion.stop == "stop" and len(completion.ids) == 1


def test_half_a_character_is_replaced_and_its_ids_kept():
    ids = tiny.tokenizer()("€", add_special_tokens=False)["input_ids"]
    assert len(ids) > 1
    half = completion_of(tiny.tokenizer(), ids[:-1], [], "length")
    assert "\ufffd" in half.text and half.ids == ids[:-1] and half.text.encode()


def test_conversations_are_rendered():
    user = {"role": "user", "content": "2 + 2?"}
    opened = "<|im_start|>user\n2 + 2?<|im_end|>\n<|im_start|>assistant\n"
    tokenizer = tiny.tokenizer()
    assert render(tokenizer, "as it is") == "as it is"
    assert render(tokenizer, [user]) == user_prompt(tokenizer, "2 + 2?") == opened
    for turn in (
        {"role": "assistant", "content": "<think>easy</think>"},
        {"role": "assistant", "reasoning_content": "easy", "content": ""},
        {"role": "assistant", "reasoning_content": "easy"},
    ):
        assert render(tokenizer, [user, turn]) == opened + "<think>easy</think>"
    assert render(tokenizer, [user, {"role": "assistant", "content": "It is "}]) == opened + "It is "
    with_tools = render(tokenizer, {"messages": [user], "tools": [{"name": "calc"}]})
    assert '{"name": "calc"}' in with_tools and with_tools.endswith(opened)


def test_a_prefilled_turn_is_continued(generator):
    turn = [{"role": "user", "content": "2 + 2?"}, {"role": "assistant", "content": "<think>x</think>"}]
    text = user_prompt(tiny.tokenizer(), "2 + 2?") + "<think>x</think>"
    got = generator.sample([turn, text], max_new_tokens=5)
    assert got[0][0].ids == got[1][0].ids


@pytest.mark.parametrize(
    ("prompt", "message"),
    [
        ("", "empty prompt"),
        ([], "without messages"),
        ([{"role": "assistant", "content": "", "tool_calls": [{"name": "f"}]}], "cannot be continued"),
    ],
)
def test_prompts_that_cannot_be_completed(generator, prompt, message):
    with pytest.raises(ValueError, match=message):
        generator.sample([PROMPTS[0], prompt])


@pytest.mark.parametrize("bad", [{"n": 0}, {"max_new_tokens": 0}, {"temperature": -1}, {"top_p": 0}])
def test_settings_out_of_range_are_named(generator, bad):
    with pytest.raises(ValueError, match=next(iter(bad))):
        generator.sample(PROMPTS[:1], **bad)


def test_nothing_to_sample(generator):
    assert generator.sample([]) == []


def test_refresh_takes_over_new_weights(generator):
    before = generator.sample(PROMPTS[:2], max_new_tokens=8)
    generator.refresh(tiny.model(seed=9))
    assert generator.sample(PROMPTS[:2], max_new_tokens=8) != before


def test_progress_counts_completions_and_can_be_silenced(generator, monkeypatch, capsys):
    generator.progress = "drafts"
    monkeypatch.delenv("TQDM_DISABLE", raising=False)
    generator.sample(PROMPTS[:4], n=2, max_new_tokens=3)
    shown = capsys.readouterr().err
    assert "drafts" in shown and "8/8" in shown
    monkeypatch.setenv("TQDM_DISABLE", "1")
    generator.sample(PROMPTS[:4], n=2, max_new_tokens=3)
    assert capsys.readouterr().err == ""


def test_a_bf16_copy_keeps_its_positions_exact(monkeypatch):
    monkeypatch.setattr("nbkit.models.engine.dtype", lambda: torch.bfloat16)
    copied = Generator(tiny.model(), tiny.tokenizer()).model
    assert all(p.dtype == torch.bfloat16 for p in copied.parameters())
    assert torch.equal(copied.model.rotary_emb.inv_freq, tiny.model().model.rotary_emb.inv_freq)


def test_a_bf16_copy_reports_log_probs_near_the_full_forward(monkeypatch):
    monkeypatch.setattr("nbkit.models.engine.dtype", lambda: torch.bfloat16)
    generator = Generator(tiny.model(), tiny.tokenizer(), logprobs=True)
    model = tiny.model().eval()
    for prompt, (completion,) in zip(PROMPTS[:6], generator.sample(PROMPTS[:6]), strict=True):
        ids = tiny.tokenizer()(prompt)["input_ids"]
        with torch.no_grad():
            logits = model(torch.tensor([ids + completion.ids])).logits[0, len(ids) - 1 : -1]
        expected = torch.log_softmax(logits, -1).gather(1, torch.tensor(completion.ids)[:, None])[:, 0]
        assert completion.logprobs == pytest.approx(expected.tolist(), abs=0.1)


def test_a_completion_is_cheap_to_make():
    assert (
        Completion("7").stopped and Completion("7").ids == [] and not Completion("7", stop="length").stopped
    )
