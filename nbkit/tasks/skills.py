"""Skills of the embedded world: what a task is, how it is drawn, split and verified.

Used by 01 (documents), 03-06 (prompts) and 07 (evaluation). The skills themselves stand in
`bank/`, the documents made from them in `world.py`. Every task carries a worked solution, a short
answer and a verifier, so each stage can *measure* what it changed without a download.

Splits hold by construction, for every seed (a task's key decides, not chance):
    train         seen operands, seen wordings
    operands      operands that no training document contains (for fact skills: unseen fact-wording pairs)
    template      a wording that no training document uses
    composition   more steps than trained (level 5), for the skills that have such a level

Levels: pre-training reads levels 1 to 3 and about 1% of level 4, RL practises on 3 and 4, and level 5 is in
the test only.

    >>> task = draw("add", level=1, split="operands", rng=random.Random(0))
    >>> verify(task, task.answer)
    True
"""

import hashlib
import logging
import random
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from nbkit.text.chat import final_answer, split_thought
from nbkit.text.tool_calls import called, parse_tool_call, same_calls, tool_call
from nbkit.verify import gym
from nbkit.verify.answers.compare import equivalent
from nbkit.verify.answers.extract.answer import extract_answer
from nbkit.verify.code.blocks import extract_code
from nbkit.verify.code.grade import Call, grade
from nbkit.verify.code.pieces import parse
from nbkit.verify.errors import GraderError, settled

__all__ = ["parse_tool_call", "tool_call"]  # they belong to what a task is, so they are offered here too
DOMAINS = ("math", "science", "code", "general", "agent")
SPLITS = ("train", "operands", "template", "composition")
HELD_OUT_ONE_IN = 8
_TOLD: set[str] = set()  # tasks of reasoning-gym of which a log line was written
COMMON_LEVEL, RARE_LEVEL, TEST_LEVEL = 3, 4, 5  # most text has at most the first; composition is the last


@dataclass(frozen=True)
class Task:
    """One question with its worked solution. `calls` are (arguments, expected) of code tasks, `tools` the
    JSON schemas of the tools a model may call. `kind` chooses the verifier: text, number (the whole
    answer), math (an answer inside prose), tool, code, gym (reasoning-gym's own), or open (no single right
    answer: none). `entry`: the function that a program must define; for kind gym what the library's grader
    wants, as JSON."""

    skill: str
    domain: str
    level: int
    split: str
    question: str
    steps: tuple[str, ...]
    answer: str
    kind: str = "text"
    calls: tuple[tuple[tuple, object], ...] = ()
    entry: str = ""
    tools: tuple[str, ...] = ()

    @property
    def chain(self) -> str:
        return "\n".join(self.steps)


@dataclass(frozen=True)
class Draft:
    """What a skill function returns: the template slots, the steps, the answer (and tests for code)."""

    slots: dict
    steps: list[str]
    answer: object
    calls: tuple = ()
    entry: str = ""
    free: tuple[str, ...] = ()  # slots that do not change the task, such as the name of a function


@dataclass(frozen=True)
class Skill:
    name: str
    domain: str
    make: Callable[[random.Random, int], Draft]
    templates: tuple[str, ...]
    kind: str = "text"
    levels: int = 1
    composes: bool = False
    fact: bool = False

    def splits(self) -> tuple[str, ...]:
        return SPLITS if self.composes else SPLITS[:3]


@dataclass
class Registry:
    skills: dict[str, Skill] = field(default_factory=dict)

    def add(self, domain: str, *templates: str, **options) -> Callable:
        def register(make: Callable) -> Callable:
            self.skills[make.__name__] = Skill(make.__name__, domain, make, templates, **options)
            return make

        return register


REGISTRY = Registry()
skill = REGISTRY.add


def skills() -> dict[str, Skill]:
    """All skills by name (fills the registry on first use)."""
    from nbkit.tasks import bank  # noqa: F401, PLC0415 (importing it registers the skills)

    return REGISTRY.skills


