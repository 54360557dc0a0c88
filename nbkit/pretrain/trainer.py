"""The Trainer of pre-training: order of the data, learning rate and rotary base follow the plan. Used by 02
through `nbkit.pretrain.job`. Shape legend: b sequences of S tokens."""

import json
import time
from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path

import numpy as np
import torch
from torch.optim.lr_scheduler import LambdaLR
from torch.utils.data import Dataset, SequentialSampler
from transformers import Trainer, TrainerCallback
from trl.trainer.utils import add_fused_lm_head

from nbkit.pretrain.checkpoint import AtomicCheckpoints
from nbkit.pretrain.order import SampleOrder
from nbkit.pretrain.plan import Stage, learning_rate, stage_at
from nbkit.pretrain.rope import rope_base, set_rope_base
from nbkit.run import progress
from nbkit.run.precision import precision
from nbkit.text.token_shards import TokenRows


class MicroBatches(Dataset):
    """Item i holds tokens [i * micro_tokens, (i + 1) * micro_tokens) of the order as (b, S) tensors."""

    def __init__(self, pools: Mapping[str, np.ndarray | TokenRows], order: SampleOrder, micro_tokens: int):
        self.pools, self.order, self.micro_tokens = [pools[n] for n in order.names], order, micro_tokens

    def __len__(self) -> int:
        return len(self.order) // self.micro_tokens

    def __getitem__(self, i: int) -> dict[str, torch.Tensor]:
        start = i * self.micro_tokens
        units, row = self.order.units(start, self.micro_tokens), self.order.row
        # Chunks are consecutive rows of the pool, so a long sequence is a slice.
        rows = self.order.plan[stage_at(start, self.order.plan)[0]].seq_len // row
        return as_batch([np.asarray(self.pools[p][first : first + rows]).reshape(-1) for p, first in units])


def as_batch(rows: Sequence[np.ndarray]) -> dict[str, torch.Tensor]:
    ids_bS = torch.from_numpy(np.stack(rows).astype(np.int64))
    return {"input_ids": ids_bS, "labels": ids_bS}


def validation(
    held_out: Mapping[str, np.ndarray | TokenRows], rows: int, micro: int
) -> dict[str, list[dict]]:
    """The `rows` rows of each pool that no stage reads, in micro batches of the training's shape."""
    if rows < micro:
        raise ValueError(
            f"validation_rows: got {rows}, wanted at least one micro batch of {micro} rows; raise it in "
            "01_data_mix, lower micro_batch, or set validations to 0"
        )
    return {
        name: [as_batch(np.asarray(own[i : i + micro])) for i in range(0, rows - micro + 1, micro)]
        for name, own in held_out.items()
    }


def plain_attention_is_faster(seq_len: int) -> bool:
    """On a CPU in bf16, plain products are 1.3 to 1.5 times as fast as torch's fused attention for rows of
    256 tokens, and half as fast for 1,024 (0.5M and 5M parameters, one thread)."""
    return not torch.cuda.is_available() and precision() == "bf16" and seq_len <= 256


def validation_rows(log: Sequence[Mapping]) -> list[dict]:
    """One row per validation: step, tokens and the loss on every pool, without timings."""
    rows: dict[int, dict] = {}
    # transformers logs one entry per pool and validation; those of a step belong together.
    for entry in log:
        if found := {k: v for k, v in entry.items() if k.startswith("eval_") and k.endswith("_loss")}:
            rows.setdefault(entry["step"], {"step": entry["step"], "tokens": entry["tokens"]}).update(found)
    return list(rows.values())


