"""Claims over seeds: the seed is the unit. Used by `nbkit claims`.

Each seed gives one value, a mean difference over its questions. The value over seeds is their mean, with a
95% t-interval and two p-values. The questions are the same in every seed: what is said holds for them.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from scipy import stats

from nbkit.cli.study.seeds import Study, outputs_at
from nbkit.evals import claims
from nbkit.evals.score import estimate
from nbkit.run import files, params, provenance

SAME = 1e-12  # values this close are equal
FLIPS = 2**16  # sign flips tried: all of them up to 16 seeds
BASELINE = "10x baseline + SFT"  # 07's name for it
COLUMNS = ("claim", "group", "name", "n", "seeds", "mean", "low", "high", "p_t", "p_sign_flip", "verdict")


def over_seeds(found: Mapping[int, Mapping[str, Any]]) -> dict[str, Any]:
    """seed -> estimate, as mean, low, high (95% t-interval over seeds), p_t (two-sided paired t-test),
    p_sign_flip (two-sided, exact: it cannot fall below 2 / 2^seeds), n (questions), seeds, per_seed.

    Equal values have no spread to judge by: low, high and both p are None then. Raises ValueError for fewer
    than two seeds.
    """
    x = np.array([one["mean"] for one in found.values()])
    if len(x) < 2:
        raise ValueError(f"seeds: got {len(x)}, wanted at least 2 for an interval over seeds")
    measured = {"mean": float(x.mean()), "low": None, "high": None, "p_t": None, "p_sign_flip": None}
    if np.ptp(x) > SAME:
        flipped = stats.permutation_test(
            (x,), np.mean, permutation_type="samples", vectorized=True, n_resamples=FLIPS, rng=0
        )
        measured |= estimate(x).dict()
        measured["p_t"] = float(stats.ttest_1samp(x, 0.0).pvalue)
        measured["p_sign_flip"] = float(flipped.pvalue)
    per_seed = {str(seed): float(one["mean"]) for seed, one in found.items()}
    n = min(one["n"] for one in found.values())
    return measured | {"n": n, "seeds": len(x), "per_seed": per_seed}


def claim_rows(
    metrics: Mapping[int, Mapping[str, Any]], shared: str | None, profile: str = ""
) -> list[dict[str, Any]]:
    """The ledger over seeds; `metrics`: seed -> stage -> metrics, of runs of `profile`. A row's `note` says
    why it has no interval over seeds although something was measured."""
    rows = []
    for claim in claims.claims():
        path = claim["metric"]
        found = {seed: claims.measured(one, claim) for seed, one in metrics.items()}
        # Four cases: measured nowhere, not everywhere, on shared data, in every seed.
        absent = [seed for seed, one in found.items() if one is None]
        some = next((one for one in found.values() if one is not None), None)
        note = ""
        if some is None:
            row = claims.row(claim, None, 0, profile)
        elif absent:
            note = f"{path} is missing in seed {', '.join(map(str, absent))}"
            row = claims.row(claim | {"why": note}, None, 0, profile)
        elif path.split(".")[0] == shared:
            note = "from the data that all seeds share: measured once, interval not over seeds"
            row = claims.row(claim, some, 1, profile)
        else:
            # Without any difference between seeds there is no interval over them.
            value = over_seeds(found)
            if value["p_t"] is not None:
                row = claims.row(claim, value, len(found), profile)
            else:
                note = "equal in every seed: counted once, interval not over seeds"
                row = claims.row(claim, some, 1, profile)
            row |= {name: value[name] for name in ("p_t", "p_sign_flip", "per_seed")}
        rows.append(row | {"metric": path} | ({"note": note} if note else {}))
    return rows


def breakdown(by_seed: Mapping[int, Mapping[str, Mapping]]) -> dict[str, dict[str, dict[str, Any]]]:
    """seed -> group -> name -> estimate, as group -> name -> `over_seeds`; only what every seed has."""
    first, *others = by_seed.values()
    return {
        group: {
            name: over_seeds({seed: parts[group][name] for seed, parts in by_seed.items()})
            for name in names
            if all(name in other.get(group, {}) for other in others)
        }
        for group, names in first.items()
    }


def breakdowns(metrics: Mapping[int, Mapping[str, Any]], shared: str | None) -> dict[str, dict[str, dict]]:
    """Claim id -> `breakdown`, of the claims that name one (`by`) and whose every seed has it."""
    found = {}
    for claim in claims.claims():
        path = claim.get("by", "")
        by_seed = {seed: claims.lookup(one, path) for seed, one in metrics.items()}
        if all(by_seed.values()) and path.split(".")[0] != shared:
            found[claim["id"]] = breakdown(by_seed)
    return found


def ladder(metrics: Mapping[int, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Checkpoint -> `over_seeds` of its accuracy on questions with unseen operands, in order of training.
    Only what 07 evaluated in every seed."""
    by_seed = {seed: one.get("07_eval", {}).get("results", {}) for seed, one in metrics.items()}
    first, *others = by_seed.values()
    found = {}
    for name in first:
        if all(name in other for other in others):
            own = {seed: results[name]["by_split"] for seed, results in by_seed.items()}
            if all("operands" in splits for splits in own.values()):
                found[name] = over_seeds({seed: splits["operands"] for seed, splits in own.items()})
    return found


