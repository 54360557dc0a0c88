"""Figures of the notebooks: colour-blind safe (Okabe-Ito), readable at the width of a page. Used by 01-07.

Every function returns a matplotlib figure; `run.figure(fig, name)` saves it.
"""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from sklearn.metrics import average_precision_score, precision_recall_curve

from nbkit.evals.score import Estimate

COLOURS = ["#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9", "#000000", "#888888"]
STYLES = ["-", "--", "-.", ":"]
plt.rcParams.update(
    {
        "axes.prop_cycle": plt.cycler(color=COLOURS),
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "grid.alpha": 0.25,
        "font.size": 11,
        "legend.frameon": False,
        "figure.constrained_layout.use": True,
    }
)


def histograms(
    groups: Mapping[str, Sequence[float]],
    xlabel: str,
    thresholds: Mapping[str, float] | None = None,
    bins: int = 40,
):
    """One distribution per group on a common scale, thresholds as labelled lines."""
    fig, axis = plt.subplots(figsize=(8, 3.6))
    # Common bin edges, or heights could not be compared.
    values = np.concatenate([np.asarray(v, float) for v in groups.values()])
    edges = np.linspace(values.min(), values.max() + 1e-9, bins + 1)
    for i, (name, group) in enumerate(groups.items()):
        axis.hist(
            group,
            edges,
            histtype="step",
            lw=1.8,
            ls=STYLES[i % 4],
            color=COLOURS[i % 8],
            label=f"{name} ({len(group)})",
        )
    # Thresholds as lines with their names above the axes.
    for i, (name, x) in enumerate((thresholds or {}).items()):
        axis.axvline(x, color="black", lw=1)
        height = 1.02 + 0.07 * i  # thresholds may lie close together
        axis.text(x, height, name, va="bottom", ha="center", transform=axis.get_xaxis_transform())
    axis.set(xlabel=xlabel, ylabel="documents")
    fig.legend(loc="outside right center", fontsize=9)
    return fig


def precision_recall(curves: Mapping[str, tuple[np.ndarray, np.ndarray]], wanted: str):
    """name -> (is wanted, score), each (D,): precision against recall as the score's threshold falls."""
    fig, axis = plt.subplots(figsize=(6.5, 4.2))
    for name, (is_wanted_D, score_D) in curves.items():
        # Precision and recall over all thresholds at once; the area sums it up in one number.
        precision, recall, _ = precision_recall_curve(is_wanted_D, score_D)
        area = average_precision_score(is_wanted_D, score_D)
        axis.plot(recall, precision, label=f"{name} (average precision {area:.2f})")
    # Keeping all has this precision: a score is worth what it adds to it.
    axis.axhline(np.mean(is_wanted_D), color="grey", ls=":", label="without a filter")
    axis.set(
        xlabel=f"share of {wanted} kept (recall)",
        ylabel="share of them in what is kept (precision)",
        ylim=(0, 1.02),
    )
    axis.legend()
    return fig


def curves(
    series: Mapping[str, tuple[Sequence[float], Sequence[float]]],
    xlabel: str,
    ylabel: str,
    smooth: int = 1,
    log_y: bool = False,
):
    """Lines (x, y) by name; `smooth` is the width of a moving mean, the raw line stays behind it."""
    fig, axis = plt.subplots(figsize=(8, 3.6))
    for i, (name, (x, y)) in enumerate(series.items()):
        x, y = np.asarray(x, float), np.asarray(y, float)
        width = min(smooth, len(y))
        if width > 1:
            # The raw line stays visible: a moving mean alone hides how noisy the values are.
            axis.plot(x, y, color=COLOURS[i % 8], alpha=0.2, lw=1)
            y = np.convolve(y, np.ones(width) / width, "valid")
            # A mean over the last `width` values: it stands at the newest of them.
            x = x[width - 1 :]
        axis.plot(x, y, color=COLOURS[i % 8], ls=STYLES[i % 4], lw=2, label=name)
    axis.set(xlabel=xlabel, ylabel=ylabel)
    if log_y:
        # Base 2, with plain numbers at the ticks instead of powers.
        axis.set_yscale("log", base=2)
        axis.yaxis.set_major_formatter("{x:g}")
    axis.legend(fontsize=9)
    return fig


def bars(estimates: Mapping[str, Estimate], ylabel: str, reference: str | None = None):
    """Means with 95% intervals and their values written beside; `reference` draws a line at that bar."""
    fig, axis = plt.subplots(figsize=(8, 0.5 * len(estimates) + 1.4))
    # Horizontal bars are drawn from the bottom: reversed, the first stands on top.
    names = list(estimates)[::-1]
    means = np.array([estimates[n].mean for n in names])
    spans = np.abs(
        np.array(
            [
                [estimates[n].mean - estimates[n].low for n in names],
                [estimates[n].high - estimates[n].mean for n in names],
            ]
        )
    )
    # The reference in another colour, with its line.
    colours = [COLOURS[4] if n == reference else COLOURS[0] for n in names]
    axis.barh(names, means, color=colours, alpha=0.75)
    axis.errorbar(means, names, xerr=spans, fmt="none", color="black", capsize=3, lw=1.2)
    for i, name in enumerate(names):
        axis.text(estimates[name].high, i, f"  {100 * means[i]:.0f}%", va="center", fontsize=10)
    if reference in estimates:
        axis.axvline(estimates[reference].mean, color=COLOURS[4], ls="--", lw=1.2)
    axis.set(xlabel=ylabel, xlim=(0, min(1.08, max(e.high for e in estimates.values()) * 1.15 + 0.02)))
    axis.grid(axis="y", visible=False)
    return fig


