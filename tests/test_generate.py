"""The fast generator against transformers.generate, its sampling against the distribution, and its edges."""

import pytest
import tiny
import torch
from scipy import stats

from nbkit.data import world
from nbkit.decoding import choose
from nbkit.generate import Generator

PROMPTS = [world.base_prompt(t.question) for t in world.eval_tasks(24, "operands")]


@pytest.fixture
def generator(monkeypatch):
    monkeypatch.setattr("nbkit.generate.cpu_has_bf16", lambda: False)  # exactness is a float32 claim
    return Generator(tiny.model(), tiny.tokenizer(), batch=7)


def test_greedy_equals_transformers_token_for_token(generator):
    tokenizer, model = tiny.tokenizer(), tiny.model().eval()
    batch = tokenizer(
        PROMPTS, return_tensors="pt", padding=True, padding_side="left", add_special_tokens=False
    )
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    reference = model.generate(
        **{k: batch[k] for k in ("input_ids", "attention_mask")},
        max_new_tokens=20,
        do_sample=False,
        eos_token_id=generator.stop,
    )
    for got, row in zip(
        generator.sample(PROMPTS, max_new_tokens=20),
        reference[:, batch["input_ids"].shape[1] :].tolist(),
        strict=True,
    ):
        assert got[0].ids == row[: len(got[0].ids)]
        assert got[0].stopped or len(got[0].ids) == 20


def test_rows_that_finish_early_do_not_disturb_the_others(generator):
    together = generator.sample(PROMPTS, max_new_tokens=16)
    alone = [generator.sample([p], max_new_tokens=16)[0] for p in PROMPTS[:6]]
    assert [c[0].ids for c in together[:6]] == [c[0].ids for c in alone]


def test_stop_token_ends_a_completion(generator):
    favourite = generator.sample(PROMPTS[:1], max_new_tokens=8)[0][0].ids[3]
    generator.stop = [favourite]
    completion = generator.sample(PROMPTS[:1], max_new_tokens=8)[0][0]
    assert completion.stopped and completion.ids[-1] == favourite and len(completion.ids) <= 4


def test_sampled_frequencies_follow_the_distribution():
    logits = torch.tensor([2.0, 1.0, 0.0, -1.0, -30.0])
    drawn = choose(
        logits.expand(20_000, -1), 0.7, 1.0, torch.rand(20_000, generator=torch.Generator().manual_seed(0))
    )
    expected = torch.softmax(logits / 0.7, -1)[:4] * 20_000
    counts = torch.bincount(drawn, minlength=5)
    assert counts[4] == 0
    assert stats.chisquare(counts[:4], expected * counts[:4].sum() / expected.sum()).pvalue > 0.001


def test_top_p_keeps_the_smallest_set_of_that_mass():
    logits = torch.log(torch.tensor([0.5, 0.3, 0.15, 0.05]))
    drawn = choose(
        logits.expand(5000, -1), 1.0, 0.6, torch.rand(5000, generator=torch.Generator().manual_seed(0))
    )
    assert set(drawn.tolist()) == {0, 1}
    assert drawn.float().mean() == pytest.approx(0.3 / 0.8, abs=0.03)


def test_same_seed_same_samples_and_groups_differ_inside(generator):
    first = generator.sample(PROMPTS[:4], n=5, max_new_tokens=8, temperature=1.0, seed=3)
    again = generator.sample(PROMPTS[:4], n=5, max_new_tokens=8, temperature=1.0, seed=3)
    other = generator.sample(PROMPTS[:4], n=5, max_new_tokens=8, temperature=1.0, seed=4)
    assert first == again and first != other
    assert all(len(group) == 5 and len({tuple(c.ids) for c in group}) > 1 for group in first)


def test_refresh_takes_over_new_weights(generator):
    before = generator.sample(PROMPTS[:2], max_new_tokens=8)
    generator.refresh(tiny.model(seed=9))
    assert generator.sample(PROMPTS[:2], max_new_tokens=8) != before


def test_empty_input(generator):
    assert generator.sample([]) == []
    with pytest.raises(ValueError, match="empty prompt"):
        generator.sample([""])


def test_a_bf16_copy_keeps_its_positions_exact(monkeypatch):
    monkeypatch.setattr("nbkit.generate.cpu_has_bf16", lambda: True)
    copied = Generator(tiny.model(), tiny.tokenizer()).model
    assert all(p.dtype == torch.bfloat16 for p in copied.parameters())
    assert torch.equal(copied.model.rotary_emb.inv_freq, tiny.model().model.rotary_emb.inv_freq)
