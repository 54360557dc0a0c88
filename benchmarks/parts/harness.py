"""lm-evaluation-harness over this kit's questions: its own task definitions, models and marks. Used by
eval_agreement.py, whose docstring says what must be installed.

    task = their_task("gsm8k", result.tasks)
    their_marks("gsm8k", task, result.texts)["strict-match"]    # 1.0 or 0.0 for each text
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from typing import Any

import datasets
import numpy as np
from lm_eval.api.instance import Instance
from lm_eval.api.task import ConfigurableTask
from lm_eval.models.huggingface import HFLM
from lm_eval.tasks import TaskManager
from lm_eval.tasks._yaml_loader import load_yaml

from nbkit.evals.bench.readers import LETTERS, Item
from nbkit.evals.bench.results.journal import Journal
from nbkit.evals.bench.results.result import Result
from nbkit.evals.bench.run import Target
from nbkit.run import files

# What the harness reads instead of the hub's sets, which need a network: our rows in the hub's layout.
OVERRIDES: dict[str, dict[str, Any]] = {
    "arc_challenge": {},
    "arc_easy": {},
    "hellaswag": {"process_docs": None, "doc_to_target": "{{gold}}"},
    "gsm8k": {"num_fewshot": 0},
    "ifeval": {},
}
# Its metrics of IFEval under the names that this kit has for them.
IFEVAL = {
    "prompt, strict": "prompt_level_strict_acc",
    "prompt, loose": "prompt_level_loose_acc",
    "instruction, strict": "inst_level_strict_acc",
    "instruction, loose": "inst_level_loose_acc",
}


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


def settings_of(name: str, target: Target, items: Sequence[Item], **more: Any) -> dict[str, Any]:
    return {"task": name, "model": target.identity, "questions": files.digest([i.id for i in items]), **more}


def speed(questions: int, seconds: float) -> dict[str, float] | None:
    """None where all questions had been asked before."""
    return {"questions": questions, "cpu_s": seconds, "per_s": questions / seconds} if questions else None


def their_choices(name: str, task: Any, harness: HFLM, pairs: Sequence[tuple[Item, dict]]) -> list[dict]:
    """The harness's log-likelihoods and verdicts of some questions, each with its part of the CPU's time."""
    started, asked = time.process_time(), []
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
    share = (time.process_time() - started) / len(pairs)
    return [row | {"cpu_s": share} for row in rows]


def their_prompt(task: Any, harness: HFLM, doc: dict, form: str) -> str:
    """What the harness asks without examples: a document, or a user's turn in the chat template."""
    chat = {"apply_chat_template": True, "chat_template": harness.apply_chat_template}
    return task.fewshot_context(doc, 0, **(chat if form == "chat" else {}))


def their_texts(
    harness: HFLM, task: Any, result: Result, tokens: int, own: int, journal: Journal
) -> list[dict]:
    """The harness's own answers, of at most `tokens` tokens, to the first `own` questions of a result, each
    with its part of the CPU's time. What the journal has is not asked again."""
    documents, items = list(task.eval_docs), result.tasks[:own]
    sampling = task.config.generation_kwargs | {"max_gen_toks": tokens}
    size = harness.batch_size
    for start in range(0, len(items), size):
        chunk = items[start : start + size]
        if all(item.id in journal.records for item in chunk):
            continue
        # One call for each batch, whose time is shared by its questions.
        started = time.process_time()
        requests = []
        for doc, _ in zip(documents[start:], chunk, strict=False):
            prompt = their_prompt(task, harness, doc, result.about["form"])
            requests.append(Instance("generate_until", doc, (prompt, dict(sampling)), 0, ("", start, 1)))
        texts = harness.generate_until(requests, disable_tqdm=True)
        share = (time.process_time() - started) / len(chunk)
        rows = zip(chunk, texts, strict=True)
        journal.add([{"id": item.id, "text": text, "cpu_s": share} for item, text in rows])
        print(f"own texts: {len(journal.records)} of {own}", file=sys.stderr, flush=True)
    return [journal.records[item.id] for item in items]


def their_speed(rows: Sequence[dict]) -> dict[str, float] | None:
    return speed(len(rows), sum(row["cpu_s"] for row in rows))


def their_marks(name: str, task: Any, texts: Sequence[str]) -> dict[str, list[float]]:
    """The harness's marks of texts by each of its metrics: GSM8K's two filters, IFEval's four counts."""
    documents = list(task.eval_docs)[: len(texts)]
    if name == "ifeval":
        rows = [task.process_results(doc, [text]) for doc, text in zip(documents, texts, strict=True)]
        return {
            ours: np.concatenate([np.ravel(r[key]) for r in rows]).tolist() for ours, key in IFEVAL.items()
        }
    requests = []
    for place, (doc, text) in enumerate(zip(documents, texts, strict=True)):
        request = Instance("generate_until", doc, ("", {}), 0, ("gsm8k", place, 1))
        request.resps = [text]
        requests.append(request)
    task._instances = requests
    task.apply_filters()
    return {
        metric: [task.process_results(r.doc, [r.filtered_resps[metric]])["exact_match"] for r in requests]
        for metric in ("strict-match", "flexible-extract")
    }
