"""Does training that is killed at random end with the very weights of training that is not?

.venv/bin/python benchmarks/kill.py  # 100 kills, at least 30 of them inside a save
.venv/bin/python benchmarks/kill.py --kills 5 --inside-save 2  # seconds

A run of `nbkit.pretrain.job.train` at smoke size (four stages, the last with longer sequences and a larger
rotary base) is killed by SIGKILL again and again and always started again the same way, until it finishes;
then the next run begins, until there were enough kills. A kill counts as inside a save if it left an
`.incoming-*` folder behind. Prints JSON; exit code 1 if any weights differ, a start needed help or a resume
met half a checkpoint.
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
from dataclasses import asdict, replace
from pathlib import Path

os.environ["TQDM_DISABLE"] = "1"
os.environ["OMP_NUM_THREADS"] = "1"  # also makes sums of threads, and so the weights, repeatable

import numpy as np

from nbkit.pretrain import job as pretrain
from nbkit.pretrain.checkpoint import newest_valid, step_of
from nbkit.pretrain.plan import Stage, as_data
from nbkit.run.files import read_json, sha256, write_json
from nbkit.tasks import world
from nbkit.text.tokenizer import pack, train_tokenizer

MODEL = {"hidden": 64, "layers": 3, "heads": 4, "kv_heads": 2, "mlp": 160, "context": 512, "tied": True}
ROW, BATCH = 128, 8  # tokens of a pool row; rows of a step
# manual_steps: lives that ended by themselves before their end; damaged_seen: checkpoints skipped by a resume
COUNTS = ("runs", "lives", "kills", "inside_save", "manual_steps", "damaged_seen")


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
    """Runs the lives of one job and keeps count."""

    def __init__(self, job: pretrain.Job, folder: Path, options: argparse.Namespace):
        self.job, self.folder, self.options = job, folder, options
        self.random = random.Random(options.seed)
        self.reached = mmap.mmap(-1, 8)  # shared with the children: steps that the current life has done
        self.count = dict.fromkeys(COUNTS, 0)
        self.most_lost = 0

    def enough(self) -> bool:
        done = self.count
        return done["kills"] >= self.options.kills and done["inside_save"] >= self.options.inside_save

    def life(self, job: pretrain.Job) -> None:
        step, reached = pretrain.PretrainTrainer.training_step, self.reached

        def counted(trainer, *args, **kwargs):
            reached[:] = trainer.state.global_step.to_bytes(8, "little")
            return step(trainer, *args, **kwargs)

        pretrain.PretrainTrainer.training_step = counted
        pretrain.train(job)

    def run(self) -> str:
        """One run of the job through all its lives; sha256 of its weights."""
        self.count["runs"] += 1
        out, log = (self.folder / f"run-{self.count['runs']}{end}" for end in ("", ".log"))
        while True:
            self.count["lives"] += 1
            self.reached[:] = bytes(8)
            child = forked(lambda: self.life(replace(self.job, out=str(out))), log)
            if not self.enough():
                self.wait_for_moment(child, out)
                os.kill(child, signal.SIGKILL)
            code = finish(child)
            if code == 0:
                return sha256(out / "model" / "model.safetensors")
            if code != -signal.SIGKILL:
                self.count["manual_steps"] += 1
                print(f"life {self.count['lives']} ended with {code}:\n{log.read_text()}", file=sys.stderr)
                return "failed"
            self.take_stock(out)

    def wait_for_moment(self, child: int, out: Path) -> None:
        """Return at a random moment of a life, or soon after its first, second or third save began, or when
        it is over. What an earlier life left in `.incoming-*` is swept before the first save."""
        if self.random.random() >= self.options.aimed:
            end = time.perf_counter() + self.random.uniform(0, self.options.life_s)
            wait_until(child, lambda: time.perf_counter() >= end)
            return
        for _ in range(self.random.randint(1, 3)):
            wait_until(child, lambda: not saving(out))
            wait_until(child, lambda: saving(out))
        time.sleep(self.random.uniform(0, self.options.save_s))

    def take_stock(self, out: Path) -> None:
        self.count["kills"] += 1
        self.count["inside_save"] += saving(out)
        found, skipped = newest_valid(out)
        self.count["damaged_seen"] += len(skipped)
        if done := int.from_bytes(self.reached[:], "little"):  # 0: killed before its first step
            self.most_lost = max(self.most_lost, done - (step_of(found) if found else 0))


def saving(out: Path) -> bool:
    return any(out.glob(".incoming-*"))


def wait_until(child: int, reached: Callable[[], bool]) -> None:
    """Return when `reached()`, or when the child is over (it is not collected)."""
    while not reached() and os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT | os.WNOHANG) is None:
        time.sleep(0.0005)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--inside-save", type=int, default=30, help="go on until so many hit a save")
    parser.add_argument("--seed", type=int, default=0, help="of the moments of the kills")
    parser.add_argument("--save-every", type=int, default=5, help="steps between checkpoints")
    parser.add_argument("--life-s", type=float, default=3.0, help="a life is killed within so many seconds")
    parser.add_argument("--save-s", type=float, default=0.03, help="or so soon after a save began")
    parser.add_argument("--aimed", type=float, default=0.4, help="share of kills aimed at a save")
    options = parser.parse_args()
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        described = folder / "job.json"
        must(lambda: write_json(described, asdict(make_job(folder, options.save_every))), folder / "make.log")
        job = pretrain.Job(**read_json(described))
        must(lambda: pretrain.train(replace(job, out=str(folder / "whole"))), folder / "whole.log")
        whole = sha256(folder / "whole" / "model" / "model.safetensors")
        killer, hashes = Killer(job, folder, options), []
        while not killer.enough() and "failed" not in hashes:
            hashes.append(killer.run())
    equal = sum(found == whole for found in hashes)
    report = {
        **killer.count,
        "runs_with_equal_weights": equal,
        "weights_sha256": whole,
        "most_steps_lost": killer.most_lost,
        "save_every": options.save_every,
        "seed": options.seed,
        "seconds": round(time.perf_counter() - start),
    }
    print(json.dumps(report, indent=1))
    return int(equal < len(hashes) or killer.count["damaged_seen"] > 0)


if __name__ == "__main__":
    sys.exit(main())
