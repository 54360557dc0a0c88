"""How the page asks: the form of a prompt as the text around the question, and example questions. Used by
page.py."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from nbkit.models.engine import render
from nbkit.run import files, provenance
from nbkit.tasks.skills import DOMAINS, SPLITS, Task
from nbkit.tasks.world import base_prompt, eval_tasks, prompt_of
from nbkit.text.rows import read_rows

MARK = "\ue000"  # stands for the question while a template is rendered: private use, in no template
ENDS = ("\nQuestion:", "\nProblem.")  # where evals.evaluate cuts what a base model goes on to write
EVALUATION = "07_eval"


def base_form() -> dict[str, Any]:
    """The text around the question of a base model. Not guarded: a raw prompt is encoded as it is."""
    before, _, after = base_prompt(MARK).partition(MARK)
    return {"before": before, "after": after, "guarded": False, "ends": list(ENDS)}


def chat_form(tokenizer, task: Task) -> dict[str, Any]:
    """The text around the question of `task` in the chat template of `tokenizer`, with its tools. Guarded:
    no question can spell a control token. Raises ValueError for a template that repeats the question."""
    pieces = str(render(tokenizer, prompt_of(replace(task, question=MARK)))).split(MARK)
    if len(pieces) != 2:
        raise ValueError(
            f"--play: the chat template shows the question {len(pieces) - 1} times, wanted once; "
            "use the template that nbkit writes (nbkit/text/tokenizer.py)"
        )
    return {"before": pieces[0], "after": pieces[1], "guarded": True, "ends": []}


@dataclass(frozen=True)
class Evaluated:
    """What 07 measured; all empty where it has not run, or with another format. `metrics`: its metrics.json.
    `right`: was the first sample right, by question and checkpoint. `questions`: asked per split. `most`:
    tokens of an answer."""

    metrics: Mapping[str, Any] = field(default_factory=dict)
    right: Mapping[str, Mapping[str, bool]] = field(default_factory=dict)
    questions: int = 300
    most: int = 96


def evaluated(profile: str) -> Evaluated:
    """The evaluation of a profile, from its files."""
    state, _, manifest = provenance.load_manifest(profile, EVALUATION)
    if state != "complete":
        return Evaluated()
    folder, right = provenance.run_dir(profile, EVALUATION), {}
    for path in files.named(folder / "logs", "answers_*.jsonl"):
        for row in read_rows(path):
            right.setdefault(row["question"], {})[path.stem] = bool(row["right"][0])
    values = manifest["params"]
    metrics = files.read_json(folder / "metrics.json")
    return Evaluated(metrics, right, values["questions"], values["max_new_tokens"])


def examples(evaluation: Evaluated) -> list[tuple[Task, str]]:
    """Questions for the buttons, each with why it was chosen: the example of 07, then of each domain the
    first one that some checkpoints answered and some did not (without results of 07: the first one)."""
    # Unseen operands come first: of these the buttons are chosen; the example may be of another split.
    known = {task.question: task for split in SPLITS[1:] for task in eval_tasks(evaluation.questions, split)}
    chosen: dict[str, str] = {}
    if (question := evaluation.metrics.get("example", {}).get("question")) in known:
        chosen[question] = f"{known[question].domain}: the example of 07"
    for domain in DOMAINS:
        own = [question for question, task in known.items() if task.domain == domain]
        split = [question for question in own if len(set(evaluation.right.get(question, {}).values())) > 1]
        if own:  # few questions may hold none of a domain
            why = f"{domain}: some checkpoints were right in 07, some wrong" if split else domain
            chosen.setdefault((split or own)[0], why)
    return [(known[question], why) for question, why in chosen.items()]
