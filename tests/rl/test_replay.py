"""Replayed answers of fine-tuning: what is drawn, what the loss adds, what is refused."""

import numpy as np
import pytest
import tiny
import torch

from nbkit.rl.loop.update import How, Replayed, Sequences, Updater
from nbkit.rl.replay import Replay


def test_a_step_draws_the_same_again_and_each_answer_ends_its_turn():
    tokenizer = tiny.tokenizer()
    replay = Replay(("general", "agent"), per_step=3, weight=0.1)
    first, again, other = (replay.draw(tokenizer, step) for step in (4, 4, 5))
    assert first == again != other
    assert [len(first.prompts), len(first.answers)] == [3, 3]
    assert all(tokenizer.decode(ids).endswith("<|im_end|>") for ids in first.answers)


@pytest.mark.parametrize("bad", [{"domains": ()}, {"per_step": 0}, {"weight": 0.0}])
def test_a_replay_of_nothing_is_refused(bad):
    with pytest.raises(ValueError, match="replay: got domains"):
        Replay(**({"domains": ("general",), "per_step": 2, "weight": 0.1} | bad))


def test_the_gradient_is_that_of_rl_plus_the_weighted_mean_loss(monkeypatch):
    monkeypatch.setenv("NBKIT_PRECISION", "fp32")
    data = Sequences([[5, 6], [5, 6]], [[10, 2], [11, 2]], [[-1.0, -1.0]] * 2, np.array([0.5, -0.5]))
    replayed = Replayed([[7, 8]], [[9, 12, 2]])

    def gradient(weight, given):
        model = tiny.model()
        Updater(model, How(1, 0.2, "constant", 8, 64, weight)).step(data, 0.0, given)
        return torch.cat([p.grad.flatten() for p in model.parameters()])

    model = tiny.model()
    logits = model(torch.tensor([[7, 8, 9, 12, 2]])).logits[0].log_softmax(-1)
    (-logits[[1, 2, 3], [9, 12, 2]].mean()).backward()
    alone = torch.cat([p.grad.flatten() for p in model.parameters()])
    both = gradient(0.01, replayed)
    # Small weights, so that neither gradient is cut at norm 1.
    assert torch.linalg.vector_norm(both) < 1
    torch.testing.assert_close(both, gradient(0.0, None) + 0.01 * alone, atol=1e-6, rtol=1e-4)
