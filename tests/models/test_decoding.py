"""Attention of one token, and the draw of the next: against the formula and the distribution."""

import numpy as np
import pytest
import tiny
import torch
from scipy import stats
from test_engine import peaked

from nbkit.models.decoding import choose, cpu_attention
from nbkit.models.engine import (
    Generator,
)
from nbkit.tasks import world

PROMPTS = [world.base_prompt(t.question) for t in world.eval_tasks(24, "operands")]


@pytest.fixture
def generator(monkeypatch):
    monkeypatch.setenv("NBKIT_PRECISION", "fp32")  # exactness is a float32 claim
    return Generator(tiny.model(), tiny.tokenizer(), batch=7)


@pytest.fixture
def sharp(generator):
    return Generator(peaked(), tiny.tokenizer(), batch=32)


@pytest.mark.parametrize("masked", [False, True])
def test_attention_of_one_token_equals_the_formula(masked):
    query, keys, values = torch.randn(3, 4, 1, 8), torch.randn(3, 2, 9, 8), torch.randn(3, 2, 9, 8)
    mask = torch.ones(3, 1, 1, 9, dtype=torch.bool)
    mask[1, :, :, :4] = False
    out, _ = cpu_attention(None, query, keys, values, mask if masked else None, scaling=0.3)
    for b in range(3):
        for h in range(4):
            first = 4 if masked and b == 1 else 0
            k, v = keys[b, h // 2, first:], values[b, h // 2, first:]
            expected = torch.softmax(0.3 * k @ query[b, h, 0], 0) @ v
            assert torch.allclose(out[b, 0, h], expected, atol=1e-6)


def expected_shares(model, ids: list[int], temperature: float, top_p: float) -> np.ndarray:
    """Shares of the next token, from a full forward: shape (V,)."""
    with torch.no_grad():
        logits = model(torch.tensor([ids])).logits[0, -1].double()
    shares = torch.softmax(logits / temperature, -1).numpy()
    order = np.argsort(-shares)
    kept = order[: np.searchsorted(np.cumsum(shares[order]), top_p) + 1]
    inside = np.zeros_like(shares)
    inside[kept] = shares[kept]
    return inside / inside.sum()


def chi_square(tokens: list[int], shares: np.ndarray) -> float:
    """p-value; tokens expected fewer than 5 times share a bin."""
    counts, expected = np.bincount(tokens, minlength=len(shares)), shares * len(tokens)
    assert counts[shares == 0].sum() == 0
    big = expected >= 5
    observed = np.append(counts[big], counts[~big].sum())
    wanted = np.append(expected[big], expected[~big].sum())
    used = wanted > 0
    assert used.sum() > 3
    return stats.chisquare(observed[used], wanted[used]).pvalue


@pytest.mark.parametrize(("temperature", "top_p"), [(1.0, 1.0), (0.7, 0.9)])
def test_sampled_frequencies_follow_the_distribution(sharp, temperature, top_p):
    model, n = peaked(), 6000
    sharp.batch, sharp.stop = 1000, []
    other, prompt = tiny.tokenizer()([PROMPTS[0], PROMPTS[2]])["input_ids"]
    assert len(other) != len(prompt)  # so that a batch has padding
    pairs = [c.ids for c in sharp.sample_ids([other, prompt], n, 2, temperature, top_p, 5)[1]]
    first = [pair[0] for pair in pairs]
    assert chi_square(first, expected_shares(model, prompt, temperature, top_p)) > 0.001
    for token in sorted(set(first), key=first.count)[-2:]:
        second = [pair[1] for pair in pairs if pair[0] == token]
        assert len(second) > 200
        assert chi_square(second, expected_shares(model, [*prompt, token], temperature, top_p)) > 0.001


def test_top_p_keeps_the_smallest_set_of_that_mass():
    logits = torch.log(torch.tensor([0.5, 0.3, 0.15, 0.05]))
    draws = torch.linspace(0, 1 - 1e-6, 5000)
    drawn = choose(logits.expand(5000, -1), 1.0, 0.6, draws)
    assert set(drawn.tolist()) == {0, 1}
    assert drawn.float().mean() == pytest.approx(0.3 / 0.8, abs=0.001)


def test_a_token_of_no_probability_is_never_drawn():
    logits = torch.tensor([[-200.0, 1.0, -200.0, 1.0, -200.0]]).expand(3, -1)
    assert choose(logits, 1.0, 1.0, torch.tensor([0.0, 0.5, 1 - 2**-24])).tolist() == [1, 3, 3]


@pytest.mark.parametrize(("temperature", "top_p"), [(0.0, 1.0), (0.7, 0.8)])
def test_log_probs_are_those_of_a_full_forward(sharp, temperature, top_p):
    model, sharp.logprobs, sharp.stop = peaked(), True, list(range(0, 320, 8))
    groups = sharp.sample(PROMPTS[:8], 5, 12, temperature, top_p, seed=1)
    assert len({len(c.ids) for group in groups for c in group}) > 1  # rows were dropped
    for prompt, group in zip(tiny.tokenizer()(PROMPTS[:8])["input_ids"], groups, strict=True):
        for completion in group:
            with torch.no_grad():
                logits = model(torch.tensor([prompt + completion.ids])).logits[0, len(prompt) - 1 : -1]
            expected = torch.log_softmax(logits, -1).gather(1, torch.tensor(completion.ids)[:, None])[:, 0]
            assert completion.logprobs == pytest.approx(expected.tolist(), abs=1e-5)
