"""Questions at the policy's learning frontier: fresh ones of the embedded world without end, or those of a
real set. Used by 06.

    questions = Questions(world_cells({"math": 1.0}), {"math": 1.0}, seed=0, avoid=taught)
    rates = questions.survey(96, lambda tasks: pass_rates(generator, tasks, ...))   # avg@16 of each
    tasks = questions.draw(8)           # of cells inside the band, none asked before
    questions.told(tasks, [0.4, ...])   # a group of completions is a pass rate, too

The report samples every question 16 times before a stage and keeps those solved strictly between 10% and 90%
of the time. Of questions without end only a sample can be asked, so what is kept or left out is a *cell*: a
skill at a level (of a real set: the question itself). Each group of a training step is a further measure of
its cell; every `every` draws the filter is applied anew to what came since. A share `explore` of the draws
comes from all cells, so that easy ones stay in and a cell that has come within reach is noticed.
"""

import random
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from nbkit.tasks import gym
from nbkit.tasks.sets import domains_of, training_tasks
from nbkit.tasks.skills import Task, draw, skills
from nbkit.tasks.world import instruction
from nbkit.text.rows import read_rows

_TRIES = 60  # draws of a cell before it counts as exhausted
Prepare = Callable[[Task], Task | None]


@dataclass(frozen=True)
class Cell:
    """What the filter keeps or leaves out as one. `make(rng)` draws a question of it, None where one came out
    unusable (a program for which no tests were found)."""

    name: str
    domain: str
    make: Callable[[random.Random], Task | None]


def within_band(rates_P: np.ndarray, low: float = 0.1, high: float = 0.9) -> np.ndarray:
    """Which questions teach something: strictly between `low` and `high`, shape (P,) bool. A rate
    that is NaN counts as outside."""
    return (rates_P > low) & (rates_P < high)


def world_cells(
    domains: Collection[str], levels: tuple[int, int] = (1, 4), prepare: Prepare = lambda task: task
) -> list[Cell]:
    """Every skill of the domains at every level of it within `levels`, training split: its operands are held
    out of no question, those of the test are never drawn."""
    low, high = levels

    def cell(name: str, level: int) -> Cell:
        make = lambda rng: prepare(draw(name, level, "train", rng))  # noqa: E731 (one line, used once)
        return Cell(f"{name}/{level}", known[name].domain, make)

    known = skills()
    chosen = [s for s in known.values() if s.domain in domains]
    return [cell(s.name, level) for s in chosen for level in range(low, min(s.levels, high) + 1)]


def set_cells(tasks: Sequence[Task]) -> list[Cell]:
    """One cell per question: a real set has no more than it has."""

    def cell(number: int, task: Task) -> Cell:
        return Cell(f"{task.skill} {number}", task.domain, lambda rng: task)

    return [cell(number, task) for number, task in enumerate(tasks)]


def real_cells(
    names: Sequence[str],
    weights: Mapping[str, float],
    pool: int,
    seed: int,
    prepare: Prepare,
    avoid: Collection[str] = (),
) -> list[Cell]:
    """Cells of sets that are not the world's, in the domains of `weights`: of reasoning-gym one per task,
    whose questions never end and are none of `avoid` (texts of `instruction`); of the others one per
    question, of `pool` that are drawn by `seed`: they have no more. Raises ValueError as `training_tasks`
    does where there is none."""

    def cell(kind: gym.Kind) -> Cell:
        def make(rng: random.Random) -> Task | None:
            task = gym.draw(kind, rng)
            return prepare(task) if task and instruction(task) not in avoid else None

        return Cell(str(kind), gym.domain(kind), make)

    made = {kind: None for name in names if gym.is_gym(name) for kind in gym.kinds(name)}
    cells = [cell(kind) for kind in made if weights.get(gym.domain(kind))]
    # Beside cells without end, the other sets need not hold every domain; without, they must.
    fixed = [name for name in names if not (cells and gym.is_gym(name))]
    if cells:
        fixed = [name for name in fixed if domains_of([name]) & set(weights)]
        weights = {domain: share for domain, share in weights.items() if domain in domains_of(fixed)}
    drawn = training_tasks(fixed, pool, weights, seed) if weights else []
    return cells + set_cells([task for task in map(prepare, drawn) if task])


