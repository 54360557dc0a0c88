"""Questions that are made here, not read: those of the embedded world and of reasoning-gym. Used by items.py.

found, source = rows("embedded", 50)
READERS["world"](found[0], 0)                      # Item("multiply-1", ...)
"""

import json
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

from nbkit.evals.bench.readers import Item
from nbkit.run import files
from nbkit.tasks import gym, world
from nbkit.verify.gym import PACKAGE, require

EMBEDDED = "embedded"
_QUESTIONS = {EMBEDDED: 600}  # where no limit says how many
_OTHERS = 200


def rows(name: str, limit: int | None = None) -> tuple[list[Mapping], dict[str, Any]]:
    """The first `limit` test questions of a name, in an order of their own that no limit changes, and where
    they come from: "embedded" (unseen operands, as in 07), or tasks of reasoning-gym (nbkit/tasks/gym.py).
    Raises ValueError as `gym.kinds` and `world.eval_tasks` do."""
    limit = limit or _QUESTIONS.get(name, _OTHERS)
    count: Counter[str] = Counter()
    found = []
    if name == EMBEDDED:
        for task in world.eval_tasks(limit, "operands"):
            count[task.skill] += 1
            found.append({"id": f"{task.skill}-{count[task.skill]}", "task": task})
        return found, {"from": "nbkit.tasks.world", "rows": files.digest([repr(row) for row in found])}
    for task in gym.gym_tasks(name if gym.is_gym(name) else f"{gym.PREFIX}easy", "test", limit):
        kind = task.skill.removeprefix(gym.PREFIX)
        count[kind] += 1
        about = {"id": f"{kind}-{count[kind]}", "question": task.question, "answer": task.answer}
        found.append(about | {"task": kind, "entry": task.entry})
    return found, {"from": PACKAGE, "rows": files.digest(found)}


def _world(row: Mapping, number: int) -> Item:
    task = row["task"]
    tools = tuple(json.loads(tool) for tool in task.tools)
    about = {"group": task.domain, "tools": tools, "extra": {"task": task}}
    return Item(row["id"], {"question": task.question}, task.answer, **about)


def _gym(row: Mapping, number: int) -> Item:
    """Asked as the library asks: with its system prompt, which wants the answer in <answer> tags."""
    require()
    from reasoning_gym.utils import SYSTEM_PROMPTS  # noqa: PLC0415 (optional)

    before = ({"role": "system", "content": SYSTEM_PROMPTS["default"].strip()},)
    return Item(
        row["id"],
        {"question": row["question"]},
        row["answer"],
        group=row["task"],
        before=before,
        extra={"entry": row["entry"]},
    )


READERS: dict[str, Callable[[Mapping, int], Item | None]] = {"gym": _gym, "world": _world}
