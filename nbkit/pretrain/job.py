"""Pre-training on transformers.Trainer with two overrides: the order of the data and the learning rate.
Used by 02.

    job = Job("student_fg", out="runs/fg", pools="pools", tokenizer="pools/tokenizer", plan=as_data(plan),
              batch=8, seed=0, model={"hidden": 96, "layers": 4, ...})
    result = train(job)                              # in this process
    python -m nbkit.pretrain.job job.json          # the same as a process: what nbkit.pretrain.launch starts

An item of the dataset is a whole micro batch, so sequences may grow between stages inside one run of the
Trainer, with its optimizer state, compiled graphs and checkpoints. A step reads `batch` rows over all
devices: neither order nor learning rate depend on how many there are. Shape legend: b sequences of S tokens.
"""

import logging
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch.distributed.fsdp import MixedPrecisionPolicy
from transformers import AutoTokenizer, TrainingArguments

from nbkit.models import load
from nbkit.models.training import can_compile, run_training, shared_arguments
from nbkit.pretrain import throughput
from nbkit.pretrain.checkpoint import manifest, newest_valid, starts_like, step_of
from nbkit.pretrain.order import SampleOrder
from nbkit.pretrain.plan import Stage, check, total_tokens
from nbkit.pretrain.trainer import Follow, MicroBatches, PretrainTrainer, as_batch
from nbkit.run import files, progress
from nbkit.text.tokenizer import load_pool


@dataclass(frozen=True)
class Job:
    """One training run as plain data. Everything but `micro_batch`, `save_every` and `keep_at`
    decides the result; a checkpoint made with other values of those that do is refused.

    `model`: sizes (`models.load.Shape`), or `start_from`: a folder, known by its content, or a hub id,
    known by its name. `batch`, `micro_batch`:
    pool rows per step, and per device and pass (0: all its share). `data_id`: hash of the pools.
    `chunk`: consecutive tokens that the order keeps together (0: the longest sequence); a run that branches
    into shorter sequences keeps its source's. `keep_at`: steps whose checkpoints stay. `branch_from`:
    checkpoint of another run that this one continues. `log_samples`: each
    rank logs the sha256 of every micro batch it trains on, in `<out>/samples-<rank>.jsonl`.
    `sharding`: "ddp", or "fsdp2", which splits weights, gradients and optimizer state over the devices; their
    checkpoints do not mix.
    """

    name: str
    out: str
    pools: str
    tokenizer: str
    plan: list[dict]
    batch: int
    seed: int = 0
    model: dict | None = None
    start_from: str = ""
    branch_from: str = ""
    micro_batch: int = 0
    chunk: int = 0
    weight_decay: float = 0.1
    compile_steps: int = 0
    validation_rows: int = 0
    validations: int = 0
    save_every: int = 0
    keep_at: list[int] = field(default_factory=list)
    data_id: str = ""
    log_samples: bool = False
    sharding: str = "ddp"


@dataclass(frozen=True)
class Result:
    """`history`: loss rows with `tokens` seen; `validation`: loss per pool on rows no stage reads. `seconds`
    and `tokens_per_s` are of this process alone, the latter as the median between log rows."""

    history: list[dict]
    validation: list[dict]
    tokens: int
    seconds: float
    tokens_per_s: float
    mfu: float
    compiled: bool
    world_size: int
    resumed_at: int
    skipped: list[str]


def identity(job: Job, pools: Mapping[str, np.ndarray]) -> dict:
    """What decides the result of a run, as plain data: checkpoints of another identity are refused."""
    row = next(iter(pools.values())).shape[1]
    start = job.start_from
    return {
        "plan": job.plan,
        "batch_tokens": job.batch * row,
        "seed": job.seed,
        "model": job.model,
        # without a start, Path("") would be the working folder, whatever is in it
        "start_from": files.sha256(start) if start and Path(start).is_dir() else start,
        "weight_decay": job.weight_decay,
        "chunk": job.chunk or max(stage["seq_len"] for stage in job.plan),
        "pool_rows": {name: len(rows) for name, rows in sorted(pools.items())},
        "data_id": job.data_id,
        "sharding": job.sharding,
    }


