"""The loop: it learns what can be learned, stops where it must, and goes on where it was stopped."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import tiny
import torch

from nbkit.rl.loop.train import STATE, LoopSettings, train
from nbkit.tasks.skills import sample
from nbkit.verify.errors import GraderError

ROOT = Path(__file__).resolve().parents[3]


STOPS = list(range(0, 320, 3))  # a third of the vocabulary ends a turn: an untrained model ends, too


@pytest.fixture(autouse=True)
def ends_soon(monkeypatch):
    monkeypatch.setattr("nbkit.models.engine.stop_tokens", lambda tokenizer, stop=(): STOPS)


class Stream:
    """Questions that are never filtered; a state of one number."""

    def __init__(self):
        self.calls, self.heard = 0, []

    def draw(self, n):
        self.calls += 1
        return sample(n, "train", seed=self.calls)

    def told(self, tasks, rates):
        self.heard.append(rates)

    def state(self):
        return {"calls": self.calls}

    def restore(self, state):
        self.calls = state["calls"]


def settings(**changed):
    base = {"steps": 4, "prompts_per_step": 2, "group": 4, "lr": 5e-3, "max_new_tokens": 8, "save_every": 1}
    return LoopSettings(**(base | changed))


def by_length(tasks, groups):
    """A reward for early ends, which any model can learn."""
    return [[1 - c.tokens / 16 for c in group] for group in groups]


def long(tasks, groups):
    return [[c.tokens / 16 for c in group] for group in groups]


def weights(model):
    return torch.cat([p.detach().flatten() for p in model.parameters()]).clone()


def test_a_reward_that_can_be_reached_rises():
    model = tiny.model()
    how = settings(steps=30, prompts_per_step=4, group=8, max_new_tokens=16)
    rows = train(model, tiny.tokenizer(), Stream(), long, how).history
    assert [row["step"] for row in rows] == list(range(1, 31))
    first, last = (np.mean([row["reward"] for row in part]) for part in (rows[:5], rows[-5:]))
    assert last > first + 0.1, (first, last)


def test_the_learning_rate_falls_to_zero():
    rows = train(tiny.model(), tiny.tokenizer(), Stream(), by_length, settings(lr=4e-3)).history
    assert [row["lr"] for row in rows] == pytest.approx([4e-3, 3e-3, 2e-3, 1e-3])


def test_the_sampler_and_the_trainer_agree_where_nothing_moves():
    rows = train(tiny.model(), tiny.tokenizer(), Stream(), by_length, settings(lr=0.0)).history
    assert max(row["gap"] for row in rows) < 0.02


def test_a_sampler_with_other_weights_is_noticed(monkeypatch):
    """The alarm's cause: the copy that samples is not brought up to date."""
    monkeypatch.setattr("nbkit.models.engine.Generator.refresh", lambda self, model: None)
    found = train(tiny.model(), tiny.tokenizer(), Stream(), by_length, settings())
    assert any("sampler and trainer differ" in alarm for alarm in found.alarms)


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_equal_rewards_leave_the_policy_alone_and_ring(value):
    model = tiny.model()
    before = weights(model)
    found = train(
        model, tiny.tokenizer(), Stream(), lambda _, groups: [[value] * 4 for _ in groups], settings()
    )
    assert torch.equal(before, weights(model))
    assert any(f"every reward was {value:g}" in alarm for alarm in found.alarms)


def test_a_completion_without_a_reward_counts_in_no_mean():
    stream = Stream()
    rows = train(
        tiny.model(),
        tiny.tokenizer(),
        stream,
        lambda _, groups: [[None, 1.0, 1.0, 0.0] for _ in groups],
        settings(steps=1),
    ).history
    assert rows[0]["reward"] == pytest.approx(2 / 3) and rows[0]["graded"] == 0.75
    assert stream.heard == [[2 / 3, 2 / 3]]


