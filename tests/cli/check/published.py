"""Tiny run folders as a run publishes them, written by hand: four questions, three models, two samples."""

from __future__ import annotations

import copy
import functools
import json
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from nbkit.evals.claims import ledger
from nbkit.evals.score import Estimate, avg_at_k, paired_difference
from nbkit.evals.words import headline_name
from nbkit.run import files, provenance

QUESTIONS = [
    {"question": "3 + 4?", "wanted": "7", "domain": "math", "split": "operands"},
    {"question": "f?", "wanted": "def f(): pass", "domain": "code", "split": "operands"},
    {"question": "capital?", "wanted": "Rome", "domain": "general", "split": "operands"},
    {"question": "3 and 4?", "wanted": "7", "domain": "math", "split": "template"},
]
BASE, COLD, BASELINE = "FG-WSD base", "cold start", "10x baseline + SFT"
# Marks of two samples per question. The grader failed on question 2 of the baseline.
MARKS = {
    BASE: [[False, False], [False, True], [False, False], [False, False]],
    COLD: [[True, True], [False, True], [False, False], [True, False]],
    BASELINE: [[False, True], [False, False], [None, None], [True, False]],
}
# Why these samples ended, and their lengths: half by themselves, a long one three times.
STOPS = [["stop", "stop"], ["stop", "length"], ["length", "length"], ["stop", "context"]]
TOKENS = [[4, 6], [8, 96], [96, 96], [10, 20]]
FORMAT = {
    "ends by itself": avg_at_k(np.array([1.0, 0.5, 0.0, 0.5])).dict(),
    "at the limit": avg_at_k(np.array([0.0, 0.5, 1.0, 0.0])).dict(),
    "otherwise": avg_at_k(np.array([0.0, 0.0, 0.0, 0.5])).dict(),
    "tokens": {"n": 8, "mean": 42.0, "median": 15.0, "p90": 96.0, "most": 96.0},
}
DIFFERENCE = {"mean": -0.004, "low": -0.03, "high": 0.02, "n": 500}


@functools.cache
def code_of(stage: str) -> dict[str, str]:
    return provenance.code_of(stage)


def vouch(folder: Path, **changes: Any) -> None:
    """Write the manifest and _SUCCESS anew for what lies in the folder; `changes` go into the manifest."""
    path = folder / "manifest.json"
    manifest = files.read_json(path) | changes
    for name in manifest["outputs"]:
        manifest["outputs"][name] = {"sha256": files.sha256(folder / name), "bytes": 1}
    files.write_json(path, manifest)
    files.atomic_write(folder / "_SUCCESS", files.sha256(path) + "\n")


def publish(home: Path, stage: str, metrics: dict, logs: dict[str, list[dict]], **about: Any) -> Path:
    """A published stage below `home`; `about` overrides fields of the manifest. Returns its folder."""
    folder = home / stage
    files.write_json(folder / "metrics.json", files.plain(metrics))
    for name, rows in logs.items():
        text = "".join(json.dumps(row) + "\n" for row in rows)
        files.atomic_write(folder / "logs" / f"{name}.jsonl", text)
    manifest = {
        "format": provenance.FORMAT,
        "stage": stage,
        "params": {"profile": "tiny", "seed": 0},
        "seed": 0,
    }
    manifest |= {"git": {"commit": "0123456789", "dirty": False}, "packages": {"torch": "2.13.0"}}
    manifest |= {
        "python": "3.11",
        "platform": "Linux",
        "cpu": "a CPU",
        "cores": 2,
        "device": "cpu",
        "threads": 1,
    }
    manifest |= {"precision": "bf16", "headline": {}, "notebook": "n" * 64, "inputs": {}, "fingerprint": "f"}
    manifest |= {"code": dict(code_of(stage))}
    names = ["metrics.json", *(f"logs/{name}.jsonl" for name in logs)]
    files.write_json(folder / "manifest.json", manifest | about | {"outputs": dict.fromkeys(names)})
    vouch(folder)
    return folder


def masked(marks: list[list[bool | None]]) -> np.ma.MaskedArray:
    return np.ma.masked_invalid(np.array(marks, dtype=float))