def arguments_for(job: Job, steps: int, micro: int, accumulate: int, peak: float) -> TrainingArguments:
    compiled = bool(job.compile_steps) and steps >= job.compile_steps and can_compile()
    arguments = TrainingArguments(
        per_device_train_batch_size=1,  # one item: a whole micro batch
        per_device_eval_batch_size=1,
        gradient_accumulation_steps=accumulate,
        max_steps=steps,
        learning_rate=peak,
        weight_decay=job.weight_decay,
        adam_beta2=0.95,
        max_grad_norm=1.0,
        torch_compile=compiled,
        logging_steps=min(50, max(1, steps // 100)),  # a look at the losses at least every 50 steps
        eval_strategy="steps" if job.validations else "no",
        eval_steps=max(1, steps // job.validations) if job.validations else None,
        remove_unused_columns=False,
        fsdp=job.sharding == "fsdp2",
        fsdp_config={"state_dict_type": "SHARDED_STATE_DICT"} if job.sharding == "fsdp2" else None,
        **(shared_arguments(Path(job.out), job.seed) | {"save_total_limit": 2}),
    )
    arguments._n_gpu = min(1, arguments.n_gpu)  # several GPUs are several processes here, never DataParallel
    if job.sharding == "fsdp2" and arguments.bf16:
        # accelerate's own policy reduces the gradients and returns the loss in bf16
        arguments.fsdp_plugin_args["mixed_precision_policy"] = MixedPrecisionPolicy(
            param_dtype=torch.bfloat16, reduce_dtype=torch.float32, output_dtype=torch.float32
        )
    return arguments


def train(job: Job) -> Result:
    """Train to the end of the plan, from the newest valid checkpoint under `job.out` if there is one; leaves
    the model in `<out>/model`. Raises ValueError for plans that cannot be followed, checkpoints of another
    plan, and losses that are not finite."""
    out, plan = Path(job.out), [Stage(**row) for row in job.plan]
    whole = {path.stem: load_pool(path) for path in files.named(Path(job.pools), "*.npy")}
    if not whole:
        raise ValueError(f"pools: {job.pools} holds no *.npy; run 01_data_mix first")
    if not any(max(stage.lr_from, stage.lr_to) > 0 for stage in plan):
        raise ValueError("plan: every learning rate is 0, nothing would be learned; raise peak_lr")
    pools = {name: rows[: len(rows) - job.validation_rows] for name, rows in whole.items()}
    row = next(iter(pools.values())).shape[1]
    batch_tokens, world = job.batch * row, int(os.environ.get("WORLD_SIZE", 1))
    if job.sharding not in ("ddp", "fsdp2") or (job.sharding == "fsdp2" and "LOCAL_RANK" not in os.environ):
        raise ValueError(
            f"sharding: got {job.sharding!r}, wanted 'ddp', or 'fsdp2' with launcher torchrun or srun"
        )
    known = identity(job, pools)
    held = {name: rows.size for name, rows in pools.items()}
    check(plan, held, row, batch_tokens, chunk=known["chunk"])
    micro, accumulate = micro_batches(job, world, max(stage.seq_len for stage in plan) // row)
    order = SampleOrder(plan, known["pool_rows"], row, job.seed, known["chunk"])

    tokenizer = AutoTokenizer.from_pretrained(job.tokenizer)
    if job.model:
        model = load.new_model(tokenizer, load.Shape(**job.model), job.seed)
    else:
        model, _ = load.load(job.start_from)
    steps = total_tokens(plan) // batch_tokens
    arguments = arguments_for(job, steps, micro, accumulate, max(max(s.lr_from, s.lr_to) for s in plan))
    follow = Follow(plan, batch_tokens, job.save_every, job.keep_at)
    trainer = PretrainTrainer(
        model=model,
        args=arguments,
        train_dataset=MicroBatches(pools, order, micro * row),
        eval_dataset=validation(whole, job.validation_rows, micro) if job.validations else None,
        data_collator=lambda items: items[0],
        callbacks=[follow],
        plan=plan,
        batch_tokens=batch_tokens,
        identity=known,
    )
    if trainer.args.world_size != world:
        raise RuntimeError(f"{trainer.args.world_size} processes train, {world} were started")
    if trainer.is_fsdp_enabled != (job.sharding == "fsdp2"):
        raise ValueError(
            "sharding: accelerate has FSDP2 on GPUs only and would train DDP here without a word; use 'ddp'"
        )
    trainer.keep_at = job.keep_at
    if job.log_samples:
        out.mkdir(parents=True, exist_ok=True)
        trainer.sample_log = out / f"samples-{trainer.args.process_index}.jsonl"
    with progress.doing("looking for checkpoints"):
        resume, skipped = newest_valid(out, known)
    for line in skipped:
        logging.getLogger(__name__).warning("checkpoint skipped: %s", line)
    if not resume and job.branch_from:
        resume = branch(Path(job.branch_from), known)
    with throughput.static_shapes():
        history, seconds = run_training(
            trainer, job.name, resume_from_checkpoint=str(resume) if resume else None
        )
    trainer.check_finite()
    trainer.check_weights()
    rate = follow.tokens_per_s()
    result = Result(
        history,
        validation_rows(trainer.state.log_history),
        steps * batch_tokens,
        seconds,
        rate,
        throughput.mfu(model, plan, rate / world),
        bool(arguments.torch_compile),
        world,
        step_of(resume) if resume else 0,
        skipped,
    )
    state = trainer.accelerator.get_state_dict(trainer.model)  # gathers shards: every rank takes part
    if trainer.is_world_process_zero():
        with progress.doing("saving the model"), files.atomic_dir(out / "model") as folder:
            load.save(folder, model, tokenizer, history, state)
    return result


def validation_rows(log: Sequence[Mapping]) -> list[dict]:
    """One row per validation: step, tokens and the loss on every pool, without timings."""
    rows: dict[int, dict] = {}
    for entry in log:
        if found := {k: v for k, v in entry.items() if k.startswith("eval_") and k.endswith("_loss")}:
            rows.setdefault(entry["step"], {"step": entry["step"], "tokens": entry["tokens"]}).update(found)
    return list(rows.values())


def micro_batches(job: Job, world: int, rows_per_sequence: int) -> tuple[int, int]:
    """(rows per device and pass, passes per step). Raises ValueError where they do not divide."""
    micro = job.micro_batch or job.batch // world
    if not micro or job.batch % (micro * world) or micro % rows_per_sequence:
        raise ValueError(
            f"batch: {job.batch} rows per step do not split over {world} device(s) in passes of {micro} "
            f"rows, each a multiple of the longest sequence's {rows_per_sequence} rows; change batch "
            "or micro_batch"
        )
    return micro, job.batch // (micro * world)


def validation(pools: Mapping[str, np.ndarray], rows: int, micro: int) -> dict[str, list[dict]]:
    """The last `rows` rows of each pool, which no stage reads, in micro batches of the training's shape."""
    if rows < micro:
        raise ValueError(
            f"validation_rows: got {rows}, wanted at least one micro batch of {micro} rows; raise it in "
            "01_data_mix, lower micro_batch, or set validations to 0"
        )
    held = {name: list(pool[len(pool) - rows :]) for name, pool in pools.items()}
    return {
        name: [as_batch(own[i : i + micro]) for i in range(0, rows - micro + 1, micro)]
        for name, own in held.items()
    }


def branch(checkpoint: Path, own: dict) -> Path:
    """A valid checkpoint of another run, whose plan is the same up to there."""
    found, problems = newest_valid(checkpoint, None)
    if found is None:
        raise ValueError(f"branch_from: {checkpoint} is no valid checkpoint: {'; '.join(problems)}")
    starts_like(manifest(found)["identity"], own, step_of(found) * own["batch_tokens"])
    return found


def main(argv: Sequence[str] | None = None) -> int:
    config = Path((sys.argv[1:] if argv is None else argv)[0])
    job = Job(**files.read_json(config))
    with progress.doing(job.name):
        result = train(job)
    if int(os.environ.get("RANK", 0)) == 0:
        files.write_json(config.parent / "result.json", asdict(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
