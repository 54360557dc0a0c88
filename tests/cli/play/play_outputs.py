"""Outputs of a profile with tiny checkpoints, as its stages publish them."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import tiny

from nbkit.cli.play.checkpoints import PUBLISHED
from nbkit.models.load import Shape, new_model
from nbkit.run import files, provenance

PROFILE = "smoke"
LABELS = ("FG-WSD base", "cold start", "RL: + preference")
SEEDS = (7, 1, 14)  # with these weights the three answer the tests' question in visible characters
# A context long enough for an answer that is still being written when it is stopped.
SHAPE = Shape(hidden=32, layers=2, heads=4, kv_heads=2, mlp=64, context=8192, tied=True)
ANSWERED = {"FG_WSD_base": [[True], [False]], "cold_start": [[True], [True]]}


def publish(stage: str, outputs: list[str], values: dict[str, Any] | None = None) -> Path:
    """A manifest that vouches for a stage; returns its folder, where the outputs must lie."""
    folder = provenance.run_dir(PROFILE, stage)
    manifest = {
        "format": provenance.FORMAT,
        "params": values or {},
        "inputs": {},
        "outputs": {name: {"sha256": ""} for name in outputs},
        "headline": {},
        "fingerprint": "",
        "notebook": "",
        "code": {},
        "wall_s": 1.0,
        "peak_rss_mb": 100.0,
        "created": "2026-11-27T12:00:00+00:00",
        "device": "cpu",
        "cpu": "a processor",
        "precision": "fp32",
        "seed": 0,
        "git": {},
    }
    files.write_json(folder / "manifest.json", manifest)
    (folder / "_SUCCESS").write_text(hashlib.sha256((folder / "manifest.json").read_bytes()).hexdigest())
    return folder


def checkpoints() -> None:
    """Publish LABELS of PUBLISHED, each with random weights of its own."""
    chosen = [row for row in PUBLISHED if row[0] in LABELS]
    for stage in {row[1] for row in chosen}:
        publish(stage, [name for _, at, name, _ in chosen if at == stage])
    for seed, (_, stage, name, _) in zip(SEEDS, chosen, strict=True):
        folder = provenance.run_dir(PROFILE, stage) / name
        new_model(tiny.tokenizer(), SHAPE, seed).save_pretrained(folder)
        tiny.tokenizer().save_pretrained(folder)


def evaluation(questions: tuple[str, str]) -> None:
    """Publish 07: the base answered the first question only, the cold start both."""
    folder = publish("07_eval", ["metrics.json"], {"questions": 30, "max_new_tokens": 12})
    score = {"overall": {"mean": 0.5, "low": 0.25, "high": 0.75, "n": 30}}
    metrics = {"results": {"cold start": score}, "example": {"question": questions[0]}}
    files.write_json(folder / "metrics.json", metrics)
    for name, marks in ANSWERED.items():
        pairs = zip(questions, marks, strict=True)
        lines = [json.dumps({"question": question, "right": right}) for question, right in pairs]
        files.atomic_write(folder / f"logs/answers_{name}.jsonl", "\n".join(lines))
