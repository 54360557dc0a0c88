"""The table of benchmarks: benchmarks.yaml, read and checked. Used by the modules beside it and the docs.

benchmark("gsm8k").decoding           # Decoding(temperature=0.0, top_p=1.0, max_new_tokens=1024, k=1)
benchmark("aime24").decoding.k        # 8
"""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from nbkit.tasks import gym

SUITES = ("chat", "base", "more")
ANSWERS = ("generate", "choose", "judge")
_FILE = Path(__file__).parent / "benchmarks.yaml"


@dataclass(frozen=True)
class Decoding:
    """How answers are sampled. `temperature` 0 is greedy; `k` answers to each question (avg@k)."""

    temperature: float = 0.0
    top_p: float = 1.0
    max_new_tokens: int = 1024
    k: int = 1

    def __post_init__(self) -> None:
        for name, valid, wanted in (
            ("temperature", self.temperature >= 0, "0 (greedy) or more"),
            ("top_p", 0 < self.top_p <= 1, "more than 0, at most 1"),
            ("max_new_tokens", self.max_new_tokens >= 1, "1 or more"),
            ("k", self.k >= 1, "1 or more"),
        ):
            if not valid:
                raise ValueError(f"{name}: got {getattr(self, name)}, wanted {wanted}")
        # Greedy answers are all alike: their mean would pretend to more evidence than there is.
        if self.k > 1 and self.temperature == 0:
            raise ValueError(
                f"k: got {self.k} answers per question at temperature 0, where all are the same; "
                "give --temperature 0.6, or --k 1"
            )


@dataclass(frozen=True)
class Shots:
    """Worked examples before a question, for models without a chat form. `keep`: first and last of a numeric
    column; `text`: how one is written."""

    number: int
    mirror: str | None
    hub: str | None
    text: str
    keep: Mapping[str, list[int]] = field(default_factory=dict)


@dataclass(frozen=True)
class Benchmark:
    """One benchmark.

    `hub`: address OWNER/NAME@REVISION#CONFIG?SPLIT. `mirror`: a file under NBKIT_DATA_DIR. `keep`: as in
    `Shots`. `reads`: the reader of its rows (readers.py). `answers`: "generate" text, "choose" by
    log-likelihood, or "judge" (generated text that another model marks). `chat`, `base`: the question as a
    user's turn, and as a document to complete; `head` stands before the worked examples of the latter, `stop`
    ends its answer. `verifier`: what marks an answer (grading.py, judge.py), or the metric of "choose".
    `also`: regular expressions of lm-evaluation-harness, whose matches are scored beside it; `pick`: 0 for
    the first match, -1 for the last.
    """

    name: str
    title: str
    suite: str
    reads: str
    answers: str
    verifier: str
    hub: str | None = None
    mirror: str | None = None
    keep: Mapping[str, list[int]] = field(default_factory=dict)
    chat: str = ""
    base: str | None = None
    head: str = ""
    stop: tuple[str, ...] = ()
    shots: Shots | None = None
    also: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    note: str = ""
    decoding: Decoding = field(default_factory=Decoding)

    @property
    def stem(self) -> str:
        """What its files are called: a colon is no character of a file's name on Windows."""
        return self.name.replace(":", ".")

    @property
    def revision(self) -> str:
        """The pinned commit or branch of the hub's set, "" without one."""
        address = (self.hub or "").partition("@")[2]
        return address.partition("#")[0].partition("?")[0]


_SAMPLING = ("temperature", "top_p", "max_new_tokens", "k")


@cache
def benchmarks() -> dict[str, Benchmark]:
    """Every benchmark by name. Raises ValueError that names an entry of the file that cannot be used."""
    rows = yaml.safe_load(_FILE.read_text(encoding="utf-8"))
    return {name: _made(name, row) for name, row in rows.items() if not name.startswith("_")}


def _made(name: str, row: Mapping[str, Any]) -> Benchmark:
    own = {key: value for key, value in row.items() if key not in _SAMPLING}
    if own["suite"] not in SUITES or own["answers"] not in ANSWERS:
        raise ValueError(
            f"{_FILE.name}: {name}: got suite {own['suite']!r} and answers {own['answers']!r}, wanted some "
            f"of {SUITES} and {ANSWERS}"
        )
    own["stop"] = tuple(own.get("stop", ()))
    if own.get("shots"):
        own["shots"] = Shots(**own["shots"])
    own["decoding"] = Decoding(**{key: row[key] for key in _SAMPLING if key in row})
    return Benchmark(name, **own)


def benchmark(name: str) -> Benchmark:
    """One by name, or reasoning-gym's tasks by theirs ("reasoning_gym:gcd"). Raises ValueError with the
    nearest known name."""
    known = benchmarks()
    if gym.is_gym(name):
        gym.kinds(name)
        general = known[gym.PREFIX.removesuffix(":")]
        return replace(general, name=name, title=f"{general.title}: {name.removeprefix(gym.PREFIX)}")
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1, cutoff=0.0)[0]
        raise ValueError(
            f"tasks: got {name!r}, which is no benchmark; did you mean {near!r}? `nbkit eval --list` "
            "shows all"
        )
    return known[name]
