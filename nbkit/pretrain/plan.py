"""Fine-grained warmup-stable-decay: learning rate *and* data order as one schedule (report, pre-training
section). Used by 02.

A plan is a list of `Stage`s: how many tokens each takes from every pool, how its learning rate moves, how
long its sequences are and which rotary base they are read with.

    warmup        LR 0 -> peak      mixed
    diversity     LR peak           1 epoch of the upper pool and 1 epoch of the lower pool, mixed
    high_quality  LR peak           upper pool only
    decay         LR peak -> final  upper pool and more synthetic Q&A, longer sequences, a larger rotary base

Vanilla WSD (`vanilla`) is a plan of the same type: the same stages, the same tokens of every pool, but one
mixture throughout. Which rows a stage reads is `nbkit.pretrain.order`'s business.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace

from nbkit.pretrain.proportions import POOLS, apportion

# x: share of the stage that is over, from 0 to 1; the value is the share of the way from lr_from to lr_to
SHAPES = {
    "linear": lambda x: x,
    "cosine": lambda x: (1 - math.cos(math.pi * x)) / 2,
    "sqrt": lambda x: math.sqrt(x),
}


@dataclass(frozen=True)
class Stage:
    """One stage of the plan. `tokens`: pool name -> tokens read from it; `seq_len` in tokens."""

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


def total_tokens(plan: Sequence[Stage]) -> int:
    return sum(stage.total for stage in plan)


def pool_tokens(plan: Sequence[Stage]) -> dict[str, int]:
    """Tokens that the whole plan reads from each pool."""
    names = sorted({name for stage in plan for name in stage.tokens})
    return {name: sum(stage.tokens.get(name, 0) for stage in plan) for name in names}


def as_data(plan: Sequence[Stage]) -> list[dict]:
    """The plan as plain data; `[Stage(**row) for row in ...]` is its inverse."""
    return [asdict(stage) | {"tokens": dict(stage.tokens)} for stage in plan]


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


def fg_wsd(
    rows: Sequence[Mapping],
    peak_lr: float,
    final_lr: float,
    batch_tokens: int,
    seq_len: int,
    decay_seq_len: int | None = None,
    rope_base: float = 10_000.0,
    decay_rope_base: float | None = None,
    decay_shape: str = "linear",
) -> list[Stage]:
    """The FG-WSD plan from the rows of `nbkit.pretrain.proportions.stage_plan`, rounded to whole steps of
    `batch_tokens`.

    Each stage becomes a whole number of steps (one at least), and takes from every pool a whole number of
    `decay_seq_len` tokens, so that both arms read the very same sequences. Raises ValueError for unknown
    stages and for lengths that do not divide.
    """
    rates = {
        "warmup": (0.0, peak_lr),
        "diversity": (peak_lr, peak_lr),
        "high_quality": (peak_lr, peak_lr),
        "decay": (peak_lr, final_lr),
    }
    if unknown := [row["stage"] for row in rows if row["stage"] not in rates]:
        raise ValueError(f"plan: unknown stages {unknown}, wanted {list(rates)}; run 01_data_mix again")
    longest = decay_seq_len or seq_len
    if batch_tokens % longest or longest % seq_len:
        raise ValueError(
            f"batch: a step of {batch_tokens} tokens does not hold whole sequences of {longest} (decay) and "
            f"{seq_len} tokens; make `batch` a multiple of {longest // math.gcd(longest, seq_len)} rows"
        )
    plan = []
    for row in rows:
        size = nearest(row["tokens"], batch_tokens) // longest
        counts = apportion(size, [row[pool] for pool in POOLS])
        stage = Stage(
            row["stage"],
            {pool: count * longest for pool, count in zip(POOLS, counts, strict=True)},
            *rates[row["stage"]],
            seq_len=seq_len,
            rope_base=rope_base,
        )
        if row["stage"] == "decay":
            stage = replace(stage, seq_len=longest, rope_base=decay_rope_base or rope_base, shape=decay_shape)
        plan.append(stage)
    return plan


def vanilla(plan: Sequence[Stage]) -> list[Stage]:
    """Vanilla WSD: every stage takes the same share of each pool. Tokens per stage, tokens per pool, learning
    rates and sequence lengths stay those of `plan`, exactly."""
    unit = max(stage.seq_len for stage in plan)
    left = {pool: count // unit for pool, count in pool_tokens(plan).items()}
    arm = []
    for stage in plan:
        counts = apportion(stage.total // unit, list(left.values()))
        taken = dict(zip(left, counts, strict=True))
        left = {pool: left[pool] - taken[pool] for pool in left}
        arm.append(replace(stage, tokens={pool: count * unit for pool, count in taken.items()}))
    return arm


def wsd(
    tokens: Mapping[str, int],
    peak_lr: float,
    final_lr: float,
    batch_tokens: int,
    seq_len: int,
    warmup: float = 0.02,
    decay: float = 0.2,
    rope_base: float = 10_000.0,
) -> list[Stage]:
    """A plain WSD plan over given tokens per pool, in whole steps (used to continue the teacher)."""
    steps = sum(tokens.values()) // batch_tokens
    sizes = [max(1, round(steps * warmup)), 0, max(1, round(steps * decay))]
    sizes[1] = steps - sizes[0] - sizes[2]
    if sizes[1] < 1:
        raise ValueError(
            f"tokens: got {sum(tokens.values())}, wanted at least 3 steps of {batch_tokens} tokens; "
            "raise the tokens or lower `batch`"
        )
    names, rates = ("warmup", "stable", "decay"), ((0.0, peak_lr), (peak_lr, peak_lr), (peak_lr, final_lr))
    plan = []
    for name, size, (lr_from, lr_to) in zip(names, sizes, rates, strict=True):
        counts = apportion(size * batch_tokens // seq_len, list(tokens.values()))
        mixed = {pool: count * seq_len for pool, count in zip(tokens, counts, strict=True)}
        plan.append(Stage(name, mixed, lr_from, lr_to, seq_len=seq_len, rope_base=rope_base))
    return plan


def check(
    plan: Sequence[Stage],
    pools: Mapping[str, int],
    row: int,
    batch_tokens: int,
    max_epochs: float = 8.0,
    chunk: int = 0,
) -> None:
    """Raise ValueError where a plan cannot be followed. `pools`: tokens that each pool holds, in rows of
    `row` tokens; `chunk`: see `nbkit.pretrain.order` (0: the longest sequence)."""
    if not plan:
        raise ValueError("plan: got no stages, wanted at least one")
    longest = chunk or max(stage.seq_len for stage in plan)
    for before, stage in zip([None, *plan], plan, strict=False):
        where = f"stage {stage.name!r}"
        if stage.seq_len % row or longest % stage.seq_len:
            raise ValueError(
                f"{where}: seq_len {stage.seq_len}, wanted a multiple of the pools' rows of {row} tokens "
                f"that divides the longest, {longest}"
            )
        if batch_tokens % stage.seq_len or stage.total % batch_tokens:
            raise ValueError(
                f"{where}: {stage.total:,} tokens in sequences of {stage.seq_len} do not divide into whole "
                f"steps of {batch_tokens:,} tokens; nearest: {nearest(stage.total, batch_tokens):,}"
            )
        for pool, count in stage.tokens.items():
            if count % longest:
                raise ValueError(
                    f"{where}: {count:,} tokens of pool {pool!r} do not divide into sequences of {longest} "
                    f"tokens, the longest of the plan; nearest: {nearest(count, longest):,}"
                )
            if count and pools.get(pool, 0) < longest:
                raise ValueError(
                    f"{where}: wants {count:,} tokens of pool {pool!r}, which holds {pools.get(pool, 0):,}, "
                    f"less than one sequence of {longest}; run 01_data_mix again"
                )
        if before and stage.rope_base != before.rope_base and stage.seq_len <= before.seq_len:
            raise ValueError(
                f"{where}: rope_base changes from {before.rope_base:g} to {stage.rope_base:g} but sequences "
                f"stay at {stage.seq_len} tokens; lengthen seq_len or keep the base"
            )
    for pool, count in pool_tokens(plan).items():
        if count and count > max_epochs * pools[pool]:
            raise ValueError(
                f"pool {pool!r}: the plan reads {count:,} tokens of it, {count / pools[pool]:.1f} epochs of "
                f"the {pools[pool]:,} it holds, over {max_epochs:g}; enlarge the pool, lower total_tokens or "
                "raise max_epochs"
            )


def nearest(count: int, unit: int) -> int:
    """The multiple of `unit` nearest to `count`, one unit at least."""
    return max(1, round(count / unit)) * unit


def describe(plan: Sequence[Stage], pools: Mapping[str, int], batch_tokens: int) -> list[dict]:
    """One row per stage: steps, tokens, tokens per pool, epochs of each pool completed by its end, LR at both
    boundaries, sequence length, rotary base."""
    rows, done, seen = [], 0, dict.fromkeys(pools, 0)
    for stage in plan:
        seen = {pool: seen[pool] + stage.tokens.get(pool, 0) for pool in pools}
        rows.append(
            {
                "stage": stage.name,
                "steps": stage.total // batch_tokens,
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
