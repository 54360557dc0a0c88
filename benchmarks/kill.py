"""Does training that is killed at random end with the very weights of training that is not?

python benchmarks/kill.py                                    # 100 kills, at least 30 of them inside a save
python benchmarks/kill.py --kills 5 --inside-save 2          # seconds

A run of `nbkit.train.pretrain.train` at smoke size (four stages, the last with longer sequences and a larger
rotary base) is killed by SIGKILL again and again and always started again the same way, until it finishes;
then the next run begins, until there were enough kills. A kill counts as inside a save if it left an
`.incoming-*` folder behind. Prints JSON; exit code 1 if any weights differ or a start needed help.
"""

import argparse
import json
import mmap
import os
import random
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

os.environ["TQDM_DISABLE"] = "1"
os.environ["OMP_NUM_THREADS"] = "1"  # also makes sums of threads, and so the weights, repeatable

import numpy as np

from nbkit.data import world
from nbkit.data.tokens import pack, train_tokenizer
from nbkit.files import sha256
from nbkit.train import pretrain
from nbkit.train.checkpoint import newest_valid, step_of
from nbkit.train.schedule import Stage, as_data

MODEL = {"hidden": 64, "layers": 3, "heads": 4, "kv_heads": 2, "mlp": 160, "context": 512, "tied": True}
ROW, BATCH = 128, 8  # tokens of a pool row; rows of a step


def make_job(folder: Path, save_every: int) -> pretrain.Job:
    """Pools, tokenizer and a plan of 120 steps. Runs in a child: the parent that forks must stay without
    threads."""
    docs = world.corpus(2000)
    tokenizer = train_tokenizer([d["text"] for d in docs], 512)
    tokenizer.save_pretrained(folder / "tokenizer")
    (folder / "pools").mkdir()
    for name, part in {"hq": docs[::2], "mq": docs[1::2]}.items():
        np.save(folder / "pools" / f"{name}.npy", pack(part, tokenizer, ROW).astype(np.uint16))
    step = ROW * BATCH
    plan = [
        Stage("warmup", {"hq": 8 * step, "mq": 8 * step}, 0.0, 6e-3, seq_len=ROW),
        Stage("diversity", {"hq": 24 * step, "mq": 24 * step}, 6e-3, 6e-3, seq_len=ROW),
        Stage("high_quality", {"hq": 32 * step}, 6e-3, 6e-3, seq_len=ROW),
        Stage("decay", {"hq": 24 * step}, 6e-3, 2e-5, seq_len=4 * ROW, rope_base=100_000.0),
    ]
    return pretrain.Job(
        "killed",
        out="",
        pools=str(folder / "pools"),
        tokenizer=str(folder / "tokenizer"),
        plan=as_data(plan),
        batch=BATCH,
        model=MODEL,
        micro_batch=BATCH // 2,
        save_every=save_every,
    )


def forked(work: Callable[[], None], log: Path) -> int:
    """Start `work` in a child whose output goes to `log`; returns its process id. The parent has torch loaded
    but never used it, so a child starts in no time and in order."""
    if child := os.fork():
        return child
    code = 1
    try:
        handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(handle, 1)
        os.dup2(handle, 2)
        work()
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def finish(child: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def must(work: Callable[[], None], log: Path) -> None:
    if code := finish(forked(work, log)):
        raise SystemExit(f"a process that nobody killed ended with {code}:\n{log.read_text()}")


class Killer:
    """Runs lives of one job and keeps count."""

    def __init__(self, job: pretrain.Job, folder: Path, seed: int):
        self.job, self.folder, self.rng = job, folder, random.Random(seed)
        self.reached = mmap.mmap(-1, 8)  # shared with the children: steps that the current life has done
        self.count = dict.fromkeys(("runs", "lives", "kills", "inside_save", "damaged_seen"), 0)
        self.lost: list[int] = []
        self.start_s = 1.0  # seconds until a life takes its first step, as last seen

    def life(self, job: pretrain.Job) -> None:
        step, reached = pretrain.PretrainTrainer.training_step, self.reached

        def counted(trainer, *args, **kwargs):
            reached[:] = trainer.state.global_step.to_bytes(8, "little")
            return step(trainer, *args, **kwargs)

        pretrain.PretrainTrainer.training_step = counted
        pretrain.train(job)

    def run(self, number: int, enough: Callable[[], bool], want_save: Callable[[], bool]) -> str:
        """One run of the job through all its lives; sha256 of its weights."""
        job = replace(self.job, out=str(self.folder / f"run-{number}"))
        out, log = Path(job.out), self.folder / f"run-{number}.log"
        while True:
            self.count["lives"] += 1
            self.reached[:] = bytes(8)
            child = forked(lambda: self.life(job), log)
            if not enough():
                self.wait_for_moment(child, out, want_save())
                os.kill(child, signal.SIGKILL)
            code = finish(child)
            if code == 0:
                self.count["runs"] += 1
                return sha256(out / "model" / "model.safetensors")
            if code != -signal.SIGKILL:
                raise SystemExit(f"life {self.count['lives']} ended with {code}:\n{log.read_text()}")
            self.take_stock(out)

    def wait_for_moment(self, child: int, out: Path, in_save: bool) -> None:
        """Return at a random moment of a life, or (`in_save`) at one soon after some save began."""
