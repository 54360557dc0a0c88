"""What every trainer of the kit sets alike: precision, seeds, progress, no files but ours. Used by
02-06."""

import importlib
import os
import shutil
import time
from pathlib import Path

import numpy as np
import torch
from transformers import PrinterCallback, TrainerCallback

from nbkit.run import opening, progress
from nbkit.run.precision import training_flags

LONG = 8192  # tokens per row above which post-training computes activations again, in place of keeping them


class Progress(TrainerCallback):
    """Shows the step at work and the time left on the live line, and stops on a loss that is not finite.
    `resumed`: the training goes on from a checkpoint of its own."""

    def __init__(self, label: str, part: progress.Part, resumed: bool = False):
        self.label, self.part, self.resumed = label, part, resumed

    def on_train_begin(self, args, state, control, **kwargs):
        if self.resumed:
            self.part.resume(state.global_step)

    def on_step_begin(self, args, state, control, **kwargs):
        self.part.at(state.global_step + 1)

    def on_substep_end(self, args, state, control, **kwargs):
        self.part(0)

    def on_log(self, args, state, control, logs=None, **kwargs):
        loss = (logs or {}).get("loss")
        if loss is not None and not np.isfinite(loss):
            raise ValueError(
                f"{self.label}: loss is {loss} at step {state.global_step}; lower the learning rate"
            )


def shared_arguments(out: Path, seed: int) -> dict:
    """What every trainer of the kit sets alike: seeds for model and data order, nothing saved or reported
    unasked (`report_to` of the stage), no NaN hidden from the log. Progress bars show when a person steps
    through; under `nbkit run` (TQDM_DISABLE=1) its live line takes over."""
    return {
        "output_dir": str(out),
        "optim": "adamw_torch_fused",
        "logging_nan_inf_filter": False,
        "save_strategy": "no",
        "report_to": opening.report_to(),
        "project": "nbkit",
        "disable_tqdm": os.environ.get("TQDM_DISABLE") == "1",
        "seed": seed,
        "data_seed": seed,
        **training_flags(),
    }


def run_training(trainer, label: str, key: str = "loss", **options) -> tuple[list[dict], float]:
    """Train without log lines in the cell, as "label: step 3/90" on the live line; returns the history rows
    that hold `key`, and the seconds."""
    trainer.remove_callback(PrinterCallback)
    start, checkpoint = time.perf_counter(), options.get("resume_from_checkpoint")
    # a checkpoint of another training, which this one branches from, is a start and no interruption
    resumed = checkpoint is not None and Path(checkpoint).parent == Path(trainer.args.output_dir)
    with progress.doing(label), progress.doing("step", trainer.args.max_steps) as part:
        trainer.add_callback(Progress(label, part, resumed))
        trainer.args.run_name = label  # what trackio and wandb call it
        trainer.train(**options)
    if opening.report_to() == "wandb":  # the next training is a run of its own
        importlib.import_module("wandb").finish()
    return [row for row in trainer.state.log_history if key in row], time.perf_counter() - start


def can_compile() -> bool:
    """torch.compile needs a C++ compiler on the CPU."""
    return torch.cuda.is_available() or shutil.which("g++") is not None or shutil.which("clang++") is not None
