"""Checkpoints: a resumed run ends bit for bit like an uninterrupted one; damage, kills, full disks and other
runs' checkpoints are noticed, and what was saved before them stays."""

import errno
import itertools
import json
import os
import random
import re
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

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


class Pretend:
    """What the mixin needs of a Trainer, without torch. Each rank writes a file and, in a folder, a shard."""

    def __init__(self, out, step, rank=0, wait=lambda: None):
        self.args = SimpleNamespace(output_dir=str(out), save_total_limit=2)
        self.state, self.rank = SimpleNamespace(global_step=step), rank
        self.accelerator, self.identity = SimpleNamespace(wait_for_everyone=wait), IDENTITY

    def is_world_process_zero(self):
        return self.rank == 0

    def _get_output_dir(self, trial):
        return self.args.output_dir

    def _save_checkpoint(self, model, trial):
        folder = Path(self._get_output_dir(trial), f"checkpoint-{self.state.global_step}", "shards")
        time.sleep(0.05 * self.rank)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{self.rank}.distcp").write_bytes(b"x" * 10_000)
        (folder.parent / f"rng_state_{self.rank}.pth").write_bytes(b"rng")


class Saver(AtomicCheckpoints, Pretend):
    def save(self):
        self._save_checkpoint(None, None)


def test_the_files_of_every_rank_are_sealed(tmp_path):
    barrier = threading.Barrier(3)
    ranks = [Saver(tmp_path, 10, rank, barrier.wait) for rank in range(3)]
    threads = [threading.Thread(target=rank.save) for rank in ranks]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found, _ = newest_valid(tmp_path)
    kinds = ("rng_state_{}.pth", "shards/{}.distcp")
    expected = [kind.format(rank) for kind in kinds for rank in range(3)]
    assert sorted(checkpoint.manifest(found)["files"]) == expected
    assert [p.name for p in tmp_path.iterdir()] == ["checkpoint-10"]


def save_until(out, last):
    """In a forked child: save step 30, and die by SIGKILL before file operation number `last`."""
    if (child := os.fork()) == 0:
        seen = itertools.count(1)

        def die(event, arguments):
            if (event == "open" or event.startswith(("os.", "shutil."))) and next(seen) == last:
                os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(die)
        try:
            Saver(out, 30).save()
        finally:
            os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@pytest.mark.parametrize("in_the_way", [False, True])
def test_a_kill_before_any_file_operation_of_a_save_leaves_a_whole_checkpoint(tmp_path, in_the_way):
    start = tmp_path / "start"
    for step in (10, 20, 30) if in_the_way else (10, 20):
        Saver(start, step).save()
    if in_the_way:
        (start / "checkpoint-30" / "rng_state_0.pth").write_text("damaged")
    seen = []
    for last in itertools.count(1):
        out = Path(shutil.copytree(start, tmp_path / str(last)))
        code = save_until(out, last)
        found, skipped = newest_valid(out, IDENTITY)
        seen.append(found.name)
        assert not skipped or (in_the_way and found.name == "checkpoint-20" and "rng_state_0" in skipped[0])
        checkpoint.sweep(out)
        assert {p.name for p in out.iterdir()} <= {"checkpoint-10", "checkpoint-20", "checkpoint-30"}
        if code == 0:
            break
        assert code == -signal.SIGKILL
    assert last > 30 and seen == sorted(seen) and set(seen) == {"checkpoint-20", "checkpoint-30"}


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.EROFS])
@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_failing_disk_keeps_the_checkpoints_before_and_says_what_to_do(tmp_path, monkeypatch, call, number):
    def fail(*arguments):
        raise OSError(number, os.strerror(number))

    Saver(tmp_path, 10).save()
    run = Saver(tmp_path, 20)
    with monkeypatch.context() as patch:
        patch.setattr(os, call, fail)
        with pytest.raises(OSError, match="run again to go on from the newest kept .checkpoint-10.") as error:
            run.save()
    assert error.value.errno == number and str(tmp_path) in str(error.value)
    assert newest_valid(tmp_path, IDENTITY) == (tmp_path / "checkpoint-10", [])
    assert [p.name for p in tmp_path.iterdir()] == ["checkpoint-10"]
    run.save()
    assert newest_valid(tmp_path, IDENTITY)[0] == tmp_path / "checkpoint-20"


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


def test_other_errors_of_a_save_stay_what_they_are_and_leave_nothing(tmp_path):
    run = Saver(tmp_path, 10)
    run.identity = {"seed": float("nan")}
    with pytest.raises(ValueError, match="identity.seed is nan"):
        run.save()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_run_killed_at_random_moments_ends_with_the_same_weights():
    command = [sys.executable, "benchmarks/kill.py", "--kills", "5", "--inside-save", "2", "--aimed", "0.6"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads(done.stdout)
    assert report["kills"] >= 5 and report["inside_save"] >= 2 and report["lives"] > report["kills"]
    assert report["runs_with_equal_weights"] == report["runs"] and report["manual_steps"] == 0
    assert report["most_steps_lost"] <= report["save_every"]