def grouped_bars(groups: Mapping[str, Mapping[str, Estimate]], ylabel: str):
    """Several models (outer keys) over several categories (inner keys, in the order of their first use), with
    95% intervals."""
    categories = list(dict.fromkeys(c for group in groups.values() for c in group))
    fig, axis = plt.subplots(figsize=(8, 3.8))
    # Groups of bars around each category's middle, together 0.8 wide.
    width = 0.8 / len(groups)
    for i, (name, group) in enumerate(groups.items()):
        x = np.arange(len(categories)) + (i - (len(groups) - 1) / 2) * width
        means = np.array([group[c].mean if c in group else np.nan for c in categories])
        low = np.array([group[c].low if c in group else np.nan for c in categories])
        high = np.array([group[c].high if c in group else np.nan for c in categories])
        axis.bar(x, means, width * 0.92, color=COLOURS[i % 8], alpha=0.8, label=name)
        axis.errorbar(
            x, means, np.abs([means - low, high - means]), fmt="none", color="black", capsize=2, lw=1
        )
    axis.set_xticks(range(len(categories)), categories)
    axis.set(ylabel=ylabel, ylim=(0, 1.02))
    axis.grid(axis="x", visible=False)
    fig.legend(loc="outside lower center", ncols=min(4, len(groups)), fontsize=9)
    return fig


def pass_rates(rates: Mapping[str, Sequence[float]], low: float, high: float, k: int = 16):
    """Histogram of avg@k per question with the band of questions that RL keeps."""
    fig, axis = plt.subplots(figsize=(8, 3.4))
    # avg@k has k + 1 values: one bin around each.
    edges = np.linspace(-0.5 / k, 1 + 0.5 / k, k + 2)
    axis.axvspan(low, high, color=COLOURS[2], alpha=0.12, label=f"kept: {low:.0%} < avg@{k} < {high:.0%}")
    for i, (name, values) in enumerate(rates.items()):
        axis.hist(
            values,
            edges,
            histtype="step",
            lw=2,
            ls=STYLES[i % 4],
            color=COLOURS[i % 8],
            label=f"{name} ({len(values)})",
        )
    axis.set(xlabel=f"avg@{k} of a question under the current policy", ylabel="questions")
    axis.legend(fontsize=9)
    return fig


