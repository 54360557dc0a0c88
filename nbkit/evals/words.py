"""Names of numbers in words: what the headline of a stage calls what metrics.json keeps under a short name.
Used by the notebooks' last cells, `nbkit run`, `nbkit verify` and the run report."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

WORDS = {
    # 01
    "auc_clean_vs_rest": "AUC, clean documents against the rest",
    "clean_share_of_hq": "clean share of the upper pool",
    # 02: its models
    "student_fg": "FG-WSD base",
    "student_vanilla": "vanilla base",
    "student_no_abf": "FG-WSD base, old rotary base",
    "student_short": "FG-WSD base, short rows",
    "baseline_10x": "10x base",
    "teacher": "teacher",
    # 03
    "scaling_gain": "largest set minus smallest",
    "scaling_gain_equal_steps": "largest set minus smallest, equal steps",
    "slope_per_doubling": "gain per doubling of the data",
    # 06: where RL starts
    "sft": "overall SFT",
    "sft_continued": "SFT continued",
    "dpd": "DPD",
    # 07
    "final_minus_baseline": "last minus 10x baseline, on what the baseline was tuned for",
    "pipeline_minus_baseline": "last minus 10x baseline, all domains",
}


def headline_name(name: str) -> str:
    """The name of a number as words; of one that is not known here, without its underscores."""
    return WORDS.get(name) or name.replace("_", " ")


def named(headline: Mapping[str, Any]) -> dict[str, Any]:
    """A headline with its names as words.

    >>> named({"pairs": 58, "student_fg": "2.5%"})
    {'pairs': 58, 'FG-WSD base': '2.5%'}
    """
    return {headline_name(name): value for name, value in headline.items()}