def test_a_step_of_none_changes_no_weight_after_momentum_either():
    model, seen = tiny.model(), []

    def reward(tasks, groups):
        seen.append(weights(model))
        return [[None] * 4 if len(seen) == 2 else [0.0, 1.0, 0.0, 1.0] for _ in groups]

    found = train(model, tiny.tokenizer(), Stream(), reward, settings(steps=3))
    assert [row["graded"] for row in found.history] == [1.0, 0.0, 1.0]
    assert found.history[1]["reward"] == 0.0
    assert not torch.equal(seen[0], seen[1])
    assert torch.equal(seen[1], seen[2])
    assert "step 2: no completion got a reward: this step changes no weight" in found.alarms


def test_steps_of_none_end_the_stage():
    with pytest.raises(GraderError, match="for 3 steps in a row"):
        train(
            tiny.model(),
            tiny.tokenizer(),
            Stream(),
            lambda _, groups: [[None] * 4 for _ in groups],
            settings(),
        )


@pytest.mark.parametrize(
    ("broken", "words"),
    [
        (lambda groups: [[float("nan")] * 4 for _ in groups], "ValueError: got a reward of nan"),
        (lambda groups: [[float("inf")] * 4 for _ in groups], "ValueError: got a reward of inf"),
        (
            lambda groups: [[1.0] * 3 for _ in groups],
            r"ValueError: got rewards of 2 groups of \[3\], want",
        ),
        (lambda groups: 1 / 0, "ZeroDivisionError"),
    ],
)
def test_a_broken_reward_stops_the_stage_and_the_last_good_checkpoint_is_kept(tmp_path, broken, words):
    def reward(tasks, groups, calls=[]):  # noqa: B006 (counts the calls of this test)
        calls.append(1)
        return broken(groups) if len(calls) == 3 else by_length(tasks, groups)

    model = tiny.model()
    with pytest.raises(RuntimeError, match=f"rl: the reward failed at step 3 .{words}"):
        train(model, tiny.tokenizer(), Stream(), reward, settings(), folder=tmp_path)
    # Mended, it ends as a training that never broke.
    again, whole = tiny.model(), tiny.model()
    found = train(again, tiny.tokenizer(), Stream(), by_length, settings(), folder=tmp_path)
    train(whole, tiny.tokenizer(), Stream(), by_length, settings())
    assert torch.equal(weights(again), weights(whole))
    assert [row["step"] for row in found.history] == [1, 2, 3, 4]


def test_a_policy_without_a_template_is_refused():
    tokenizer = tiny.train_tokenizer(["some text"], 300)
    tokenizer.chat_template = None
    with pytest.raises(ValueError, match="without a chat template"):
        train(tiny.model(), tokenizer, Stream(), by_length, settings())


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"group": 1}, "group: got 1, wanted 2 or more"),
        ({"steps": 0}, "steps: got 0, wanted 1 or more"),
        ({"updates": 0}, "updates: got 0, wanted 1 or more"),
        ({"normalise": "mean"}, "normalise: got 'mean'"),
        ({"advantage": "rank"}, "advantage: got 'rank'"),
    ],
)
def test_settings_that_make_no_training_are_refused(changed, words):
    with pytest.raises(ValueError, match=words):
        settings(**changed)


class Looks:
    """A watch with scores that are given."""

    every = 2

    def __init__(self, scores, eligible=(True,) * 9, stops=("",) * 9):
        self.rows = [
            {"score": s, "eligible": e, "stop": stop}
            for s, e, stop in zip(scores, eligible, stops, strict=False)
        ]

    def __call__(self, policy, before):
        return self.rows[len(before)]


def test_the_weights_of_the_best_look_are_kept():
    for scores, kept in (([0.3, 0.5, 0.4], 2), ([0.5, 0.3, 0.4], 0), ([0.3, 0.3, 0.3], 4)):
        model, start = tiny.model(), weights(tiny.model())
        found = train(model, tiny.tokenizer(), Stream(), by_length, settings(), watch=Looks(scores))
        assert found.kept_step == kept and [row["step"] for row in found.watched] == [0, 2, 4]
        assert torch.equal(weights(model), start) == (kept == 0)


