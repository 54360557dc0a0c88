"""How many tokens of vanilla WSD match FG-WSD: the curve that notebook 02 records. Used by `nbkit claims`.

Vanilla WSD is trained with 1x, 1.5x, 2x ... the tokens of FG-WSD, each a schedule of its own. Between its
mean accuracies over seeds we interpolate linearly in the logarithm of tokens. Shape legend: S seeds, T token
counts of vanilla, ascending.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from nbkit.evals.score import estimate

PATH = "02_pretrain.curve"  # a list of {"arm": "fg" | "vanilla", "tokens", "accuracy": estimate, "loss"}


def summarise(curves: Mapping[int, Sequence[Mapping[str, Any]]]) -> dict[str, Any]:
    """seed -> curve, as {"fg": point, "vanilla": [point per token count], "tokens_to_match": ...}; a point
    has tokens, and accuracy and loss over seeds. Raises ValueError when seeds trained on unlike tokens."""
    grids = {seed: sorted((p["arm"], p["tokens"]) for p in curve) for seed, curve in curves.items()}
    first, wanted = next(iter(grids.items()))
    if odd := [seed for seed, grid in grids.items() if grid != wanted]:
        raise ValueError(
            f"{PATH}: got {wanted} in seed {first} and {grids[odd[0]]} in seed {odd[0]}, "
            "wanted the same arms and tokens"
        )
    if [arm for arm, _ in wanted].count("fg") != 1 or wanted[-1][0] != "vanilla":
        raise ValueError(f"{PATH}: got {wanted}, wanted one arm 'fg' and one 'vanilla' or more")
    fg, *vanilla = (_point(curves, arm, tokens) for arm, tokens in wanted)
    seeds = list(fg["accuracy"]["per_seed"])
    of_vanilla = [[v["accuracy"]["per_seed"][s] for v in vanilla] for s in seeds]
    of_fg = [fg["accuracy"]["per_seed"][s] for s in seeds]
    match = tokens_to_match(
        [v["tokens"] for v in vanilla], np.array(of_vanilla), np.array(of_fg), fg["tokens"]
    )
    return {"fg": fg, "vanilla": vanilla, "tokens_to_match": match}


def _point(curves: Mapping[int, Sequence[Mapping[str, Any]]], arm: str, tokens: int) -> dict[str, Any]:
    found = {
        seed: next(p for p in curve if (p["arm"], p["tokens"]) == (arm, tokens))
        for seed, curve in curves.items()
    }
    accuracy = {str(seed): float(p["accuracy"]["mean"]) for seed, p in found.items()}
    loss = {str(seed): float(p["loss"]) for seed, p in found.items()}
    return {
        "arm": arm,
        "tokens": tokens,
        "accuracy": estimate([*accuracy.values()], (0.0, 1.0)).dict() | {"per_seed": accuracy},
        "loss": estimate([*loss.values()]).dict() | {"per_seed": loss},
    }


def tokens_to_match(
    tokens_T: Sequence[int],
    vanilla_ST: np.ndarray,
    fg_S: np.ndarray,
    fg_tokens: int,
    rounds: int = 10_000,
) -> dict[str, Any]:
    """Where the mean of vanilla first reaches the mean of FG-WSD, with a 95% interval from resampling seeds.

    {"match": bound, "low": bound, "high": bound, "words": "about 1.30x [1.20x, 1.42x]"}; a bound is
    {"relation": "about" | "more than" | "fewer than", "tokens", "times"}: more than the largest count tried,
    fewer than the smallest. `times`: of the tokens FG-WSD had. With five seeds the percentile interval is
    somewhat too narrow.
    """
    draw = np.random.default_rng(0).integers(len(fg_S), size=(rounds, len(fg_S)))
    drawn = [_crossing(tokens_T, vanilla_ST[rows].mean(0), fg_S[rows].mean()) for rows in draw]
    # Not an interpolating quantile: infinity stands for "not reached", and is no number to average.
    low, high = np.quantile(drawn, (0.025, 0.975), method="inverted_cdf")
    match = _crossing(tokens_T, vanilla_ST.mean(0), fg_S.mean())
    bounds = {
        name: _bound(tokens, tokens_T, fg_tokens)
        for name, tokens in {"match": match, "low": low, "high": high}.items()
    }
    match, low, high = (_words(bound) for bound in bounds.values())
    says = f"{match} [{low}, {high}]".replace("[about ", "[").replace(", about ", ", ")
    return bounds | {"seeds": len(fg_S), "words": says}


def _crossing(tokens_T: Sequence[int], vanilla_T: np.ndarray, fg: float) -> float:
    """Tokens at which vanilla first reaches `fg`; infinity: never, minus infinity: above from the start."""
    if vanilla_T[0] > fg:
        return -np.inf
    reached = np.flatnonzero(vanilla_T >= fg)
    if not len(reached):
        return np.inf
    if (after := int(reached[0])) == 0:
        return float(tokens_T[0])
    before = slice(after - 1, after + 1)
    return float(np.exp(np.interp(fg, vanilla_T[before], np.log(tokens_T[before]))))


def _bound(tokens: float, tokens_T: Sequence[int], fg_tokens: int) -> dict[str, Any]:
    relation = "about" if np.isfinite(tokens) else "more than" if tokens > 0 else "fewer than"
    inside = round(float(np.clip(tokens, tokens_T[0], tokens_T[-1])))
    return {"relation": relation, "tokens": inside, "times": inside / fg_tokens}


def _words(bound: Mapping[str, Any]) -> str:
    return f"{bound['relation']} {bound['times']:.2f}x"
