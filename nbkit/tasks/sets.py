"""Questions for training and evaluation, from the embedded world or from real sets, as one type: `Task`.
Used by 03-07.

    tasks = training_tasks(["embedded"], 3000, {"math": 0.5, "science": 0.3, "code": 0.2}, seed=0)
    tasks = evaluation_tasks(["gsm8k"], 50)
Real sets come through the registry (hub or NBKIT_DATA_DIR). Training takes their train split, evaluation
their test split; of tool chats, which have none, the calls of an eighth of the tools. Open questions
(kind "open") are trained on only, as nothing can grade them. Names such as "reasoning_gym:easy" are made by
that library's generators (gym.py).
"""

import json
import logging
import random
import re
from collections.abc import Mapping, Sequence

from nbkit.run import progress
from nbkit.tasks import sources
from nbkit.tasks.gym import PREFIX, gym_tasks, is_gym
from nbkit.tasks.gym import domains as gym_domains
from nbkit.tasks.skills import DOMAINS, Task, checkable, held_out, largest_remainder, sample, skills
from nbkit.tasks.world import eval_tasks
from nbkit.text.tool_calls import parse_tool_call, tool_call
from nbkit.verify.code.suites import mbpp_calls

REAL_DOMAINS = {
    "gsm8k": "math",
    "math_train": "math",
    "mbpp": "code",
    "self_instruct_seed": "general",
    "dolly_hh_sft": "general",
    "glaive_toolcall": "agent",
}
OPEN_SETS = ("self_instruct_seed", "dolly_hh_sft")


def _domains(name: str) -> set[str]:
    if name == "embedded":
        return {s.domain for s in skills().values()}
    if is_gym(name):
        return gym_domains(name)
    if name not in REAL_DOMAINS:
        known = ["embedded", *REAL_DOMAINS, f"{PREFIX}easy"]
        raise ValueError(f"task_sets: got {name!r}, wanted some of {known}")
    return {REAL_DOMAINS[name]}


def domains_of(names: Sequence[str]) -> set[str]:
    """The domains that the sets hold between them. Raises ValueError for an unknown set."""
    return set().union(*map(_domains, names))


@progress.doing("drawing tasks")
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
    # Which sets can give questions of which domain.
    givers_of = {domain: [name for name in names if domain in _domains(name)] for domain in weights}
    if empty := [d for d, share in weights.items() if share and not givers_of[d]]:
        raise ValueError(
            f"task_sets: {list(names)} hold no {empty[0]} question, but its share is {weights[empty[0]]}; "
            "set it to 0"
        )
    tasks: list[Task] = []
    for domain, count in zip(weights, largest_remainder(n, list(weights.values())), strict=True):
        # Exact counts per domain, and alike among its sets.
        givers = givers_of[domain]
        for name, part in zip(
            givers, largest_remainder(count, [1.0] * len(givers)) if givers else [], strict=True
        ):
            if name == "embedded":
                tasks += sample(part, "train", seed, {domain: 1.0})
            elif part:
                # A real set may run out; a short count would shift the shares.
                found = real_tasks(name, "train", part, seed, domain)
                if len(found) < part:
                    raise ValueError(
                        f"task_sets: {name} has {len(found)} usable train rows, its share asks for {part}; "
                        f"lower the sample count or the share of {domain}, or add a set that holds it"
                    )
                tasks += found
    random.Random(seed).shuffle(tasks)
    return tasks


def at_shares(
    domains: Sequence[str], shares: Mapping[str, float], total: int, most: int = 4, seed: int = 0
) -> list[int]:
    """Indices into `domains`, about `total`, drawn so that domains stand in their `shares`. A domain with too
    few is repeated, no index more than `most` times; beyond that the draw falls short of its share: compare
    what came with what was wanted. Raises ValueError when no index is left."""
    rng, chosen = random.Random(f"shares/{seed}"), []
    for domain, count in zip(shares, largest_remainder(total, list(shares.values())), strict=True):
        own = [i for i, found in enumerate(domains) if found == domain]
        rng.shuffle(own)
        # Passes over the domain's own ones until the count is reached, at most `most` of them.
        chosen += (own * most)[:count]
    if not chosen:
        raise ValueError(f"shares: none of {len(domains)} samples is of a domain in {dict(shares)}")
    rng.shuffle(chosen)
    return chosen


@progress.doing("drawing held-out questions")
def evaluation_tasks(names: Sequence[str], n: int, split: str = "operands") -> list[Task]:
    """`n` held-out questions of each set that can be graded, or all a real set has, always in the same
    order: the world's `split`, or a real set's test split. Sets of open questions are left out. Raises
    ValueError when no set is left, or one has no held-out questions."""
    for name in names:
        _domains(name)
    if not (graded := [name for name in names if name not in OPEN_SETS]):
        raise ValueError(
            f"task_sets: got {list(names)}, which hold open questions only; add a set whose answers can be "
            "graded, such as gsm8k"
        )
    tasks: list[Task] = []
    for name in graded:
        tasks += eval_tasks(n, split) if name == "embedded" else real_tasks(name, "test", n, seed=0)
    return tasks


