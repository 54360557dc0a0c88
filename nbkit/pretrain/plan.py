"""A plan of pre-training: learning rate *and* data order as one schedule. Used by 01, which makes the plan
and publishes it, and 02, which trains it.

A plan is a list of `Stage`s: how many tokens each takes from every pool, how its learning rate moves, how
long its sequences are and which rotary base they are read with. Which plans there are (FG-WSD, vanilla WSD)
and how they are counted is `nbkit.pretrain.fg_wsd`; which rows a stage reads is `nbkit.pretrain.order`.
"""

import math
from collections.abc import Mapping, Sequence, Sized
from dataclasses import asdict, dataclass, fields
from fractions import Fraction
from pathlib import Path

from nbkit.run import files

# x: share of the stage that is over, from 0 to 1; the value is the share of the way from lr_from to lr_to
SHAPES = {
    "linear": lambda x: x,
    "cosine": lambda x: (1 - math.cos(math.pi * x)) / 2,
    "sqrt": lambda x: math.sqrt(x),
}


@dataclass(frozen=True)
class Stage:
    """One stage of the plan. `tokens`: pool name -> tokens read from it; `seq_len` in tokens; `lr_from`,
    `lr_to`: learning rate at its ends, in 01 relative to the peak rate, which is 02's to set."""

    name: str
    tokens: Mapping[str, int]
    lr_from: float
    lr_to: float
    shape: str = "linear"
    seq_len: int = 256
    rope_base: float = 10_000.0

    def __post_init__(self) -> None:
        if self.shape not in SHAPES:
            raise ValueError(f"stage {self.name!r}: shape {self.shape!r} is unknown, wanted {list(SHAPES)}")
        if self.lr_from < 0 or self.lr_to < 0 or self.rope_base <= 0 or self.seq_len < 1:
            raise ValueError(
                f"stage {self.name!r}: got lr {self.lr_from} -> {self.lr_to}, seq_len {self.seq_len}, "
                f"rope_base {self.rope_base}; wanted rates of 0 or more and positive lengths and bases"
            )
        if any(count < 0 for count in self.tokens.values()) or not self.total:
            raise ValueError(
                f"stage {self.name!r}: tokens {dict(self.tokens)}, wanted 0 or more of every pool and some "
                "in all"
            )

    @property
    def total(self) -> int:
        return sum(self.tokens.values())


def apportion(total: int, weights: Sequence[Fraction | int]) -> list[int]:
    """Split `total` into integers proportional to `weights`, by largest remainder: the sum is exact. All
    counts of a plan are made by this rounding."""
    # All weights 0 is a stage that reads nothing of these pools, such as 0 synthetic tokens.
    whole = sum(weights)
    if not whole:
        assert total == 0, "nothing to share a positive total among"
        return [0] * len(weights)
    # Fractions: in floats a remainder of exactly one half could fall either way.
    exact = [Fraction(total) * Fraction(weight) / Fraction(whole) for weight in weights]
    counts = [int(share) for share in exact]
    # Largest remainder first; equal ones by place, so that the result is the same everywhere.
    by_remainder = sorted(range(len(weights)), key=lambda i: (counts[i] - exact[i], i))
    for i in by_remainder[: total - sum(counts)]:
        counts[i] += 1
    return counts


def nearest_multiple(count: float, unit: int) -> int:
    """The multiple of `unit` nearest to `count`, one unit at least."""
    return max(1, round(count / unit)) * unit


def total_tokens(plan: Sequence[Stage]) -> int:
    return sum(stage.total for stage in plan)


def pool_tokens(plan: Sequence[Stage]) -> dict[str, int]:
    """Tokens that the whole plan reads from each pool."""
    names = sorted({name for stage in plan for name in stage.tokens})
    return {name: sum(stage.tokens.get(name, 0) for stage in plan) for name in names}


def trainable(pools: Mapping[str, Sized], seq_len: int, validation_rows: int) -> dict[str, int]:
    """Tokens of each pool that a plan may read: all but its last `validation_rows` rows of `seq_len` tokens.
    Raises ValueError for a pool that holds no more than these."""
    for name, rows in pools.items():
        if len(rows) <= validation_rows:
            raise ValueError(
                f"validation_rows: got {validation_rows}, but pool {name!r} holds {len(rows)} rows in all; "
                "enlarge the pool or lower validation_rows"
            )
    return {name: (len(rows) - validation_rows) * seq_len for name, rows in pools.items()}


def as_data(plan: Sequence[Stage]) -> list[dict]:
    """The plan as plain data; `[Stage(**row) for row in ...]` is its inverse."""
    return [asdict(stage) | {"tokens": dict(stage.tokens)} for stage in plan]


@dataclass(frozen=True)
class PlanFile:
    """`plan.json`: the stages that 01 publishes and what they are counted for. `seq_len`: tokens of a pool's
    row; `step_tokens`: tokens of an optimizer step; `validation_rows`: last rows of every pool, which no
    stage reads; `max_epochs`: passes over a pool that no plan of these pools may exceed."""

    stages: list[Stage]
    seq_len: int
    step_tokens: int
    validation_rows: int
    max_epochs: float

    def save(self, path: Path) -> None:
        files.write_json(path, vars(self) | {"stages": as_data(self.stages)})

    @classmethod
    def load(cls, path: Path) -> "PlanFile":
        """The plan that 01 published. Raises ValueError for a file of another form, such as an older one."""
        found, wanted = files.read_json(path), {field.name for field in fields(cls)}
        if set(found) != wanted:
            raise ValueError(
                f"{path}: holds {sorted(found)}, wanted {sorted(wanted)}: another version of nbkit wrote it; "
                "make it again with `nbkit run --from 01`"
            )
        return cls(**found | {"stages": [Stage(**stage) for stage in found["stages"]]})

    def check_batch(self, batch: int) -> None:
        """Raise ValueError where steps of `batch` rows are not the steps that were planned."""
        if batch * self.seq_len != self.step_tokens:
            raise ValueError(
                f"batch: {batch} rows of {self.seq_len} tokens are steps of {batch * self.seq_len:,} tokens, "
                f"but the plan of 01_data_mix has steps of {self.step_tokens:,}; set batch to "
                f"{self.step_tokens // self.seq_len} in 02_pretrain, or step_tokens to "
                f"{batch * self.seq_len} in 01_data_mix and run both again (`nbkit run --from 01`)"
            )


