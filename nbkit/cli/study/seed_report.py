"""The results of `nbkit claims` as files, in outputs/claims/: claims.json, claims.csv, a figure per claim
with parts (<claim id>.png), and token_efficiency.png where 02 recorded its curve."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from nbkit.cli.study import token_efficiency
from nbkit.cli.study.seed_stats import breakdowns, claim_rows, collect, ladder, table
from nbkit.cli.study.seeds import Study, outputs_at
from nbkit.evals import claims
from nbkit.run import files, params, provenance

MOST_ROWS = 12  # a group with more parts (50 skills) is in the files, not in the figure


def build(study: Study) -> dict[str, Any]:
    """Everything over seeds, as plain data. Raises ValueError when no claim was measured in every seed."""
    # Claims first: without any there is nothing to report.
    metrics, runs, remarks = collect(study)
    rows = claim_rows(metrics, study.shared, study.profile)
    remarks += [f"{row['id']}: {row['note']}" for row in rows if "note" in row]
    if all(row["mean"] is None for row in rows):
        told = "".join(f"\n{remark}" for remark in remarks)
        raise ValueError(f"no claim is measured by all seeds in {study.home}; choose its stages{told}")
    result = {
        "profile": study.profile,
        "seeds": list(study.seeds),
        "data": "one set, shared by all seeds" if study.shared else "made anew by each seed",
        "overrides": {stage: dict(values) for stage, values in study.overrides.items() if values},
        "other_parameters": other_parameters(study),
        "claims": rows,
        "by": breakdowns(metrics, study.shared),
        "remarks": remarks,
        "runs": runs,
    }
    # 02 records the curve only where its arm was trained.
    curves = {seed: claims.lookup(one, token_efficiency.PATH) for seed, one in metrics.items()}
    if all(curve and sum(point["arm"] == "vanilla" for point in curve) > 1 for curve in curves.values()):
        result["token_efficiency"] = token_efficiency.summarise(curves)
    if steps := ladder(metrics):
        result["ladder"] = steps
    return result


def other_parameters(study: Study) -> dict[str, dict[str, list[Any]]]:
    """Stage -> parameter -> [the profile's value of today, the first seed's value], where the two differ:
    with --no-run the seeds may have been made by other commands. `seed` apart."""
    found: dict[str, dict[str, list[Any]]] = {}
    for stage in study.stages:
        with outputs_at(study.root(study.seeds[0])):
            there = provenance.load_manifest(study.profile, stage)[2].get("params", {})
        schema = params.schemas()[stage]
        usual = params.coerce(schema, params.load_profile(study.profile, stage), stage).model_dump()
        values = {k: v for k, v in there.items() if k != "seed" and k in usual and usual[k] != v}
        if values:
            found[stage] = {name: [usual[name], value] for name, value in values.items()}
    return found


def summary(result: dict[str, Any]) -> str:
    """What the terminal shows: a line per claim, and what must be known about them."""
    lines = [claims.text(result["claims"])]
    if "token_efficiency" in result:
        words = result["token_efficiency"]["tokens_to_match"]["words"]
        lines.append(f"vanilla matches FG-WSD with {words} the tokens")
    for name, step in result.get("ladder", {}).items():
        lines.append(f"{name:<20}{100 * step['mean']:.1f}% of unseen operands, {step['seeds']} seeds")
    return "\n".join([*lines, *(f"note: {remark}" for remark in result["remarks"])])


def write(result: dict[str, Any], home: Path) -> list[Path]:
    """Write all files into `home`, each whole or not at all; returns their paths."""
    files.write_json(home / "claims.json", result)
    files.atomic_write(home / "claims.csv", table(result["claims"], result["by"]))
    return [home / "claims.json", home / "claims.csv", *_figures(result, home)]


def _figures(result: dict[str, Any], home: Path) -> list[Path]:
    # The backend is chosen before pyplot, which `figures` imports, looks for a display.
    import matplotlib  # noqa: PLC0415 (slow, needed to draw only)

    matplotlib.use("agg")
    from nbkit.cli.study import figures  # noqa: PLC0415 (imports pyplot)

    # A forest for every claim that has parts: all questions first, then each group that fits.
    rows, drawn = {row["id"]: row for row in result["claims"]}, {}
    for claim in claims.claims():
        if "per_seed" not in rows[claim["id"]] or claim["id"] not in result["by"]:
            continue
        groups = {"": {claim["questions"]: rows[claim["id"]]}}
        groups |= {g: names for g, names in result["by"][claim["id"]].items() if len(names) <= MOST_ROWS}
        drawn[claim["id"]] = figures.forest(groups, claim["effect"])
    if "ladder" in result:
        drawn["ladder"] = figures.ladder(result["ladder"])
    if "token_efficiency" in result:
        drawn["token_efficiency"] = figures.token_efficiency(result["token_efficiency"])
    for name, figure in drawn.items():
        # Without software and date in its metadata, equal results give an equal file.
        with files.atomic_file(home / f"{name}.png") as temp:
            figure.savefig(temp, format="png", dpi=120, metadata={"Software": None})
        figures.plt.close(figure)
    return [home / f"{name}.png" for name in drawn]


def publish(study: Study, paths: list[Path], name: str = "") -> Path:
    """Copy the results to outputs/reference/<name>/, which is committed; returns the folder. `name`: the
    profile's where it is empty."""
    name = name or (study.profile if study.shared else f"{study.profile}-fresh")
    folder = files.project_root() / "outputs" / "reference" / name
    for path in paths:
        files.atomic_write(folder / path.name, path.read_bytes())
    return folder