def asked_before(cold_start: Mapping[str, Any], logs: Iterable[Path]) -> set[str]:
    """Texts of the questions that earlier stages asked: 03 by its parameters, the others as the column
    `question` of their logs (JSON lines) says."""
    shares = dict(zip(("math", "science", "code"), cold_start["shares"], strict=True))
    tasks = training_tasks(cold_start["task_sets"], cold_start["samples"], shares, cold_start["seed"])
    return {instruction(task) for task in tasks} | {row["question"] for log in logs for row in read_rows(log)}


class NothingInBand(ValueError):
    """The filter leaves no question: the policy can do all of them, or none."""


class Questions:
    """A stream of questions that never asks one of `avoid` (texts of `instruction`), nor one twice while a
    fresh one is left; `counts` says how many were repeats.

    `weights`: shares of the domains. `band`: pass rates that are kept, strictly between. Everything follows
    from `seed` and what was told: two streams that were told the same ask the same."""

    def __init__(
        self,
        cells: Sequence[Cell],
        weights: Mapping[str, float],
        *,
        seed: int,
        band: tuple[float, float] = (0.1, 0.9),
        every: int = 10,
        explore: float = 0.15,
        avoid: Iterable[str] = (),
    ):
        if not cells:
            raise ValueError(
                f"questions: no cell in the domains {sorted(weights)}; add a task set that has some"
            )
        self.cells = {cell.name: cell for cell in cells}
        self.weights, self.seed, self.band, self.every, self.explore = weights, seed, band, every, explore
        self.avoid = set(avoid)
        self.asked: Counter[str] = Counter()
        self.cell_of: dict[str, str] = {}
        self.rates: dict[str, list[float]] = {}  # cell -> pass rates since the last filter
        self.kept = dict.fromkeys(self.cells, True)
        self.exhausted: list[str] = []
        self.calls = 0
        self.filtered: list[dict] = []  # a row per application of the filter

    def draw(self, n: int) -> list[Task]:
        """`n` questions in the shares of the domains."""
        if self.every and self.calls and self.calls % self.every == 0:
            self.refilter()
        rng = random.Random(f"{self.seed}/questions/{self.calls}")
        self.calls += 1
        return [self._one(rng) for _ in range(n)]

    def survey(self, n: int, rate: Callable[[list[Task]], np.ndarray]) -> tuple[list[Task], np.ndarray]:
        """(at most `n` questions, one cell after the other, their pass rates by `rate`, NaN where the grader
        failed); then the filter is applied to the cells. They do not count as asked. Raises NothingInBand."""
        rng, asked = random.Random(f"{self.seed}/survey/{self.calls}"), Counter(self.asked)
        order = rng.sample(list(self.cells), len(self.cells))
        tasks = [task for i in range(n) if (task := self._ask(order[i % len(order)], rng))]
        self.asked, self.exhausted = asked, []
        # A cell that nothing is known of is asked by `explore` only.
        self.kept = dict.fromkeys(self.cells, False)
        rates = np.asarray(rate(tasks), dtype=float)
        self.told(tasks, list(rates))
        self.refilter()
        if not any(self.kept.values()):
            counts, _ = np.histogram(rates[np.isfinite(rates)], bins=10, range=(0, 1))
            raise NothingInBand(
                f"questions: none of {len(rates)} has a pass rate inside the band {self.band}; from 0 to 1 "
                f"in tenths: {counts.tolist()}; widen the band (pass_low, pass_high), take harder or easier "
                "levels, or a larger pool"
            )
        return tasks, rates

    def hold_back(self, tasks: Sequence[Task]) -> None:
        """These are measured on, so they are never asked."""
        self.avoid |= {instruction(task) for task in tasks}

    def told(self, tasks: Sequence[Task], rates: Sequence[float]) -> None:
        """What share of a group was right, of each question; NaN says nothing."""
        for task, rate in zip(tasks, rates, strict=True):
            if np.isfinite(rate):
                self.rates.setdefault(self.cell_of[instruction(task)], []).append(float(rate))

    def refilter(self) -> None:
        """Keep the cells whose mean pass rate since the last filter lies inside the band; of those that
        nothing new is known of, the last word holds."""
        for name, found in self.rates.items():
            self.kept[name] = bool(within_band(np.array([np.mean(found)]), *self.band)[0])
        self.filtered.append(
            {"draws": self.calls, "measured": len(self.rates), "kept": sum(self.kept.values())}
        )
        self.rates = {}

    def counts(self) -> dict:
        """How many questions were asked, how many different, cells kept, and cells without a fresh one."""
        return {
            "asked": sum(self.asked.values()),
            "different": len(self.asked),
            "repeats": sum(self.asked.values()) - len(self.asked),
            "cells": len(self.cells),
            "kept": sum(self.kept.values()),
            "exhausted": len(self.exhausted),
        }

    def _one(self, rng: random.Random) -> Task:
        """A question of a cell that is kept, or, for a share `explore`, of any."""
        while True:
            left = [name for name in self.cells if name not in self.exhausted]
            if not left:  # nothing fresh anywhere: repeats begin, and `counts` shows them
                return self._repeat(rng)
            kept = [name for name in left if self.kept[name]]
            pool = left if rng.random() < self.explore or not kept else kept
            domains = sorted(
                {self.cells[name].domain for name in pool} & {d for d, w in self.weights.items() if w}
            )
            if not domains:
                return self._repeat(rng)
            (domain,) = rng.choices(domains, [self.weights[d] for d in domains])
            task = self._ask(rng.choice([n for n in pool if self.cells[n].domain == domain]), rng)
            if task:
                return task

    def _ask(self, name: str, rng: random.Random) -> Task | None:
        """A fresh question of the cell; None, and the cell is exhausted, where none was found."""
        for _ in range(_TRIES):
            task = self.cells[name].make(rng)
            text = instruction(task) if task else ""
            if task and text not in self.avoid and text not in self.asked:
                return self._noted(task, text, name)
        if name not in self.exhausted:
            self.exhausted.append(name)
        return None

    def _repeat(self, rng: random.Random) -> Task:
        """A question that was asked before, of a cell that is kept where there is one."""
        asked = set(self.cell_of.values())
        known = [name for name in self.cells if name in asked]
        for _ in range(_TRIES * 10):
            name = rng.choice([n for n in known if self.kept[n]] or known or list(self.cells))
            task = self.cells[name].make(rng)
            if task and (text := instruction(task)) not in self.avoid:
                return self._noted(task, text, name)
        raise ValueError("questions: every one belongs to earlier stages; add task sets or levels")

    def _noted(self, task: Task, text: str, name: str) -> Task:
        self.asked[text] += 1
        self.cell_of[text] = name
        return task

    def state(self) -> dict:
        """What the rest of the stream depends on, as plain data."""
        names = ("rates", "kept", "exhausted", "calls", "filtered", "cell_of")
        copied = {name: getattr(self, name) for name in names}
        rates = {name: list(found) for name, found in self.rates.items()}
        return copied | {
            "asked": dict(self.asked),
            "rates": rates,
            "kept": dict(self.kept),
            "exhausted": list(self.exhausted),
            "filtered": list(self.filtered),
            "cell_of": dict(self.cell_of),
        }

    def restore(self, state: dict) -> None:
        """Go on from a `state`."""
        for name, value in state.items():
            setattr(self, name, Counter(value) if name == "asked" else value)
