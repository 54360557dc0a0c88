"""`nbkit plan`: the plan of a profile without its data and without training. Steps, tokens and epochs of
every pool, and the learning rate at every boundary, by the very functions that 01 and 02 use."""

from nbkit.pretrain.fg_wsd import POOLS, fg_wsd, for_model, report_budgets, vanilla
from nbkit.pretrain.order import SampleOrder
from nbkit.pretrain.plan import PlanFile, Stage, check, describe, learning_rate, total_tokens
from nbkit.run import params


def plans(profile: str) -> tuple[dict[str, list[Stage]], dict[str, int], PlanFile]:
    """(arm -> plan, tokens per pool, what 01 would publish) of a profile, with pools of the sizes that 01
    aims for; synthetic text is taken to be read once. Raises ValueError for plans that cannot be followed."""
    schemas = params.schemas()
    mix, pre = (
        params.coerce(schemas[stage], params.load_profile(profile, stage), stage)
        for stage in ("01_data_mix", "02_pretrain")
    )
    # The pools that 01 would make, without the rows that it keeps out of training
    pools = report_budgets(mix.total_tokens, mix.hq_share) | {
        "synthetic": round(mix.total_tokens * mix.synthetic_share)
    }
    pools = {name: pools[name] - mix.validation_rows * mix.seq_len for name in POOLS}
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


def table(profile: str) -> str:
    """The plan of both arms as text, and where FG-WSD's decay begins to read: the order is known ahead."""
    arms, pools, planned = plans(profile)
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
