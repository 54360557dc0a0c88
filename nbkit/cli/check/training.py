"""What can be computed anew of 01 to 06, from what they keep besides metrics.json. Used by verify_command.py.

01 keeps the fate of every document, 02 the loss of every step, 03 the marks of its study of data size, 04 its
refined solutions and chains, 05 the marks of every arm, 06 the rewards of every step. The marks behind the
other accuracies of 02, 03, 04 and 06 are not kept: 07 asks the same checkpoints again, and logs its own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from nbkit.cli.check.places import Place, Stage
from nbkit.cli.check.records import Derived, difference, graded, groups, marks, read_log, rebuilt, scores
from nbkit.evals.score import avg_at_k, estimate, paired_difference
from nbkit.refine.reconstruct import Reconstruction

Found = tuple[list[Derived], list[str]]


def data_mix(stage: Stage, _: Place) -> Found:
    """01: the tokens left after each filter, from documents.parquet."""
    import pandas as pd  # noqa: PLC0415 (slow, and only this stage needs it)

    fate = pd.read_parquet(stage.folder / "documents.parquet", columns=["decision", "tokens"])
    tokens = fate.groupby("decision")["tokens"].sum()
    clean = int(fate.loc[fate["decision"] != "removed", "tokens"].sum())
    high = int(tokens.get("hq", 0))
    upper = int(tokens.get("mq", 0)) + high
    # Rows 2 to 4 of the waterfall; the tokens of what was removed are not in the table.
    left = {"2": {"tokens": clean}, "3": {"tokens": upper, "of_previous": upper / clean}}
    left["4"] = {"tokens": high, "of_previous": high / upper}
    source = f"the {len(fate)} rows of documents.parquet"
    return [Derived(("waterfall", row), value, source, ()) for row, value in left.items()], []


def pretrain(stage: Stage, _: Place) -> Found:
    """02: the tokens that each arm of the curve read, from its log of losses."""
    multiples = stage.manifest["params"].get("vanilla_multiples", [])
    arms = ["student_fg", "student_vanilla", *(f"vanilla_{times:g}x" for times in multiples)]
    found = []
    for number, name in enumerate(arms):
        rows = read_log(stage.folder / "logs" / f"loss_{name}.jsonl")
        value = {"tokens": rows[-1]["tokens"]}
        found.append(Derived(("curve", str(number)), value, f"loss_{name}.jsonl, {len(rows)} rows", ()))
    return found, []


def cold_start(stage: Stage, _: Place) -> Found:
    """03: accuracy over the amount of data, from the marks of every size and repeat."""
    values = stage.manifest["params"]
    sizes, repeats = values["curve"], range(values["repeats"])
    if not sizes:
        return [], []
    few, most = sizes[0], sizes[-1]

    def right(size: int, again: bool = False) -> np.ma.MaskedArray:
        ending = "_again" if again and most != few else ""
        names = [f"curve_{size}_repeat_{repeat}{ending}" for repeat in repeats]
        return np.ma.hstack(
            [np.ma.masked_invalid(np.load(stage.folder / name / "correct.npy")) for name in names]
        )

    right_QR = {str(size): right(size) for size in sizes} | {"again": right(few, again=True)}
    source = f"{len(right_QR['again'])} questions x {len(repeats)} repeats"
    slopes_R = np.polyfit(np.log2(sizes), [right_QR[str(size)].mean(0) for size in sizes], 1)[0]
    gain = paired_difference(right_QR[str(most)], right_QR[str(few)])
    at_equal_steps = paired_difference(right_QR[str(most)], right_QR["again"])
    curve = {name: avg_at_k(own).dict() | {"repeats": own.mean(0).tolist()} for name, own in right_QR.items()}
    made = {"curve": curve, "scaling_gain": gain.dict(), "scaling_gain_equal_steps": at_equal_steps.dict()}
    made["slope_per_doubling"] = estimate(slopes_R, (-1.0, 1.0)).dict()
    return [Derived((name,), value, source) for name, value in made.items()], []


def overall_sft(stage: Stage, _: Place) -> Found:
    """04: how many solutions were refined, how many chains were kept, and why the others were not."""
    refined = read_log(stage.folder / "logs/refined.jsonl")
    chains = read_log(stage.folder / "logs/reconstructed.jsonl")
    built = [Reconstruction(**row) for row in chains]
    reasons = Counter("kept" if one.kept else one.reason for one in built)
    counted = {"usable": len(chains), "reasons": dict(reasons)}
    return [
        Derived(("tokens",), {"instructions": len(refined)}, f"refined.jsonl, {len(refined)} rows", ()),
        Derived(("chains",), counted, f"reconstructed.jsonl, {len(chains)} rows", ()),
    ], []


def dpd(stage: Stage, _: Place) -> Found:
    """05: scores of every arm, its differences, and the loss terms at the end."""
    rows, values, stored = (
        read_log(stage.folder / "logs/answers.jsonl"),
        stage.manifest["params"],
        stage.metrics,
    )
    right = {name: marks([[row[name]] for row in rows]) for name in stored["results"]}
    about, why = rebuilt(rows, values["task_sets"], values["eval_questions"])
    source = f"{len(rows)} questions"
    found = [Derived(("results", name), scores(own, about), source) for name, own in right.items()]
    # The differences in the order of the notebook; those whose arms were not trained are not there.
    everything = range(len(rows))
    known = set(right) - _static(stored)
    for name, (after, before) in DIFFERENCES.items():
        if {after, before} <= known:
            found.append(Derived((name,), difference(right[after], right[before], everything), source))
    found += [
        Derived(("by_teacher", word), value, source) for word, value in _by_teacher(right, stored).items()
    ]
    found += [Derived(("sensitivity", *path), value, source) for path, value in _sensitivity(right, values)]
    for kind in ("domain", "level") if about else ():
        by = {
            name: difference(right["dpd"], right["sft_continued"], own)
            for name, own in sorted(groups(about, kind).items())
        }
        found.append(Derived(("against_sft_by", kind), by, source))
    found += [_ends(stage, name, terms) for name, terms in stored["ends"].items()]
    return found, [f"by_domain, against_sft_by: {why}"] if why else []


def _static(stored: Mapping) -> set[str]:
    """The on-policy arms in which no negative was ever fresh: the static arm again, not compared by 05."""
    notes = stored.get("fresh", {})
    return {name for name, passes in notes.items() if not any(row["fresh"] for row in passes)}


DIFFERENCES = {
    "change": ("dpd", "sft"),
    "against_sft": ("dpd", "sft_continued"),
    "sft_change": ("sft_continued", "sft"),
    "against_dpo": ("dpd", "dpo"),
    "against_kl_both": ("dpd", "kl_both"),
    "negatives": ("kl_both", "kl_positive"),
    "kl_against_sft": ("kl_positive", "sft_continued"),
    "negatives_in_dpd": ("dpd", "w_neg=0"),
    "on_policy": ("on_policy", "dpd"),
    "on_policy_against_sft": ("on_policy", "sft_continued"),
    "kl_on_policy": ("kl_on_policy", "kl_both"),
    "against_skewed": ("dpd", "skewed"),
    "against_dckd": ("dpd", "dckd"),
}


def _by_teacher(right: Mapping[str, np.ma.MaskedArray], stored: Mapping) -> dict[str, dict[str, Any]]:
    """Each method minus SFT continued, on the questions that the teacher answers right, and wrong."""
    found: dict[str, dict[str, Any]] = {}
    for word, wanted in (("teacher right", True), ("teacher wrong", False)):
        chosen = [i for i in graded(right["teacher"]) if bool(right["teacher"][i, 0]) == wanted]
        names = stored.get("by_teacher", {}).get(word, {})
        found[word] = {
            name: difference(right[name], right["sft_continued"], chosen) for name in names if chosen
        }
    return found


def _sensitivity(right: Mapping[str, np.ma.MaskedArray], values: Mapping) -> list[tuple[tuple, dict]]:
    """DPD minus SFT continued at every value of w_neg and beta that was tried, the chosen one with them."""
    found, everything = [], range(len(right["dpd"]))
    for parameter in ("w_neg", "beta"):
        tried = {name.partition("=")[2]: name for name in right if name.startswith(f"{parameter}=")}
        if tried:
            tried |= {f"{values[parameter]:g}": "dpd"}
        for value, name in tried.items():
            made = difference(right[name], right["sft_continued"], everything)
            found.append(((parameter, value), made))
    return found


def _ends(stage: Stage, name: str, terms: Mapping) -> Derived:
    """The mean of each loss term over the last five logged steps of an arm."""
    last = read_log(stage.folder / "logs" / f"loss_{name}.jsonl")[-5:]
    value = {term: sum(row[f"dpd/{term}"] for row in last) / len(last) for term in terms}
    return Derived(("ends", name), value, f"the last {len(last)} rows of loss_{name}.jsonl", ())


def rl(stage: Stage, _: Place) -> Found:
    """06: the reward of the first and the last step of each RL stage, and which stages were skipped."""
    found, skipped = [], []
    for name in ("stem", "code", "preference"):
        rows = read_log(stage.folder / "logs" / f"rl_{name}.jsonl")
        skipped += [] if rows else [name]
        if counted := [row for row in rows if row.get("graded", 1)]:
            ends = {"first": counted[0]["reward"], "last": counted[-1]["reward"]}
            found.append(Derived(("rewards", name), ends, f"rl_{name}.jsonl, {len(rows)} rows", ()))
    return [*found, Derived(("skipped",), skipped, "the logs that are empty", ())], []


DERIVE: dict[str, Callable[[Stage, Place], Found]] = {
    "01_data_mix": data_mix,
    "02_pretrain": pretrain,
    "03_sft_cold_start": cold_start,
    "04_sft_overall": overall_sft,
    "05_dpd": dpd,
    "06_rl": rl,
}
