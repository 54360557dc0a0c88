"""What the page of two runs shows, as a plain dict. Used by pages.py.

A run is named by its profile, below the outputs, or by its folder anywhere.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nbkit.cli.report import gather, ledger, parameters, stage_facts
from nbkit.cli.report.values import MISSING, difference
from nbkit.evals import untrained
from nbkit.run import files, params, provenance


def located(run: str) -> str:
    """What `provenance.run_dir` understands for RUN: a profile's name, else the folder's whole path.

    Raises ValueError where neither holds a stage.
    """
    stages = list(params.schemas())
    root = files.outputs_root()
    for place in (root / run, Path(run).expanduser()):
        if any((place / stage).is_dir() for stage in stages):
            # Joined to the outputs, a whole path stays itself; so one text serves for both.
            return run if place == root / run and not Path(run).is_absolute() else str(place.resolve())
    known = sorted(p.name for p in root.glob("*") if any((p / stage).is_dir() for stage in stages))
    raise ValueError(
        f"--compare: no run {run!r}; wanted the name of a profile with outputs in {root} "
        f"({', '.join(known) or 'none yet'}), or a run folder, one that holds {stages[0]}/ or a later stage"
    )


def gathered(first: str, second: str) -> dict[str, Any]:
    """Two runs beside each other.

    Keys: runs (two of run, folder, label, profile, ladder, ladder_text, ladder_note), titles (of the stages),
    facts, headlines (per stage), params (per stage, what differs), ledger (rows of both). Raises ValueError
    for a run that is not there.
    """
    places = [located(first), located(second)]
    stages = list(params.schemas())
    found = [{stage: stage_facts.facts(place, stage) for stage in stages} for place in places]
    metrics = [stage_facts.metrics(place, stages[-1]) for place in places]
    used = [{s: one["manifest"]["params"] for s, one in run.items() if one["manifest"]} for run in found]
    about = [_about(*each) for each in zip(places, found, metrics, "AB", strict=True)]
    return {
        "runs": about,
        "titles": {stage: found[0][stage]["title"] for stage in stages},
        "facts": _facts(*found),
        "headlines": [row for stage in stages if (row := _headlines(stage, *(r[stage] for r in found)))],
        "params": parameters.differing(*used),
        "ledger": _ledger(metrics, [run["profile"] for run in about]),
    }


def _about(place: str, found: Mapping[str, Any], metrics: Mapping[str, Any], label: str) -> dict[str, Any]:
    of_rl = stage_facts.metrics_of_rl(place, list(found)[-1])
    folder = provenance.run_dir(place, "x").parent
    manifests = [stage["manifest"] for stage in found.values() if stage["manifest"]]
    return {
        "run": folder.name,
        "folder": str(folder),
        "label": label,
        "profile": manifests[-1]["profile"] if manifests else MISSING,
        "ladder": gather.ladder(list(found.values())),
        "ladder_text": gather.ladder_text(metrics, of_rl),
        "ladder_note": untrained.sentence(of_rl),
    }


def _facts(first: Mapping[str, Any], second: Mapping[str, Any]) -> list[dict[str, Any]]:
    """On what each ran, how long, with what."""
    both = []
    for found in (first, second):
        stages = list(found.values())
        both.append(gather.facts([stage["manifest"] for stage in stages if stage["manifest"]], stages))
    return [
        {"name": name, "first": text, "second": both[1][name], "same": text == both[1][name]}
        for name, text in both[0].items()
    ]


def _headlines(stage: str, first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, Any] | None:
    """The headline numbers of a stage in both runs, its time first; None where neither finished it."""
    if not (first["manifest"] or second["manifest"]):
        return None
    one = {number["name"]: number for number in first["headline"]}
    two = {number["name"]: number for number in second["headline"]}
    rows = [
        {
            "name": "time",
            "first": first["time"],
            "second": second["time"],
            "difference": _times(first, second),
        }
    ]
    for name in dict.fromkeys([*one, *two]):
        a, b = one.get(name), two.get(name)
        gap = difference(a and a["value"], b and b["value"])
        rows.append(
            {
                "name": name,
                "first": _with_interval(a),
                "second": _with_interval(b),
                "difference": gap.text + (", intervals apart" if gap.apart else ""),
            }
        )
    return {"stage": stage, "title": first["title"], "rows": rows}


def _times(first: Mapping[str, Any], second: Mapping[str, Any]) -> str:
    """How many times as long the second took."""
    if not first["seconds"] or not second["seconds"]:
        return ""
    return f"{second['seconds'] / first['seconds']:.2f} times as long"


def _with_interval(number: Mapping[str, Any] | None) -> str:
    return f"{number['text']} {number['interval']}".strip() if number else MISSING


def _ledger(metrics: list[dict[str, Any]], profiles: list[str]) -> list[dict[str, Any]]:
    """The claims of both ledgers: claim, of, first and second (a shown row or None), same (verdict), measured
    (in one run at least)."""
    both = []
    for found, profile in zip(metrics, profiles, strict=True):
        rows = [ledger.shown(row, profile) for row in found.get("ledger", []) if isinstance(row, Mapping)]
        both.append({row["id"]: row for row in rows})
    made = []
    for key in dict.fromkeys([*both[0], *both[1]]):
        pair = [rows.get(key) for rows in both]
        either = pair[0] or pair[1] or {}
        verdicts = {row["verdict"] for row in pair if row}
        row = {"claim": either["claim"], "of": either["of"], "first": pair[0], "second": pair[1]}
        row["same"] = len(verdicts) == 1 and None not in pair
        row["measured"] = any(side["group"] != "unmeasured" for side in pair if side)
        made.append(row)
    return sorted(made, key=lambda row: row["of"] != "report")
