"""Training FLOPs of both sides of ten_times: 6 per weight and token (nbkit.pretrain.throughput), a third of
that for what a model only reads or generates."""

from pathlib import Path

import torch
from baselines import Outputs

from nbkit.models.load import SHIPPED, Shape, load, new_model
from nbkit.pretrain.plan import total_tokens
from nbkit.pretrain.throughput import flops_per_token
from nbkit.run import files
from nbkit.sft.finetune import amounts_of
from nbkit.text.rows import read_rows
from nbkit.text.tokenizer import token_counts


def compute(run: Outputs, student: Path) -> dict[str, float]:
    """Training FLOPs of the student by stage: 6 per weight and token, a third of that for what a model only
    reads or generates. "teacher's work" is what the teacher generated and read for it; that the teacher was
    trained once before is not counted."""
    planned, model = run.planned, load(student)[0]
    teacher = load(SHIPPED)[0]
    ours, theirs = (lambda n, one=one: n * flops_per_token(one, planned.seq_len) for one in (model, teacher))
    stages = {s: run.params(s) for s in ("03_sft_cold_start", "04_sft_overall")}
    folders = {"03_sft_cold_start": "cold_start", "04_sft_overall": "sft"}
    spent = {"02_pretrain": ours(total_tokens(planned.stages))}
    for stage, folder in folders.items():
        spent[stage] = ours(amounts_of(run.folder / stage / folder)["tokens"] * stages[stage].epochs)
    told = files.read_json(run.folder / "04_sft_overall/metrics.json")["tokens"]
    generated = sum(sum(told[part].values()) for part in ("refine", "reconstruct"))
    spent["teacher's work"] = theirs(generated) / 3
    if student.parent.name == "05_dpd":
        own, pairs = run.params("05_dpd"), list(read_rows(run.folder / "05_dpd/logs/pairs.jsonl"))
        count = token_counts([{"text": pair["prompt"]} for pair in pairs], run.tokenizer).sum()
        answers = sum(len(pair.get(f"{side}_ids") or ()) for pair in pairs for side in ("chosen", "rejected"))
        both = float(2 * count + answers)
        # Trained in every pass, read once more as the reference; the teacher reads in every pass.
        spent["05_dpd"] = ours(both * own.epochs) + ours(both) / 3
        spent["teacher's work"] += theirs(both * own.epochs) / 3
        # What was sampled for the pairs, at the mean length of those that were kept.
        mean = answers / (2 * len(pairs))
        spent["05_dpd"] += ours(own.prompts * own.samples * mean) / 3
        spent["teacher's work"] += theirs(own.prompts * own.teacher_draws * mean) / 3
    return spent


def baseline_compute(run: Outputs, passes: float) -> float:
    """Training FLOPs of a baseline on all of its tokens: what it reads in pre-training and both SFTs."""
    with torch.device("meta"):
        model = new_model(run.tokenizer, Shape(**run.baseline()), seed=0)
    cold = amounts_of(run.folder / "03_sft_cold_start/cold_start")["tokens"]
    overall = amounts_of(run.folder / "04_sft_overall/sft")["tokens"]
    tokens = (
        total_tokens(run.planned.stages) + cold * run.params("03_sft_cold_start").epochs + overall * passes
    )
    return tokens * flops_per_token(model, run.planned.seq_len)
