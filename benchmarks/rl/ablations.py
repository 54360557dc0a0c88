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
samples before a stage is told apart ("surveyed"). Measured on questions with held-out operands: STEM, code
and the domains that no arm trains, each apart, as the change from the arm's own start. Intervals: t over
seeds, of each arm and of the difference of two arms seed by seed. They are about RL seeds, at these questions
and this checkpoint.
"""

import argparse
import os
import time
from dataclasses import dataclass
from pathlib import Path

os.environ.setdefault("TQDM_DISABLE", "1")

import numpy as np
from study import ends, exam, survey, taught

from nbkit.evals.score import estimate
from nbkit.models.engine import Generator
from nbkit.models.load import load
from nbkit.rl.loop.rollouts import pass_rates
from nbkit.rl.loop.train import LoopSettings, train
from nbkit.rl.measure import Measured, changes, measure
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
        # The first n questions of the run over seeds: those of STEM, of code, and of what neither trains.
        self.tasks = exam(list(STEM), n, self.avoid, "operands")[:n]
        self.tasks += exam(list(CODE), n, self.avoid, "operands")[:n]
        self.tasks += exam([*STEM, *CODE], n, self.avoid, "operands")[n:]
        self.before: dict[str, Measured] = {}

    def path(self, arm: Arm) -> Path:
        return self.options.checkpoint.parent / arm.start if arm.start else self.options.checkpoint

    def start(self, arm: Arm) -> Measured:
        """The arm's start, measured once."""
        if arm.start not in self.before:
            self.before[arm.start] = self.measured(load(self.path(arm)))
        return self.before[arm.start]

    def measured(self, loaded) -> Measured:
        return measure(Generator(*loaded), self.tasks, self.jails, self.options.k, NEW_TOKENS, seed=5)

    def run(self, arm: Arm, seed: int) -> dict:
        """Train the arm's stages one after the other, measure the end: a row of the result."""
        loaded, begun, stages = load(self.path(arm)), time.perf_counter(), []
        for number, (weights, share) in enumerate(arm.stages):
            stages.append(self.stage(loaded, arm, weights, share, 10 * seed + number))
        seconds = time.perf_counter() - begun
        before, after = self.start(arm), self.measured(loaded)
        return {
            "parts": {
                part: {what: e.dict() for what, e in changes(after, before, domains).items()}
                for part, domains in PARTS.items()
            },
            "start": {
                part: {what: e.mean for what, e in before.scores(domains).items()}
                for part, domains in PARTS.items()
            },
            "stages": stages,
            "rollouts": sum(stage["rollouts"] for stage in stages),
            "seconds": round(seconds, 1),
        }

    def stage(self, loaded, arm: Arm, weights: dict, share: float, seed: int) -> dict:
        """One stage: filter, then train in place."""
        model, tokenizer = loaded
        # No question of 03 to 05, none of the exam, none twice.
        cells = world_cells(list(weights), (1, 4), self.suites)
        every = 10 if arm.filtered else 0
        questions = Questions(cells, weights, seed=seed, every=every, avoid=self.avoid)
        questions.hold_back(self.tasks)
        grade = verified(self.jails)
        steps = max(1, round(share * self.options.rollouts / PER_STEP))
        # What is replayed is of domains that no stage trains: it teaches nothing that is measured as gain.
        replay = Replay(PARTS["others"], 8, arm.replay_weight, seed) if arm.replay_weight else None
        how = {"advantage": arm.advantage, "replay": replay}
        settings = LoopSettings(steps, PER_STEP // GROUP, GROUP, LR, NEW_TOKENS, seed, **how)
        if arm.filtered:
            survey(questions, Generator(model, tokenizer), grade, self.options.pool, NEW_TOKENS)
        trained = train(model, tokenizer, questions, grade, settings, label=" ".join(weights))
        return {
            "domains": list(weights),
            "rollouts": steps * PER_STEP,
            "surveyed": 16 * self.options.pool if arm.filtered else 0,
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


def rows_of(found: dict, arm: str) -> dict[str, dict]:
    """Rows of an arm by seed."""
    return {key.split("seed ")[1]: row for key, row in found.items() if key.startswith(f"{arm} | ")}


def summary(found: dict) -> dict:
    """Means over seeds with t-intervals: of each arm, and of each arm minus "staged" on the seeds that both
    have. An arm with fewer than two seeds has no interval and is left out."""
    told: dict = {"arms": {}, "minus_staged": {}}
    base = rows_of(found, "staged")
    for arm in ARMS:
        rows = rows_of(found, arm)
        both = [seed for seed in rows if seed in base]
        for name, values in (
            ("arms", {seed: rows[seed]["parts"] for seed in rows}),
            ("minus_staged", {seed: minus(rows[seed], base[seed]) for seed in both if arm != "staged"}),
        ):
            if len(values) > 1:
                told[name][arm] = {
                    part: {
                        what: estimate([v[part][what]["mean"] for v in values.values()]).dict()
                        for what in whats
                    }
                    for part, whats in next(iter(values.values())).items()
                }
    return told


def minus(row: dict, base: dict) -> dict:
    """What one row gained more than the other, by part and measure."""
    return {
        part: {what: {"mean": e["mean"] - base["parts"][part][what]["mean"]} for what, e in whats.items()}
        for part, whats in row["parts"].items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--arms", nargs="+", default=[*ARMS], choices=[*ARMS, PERFECTIBLE])
    parser.add_argument("--seeds", nargs="+", type=int, default=[1, 2, 3, 4, 5])
    parser.add_argument("--rollouts", type=int, default=7680)
    parser.add_argument("--questions", type=int, default=150)
    parser.add_argument("--k", type=int, default=16)
    parser.add_argument(
        "--pool", type=int, default=48, help="questions that the filter samples before a stage"
    )
    options = parser.parse_args()
    found = files.read_json(options.out) if options.out.is_file() else {"rows": {}}
    with JailPool(workers=1) as jails:
        study = Ablations(options, jails)
        # Seed by seed, so that a study that is cut short has some seeds of all arms.
        for seed in options.seeds:
            for arm in options.arms:
                key = f"{arm} | {options.rollouts} | seed {seed}"
                if key not in found["rows"]:
                    made = study.perfect(seed) if arm == PERFECTIBLE else study.run(ARMS[arm], seed)
                    found["rows"][key] = made
                    found["summary"] = summary(found["rows"])
                    files.write_json(options.out, found)
                print(key, in_words(found["rows"][key]), flush=True)


def in_words(row: dict) -> str:
    """One line: points gained by part."""
    if "parts" not in row:
        return f"{row['path'][-1]}"
    means = {
        part: " ".join(f"{100 * e['mean']:+.1f}" for e in whats.values())
        for part, whats in row["parts"].items()
    }
    return f"(T=1, T=0.6, greedy, pass@k) {means}; {row['seconds']} s"


if __name__ == "__main__":
    main()
