"""The picture of a plan: learning rate and data mixture over tokens. Used by 01 and 02."""

from collections.abc import Sequence

import numpy as np
from matplotlib import pyplot as plt

from nbkit.evals.plots import COLOURS
from nbkit.pretrain.plan import Stage, learning_rate


def plan_figure(plan: Sequence[Stage], rate_label: str = "learning rate"):
    """Learning rate and data mixture over tokens on one axis: the two halves of FG-WSD. `rate_label`: the
    quantity and the unit of the right axis."""
    fig, axis = plt.subplots(figsize=(8, 3.6))
    pools = sorted({name for stage in plan for name in stage.tokens})
    # In millions of tokens; bars of the width of their stage, so that area is tokens.
    edges = np.cumsum([0, *(stage.total for stage in plan)]) / 1e6
    bottom = np.zeros(len(plan))
    for i, pool in enumerate(pools):
        shares = np.array([stage.tokens.get(pool, 0) / stage.total for stage in plan])
        axis.bar(
            edges[:-1],
            shares,
            np.diff(edges),
            bottom,
            align="edge",
            color=COLOURS[i],
            alpha=0.45,
            edgecolor="white",
            label=pool,
        )
        bottom += shares
    # Names of stages narrower than a twentieth would overlap (the warmup's mostly).
    for stage, left, right in zip(plan, edges[:-1], edges[1:], strict=True):
        if right - left > 0.05 * edges[-1]:
            middle, above = (left + right) / 2, axis.get_xaxis_transform()
            axis.text(middle, 1.02, stage.name.replace("_", " "), ha="center", va="bottom", transform=above)
    axis.set(
        xlabel="training tokens (millions)", ylabel="share of the batch", ylim=(0, 1), xlim=(0, edges[-1])
    )
    axis.grid(False)
    # The learning rate on an axis of its own, over the same tokens.
    rate = axis.twinx()
    at = np.linspace(0, edges[-1], 600)
    rate.plot(at, [learning_rate(x * 1e6, plan) for x in at], color="black", lw=2, label="learning rate")
    rate.set(ylabel=rate_label, ylim=(0, 1.06 * max(stage.lr_to for stage in plan)))
    rate.grid(False)
    # One legend for both axes.
    handles = axis.get_legend_handles_labels()[0] + rate.get_legend_handles_labels()[0]
    labels = axis.get_legend_handles_labels()[1] + rate.get_legend_handles_labels()[1]
    fig.legend(handles, labels, loc="outside lower center", ncols=4)
    return fig