class PretrainTrainer(AtomicCheckpoints, Trainer):
    """Trainer whose data order is the dataset's own and whose learning rate follows the plan. A loss that is
    not finite stops it before the next log row or checkpoint, and names the batch."""

    def __init__(self, *args, plan: Sequence[Stage], batch_tokens: int, identity: Mapping, **options):
        self.plan, self.batch_tokens, self.identity = plan, batch_tokens, identity
        self.unchecked: list[tuple[int, torch.Tensor]] = []  # (step, loss) since the last look
        self.sample_log: Path | None = None
        self.chunked = False
        super().__init__(*args, **options)

    def chunk_loss(self) -> None:
        """From now on the logits of a pass are never there at once: TRL's fused head makes them in tiles, and
        again in the backward pass."""
        add_fused_lm_head(self.accelerator.unwrap_model(self.model))
        self.chunked = True

    def compute_loss(self, model, inputs, *args, **kwargs):
        if self.chunked:
            inputs = {**inputs, "fused_lm_head": True}
        return super().compute_loss(model, inputs, *args, **kwargs)

    def _get_train_sampler(self, *args, **kwargs):
        # The dataset is in the plan's order already: any sampler would undo it.
        return SequentialSampler(self.train_dataset)

    def create_scheduler(self, num_training_steps: int, optimizer=None):
        # the step's middle, not its start: a warmup's first step would otherwise have LR 0 and learn nothing
        peak, tokens = self.args.learning_rate, self.batch_tokens
        # LambdaLR multiplies the optimizer's rate, which is the peak: the plan's rate relative to it.
        self.lr_scheduler = LambdaLR(
            optimizer or self.optimizer, lambda step: learning_rate((step + 0.5) * tokens, self.plan) / peak
        )
        return self.lr_scheduler

    def training_step(self, model, inputs, num_items_in_batch=None):
        # Hashes of what was really read: tests compare them over ranks, restarts and batch sizes.
        if self.sample_log:
            digest = sha256(inputs["input_ids"].cpu().numpy().tobytes()).hexdigest()
            with self.sample_log.open("a") as log:
                log.write(json.dumps({"step": self.state.global_step, "sha256": digest}) + "\n")
        loss = super().training_step(model, inputs, num_items_in_batch)
        self.unchecked.append((self.state.global_step, loss.detach()))
        return loss

    def log(self, logs, start_time=None):
        # Before the row is logged and before a checkpoint is kept: a NaN must reach neither.
        self.check_finite()
        super().log(logs | {"tokens": self.state.global_step * self.batch_tokens}, start_time)

    @progress.doing("saving a checkpoint")
    def _save_checkpoint(self, model, trial):
        self.check_finite()
        self.check_weights()
        super()._save_checkpoint(model, trial)

    @progress.doing("validating")
    def evaluate(self, *args, **kwargs):
        return super().evaluate(*args, **kwargs)

    def check_finite(self) -> None:
        """One look at all losses since the last: a look per step would make a GPU wait for the host."""
        if not self.unchecked:
            return
        finite = torch.stack([loss for _, loss in self.unchecked]).isfinite().tolist()
        bad = [step for (step, _), fine in zip(self.unchecked, finite, strict=True) if not fine]
        self.unchecked = []
        if bad:
            # Back from the step to the rows of the pools, since that is what can be looked up.
            order, start = self.train_dataset.order, bad[0] * self.batch_tokens
            rows = [f"{order.names[pool]}:{row}" for pool, row in order.units(start, self.batch_tokens)]
            raise ValueError(
                f"loss is not finite at step {bad[0] + 1}, learning rate "
                f"{learning_rate(start, self.plan):.3g}; checkpoints before it are kept. Lower the learning "
                f"rate, or look at the batch (pool:row): {' '.join(rows)}"
            )

    def check_weights(self) -> None:
        """The losses before a step say nothing of what it did to the weights: these are looked at before
        they are kept. A rank that stops here keeps the others from sealing, which waits for all."""
        # Each rank looks at its own shard of FSDP2; DDP has no `to_local` and looks at all.
        parts = {
            n: getattr(p, "to_local", lambda p=p: p)().detach() for n, p in self.model.named_parameters()
        }
        finite = torch.stack([part.isfinite().all() for part in parts.values()]).tolist()
        if bad := [name for name, fine in zip(parts, finite, strict=True) if not fine]:
            raise ValueError(
                f"weights are not finite after step {self.state.global_step}: {', '.join(bad[:3])} "
                f"({len(bad)} in all); checkpoints before it are kept. Lower the learning rate"
            )


class Follow(TrainerCallback):
    """At each step: rotary base and attention of its stage; tokens/s, or that a step compiles, for the live
    line; due saves."""

    def __init__(
        self,
        plan: Sequence[Stage],
        batch_tokens: int,
        save_every: int = 0,
        keep_at: Sequence[int] = (),
    ):
        self.plan, self.batch_tokens = plan, batch_tokens
        self.save_every, self.keep_at = save_every, keep_at
        self.marks: list[tuple[float, int]] = []
        self.compiled: set[int] = set()  # lengths of sequences that have their graph
        self.compiling = False

    def on_train_begin(self, args, state, control, model=None, **kwargs):
        self.attention = model.config._attn_implementation

    def on_step_begin(self, args, state, control, model=None, **kwargs):
        # By tokens seen, so that a resumed run finds its base without having seen the border.
        stage = self.plan[stage_at(state.global_step * self.batch_tokens, self.plan)[0]]
        if rope_base(model) != stage.rope_base:
            set_rope_base(model, stage.rope_base)
        attention = "eager" if plain_attention_is_faster(stage.seq_len) else self.attention
        if model.config._attn_implementation != attention:
            model.set_attn_implementation(attention)
        if args.torch_compile and stage.seq_len not in self.compiled:
            self.compiled.add(stage.seq_len)
            self.compiling = True
            progress.note("compiling")

    def on_step_end(self, args, state, control, **kwargs):
        step = state.global_step
        if self.compiling:
            self.compiling = False
            progress.note("")
        # Not at the last step: the model itself is saved there.
        if step in self.keep_at or (self.save_every and step % self.save_every == 0):
            control.should_save = step < state.max_steps
        return control

    def on_log(self, args, state, control, logs=None, **kwargs):
        self.marks.append((time.perf_counter(), state.global_step))
        progress.note(f"{rate:,.0f} tok/s" if (rate := self.tokens_per_s()) else "")

    def tokens_per_s(self) -> float:
        """Median over the spans between log rows."""
        spans = zip(self.marks, self.marks[1:], strict=False)
        rates = [(s1 - s0) * self.batch_tokens / (t1 - t0) for (t0, s0), (t1, s1) in spans if s1 > s0]
        return float(np.median(rates)) if rates else 0.0
