"""What does the filter cost FG-WSD, and does a gentler decay help it? Against vanilla WSD, over seeds.

nbkit claims --fresh-data --stages 01,02
.venv/bin/python benchmarks/fg_wsd.py --seeds 1 2 3 4 5 --out outputs/reference/claims/fg_wsd.json

filter    the runs of 02 themselves: pools of the filter, decay to 1/300 of the peak
planted   pools of the same sizes from the same documents, sorted by the quality they were made with
gentle    pools of the filter, decay to a third of the peak, then the mean of the weights at the last
          checkpoints, evenly spaced in the decay (arXiv 2511.18903)

Accuracy and loss on the held-out questions of 02 with unseen operands, in base form. Both arms of a pair read
the same rows. What --out holds already is not run again.
"""

import argparse
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from shutil import copy

os.environ["TQDM_DISABLE"] = "1"

import numpy as np
import torch
from transformers import AutoTokenizer

from nbkit.cli.study.seed_stats import over_seeds
from nbkit.evals.evaluate import evaluate, solution_loss
from nbkit.models.engine import Generator
from nbkit.models.load import load
from nbkit.pretrain.fg_wsd import POOLS, for_model, vanilla
from nbkit.pretrain.job import Job, train
from nbkit.pretrain.plan import PlanFile, as_data
from nbkit.run import files, params
from nbkit.tasks import world
from nbkit.text.tokenizer import load_pool, pack, save_pool
from nbkit.verify.jail.jail import Jail

AVERAGED = 5  # checkpoints whose weights are averaged


def plant(folder: Path, source: Path, docs: int, seed: int) -> None:
    """Pools of the sizes of `source`: the upper one clean, the lower one what is left, the synthetic one the
    same."""
    tokenizer = AutoTokenizer.from_pretrained(source / "tokenizer")
    tokenizer.save_pretrained(folder / "tokenizer")
    copy(source / "plan.json", folder)
    held = {name: load_pool(source / f"{name}.npy") for name in POOLS}
    texts: dict[str, dict[str, None]] = {}
    for doc in world.corpus(docs, seed):
        texts.setdefault(doc["truth_tier"], {})[doc["text"]] = None
    rows = {tier: pack(own, tokenizer, held["hq"].shape[1]) for tier, own in texts.items()}
    rows.pop("duplicate")  # the filter removes them, too
    clean, rng = rows.pop("clean"), np.random.default_rng(seed)
    upper, lower = len(held["hq"]), len(held["mq"])
    if len(clean) < upper:
        raise ValueError(f"upper pool: {len(clean)} clean rows, wanted {upper}; make more documents")
    rest = np.concatenate([clean[upper:], *rows.values()])
    if len(rest) < lower:
        raise ValueError(f"lower pool: {len(rest)} rows, wanted {lower}; make more documents")
    save_pool(folder / "hq.npy", clean[:upper])
    save_pool(folder / "mq.npy", rest[rng.permutation(len(rest))[:lower]])
    save_pool(folder / "synthetic.npy", held["synthetic"])


def mean_weights(folders: list[Path]):
    """A model with the mean of the weights of several checkpoints."""
    models = [load(folder)[0] for folder in folders]
    mean = models[0]
    with torch.no_grad():
        for name, weight in mean.named_parameters():
            weight.copy_(torch.stack([dict(one.named_parameters())[name] for one in models]).mean(0))
    return mean


def arm(name: str, condition: str, seed: int, pools: Path, cfg, out: Path):
    """Train one arm; returns its model."""
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
    job = Job(
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
    train(job)
    return mean_weights([*(out / f"checkpoint-{step}" for step in sorted(kept)), out / "model"])


def measure(model, tokenizer, tasks, jail) -> dict:
    return {
        "accuracy": evaluate(Generator(model, tokenizer), tasks, "base", jail).overall.mean,
        "loss": solution_loss(model, tokenizer, tasks).mean,
    }


def pair(condition: str, seed: int, source: Path, docs: int, cfg, tasks, jail) -> dict:
    """Both arms of one condition and seed."""
    tokenizer, found = AutoTokenizer.from_pretrained(source / "tokenizer"), {}
    with tempfile.TemporaryDirectory() as scratch:
        pools = source
        if condition == "planted":
            pools = Path(scratch, "pools")
            pools.mkdir()
            plant(pools, source, docs, seed)
        for name in ("fg", "vanilla"):
            model = arm(name, condition, seed, pools, cfg, Path(scratch, name))
            found[name] = measure(model, tokenizer, tasks, jail)
    return {"condition": condition, "seed": seed, **found}


def own_runs(root: Path, seed: int) -> dict:
    """What 02 measured in one seed."""
    results = files.read_json(root / "02_pretrain" / "metrics.json")["results"]
    found = {}
    for name in ("fg", "vanilla"):
        one = results[f"student_{name}"]
        found[name] = {
            "accuracy": one["by_split"]["operands"]["mean"],
            "loss": one["solution_loss"]["mean"],
        }
    return {"condition": "filter", "seed": seed, **found}


def effects(rows: list[Mapping], questions: int) -> dict:
    """Differences over seeds: FG-WSD minus vanilla under each condition, and of FG-WSD between conditions."""
    by: dict[str, dict[int, Mapping]] = {}
    for row in rows:
        by.setdefault(row["condition"], {})[row["seed"]] = row
    found = {}

    def add(name: str, differences: Mapping[int, float]) -> None:
        if len(differences) > 1:
            found[name] = over_seeds({s: {"mean": d, "n": questions} for s, d in differences.items()})

    for key in ("accuracy", "loss"):
        for condition, own in by.items():
            add(f"{condition}: {key}", {s: r["fg"][key] - r["vanilla"][key] for s, r in own.items()})
        for condition in ("planted", "gentle"):
            for name in ("fg", "vanilla"):
                both = by.get(condition, {}).keys() & by["filter"].keys()
                change = {s: by[condition][s][name][key] - by["filter"][s][name][key] for s in both}
                add(f"{name}, {condition} minus filter: {key}", change)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--study", type=Path, default=files.outputs_root() / "claims/fresh", help="of `nbkit claims`"
    )
    parser.add_argument("--profile", default="claims")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3, 4, 5])
    parser.add_argument("--conditions", nargs="+", default=["planted", "gentle"])
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    schemas = params.schemas()
    cfg, mix = (
        params.coerce(schemas[stage], params.load_profile(options.profile, stage))
        for stage in ("02_pretrain", "01_data_mix")
    )
    tasks = world.eval_tasks(cfg.eval_questions, "operands")
    rows = files.read_json(options.out)["rows"] if options.out.exists() else []
    with Jail() as jail:
        for seed in options.seeds:
            root = options.study / f"seed-{seed}" / options.profile
            for condition in ("filter", *options.conditions):
                if any(r["condition"] == condition and r["seed"] == seed for r in rows):
                    continue
                if condition == "filter":
                    rows.append(own_runs(root, seed))
                else:
                    source = root / "01_data_mix" / "pools"
                    rows.append(pair(condition, seed, source, mix.web_docs, cfg, tasks, jail))
                found = effects(rows, len(tasks))
                files.write_json(options.out, {"questions": len(tasks), "rows": rows, "effects": found})
                print(rows[-1], flush=True)
    for name, one in effects(rows, len(tasks)).items():
        print(f"{name:<40}{one['mean']:+.3f} [{one['low']:+.3f}, {one['high']:+.3f}], {one['seeds']} seeds")


if __name__ == "__main__":
    main()
