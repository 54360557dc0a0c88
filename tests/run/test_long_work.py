"""The functions that may take long say what they are doing."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
REPORTS = {  # file: functions in which something takes seconds at `small`
    "filter/dedup.py": ["deduplicate"],
    "filter/contamination.py": ["decontaminate", "evaluation_texts"],
    "tasks/world.py": ["corpus", "natural_text", "eval_texts", "synthetic"],
    "text/tokenizer.py": ["train_tokenizer", "_ids"],
    "filter/document_filter.py": ["fit", "signals"],
    "filter/scorer.py": ["fit"],
    "filter/annotators.py": ["annotate_all"],
    "evals/evaluate.py": ["verdicts", "evaluate", "solution_loss"],
    "pretrain/long_context.py": ["token_losses", "passkey", "look_up"],
    "models/engine.py": ["sample_ids"],
    "models/endpoint.py": ["complete"],
    "refine/loop.py": ["refine", "_add"],
    "refine/reconstruct.py": ["reconstruct"],
    "run/stage.py": ["input", "once", "publish"],
    "models/training.py": ["run_training"],
    "models/load.py": ["load", "save"],
    "pretrain/job.py": ["resume_point", "publish", "main"],
    "pretrain/trainer.py": ["_save_checkpoint", "evaluate", "on_step_begin"],
    "pretrain/throughput.py": ["matmul_peak"],
    "dpd/teacher_cache.py": ["build"],
    "rl/judge.py": ["first_wins"],
}


@pytest.mark.parametrize("file", REPORTS)
def test_what_takes_long_says_what_it_does(file):
    tree = ast.parse((ROOT / "nbkit" / file).read_text())
    reporting = {
        node.name
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and "progress." in ast.unparse(node)
    }
    assert set(REPORTS[file]) <= reporting
