"""What a run sets in its folder and its process before any work: seeds, number format, tracking, a clean
folder. Used by stage.py."""

from __future__ import annotations

import importlib.util
import os
import random
from pathlib import Path
from typing import Any

from nbkit.run import files, progress

REPORT_TO, NOWHERE = "NBKIT_REPORT_TO", "none"
# What each tracker reads: the folder of its files (""), and that it shall not look for a network.
TRACKERS = {
    "trackio": {"TRACKIO_DIR": ""},
    "wandb": {"WANDB_DIR": "", "WANDB_MODE": "offline", "WANDB_PROJECT": "nbkit"},
    "tensorboard": {"TENSORBOARD_LOGGING_DIR": ""},
}


def open_folder(folder: Path) -> None:
    """Make the run folder, prove it writable, withdraw an old success, clear half-written leftovers."""
    with files.explained(folder):
        folder.mkdir(parents=True, exist_ok=True)
        # From here on the old result does not count: a run that dies leaves none.
        (folder / "_SUCCESS").unlink(missing_ok=True)
    files.sweep(folder)
    files.atomic_write(folder / progress.FILE, "")


def set_precision(cfg: Any) -> str:
    """The number format that this process and those it starts compute in; "" for a stage without a model."""
    if not hasattr(cfg, "precision"):
        return ""
    from nbkit.run import precision  # noqa: PLC0415 (imports torch, which a stage without a model may lack)

    precision.use(cfg.precision)
    return precision.precision()


def set_tracking(cfg: Any, folder: Path) -> None:
    """Show the trainings of this process, and of those it starts, where `report_to` of 02-06 says: files in
    `folder`, without a network. What the environment says already (WANDB_MODE=online) is left as it is.
    Raises ValueError where the package is missing."""
    name = getattr(cfg, "report_to", NOWHERE)
    if name == NOWHERE:
        os.environ.pop(REPORT_TO, None)
        return
    if importlib.util.find_spec(name) is None:
        raise ValueError(
            f"report_to: got {name!r}, but the package {name} is not installed; `pip install {name}`, or set "
            "report_to to none: losses are in metrics.json and the report either way"
        )
    os.environ[REPORT_TO] = name
    folder.mkdir(parents=True, exist_ok=True)
    for key, value in TRACKERS[name].items():
        os.environ.setdefault(key, value or str(folder))


def report_to() -> str:
    """ "none", or where the trainings of this process are shown."""
    return os.environ.get(REPORT_TO, NOWHERE)


def seed_everything(seed: int) -> None:
    random.seed(seed)
    if importlib.util.find_spec("numpy"):
        import numpy  # noqa: PLC0415 (a stage without data may lack it)

        numpy.random.seed(seed)
    if importlib.util.find_spec("torch"):
        import torch  # noqa: PLC0415 (a stage without a model may lack it)

        torch.manual_seed(seed)
