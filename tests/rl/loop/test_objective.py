"""The objective by numbers computed by hand."""

import numpy as np
import pytest
import torch

from nbkit.rl.loop import objective

NAN = float("nan")


def test_the_advantage_is_the_reward_over_the_mean_of_its_group():
    found = objective.advantages([[1, 0, 0, 1], [1, 0, 0, 0], [1, 1, 1, 1]])
    assert found.tolist() == [[0.5, -0.5, -0.5, 0.5], [0.75, -0.25, -0.25, -0.25], [0, 0, 0, 0]]


def test_a_masked_completion_is_no_zero():
    found = objective.advantages([[1, 0, NAN, NAN], [1, NAN, NAN, NAN], [NAN] * 4])
    assert found.tolist() == [[0.5, -0.5, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]]


def test_std_divides_by_the_deviation_of_a_sample():
    found = objective.advantages([[1, 0, 0, 1]], "std")
    assert np.allclose(found, np.array([[0.5, -0.5, -0.5, 0.5]]) / (np.sqrt(1 / 3) + 1e-4))


def test_a_masked_completion_does_not_change_the_deviation():
    with_nan, without = (
        objective.advantages([[1, 0, 1, NAN]], "std"),
        objective.advantages([[1, 0, 1]], "std"),
    )
    assert np.allclose(with_nan[:, :3], without)


def test_signal_counts_the_groups_that_differ():
    assert objective.with_signal(objective.advantages([[1, 0], [1, 1], [NAN, 1], [0.5, 0.2]])) == 0.5


@pytest.mark.parametrize(
    ("how", "weights"),
    [("constant", [1 / 40, 1 / 40]), ("token", [1 / 5, 1 / 5]), ("sequence", [1 / 8, 1 / 12])],
)
def test_a_token_weighs_what_its_normalisation_says(how, weights):
    assert np.allclose(objective.token_weights([2, 3], 4, 10, how), weights)


def test_an_unknown_name_is_refused():
    with pytest.raises(ValueError, match="normalise: got 'mean', wanted one of constant, token, sequence"):
        objective.token_weights([1], 1, 1, "mean")
    with pytest.raises(ValueError, match="advantage: got 'rank', wanted one of mean, std"):
        objective.advantages([[1, 0]], "rank")


def test_the_first_update_has_the_gradient_of_plain_reinforce():
    logp = torch.tensor([-1.0, -2.0, -0.5], requires_grad=True)
    advantage, weight = torch.tensor([0.5, -0.5, 1.0]), torch.tensor([0.1, 0.1, 0.2])
    loss, held = objective.policy_loss(logp, logp.detach(), advantage, weight, clip=0.2)
    loss.backward()
    assert logp.grad.tolist() == pytest.approx([-0.05, 0.05, -0.2])
    assert not held.any()


def test_the_clip_takes_incentives_away_and_never_gives_one():
    old = torch.zeros(4)
    # ratios 1.5, 1.5, 0.5, 0.5 with advantages of both signs
    logp = torch.tensor([1.5, 1.5, 0.5, 0.5]).log().requires_grad_()
    advantage = torch.tensor([1.0, -1.0, 1.0, -1.0])
    loss, held = objective.policy_loss(logp, old, advantage, torch.ones(4), clip=0.2)
    loss.backward()
    # min(1.5, 1.2), min(-1.5, -1.2), min(0.5, 0.8), min(-0.5, -0.8)
    assert float(loss) == pytest.approx(-(1.2 - 1.5 + 0.5 - 0.8))
    assert held.tolist() == [True, False, False, True]
    assert [float(g) != 0 for g in logp.grad] == [False, True, True, False]


def test_the_rate_falls_linearly_to_zero():
    assert [objective.decayed(0.4, step, 4) for step in range(5)] == pytest.approx([0.4, 0.3, 0.2, 0.1, 0.0])


def test_rounding_is_no_signal():
    """0.1 + 0.2 and 0.3 differ in the last digit; one threshold decides for update and alarm."""
    for scale in objective.ADVANTAGES:
        found = objective.advantages(np.array([[0.1 + 0.2, 0.3], [1.0, 0.0]]), scale)
        assert found[0].tolist() == [0.0, 0.0] and found[1].all()
        assert objective.with_signal(found) == 0.5


def test_maxrl_weighs_a_question_by_one_over_its_pass_rate():
    found = objective.advantages([[1, 0, 0, 0], [1, 1, 1, 0], [0, 0, 0, 0], [1, 0, NAN, NAN]], "maxrl")
    np.testing.assert_allclose(found[:2], [[3, -1, -1, -1], [1 / 3, 1 / 3, 1 / 3, -1]])
    np.testing.assert_allclose(found[2:], [[0, 0, 0, 0], [1, -1, 0, 0]])


def test_maxrl_refuses_what_is_no_pass_rate():
    with pytest.raises(ValueError, match="maxrl got a reward of -1"):
        objective.advantages([[1, -1]], "maxrl")
