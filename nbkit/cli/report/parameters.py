"""The parameters of a run, each shown once, and those that differ. Used by gather.py and two_runs.py."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nbkit.cli.report.values import MISSING, setting
from nbkit.run import params

SHARED = 3  # stages that agree on a value before it moves to the table of all stages

Values = Mapping[str, Any]


def gathered(profile: str, used: Mapping[str, Values]) -> dict[str, Any]:
    """The parameters of each stage that ran, from `used` (stage -> name -> value).

    Returns `tables` (title, rows of name, value, doc, wanted, stages) with the one of several stages first,
    `differing` (how many rows differ from the profile's) and `notes` (why a stage could not be compared).
    `wanted` is the profile's value where the run had another, else None.
    """
    notes: list[str] = []
    asked = {stage: _of_profile(profile, stage, notes) for stage in used}
    shared = _shared(used)
    together = [
        _row(stages[0], name, used[stages[0]], asked[stages[0]]) | {"stages": [_number(s) for s in stages]}
        for name, stages in shared.items()
    ]
    tables = [{"title": "Several stages", "rows": together}] if together else []
    for stage, values in used.items():
        # What the profile has and the run did not is new since, and worth a row of its own.
        names = [n for n in [*values, *(asked[stage] or {})] if stage not in shared.get(n, [])]
        rows = [_row(stage, n, values, asked[stage]) for n in dict.fromkeys(names)]
        # What differs comes first, else in the order of the schema.
        tables.append({"title": stage, "rows": sorted(rows, key=lambda row: row["wanted"] is None)})
    differing = sum(row["wanted"] is not None for table in tables for row in table["rows"])
    return {"tables": tables, "differing": differing, "notes": notes}


def differing(first: Mapping[str, Values], second: Mapping[str, Values]) -> list[dict[str, Any]]:
    """The parameters with another value in the second run: stage, rows of name, doc, first, second. Stages
    that only one of the two ran are left out; the profile's name is no parameter of the recipe."""
    found = []
    for stage in [s for s in first if s in second]:
        one, two = first[stage], second[stage]
        names = [n for n in dict.fromkeys([*one, *two]) if n != "profile"]
        rows = [
            {"name": n, "doc": _doc(stage, n), "first": _shown(one, n), "second": _shown(two, n)}
            for n in names
            if n not in one or n not in two or one[n] != two[n]
        ]
        if rows:
            found.append({"stage": stage, "rows": rows})
    return found


def _shared(used: Mapping[str, Values]) -> dict[str, list[str]]:
    """Name -> its stages, for what at least SHARED stages have, all with the same value."""
    holders: dict[str, list[str]] = {}
    for stage, values in used.items():
        for name in values:
            holders.setdefault(name, []).append(stage)
    return {
        name: stages
        for name, stages in holders.items()
        if len(stages) >= SHARED and all(used[s][name] == used[stages[0]][name] for s in stages)
    }


def _of_profile(profile: str, stage: str, notes: list[str]) -> dict[str, Any] | None:
    """The values that the profile asks for today; None, with a note, where its file does not fit."""
    try:
        values = params.load_profile(profile, stage)
        return dict(vars(params.coerce(params.schemas()[stage], values, stage)))
    except ValueError as error:
        notes.append(f"{stage} cannot be compared with its profile: {error}")
        return None


def _row(stage: str, name: str, values: Values, asked: Values | None) -> dict[str, Any]:
    """One parameter of one stage, with the profile's value where that is another."""
    wanted = None
    if asked is not None and (name not in values or name not in asked or values[name] != asked[name]):
        wanted = _shown(asked, name)
    return {
        "name": name,
        "value": _shown(values, name),
        "doc": _doc(stage, name),
        "wanted": wanted,
        "stages": [],
    }


def _shown(values: Values, name: str) -> str:
    return setting(values[name]) if name in values else f"{MISSING} (no such parameter)"


def _doc(stage: str, name: str) -> str:
    """What the schema says of a parameter; "" for one that it no longer has."""
    schema = params.schemas().get(stage)
    field = schema.model_fields.get(name) if schema else None
    return (field.description or "") if field else ""


def _number(stage: str) -> str:
    return stage.partition("_")[0]
