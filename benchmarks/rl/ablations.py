"""Questions about multi-stage RL, answered by arms at equal rollouts over RL seeds, on held-out questions.

    .venv/bin/python benchmarks/rl/ablations.py outputs/small/05_dpd/dpd --out rl_ablations.json
    .venv/bin/python benchmarks/rl/ablations.py ... --arms staged mixed --seeds 1 2 3

    staged, mixed, refresh   STEM then code; both from one pool; STEM, code and a short STEM again
    sft_start                staged, from 05's continued SFT in place of DPD (the report: DPD gains more)
    no_filter                staged, questions of all skills and levels alike
    maxrl                    staged, advantages over the pass rate of the group (arXiv 2602.02710)
    replay                   staged, with the loss of SFT on the other domains added to each step
    perfectible              no ablation but a test of the loop: the same 64 questions, solved 20 to 80% of
                             the time at the start, again and again; it must reach 95% on them

An arm and seed is one row of --out; rows that are there are not run again, and what was killed is run from
its start. All arms of a comparison draw as many rollouts in training, stages together; what the filter
samples before a stage is told apart ("surveyed"). Measured at the end, on questions with held-out operands:
STEM, code and the domains that no arm trains, each apart, as the change from the arm's own start. Intervals:
t over seeds, of each arm and of the difference of two arms seed by seed. A seed draws its own samples of
start and end, so that the luck of one draw of the start is in no interval twice. They are about RL seeds, at
these questions and this checkpoint.
"""

import argparse
import os
import time
from dataclasses import dataclass
from pathlib import Path

os.environ.setdefault("TQDM_DISABLE", "1")

import numpy as np
from study import ends, exam, opened, sized, survey, taught

from nbkit.evals.score import estimate
from nbkit.models.engine import Generator
from nbkit.models.load import load
from nbkit.rl.loop.rollouts import pass_rates
from nbkit.rl.loop.train import LoopSettings, train
from nbkit.rl.measure import measure
from nbkit.rl.questions import Questions, set_cells, world_cells
from nbkit.rl.replay import Replay
from nbkit.rl.rewards import verified
from nbkit.rl.suites import Suites
from nbkit.run import files
from nbkit.tasks.skills import DOMAINS
from nbkit.verify import JailPool
from nbkit.verify.code.synthesis import SynthesisSettings

STEM, CODE = ("math", "science"), ("code",)
PARTS = {"stem": STEM, "code": CODE, "others": tuple(d for d in DOMAINS if d not in STEM + CODE)}
BOTH = {"math": 1.0, "science": 1.0, "code": 2.0}  # STEM and code in equal parts, as in the stages
STAGES = {
    "staged": (({"math": 1.0, "science": 1.0}, 0.5), ({"code": 1.0}, 0.5)),
    "mixed": ((BOTH, 1.0),),
    "refresh": (
        ({"math": 1.0, "science": 1.0}, 0.45),
        ({"code": 1.0}, 0.45),
        ({"math": 1.0, "science": 1.0}, 0.1),
    ),
}
GROUP, PER_STEP, LR, NEW_TOKENS = 8, 64, 1e-4, 96  # the arm that the study chose


@dataclass(frozen=True)
class Arm:
    """What an arm does: its stages (domain weights, share of the rollouts), what differs from the recipe."""

    stages: tuple = STAGES["staged"]
    start: str = ""  # "": the checkpoint given; else another of the same folder
    filtered: bool = True
    advantage: str = "mean"
    replay_weight: float = 0.0


ARMS = {name: Arm(stages) for name, stages in STAGES.items()}
ARMS |= {
    "sft_start": Arm(start="sft_continued"),
    "no_filter": Arm(filtered=False),
    "maxrl": Arm(advantage="maxrl"),
    "replay": Arm(replay_weight=0.1),
}
PERFECTIBLE = "perfectible"


