"""A finished run becomes a committed measurement: its metrics, where they come from, and how long it took."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from nbkit.run import files, params
from nbkit.run.provenance import changed_inputs, changed_outputs, load_manifest, run_dir


def publish(profile: str, reference: Path) -> list[str]:
    """Copy the metrics of a whole run of `profile` to `reference`, with a line in its sources.json and the
    minutes in its timings.json; returns the files. Raises ValueError for a run that is not whole, or was made
    by code that no commit holds: such numbers could not be placed."""
    # First all that can be wrong, then the copies.
    runs = {stage: run_dir(profile, stage) for stage in params.schemas()}
    made = {stage: _manifest(profile, stage) for stage in runs}
    sources, timings = (files.read_json(reference / name) for name in ("sources.json", "timings.json"))
    written = []
    for stage, manifest in made.items():
        name = f"{profile}/{stage}.json"
        files.write_json(reference / name, files.read_json(runs[stage] / "metrics.json"))
        sources[name] = _source(manifest)
        written.append(name)
    timings[profile] = {stage: round(manifest["wall_s"]) for stage, manifest in made.items()}
    files.write_json(reference / "sources.json", dict(sorted(sources.items())))
    files.write_json(reference / "timings.json", timings)
    return written


def _manifest(profile: str, stage: str) -> dict[str, Any]:
    """The manifest of a stage that is whole and made of the inputs that are there. Today's code may differ:
    the commit that made the numbers is written beside them."""
    folder = run_dir(profile, stage)
    state, reason, manifest = load_manifest(profile, stage)
    if state == "complete":
        wrong = changed_outputs(profile, stage, manifest) or [changed_inputs(profile, manifest)]
        reason = "; ".join(filter(None, wrong))
    if reason:
        raise ValueError(
            f"results: {folder}: {reason}; make it with `nbkit run --profile {profile} --only {stage[:2]}`"
        )
    if manifest["git"]["dirty"] or not manifest["git"]["commit"]:
        raise ValueError(
            f"results: {folder} was made by code that no commit holds; commit it, then run it again"
        )
    if manifest["reused"]:
        raise ValueError(
            f"results: {folder} went on from an earlier run ({', '.join(manifest['reused'])} reused), so its "
            "time is not that of a run; remove the folder and run it again"
        )
    return manifest


def _source(manifest: dict[str, Any]) -> dict[str, Any]:
    machine = f"{manifest['cores']} cores, {manifest['cpu']}, {manifest['device']}"
    if manifest["precision"]:
        machine += f", {manifest['precision']}"
    return {
        "commit": manifest["git"]["commit"][:7],
        "recorded": True,
        "machine": machine,
        "note": f"one seed ({manifest['seed']})",
    }
