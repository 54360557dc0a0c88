"""The process that grades with reasoning-gym's own functions: a request a line in, a score a line out.

`gym.py` starts it by its path and ends it; the tasks of that library are made with `dataset`, too, so that
questions and grades come from the same settings. It imports nothing of nbkit. A request:

    {"name": "chain_sum", "level": 0, "entry": {"question", "answer", "metadata"}, "said": "7"}

What it answers: {"score": 1.0}, or {"error": "ValueError: ..."} where the library's function raised. One that
takes too much processor time ends the process, which is how `gym.py` hears of it.
"""

import json
import math
import os
import sys
from typing import Any

try:
    import resource
except ImportError:  # Windows: gym.py's clock alone bounds a grade there
    resource = None

SCORED = (0.0, 1.0)


def dataset(name: str, level: int, seed: int = 0, size: int = 1) -> Any:
    """A procedural data set of the library: entries by index, and `score_answer`. `level` counts from 0 in
    its curriculum, or is 0 where it has none. Raises ImportError without the library, and whatever that
    raises for settings that it refuses."""
    import reasoning_gym  # noqa: F401, PLC0415 (optional, and importing it fills the registry)
    from reasoning_gym.factory import CURRICULA, DATASETS, create_curriculum  # noqa: PLC0415 (with it)

    kind, config = DATASETS[name]
    given = {"seed": seed, "size": size}
    if name not in CURRICULA:
        return kind(config=config(**given))
    curriculum = create_curriculum(name)
    curriculum.set_global_level(level)
    return kind(config=curriculum.generate_configuration(given))


def graded(made: Any, said: str, entry: dict) -> dict[str, Any]:
    """The library's score of an answer to an entry, or the error it raised, or what else is wrong with it."""
    try:
        score = float(made.score_answer(said, entry))
    except Exception as error:
        return {"error": f"{type(error).__name__}: {error}"[:300]}
    if not math.isfinite(score) or not SCORED[0] <= score <= SCORED[1]:
        return {"error": f"the score {score} is no number from 0 to 1"}
    return {"score": score}


def _bounded(cpu_s: int, memory_mb: int) -> None:
    """Bound the next grade: `cpu_s` more seconds of processor time, then SIGXCPU ends this process."""
    if resource is None:
        return
    used = resource.getrusage(resource.RUSAGE_SELF)
    hard = resource.getrlimit(resource.RLIMIT_CPU)[1]
    resource.setrlimit(resource.RLIMIT_CPU, (int(used.ru_utime + used.ru_stime) + 1 + cpu_s, hard))
    try:
        size, own = memory_mb << 20, resource.getrlimit(resource.RLIMIT_AS)[1]
        resource.setrlimit(resource.RLIMIT_AS, (size, own))
    except (OSError, ValueError):  # macOS refuses it
        pass


def main(cpu_s: int, memory_mb: int) -> None:
    """Answer requests until the input ends."""
    # The library's modules print; what they print must not be taken for an answer.
    answers = os.fdopen(os.dup(1), "w", encoding="ascii")
    os.dup2(2, 1)
    made: dict[tuple[str, int], Any] = {}
    for line in sys.stdin:
        request = json.loads(line)
        key = request["name"], request["level"]
        if key not in made:
            made[key] = dataset(*key)
        _bounded(cpu_s, memory_mb)
        print(json.dumps(graded(made[key], request["said"], request["entry"])), file=answers, flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
