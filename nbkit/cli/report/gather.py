"""All that the page of one run shows, as a plain dict. Used by pages.py."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from nbkit.cli import live
from nbkit.cli.report import ledger, parameters, stage_facts
from nbkit.cli.report.values import MISSING
from nbkit.evals import untrained
from nbkit.run import params
from nbkit.text.chat import split_thought

# What a status means to somebody who reads the page; its own reason stands at each stage.
_MEANING = {
    "missing": "no finished run",
    "failed": "a cell raised an error",
    "stale": "code, parameters or inputs changed since, the numbers are the run's own",
    "corrupt": "files differ from what was published",
}


def gathered(profile: str) -> dict[str, Any]:
    """What the disk holds of a profile's run, whatever its state.

    Keys: profile, sums (of, trouble, command), facts ((label, text) pairs),
    ladder (title and data of the figure, or None) with ladder_text and ladder_note, example (or None),
    ledger, stages, timings, parameters. Raises ValueError for an unknown profile.
    """
    names = list(params.schemas())
    params.load_profile(profile, names[0])
    stages = [stage_facts.facts(profile, name, stage_facts.status(profile, name)) for name in names]
    metrics, of_rl = stage_facts.metrics(profile, names[-1]), stage_facts.metrics_of_rl(profile, names[-1])
    for number in stages[-1]["headline"]:
        number["name"] = untrained.marked(number["name"], of_rl)
    manifests = [stage["manifest"] for stage in stages if stage["manifest"]]
    used = {stage["stage"]: stage["manifest"]["params"] for stage in stages if stage["manifest"]}
    return {
        "profile": profile,
        "sums": _sums(profile, stages),
        "facts": facts(manifests, stages),
        "ladder": ladder(stages),
        "ladder_text": ladder_text(metrics, of_rl),
        "ladder_note": untrained.sentence(of_rl),
        "example": example(metrics, of_rl),
        "ledger": ledger.gathered(metrics, profile),
        "stages": stages,
        "timings": timings(stages),
        "parameters": parameters.gathered(profile, used),
    }


def facts(manifests: Sequence[Mapping[str, Any]], stages: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """On what it ran, how long, with what: label -> text. What differs between stages is listed."""
    seconds = [stage["seconds"] for stage in stages if stage["seconds"] is not None]
    peaks = [stage["peak_bytes"] for stage in stages if stage["peak_bytes"]]
    found = {
        "Stages": f"{len(manifests)} of {len(stages)} finished",
        "Time": live.clock(sum(seconds)) if seconds else MISSING,
        "Peak memory": live.gib(max(peaks)) if peaks else MISSING,
        "Machine": _listed(_machine(manifest) for manifest in manifests),
        "Precision": _listed(manifest["precision"] for manifest in manifests if manifest["precision"]),
        "Seed": _listed(manifest["seed"] for manifest in manifests),
        "Commit": _listed(_commit(manifest["git"]) for manifest in manifests),
        "Finished": max((manifest["created"] for manifest in manifests), default=MISSING),
    }
    # "2026-11-27T12:57:13+00:00" to the minute; every manifest is written in UTC.
    found["Finished"] = found["Finished"][:16].replace("T", " ") + (" UTC" if manifests else "")
    return found


def ladder(stages: Sequence[Mapping[str, Any]]) -> dict[str, str] | None:
    """The figure `ladder` of the last stage; None where it did not publish one."""
    return next((figure for figure in stages[-1]["figures"] if figure["stem"] == "ladder"), None)


def ladder_text(metrics: Mapping[str, Any], of_rl: Mapping[str, Any]) -> str:
    """The checkpoints with their accuracy over all questions, for who cannot see the figure. `of_rl`: the
    metrics of 06, which say what RL stages left the model as it was."""
    found = []
    for label, result in (metrics.get("results") or {}).items():
        overall = result.get("overall") if isinstance(result, Mapping) else None
        if isinstance(overall, Mapping) and isinstance(overall.get("mean"), int | float):
            found.append(f"{untrained.marked(label, of_rl)} {100 * overall['mean']:.0f}%")
    return "Accuracy over all questions: " + ", ".join(found) if found else "Accuracy stage by stage"


def example(metrics: Mapping[str, Any], of_rl: Mapping[str, Any]) -> dict[str, Any] | None:
    """One question with the answer of every checkpoint, its thought apart; None where none was recorded."""
    found = metrics.get("example")
    if not (isinstance(found, Mapping) and isinstance(found.get("answers"), Mapping) and found["answers"]):
        return None
    answers = []
    for label, answer in found["answers"].items():
        thought, said = split_thought(str(answer.get("text", "")))
        answers.append(
            {
                "label": untrained.marked(str(label), of_rl),
                "thought": (thought or "").strip(),
                "answer": said.strip(),
                "right": bool(answer.get("right")),
            }
        )
    right = sum(answer["right"] for answer in answers)
    return {
        "question": str(found.get("question", "")),
        "wanted": str(found.get("wanted", "")),
        "answers": answers,
        "right": right,
    }


def timings(stages: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Per stage with a time: stage, title, time, share of the whole run (%), width of its bar (% of the
    longest), cells with the share of their stage (%)."""
    known = [stage for stage in stages if stage["seconds"] is not None]
    total = sum(stage["seconds"] for stage in known)
    longest = max((stage["seconds"] for stage in known), default=0.0)
    return [
        {
            "stage": stage["stage"],
            "time": stage["time"],
            "share": 100 * stage["seconds"] / total if total else 0.0,
            "width": 100 * stage["seconds"] / longest if longest else 0.0,
            "reused": stage["reused"],
            "cells": [_cell(cell, stage["seconds"]) for cell in stage["cells"]],
        }
        for stage in known
    ]


def _cell(cell: Mapping[str, Any], of: float) -> dict[str, Any]:
    # A failed or later run's notebook may have taken longer than the published one.
    share = min(100.0, 100 * cell["seconds"] / of) if of else 0.0
    took = f"{cell['seconds']:.1f} s" if cell["seconds"] < 60 else live.clock(cell["seconds"])
    return {**cell, "time": took, "share": share}


def _sums(profile: str, stages: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """How many stages there are, which are not complete and what to do about it ("" when all are)."""
    counts: dict[str, list[str]] = {}
    for stage in stages:
        counts.setdefault(stage["status"], []).append(stage["stage"].partition("_")[0])
    counts.pop("complete", None)
    said = [f"{', '.join(numbers)} {state} ({_MEANING[state]})" for state, numbers in counts.items()]
    return {
        "of": len(stages),
        "trouble": "; ".join(said),
        "command": f"nbkit run --profile {profile}" if said else "",
    }


def _machine(manifest: Mapping[str, Any]) -> str:
    parts = [manifest["cpu"]]
    for word in ("cores", "threads"):
        if count := manifest.get(word):
            parts.append(f"{count} {word.removesuffix('s') if count == 1 else word}")
    return f"{manifest['device']} ({', '.join(parts)})"


def _commit(git: Mapping[str, Any]) -> str:
    if not git.get("commit"):
        return "no git checkout"
    return git["commit"][:7] + (" with changes" if git.get("dirty") else "")


def _listed(values: Any) -> str:
    """The different values, in order of appearance."""
    return "; ".join(dict.fromkeys(str(value) for value in values)) or MISSING
