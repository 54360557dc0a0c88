"""Questions for training and evaluation, from the embedded world or from real sets, as one type: `Task`.
Used by 03-07.

    tasks = training_tasks(["embedded"], 3000, {"math": 0.5, "science": 0.3, "code": 0.2}, seed=0)
    tasks = evaluation_tasks(["gsm8k"], 50)
Real sets come through the registry (hub or NBKIT_DATA_DIR); training takes their train split, evaluation
their test split.
"""

import random
import re
from collections.abc import Mapping, Sequence

from nbkit.data import sources
from nbkit.data.skills import DOMAINS, Task, largest_remainder, sample, skills
from nbkit.data.world import eval_tasks

REAL_DOMAINS = {"gsm8k": "math", "math_train": "math", "mbpp": "code"}


def _domains(name: str) -> set[str]:
    if name == "embedded":
        return {s.domain for s in skills().values()}
    if name not in REAL_DOMAINS:
        raise ValueError(f"task_sets: got {name!r}, wanted some of {['embedded', *REAL_DOMAINS]}")
    return {REAL_DOMAINS[name]}


def training_tasks(
    names: Sequence[str], n: int, weights: Mapping[str, float] | None = None, seed: int = 0
) -> list[Task]:
    """`n` tasks of the sets in the domain shares `weights` (all domains of the sets alike when None). Sets
    that share a domain contribute equally. Raises ValueError when a domain with a share has no set, or a
    real set too few rows."""
    if not names:
        raise ValueError("task_sets: got none, wanted at least one, such as ['embedded']")
    if weights is None:
        weights = {d: 1.0 for d in DOMAINS if any(d in _domains(name) for name in names)}
    givers_of = {domain: [name for name in names if domain in _domains(name)] for domain in weights}
    if empty := [d for d, share in weights.items() if share and not givers_of[d]]:
        raise ValueError(
            f"task_sets: {list(names)} hold no {empty[0]} question, but its share is {weights[empty[0]]}; "
            "set it to 0"
        )
    tasks: list[Task] = []
    for domain, count in zip(weights, largest_remainder(n, list(weights.values())), strict=True):
        givers = givers_of[domain]
        for name, part in zip(
            givers, largest_remainder(count, [1.0] * len(givers)) if givers else [], strict=True
        ):
            if name == "embedded":
                tasks += sample(part, "train", seed, {domain: 1.0})
            elif part:
                found = real_tasks(name, "train", part, seed)
                if len(found) < part:
                    raise ValueError(
                        f"task_sets: {name} has {len(found)} usable train rows, its share asks for {part}; "
                        "lower the sample count"
                    )
                tasks += found
    random.Random(seed).shuffle(tasks)
    return tasks


def evaluation_tasks(names: Sequence[str], n: int, split: str = "operands") -> list[Task]:
    """`n` held-out questions of each set: the world's `split`, or a real set's test split."""
    tasks: list[Task] = []
    for name in names:
        _domains(name)
        tasks += eval_tasks(n, split) if name == "embedded" else real_tasks(name, "test", n, seed=0)
    return tasks


def real_tasks(name: str, split: str, limit: int, seed: int) -> list[Task]:
    """Rows of a registry set as tasks. MBPP rows whose asserts are not calls with literal arguments and
    answers are left out."""
    if name == "math_train" and split != "train":
        raise ValueError("task_sets: math_train has no test split; evaluate on gsm8k or mbpp")
    purpose = "train" if split == "train" else "eval"
    extra = limit * 3 if name == "mbpp" else limit
    rows = sources.load(name, split=split, limit=extra, seed=seed, purpose=purpose)
    tasks = [task for row in rows if (task := _to_task(name, split, row))]
    return tasks[:limit]


def _to_task(name: str, split: str, row: Mapping) -> Task | None:
    prompt, domain = row["prompt"], REAL_DOMAINS[name]
    if name == "mbpp":
        from nbkit.verify.suites import mbpp_calls

        parsed = mbpp_calls(row["tests"])
        if parsed is None or any(isinstance(call.args, str) for call in parsed[1]):
            return None
        entry, calls = parsed
        question = f"{prompt}\nWrite the Python function {entry}. It must pass: {row['tests'][0]}"
        pairs = tuple((tuple(call.args), call.expected) for call in calls)
        return Task(
            name,
            domain,
            1,
            split,
            question,
            ("Write the function.",),
            row["response"].replace("\r", ""),
            "code",
            pairs,
            entry,
        )
    # GSM8K marks calculations <<48/2=24>>; the model should not learn to write the markup
    solution = re.sub(r"<<.*?>>", "", row.get("response") or "").split("####")[0].strip()
    steps = tuple(line for line in solution.split("\n") if line) or ("",)
    return Task(name, domain, 1, split, prompt, steps, row["answer"], "math")