def held_out(key: str) -> bool:
    """Does this operand key belong to the held-out eighth? A pure function of the key, so that no seed can
    leak it."""
    # The first byte of a hash: Python's own `hash` differs from process to process.
    return hashlib.sha256(key.encode()).digest()[0] % HELD_OUT_ONE_IN == 0


def draw(name: str, level: int, split: str, rng: random.Random) -> Task:
    """One task of a skill. Raises ValueError for an unknown skill or split, or a level the skill does not
    have."""
    # Is there such a task at all?
    known = skills()
    if name not in known:
        raise ValueError(f"skill: got {name!r}, wanted one of {sorted(known)}")
    spec = known[name]
    if split not in spec.splits():
        raise ValueError(f"split: got {split!r} for skill {name!r}, wanted one of {spec.splits()}")
    if split == "composition":
        level = TEST_LEVEL
    elif not 1 <= level <= spec.levels:
        raise ValueError(f"level: got {level} for skill {name!r}, wanted 1..{spec.levels}")
    # Draws until one falls on the wanted side: an eighth of the operands is held out.
    for _ in range(1000):
        # The last template is held out for the split "template".
        draft = spec.make(rng, level)
        index = len(spec.templates) - 1 if split == "template" else rng.randrange(len(spec.templates) - 1)
        # Train or held out, decided by a hash of skill and operands: the same in every process.
        operands = sorted((slot, value) for slot, value in draft.slots.items() if slot not in draft.free)
        key = f"{name}|{operands}" + (f"|{index}" if spec.fact else "")
        if split == "composition" or held_out(key) == (split == "operands"):
            return Task(
                name,
                spec.domain,
                level,
                split,
                spec.templates[index].format(**draft.slots),
                tuple(draft.steps),
                str(draft.answer),
                spec.kind,
                draft.calls,
                draft.entry,
            )
    raise AssertionError(f"skill {name} has no task in split {split} at level {level}")


def sample(
    n: int,
    split: str = "train",
    seed: int = 0,
    weights: dict[str, float] | None = None,
    names: Iterable[str] | None = None,
    levels: tuple[int, int] = (1, COMMON_LEVEL),
) -> list[Task]:
    """`n` tasks. `weights` are domain shares (the report's 50/30/20, for example), met exactly up to
    rounding; without them every skill is equally likely. Skills and levels rotate inside a domain, so that
    small samples stay balanced. `levels`: lowest and highest; skills that end below the lowest are left out.
    Raises ValueError when a domain is unknown or has no skill left."""
    # The skills that may be drawn; `n` belongs to the seed: a larger sample is another one.
    rng = random.Random(f"{seed}/{split}/{n}")
    low, high = levels
    wanted = set(skills() if names is None else names)
    pool = [s for s in skills().values() if split in s.splits() and s.name in wanted and s.levels >= low]
    if not pool:
        raise ValueError(
            f"names: no skill of {sorted(names or [])} has a split {split!r} and a level from {low} up"
        )
    # How many from which: from all alike, or exact counts per domain.
    if weights is None:
        counts, groups = [n], [pool]
    else:
        if unknown := set(weights) - set(DOMAINS):
            raise ValueError(f"weights: unknown domain {sorted(unknown)}, wanted some of {DOMAINS}")
        counts = largest_remainder(n, list(weights.values()))
        groups = [[s for s in pool if s.domain == domain] for domain in weights]
    tasks = []
    for count, group in zip(counts, groups, strict=True):
        if count and not group:
            raise ValueError(
                f"weights: no skill to draw {count} tasks of split {split!r} from; drop that domain's share"
            )
        # Skills in turn, in an order of their own, levels at random.
        order = rng.sample(group, len(group))
        for i in range(count):
            spec = order[i % len(order)]
            tasks.append(draw(spec.name, rng.randint(low, min(spec.levels, high)), split, rng))
    rng.shuffle(tasks)
    return tasks


