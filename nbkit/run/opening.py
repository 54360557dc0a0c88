"""What a run sets in its folder and its process before any work: seeds, number format, a clean folder.
Used by stage.py."""

from __future__ import annotations

import importlib.util
import random
from pathlib import Path
from typing import Any

from nbkit.run import files, progress


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


def seed_everything(seed: int) -> None:
    random.seed(seed)
    if importlib.util.find_spec("numpy"):
        import numpy  # noqa: PLC0415 (a stage without data may lack it)

        numpy.random.seed(seed)
    if importlib.util.find_spec("torch"):
        import torch  # noqa: PLC0415 (a stage without a model may lack it)

        torch.manual_seed(seed)
