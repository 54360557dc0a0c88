"""Pre-training on transformers.Trainer with two overrides: the order of the data and the learning rate.
Used by 02.

    job = Job("student_fg", out="runs/fg", pools="pools", tokenizer="pools/tokenizer", plan=as_data(plan),
              batch=8, seed=0, model={"hidden": 96, "layers": 4, ...})
    result = train(job)                              # in this process
    python -m nbkit.pretrain.job job.json          # the same as a process: what `launch` starts

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
from transformers import AutoTokenizer, TrainingArguments

from nbkit.models import load
from nbkit.models.distributed.sharding import (
    check_sharding,
    check_trainer,
    one_device_each,
    sharding_arguments,
    world_size,
)
from nbkit.models.training import can_compile, run_training, shared_arguments
from nbkit.pretrain import throughput
from nbkit.pretrain.checkpoint import branch, newest_valid, step_of
from nbkit.pretrain.order import SampleOrder
from nbkit.pretrain.plan import Stage, check, total_tokens
from nbkit.pretrain.trainer import Follow, MicroBatches, PretrainTrainer, validation, validation_rows
from nbkit.run import files, progress
from nbkit.text.token_shards import TokenRows, load_pools


@dataclass(frozen=True)
class Job:
    """One training run as plain data. All but `micro_batch`, `save_every`, `keep_at` and
    what saves memory decides the result; a checkpoint made with other values of those that do is refused.

    `model`: sizes (`models.load.Shape`), or `start_from`: a folder, known by its content, or a hub id,
    known by its name. `batch`, `micro_batch`:
    pool rows per step, and per device and pass (0: all its share). `data_id`: of the pools; `token_shards`:
    folders that hold some of them (`nbkit.text.token_shards`).
    `chunk`: consecutive tokens that the order keeps together (0: the longest sequence); a run that branches
    into shorter sequences keeps its source's. `keep_at`: steps whose checkpoints stay. `branch_from`:
    checkpoint of another run that this one continues. `log_samples`: each
    rank logs the sha256 of every micro batch it trains on, in `<out>/samples-<rank>.jsonl`.
    `sharding`: "ddp", or "fsdp2", which splits weights, gradients and optimizer state over the devices; their
    checkpoints do not mix. To save memory: `activation_checkpointing` (see `sharding_arguments`), and
    `chunked_loss`, TRL's fused head, which makes the logits in tiles.
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
    token_shards: list[str] = field(default_factory=list)
    log_samples: bool = False
    sharding: str = "ddp"
    activation_checkpointing: str = "none"
    chunked_loss: bool = False


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


def identity(job: Job, pools: Mapping[str, np.ndarray | TokenRows]) -> dict:
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


@dataclass(frozen=True)
class Work:
    """A checked job with what it reads. `held_out`: rows (n, S) of each pool that only validations read;
    `row`: tokens of a pool's row; `batch_tokens`: tokens of a step, over all `world` processes; `micro`: rows
    per device and pass; `accumulate`: passes per step; `identity`: see there."""

    plan: list[Stage]
    pools: dict[str, np.ndarray | TokenRows]
    held_out: dict[str, np.ndarray | TokenRows]
    identity: dict
    row: int
    batch_tokens: int
    world: int
    micro: int
    accumulate: int

    @property
    def steps(self) -> int:
        return total_tokens(self.plan) // self.batch_tokens


def train(job: Job) -> Result:
    """Train to the end of the plan, from the newest valid checkpoint under `job.out` if there is one; leaves
    the model in `<out>/model`. Raises ValueError for plans that cannot be followed, checkpoints of another
    plan, and losses that are not finite."""
    work = prepare(job)
    tokenizer = AutoTokenizer.from_pretrained(job.tokenizer)
    if job.model:
        model = load.new_model(tokenizer, load.Shape(**job.model), job.seed)
    else:
        model, _ = load.load(job.start_from)
    follow = Follow(work.plan, work.batch_tokens, job.save_every, job.keep_at)
    trainer = build_trainer(job, work, model, follow)
    resume, skipped = resume_point(job, work)
    # Train, and look at what came out before any of it is kept.
    with throughput.static_shapes():
        history, seconds = run_training(
            trainer, job.name, resume_from_checkpoint=str(resume) if resume else None
        )
    trainer.check_finite()
    trainer.check_weights()
    # What the run was like, then the model, published last: a folder that is there is whole.
    rate = follow.tokens_per_s()
    result = Result(
        history,
        validation_rows(trainer.state.log_history),
        work.steps * work.batch_tokens,
        seconds,
        rate,
        throughput.mfu(model, work.plan, rate / work.world),
        bool(trainer.args.torch_compile),
        work.world,
        step_of(resume) if resume else 0,
        skipped,
    )
    publish(trainer, model, tokenizer, history, Path(job.out) / "model")
    return result