def stage_at(tokens_seen: float, plan: Sequence[Stage]) -> tuple[int, float]:
    """(index of the stage, tokens into it); past the end: the end of the last stage."""
    start = 0
    for number, stage in enumerate(plan):
        if tokens_seen < start + stage.total:
            return number, tokens_seen - start
        start += stage.total
    return len(plan) - 1, plan[-1].total


def learning_rate(tokens_seen: float, plan: Sequence[Stage]) -> float:
    """LR after `tokens_seen` tokens, moving from lr_from to lr_to inside each stage by its shape."""
    number, into = stage_at(tokens_seen, plan)
    stage = plan[number]
    way = SHAPES[stage.shape](into / stage.total)
    return (1 - way) * stage.lr_from + way * stage.lr_to


def check(
    plan: Sequence[Stage],
    pools: Mapping[str, int],
    row: int,
    step_tokens: int,
    max_epochs: float = math.inf,
    chunk: int = 0,
) -> None:
    """Raise ValueError where a plan cannot be followed. `pools`: tokens that each pool holds, in rows of
    `row` tokens; `max_epochs`: passes over a pool that are allowed; `chunk`: see `nbkit.pretrain.order` (0:
    the longest sequence)."""
    if not plan:
        raise ValueError("plan: got no stages, wanted at least one")
    # Chunks are as long as the longest sequence: shorter ones must divide it, rows must divide them.
    longest = chunk or max(stage.seq_len for stage in plan)
    for before, stage in zip([None, *plan], plan, strict=False):
        where = f"stage {stage.name!r}"
        if stage.seq_len % row or longest % stage.seq_len:
            raise ValueError(
                f"{where}: seq_len {stage.seq_len}, wanted a multiple of the pools' rows of {row} tokens "
                f"that divides the longest, {longest}"
            )
        # A stage ends with an optimizer step: one step must not mix two learning rates or lengths.
        if step_tokens % stage.seq_len or stage.total % step_tokens:
            raise ValueError(
                f"{where}: {stage.total:,} tokens in sequences of {stage.seq_len} do not divide into whole "
                f"steps of {step_tokens:,} tokens; nearest: {nearest_multiple(stage.total, step_tokens):,}"
            )
        # Whole chunks of every pool, and at least one of each that is read.
        for pool, count in stage.tokens.items():
            if count % longest:
                raise ValueError(
                    f"{where}: {count:,} tokens of pool {pool!r} do not divide into sequences of {longest} "
                    f"tokens, the longest of the plan; nearest: {nearest_multiple(count, longest):,}"
                )
            if count and pools.get(pool, 0) < longest:
                raise ValueError(
                    f"{where}: wants {count:,} tokens of pool {pool!r}, which holds {pools.get(pool, 0):,}, "
                    f"less than one sequence of {longest}; enlarge the pool or lower decay_seq_len"
                )
        # ABF serves longer sequences (arXiv 2309.16039); a new base without them is most likely a slip.
        if before and stage.rope_base != before.rope_base and stage.seq_len <= before.seq_len:
            raise ValueError(
                f"{where}: rope_base changes from {before.rope_base:g} to {stage.rope_base:g} but sequences "
                f"stay at {stage.seq_len} tokens; lengthen seq_len or keep the base"
            )
    # Over the whole plan: stages continue each other's pass over a pool.
    for pool, count in pool_tokens(plan).items():
        if count and count > max_epochs * pools[pool]:
            raise ValueError(
                f"pool {pool!r}: the plan reads {count:,} tokens of it, {count / pools[pool]:.1f} epochs of "
                f"the {pools[pool]:,} it holds, over {max_epochs:g}; enlarge the pool, lower total_tokens or "
                "raise max_epochs"
            )


def describe(plan: Sequence[Stage], pools: Mapping[str, int], step_tokens: int) -> list[dict]:
    """One row per stage: steps, tokens, tokens per pool, epochs of each pool completed by its end, LR at both
    boundaries, sequence length, rotary base."""
    rows, done, seen = [], 0, dict.fromkeys(pools, 0)
    # Epochs add up over stages, since every stage goes on where the one before stopped.
    for stage in plan:
        seen = {pool: seen[pool] + stage.tokens.get(pool, 0) for pool in pools}
        rows.append(
            {
                "stage": stage.name,
                "steps": stage.total // step_tokens,
                "from_token": done,
                "tokens": stage.total,
                "of_pool": dict(stage.tokens),
                "epochs": {pool: seen[pool] / pools[pool] if pools[pool] else 0.0 for pool in pools},
                "lr_from": stage.lr_from,
                "lr_to": stage.lr_to,
                "shape": stage.shape,
                "seq_len": stage.seq_len,
                "rope_base": stage.rope_base,
            }
        )
        done += stage.total
    return rows
