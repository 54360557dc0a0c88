"""The update against an independent reference: one sequence at a time, the whole table of logits."""

import numpy as np
import pytest
import tiny
import torch

from nbkit.rl.loop import objective
from nbkit.rl.loop.update import How, Sequences, Updater, batches, token_logps

PROMPTS = [[5, 6, 7], [5, 6, 7], [8, 9], [8, 9]]
COMPLETIONS = [[10, 11, 2], [12, 2], [13, 14, 15, 16, 2], [17, 2]]
ADVANTAGES = np.array([0.5, -0.5, 0.0, 0.25])


@pytest.fixture(autouse=True)
def fp32(monkeypatch):
    monkeypatch.setenv("NBKIT_PRECISION", "fp32")


def naive_logps(model, prompt, completion):
    logits = model(torch.tensor([prompt + completion])).logits[0].double().log_softmax(-1)
    return torch.stack([logits[len(prompt) - 1 + t, token] for t, token in enumerate(completion)])


def data(model, sampled=None):
    sampled = sampled or [
        naive_logps(model, p, c).tolist() for p, c in zip(PROMPTS, COMPLETIONS, strict=True)
    ]
    return Sequences(PROMPTS, COMPLETIONS, sampled, ADVANTAGES)


def how(**changed):
    return How(
        **({"updates": 1, "clip": 0.2, "normalise": "constant", "longest": 8, "tokens_at_once": 9} | changed)
    )


def test_log_probabilities_are_those_of_each_sequence_alone():
    model = tiny.model()
    ours, entropy = token_logps(model, PROMPTS, COMPLETIONS)
    theirs = torch.cat([naive_logps(model, p, c) for p, c in zip(PROMPTS, COMPLETIONS, strict=True)])
    assert torch.allclose(ours.double(), theirs, atol=1e-5)
    assert len(entropy) == 12 and bool((entropy > 0).all())


@pytest.mark.parametrize("normalise", ["constant", "token", "sequence"])
def test_the_gradient_is_that_of_the_written_loss(normalise):
    model = tiny.model()
    updater = Updater(model, how(normalise=normalise))
    updater.optimizer.step = lambda: None  # the gradient, before anything is done with it
    measured = updater.step(data(model), lr=1.0)
    # The formula, sequence by sequence: at ratio 1 the loss is the weighted advantage.
    kept = [0, 1, 3]
    tokens = sum(len(COMPLETIONS[s]) for s in kept)
    weight = {
        "constant": lambda c: 1 / 32,
        "token": lambda c: 1 / tokens,
        "sequence": lambda c: 1 / (4 * len(c)),
    }
    reference = tiny.model()
    loss = sum(
        -float(ADVANTAGES[s])
        * weight[normalise](COMPLETIONS[s])
        * naive_logps(reference, PROMPTS[s], COMPLETIONS[s]).sum()
        for s in kept
    )
    loss.backward()
    torch.nn.utils.clip_grad_norm_(reference.parameters(), 1.0)
    for ours, theirs in zip(model.parameters(), reference.parameters(), strict=True):
        assert torch.allclose(ours.grad, theirs.grad, atol=1e-6, rtol=1e-4)
    assert measured["gap"] == pytest.approx(0, abs=1e-5)


def test_the_gap_is_the_difference_from_the_sampler():
    model = tiny.model()
    shifted = [
        [x + 0.5 for x in naive_logps(model, p, c).tolist()]
        for p, c in zip(PROMPTS, COMPLETIONS, strict=True)
    ]
    assert Updater(model, how()).step(data(model, shifted), 0.0)["gap"] == pytest.approx(0.5, abs=1e-4)


def test_without_advantages_nothing_moves_after_momentum_either():
    model = tiny.model()
    updater = Updater(model, how())
    updater.step(data(model), lr=1e-2)
    before = [p.detach().clone() for p in model.parameters()]
    flat = Sequences(PROMPTS, COMPLETIONS, data(model).sampled, np.zeros(4))
    measured = updater.step(flat, lr=1e-2)
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))
    assert measured["grad_norm"] == 0 and measured["entropy"] > 0


def test_later_updates_are_clipped_against_the_first():
    model = tiny.model()
    measured = Updater(model, how(updates=4, clip=0.01)).step(data(model), lr=3e-2)
    assert measured["held"] > 0
    assert Updater(tiny.model(), how(updates=1, clip=0.01)).step(data(tiny.model()), lr=3e-2)["held"] == 0


def test_an_update_makes_what_was_good_likelier():
    model = tiny.model()
    before = [float(naive_logps(model, p, c).sum()) for p, c in zip(PROMPTS, COMPLETIONS, strict=True)]
    updater = Updater(model, how())
    for _ in range(3):
        updater.step(data(model), lr=3e-3)
    after = [float(naive_logps(model, p, c).sum()) for p, c in zip(PROMPTS, COMPLETIONS, strict=True)]
    assert after[0] > before[0] and after[3] > before[3] and after[1] < before[1]


def test_a_loss_that_is_not_finite_is_refused_before_it_reaches_the_weights():
    model = tiny.model()
    broken = Sequences(PROMPTS, COMPLETIONS, data(model).sampled, np.array([np.inf, -0.5, 0, 0]))
    before = [p.detach().clone() for p in model.parameters()]
    with pytest.raises(ValueError, match="lower lr"):
        Updater(model, how()).step(broken, 1e-3)
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))


def test_a_gradient_that_is_not_finite_is_refused(monkeypatch):
    model = tiny.model()
    updater, before = Updater(model, how()), [p.detach().clone() for p in model.parameters()]
    monkeypatch.setattr("torch.nn.utils.clip_grad_norm_", lambda *_: torch.tensor(float("inf")))
    with pytest.raises(ValueError, match="gradient norm inf; wanted finite numbers: lower lr"):
        updater.step(data(model), 1e-3)
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))


def test_a_second_update_that_fails_takes_back_the_first(monkeypatch):
    """Weights and momentum: the next step is that of an updater that never failed."""
    model, other = tiny.model(), tiny.model()
    updater, whole = Updater(model, how(updates=2)), Updater(other, how(updates=2))
    for one, of in ((updater, model), (whole, other)):
        one.step(data(of), 1e-2)
    before, real, calls = [p.detach().clone() for p in model.parameters()], objective.policy_loss, []

    def breaks(*arguments):
        calls.append(1)
        loss, held = real(*arguments)
        return (loss * float("nan"), held) if len(calls) > 3 else (loss, held)  # three batches an update

    monkeypatch.setattr(objective, "policy_loss", breaks)
    with pytest.raises(ValueError, match="loss is nan"):
        updater.step(data(model), 1e-2)
    assert len(calls) == 6
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))
    monkeypatch.setattr(objective, "policy_loss", real)
    for one, of in ((updater, model), (whole, other)):
        one.step(data(of), 1e-2)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), other.parameters(), strict=True))


def test_batches_hold_every_sequence_once_within_their_tokens():
    lengths = [3, 9, 4, 4, 30, 1]
    found = list(batches(lengths, 12))
    assert sorted(i for rows in found for i in rows) == list(range(6))
    assert all(len(rows) * max(lengths[i] for i in rows) <= 12 or len(rows) == 1 for rows in found)