def token_heat(panels: Mapping[str, Sequence[tuple[str, float, str, bool]]], label: str, per_row: int = 10):
    """Responses as grids of tokens, each cell coloured by a value, one panel per response on one scale; the
    darkest cells are where the value is large. `panels`: title -> (token, value, a note below it or "",
    whether to frame it)."""
    heights = [-(-len(cells) // per_row) for cells in panels.values()]
    fig, axes = plt.subplots(
        len(panels),
        figsize=(9, 0.52 * sum(heights) + 0.5 * len(panels) + 0.9),
        height_ratios=heights,
        squeeze=False,
    )
    # One colour scale over all panels.
    high = max(cell[1] for cells in panels.values() for cell in cells)
    for axis, rows, (title, cells) in zip(axes[:, 0], heights, panels.items(), strict=True):
        # The last row may be short: its missing cells stay blank.
        grid = np.full((rows, per_row), np.nan)
        grid.flat[: len(cells)] = [cell[1] for cell in cells]
        image = axis.imshow(grid, cmap="cividis_r", aspect="auto", vmin=0, vmax=high)
        for i, (token, value, note, framed) in enumerate(cells):
            # Text must stay readable on its cell: white on dark ones.
            x, y, shade = i % per_row, i // per_row, "white" if value > 0.55 * high else "black"
            style = dict(ha="center", va="center", color=shade)
            axis.text(x, y - (0.17 if note else 0), _shown(token), fontsize=9, **style)
            axis.text(x, y + 0.25, _shown(note, " "), fontsize=7, **style)
            if framed:
                box = plt.Rectangle((x - 0.46, y - 0.43), 0.92, 0.86, fill=False, ec=COLOURS[4], lw=2.5)
                axis.add_patch(box)
        axis.set(xticks=[], yticks=[])
        axis.set_title(title, fontsize=10, loc="left")
        axis.grid(False)
    fig.colorbar(image, ax=axes, label=label, orientation="horizontal", aspect=60)
    return fig


def _shown(token: str, space: str = "·") -> str:
    """A token as text that is safe in a figure: spaces and breaks made visible, no TeX."""
    return token.replace("\n", "\\n").replace("$", r"\$").replace(" ", space)


def sensitivity(parameters: Mapping[str, Mapping[float, Estimate]], chosen: Mapping[str, float], effect: str):
    """A difference against each parameter (a panel each) with 95% intervals, and a line at zero. Values stand
    evenly, in order; the `chosen` one is a diamond."""
    fig, axes = plt.subplots(1, len(parameters), figsize=(8, 3.4), sharey=True, squeeze=False)
    for axis, (name, values) in zip(axes[0], parameters.items(), strict=True):
        axis.axhline(0, color="black", lw=1)
        for x, (value, e) in enumerate(sorted(values.items())):
            # Differences in percentage points, as the axis says.
            mean, span = 100 * e.mean, [[100 * (e.mean - e.low)], [100 * (e.high - e.mean)]]
            own = value == chosen[name]
            style = dict(fmt="D" if own else "s", color=COLOURS[4] if own else COLOURS[0])
            axis.errorbar(x, mean, span, **style, capsize=4, lw=1.8, ms=8)
        axis.set_xticks(range(len(values)), [f"{value:g}" for value in sorted(values)])
        axis.set(xlabel=name, xlim=(-0.4, len(values) - 0.6))
    axes[0, 0].set_ylabel(f"{effect}\n(percentage points)")
    return fig


def scaling(
    points: Mapping[int, tuple[Estimate, Sequence[float]]],
    control: tuple[Estimate, Sequence[float]],
    before: float,
    title: str,
):
    """Accuracy against the number of conversations (logarithmic). `points`: size -> (mean over repeats with
    its interval, one value per repeat: the dots). `control`: the same for the smallest set, read for as many
    steps as the largest; it stands beside the largest, from which it differs in the data only. `before`: the
    accuracy that the training started from, a line."""
    fig, axis = plt.subplots(figsize=(8, 4.2))
    few, most = min(points), max(points)
    # Two arms: sizes at the same epochs, and the smallest at the steps of the largest.
    arms = (
        (points, 1.0, COLOURS[0], "s-", "the same epochs"),
        ({most: control}, 1.06, COLOURS[3], "D", f"{few:,} conversations, as many steps as {most:,}"),
    )
    for arm, shift, colour, marker, label in arms:
        # Mean with its interval, and beside it one dot per repeat.
        x = shift * np.array([*arm])
        mean, low, high = (
            100 * np.array([getattr(e, n) for e, _ in arm.values()]) for n in ("mean", "low", "high")
        )
        span = [mean - low, high - mean]
        axis.errorbar(x, mean, span, fmt=marker, color=colour, label=label, capsize=4, lw=1.8, ms=7)
        for at, (_, repeats) in zip(x, arm.values(), strict=True):
            beside = np.full(len(repeats), 0.97 * at)
            axis.plot(beside, 100 * np.array(repeats), "o", color=colour, alpha=0.5, ms=4.5, mew=0)
    # Where training started.
    axis.axhline(100 * before, color=COLOURS[7], ls=":", lw=1.8, label="before, in its own form")
    axis.set_xscale("log", base=2)
    axis.set_xticks([*points], [f"{size:,}" for size in points])
    axis.minorticks_off()
    axis.set(xlabel="conversations (logarithmic)", ylabel="questions answered (%)")
    axis.set_title(title, fontsize=10, loc="left")
    fig.legend(loc="outside lower center", ncols=3, fontsize=10)
    return fig


def ladder(steps: Mapping[str, Estimate], baseline: Estimate | None, title: str):
    """Accuracy of the checkpoints in order of training, with their 95% intervals; a larger baseline as a line
    with the band of its interval."""
    fig, axis = plt.subplots(figsize=(8, 3.8))
    # the baseline first, behind the ladder
    if baseline:
        axis.axhspan(100 * baseline.low, 100 * baseline.high, color=COLOURS[4], alpha=0.12, lw=0)
        label = "baseline of 10x the size, cold-start SFT"
        axis.axhline(100 * baseline.mean, color=COLOURS[4], lw=1.5, ls="--", label=label)
    heights = [100 * step.mean for step in steps.values()]
    reach = [
        [100 * (s.mean - s.low) for s in steps.values()],
        [100 * (s.high - s.mean) for s in steps.values()],
    ]
    axis.errorbar(range(len(steps)), heights, reach, fmt="o-", capsize=4, color=COLOURS[0], label="student")
    for place, step in enumerate(steps.values()):
        where = (place, 100 * step.high)
        axis.annotate(f"{100 * step.mean:.0f}", where, (0, 4), textcoords="offset points", ha="center")
    axis.set_xticks(range(len(steps)), [name.replace(" ", "\n", 1).replace(" (", "\n(") for name in steps])
    axis.set(ylabel="correct, %", ylim=(0, 105), title=title)
    axis.grid(axis="x", visible=False)
    axis.legend(loc="upper left")
    return fig
