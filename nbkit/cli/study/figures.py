"""Figures of a study over seeds, in the style of `nbkit.evals.plots`; each function returns one."""

import itertools
from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np

from nbkit.cli.study.seed_stats import BASELINE
from nbkit.evals import plots
from nbkit.evals.plots import COLOURS
from nbkit.evals.score import Estimate


def forest(groups: Mapping[str, Mapping[str, Mapping]], effect: str):
    """Differences over seeds: group -> name -> a value of `seed_stats.over_seeds`, one row each. Diamond
    and bar: mean with interval (none where all seeds are equal), coloured where it excludes zero; dots: the
    seeds."""
    # One row per value, with half a row of room between groups.
    rows = [(group, name, value) for group, names in groups.items() for name, value in names.items()]
    at = np.arange(len(rows)) + 0.5 * np.cumsum([0, *(a[0] != b[0] for a, b in itertools.pairwise(rows))])
    fig, axis = plt.subplots(figsize=(8, 0.36 * (at[-1] + 1) + 1.2))
    axis.axvline(0, color="black", lw=1)
    for y, (_, _, value) in zip(at, rows, strict=True):
        # The seeds below, then mean and interval, then both as text at the right edge.
        dots = 100 * np.array([*value["per_seed"].values()])
        axis.plot(dots, np.full(len(dots), y - 0.27), "o", color=COLOURS[7], alpha=0.7, ms=4, mew=0)
        mean = 100 * value["mean"]
        text, colour, span = f"{round(mean, 1) + 0.0:+.1f}", COLOURS[6], None  # + 0.0: no "-0.0"
        if value["p_t"] is not None:
            low, high = 100 * value["low"], 100 * value["high"]
            colour = COLOURS[0] if low > 0 else COLOURS[4] if high < 0 else COLOURS[6]
            span = [[mean - low], [high - mean]]
            text += f" [{round(low, 1) + 0.0:+.1f}, {round(high, 1) + 0.0:+.1f}]"
        axis.errorbar(mean, y, xerr=span, fmt="D", color=colour, ms=6, capsize=4, lw=1.8)
        axis.text(1.02, y, text, va="center", fontsize=10, transform=axis.get_yaxis_transform())
    axis.set_yticks(at, [f"{group}: {name}" if group else name for group, name, _ in rows])
    axis.set(xlabel=f"{effect} (percentage points)", ylim=(at[-1] + 0.6, -0.8))
    # How many seeds the title speaks of: claims may differ in it.
    seeds = sorted({len(value["per_seed"]) for _, _, value in rows})
    number = f"{seeds[0]}" if len(seeds) == 1 else f"{seeds[0]} to {seeds[-1]}"
    axis.set_title(f"mean of {number} seeds with its 95% interval; dots: seeds", fontsize=10, loc="left")
    axis.grid(axis="y", visible=False)
    return fig


def estimate(value: Mapping) -> Estimate:
    """A value of `seed_stats.over_seeds`; equal seeds have no interval, then it is the mean alone."""
    low, high = (value["mean"] if value[end] is None else value[end] for end in ("low", "high"))
    return Estimate(value["mean"], low, high, value["seeds"])


def ladder(steps: Mapping[str, Mapping]):
    """The checkpoints in order of training, mean and interval over seeds; the baseline as a line. `steps`: of
    `seed_stats.ladder`."""
    found = {name: estimate(value) for name, value in steps.items() if name != "vanilla base"}
    baseline = found.pop(BASELINE, None)
    seeds = min(value["seeds"] for value in steps.values())
    return plots.ladder(found, baseline, f"Unseen operands: mean of {seeds} seeds with its 95% interval")


def token_efficiency(summary: Mapping):
    """Accuracy against training tokens, with intervals over seeds: vanilla's curve, FG-WSD's point, and a
    level line from it to where vanilla reaches as much. FG-WSD's point is drawn a little to the left, that
    intervals do not hide each other. `summary`: of nbkit.cli.study.token_efficiency."""
    fig, axis = plt.subplots(figsize=(8, 4.2))
    fg, vanilla, match = summary["fg"], summary["vanilla"], summary["tokens_to_match"]
    for rows, label, colour, form, shift in (
        (vanilla, "vanilla WSD", COLOURS[1], "s--", 1.0),
        ([fg], "FG-WSD", COLOURS[0], "D", 0.98),
    ):
        # A curve or a point with its interval, and the seeds as dots beside it.
        x = shift * np.array([row["tokens"] for row in rows]) / 1e6
        mean, low, high = (100 * np.array([r["accuracy"][n] for r in rows]) for n in ("mean", "low", "high"))
        span = [mean - low, high - mean]
        axis.errorbar(x, mean, span, fmt=form, color=colour, label=label, capsize=4, lw=1.8, ms=7)
        for at, row in zip(x, rows, strict=True):
            seeds = 100 * np.array([*row["accuracy"]["per_seed"].values()])
            beside = np.full(len(seeds), at * (1.012 if shift == 1.0 else 0.988))
            axis.plot(beside, seeds, "o", color=colour, alpha=0.45, ms=4.5, mew=0)
    # From FG-WSD's level to where vanilla reaches it: a circle where that was measured, an arrow where not.
    level, bound = 100 * fg["accuracy"]["mean"], match["match"]
    ends = [0.98 * fg["tokens"] / 1e6, bound["tokens"] / 1e6]
    if bound["relation"] != "fewer than":
        axis.plot(ends, [level, level], color=COLOURS[0], ls=":", lw=1.8)
        marker = "o" if bound["relation"] == "about" else ">"
        axis.plot(ends[1:], [level], marker, mfc="white", mec=COLOURS[0], mew=1.8, ms=8, zorder=4)
    says = f"vanilla matches FG-WSD with {match['words']} the tokens"
    axis.set_title(says, fontsize=10, loc="left")
    axis.set_xscale("log")
    # Ticks at the numbers that were trained, which a logarithmic axis would not choose.
    ticks = sorted({row["tokens"] / 1e6 for row in [fg, *vanilla]})
    axis.set_xticks(ticks, [f"{tick:.3g}" for tick in ticks])
    axis.minorticks_off()
    axis.set(xlabel="training tokens (millions, logarithmic)", ylabel="questions answered (%)")
    fig.legend(loc="outside lower center", ncols=2)
    return fig
