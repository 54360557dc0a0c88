"""Has RL a habit to change? Overall SFT of which a share has no chain of thought, then RL on STEM.

    .venv/bin/python benchmarks/rl/direct.py outputs/small --out rl_direct.json
    .venv/bin/python benchmarks/rl/direct.py outputs/small --out rl_direct.json --seeds 1 2 3 --shares 0 0.3

From the cold start (03) of a finished run each share learns the instructions and responses of its 04 for as
many steps as its `sft` took (--sft-steps: others), those of the share with the answer alone (`direct_share`).
Then the STEM stage of RL, equal rollouts for all. A seed is of everything here: order of the SFT, which
instructions lose their chain, questions of RL, samples that measure; the refined responses are the run's.

Before RL and after it, on math and science questions with held-out operands: avg@k at temperature 1 and
greedy answers, how many of each have a chain, and how many are right with a chain and without. A row of
--out is one seed, share and measure; seeds and shares that are there are not run again. Intervals of a row
are over questions, those of the summary t over seeds: each share, and each minus the first, seed by seed.
"""

import argparse
import os
import tempfile
import time
from pathlib import Path

os.environ.setdefault("TQDM_DISABLE", "1")

import numpy as np
from ablations import GROUP, LR, NEW_TOKENS, PER_STEP, STEM
from study import ends, exam, opened, sized, survey, taught

from nbkit.evals.evaluate import Evaluation, verdicts
from nbkit.evals.reasoning import by_chain, has_chain
from nbkit.evals.score import avg_at_k, estimate, paired_difference
from nbkit.models.engine import Generator
from nbkit.models.load import history_of, load, save
from nbkit.refine import arms
from nbkit.refine.loop import Refined
from nbkit.refine.reconstruct import Reconstruction
from nbkit.rl.loop.train import LoopSettings, train
from nbkit.rl.questions import NothingInBand, Questions, world_cells
from nbkit.rl.rewards import verified
from nbkit.run import files
from nbkit.run.precision import precision
from nbkit.run.provenance import cpu, git_state
from nbkit.sft.sft import SFTSettings, finetuned
from nbkit.tasks.sets import at_shares, domains_of, training_tasks
from nbkit.tasks.skills import Task
from nbkit.tasks.world import instruction, prompt_of, responded
from nbkit.text.rows import read_rows
from nbkit.verify import JailPool

Answers = dict[str, Evaluation]  # of one policy, by how it was sampled


def learned(outputs: Path) -> tuple[list[Task], list[tuple[int, str]]]:
    """The instructions of a run's 04, and the samples (instruction, response) of its recipe with all their
    chains. Raises ValueError where this code draws other instructions than the run did."""
    folder = outputs / "04_sft_overall"
    own = files.read_json(folder / "manifest.json")["params"]
    # As the notebook draws them.
    reasoning, general, agent, code = own["shares"]
    mixture = {"general": general, "agent": agent, "code": code}
    sciences = [domain for domain in ("math", "science") if domain in domains_of(own["task_sets"])]
    mixture |= {domain: reasoning / len(sciences) for domain in sciences}
    drawn = training_tasks(own["task_sets"], own["prompts"], mixture, own["seed"] + 1)
    tasks = list({instruction(task): task for task in drawn}.values())
    refined = [Refined.from_row(row) for row in read_rows(folder / "logs/refined.jsonl")]
    if [instruction(task) for task in tasks] != [found.question for found in refined]:
        raise ValueError(
            f"run: {outputs} refined other instructions than this code draws; check out the commit of its "
            "manifest, or run 04 again"
        )
    # The recipe: a rebuilt chain where one was kept.
    built = [Reconstruction(**row) for row in read_rows(folder / "logs/reconstructed.jsonl")]
    rebuilt = {found.question: found.response for found in built if found.kept}
    texts = [rebuilt.get(found.question, found.final.text) for found in refined]
    everyone = at_shares([task.domain for task in tasks], mixture, len(tasks), seed=own["seed"])
    return tasks, [(i, texts[i]) for i in everyone]


