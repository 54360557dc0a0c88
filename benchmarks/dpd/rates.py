"""Which learning rate suits DPD and SFT continued? Arms from one SFT checkpoint, on training-split questions.

    .venv/bin/python benchmarks/dpd/rates.py outputs/small --out dpd_rates.json
    .venv/bin/python benchmarks/dpd/rates.py outputs/small --out dpd_rates.json --rates 5e-5 --passes 4

The pairs are those that 05 of the run sampled. No held-out question is asked: an arm is chosen on questions
of the training split that no pair asks. Change from the checkpoint in greedy accuracy and avg@3, question by
question; the intervals are over questions, of one seed. Arms that are in --out are not trained again.
"""

import argparse
import os
from dataclasses import asdict, replace
from pathlib import Path

os.environ.setdefault("TQDM_DISABLE", "1")

import numpy as np

from nbkit.dpd.tiles import Divergence
from nbkit.dpd.trainer import DPDSettings, Weights
from nbkit.evals.evaluate import evaluate
from nbkit.evals.score import paired_difference
from nbkit.models.engine import Generator
from nbkit.models.load import load
from nbkit.models.side_by_side import identity, together
from nbkit.run import files
from nbkit.run.precision import precision
from nbkit.sft.sft import with_markers
from nbkit.tasks.skills import sample
from nbkit.text.rows import read_rows
from nbkit.verify import Jail

END = "<|im_end|>"


def measured(path: Path, tasks: list) -> dict[str, np.ma.MaskedArray]:
    """Right or wrong, greedy (Q, 1) and three samples (Q, 3)."""
    model, tokenizer = load(path)
    engine = Generator(model, with_markers(tokenizer))
    with Jail() as jail:
        return {
            name: evaluate(engine, tasks, "chat", jail, *k).correct_QK
            for name, k in (("greedy", ()), ("avg@3", (3,)))
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("run", type=Path, help="outputs of a run with 04 and 05, such as outputs/small")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--work", type=Path, default=files.outputs_root() / "dpd_rates", help="models")
    parser.add_argument("--rates", type=float, nargs="+", default=[5e-4, 2e-4, 1e-4, 5e-5, 2e-5])
    parser.add_argument("--passes", type=float, default=2.0)
    parser.add_argument("--questions", type=int, default=900)
    options = parser.parse_args()
    cfg = files.read_json(options.run / "05_dpd/manifest.json")["params"]
    pairs = list(read_rows(options.run / "05_dpd/logs/pairs.jsonl"))
    student = options.run / "04_sft_overall/sft"
    # Training-split questions that no pair asks.
    asked = {pair["question"] for pair in pairs}
    drawn = sample(2 * options.questions, "train", seed=990_003)
    tasks = [task for task in drawn if task.question not in asked][: options.questions]
    same = {name: cfg[name] for name in ("batch", "max_length", "beta", "seed")}
    weights = Weights(cfg["w_dpo"], cfg["w_pos"], cfg["w_neg"])
    how = {"weights": weights, "divergence": Divergence(cfg["divergence"]), "stop": END}
    base = DPDSettings(epochs=options.passes, lr=0.0, **same, **how)
    methods = {"dpd": weights, "sft_continued": Weights(0, 0, 0, 1)}
    arms = {
        f"{name} {rate:g} x{options.passes:g}": replace(base, weights=own, lr=rate)
        for rate in options.rates
        for name, own in methods.items()
    }
    found = files.read_json(options.out) if options.out.is_file() else {"arms": {}}
    jobs = {}
    for name, settings in arms.items():
        if name not in found["arms"]:
            folder = options.work / name.replace(" ", "_")
            files.write_json(folder / "pairs.json", pairs)
            told = {"student": str(student), "teacher": cfg["teacher_model"], "cache": ""}
            told |= {"models": [identity(student)], "settings": asdict(settings)}
            jobs[folder] = told | {"pairs": files.digest(pairs), "precision": precision()}
    together("nbkit.dpd.job", jobs)
    start = measured(student, tasks)
    found |= {"questions": len(tasks), "pairs": len(pairs)}
    found["start"] = {name: float(right.mean()) for name, right in start.items()}
    for name in arms:
        if name not in found["arms"]:
            ends = measured(options.work / name.replace(" ", "_") / "model", tasks)
            changes = {kind: paired_difference(ends[kind], start[kind]).dict() for kind in start}
            found["arms"][name] = changes
            files.write_json(options.out, found)
        print(name, {k: f"{100 * v['mean']:+.1f}" for k, v in found["arms"][name].items()}, flush=True)


if __name__ == "__main__":
    main()
