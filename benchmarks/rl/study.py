"""Which settings of the RL loop raise accuracy on fresh questions? Arms at equal rollouts, one checkpoint.

    .venv/bin/python benchmarks/rl/study.py outputs/small/05_dpd/dpd --out study.json         # all arms
    .venv/bin/python benchmarks/rl/study.py outputs/small/05_dpd/dpd --out study.json --arms lr=2e-4 lr=5e-4
    .venv/bin/python benchmarks/rl/study.py ... --arms "lr=2e-4 group=8" --seeds 0 1 2 --rollouts 50000

An arm is a text of settings that differ from the defaults below ("lr=2e-4 updates=2"); finished arms in
--out are not trained again. Everything is measured on questions of the *training* split that no arm is
trained on (and, given the folder of a run, that 03 to 05 never asked): what is chosen here has seen no
held-out question. `--held-out` is for afterwards: a chosen arm over seeds, on questions with held-out
operands, with t-intervals over seeds. avg@k at temperature 1 and 0.6, greedy, pass@k, in the domains that
are trained and in the others; differences from the checkpoint question by question, intervals over questions.
"""

import argparse
import os
import time
from pathlib import Path

os.environ.setdefault("TQDM_DISABLE", "1")

import numpy as np

from nbkit.evals.score import estimate
from nbkit.models.engine import Generator
from nbkit.models.load import load
from nbkit.rl.loop.rollouts import pass_rates
from nbkit.rl.loop.train import LoopSettings, train
from nbkit.rl.measure import Measured, changes, measure
from nbkit.rl.questions import Questions, asked_before, world_cells
from nbkit.rl.rewards import verified
from nbkit.rl.suites import Suites
from nbkit.run import files
from nbkit.tasks.skills import DOMAINS, sample
from nbkit.tasks.world import instruction
from nbkit.verify import JailPool
from nbkit.verify.code.synthesis import SynthesisSettings

ARMS = [f"lr={lr}" for lr in ("2e-5", "5e-5", "1e-4", "2e-4", "5e-4", "1e-3")]
ARMS += ["group=8", "updates=2", "updates=4", "advantage=std", "normalise=token", "normalise=sequence"]
ARMS += ["step_share=0.3", "explore=0.5"]
BASE = {"lr": 2e-4, "group": 16, "updates": 1, "advantage": "mean", "normalise": "constant"}
BASE |= {"step_share": 0.0, "explore": 0.15, "per_step": 128}


def settings_of(arm: str) -> dict:
    """The base settings with what the arm's text changes. Raises ValueError for an unknown name."""
    found = dict(BASE)
    for name, _, value in (part.partition("=") for part in arm.split()):
        if name not in BASE:
            raise ValueError(f"--arms: got {name!r} in {arm!r}, wanted some of {', '.join(BASE)}")
        found[name] = type(BASE[name])(value)
    return found


def taught(outputs: Path) -> set[str]:
    """What 03 to 05 of the run in `outputs` asked; empty where it is no run."""
    manifest = outputs / "03_sft_cold_start" / "manifest.json"
    if not manifest.is_file():
        return set()
    logs = ("04_sft_overall/logs/refined.jsonl", "05_dpd/logs/pairs.jsonl")
    return asked_before(files.read_json(manifest)["params"], [outputs / log for log in logs])


def exam(domains: list[str], n: int, avoid: set[str], split: str) -> list:
    """`n` questions of the split in the trained domains and half as many in the others, none of `avoid` where
    that leaves enough."""
    chosen = []
    for part in (domains, [d for d in DOMAINS if d not in domains]):
        drawn = sample(20 * n, split, 987, {d: 1.0 for d in part}, levels=(1, 4))
        by_text = {instruction(t): t for t in drawn}
        new = [t for text, t in by_text.items() if text not in avoid]
        # What is forgotten elsewhere needs no more than half as many.
        count = n if part == domains else n // 2
        chosen += (new + [t for text, t in by_text.items() if text in avoid])[:count]
    return chosen