def largest_remainder(total: int, shares: list[float]) -> list[int]:
    """Split `total` into integers proportional to `shares`; they sum to `total` exactly."""
    # Whole parts first, then the largest remainders, so that the total is exact.
    exact = [total * share / sum(shares) for share in shares]
    counts = [int(x) for x in exact]
    by_remainder = sorted(range(len(shares)), key=lambda i: (counts[i] - exact[i], i))
    for i in by_remainder[: total - sum(counts)]:
        counts[i] += 1
    return counts


def program(response: str) -> str:
    """Where a response has its program: after the thought, and in a worked document behind its label."""
    text = split_thought(response)[1].strip()
    # What is a program as it stands, or has one in fences, is left to `extract_code`.
    return text if "```" in text or "~~~" in text or parse(text) is not None else final_answer(response)


def checkable(task: Task) -> bool:
    """Has the task a verifier? Open questions can be trained on, not scored."""
    return task.kind != "open"


def verify(task: Task, response: str, jail=None) -> bool:
    """Is the response's final answer right? Code runs in `jail` (required for kind 'code'; ValueError
    without one). The tool calls must be the wanted ones in name and every argument, each as often, in any
    order (docs/formats.md).

    Raises ValueError for an open question, GraderError when the grader itself failed."""
    if not checkable(task):
        raise ValueError(
            f"task of {task.skill}: open questions have no verifier, they can be trained on, not scored; "
            "leave them out with nbkit.tasks.skills.checkable"
        )
    # Each kind of answer has its own way to be read and compared.
    if task.kind == "number":
        answer = final_answer(response)
        return worked_out(answer) and equivalent(answer, task.answer, jail)
    if task.kind == "math":  # real questions: the answer stands somewhere in prose
        return equivalent(extract_answer(response), task.answer, jail)
    if task.kind == "tool":
        return same_calls(called(response), wanted_calls(task))
    if task.kind == "code":
        if jail is None:
            raise ValueError("jail: code tasks run only in a jail; pass an open nbkit.verify.jail.jail.Jail")
        # Code is right if it passes every test in the jail.
        calls = [Call(list(arguments), expected) for arguments, expected in task.calls]
        result = grade(jail, extract_code(program(response), task.entry), task.entry, calls)
        return settled(result, f"grade a {task.skill} answer").status == "pass"
    if task.kind == "gym":  # near misses have a score of their own: right is full marks
        return library_score(task, response) >= 1.0
    # Words: spaces do not count.
    return final_answer(response).split() == task.answer.split()


def library_score(task: Task, response: str) -> float:
    """What reasoning-gym gives for a response to one of its tasks, 0 to 1; logs why one could not be
    compared. Raises GraderError as `nbkit.verify.gym.Grader.score` does."""
    told = gym.score(task.entry, gym.said(response, gym.is_number(task.answer)))
    if told.detail and task.skill not in _TOLD:
        _TOLD.add(task.skill)
        log = logging.getLogger(__name__).warning
        log("%s: an answer counts as wrong (told once per task): %s", task.skill, told.detail)
    return told.value


# An operation between two numbers, a power, a root, a factorial; "1,000", "-4" and "3 apples" have none.
_OPERATION = re.compile(
    r"[\d)}]\s*(?:[-+*/^×·÷−:x]|\\times|\\cdot|\\div)\s*[-−(\\{]*\d|[)\d]\s*\(|\d\s*!|sqrt|frac|√|%\s*\d"
)


def worked_out(answer: str) -> bool:
    """Is this answer of the embedded world a number, not the question's expression again? "4 * 2" equals 8,
    but says nothing that "Compute 4 * 2." does not say. What stands after the last "=" counts."""
    return _OPERATION.search(answer.rpartition("=")[2]) is None


def wanted_calls(task: Task) -> list[dict]:
    """The calls of a tool task's answer. Raises GraderError where it is none: then it pays nobody."""
    calls = called(task.answer)
    if calls is None:
        raise GraderError(f"the answer {task.answer!r:.100} of the set is no tool call")
    return calls
