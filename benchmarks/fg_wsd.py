"""What does the filter cost FG-WSD, and does a gentler decay help it? Against vanilla WSD, over seeds.

nbkit claims --fresh-data --stages 01,02
.venv/bin/python benchmarks/fg_wsd.py --seeds 1 2 3 4 5 --out outputs/reference/claims/fg_wsd.json

filter    the models of 02: pools of the filter, decay to 1/300 of the peak
planted   the same documents (after deduplication and decontamination), sorted by the quality they were made
          with in place of the filter's score, into pools of the same sizes
gentle    pools of the filter, decay to a third of the peak, then the mean of the weights at the last
          checkpoints, evenly spaced in the decay (arXiv 2511.18903)

Both arms of a pair read the same rows. Accuracy (greedy), avg@3 (sampled as in 07) and loss in base form, on
the held-out questions of 02 with unseen operands and on questions of the training split; `gentle` on the
latter alone, since a decay may be chosen by it. Rows that --out holds already are kept as long as 02's
manifest is the same; rows of other machines come by --join, alone where no seed is named. A seed that was run
again carries "again": it counts for planted pools, and on the filter's only as what they are compared with.
"""

import argparse
import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from shutil import copy
from types import SimpleNamespace

os.environ["TQDM_DISABLE"] = "1"

import numpy as np
import pandas as pd
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from nbkit.cli.study.seed_stats import over_seeds
from nbkit.evals.evaluate import evaluate, solution_loss
from nbkit.filter.pools import pools as into_pools
from nbkit.models.engine import Generator
from nbkit.models.side_by_side import together
from nbkit.pretrain.fg_wsd import POOLS, for_model, vanilla
from nbkit.pretrain.job import Job
from nbkit.pretrain.plan import PlanFile, as_data
from nbkit.run import files
from nbkit.tasks import world
from nbkit.tasks.skills import sample
from nbkit.text.tokenizer import load_pool, pack, save_pool
from nbkit.verify.jail.jail import Jail

ARMS = ("fg", "vanilla")
AVERAGED = 5  # checkpoints whose weights are averaged
QUALITY = ("clean", "natural", "bare", "wrong", "chatter", "boilerplate", "duplicate")  # best first


def plant(folder: Path, mixed: Path, params: Mapping) -> None:
    """The pools of a finished 01 (`mixed`, of these parameters) made anew by planted quality."""
    source = mixed / "pools"
    tokenizer = AutoTokenizer.from_pretrained(source / "tokenizer")
    tokenizer.save_pretrained(folder / "tokenizer")
    copy(source / "plan.json", folder)
    held = {name: load_pool(source / f"{name}.npy") for name in POOLS}
    # What 01 left after deduplication and decontamination, in its order.
    fate = pd.read_parquet(mixed / "documents.parquet").query("decision != 'removed'")
    raw = world.corpus(params["web_docs"], params["seed"])
    raw += world.natural_text(params["natural_chars"], params["seed"])
    text = {doc["id"]: doc["text"] for doc in raw}
    tier = {doc["id"]: doc.get("truth_tier", "natural") for doc in raw}
    score_D = np.array([-float(QUALITY.index(tier[name])) for name in fate["id"]])
    # Some rows more than needed, then cut to the sizes of the filter's pools.
    budget = {name: held[name].size + 4 * held[name].shape[1] for name in ("hq", "mq")}
    tokens_D = fate["tokens"].to_numpy().astype(int)
    label_D = into_pools(score_D, tokens_D, budget["hq"], budget["mq"], ids=list(fate["id"]))
    for name in ("hq", "mq"):
        own = [{"text": text[one]} for one in fate["id"][label_D == name]]
        rows = pack(own, tokenizer, held[name].shape[1])
        if len(rows) < len(held[name]):
            raise ValueError(f"{name}: {len(rows)} rows, wanted {len(held[name])}; make more documents")
        save_pool(folder / f"{name}.npy", rows[: len(held[name])])
    save_pool(folder / "synthetic.npy", held["synthetic"])


def read_model(folder: Path):
    """A model without its tokenizer, which checkpoints do not hold."""
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()


def mean_weights(folders: Sequence[Path]):
    """A model with the mean of the weights of several checkpoints."""
    mean, *others = (read_model(folder) for folder in folders)
    states = [dict(one.named_parameters()) for one in others]
    with torch.no_grad():
        for name, weight in mean.named_parameters():
            weight.copy_(torch.stack([weight, *(state[name] for state in states)]).mean(0))
    return mean


