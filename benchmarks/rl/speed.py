"""A GRPO step of our loop beside stock TRL's on a CPU: same model, prompts, group, lengths and rewards.

    .venv/bin/python benchmarks/rl/speed.py outputs/small/05_dpd/dpd --out rl_speed.json

Three ways take `--steps` steps of 8 questions with 16 completions: "stock" (GRPOTrainer as it is, generating
with transformers), "rollouts" (GRPOTrainer with our generator, the engine "trl" of 06) and "loop". Each runs
in this process, one after the other, on as many threads as OMP_NUM_THREADS says; the first step is not
counted. Seconds per step (median) and rollouts per second; the mean reward of each, which must be equal
within noise, since the policy hardly moves.
"""

import argparse
import os
import statistics
import tempfile
import time
from pathlib import Path

os.environ.setdefault("TQDM_DISABLE", "1")

import numpy as np
from datasets import Dataset
from transformers import TrainerCallback
from trl import GRPOConfig, GRPOTrainer

from nbkit.models.engine import render
from nbkit.models.load import load
from nbkit.models.training import shared_arguments
from nbkit.rl.loop.train import LoopSettings, train
from nbkit.rl.questions import Questions, world_cells
from nbkit.rl.rewards import as_trl, verified
from nbkit.rl.trl.grpo import FastRolloutTrainer
from nbkit.run import files, provenance
from nbkit.run.precision import precision
from nbkit.tasks.world import prompt_of
from nbkit.text.tokenizer import stop_ids
from nbkit.verify import JailPool

DOMAINS = {"math": 1.0, "science": 1.0}


class Clock(TrainerCallback):
    """Notes when each step of a trainer begins and ends."""

    def __init__(self):
        self.seconds: list[float] = []

    def on_step_begin(self, *_, **__):
        self.began = time.perf_counter()

    def on_step_end(self, *_, **__):
        self.seconds.append(time.perf_counter() - self.began)


def by_trainer(kind: type, options: argparse.Namespace, grade) -> dict:
    """Steps of a GRPOTrainer."""
    model, tokenizer = load(options.checkpoint)
    model.generation_config.eos_token_id = stop_ids(tokenizer)
    questions = Questions(world_cells(list(DOMAINS)), DOMAINS, seed=0)
    tasks = questions.draw(options.steps * options.prompts)
    rows = [{"prompt": str(render(tokenizer, prompt_of(t))), "index": i} for i, t in enumerate(tasks)]
    clock = Clock()
    with tempfile.TemporaryDirectory() as folder:
        arguments = GRPOConfig(
            max_steps=options.steps,
            per_device_train_batch_size=options.prompts * options.group,
            num_generations=options.group,
            max_completion_length=options.max_new_tokens,
            learning_rate=options.lr,
            beta=0.0,
            mask_truncated_completions=True,
            activation_checkpointing=False,
            logging_steps=1,
            **shared_arguments(Path(folder), 0),
        )
        trainer = kind(
            model=model,
            args=arguments,
            train_dataset=Dataset.from_list(rows),
            reward_funcs=as_trl(grade, tasks, tokenizer, stop_ids(tokenizer), options.group),
            processing_class=tokenizer,
            callbacks=[clock],
        )
        trainer.train()
    rewards = [row["reward"] for row in trainer.state.log_history if "reward" in row]
    return summary(clock.seconds, rewards, options)


def by_loop(options: argparse.Namespace, grade) -> dict:
    """Steps of the loop; its time is noted where it draws the questions of the next step."""
    model, tokenizer = load(options.checkpoint)
    marks: list[float] = []

    class Timed(Questions):
        def draw(self, n):
            marks.append(time.perf_counter())
            return super().draw(n)

    questions = Timed(world_cells(list(DOMAINS)), DOMAINS, seed=0, every=0, explore=1.0)
    settings = LoopSettings(options.steps, options.prompts, options.group, options.lr, options.max_new_tokens)
    trained = train(model, tokenizer, questions, grade, settings)
    marks.append(time.perf_counter())
    return summary(list(np.diff(marks)), [row["reward"] for row in trained.history], options)


def summary(seconds: list[float], rewards: list[float], options: argparse.Namespace) -> dict:
    """Without the first step, which compiles and fills caches."""
    step = statistics.median(seconds[1:])
    spread = float(np.std(rewards, ddof=1) / np.sqrt(len(rewards)))
    return {
        "seconds_per_step": step,
        "rollouts_per_second": options.prompts * options.group / step,
        "reward": float(np.mean(rewards)),
        "reward_standard_error": spread,
        "steps": len(seconds) - 1,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--steps", type=int, default=9)
    parser.add_argument("--prompts", type=int, default=8)
    parser.add_argument("--group", type=int, default=16)
    parser.add_argument("--lr", type=float, default=1e-6)
    parser.add_argument("--max-new-tokens", type=int, default=96)
    options = parser.parse_args()
    with JailPool(workers=1) as jails:
        grade = verified(jails)
        found = {
            "loop": by_loop(options, grade),
            "rollouts": by_trainer(FastRolloutTrainer, options, grade),
            "stock": by_trainer(GRPOTrainer, options, grade),
        }
    for name in ("loop", "rollouts"):
        found[name]["times_stock"] = found["stock"]["seconds_per_step"] / found[name]["seconds_per_step"]
    threads = os.environ.get("OMP_NUM_THREADS", "")
    found["about"] = {"precision": precision(), "threads": threads, "device": provenance.device()}
    found["about"] |= {"prompts": options.prompts, "group": options.group, "steps": options.steps}
    for name, row in found.items():
        print(name, row)
    if options.out:
        files.write_json(options.out, found)


if __name__ == "__main__":
    main()
