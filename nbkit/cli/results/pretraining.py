"""The section of the results page about pre-training: FG-WSD, long context, kills, speed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nbkit.cli.results import claims_table
from nbkit.cli.results.reference import Reference
from nbkit.cli.results.text import EARLIER, p_value, per_seed, percent, points, table

_CONDITIONS = {
    "planted 10/65, short": "planted, 10% / 65%, four fifths of the lower pool bad; short rows",
    "planted 10/65, long": "the same; decay on rows of four times the length",
    "planted 28/26, short": "planted, 28% / 26%; short rows",
    "filter, short": "the filter's own pools, 28% / 26%; short rows",
}


def pretraining(reference: Reference) -> str:
    """FG-WSD against vanilla WSD, long context, kills, speed."""
    study = reference.read("claims/claims.json")
    # The two claims over seeds, and what FG-WSD saves in tokens.
    chosen = [row for row in study["claims"] if row["id"] in ("fg-wsd-base", "fg-wsd-sft")]
    rows = [[r["claim"], points(r), p_value(r["p_t"]), r["n"], per_seed(r)] for r in chosen]
    efficiency = study["token_efficiency"]["tokens_to_match"]["words"]
    # The map: the same comparison where clean text is scarce, and where it is not.
    scarce = reference.read("claims/fg_map.json")
    where = []
    # Conditions differ in pools and row length alone; seeds are paired in each.
    for name, words in _CONDITIONS.items():
        found = claims_table.condition(scarce, name)
        where.append([words, points(found), p_value(found["p_t"]), found["seeds"], per_seed(found)])
    fresh = claims_table.condition(scarce, "planted 10/65, short", seeds=(3, 4, 5))
    return "\n\n".join(
        [
            _today(reference),
            EARLIER,
            table(["six paired seeds", "points", "p", "questions", "by seed"], rows),
            f"Tokens that vanilla WSD needs to match FG-WSD: {efficiency}.",
            "Where the order pays, 1,200 fresh questions of the training split, 3M tokens "
            "(upper and lower pool in percent of all tokens):",
            table(["pools", "points", "p", "seeds", "by seed"], where),
            f"Of the first row, the three seeds that no pilot had seen: {points(fresh)}, p = "
            f"{p_value(fresh['p_t'])}.",
            _long_context(reference.read("benchmarks/long_context.json")),
            _kills_and_speed(reference),
        ]
    )


def _today(reference: Reference) -> str:
    """FG-WSD minus vanilla on the filter's pools, on planted ones, and with a gentler decay."""
    found = reference.read(claims_table.FG_WSD)
    rows = {
        "FG-WSD minus vanilla, pools of the filter": "FG-WSD minus vanilla: filter, operands",
        "FG-WSD minus vanilla, planted pools": "FG-WSD minus vanilla: planted, operands",
        "FG-WSD, planted pools minus the filter's": "fg minus filter: planted, operands",
        "vanilla, planted pools minus the filter's": "vanilla minus filter: planted, operands",
        "training split: FG-WSD minus vanilla, pools of the filter": "FG-WSD minus vanilla: filter, train",
        "training split: the same, gentle decay": "FG-WSD minus vanilla: gentle, train",
        "training split: FG-WSD, gentle decay minus the usual": "fg minus filter: gentle, train",
        "training split: vanilla, gentle decay minus the usual": "vanilla minus filter: gentle, train",
    }
    cells = []
    for words, name in rows.items():
        sampled, greedy, loss = (found["effects"][f"{name}, {key}"] for key in ("avg@3", "accuracy", "loss"))
        interval = f"{loss['mean']:+.3f} [{loss['low']:+.3f}, {loss['high']:+.3f}]"
        cells.append([words, sampled["seeds"], points(sampled), per_seed(sampled), points(greedy), interval])
    about = (
        f"Today's world, 3.2M tokens, {found['questions']} questions with unseen operands or of the training "
        "split, in base form. Planted pools hold the same documents as the filter's, in the same sizes, "
        "sorted by the quality they were made with. The gentle decay ends at a third of the peak learning "
        "rate and takes the mean of the last five checkpoints (arXiv 2511.18903):"
    )
    heads = ["", "seeds", "avg@3, points", "by seed", "greedy, points", "loss on solutions"]
    return about + "\n\n" + table(heads, cells)


def _long_context(found: Mapping[str, Any]) -> str:
    names = {
        "decay": "long rows, ABF",
        "no ABF": "long rows, no ABF",
        "short": "short rows",
        "before": "before decay",
    }
    # Each arm at the length or distance where it finds most: what it can do at all.
    rows = []
    for arm, words in names.items():
        one = found["long_context"][arm]
        best = [max(item["found"]["mean"] for item in one[test]) for test in ("passkey", "look_up")]
        rows.append([words, *(f"{loss:.2f}" for loss in one["loss"]), *map(percent, best)])
    heads = [
        "decay on",
        "loss, first third",
        "second",
        "last",
        "pass keys, best length",
        "look-ups, best distance",
    ]
    return "Long context at `small`, one seed; loss by position in long documents, in nats:\n\n" + table(
        heads, rows
    )


def _kills_and_speed(reference: Reference) -> str:
    kill, speed = reference.read("benchmarks/kill.json"), reference.read("benchmarks/speed.json")["runs"]
    # Speed is shown run by run: three ratios have no spread worth a formula.
    ratios = ", ".join(f"{run['ratio']:.2f}x" for run in speed)
    peak = [run["mfu"] for run in speed]
    return (
        f"Killed {kill['kills']} times, {kill['inside_save']} of them inside a save: "
        f"{kill['runs_with_equal_weights']} of {kill['runs']} runs end with the weights of the "
        f"uninterrupted one, {kill['manual_steps']} manual steps, at most "
        f"{kill['most_steps_lost']} steps lost at a checkpoint every "
        f"{kill['save_every']}.\n\nTraining speed against `transformers.Trainer` with its "
        f"defaults, 5.1M parameters, bf16, compiled, in three runs: {ratios}; MFU "
        f"{percent(min(peak))} to {percent(max(peak))} of the measured matmul peak."
    )