def test_a_look_that_may_not_be_kept_is_not():
    looks = Looks([0.3, 0.5, 0.9], eligible=(True, True, False))
    assert train(tiny.model(), tiny.tokenizer(), Stream(), by_length, settings(), watch=looks).kept_step == 2


def test_a_look_can_stop_the_stage():
    looks = Looks([0.3, 0.5, 0.9], stops=("", "completions are 9.0 times as long", ""))
    found = train(tiny.model(), tiny.tokenizer(), Stream(), by_length, settings(), watch=looks)
    assert len(found.history) == 2 and found.watched[-1]["stop"].startswith("completions are")


def test_a_state_of_another_training_is_not_gone_on_from(tmp_path, capsys):
    train(tiny.model(), tiny.tokenizer(), Stream(), by_length, settings(), folder=tmp_path)
    other = tiny.model(seed=1)
    found = train(other, tiny.tokenizer(), Stream(), by_length, settings(), folder=tmp_path)
    assert "of another training; starting over" in capsys.readouterr().out
    assert len(found.history) == 4


def test_the_seconds_of_a_resumed_training_add_up(tmp_path):
    def breaks(tasks, groups):
        raise OSError("no line")

    with pytest.raises(RuntimeError, match="no line"):
        train(tiny.model(), tiny.tokenizer(), Stream(), breaks, settings(), folder=tmp_path)
    state = torch.load(tmp_path / STATE, weights_only=True)
    assert state["plain"]["trained"]["seconds"] > 0
    state["plain"]["trained"]["seconds"] = 1e6
    torch.save(state, tmp_path / STATE)
    found = train(tiny.model(), tiny.tokenizer(), Stream(), by_length, settings(), folder=tmp_path)
    assert found.seconds > 1e6


LIFE = """
import sys, time
from pathlib import Path
import test_rl_loop as this, tiny, torch
from nbkit.models import engine
from nbkit.rl.loop.train import train
engine.stop_tokens = lambda tokenizer, stop=(): this.STOPS
folder = Path(sys.argv[1])
def slow(tasks, groups):
    print("step", flush=True)
    time.sleep(0.05)
    return this.by_length(tasks, groups)
how = this.settings(steps=12, save_every=2)
model = tiny.model()
looks = this.Looks([0.1, 0.2, 0.5, 0.4, 0.3, 0.2, 0.1])
found = train(model, tiny.tokenizer(), this.Stream(), slow, how, folder=folder, watch=looks)
torch.save((this.weights(model), found.history, found.kept_step), folder / "end.pt")
"""


def life(folder: Path) -> subprocess.Popen:
    paths = os.pathsep.join(map(str, (ROOT, ROOT / "tests", ROOT / "tests/rl/loop")))
    environment = os.environ | {"PYTHONPATH": paths, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, "-c", LIFE, str(folder)], env=environment, stdout=subprocess.PIPE, text=True
    )


@pytest.mark.slow
def test_a_killed_training_ends_with_the_very_same_weights(tmp_path):
    """SIGKILL after a few steps, again and again, in the middle of whatever it does."""
    (tmp_path / "whole").mkdir()
    (tmp_path / "killed").mkdir()
    assert life(tmp_path / "whole").wait() == 0
    kills = 0
    for steps in (3, 2, 4, 1, 2):
        process = life(tmp_path / "killed")
        for _ in range(steps):
            process.stdout.readline()
        time.sleep(0.02 * steps)
        process.send_signal(signal.SIGKILL)
        kills += process.wait() == -signal.SIGKILL
    assert kills == 5 and (tmp_path / "killed" / STATE).is_file()
    assert life(tmp_path / "killed").wait() == 0
    ends = [torch.load(tmp_path / name / "end.pt", weights_only=True) for name in ("whole", "killed")]
    assert torch.equal(ends[0][0], ends[1][0])
    assert json.dumps(ends[0][1]) == json.dumps(ends[1][1])
    assert ends[0][2] == ends[1][2] == 4