def table(rows: Iterable[Mapping[str, Any]], parts: Mapping[str, Mapping[str, Mapping]]) -> str:
    """All of it as CSV: one line per claim and per part of it, with a column per seed."""
    lines = [dict(row, claim=row["id"], group="", name="") for row in rows if row["mean"] is not None]
    lines += [
        dict(value, claim=claim, group=group, name=name)
        for claim, groups in parts.items()
        for group, names in groups.items()
        for name, value in names.items()
    ]
    seeds = sorted({seed for line in lines for seed in line.get("per_seed", {})}, key=int)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*COLUMNS, *(f"seed_{seed}" for seed in seeds)])
    for line in lines:
        per_seed = line.get("per_seed", {})
        writer.writerow([*(line.get(name) for name in COLUMNS), *(per_seed.get(seed) for seed in seeds)])
    return text.getvalue()


def collect(study: Study) -> tuple[dict[int, dict[str, Any]], list[dict[str, Any]], list[str]]:
    """(seed -> stage -> metrics, one record per run, remarks) of every stage that all seeds have.

    A chosen stage that is stale by now is used, and a remark says so; another stage must be up to date.
    Raises ValueError when a chosen stage lacks seeds, or its seeds ran with different parameters.
    """
    metrics: dict[int, dict[str, Any]] = {seed: {} for seed in study.seeds}
    records, remarks, chosen = [], [], {study.shared, *study.stages}
    for stage in params.schemas():
        # In which state each seed has the stage.
        found = {seed: _published(study, stage, seed) for seed in study.seeds}
        bad = {seed: (state, why) for seed, (state, why, _) in found.items() if state != "complete"}
        if all(state == "missing" for state, _ in bad.values()) and len(bad) == len(found):
            continue
        # A chosen stage must be there; a stale one is used and told. Any other counts if up to date.
        told = "; ".join(f"seed {seed} is {state} ({why})" for seed, (state, why) in bad.items())
        # Stale and without a manifest: made by another nbkit, whose numbers may mean something else.
        unusable = any(state not in ("complete", "stale") or not made for state, _, made in found.values())
        if stage in chosen and unusable:
            raise ValueError(f"{stage}: {told}; run the same command, without --no-run, to make it")
        if bad:
            remarks.append(f"{stage}: {told}; {'used' if stage in chosen else 'left out'}")
        if bad and stage not in chosen:
            continue
        # Seeds may differ in nothing but their seed.
        _alike(study, stage, {seed: manifest for seed, (_, _, manifest) in found.items()})
        for seed, (_, _, manifest) in found.items():
            with outputs_at(study.root(seed)):
                folder = provenance.run_dir(study.profile, stage)
                metrics[seed][stage] = files.read_json(folder / "metrics.json")
            # What all seeds share was run once.
            if stage == study.shared and seed != study.seeds[0]:
                continue
            about = {"seed": seed, "stage": stage, "manifest": provenance.manifest_id(manifest)}
            records.append(about | {n: manifest[n] for n in ("git", "device", "threads", "wall_s")})
    return metrics, records, remarks


def _published(study: Study, stage: str, seed: int) -> tuple[str, str, dict[str, Any]]:
    """(status, reason, manifest) of a stage as one seed sees it."""
    with outputs_at(study.root(seed)):
        state, reason = provenance.status_of(stage, study.profile, study.own(stage, seed))
        return state, reason, provenance.load_manifest(study.profile, stage)[2]


def _alike(study: Study, stage: str, manifests: Mapping[int, Mapping[str, Any]]) -> None:
    """Refuse seeds that differ in more than their seed: their spread would not be the seed's. A parameter
    that there was not when a seed ran had its default."""
    mend = "run the same command, without --no-run, to make it anew"
    fields = params.schemas()[stage].model_fields.items()
    defaults = {name: field.get_default(call_default_factory=True) for name, field in fields}
    first, wanted = study.seeds[0], defaults | manifests[study.seeds[0]]["params"]
    for seed, manifest in manifests.items():
        got = defaults | manifest["params"]
        if stage != study.shared and got["seed"] != seed:
            raise ValueError(f"{stage}: seed-{seed} holds a run with seed {got['seed']}; {mend}")
        for name in sorted({*wanted, *got} - {"seed"}):
            if wanted.get(name) != got.get(name):
                values = f"{wanted.get(name)!r} in seed {first}, {got.get(name)!r} in seed {seed}"
                raise ValueError(f"{stage}: {name} is {values}; {mend}")