def real_tasks(name: str, split: str, limit: int, seed: int, domain: str = "") -> list[Task]:
    """At most `limit` rows of a registry set, or questions of reasoning-gym, as tasks of `split` "train" or
    "test", drawn by `seed`; a smaller draw begins a larger one. Rows that make no task (see `_mbpp` and
    `_glaive`) are left out. `domain`: of a set with several, that one alone."""
    if is_gym(name):
        return gym_tasks(name, split, limit, seed, [domain] if domain else DOMAINS)
    if split == "test" and name in ("math_train", *OPEN_SETS):
        raise ValueError(f"task_sets: {name} has no test split; evaluate on gsm8k, mbpp or glaive_toolcall")
    purpose = "train" if split == "train" else "eval"
    # Tool chats have no test split: their tools are split instead.
    unsplit = name == "glaive_toolcall"
    rows = sources.load(name, split="train" if unsplit else split, purpose=purpose)
    make = {"mbpp": _mbpp, "glaive_toolcall": _glaive}.get(name, _open if name in OPEN_SETS else _math)
    # Rows that make no task are kept beside those that do, to say how many were left out.
    made = [(row, make(name, split, row)) for row in rows]
    tasks = [task for _, task in made if task]
    if broken := [row["left_out"] for row, task in made if task is None and row.get("left_out")]:
        logging.getLogger(__name__).warning(
            "%s: %d of %d rows left out as malformed; the first: %s", name, len(broken), len(made), broken[0]
        )
    if unsplit:
        tasks = _split_by_tool(tasks, split)
    # A permutation cut at `limit`: a smaller draw begins a larger one.
    return random.Random(seed).sample(tasks, len(tasks))[:limit]


def _split_by_tool(tasks: Sequence[Task], split: str) -> list[Task]:
    """The different tasks of one side. The name of the called tool decides, because questions about one tool
    are near copies of each other: an eighth of the tools is called in held-out questions only. Nor does
    training see a held-out question with other tools, or with other numbers in it."""
    # The set repeats conversations: equal tasks must not stand on both sides.
    different = list(dict.fromkeys(tasks))
    test: dict[str, Task] = {}
    for task in different:
        if _held_out_tool(task):
            test.setdefault(_plain(task.question), task)
    if split == "test":
        return list(test.values())
    return [t for t in different if not _held_out_tool(t) and _plain(t.question) not in test]


def _held_out_tool(task: Task) -> bool:
    call = parse_tool_call(task.answer) if checkable(task) else None
    return call is not None and held_out(call["name"])


def _plain(question: str) -> str:
    """Without case, spacing and numbers."""
    return re.sub(r"\d+", "0", " ".join(question.casefold().split()))


def _math(name: str, split: str, row: Mapping) -> Task:
    """The chain of thought is the worked solution, where the set has one, without the answer line."""
    # GSM8K writes the answer after "####": a chain must not give it away as a step.
    steps = (row.get("response") or "").split("####")[0].strip().split("\n")
    return Task(name, "math", 1, split, row["prompt"], tuple(filter(None, steps)), row["answer"], "math")


def _mbpp(name: str, split: str, row: Mapping) -> Task | None:
    """None for the few rows whose asserts are not calls with literal arguments and answers, or need a setup.
    MBPP has no reasoning: the one step reads the signature off the example that the question shows."""
    # A test that is no plain call cannot be graded without trusting the program.
    parsed = mbpp_calls(row["tests"])
    if parsed is None or row["setup"] or any(isinstance(call.args, str) for call in parsed[1]):
        return None
    entry, calls = parsed
    question = f"{row['prompt']}\nWrite the Python function {entry}. It must pass: {row['tests'][0]}"
    kinds = [type(value).__name__ for value in (*calls[0].args, calls[0].expected)]
    step = f"The example gives the signature: {entry}({', '.join(kinds[:-1])}) -> {kinds[-1]}."
    pairs = tuple((tuple(call.args), call.expected) for call in calls)
    return Task(name, "code", 1, split, question, (step,), row["response"], "code", pairs, entry)


def _open(name: str, split: str, row: Mapping) -> Task:
    return Task(name, REAL_DOMAINS[name], 1, split, row["prompt"], (), row["response"], "open")


def _glaive(name: str, split: str, row: Mapping) -> Task | None:
    """The first user turn and its answer: one tool call, or an open answer that asks back or refuses (to be
    trained on, so that a model does not always call). None without tools, without an answer or with several
    calls. The set's only system prompt says no more than "use the tools", and is dropped."""
    # The first user turn and the one that follows it; system prompts before it are dropped.
    turns = iter(row["messages"])
    question = next((turn for turn in turns if turn["role"] == "user"), {"content": ""})["content"]
    turn = next(turns, {"role": "nobody"})
    calls = [call["function"] for call in turn.get("tool_calls", ())]
    if not row["tools"] or not question or turn["role"] != "assistant" or len(calls) > 1:
        return None
    steps = tuple(line for line in turn.get("reasoning_content", "").split("\n") if line.strip())
    kind, answer = "open", turn["content"]
    if calls:
        kind, answer = "tool", tool_call(calls[0]["name"], **calls[0]["arguments"])
    tools = tuple(json.dumps(tool.get("function", tool), ensure_ascii=False) for tool in row["tools"])
    return Task(name, "agent", 1, split, question, steps, answer, kind, tools=tools)
