"""Checkpoints: a resumed run ends bit for bit like an uninterrupted one; damage, kills, full disks and other
runs' checkpoints are noticed, and what was saved before them stays."""

import errno
import json
import os
import random
import re
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import tiny
import torch
from torch.utils.data import SequentialSampler
from transformers import Trainer, TrainingArguments

from nbkit.pretrain import checkpoint
from nbkit.pretrain.checkpoint import AtomicCheckpoints, damage, newest_valid, starts_like

ROOT = Path(__file__).resolve().parents[2]
STAGE = {"name": "warmup", "tokens": {"hq": 64, "mq": 64}, "lr_to": 1e-2, "seq_len": 16}
PLAN = [STAGE, {**STAGE, "name": "diversity"}, {**STAGE, "name": "decay", "lr_to": 0.0}]
IDENTITY = {"plan": PLAN, "batch_tokens": 64, "seed": 0}


class Small(AtomicCheckpoints, Trainer):
    def _get_train_sampler(self, *args, **kwargs):
        return SequentialSampler(self.train_dataset)


def trainer(out, steps=6, keep=2):
    """A run over six batches of four rows that saves after every second step."""
    rows = torch.randint(1, 300, (24, 16), generator=torch.Generator().manual_seed(1))
    arguments = TrainingArguments(
        output_dir=str(out),
        per_device_train_batch_size=4,
        max_steps=steps,
        learning_rate=1e-2,
        save_steps=2,
        save_total_limit=keep,
        report_to="none",
        disable_tqdm=True,
        use_cpu=True,
        logging_strategy="no",
    )
    data = [{"input_ids": row, "labels": row} for row in rows]
    run = Small(model=tiny.model(), args=arguments, train_dataset=data)
    run.identity = IDENTITY
    return run


def weights(run):
    return {name: value.clone() for name, value in run.model.state_dict().items()}


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """(folder of a finished run with the checkpoints of steps 2, 4 and 6, its last weights)."""
    out = tmp_path_factory.mktemp("finished")
    run = trainer(out, keep=None)
    run.train()
    return out, weights(run)


@pytest.fixture
def saved(finished, tmp_path):
    """A copy of the finished run that a test may damage."""
    return Path(shutil.copytree(finished[0], tmp_path / "run"))


def files_of(folder):
    return sorted(p for p in folder.rglob("*") if p.is_file())


