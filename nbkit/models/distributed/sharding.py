"""How the weights of a model are split over devices, as arguments of transformers' trainers. Used by 02-05.

    arguments = TrainingArguments(**sharding_arguments("fsdp2", "layers"), ...)
    one_device_each(arguments)

"ddp": whole weights on each device (arXiv 2006.15704). "fsdp2": weights, gradients and optimizer state in
parts (arXiv 2304.11277), on GPUs only.
"""

import os
from dataclasses import dataclass
from typing import Any

import torch
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict
from torch.distributed.fsdp import MixedPrecisionPolicy
from torch.distributed.tensor import DTensor
from transformers import TrainingArguments

RECOMPUTED = ("none", "layers", "offload")


@dataclass(frozen=True)
class Devices:
    """Where a training runs: `launcher` as of `launch.run`, `processes` on each of `nodes`, `sharding` as
    above."""

    launcher: str = "inline"
    processes: int = 1
    nodes: int = 1
    sharding: str = "ddp"

    @classmethod
    def of(cls, cfg: Any) -> "Devices":
        """Those that the parameters of a stage name."""
        return cls(cfg.launcher, cfg.processes, cfg.nodes, cfg.sharding)

    @property
    def inline(self) -> bool:
        return self.launcher == "inline"

    @property
    def how(self) -> dict[str, Any]:
        """As `launch.run` takes it."""
        return {"launcher": self.launcher, "processes": self.processes, "nodes": self.nodes}


def world_size() -> int:
    """Of the launcher around this process; 1 without one."""
    return int(os.environ.get("WORLD_SIZE", 1))


def check_sharding(sharding: str) -> None:
    """Raises ValueError for an unknown way, and for fsdp2 without a launcher."""
    if sharding not in ("ddp", "fsdp2") or (sharding == "fsdp2" and "LOCAL_RANK" not in os.environ):
        raise ValueError(
            f"sharding: got {sharding!r}, wanted 'ddp', or 'fsdp2' with launcher torchrun or srun"
        )


def sharding_arguments(sharding: str, recomputed: str = "none") -> dict[str, Any]:
    """TrainingArguments for `sharding`, and for activations that are computed again in the backward pass
    (arXiv 1604.06174): of no layer ("none"), of every layer ("layers"), or of every layer with their inputs
    in the host's memory ("offload")."""
    if recomputed not in RECOMPUTED:
        raise ValueError(f"activation_checkpointing: got {recomputed!r}, wanted one of {RECOMPUTED}")
    if recomputed == "offload" and not torch.cuda.is_available():
        raise ValueError(
            "activation_checkpointing: 'offload' moves activations from a GPU to the host, and there is no "
            "GPU here; use 'layers'"
        )
    sharded = sharding == "fsdp2"
    settings: dict[str, Any] = {"state_dict_type": "SHARDED_STATE_DICT"} if sharded else {}
    own: dict[str, Any] = {}
    # FSDP recomputes with its own wrapper, which gathers the weights once less; it does not offload.
    if recomputed == "layers" and sharded:
        settings["activation_checkpointing"] = True
    elif recomputed != "none":
        own["activation_checkpointing"] = True
        own["activation_checkpointing_kwargs"] = {"offload": recomputed == "offload"}
    return {"fsdp": sharded, "fsdp_config": settings or None, **own}


def check_trainer(trainer: Any, sharding: str) -> None:
    """Raises ValueError where accelerate made something else of `sharding`: it falls back silently."""
    if trainer.is_fsdp_enabled != (sharding == "fsdp2"):
        raise ValueError(
            "sharding: accelerate has FSDP2 on GPUs only and would train DDP here without a word; use 'ddp'"
        )


def split_batch(batch: int, what: str = "rows", key: str = "batch") -> int:
    """Rows of a step that each process takes. Raises ValueError for a batch that does not split; `key` is the
    parameter that says how many there are."""
    if batch % (world := world_size()):
        raise ValueError(f"{key}: {batch} {what} do not split over {world} processes; take a multiple")
    return batch // world


def one_device_each(arguments: TrainingArguments) -> None:
    """Several GPUs are several processes, never DataParallel; and under fsdp2 in bf16 gradients are reduced
    and the loss is returned in fp32, which accelerate's own policy does in bf16."""
    arguments._n_gpu = min(1, arguments.n_gpu)
    if arguments.fsdp_plugin_args and arguments.bf16:
        arguments.fsdp_plugin_args["mixed_precision_policy"] = MixedPrecisionPolicy(
            param_dtype=torch.bfloat16, reduce_dtype=torch.float32, output_dtype=torch.float32
        )


def whole_state(model) -> dict | None:
    """The weights gathered from all devices, on the host, where they are split; else None: the model has
    them. Every rank takes part."""
    if not any(isinstance(parameter, DTensor) for parameter in model.parameters()):
        return None
    return get_model_state_dict(model, options=StateDictOptions(full_state_dict=True, cpu_offload=True))
