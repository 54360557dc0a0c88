"""Questions that no one here wrote: the procedural generators of reasoning-gym, each with its own verifier.
Used by sets.py (`task_sets` of 03-07) and nbkit/evals/bench (`nbkit eval --tasks`).

    reasoning_gym:chain_sum           one task at its easiest level
    reasoning_gym:chain_sum@2         the same at level 2 of the library's own curriculum
    reasoning_gym:chain_sum+gcd@1     several, in turn
    reasoning_gym:easy                those of EASY, in turn

Training and test differ twice: they are drawn by different seeds, and a hash of its text puts an eighth of
all questions on the side of the test, as in the embedded world. So no seed, level or size lets a question
stand on both sides. Grades: nbkit/verify/gym.py.
"""

import contextlib
import difflib
import hashlib
import io
import json
import random
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from nbkit.run import progress
from nbkit.tasks.skills import Task, held_out
from nbkit.verify import gym
from nbkit.verify.gym_worker import dataset, graded

PREFIX = "reasoning_gym:"
# Questions of at most 150 characters or so. SmolLM2-135M-Instruct got the first six right at least once in 12
# training questions, asked bare; the others never, but they have short answers (LOG.md).
EASY = (
    "basic_arithmetic",
    "chain_sum",
    "products",
    "gcd",
    "count_bits",
    "letter_counting",
    "spell_backward",
    "family_relationships",
    "leg_counting",
    "number_sequence",
    "decimal_chain_sum",
    "prime_factorization",
)
_RUNS = "its grader evaluates the answer as Python"
_NAN = "its grader calls NaN right"
_NO_KEY = "its entries have no answer to learn from"
_VARIES = "its entries differ from process to process"
LEFT_OUT = {
    "composite": "it is made of others",
    "binary_matrix": _RUNS,
    "n_queens": _RUNS,
    "spiral_matrix": _RUNS,
    "string_insertion": _RUNS,
    "countdown": f"{_RUNS} (sympy.parse_expr)",
    "puzzle24": f"{_RUNS} (sympy.parse_expr)",
    "intermediate_integration": f"{_RUNS} (sympy.parse_expr)",
    "polynomial_multiplication": f"{_RUNS} (sympy.parse_expr)",
    "simple_integration": f"{_RUNS} (sympy.parse_expr)",
    "codeio": "its questions are made by running programs that a model wrote",
    "game_of_life_halting": "its grader calls every answer right that is not empty",
    "coin_flip": 'its grader calls a prefix right: "0" for 0.125',
    "complex_arithmetic": _NAN,
    "number_sorting": _NAN,
    "boxnet": _NO_KEY,
    "graph_color": _NO_KEY,
    "propositional_logic": _NO_KEY,
    "rubiks_cube": _NO_KEY,
    "rush_hour": _NO_KEY,
    "isomorphic_strings": _VARIES,
    "list_functions": _VARIES,
    "ransom_note": _VARIES,
    "word_ladder": _VARIES,
    "pool_matrix": "it reseeds numpy's global random numbers",
    "arc_agi": "its grader wants tuples, which JSON does not keep",
    "rearc": "its grader wants tuples, which JSON does not keep",
    "knight_swap": "the library refuses its own easiest level",
    "sokoban": "a question takes half a minute to make",
}
_MATH = ("algebra", "arithmetic", "geometry", "probability")  # the library's folders; the others: general
_TRIES = 50  # of a draw: one in eight is held out
_CHUNK = 100  # entries of one data set of the library
_PATIENCE = 8  # chunks in a row without a new question, after which a task has no more


@dataclass(frozen=True)
class Kind:
    """One task of the library at one level."""

    name: str
    level: int = 0

    def __str__(self) -> str:
        return f"{PREFIX}{self.name}" + (f"@{self.level}" if self.level else "")


def is_gym(name: str) -> bool:
    return name.startswith(PREFIX)


def kinds(name: str) -> list[Kind]:
    """The tasks that a name stands for. Raises ValueError for a name or level that is none, one that is left
    out (with the reason), and without the library."""
    gym.require()
    found: list[Kind] = []
    for part in name.removeprefix(PREFIX).split("+"):
        task, _, level = part.strip().partition("@")
        if level and not level.isdecimal():
            raise ValueError(f"{name}: got level {level!r}, wanted a number, such as {PREFIX}{task}@1")
        found += [_kind(one, int(level or 0)) for one in (EASY if task == "easy" else (task,))]
    return list(dict.fromkeys(found))


