"""Does a small model made with care beat one at least ten times its size? Three baselines, all compute told.

nbkit claims --fresh-data --seeds 1-5 --stages 01,02,03,04,05
.venv/bin/python benchmarks/ten_times outputs/claims/fresh/seed-{1,2,3,4,5}/claims --tune --out ten_times.json
.venv/bin/python benchmarks/ten_times outputs/smoke --questions 20 --out smoke.json     # does it run?

The student is what 05 (or `--student 04_sft_overall/sft`) made. The baseline has the sizes of 02's
`baseline_10x` and gets, from the same runs,

plain     as many tokens of text as nobody filtered (documents as they come, no deduplication, each row once
          where there are enough), vanilla WSD, the same cold start, SFT on the teacher's first samples
pools     the same, but the text of the filter's pools
compute   as plain, with its pre-training and its SFT cut to the training compute of the student, teacher's
          work for it included

`--tune` tries every rate of pre-training (`--rates`; loss on solutions), then every rate and number of passes
of the SFT (`--sft-rates`, `--passes`; accuracy), on questions of the training split, for each baseline of the
first run; the other runs take what was chosen there. Without it: 02's and 03's own rates for the baseline.
Measured: avg@3 on held-out questions with unseen operands, as in 07. Everything finished is kept, models in
--work and numbers in --out: the same command goes on after a kill.
"""

import argparse
import itertools
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

os.environ["TQDM_DISABLE"] = "1"

import numpy as np
from baselines import Outputs, pretrained, tuned
from flops import baseline_compute, compute

from nbkit.cli.study.seed_stats import over_seeds
from nbkit.evals.evaluate import evaluate, solution_loss
from nbkit.evals.score import Estimate, paired_difference
from nbkit.models.engine import Generator
from nbkit.models.load import load, parameters
from nbkit.run import files
from nbkit.sft.sft import with_markers
from nbkit.tasks import world
from nbkit.tasks.sets import evaluation_tasks
from nbkit.tasks.skills import sample
from nbkit.verify.jail.jail import Jail

BASELINES = ("plain", "pools", "compute")
RATES, SFT_RATES, PASSES = (3e-4, 6e-4, 1.2e-3, 2.4e-3), (2.5e-4, 5e-4, 1e-3), (2.0, 4.0)  # of `--tune`
SAMPLES = 3  # of each held-out question


def measured(path: Path, tasks: Sequence, jail, k: int) -> np.ma.MaskedArray:
    model, tokenizer = load(path)
    return evaluate(Generator(model, with_markers(tokenizer)), tasks, "chat", jail, k).correct_QK


class Study:
    """Numbers that are measured once: rows of `out`, by run, baseline, what was measured and settings."""

    def __init__(self, options):
        self.options, self.out, self.rows = options, options.out, []
        if self.out.exists():
            self.rows = files.read_json(self.out)["rows"]
        self.train = sample(options.questions, "train", seed=990_001)
        self.held_out = {"operands": world.eval_tasks(options.questions, "operands")}
        self.held_out |= {name: evaluation_tasks([name], options.questions) for name in options.also}

    def once(self, make, **key):
        """The value of a row, made and kept where there is none."""
        key["questions"] = self.options.questions
        for row in self.rows:
            if row["key"] == key:
                return row["value"]
        self.rows.append({"key": key, "value": make()})
        print(self.rows[-1]["key"], str(self.rows[-1]["value"])[:60], flush=True)
        self.keep()
        return self.rows[-1]["value"]

    def keep(self, **more) -> None:
        files.write_json(self.out, {"questions": self.options.questions, "rows": self.rows, **more})


def marks(path: Path, tasks: Sequence, k: int) -> list[float | None]:
    """Share of right samples per question, None where the grader failed."""
    with Jail() as jail:
        right_QK = measured(path, tasks, jail, k)
    return [None if np.ma.is_masked(row) else float(np.mean(row)) for row in right_QK]


def chosen(study: Study, run: Outputs, kind: str, student: float) -> dict[str, float]:
    """Rate of pre-training, rate and passes of the SFT of one baseline, by training-split questions; 02's,
    03's and 04's without `--tune`. `student`: its FLOPs."""
    cold, overall, cfg = (run.params(s) for s in ("03_sft_cold_start", "04_sft_overall", "02_pretrain"))
    setting = {"lr": cfg.big_peak_lr, "sft_lr": cold.big_lr, "passes": overall.epochs}
    if not study.options.tune:
        return setting
    work = study.options.work / run.name

    def loss(lr: float) -> float:
        times = share(run, kind, student, setting["passes"])
        model, tokenizer = load(pretrained(run, kind, lr, times, work))
        return solution_loss(model, tokenizer, study.train).mean

    def wrong(sft_lr: float, passes: float) -> float:
        right = marks(
            arm(study, run, kind, student, setting | {"sft_lr": sft_lr, "passes": passes}), study.train, 1
        )
        return 1 - float(np.mean([one for one in right if one is not None]))

    key = {"run": run.name, "baseline": kind, "student": student}
    losses = {lr: study.once(lambda lr=lr: loss(lr), **key, what="loss", lr=lr) for lr in study.options.rates}
    setting["lr"] = min(losses, key=losses.get)
    errors = {}
    for sft_lr, passes in itertools.product(study.options.sft_rates, study.options.passes):
        own = {"lr": setting["lr"], "sft_lr": sft_lr, "passes": passes}
        errors[sft_lr, passes] = study.once(
            lambda a=sft_lr, b=passes: wrong(a, b), **key, what="error", **own
        )
    setting["sft_lr"], setting["passes"] = min(errors, key=errors.get)
    return setting


