"""Questions that are made here, not read: those of reasoning-gym. Used by items.py.

found, source = rows("reasoning_gym:easy", 50)
READERS["gym"](found[0], 0)                        # Item("basic_arithmetic-1", ...)
"""

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

from nbkit.evals.bench.readers import Item
from nbkit.run import files
from nbkit.tasks import gym
from nbkit.verify.gym import PACKAGE, require

_QUESTIONS = 200  # where no limit says how many


def rows(name: str, limit: int | None = None) -> tuple[list[Mapping], dict[str, Any]]:
    """The first `limit` test questions of the tasks of a name (nbkit/tasks/gym.py), in an order of their own
    that no limit changes, and where they come from. Raises ValueError as `gym.kinds` does."""
    count: Counter[str] = Counter()
    found = []
    for task in gym.gym_tasks(name if gym.is_gym(name) else f"{gym.PREFIX}easy", "test", limit or _QUESTIONS):
        kind = task.skill.removeprefix(gym.PREFIX)
        count[kind] += 1
        about = {"id": f"{kind}-{count[kind]}", "question": task.question, "answer": task.answer}
        found.append(about | {"task": kind, "entry": task.entry})
    return found, {"from": PACKAGE, "rows": files.digest(found)}


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


READERS: dict[str, Callable[[Mapping, int], Item | None]] = {"gym": _gym}