def scored(marks: list[list[bool | None]]) -> dict:
    """The summary of one model, its groups written out: questions 0 and 3 are math, 1 code, 2 general."""
    right = masked(marks)
    known = [i for i in range(4) if marks[i][0] is not None]
    domains = {"code": [1], "general": [2], "math": [0, 3]}
    splits = {"operands": [0, 1, 2], "template": [3]}
    found = {"overall": avg_at_k(right[known]).dict(), "stopped": 0.75, "infra": 4 - len(known)}
    for kind, groups in (("by_domain", domains), ("by_split", splits)):
        kept = {name: [i for i in own if i in known] for name, own in groups.items()}
        found[kind] = {name: avg_at_k(right[own]).dict() for name, own in kept.items() if own}
    return found


def evaluation() -> tuple[dict, dict[str, list[dict]], dict[str, str]]:
    """(metrics, logs, headline) of 07 for MARKS."""
    base, cold, baseline = (masked(MARKS[name]) for name in (BASE, COLD, BASELINE))
    own = {
        "stage_gain": {COLD: paired_difference(cold[:3], base[:3]).dict()},
        "final_minus_baseline": paired_difference(cold[[0, 1, 3]], baseline[[0, 1, 3]]).dict(),
        "pipeline_minus_baseline": paired_difference(cold, baseline).dict(),
    }
    results = {name: scored(marks) for name, marks in MARKS.items()}
    answers = {name: {"text": f"{name} 0", "right": marks[0][0]} for name, marks in MARKS.items()}
    example = {
        "question": "3 + 4?",
        "wanted": "7",
        "answers": answers,
    }  # one of three is right: an even split
    rows = ledger({"02_pretrain": {"fg_minus_vanilla": DIFFERENCE}, "07_eval": own}, seeds=1, profile="tiny")
    p = stats.ttest_1samp([1.0, 0.0, 0.0], 0.0).pvalue  # cold start minus base on the three unseen operands
    own["stage_p"] = {COLD: {"paired t": float(p), "Holm": float(p)}}  # one comparison: nothing to correct
    metrics = {"results": results, "external": {}, **own, "ledger": rows, "example": example}
    metrics["format"] = {name: dict(FORMAT) for name in MARKS}
    logs = {}
    for name, marks in MARKS.items():
        file = "answers_" + "".join(c if c.isalnum() else "_" for c in name)
        logs[file] = [
            q | {"got": f"{name} {i}", "right": marks[i], "stops": STOPS[i], "tokens": TOKENS[i]}
            for i, q in enumerate(QUESTIONS)
        ]
    unseen = {name: result["by_split"].get("operands", result["overall"]) for name, result in results.items()}
    headline = {"asked": "unseen operands, avg@2"}
    headline |= {name: str(Estimate(**one)) for name, one in unseen.items()}
    headline |= {
        headline_name(name): str(Estimate(**own[name])) for name in own if not name.startswith("stage_")
    }
    return metrics, logs, headline


@functools.cache
def _evaluation() -> tuple[dict, dict, dict]:
    return evaluation()


def tiny_run(home: Path) -> Path:
    """02 and 07 of a run; returns the folder of 07."""
    curve = [{"arm": "fg", "tokens": 4096, "loss": 1.5}, {"arm": "vanilla", "tokens": 4096, "loss": 1.6}]
    steps = [{"loss": 3.0, "tokens": 2048, "step": 1}, {"loss": 2.0, "tokens": 4096, "step": 2}]
    metrics = {"fg_minus_vanilla": DIFFERENCE, "curve": curve}
    pretrained = publish(
        home, "02_pretrain", metrics, {"loss_student_fg": steps, "loss_student_vanilla": steps}
    )
    metrics, logs, headline = copy.deepcopy(_evaluation())
    read = {"sha256": files.sha256(pretrained / "metrics.json"), "manifest": "m"}
    pools = {"sha256": "p" * 64, "manifest": "m"}
    values = {"profile": "tiny", "seed": 0, "task_sets": ["embedded"], "questions": 4}
    inputs = {"02_pretrain/metrics.json": read, "01_data_mix/pools": pools}
    return publish(home, "07_eval", metrics, logs, headline=headline, inputs=inputs, params=values)


def change(folder: Path, name: str, edit: Any) -> None:
    """Let `edit` change the content of a JSON file, and vouch for it again."""
    content = files.read_json(folder / name)
    edit(content)
    files.write_json(folder / name, content)
    vouch(folder)
