"""The stage plan of a profile without training it: `nbkit plan`. Steps, tokens and epochs of every pool, and
the learning rate at every boundary, by the very functions that 02 trains with."""

from nbkit.pretrain.order import SampleOrder
from nbkit.pretrain.plan import Stage, check, describe, fg_wsd, learning_rate, total_tokens, vanilla
from nbkit.pretrain.proportions import POOLS, report_budgets, stage_plan
from nbkit.run import params


def plans(profile: str) -> tuple[dict[str, list[Stage]], dict[str, int], int, int]:
    """(arm -> plan, tokens per pool, tokens per row, tokens per step) of a profile, with pools of the sizes
    that 01 aims for; synthetic text is taken to be read once. Raises ValueError for plans that cannot be
    followed."""
    schemas = params.schemas()
    mix, pre = (
        params.coerce(schemas[stage], params.load_profile(profile, stage), stage)
        for stage in ("01_data_mix", "02_pretrain")
    )
    budget, row = report_budgets(mix.total_tokens), mix.seq_len
    pools = {"hq": budget["hq"], "mq": budget["mq"]}
    pools["synthetic"] = round(mix.total_tokens * mix.synthetic_share)
    rows = stage_plan(mix.total_tokens, row, pools, mix.synthetic_share, max_epochs=pre.max_epochs)
    step = pre.batch * row
    bases = {"rope_base": pre.rope_base, "decay_rope_base": pre.decay_rope_base}
    fg = fg_wsd(
        rows, pre.peak_lr, pre.final_lr, step, row, pre.decay_seq_len, **bases, decay_shape=pre.decay_shape
    )
    arms = {"FG-WSD": fg, "vanilla WSD": vanilla(fg)}
    for plan in arms.values():
        check(plan, pools, row, step, pre.max_epochs)
    return arms, pools, row, step


def table(profile: str) -> str:
    """The plan of both arms as text, and where FG-WSD's decay begins to read: the order is known ahead."""
    arms, pools, row, step = plans(profile)
    lines = [
        f"profile {profile}: {step:,} tokens per step; rows of {row:,} tokens; pools as planned, in tokens: "
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
            shares = "".join(f"{s['of_pool'][n]:>19,} ({s['epochs'][n]:.2f})" for n in POOLS)
            ends = learning_rate(seen, plan), s["lr_to"]
            seen += s["tokens"]
            lines.append(
                f"  {s['stage']:<13}{s['steps']:>9,}{s['tokens']:>19,}  {shares}  "
                f"{f'{ends[0]:.3g} -> {ends[1]:.3g}':<22}{s['seq_len']:>9,}{s['rope_base']:>13,.0f}"
            )
    fg = arms["FG-WSD"]
    order = SampleOrder(fg, {name: count // row for name, count in pools.items()}, row, seed=0)
    start = total_tokens(fg[:-1])
    first = [f"{order.names[pool]}:{at}" for pool, at in order.units(start, 4 * order.chunk)[:4]]
    lines += ["", f"first sequences of decay, seed 0 (pool:row): {' '.join(first)}"]
    return "\n".join(lines)