def arm(name: str, condition: str, seed: int, pools: Path, cfg, out: Path) -> Job:
    """One arm, to be trained in `out`; of `gentle` the checkpoints that are averaged are kept."""
    planned = PlanFile.load(pools / "plan.json")
    final = cfg.peak_lr / 3 if condition == "gentle" else cfg.final_lr
    bases = {"rope_base": cfg.rope_base, "decay_rope_base": cfg.decay_rope_base}
    fg = for_model(planned.stages, cfg.peak_lr, final, decay_shape=cfg.decay_shape, **bases)
    plan = vanilla(fg) if name == "vanilla" else fg
    steps = sum(stage.total for stage in plan) // planned.step_tokens
    decay = plan[-1].total // planned.step_tokens
    kept = [steps - decay * i // AVERAGED for i in range(1, AVERAGED)] if condition == "gentle" else []
    shape = {key: getattr(cfg, key) for key in ("hidden", "layers", "heads", "kv_heads", "mlp")}
    shape |= {"context": planned.stages[-1].seq_len, "tied": cfg.tied_embeddings}
    return Job(
        name,
        str(out),
        str(pools),
        str(pools / "tokenizer"),
        as_data(plan),
        cfg.batch,
        seed=seed,
        model=shape,
        weight_decay=cfg.weight_decay,
        validation_rows=planned.validation_rows,
        keep_at=sorted(kept),
    )


def trained(jobs: Mapping[str, Job]) -> dict:
    """Arm -> model. The arms train side by side."""
    together("nbkit.pretrain.job", {Path(job.out): asdict(job) for job in jobs.values()})
    models = {}
    for name, job in jobs.items():
        kept = [Path(job.out, f"checkpoint-{step}") for step in job.keep_at]
        models[name] = mean_weights([*kept, Path(job.out, "model")])
    return models


def measure(model, tokenizer, questions: Mapping[str, Sequence], jail) -> dict:
    """Split -> accuracy (greedy), avg@3 (sampled, as in 07) and loss on solutions."""
    found = {}
    for split, tasks in questions.items():
        answering = Generator(model, tokenizer)
        greedy, sampled = (evaluate(answering, tasks, "base", jail, k).overall.mean for k in (1, 3))
        loss = solution_loss(model, tokenizer, tasks).mean
        found[split] = {"accuracy": greedy, "avg@3": sampled, "loss": loss}
    return found


def pair(condition: str, root: Path, manifests: Mapping, questions: Mapping, jail) -> dict:
    """Both arms of one condition in one seed, whose outputs lie in `root`."""
    mixed, cfg = root / "01_data_mix", SimpleNamespace(**manifests["02_pretrain"]["params"])
    tokenizer, found = AutoTokenizer.from_pretrained(mixed / "pools" / "tokenizer"), {}
    if condition == "gentle":
        questions = {split: tasks for split, tasks in questions.items() if split == "train"}
    with tempfile.TemporaryDirectory() as scratch:
        pools = mixed / "pools"
        if condition == "planted":
            pools = Path(scratch, "pools")
            pools.mkdir()
            plant(pools, mixed, manifests["01_data_mix"]["params"])
        if condition == "filter":
            models = {name: read_model(root / "02_pretrain" / f"student_{name}") for name in ARMS}
        else:
            jobs = {name: arm(name, condition, cfg.seed, pools, cfg, Path(scratch, name)) for name in ARMS}
            models = trained(jobs)
        for name, model in models.items():
            found[name] = measure(model, tokenizer, questions, jail)
    return found


def effects(rows: Sequence[Mapping], questions: int) -> dict:
    """Differences over seeds: FG-WSD minus vanilla under each condition, and each arm between conditions."""
    by = {(row["condition"], row["seed"]): row for row in rows}
    values: dict[str, dict[int, float]] = {}
    for (condition, seed), row in by.items():
        plain = by[("filter", seed)]
        for split in row["fg"]:
            for key in row["fg"][split]:
                name = f"{condition}, {split}, {key}"
                gap = row["fg"][split][key] - row["vanilla"][split][key]
                if condition != "filter" or not row.get("again"):
                    values.setdefault(f"FG-WSD minus vanilla: {name}", {})[seed] = gap
                for which in ARMS if condition != "filter" else ():
                    change = row[which][split][key] - plain[which][split][key]
                    values.setdefault(f"{which} minus filter: {name}", {})[seed] = change
    return {
        name: over_seeds({seed: {"mean": own[seed], "n": questions} for seed in sorted(own)})
        for name, own in sorted(values.items())
        if len(own) > 1
    }


def keep(out: Path, rows: Sequence[Mapping], questions: int) -> None:
    files.write_json(out, {"questions": questions, "rows": rows, "effects": effects(rows, questions)})


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--study", type=Path, default=files.outputs_root() / "claims" / "fresh")
    parser.add_argument("--profile", default="claims", help="of the study (default: claims)")
    parser.add_argument("--seeds", type=int, nargs="*", default=[1, 2, 3, 4, 5])
    parser.add_argument("--conditions", nargs="+", default=["planted", "gentle"])
    parser.add_argument("--questions", type=int, default=600)
    parser.add_argument("--join", type=Path, nargs="*", default=[], help="files whose rows are put in")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    questions = {
        "operands": world.eval_tasks(options.questions, "operands"),
        "train": sample(options.questions, "train", seed=990_001),
    }
    parts = [*options.join, *([options.out] if options.out.exists() else [])]
    rows = [row for part in parts for row in files.read_json(part)["rows"]]
    with Jail() as jail:
        for seed in options.seeds:
            root = options.study / f"seed-{seed}" / options.profile
            stages = ("01_data_mix", "02_pretrain")
            manifests = {stage: files.read_json(root / stage / "manifest.json") for stage in stages}
            key = {"seed": seed, "manifest": files.digest(manifests)[:12]}
            rows = [row for row in rows if row["seed"] != seed or row["manifest"] == key["manifest"]]
            for condition in ("filter", *options.conditions):
                if any(row["condition"] == condition and row["seed"] == seed for row in rows):
                    continue
                found = pair(condition, root, manifests, questions, jail)
                rows.append({"condition": condition, **key, **found})
                keep(options.out, rows, options.questions)
                print(rows[-1], flush=True)
    keep(options.out, rows, options.questions)
    for name, one in effects(rows, options.questions).items():
        low, high = (one["mean"] if one[end] is None else one[end] for end in ("low", "high"))
        print(f"{name:<60}{one['mean']:+.3f} [{low:+.3f}, {high:+.3f}], {one['seeds']} seeds")


if __name__ == "__main__":
    main()
