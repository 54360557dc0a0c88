"""A save that is killed, or that the disk refuses, leaves whole checkpoints only."""

import errno
import itertools
import os
import shutil
import signal
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from nbkit.pretrain import checkpoint
from nbkit.pretrain.checkpoint import AtomicCheckpoints, newest_valid

STAGE = {"name": "warmup", "tokens": {"hq": 64, "mq": 64}, "lr_to": 1e-2, "seq_len": 16}
PLAN = [STAGE, {**STAGE, "name": "diversity"}, {**STAGE, "name": "decay", "lr_to": 0.0}]
IDENTITY = {"plan": PLAN, "batch_tokens": 64, "seed": 0}


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


def test_other_errors_of_a_save_stay_what_they_are_and_leave_nothing(tmp_path):
    run = Saver(tmp_path, 10)
    run.identity = {"seed": float("nan")}
    with pytest.raises(ValueError, match="identity.seed is nan"):
        run.save()
    assert list(tmp_path.iterdir()) == []
