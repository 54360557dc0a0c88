"""`nbkit plan`: the plan of a profile without its data and without training. Steps, tokens and epochs of
every pool, and the learning rate at every boundary, by the very functions that 01 and 02 use; then what every
stage takes of memory, time, money and disk (nbkit.cli.estimate), and whether it fits."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from nbkit.cli import planning
from nbkit.pretrain.fg_wsd import POOLS, fg_wsd, for_model, planned_pools, vanilla
from nbkit.pretrain.order import SampleOrder
from nbkit.pretrain.plan import PlanFile, Stage, check, describe, learning_rate, total_tokens
from nbkit.run import params

PLANNED = ("01_data_mix", "02_pretrain")


def add(command: argparse.ArgumentParser) -> None:
    """The options of `nbkit plan`."""
    command.add_argument("--gpus", type=int, default=0, help="GPUs of all nodes, not processes * nodes")
    command.add_argument("--only", metavar="NN[,NN]", help="the estimate of these stages only, such as 01,02")
    command.add_argument("--gpu", default="", metavar="NAME", help="h100, h200, a100, b200, l40s, rtx4090")
    command.add_argument("--price", type=float, default=0.0, help="USD per GPU and hour")
    command.add_argument("--mfu", type=float, default=0.0, help="share of the peak that training reaches")
    planning.add_overrides(command)
    command.set_defaults(action=run)


def run(arguments: argparse.Namespace) -> int:
    """Print both plans; exit code 2, with what to change, where something cannot fit."""
    from nbkit.cli.estimate import report  # noqa: PLC0415 (with psutil, which only this needs)

    profile, changed = arguments.profile, planning.overrides(arguments.overrides)
    only = tuple(planning.chosen(None, arguments.only))
    machine = (arguments.gpus, arguments.gpu, arguments.price, arguments.mfu)
    options = report.Options(*machine, changed, only)
    found = report.estimate(profile, options)  # before anything is printed: it checks every parameter
    print(table(profile, _of_plan(changed, only)))
    print(f"\n{report.table(profile, found)}")
    if found.refused:
        print("nbkit: cannot run as planned\n" + "\n".join(found.refused), file=sys.stderr)
    return 2 if found.refused else 0


def _of_plan(overrides: Mapping[str, Any], only: Sequence[str]) -> dict[str, Any]:
    """Of the overrides those of 01 and 02, as far as these are chosen: other stages check their own."""
    schemas = params.schemas()
    known = {name for stage in PLANNED if stage in only for name in schemas[stage].model_fields}
    return {name: value for name, value in overrides.items() if name in known}


def plans(
    profile: str, overrides: Mapping[str, Any] | None = None
) -> tuple[dict[str, list[Stage]], dict[str, int], PlanFile]:
    """(arm -> plan, tokens per pool, what 01 would publish) of a profile, with pools of the sizes that 01
    aims for; synthetic text is taken to be read once. Raises ValueError for plans that cannot be followed."""
    schemas = params.schemas()
    values = planning.plan(PLANNED, profile, dict(overrides or {}))
    mix, pre = (schemas[stage](**own) for stage, own in values.items())
    # The pools that 01 would make, without the rows that it keeps out of training
    shares, held_out = (mix.hq_share, mix.synthetic_share), mix.validation_rows * mix.seq_len
    pools = planned_pools(mix.total_tokens, *shares, held_out)
    # The same call as in 01, so that what is shown is what would be published.
    stages = fg_wsd(
        mix.total_tokens, mix.step_tokens, pools, mix.seq_len, mix.decay_seq_len, mix.synthetic_share
    )
    planned = PlanFile(stages, mix.seq_len, mix.step_tokens, mix.validation_rows, mix.max_epochs)
    planned.check_batch(pre.batch)
    fg = for_model(
        stages,
        pre.peak_lr,
        pre.final_lr,
        decay_shape=pre.decay_shape,
        rope_base=pre.rope_base,
        decay_rope_base=pre.decay_rope_base,
    )
    arms = {"FG-WSD": fg, "vanilla WSD": vanilla(fg)}
    # Refused here as 02 would refuse it, but without data or training.
    for plan in arms.values():
        check(plan, pools, planned.seq_len, planned.step_tokens, planned.max_epochs)
    return arms, pools, planned


def table(profile: str, overrides: Mapping[str, Any] | None = None) -> str:
    """The plan of both arms as text, and where FG-WSD's decay begins to read: the order is known ahead."""
    arms, pools, planned = plans(profile, overrides)
    row, step = planned.seq_len, planned.step_tokens
    # The pools as planned: 01 may fall short of them by part of a document each.
    lines = [
        f"profile {profile}: {step:,} tokens per step; rows of {row:,} tokens; pools as planned, without the "
        f"{planned.validation_rows:,} validation rows of each, in tokens: "
        + ", ".join(f"{name} {count:,}" for name, count in pools.items())
    ]
    for arm, plan in arms.items():
        lines += ["", f"{arm}: {total_tokens(plan):,} tokens, {total_tokens(plan) // step:,} steps"]
        head = f"  {'stage':<13}{'steps':>9}{'tokens':>19}  " + "".join(
            f"{f'{n} (epochs)':>26}" for n in POOLS
        )
        lines.append(f"{head}  {'learning rate':<22}{'sequence':>9}{'rotary base':>13}")
        seen = 0
        for s in describe(plan, pools, step):
            # Tokens of each pool in this stage, and its epochs completed by the end of it.
            shares = "".join(f"{s['of_pool'][n]:>19,} ({s['epochs'][n]:.2f})" for n in POOLS)
            ends = learning_rate(seen, plan), s["lr_to"]
            seen += s["tokens"]
            lines.append(
                f"  {s['stage']:<13}{s['steps']:>9,}{s['tokens']:>19,}  {shares}  "
                f"{f'{ends[0]:.3g} -> {ends[1]:.3g}':<22}{s['seq_len']:>9,}{s['rope_base']:>13,.0f}"
            )
    fg = arms["FG-WSD"]
    # Decay's first sequences can be named before training: the order is a function of the seed.
    order = SampleOrder(fg, {name: count // row for name, count in pools.items()}, row, seed=0)
    start = total_tokens(fg[:-1])
    first = [f"{order.names[pool]}:{at}" for pool, at in order.units(start, 4 * order.chunk)[:4]]
    lines += ["", f"first sequences of decay, seed 0 (pool:row): {' '.join(first)}"]
    return "\n".join(lines)
