"""Load, train, save, note the seconds: built once, built again when what it was made from changes."""

import json
from dataclasses import replace
from types import SimpleNamespace

import pytest
import tiny
import torch
from kept_once import KeptOnce

from nbkit.models.load import history_of, load, save
from nbkit.models.side_by_side import clean_up
from nbkit.sft.finetune import (
    Arm,
    SFTSettings,
    amounts_of,
    finetune,
    finetune_all,
    finetuned,
    train_once,
    validation_of,
)
from nbkit.sft.sft import encode, sft, with_markers
from nbkit.tasks import world
from nbkit.tasks.skills import sample

CHATS = [world.chat(task) for task in sample(12, "train", seed=1)]
SETTINGS = SFTSettings(lr=5e-3, batch=1, max_length=256, seed=0, epochs=3.0)


@pytest.fixture
def run(tmp_path):
    return KeptOnce(tmp_path, "03_sft_cold_start")


@pytest.fixture
def base(tmp_path):
    save(tmp_path / "base", tiny.model(), tiny.tokenizer())
    return tmp_path / "base"


def test_the_loss_on_held_out_conversations_is_measured_while_it_learns(run, base):
    path = finetune(run, "tuned", base, CHATS[:8], SETTINGS, held_out=CHATS[8:])
    rows = validation_of(path)
    steps = [row["step"] for row in rows]
    assert len(rows) >= 2 and steps == sorted(set(steps)) and steps[-1] <= history_of(path)[-1]["step"]
    assert rows[-1]["eval_loss"] < rows[0]["eval_loss"]
    again = finetune(run, "tuned", base, CHATS[:8], SETTINGS, held_out=CHATS[9:])
    assert run.built == ["tuned", "tuned"] and len(validation_of(again)) == len(rows)
    assert validation_of(finetune(run, "plain", base, CHATS[:8], SETTINGS)) == []


def test_arms_side_by_side_are_what_each_alone_is(run, base, monkeypatch):
    torch.set_num_threads(1)
    arms = {
        "first": Arm(base, CHATS[:6], SETTINGS),
        "second": Arm(base, CHATS[6:], replace(SETTINGS, lr=2e-3)),
    }
    paths = finetune_all(run, arms)
    for name, arm in arms.items():
        alone = finetune(run, f"{name}_alone", arm.source, arm.conversations, arm.settings)
        assert torch.equal(weights(load(paths[name])[0]), weights(load(alone)[0]))
        assert amounts_of(paths[name]) == amounts_of(alone) and run.seconds[f"{name}_s"] > 0
        history = [[row["loss"] for row in history_of(path)] for path in (paths[name], alone)]
        assert history[0] == pytest.approx(history[1])
    # interrupted after the first was kept: the second is finished, so that nothing is trained again
    del run.keys["second"]
    monkeypatch.setattr("nbkit.models.side_by_side._alone", None)
    assert finetune_all(run, arms) == paths
    monkeypatch.undo()
    # after the notebook has cleaned up, a lost artifact is made again
    clean_up(run)
    del run.keys["second"]
    assert finetune_all(run, arms) == paths and run.built[-1] == "second"


def weights(model) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in model.parameters()])


def test_finetune_is_load_sft_save_and_the_time(run, base, tmp_path, capsys):
    path = finetune(run, "tuned", base, CHATS, SETTINGS)
    model, tokenizer = load(base)
    settings = SFTSettings(lr=5e-3, batch=1, max_length=256, seed=0, epochs=3.0)
    by_hand = sft(model, with_markers(tokenizer), CHATS, settings, out=tmp_path)
    trained, saved_tokenizer = load(path)
    assert torch.equal(weights(trained), weights(model))
    assert not torch.equal(weights(trained), weights(load(base)[0]))
    assert saved_tokenizer.chat_template == tokenizer.chat_template
    assert history_of(path) == json.loads(json.dumps(by_hand.history))
    assert list(run.seconds) == ["tuned_s"]
    assert run.seconds["tuned_s"] > 0
    assert "tuned: 12 conversations, 0 left out as too long" in capsys.readouterr().out


def test_the_amounts_are_those_of_the_data_and_hold_no_times(run, base):
    rows, dropped = encode(CHATS, with_markers(tiny.tokenizer()), 80)
    assert dropped > 0
    path = finetune(run, "tuned", base, CHATS, replace(SETTINGS, max_length=80))
    assert amounts_of(path) == {
        "samples": len(rows),
        "dropped": dropped,
        "tokens": sum(len(row["input_ids"]) for row in rows),
        "learned": sum(label != -100 for row in rows for label in row["labels"]),
    }


def test_it_is_built_again_only_for_another_source_data_or_settings(run, base, tmp_path):
    quick = replace(SETTINGS, steps=1)
    for _ in range(2):
        finetune(run, "tuned", base, CHATS, quick)
    assert run.built == ["tuned"]
    finetune(run, "tuned", base, CHATS[1:], quick)
    finetune(run, "tuned", base, CHATS[1:], replace(quick, lr=1e-3))
    finetune(run, "tuned", tmp_path / "tuned", CHATS[1:], replace(quick, lr=1e-3))
    assert run.built == ["tuned"] * 4


def test_steps_count_in_place_of_epochs(base, tmp_path):
    *_, result = finetuned(base, CHATS, replace(SETTINGS, epochs=50.0, steps=3), out=tmp_path, label="x")
    assert result.history[-1]["step"] == 3


def test_a_model_that_is_only_looked_at_leaves_no_folder(base, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    model, tokenizer, result = finetuned(base, CHATS, replace(SETTINGS, steps=1), out=out, label="x")
    assert not list(out.iterdir())
    assert result.samples == len(CHATS)
    assert len(tokenizer) == model.get_input_embeddings().num_embeddings


def test_any_training_is_kept_in_the_same_form(run, base):
    seen = SimpleNamespace(calls=0)

    def train(model, tokenizer, out):
        seen.calls += 1
        assert out == run.dir / "arm"
        with torch.no_grad():
            next(model.parameters()).zero_()
        return [{"step": 1, "loss": 0.5}], 2.0

    for _ in range(2):
        path = train_once(run, "arm", base, train, beta=0.1)
    assert seen.calls == 1
    assert history_of(path) == [{"step": 1, "loss": 0.5}]
    assert run.seconds == {"arm_s": 2.0}
    assert not next(load(path)[0].parameters()).any()
    train_once(run, "arm", base, train, beta=0.2)
    assert seen.calls == 2


def test_a_training_that_fails_saves_and_times_nothing(run, base):
    def train(model, tokenizer, out):
        raise ValueError("loss is nan")

    with pytest.raises(ValueError, match="loss is nan"):
        train_once(run, "arm", base, train)
    assert not (run.dir / "arm/config.json").exists()
    assert run.seconds == {}
    with pytest.raises(ValueError, match="could not load"):
        finetune(run, "tuned", base / "absent", CHATS, SETTINGS)
