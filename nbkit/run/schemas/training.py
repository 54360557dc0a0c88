"""What the stages share that train a model. Used by pretraining.py and posttraining.py."""

from typing import ClassVar

from nbkit.run.schemas.base import Computing, par


class Training(Computing):
    """What every stage has that trains a model."""

    report_to: str = par(
        "none",
        "also show the training in trackio, wandb or tensorboard; without a network unless you ask for one",
        choices=["none", "trackio", "wandb", "tensorboard"],
        role="fixed",
    )


class Distributed(Training):
    """What every stage has whose training can run on several devices. `splits`: the parameter whose rows the
    processes share, and what such a row is."""

    splits: ClassVar[tuple[str, str]] = ("batch", "rows")
    launcher: str = par(
        "inline", "how training is started", choices=["inline", "torchrun", "srun"], role="fixed"
    )
    processes: int = par(1, "processes (devices) per node", lo=1)
    nodes: int = par(1, "nodes (launcher srun)", lo=1)
    sharding: str = par(
        "ddp",
        "ddp: whole weights on each device; fsdp2: split over them (GPUs)",
        choices=["ddp", "fsdp2"],
        role="fixed",
    )

    def check(self) -> None:
        """Raises ValueError unless launcher, processes, nodes and sharding go together."""
        if self.launcher == "inline" and self.processes * self.nodes > 1:
            raise ValueError(
                f"launcher: 'inline' is one process, got processes={self.processes}, nodes={self.nodes}; "
                "use torchrun (one node) or srun"
            )
        if self.launcher == "torchrun" and self.nodes > 1:
            raise ValueError(f"launcher: 'torchrun' is one node, got nodes={self.nodes}; use srun")
        if self.sharding == "fsdp2" and self.launcher == "inline":
            raise ValueError("sharding: 'fsdp2' splits weights over processes; use launcher torchrun or srun")
        # A step is the rows of every process, in passes of `micro_batch` rows where the stage has it.
        micro = getattr(self, "micro_batch", 0) or 1
        key, what = self.splits
        if (given := getattr(self, key)) % (multiple := self.processes * self.nodes * micro):
            passes = f" in passes of micro_batch={micro} rows" if micro > 1 else ""
            raise ValueError(
                f"{key}: got {given} {what} a step for {self.processes} x {self.nodes} processes{passes}, "
                f"wanted a multiple of {multiple}"
                + ("; or lower micro_batch (0: all at once)" if passes else "")
            )
