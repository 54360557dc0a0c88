"""Fine-tuning by the launcher: two processes learn what one does; what cannot be split is refused."""

import os
from pathlib import Path
from types import SimpleNamespace

import pytest
import tiny
import torch
from accelerate.commands.config.config_args import load_config_from_file
from kept_once import KeptOnce

from nbkit.models.distributed.sharding import Devices, sharding_arguments, whole_state
from nbkit.models.load import history_of, load, save
from nbkit.sft.finetune import Arm, SFTSettings, amounts_of, finetune_all, validation_of
from nbkit.sft.sft import rows_needed, sft
from nbkit.tasks import world
from nbkit.tasks.skills import sample

ROOT = Path(__file__).resolve().parents[2]
CHATS = [world.chat(task) for task in sample(60, "train", seed=1)]
ROWS = rows_needed(CHATS[:48], tiny.tokenizer(), 96)
# Whole batches only: a smaller one at the end of a pass is filled up by accelerate.
SETTINGS = SFTSettings(lr=5e-3, batch=4, max_length=96, seed=0, steps=ROWS // 4)


@pytest.fixture
def base(tmp_path):
    save(tmp_path / "base", tiny.model(), tiny.tokenizer())
    return tmp_path / "base"


@pytest.mark.slow
def test_two_processes_learn_what_one_does(base, tmp_path, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    arms, found = {"tuned": Arm(base, CHATS[:48], SETTINGS)}, {}
    for processes in (1, 2):
        run = KeptOnce(tmp_path / str(processes), "03_sft_cold_start")
        devices = Devices("torchrun", processes)
        found[processes] = finetune_all(run, arms, CHATS[48:], devices)["tuned"]
        assert run.built == ["tuned"] and finetune_all(run, arms, CHATS[48:], devices) == {
            "tuned": found[processes]
        }
        assert run.built == ["tuned"]  # kept, not trained again
    one, two = ([row["loss"] for row in history_of(found[n])] for n in (1, 2))
    assert len(one) == SETTINGS.steps > 4 and one[-1] < one[0]
    assert two == pytest.approx(one, rel=1e-3)
    assert amounts_of(found[1]) == amounts_of(found[2])
    losses = [[row["eval_loss"] for row in validation_of(found[n])] for n in (1, 2)]
    assert losses[1] == pytest.approx(losses[0], rel=0.02)  # a mean of batches, which are others
    first, second = (load(found[n])[0].state_dict() for n in (1, 2))
    assert all(torch.allclose(first[name], second[name], atol=1e-2) for name in first)


@pytest.mark.slow
def test_a_crash_is_told_with_its_words_and_what_was_finished_stays(base, tmp_path):
    run = KeptOnce(tmp_path / "run", "03_sft_cold_start")
    arms = {"good": Arm(base, CHATS[:12], SETTINGS), "bad": Arm(tmp_path / "none", CHATS[:12], SETTINGS)}
    with pytest.raises(RuntimeError, match="model: could not load"):
        finetune_all(run, arms, devices=Devices("torchrun", 2))
    assert run.built == ["good"]


def test_a_batch_that_does_not_split_is_refused(base, tmp_path, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "3")
    with pytest.raises(ValueError, match="batch: 4 rows do not split over 3 processes"):
        sft(*load(base), CHATS[:4], SETTINGS, out=tmp_path)


def test_sharding_without_a_launcher_is_refused(base, tmp_path, monkeypatch):
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    with pytest.raises(ValueError, match="sharding: got 'fsdp2', wanted .* launcher torchrun"):
        sft(*load(base), CHATS[:4], SETTINGS, out=tmp_path, sharding="fsdp2")


def test_devices_are_those_that_the_parameters_name():
    cfg = SimpleNamespace(launcher="srun", processes=8, nodes=4, sharding="fsdp2")
    devices = Devices.of(cfg)
    assert devices.how == {"launcher": "srun", "processes": 8, "nodes": 4} and not devices.inline
    assert Devices().inline


def test_what_is_computed_again_goes_where_each_way_of_sharding_wants_it(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert sharding_arguments("ddp") == {"fsdp": False, "fsdp_config": None}
    assert sharding_arguments("ddp", "layers")["activation_checkpointing"] is True
    sharded = sharding_arguments("fsdp2", "layers")
    assert sharded["fsdp_config"]["activation_checkpointing"] is True
    assert "activation_checkpointing" not in sharded
    with pytest.raises(ValueError, match="there is no GPU here; use 'layers'"):
        sharding_arguments("fsdp2", "offload")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert sharding_arguments("fsdp2", "offload")["activation_checkpointing_kwargs"] == {"offload": True}
    with pytest.raises(ValueError, match="activation_checkpointing: got 'some', wanted one of"):
        sharding_arguments("ddp", "some")


@pytest.mark.parametrize(("name", "kind"), [("ddp", "MULTI_GPU"), ("fsdp2", "FSDP")])
def test_accelerate_reads_the_configurations(name, kind):
    config = load_config_from_file(str(ROOT / "params/accelerate" / f"{name}.yaml"))
    assert config.distributed_type == kind and config.num_processes == 8
    assert (config.fsdp_config or {}).get("fsdp_version") == (2 if name == "fsdp2" else None)


def test_a_model_that_is_whole_needs_no_gathering(base):
    assert whole_state(load(base)[0]) is None
    assert "RANK" not in os.environ