def prepare(job: Job) -> Work:
    """Read the pools and check that the plan can be followed on them. Raises ValueError where it cannot."""
    plan = [Stage(**row) for row in job.plan]
    whole = load_pools(Path(job.pools), job.token_shards)
    if not any(max(stage.lr_from, stage.lr_to) > 0 for stage in plan):
        raise ValueError("plan: every learning rate is 0, nothing would be learned; raise peak_lr")
    # The last rows of each pool are for validation; no stage reads them.
    pools = {name: rows[: len(rows) - job.validation_rows] for name, rows in whole.items()}
    held_out = {name: rows[len(rows) - job.validation_rows :] for name, rows in whole.items()}
    row = next(iter(pools.values())).shape[1]
    batch_tokens, world = job.batch * row, world_size()
    check_sharding(job.sharding)
    # Can the plan be followed on these pools, and split over these devices?
    known = identity(job, pools)
    held = {name: rows.size for name, rows in pools.items()}
    check(plan, held, row, batch_tokens, chunk=known["chunk"])
    micro, accumulate = micro_batches(job, world, max(stage.seq_len for stage in plan) // row)
    return Work(plan, pools, held_out, known, row, batch_tokens, world, micro, accumulate)


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


def arguments_for(job: Job, work: Work) -> TrainingArguments:
    steps = work.steps
    compiled = bool(job.compile_steps) and steps >= job.compile_steps and can_compile()
    arguments = TrainingArguments(
        per_device_train_batch_size=1,  # one item: a whole micro batch
        per_device_eval_batch_size=1,
        gradient_accumulation_steps=work.accumulate,
        max_steps=steps,
        learning_rate=max(max(stage.lr_from, stage.lr_to) for stage in work.plan),  # the peak
        weight_decay=job.weight_decay,
        adam_beta2=0.95,
        max_grad_norm=1.0,
        torch_compile=compiled,
        logging_steps=min(50, max(1, steps // 100)),  # a look at the losses at least every 50 steps
        eval_strategy="steps" if job.validations else "no",
        eval_steps=max(1, steps // job.validations) if job.validations else None,
        remove_unused_columns=False,
        **sharding_arguments(job.sharding, job.activation_checkpointing),
        **(shared_arguments(Path(job.out), job.seed) | {"save_total_limit": 2}),
    )
    one_device_each(arguments)
    return arguments


def build_trainer(job: Job, work: Work, model, follow: Follow) -> PretrainTrainer:
    """The Trainer of a job. Raises ValueError where accelerate would not shard as the job wants, RuntimeError
    where another number of processes trains than was started."""
    order = SampleOrder(work.plan, work.identity["pool_rows"], work.row, job.seed, work.identity["chunk"])
    trainer = PretrainTrainer(
        model=model,
        args=arguments_for(job, work),
        train_dataset=MicroBatches(work.pools, order, work.micro * work.row),
        eval_dataset=validation(work.held_out, job.validation_rows, work.micro) if job.validations else None,
        data_collator=lambda items: items[0],
        callbacks=[follow],
        plan=work.plan,
        batch_tokens=work.batch_tokens,
        identity=work.identity,
    )
    # What accelerate made of it must be what was planned: it falls back silently.
    if trainer.args.world_size != work.world:
        raise RuntimeError(f"{trainer.args.world_size} processes train, {work.world} were started")
    check_trainer(trainer, job.sharding)
    trainer.keep_at = job.keep_at
    if job.chunked_loss:
        trainer.chunk_loss()
    # Proof of the order, for tests: what each rank really read.
    if job.log_samples:
        Path(job.out).mkdir(parents=True, exist_ok=True)
        trainer.sample_log = Path(job.out) / f"samples-{trainer.args.process_index}.jsonl"
    return trainer


def resume_point(job: Job, work: Work) -> tuple[Path | None, list[str]]:
    """(the checkpoint to go on from, None to begin; why others were skipped): the newest valid one of this
    run, else the one that it branches from. Raises ValueError for one of another plan."""
    with progress.doing("looking for checkpoints"):
        resume, skipped = newest_valid(Path(job.out), work.identity)
    for line in skipped:
        logging.getLogger(__name__).warning("checkpoint skipped: %s", line)
    if not resume and job.branch_from:
        resume = branch(Path(job.branch_from), work.identity)
    return resume, skipped


def publish(trainer: PretrainTrainer, model, tokenizer, history: list[dict], folder: Path) -> None:
    """Save the trained model to `folder`, whole or not at all."""
    state = trainer.accelerator.get_state_dict(trainer.model)  # gathers shards: every rank takes part
    if trainer.is_world_process_zero():
        with progress.doing("saving the model"), files.atomic_dir(folder) as temporary:
            load.save(temporary, model, tokenizer, history, state)


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