class Ablations:
    """Starting checkpoints with what they score, and arms that train from them."""

    def __init__(self, options: argparse.Namespace, jails: JailPool):
        self.options, self.jails, self.suites = options, jails, Suites(jails, SynthesisSettings())
        self.avoid = taught(options.checkpoint.parent.parent)
        n = options.questions
        # n questions of STEM, n of code, and half as many of the domains that neither trains.
        self.tasks = exam(list(STEM), n, self.avoid, "operands")[:n]
        self.tasks += exam(list(CODE), n, self.avoid, "operands")[:n]
        self.tasks += exam([*STEM, *CODE], n, self.avoid, "operands")[n:]

    def path(self, arm: Arm) -> Path:
        return self.options.checkpoint.parent / arm.start if arm.start else self.options.checkpoint

    def scores(self, loaded, seed: int) -> dict:
        """Part -> measure -> mean, of samples that are the seed's own."""
        engine = Generator(*loaded)
        found = measure(engine, self.tasks, self.jails, self.options.k, NEW_TOKENS, seed=5 + seed)
        return {
            part: {what: e.mean for what, e in found.scores(domains).items()}
            for part, domains in PARTS.items()
        }

    def run(self, arm: Arm, seed: int) -> dict:
        """Train the arm's stages one after the other, measure the end: a row of the result."""
        loaded, begun, stages = load(self.path(arm)), time.perf_counter(), []
        for number, (weights, share) in enumerate(arm.stages):
            stages.append(self.stage(loaded, arm, weights, share, 10 * seed + number))
        seconds = time.perf_counter() - begun
        return {
            "end": self.scores(loaded, seed),
            "stages": stages,
            "rollouts": sum(stage["rollouts"] for stage in stages),
            "seconds": round(seconds, 1),
        }

    def stage(self, loaded, arm: Arm, weights: dict, share: float, seed: int) -> dict:
        """One stage: filter, then train in place."""
        model, tokenizer = loaded
        # No question of 03 to 05, none of the exam, none twice in the stage.
        cells = world_cells(list(weights), (1, 4), self.suites)
        every = 10 if arm.filtered else 0
        questions = Questions(cells, weights, seed=seed, every=every, avoid=self.avoid)
        questions.hold_back(self.tasks)
        grade = verified(self.jails)
        steps = max(1, round(share * self.options.rollouts / PER_STEP))
        # What is replayed is of domains that no stage trains: the part "others", whose forgetting it is for.
        replay = Replay(PARTS["others"], 8, arm.replay_weight, seed) if arm.replay_weight else None
        how = {"advantage": arm.advantage, "replay": replay}
        settings = LoopSettings(steps, PER_STEP // GROUP, GROUP, LR, NEW_TOKENS, seed, **how)
        # STEM and code in one stage get a pool of each: their cells are as many as those of two stages.
        groups = sum(not set(weights).isdisjoint(group) for group in (STEM, CODE))
        pool = groups * self.options.pool if arm.filtered else 0
        if pool:
            survey(questions, Generator(model, tokenizer), grade, pool, NEW_TOKENS)
        trained = train(model, tokenizer, questions, grade, settings, label=" ".join(weights))
        return {
            "domains": list(weights),
            "rollouts": steps * PER_STEP,
            "surveyed": 16 * pool,
            "signal": float(np.mean([row["signal"] for row in trained.history])),
            **ends(trained.history, ("reward",)),
            "counts": questions.counts(),
            "alarms": trained.alarms[:5],
        }

    def perfect(self, seed: int, wanted: float = 0.95, size: int = 64, most: int = 60_000) -> dict:
        """The test of the loop: how many rollouts until `size` training questions of STEM, solved 20 to 80%
        of the time at the start, are solved `wanted` of the time (16 new samples of each)?"""
        model, tokenizer = load(self.options.checkpoint)
        grade, weights = verified(self.jails), dict.fromkeys(STEM, 1.0)
        pool = Questions(world_cells(STEM, (1, 4)), weights, seed=seed, every=0, avoid=self.avoid)
        engine = Generator(model, tokenizer)

        def rates(tasks, seed):
            return pass_rates(engine, grade, tasks, 16, NEW_TOKENS, seed=seed)

        tasks: list = []
        while len(tasks) < size:
            drawn = pool.draw(4 * size)
            found = rates(drawn, 3)
            tasks += [task for task, rate in zip(drawn, found, strict=True) if 0.2 <= rate <= 0.8]
        tasks = tasks[:size]
        path = [{"rollouts": 0, "accuracy": float(np.nanmean(rates(tasks, 4)))}]
        questions = Questions(set_cells(tasks), weights, seed=seed, every=0)
        # Rounds of 40 steps, each with the rate falling to 0, until it is reached or the budget is spent.
        while path[-1]["accuracy"] < wanted and path[-1]["rollouts"] < most:
            settings = LoopSettings(40, 16, GROUP, 2e-4, NEW_TOKENS, seed + 1000 * len(path))
            train(model, tokenizer, questions, grade, settings, label=PERFECTIBLE)
            engine.refresh(model)
            done = path[-1]["rollouts"] + 40 * 16 * GROUP
            path.append({"rollouts": done, "accuracy": float(np.nanmean(rates(tasks, 4 + len(path))))})
            print(path[-1], flush=True)
        return {"questions": size, "path": path, "reached": path[-1]["accuracy"] >= wanted}


def gains(found: dict, arm: str) -> dict[str, dict]:
    """What an arm changed from its start, by seed: part -> measure -> points as a fraction."""
    gained = {}
    for key, row in found["rows"].items():
        name, _, seed = key.partition(" | seed ")
        if name == arm and "end" in row and (start := found["starts"].get(start_key(ARMS[arm], seed))):
            gained[seed] = minus(row["end"], start)
    return gained


def start_key(arm: Arm, seed: int | str) -> str:
    return f"{arm.start or 'checkpoint'} | seed {seed}"


def summary(found: dict) -> dict:
    """Means over seeds with t-intervals: of each arm, and of each arm minus "staged" on the seeds that both
    have. An arm with fewer than two seeds has no interval and is left out."""
    told: dict = {"arms": {}, "minus_staged": {}}
    base = gains(found, "staged")
    for arm in ARMS:
        own = gains(found, arm)
        beside = {seed: minus(own[seed], base[seed]) for seed in own if seed in base and arm != "staged"}
        for name, values in (("arms", own), ("minus_staged", beside)):
            if len(values) > 1:
                first = next(iter(values.values()))
                told[name][arm] = {
                    part: {what: estimate([v[part][what] for v in values.values()]).dict() for what in whats}
                    for part, whats in first.items()
                }
    return told


def minus(one: dict, other: dict) -> dict:
    """part -> measure -> difference."""
    return {part: {what: v - other[part][what] for what, v in whats.items()} for part, whats in one.items()}


def main() -> None:
    parser = sized(argparse.ArgumentParser(description=__doc__.split("\n")[0]))
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--arms", nargs="+", default=[*ARMS], choices=[*ARMS, PERFECTIBLE])
    options = parser.parse_args()
    found = opened(options, ("checkpoint", "rollouts", "questions", "k", "pool"), {"starts": {}, "rows": {}})
    with JailPool(workers=1) as jails:
        study = Ablations(options, jails)
        # Seed by seed, so that a study that is cut short has some seeds of all arms.
        for seed in options.seeds:
            for name in options.arms:
                key, arm = f"{name} | seed {seed}", ARMS.get(name)
                if arm and (own := start_key(arm, seed)) not in found["starts"]:
                    found["starts"][own] = study.scores(load(study.path(arm)), seed)
                if key not in found["rows"]:
                    found["rows"][key] = study.run(arm, seed) if arm else study.perfect(seed)
                    found["summary"] = summary(found)
                    files.write_json(options.out, found)
                print(key, in_words(found, name, seed), flush=True)


def in_words(found: dict, arm: str, seed: int) -> str:
    """One line: points gained by part."""
    row = found["rows"][f"{arm} | seed {seed}"]
    if "end" not in row:
        return f"{row['path'][-1]}"
    means = {
        part: " ".join(f"{100 * value:+.1f}" for value in whats.values())
        for part, whats in gains(found, arm)[str(seed)].items()
    }
    return f"(T=1, T=0.6, greedy, pass@k) {means}; {row['seconds']} s"


if __name__ == "__main__":
    main()
