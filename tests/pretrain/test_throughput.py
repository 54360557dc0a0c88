"""FLOPs by hand and a measured peak."""

import pytest
import tiny
import torch

from nbkit.pretrain import throughput
from nbkit.pretrain.plan import Stage


def test_flops_per_token_by_hand():
    model = tiny.model()  # hidden 32, 2 layers, 4 heads (2 for keys and values), MLP 64, embeddings tied
    vocabulary = len(tiny.tokenizer())
    layer = 32 * 32 * 2 + 32 * 16 * 2 + 3 * 32 * 64 + 2 * 32
    weights = vocabulary * 32 + 2 * layer + 32
    assert throughput.flops_per_token(model, 100) == 6 * weights + 12 * 2 * 32 * 100


def test_an_untied_input_embedding_multiplies_nothing():
    tied = tiny.model()
    tied.config.tie_word_embeddings = False
    embedding = len(tiny.tokenizer()) * 32
    assert throughput.flops_per_token(tiny.model(), 8) - throughput.flops_per_token(tied, 8) == 6 * embedding


def test_utilisation_is_rate_times_flops_over_peak(monkeypatch):
    monkeypatch.setattr(throughput, "matmul_peak", lambda device, kind: 1e12)
    plan = [Stage("a", {"hq": 300}, 1, 1, seq_len=10), Stage("b", {"hq": 100}, 1, 1, seq_len=50)]
    model = tiny.model()
    mean = 0.75 * throughput.flops_per_token(model, 10) + 0.25 * throughput.flops_per_token(model, 50)
    assert throughput.mfu(model, plan, 1000.0) == pytest.approx(1000 * mean / 1e12)


def machine(monkeypatch, rate):
    """A machine of `rate` FLOP/s; returns the sizes of the products that are asked of it."""
    sizes = []
    monkeypatch.setattr(
        throughput, "_product_seconds", lambda size, *_: sizes.append(size) or 2 * size**3 / rate
    )
    monkeypatch.setattr(throughput, "_fastest", {})
    return sizes


def test_the_peak_is_the_rate_of_the_machine(monkeypatch):
    sizes = machine(monkeypatch, 1e12)
    assert throughput.matmul_peak("cpu", torch.float32) == pytest.approx(1e12)
    assert sizes[-1] == 2048


@pytest.mark.parametrize("rate", [1e9, 1e10, 7e10, 1e12])
def test_the_peak_costs_at_most_two_seconds_on_any_machine(monkeypatch, rate):
    sizes = machine(monkeypatch, rate)
    throughput.matmul_peak("cpu", torch.float32)
    assert sum(2 * size**3 / rate for size in sizes) < 2


def test_a_busy_moment_does_not_lower_the_peak(monkeypatch):
    machine(monkeypatch, 4e11)
    throughput.matmul_peak("cpu", torch.float32)
    fastest = throughput._fastest
    machine(monkeypatch, 1e11)
    monkeypatch.setattr(throughput, "_fastest", fastest)
    assert throughput.matmul_peak("cpu", torch.float32) == pytest.approx(4e11)
    assert throughput.matmul_peak("cpu", torch.bfloat16) == pytest.approx(1e11)


def test_the_peak_is_that_of_the_training_dtype(monkeypatch):
    asked = []
    monkeypatch.setattr(throughput, "matmul_peak", lambda device, kind: asked.append(kind) or 1e12)
    monkeypatch.setenv("NBKIT_PRECISION", "fp32")
    throughput.mfu(tiny.model(), [Stage("a", {"hq": 300}, 1, 1, seq_len=10)], 1000.0)
    assert asked == [torch.float32]


def test_the_peak_is_measured():
    assert throughput.matmul_peak("cpu", torch.float32) > 1e9