def share(run: Outputs, kind: str, student: float, passes: float) -> float:
    """Which part of its tokens a baseline gets: all, or what the student's FLOPs pay for."""
    return min(1.0, student / baseline_compute(run, passes)) if kind == "compute" else 1.0


def arm(study: Study, run: Outputs, kind: str, student: float, setting: Mapping) -> Path:
    """The folder of a baseline after all of its training."""
    work, times = study.options.work / run.name, share(run, kind, student, setting["passes"])
    base = pretrained(run, kind, setting["lr"], times, work)
    name = "sft-" + "-".join(f"{setting[key]:g}" for key in ("lr", "sft_lr", "passes"))
    return tuned(run, base, setting["sft_lr"], setting["passes"], times, work / kind / f"{name}-{times:.4g}")


def answered(study: Study, path: Path, **key) -> dict[str, list[float | None]]:
    """`marks` of a model on every held-out set."""
    return {
        name: study.once(lambda own=tasks: marks(path, own, SAMPLES), **key, set=name)
        for name, tasks in study.held_out.items()
    }


def gap(ours: Sequence, theirs: Sequence) -> Estimate:
    """Student minus baseline over the questions that both were graded on."""
    pairs = [(a, b) for a, b in zip(ours, theirs, strict=True) if a is not None and b is not None]
    return paired_difference(*(np.array(side)[:, None] for side in zip(*pairs, strict=True)))


def compared(study: Study, run: Outputs, settings: dict) -> tuple[dict, dict[tuple[str, str], Estimate]]:
    """(parameters and compute of every side, (baseline, held-out set) -> student minus baseline) of one run.
    `settings` of a baseline are chosen on the first run that asks for them. Raises ValueError for a baseline
    that is not ten times the student's size."""
    student, made_by = run.folder / study.options.student, (run.folder / study.options.student).parent
    cost = compute(run, student)
    total, size = sum(cost.values()), parameters(load(student)[0])
    told, gaps = {"run": run.name, "student": {"parameters": size, "flops": total, "by stage": cost}}, {}
    key = {"run": run.name, "manifest": files.sha256(made_by / "manifest.json")[:12]}
    ours = answered(study, student, **key, what=study.options.student)
    for kind in study.options.baselines:
        own = settings[kind] = settings.get(kind) or chosen(study, run, kind, total)
        path, times = arm(study, run, kind, total, own), share(run, kind, total, own["passes"])
        about = {"run": run.name, "baseline": kind, "what": "held out", "times": times, **own}
        theirs = answered(study, path, **about)
        big = parameters(load(path)[0])
        if big < 10 * size:
            raise ValueError(
                f"baseline: {big:,} parameters, the student has {size:,}, wanted ten times as many; raise "
                "baseline_hidden or baseline_layers in 02 and run it again"
            )
        flops = times * baseline_compute(run, own["passes"])
        told[kind] = {"parameters": big, "flops": flops, "share of its tokens": times}
        gaps |= {(kind, name): gap(ours[name], theirs[name]) for name in ours}
    return told, gaps


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", type=Path, nargs="+", help="outputs of finished runs, such as outputs/small")
    parser.add_argument("--student", default="05_dpd/dpd", choices=["05_dpd/dpd", "04_sft_overall/sft"])
    parser.add_argument("--baselines", nargs="+", default=list(BASELINES), choices=BASELINES)
    parser.add_argument("--tune", action="store_true", help="choose the baselines' rates and passes")
    parser.add_argument("--rates", type=float, nargs="+", default=RATES, help="of pre-training")
    parser.add_argument("--sft-rates", type=float, nargs="+", default=SFT_RATES)
    parser.add_argument("--passes", type=float, nargs="+", default=PASSES, help="of the overall SFT")
    parser.add_argument("--questions", type=int, default=600)
    parser.add_argument("--also", nargs="+", default=[], help="more task sets, such as reasoning_gym:easy")
    parser.add_argument("--work", type=Path, default=files.outputs_root() / "ten_times", help="models")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    study, settings, costs = Study(options), {}, []
    found: dict[str, dict[str, Estimate]] = {}
    for run in map(Outputs, options.runs):
        told, gaps = compared(study, run, settings)
        costs.append(told)
        for (kind, held), value in gaps.items():
            found.setdefault(f"{kind}, {held}", {})[run.name] = value
            print(f"student minus {kind:<9}{held}  {run.name}  {value} (n={value.n} questions)")
    effects = {kind: {name: e.dict() for name, e in by_run.items()} for kind, by_run in found.items()}
    if len(costs) > 1:
        for by_run in effects.values():
            by_run["over runs"] = over_seeds(dict(enumerate(by_run.values())))
    study.keep(effects=effects, settings=settings, runs=costs, student=options.student)
    print(*costs, sep="\n")


if __name__ == "__main__":
    main()
