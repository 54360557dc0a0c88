"""What the report says of one stage. Used by gather.py and two_runs.py.

`run` is the name of a profile, or the path of a run folder elsewhere: `provenance.run_dir` takes both.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nbkit.cli import live, runner
from nbkit.cli.report import notebook
from nbkit.cli.report.captions import caption
from nbkit.cli.report.values import MISSING, number, split_interval
from nbkit.evals.words import headline_name
from nbkit.run import files, provenance

RL = "06_rl"


def facts(run: str, stage: str, status: tuple[str, str] | None = None) -> dict[str, Any]:
    """All of one stage: stage, title, idea, status, reason, error (lines), seconds, time, peak_bytes, memory,
    reused, headline, figures, cells, source (is there an executed notebook?), manifest ({}: none to read).

    `status`: as `provenance.status_of` returns it; left out, what the manifest alone says.
    """
    state, reason, manifest = provenance.load_manifest(run, stage)
    state, reason = status or (state, reason)
    # A failed run goes before all else: it is newer than anything published.
    source = notebook.source_of(run, stage)
    error: list[str] = []
    if source is not None and source.name.endswith(".failed.ipynb"):
        state, reason = "failed", "a cell raised an error; its last lines:"
        error = runner.error_of(source)[-4:]
    cells = notebook.cells_of(source)
    title, idea = notebook.title_and_idea(cells or _unrun(stage), stage)
    seconds, peak = runner.measured(run, stage, manifest)
    return {
        "stage": stage,
        "title": title,
        "idea": idea,
        "status": state,
        "reason": reason,
        "error": error,
        "seconds": seconds,
        "time": MISSING if seconds is None else live.clock(seconds),
        "peak_bytes": peak,
        "memory": live.gib(peak) if peak else MISSING,
        "reused": list(manifest.get("reused", [])),
        "headline": [headline(key, value) for key, value in manifest.get("headline", {}).items()],
        "figures": figures(run, stage, manifest),
        "cells": notebook.longest_cells(cells),
        "source": source is not None,
        "manifest": manifest,
    }


def status(profile: str, stage: str) -> tuple[str, str]:
    """The status of a stage of a profile; parameters that no longer fit must not hide its results."""
    try:
        return provenance.status_of(stage, profile)
    except ValueError as error:
        return "stale", str(error)


def headline(key: str, value: Any) -> dict[str, Any]:
    """One headline number: name, text, interval ("" where it has none), value as it was published."""
    text, interval = split_interval(number(value))
    return {"name": headline_name(key), "text": text, "interval": interval, "value": value}


def figures(run: str, stage: str, manifest: Mapping[str, Any]) -> list[dict[str, str]]:
    """The published figures of a stage: stem (of its file), title, and data, a `data:` address that
    holds the PNG."""
    folder, shown = provenance.run_dir(run, stage), []
    for output in manifest.get("outputs", {}):
        path = folder / output
        if output.startswith("figures/") and output.endswith(".png") and path.is_file():
            shown.append({"stem": path.stem, "title": caption(path.stem), "data": _data(path)})
    return shown


def metrics(run: str, stage: str) -> dict[str, Any]:
    """The metrics that a finished stage recorded; {} where it is not finished or they cannot be read."""
    if provenance.load_manifest(run, stage)[0] != "complete":
        return {}
    try:
        found = files.read_json(provenance.run_dir(run, stage) / "metrics.json")
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def metrics_of_rl(run: str, last: str) -> dict[str, Any]:
    """The metrics of 06 that the stage `last` read; {} where it read none, or 06 has run again since."""
    read = provenance.load_manifest(run, last)[2].get("inputs", {}).get(f"{RL}/metrics.json")
    there = provenance.load_manifest(run, RL)[2].get("outputs", {}).get("metrics.json")
    same = read and there and read["sha256"] == there["sha256"]
    return metrics(run, RL) if same else {}


def _data(path: Path) -> str:
    return "data:image/png;base64," + base64.b64encode(path.read_bytes()).decode()


def _unrun(stage: str) -> list[dict[str, Any]]:
    """The cells of the project's own notebook, for the title of a stage that has not run."""
    try:
        return notebook.cells_of(provenance.notebook_path(stage))
    except ValueError:
        return []