class Study:
    """One checkpoint, its exam, and arms that start from it."""

    def __init__(self, options: argparse.Namespace, jails: JailPool):
        self.options, self.jails = options, jails
        self.avoid = taught(options.checkpoint.parent.parent)
        self.tasks = exam(options.domains, options.questions, self.avoid, split_of(options))
        self.others = [d for d in DOMAINS if d not in options.domains]
        self.starts: dict[int, Measured] = {}
        self.suites = Suites(jails, SynthesisSettings())

    def start(self, seed: int) -> Measured:
        """The checkpoint, by samples of the seed's own: the luck of one draw is in no other seed."""
        if seed not in self.starts:
            self.starts[seed] = self.measured(load(self.options.checkpoint), seed)
        return self.starts[seed]

    def measured(self, loaded, seed: int) -> Measured:
        limit = self.options.max_new_tokens
        return measure(Generator(*loaded), self.tasks, self.jails, self.options.k, limit, seed=5 + seed)

    def scores(self, seed: int) -> dict:
        """What the checkpoint scores, by one seed's samples."""
        return {
            part: {name: e.dict() for name, e in self.start(seed).scores(domains).items()}
            for part, domains in (("own", self.options.domains), ("others", self.others))
        }

    def run(self, arm: str, seed: int) -> dict:
        """Train one arm, measure it: a row of the result."""
        own, options = settings_of(arm), self.options
        model, tokenizer = load(options.checkpoint)
        weights = {domain: 1.0 for domain in options.domains}
        cells = world_cells(options.domains, (1, 4), self.suites)
        questions = Questions(cells, weights, seed=seed, explore=own["explore"], avoid=self.avoid)
        questions.hold_back(self.tasks)
        grade = verified(self.jails, process=own["step_share"])
        settings = LoopSettings(
            steps=max(1, options.rollouts // own["per_step"]),
            prompts_per_step=own["per_step"] // own["group"],
            seed=seed,
            max_new_tokens=options.max_new_tokens,
            **{name: own[name] for name in ("lr", "group", "updates", "advantage", "normalise")},
        )
        start = time.perf_counter()
        survey(questions, Generator(model, tokenizer), grade, options.pool, options.max_new_tokens)
        trained = train(model, tokenizer, questions, grade, settings, label=arm)
        seconds = time.perf_counter() - start
        before, after = self.start(seed), self.measured((model, tokenizer), seed)
        watched = ("reward", "signal", "length", "entropy", "gap", "thinks")
        return {
            "own": {name: e.dict() for name, e in changes(after, before, options.domains).items()},
            "others": {name: e.dict() for name, e in changes(after, before, self.others).items()},
            **ends(trained.history, watched),
            "seconds": round(seconds, 1),
            "counts": questions.counts(),
            "alarms": trained.alarms[:5],
        }


def survey(questions: Questions, engine: Generator, grade, pool: int, limit: int) -> None:
    """The filter before training, as in 06: `pool` questions, 16 samples each of up to `limit` tokens."""
    questions.survey(pool, lambda tasks: pass_rates(engine, grade, tasks, 16, limit, seed=3))


def ends(history: list[dict], watched: tuple[str, ...]) -> dict[str, float]:
    """Means over the first and the last tenth of the steps."""
    tenth = max(1, len(history) // 10)
    return {
        f"{what}_{where}": float(np.mean([row[what] for row in rows]))
        for what in watched
        for where, rows in (("first", history[:tenth]), ("last", history[-tenth:]))
    }


def sized(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    """The options that ablations.py and direct.py share: seeds and sizes."""
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", nargs="+", type=int, default=[1, 2, 3, 4, 5])
    parser.add_argument("--rollouts", type=int, default=7680)
    parser.add_argument("--questions", type=int, default=150)
    parser.add_argument("--k", type=int, default=16)
    parser.add_argument(
        "--pool", type=int, default=48, help="questions that the filter samples before a stage"
    )
    return parser


def opened(options: argparse.Namespace, names: tuple[str, ...], empty: dict) -> dict:
    """What --out holds so far, `empty` where nothing does. Raises ValueError where it is of other values of
    the options `names`."""
    about = {name: str(getattr(options, name)) for name in names}
    found = files.read_json(options.out) if options.out.is_file() else {"about": about, **empty}
    if found["about"] != about:
        raise ValueError(f"--out {options.out}: holds {found['about']}, wanted {about}; name another file")
    return found


def split_of(options: argparse.Namespace) -> str:
    return "operands" if options.held_out else "train"


def over_seeds(arms: dict, start: str, seeds: list[int]) -> dict:
    """Mean over seeds with a t-interval of what one arm changed, by part and measure; rows whose key begins
    with `start`."""
    rows = [arms[f"{start} | seed {seed}"] for seed in seeds]

    def of(part: str, measure: str) -> dict:
        return estimate([row[part][measure]["mean"] for row in rows]).dict()

    return {part: {name: of(part, name) for name in rows[0][part]} for part in ("own", "others")}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--arms", nargs="+", default=ARMS)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--domains", nargs="+", default=["math", "science"])
    parser.add_argument("--rollouts", type=int, default=6400)
    parser.add_argument("--questions", type=int, default=300)
    parser.add_argument("--k", type=int, default=8)
    parser.add_argument("--held-out", action="store_true", help="measure on held-out operands: to confirm")
    parser.add_argument("--pool", type=int, default=96)
    parser.add_argument("--max-new-tokens", type=int, default=96)
    options = parser.parse_args()
    found = files.read_json(options.out) if options.out.is_file() else {"arms": {}}
    with JailPool(workers=1) as jails:
        study = Study(options, jails)
        about = {
            name: str(value) for name, value in vars(options).items() if name not in ("arms", "seeds", "out")
        }
        found |= {"about": about, "start": study.scores(options.seeds[0])}
        for seed in options.seeds:
            for arm in options.arms:
                start = f"{arm} | {' '.join(options.domains)} | {options.rollouts} | {split_of(options)}"
                key = f"{start} | seed {seed}"
                if key not in found["arms"]:
                    found["arms"][key] = study.run(arm, seed)
                    files.write_json(options.out, found)
                print(f"{key}: {in_words(found['arms'][key])}", flush=True)
                if seed == options.seeds[-1] and len(options.seeds) > 1:
                    found.setdefault("over_seeds", {})[start] = over_seeds(
                        found["arms"], start, options.seeds
                    )
                    files.write_json(options.out, found)


def in_words(row: dict) -> str:
    """One line: the changes in the trained domains with their intervals, the others, reward, seconds."""
    parts = []
    for name, e in row["own"].items():
        mean, low, high = (100 * e[key] for key in ("mean", "low", "high"))
        parts.append(f"{name} {mean:+.1f} [{low:+.1f}, {high:+.1f}]")
    others = 100 * row["others"]["avg T=1"]["mean"]
    reward = f"reward {row['reward_first']:.3f} -> {row['reward_last']:.3f}"
    return f"{', '.join(parts)}; others T=1 {others:+.1f}; {reward}; {row['seconds']} s"


if __name__ == "__main__":
    main()