class Direct:
    """A run's cold start and recipe, and what is made of them by seed and share."""

    def __init__(self, options: argparse.Namespace, jails: JailPool):
        self.options, self.jails = options, jails
        self.tasks, self.samples = learned(options.run)
        self.own = files.read_json(options.run / "04_sft_overall/manifest.json")["params"]
        self.sft_steps = options.sft_steps or history_of(options.run / "04_sft_overall/sft")[-1]["step"]
        self.avoid = taught(options.run)
        self.exam = exam(list(STEM), options.questions, self.avoid, "operands")[: options.questions]

    def run(self, seed: int, share: float) -> tuple[list[dict], dict]:
        """(rows of the result, how they were made)."""
        begun = time.perf_counter()
        with tempfile.TemporaryDirectory() as folder:
            chosen = self.fine_tune(seed, share, Path(folder))
            model, tokenizer = load(folder)
        engine = Generator(model, tokenizer)
        before = self.answers(engine, seed)
        about = self.reinforce(model, tokenizer, seed)
        engine.refresh(model)
        rows = measures(before, self.answers(engine, seed))
        about |= {"sft_steps": self.sft_steps, "direct_instructions": len(chosen)}
        return (
            [{"seed": seed, "share": share, "measure": name, **row} for name, row in rows.items()],
            about | {"seconds": round(time.perf_counter() - begun, 1)},
        )

    def fine_tune(self, seed: int, share: float, out: Path) -> frozenset[int]:
        """Save the overall SFT from the cold start to `out`; the instructions that lost their chain."""
        chosen = arms.drawn_direct([task.domain for task in self.tasks], share, seed)
        samples = arms.without_chains(self.samples, chosen)
        chats = [responded(self.tasks[i], text) for i, text in samples]
        given = (self.own["lr"], self.own["batch"], self.own["max_length"], seed)
        settings = SFTSettings(*given, steps=self.sft_steps)
        cold_start = self.options.run / "03_sft_cold_start/cold_start"
        model, tokenizer, result = finetuned(
            cold_start, chats, settings, out=out / "trainer", label=f"share {share}"
        )
        save(out, model, tokenizer, result.history)
        return chosen

    def reinforce(self, model, tokenizer, seed: int) -> dict:
        """The STEM stage: filter, then train in place."""
        # No question of 03 to 05, none of the exam, none twice. Without a pool: no filter.
        options, weights = self.options, dict.fromkeys(STEM, 1.0)
        every = 10 if options.pool else 0
        cells = world_cells(list(STEM), (1, 4))
        questions = Questions(cells, weights, seed=seed, every=every, avoid=self.avoid)
        questions.hold_back(self.exam)
        grade = verified(self.jails)
        if options.pool:
            try:
                survey(questions, Generator(model, tokenizer), grade, options.pool, NEW_TOKENS)
            except NothingInBand as error:
                return {"skipped": str(error), "rollouts": 0}
        steps = max(1, options.rollouts // PER_STEP)
        settings = LoopSettings(steps, PER_STEP // GROUP, GROUP, LR, NEW_TOKENS, seed)
        trained = train(model, tokenizer, questions, grade, settings, label="stem")
        return {
            "skipped": "",
            "rollouts": steps * PER_STEP,
            **ends(trained.history, ("reward", "signal", "length", "entropy", "thinks")),
            "counts": questions.counts(),
            "alarms": trained.alarms[:5],
        }

    def answers(self, engine: Generator, seed: int) -> Answers:
        """The exam at temperature 1 and greedily, by samples that are the seed's own."""
        found, prompts = {}, [prompt_of(task) for task in self.exam]
        for name, k, temperature in ((f"avg@{self.options.k} T=1", self.options.k, 1.0), ("greedy", 1, 0.0)):
            groups = engine.sample(prompts, k, NEW_TOKENS, temperature, 1.0, seed=5 + seed)
            texts = [[c.text if c.stopped else None for c in group] for group in groups]
            stopped = float(np.mean([c.stopped for group in groups for c in group]))
            right = verdicts(self.exam, texts, self.jails)
            found[name] = Evaluation(self.exam, right, stopped, [], answers=groups)
        return found


def measures(before: Answers, after: Answers) -> dict[str, dict]:
    """Measure -> before, after and, where both are of the same questions, the change."""
    rows = {}
    for how, first in before.items():
        last = after[how]
        pairs = {how: (first.correct_QK, last.correct_QK), f"thinks, {how}": (chains(first), chains(last))}
        for name, (one, other) in pairs.items():
            ends_of = {"before": avg_at_k(one).dict(), "after": avg_at_k(other).dict()}
            rows[name] = {**ends_of, "change": paired_difference(other, one).dict()}
        # Other questions before than after: no difference of them.
        sides = by_chain(first, STEM), by_chain(last, STEM)
        for side in ("right with a chain", "right without"):
            plain = [found[side].dict() if side in found else None for found in sides]
            rows[f"{side}, {how}"] = dict(zip(("before", "after"), plain, strict=True))
    return rows


def chains(result: Evaluation) -> np.ndarray:
    """Which answers have a chain, (Q, K)."""
    return np.array([[has_chain(one.text) for one in group] for group in result.answers])


def summary(rows: list[dict]) -> dict:
    """Measure -> share -> before, after and change over seeds, and "minus" the first share's, seed by seed.
    Shares with fewer than two seeds have no interval and are left out."""
    means = {
        (row["measure"], row["share"], row["seed"], when): row[when]["mean"]
        for row in rows
        for when in ("before", "after", "change")
        if row.get(when)
    }
    told: dict = {}
    first = rows[0]["share"]
    for name, share, _, when in means:
        own = {seed: mean for (n, s, seed, w), mean in means.items() if (n, s, w) == (name, share, when)}
        entry = told.setdefault(name, {}).setdefault(str(share), {})
        if len(own) > 1:
            entry[when] = estimate([*own.values()]).dict()
        beside = [
            own[seed] - means[name, first, seed, when] for seed in own if (name, first, seed, when) in means
        ]
        if share != first and len(beside) > 1:
            entry[f"{when} minus share {first:g}"] = estimate(beside).dict()
    return told


def sentence(rows: list[dict]) -> str:
    """One line: each measure before and after, in percent."""
    parts = []
    for row in rows:
        one, other = (f"{100 * row[w]['mean']:.1f}" if row[w] else "none" for w in ("before", "after"))
        parts.append(f"{row['measure']} {one} -> {other}")
    return "; ".join(parts)


def main() -> None:
    parser = sized(argparse.ArgumentParser(description=__doc__.split("\n")[0]))
    parser.add_argument("run", type=Path, help="folder of a finished run: its stages 03 to 05 are read")
    parser.add_argument("--shares", nargs="+", type=float, default=[0.0, 0.3])
    parser.add_argument("--sft-steps", type=int, default=0, help="0: as many as the run's own sft")
    options = parser.parse_args()
    found = opened(
        options, ("run", "sft_steps", "rollouts", "questions", "k", "pool"), {"trainings": {}, "rows": []}
    )
    with JailPool(workers=1) as jails:
        study = Direct(options, jails)
        # Seed by seed, so that a study that is cut short has some seeds of all shares.
        for seed in options.seeds:
            for share in options.shares:
                key = f"seed {seed} | share {share}"
                if key not in found["trainings"]:
                    rows, found["trainings"][key] = study.run(seed, share)
                    about = {"commit": git_state()[0]["commit"], "cpu": cpu(), "precision": precision()}
                    found["trainings"][key] |= about
                    found["rows"] += rows
                    found["summary"] = summary(found["rows"])
                    files.write_json(options.out, found)
                own = [row for row in found["rows"] if (row["seed"], row["share"]) == (seed, share)]
                print(f"{key}: {sentence(own)}; {found['trainings'][key]['seconds']} s", flush=True)


if __name__ == "__main__":
    main()
