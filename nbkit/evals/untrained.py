"""Which RL stages left the model as it was, from the metrics of 06: the ladder must not show them as steps.
Used by 07 and the run report.

    left_alone(metrics)            # {"RL: STEM": "skipped", "RL: + code": "start kept"}
    marked("RL: STEM", metrics)    # "RL: STEM (skipped)"
    sentence(metrics)              # what to know about them, "" where each stage changed the model
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

CHECKPOINTS = {"stem": "RL: STEM", "code": "RL: + code", "preference": "RL: + preference"}
SKIPPED, KEPT = "skipped", "start kept"
_WHY = {
    SKIPPED: "was skipped, since no question was inside the band of pass rates",
    KEPT: "kept its start, since no later checkpoint was better on held-back training questions",
}
_REFUSED = "kept its start: what scored better lost on other questions or showed signs of reward hacking"


def left_alone(metrics: Mapping[str, Any]) -> dict[str, str]:
    """Checkpoint, as 07 calls it -> SKIPPED or KEPT; {} for older metrics, which do not say."""
    skipped, stages = metrics.get("skipped") or [], metrics.get("stages") or {}
    found = {}
    for stage, label in CHECKPOINTS.items():
        if stage in skipped:
            found[label] = SKIPPED
        elif stages.get(stage, {}).get("kept_step") == 0:
            found[label] = KEPT
    return found


def marked(label: str, metrics: Mapping[str, Any]) -> str:
    """The name of a checkpoint; behind that of an RL stage which changed nothing, what became of it."""
    word = left_alone(metrics).get(label)
    return f"{label} ({word})" if word else label


def sentence(metrics: Mapping[str, Any]) -> str:
    """One sentence about the RL stages that left the model as it was, and why."""
    found = left_alone(metrics)
    if not found:
        return ""
    names = {label: label.removeprefix("RL: ").removeprefix("+ ") for label in found}
    told = "; ".join(f"{names[label]} {_why(metrics, label, word)}" for label, word in found.items())
    which = "No RL stage" if len(found) == len(CHECKPOINTS) else "Not every RL stage"
    return f"{which} changed the model: {told}."


def _why(metrics: Mapping[str, Any], label: str, word: str) -> str:
    """Why a stage changed nothing: a later look may have scored better and still not been eligible."""
    stage = next(name for name, own in CHECKPOINTS.items() if own == label)
    looks = (metrics.get("stages") or {}).get(stage, {}).get("watched") or []
    refused = any(row["score"] > looks[0]["score"] and not row["eligible"] for row in looks[1:])
    return _REFUSED if word == KEPT and refused else _WHY[word]