def flip(path, bit):
    data = bytearray(path.read_bytes())
    data[bit // 8 % len(data)] ^= 1 << bit % 8
    path.write_bytes(data)


def test_a_resumed_run_ends_with_the_very_weights_of_an_uninterrupted_one(finished, tmp_path):
    out, expected = finished
    for step in (2, 4):
        shutil.copytree(out / f"checkpoint-{step}", tmp_path / f"{step}" / f"checkpoint-{step}")
        found, skipped = newest_valid(tmp_path / f"{step}", IDENTITY)
        run = trainer(tmp_path / f"{step}")
        run.train(resume_from_checkpoint=str(found))
        assert found.name == f"checkpoint-{step}" and skipped == []
        assert run.state.global_step == 6 and same(weights(run), expected)


def test_a_checkpoint_names_its_files_step_and_identity(saved):
    found, _ = newest_valid(saved)
    body = checkpoint.manifest(found)
    assert body["step"] == 6 and body["identity"] == IDENTITY
    assert sorted(body["files"]) == sorted(p.name for p in found.iterdir() if p.name != "checkpoint.json")
    assert {"model.safetensors", "optimizer.pt", "scheduler.pt", "rng_state.pth"} < set(body["files"])
    assert sorted(p.name for p in saved.iterdir()) == ["checkpoint-2", "checkpoint-4", "checkpoint-6"]


@pytest.mark.parametrize("harm", ["truncate", "flip", "remove", "empty"])
def test_harm_to_any_file_of_the_newest_checkpoint_falls_back_and_is_told(saved, harm):
    for path in files_of(saved / "checkpoint-6"):
        before = path.read_bytes()
        if harm == "truncate":
            path.write_bytes(before[:-1])
        elif harm == "flip":
            flip(path, 8 * (len(before) // 2))
        elif harm == "remove":
            path.unlink()
        else:
            path.write_bytes(b"")
        found, skipped = newest_valid(saved, IDENTITY)
        assert found == saved / "checkpoint-4"
        assert len(skipped) == 1 and skipped[0].startswith("checkpoint-6: ") and path.name in skipped[0]
        path.write_bytes(before)
    assert newest_valid(saved, IDENTITY) == (saved / "checkpoint-6", [])


def test_the_message_gives_what_was_expected_and_what_was_found(saved):
    weights_file = saved / "checkpoint-6" / "model.safetensors"
    size = weights_file.stat().st_size
    os.truncate(weights_file, 100)
    _, skipped = newest_valid(saved)
    assert f"model.safetensors.size {size} -> 100" in skipped[0]
    assert re.search(r"model\.safetensors\.sha256 '[0-9a-f]{64}' -> '[0-9a-f]{64}'", skipped[0])


def test_an_extra_file_a_renamed_folder_and_a_manifest_that_is_no_object_are_damage(saved):
    (saved / "checkpoint-6" / "sub").mkdir()
    (saved / "checkpoint-6" / "sub" / "notes.txt").write_text("mine")
    os.replace(saved / "checkpoint-4", saved / "checkpoint-5")
    (saved / "checkpoint-2" / "checkpoint.json").write_text("[]\n")
    found, skipped = newest_valid(saved)
    assert found is None
    assert [line.split(":")[0] for line in skipped] == ["checkpoint-6", "checkpoint-5", "checkpoint-2"]
    assert "sub/notes.txt" in skipped[0] and "says step 4" in skipped[1] and "damaged" in skipped[2]


def test_200_of_200_random_flips_and_truncations_are_detected(saved):
    rng, found = random.Random(0), 0
    for _ in range(200):
        path = rng.choice(files_of(saved / "checkpoint-6"))
        before = path.read_bytes()
        if rng.random() < 0.5:
            flip(path, rng.randrange(8 * len(before)))
        else:
            os.truncate(path, rng.randrange(len(before)))
        found += bool(damage(saved / "checkpoint-6"))
        path.write_bytes(before)
    assert found == 200 and damage(saved / "checkpoint-6") == ""


def test_an_unreadable_file_is_damage_and_no_crash(saved, monkeypatch):
    def broken(path):
        raise OSError(errno.EIO, "Input/output error", str(path))

    monkeypatch.setattr(checkpoint.files, "sha256", broken)
    assert "Input/output error" in damage(saved / "checkpoint-6")


def test_a_folder_without_checkpoints_and_a_checkpoint_itself(saved):
    assert newest_valid(saved / "nowhere") == (None, [])
    assert newest_valid(saved / "checkpoint-2", IDENTITY) == (saved / "checkpoint-2", [])
    assert newest_valid(saved / "checkpoint-3")[0] is None


def test_the_newest_checkpoints_stay_and_those_asked_for(tmp_path):
    run = trainer(tmp_path, keep=1)
    run.keep_at = {2}
    run.train()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["checkpoint-2", "checkpoint-6"]


def test_a_damaged_checkpoint_is_written_again_and_one_ahead_neither_counts_nor_goes(saved):
    (saved / "checkpoint-4" / "optimizer.pt").unlink()
    (saved / "checkpoint-6" / "optimizer.pt").unlink()
    found, _ = newest_valid(saved)
    run = trainer(saved, steps=5, keep=2)
    run.train(resume_from_checkpoint=str(found))
    assert newest_valid(saved)[0] == saved / "checkpoint-5"
    assert [p.name for p in checkpoint.checkpoints(saved)] == ["checkpoint-4", "checkpoint-5", "checkpoint-6"]
    assert damage(saved / "checkpoint-4") == "" and damage(saved / "checkpoint-6") != ""


# Refusals


def changed(**values):
    return json.loads(json.dumps(IDENTITY)) | values


@pytest.mark.parametrize(
    ("identity", "told"),
    [
        (changed(seed=1), ["seed 0 -> 1"]),
        (changed(plan=[{**STAGE, "tokens": {"hq": 32}}, *PLAN[1:]]), ["hq 64 -> 32", "mq 64 -> 'absent'"]),
        (changed(plan=PLAN[:2]), ["plan[2] {", "-> 'absent'"]),
        (changed(pools={"hq": 9}), ["pools 'absent' -> {'hq': 9}"]),
        (changed(plan=[{**s, "seq_len": 32, "lr_to": 1.0} for s in PLAN]), ["and 1 more"]),
    ],
)
def test_a_valid_checkpoint_of_another_run_is_refused_naming_the_difference(saved, identity, told):
    with pytest.raises(ValueError, match="another run") as error:
        newest_valid(saved, identity)
    for text in [*told, str(saved / "checkpoint-6"), f"delete {saved} to start over"]:
        assert text in str(error.value)


def test_tuples_and_whole_floats_are_no_difference(saved):
    assert newest_valid(saved, changed(plan=tuple(PLAN), batch_tokens=64.0))[0] == saved / "checkpoint-6"


def test_another_run_may_start_where_the_stages_part():
    other = changed(plan=[*PLAN[:2], {**PLAN[2], "lr_to": 5e-3}])
    starts_like(IDENTITY, other, 256)
    with pytest.raises(ValueError, match=r"after 257 tokens.*plan\[2\].lr_to 0.0 -> 0.005"):
        starts_like(IDENTITY, other, 257)
    with pytest.raises(ValueError, match="seed 0 -> 1"):
        starts_like(IDENTITY, other | {"seed": 1}, 256)
    with pytest.raises(ValueError, match=r"plan\[1\]"):
        starts_like(IDENTITY, changed(plan=PLAN[:1]), 256)


# Kills and full disks


@pytest.mark.parametrize("room", [10_000, 120_000])
def test_writers_of_torch_and_safetensors_that_run_out_of_room(saved, room):
    """A limit on file size stops safetensors (10 kB) or torch.save of the optimizer (120 kB)."""
    model, optimizer = (saved / "checkpoint-6" / name for name in ("model.safetensors", "optimizer.pt"))
    assert 10_000 < model.stat().st_size < 120_000 < optimizer.stat().st_size
    run = trainer(saved)
    run.train(resume_from_checkpoint=str(saved / "checkpoint-6"))
    run.state.global_step = 8
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, hard))
    try:
        with pytest.raises(OSError, match="cannot write in .*of step 8.*checkpoint-6"):
            run._save_checkpoint(run.model, None)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert newest_valid(saved, IDENTITY) == (saved / "checkpoint-6", [])
    assert not list(saved.glob(".*"))


@pytest.mark.slow
def test_a_run_killed_at_random_moments_ends_with_the_same_weights():
    command = [sys.executable, "benchmarks/kill.py", "--kills", "5", "--inside-save", "2", "--aimed", "0.6"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads(done.stdout)
    assert report["kills"] >= 5 and report["inside_save"] >= 2 and report["lives"] > report["kills"]
    assert report["runs_with_equal_weights"] == report["runs"] and report["manual_steps"] == 0
    assert report["most_steps_lost"] <= report["save_every"]
