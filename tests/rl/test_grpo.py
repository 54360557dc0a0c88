"""GRPO through TRL with the fast rollouts, the pairwise judge."""

import numpy as np
import pytest
import tiny
import torch

from nbkit.models.engine import Generator, user_prompt
from nbkit.rl import judge as preference
from nbkit.rl.trl.grpo import GRPOSettings, grpo
from nbkit.tasks.skills import sample


def rows(n=8):
    return [
        {"prompt": user_prompt(tiny.tokenizer(), t.question), "index": i}
        for i, t in enumerate(sample(n, "train", seed=2))
    ]


def test_grpo_raises_a_reward_it_can_reach(tmp_path):
    """A reward for short answers is learnable by any model: the mean must rise, and every group must hold
    one question."""
    seen = []

    def reward(prompts, completions, index, completion_ids, **_):
        seen.append([index[i : i + 8] for i in range(0, len(index), 8)])
        return [1.0 - len(ids) / 16 for ids in completion_ids]

    model = tiny.model()
    before = [p.clone() for p in model.parameters()]
    history, _ = grpo(
        model,
        tiny.tokenizer(),
        rows(),
        reward,
        GRPOSettings(steps=25, prompts_per_step=4, group=8, lr=5e-3, max_new_tokens=16, seed=0),
        out=tmp_path,
    )
    assert len(history) == 25 and any(
        not torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True)
    )
    assert all(len(set(group)) == 1 for step in seen for group in step)
    first, last = (np.mean([h["reward"] for h in part]) for part in (history[:5], history[-5:]))
    assert last > first + 0.1, (first, last)


def test_equal_rewards_leave_the_policy_alone(tmp_path):
    model = tiny.model()
    before = [p.clone() for p in model.parameters()]
    grpo(
        model,
        tiny.tokenizer(),
        rows(),
        lambda prompts, **_: [1.0] * len(prompts),
        GRPOSettings(steps=2, prompts_per_step=2, group=4, lr=1e-2, max_new_tokens=8, seed=0),
        out=tmp_path,
    )
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))


def test_rollouts_come_in_the_order_trl_expects(tmp_path):
    """Each completion must belong to the prompt beside it: a greedy-like policy answers equal prompts
    alike."""
    captured = {}

    def reward(prompts, completions, index, **_):
        captured.setdefault("pairs", []).extend(zip(prompts, index, strict=True))
        return [0.0] * len(prompts)

    data = rows(4)
    grpo(
        tiny.model(),
        tiny.tokenizer(),
        data,
        reward,
        GRPOSettings(steps=1, prompts_per_step=4, group=4, lr=1e-4, max_new_tokens=4, seed=0),
        out=tmp_path,
    )
    assert captured["pairs"] and all(data[i]["prompt"] == p for p, i in captured["pairs"])


def test_no_question_left_is_an_error(tmp_path):
    with pytest.raises(ValueError, match="pass-rate filter dropped all"):
        grpo(
            tiny.model(),
            tiny.tokenizer(),
            [],
            None,
            GRPOSettings(steps=1, prompts_per_step=1, group=2, lr=1e-3, max_new_tokens=4, seed=0),
            out=tmp_path,
        )


def test_pairs_prefer_the_right_answer_and_train_and_test_differ():
    train, held = (preference.embedded_pairs(200, split, seed=0) for split in ("train", "operands"))
    assert not {p["prompt"] for p in train} & {p["prompt"] for p in held}
    assert all(p["chosen"] != p["rejected"] for p in train + held)


def test_training_chats_put_the_better_answer_on_both_sides_alike():
    pairs = preference.embedded_pairs(400, "train", seed=0)
    chats = preference.conversations(pairs, seed=0)
    letters = [chat[1]["content"] for chat in chats]
    assert 0.4 < letters.count("A") / len(letters) < 0.6
    for pair, chat in zip(pairs, chats, strict=True):
        side = chat[0]["content"].split(f"\n{chat[1]['content']}: ")[1]
        assert side.startswith(pair["chosen"])


def test_the_judge_is_antisymmetric_and_bounded():
    judge = preference.PairwiseJudge(tiny.model(), tiny.tokenizer(), batch=3)
    triples = [
        (p["prompt"], p["chosen"], p["rejected"]) for p in preference.embedded_pairs(10, "train", seed=1)
    ]
    forward, backward = judge.prefer(triples), judge.prefer([(q, b, a) for q, a, b in triples])
    assert np.allclose(forward + backward, 1) and ((forward >= 0) & (forward <= 1)).all()
    assert judge.prefer([]).shape == (0,)


def test_generator_takes_the_policy_as_trl_leaves_it(tmp_path):
    """TRL patches the model's forward; a generator made from the patched model must still run its current
    weights."""
    model = tiny.model()
    grpo(
        model,
        tiny.tokenizer(),
        rows(),
        lambda prompts, **_: [float(i % 2) for i in range(len(prompts))],
        GRPOSettings(steps=2, prompts_per_step=2, group=4, lr=1e-2, max_new_tokens=8, seed=0),
        out=tmp_path,
    )
    fresh = tiny.model()
    fresh.load_state_dict(model.state_dict())
    prompts = [r["prompt"] for r in rows()]
    assert Generator(model, tiny.tokenizer()).sample(prompts, max_new_tokens=6) == Generator(
        fresh, tiny.tokenizer()
    ).sample(prompts, max_new_tokens=6)


@pytest.mark.parametrize("lost", [None, float("nan"), float("inf")])
def test_a_step_without_any_reward_is_masked(tmp_path, lost):
    """Its gradient is 0; momentum of the step before would move the weights all the same."""
    model, seen = tiny.model(), []

    def weights():
        return torch.cat([p.detach().flatten().float() for p in model.parameters()]).clone()

    def reward(prompts, **_):
        seen.append(weights())
        return [lost if len(seen) == 2 else float(i % 2) for i in range(len(prompts))]

    history, _ = grpo(
        model,
        tiny.tokenizer(),
        rows(),
        reward,
        GRPOSettings(steps=3, prompts_per_step=2, group=4, lr=1e-2, max_new_tokens=6, seed=0),
        out=tmp_path,
    )
    assert [h["graded"] for h in history] == [1.0, 0.0, 1.0]
    assert [h["reward"] for h in history] == [0.5, 0.0, 0.5]
    assert all(np.isfinite(h["loss"]) for h in history)
    moved = [float((b - a).abs().max()) for a, b in zip(seen, [*seen[1:], weights()], strict=True)]
    assert moved[1] == 0
    masked = any(x > 0 for x in (moved[0], moved[2]))  # truncated groups teach nothing: one may stand still
    assert masked