def _kind(task: str, level: int) -> Kind:
    from reasoning_gym.factory import CURRICULA, DATASETS, create_curriculum  # noqa: PLC0415 (optional)

    known = sorted(set(DATASETS) - set(LEFT_OUT))
    if task in LEFT_OUT:
        raise ValueError(
            f"{PREFIX}{task} is left out: {LEFT_OUT[task]}; take another one, such as {PREFIX}easy"
        )
    if task not in known:
        near = difflib.get_close_matches(task, ["easy", *known], n=1, cutoff=0.0)[0]
        raise ValueError(
            f"{PREFIX}{task}: reasoning-gym has no task {task!r}; did you mean {near!r}? docs/evaluation.md "
            "says which there are"
        )
    levels = [len(a.levels) for a in create_curriculum(task).attributes.values()] if task in CURRICULA else []
    if level >= max(levels, default=1):
        raise ValueError(
            f"{PREFIX}{task}@{level}: got level {level}, wanted 0 to {max(levels, default=1) - 1}, as its "
            "curriculum in the library has them"
        )
    return Kind(task, level)


def domain(kind: Kind) -> str:
    """math for the library's algebra, arithmetic, geometry and probability, else general."""
    from reasoning_gym.factory import DATASETS  # noqa: PLC0415 (optional)

    return "math" if DATASETS[kind.name][0].__module__.split(".")[1] in _MATH else "general"


def domains(name: str) -> set[str]:
    """Of all tasks that the name stands for."""
    return {domain(kind) for kind in kinds(name)}


@progress.doing("drawing reasoning-gym questions")
def gym_tasks(
    name: str, split: str, limit: int, seed: int = 0, wanted: Sequence[str] = ("math", "general")
) -> list[Task]:
    """At most `limit` different questions of split "train" or "test" from the tasks of the `wanted` domains,
    in turn; fewer only where these have no more. A smaller draw begins a larger one. The test split is the
    same for every seed. Steps are none: the library gives no solutions."""
    if split not in ("train", "test"):
        raise ValueError(f"split: got {split!r}, wanted 'train' or 'test'")
    circle = deque(_stream(kind, split, seed) for kind in kinds(name) if domain(kind) in wanted)
    found: list[Task] = []
    while circle and len(found) < limit:
        stream = circle.popleft()
        # A task that has no more leaves the circle.
        if task := next(stream, None):
            found.append(task)
            circle.append(stream)
    if not found and limit:
        raise ValueError(
            f"{name}: no question for split {split!r} at this level, where there are few; take a higher one "
            f"({PREFIX}NAME@LEVEL) or more tasks"
        )
    return found


def _stream(kind: Kind, split: str, seed: int) -> Iterator[Task]:
    """Different questions of one side, until `_PATIENCE` chunks bring no task."""
    seen: set[str] = set()
    idle = chunk = 0
    # The library adds the index to the seed, so seeds that follow each other would share questions.
    key = f"{kind}/test" if split == "test" else f"{kind}/{split}/{seed}"
    while idle < _PATIENCE:
        number = int.from_bytes(hashlib.sha256(f"{key}/{chunk}".encode()).digest()[:4], "big") >> 1
        made, idle = dataset(kind.name, kind.level, number, _CHUNK), idle + 1
        for place in range(_CHUNK):
            with contextlib.redirect_stdout(io.StringIO()):  # some generators print
                entry = made[place]
            text = entry["question"]
            if text not in seen and held_out(_text_key(text)) == (split == "test"):
                seen.add(text)
                if task := _task(kind, split, made, entry):
                    idle = 0
                    yield task
        chunk += 1


def draw(kind: Kind, rng: random.Random) -> Task | None:
    """A question of the training side, None where none was found. What it is follows from `rng`."""
    for _ in range(_TRIES):
        made = dataset(kind.name, kind.level, rng.getrandbits(31))
        with contextlib.redirect_stdout(io.StringIO()):
            entry = made[0]
        if not held_out(_text_key(entry["question"])) and (task := _task(kind, "train", made, entry)):
            return task
    return None


def _text_key(question: str) -> str:
    """Case and spaces make no other question."""
    return PREFIX + " ".join(question.casefold().split())


def _task(kind: Kind, split: str, made: Any, entry: dict) -> Task | None:
    """None for an entry that cannot be graded: without an answer, with one that its own grader does not
    accept once it was kept as JSON, or with a grader that accepts silence."""
    kept = json.dumps({"name": kind.name, "level": kind.level, "entry": entry}, default=str)
    plain = json.loads(kept)["entry"]
    answer = plain["answer"]
    if not isinstance(answer, str) or not answer.strip():
        return None
    if graded(made, answer, plain).get("score") != 1.0 or graded(made, "", plain).get("score") == 1.0:
        return None
    question = entry["question"].strip()
    return Task(str(kind), domain(kind), kind.level, split, question, (), answer, "gym", entry=kept)
