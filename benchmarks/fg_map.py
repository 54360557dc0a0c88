"""Where does FG-WSD win? Against vanilla WSD over the share of bad data, with and without long context.

.venv/bin/python benchmarks/fg_map.py --pools outputs/small/01_data_mix/pools --out map.json --seeds 0 1 2

Conditions: the pools that the filter of 01 made, and pools of planted quality ("planted 10/65": a clean upper
pool of 10% of the tokens, a lower pool of 65%, four fifths of it bad, each read as often as the plan needs).
The student is that of `small`. Questions are new ones of the *training* split, so that nothing is tuned on
held-out items. Results are added to --out after every pair of runs; what it holds already is not run again.
Planted pools and a figure of the differences go beside it.
"""

import argparse
import os
import tempfile
from pathlib import Path

os.environ["TQDM_DISABLE"] = "1"

import numpy as np
import torch
from transformers import AutoTokenizer

from nbkit.cli.study import figures
from nbkit.cli.study.seed_stats import over_seeds
from nbkit.evals.evaluate import evaluate, solution_loss
from nbkit.models.engine import Generator
from nbkit.models.load import load
from nbkit.pretrain.fg_wsd import POOLS, fg_wsd, for_model, vanilla
from nbkit.pretrain.job import Job, train
from nbkit.pretrain.plan import PlanFile, Stage, as_data, nearest_multiple, trainable
from nbkit.run import files, params
from nbkit.tasks import world
from nbkit.tasks.skills import sample
from nbkit.text.tokenizer import load_pool, pack, save_pool
from nbkit.verify.jail.jail import Jail

TOKENS, BATCH, LONG = 3_000_000, 8, 1024
RATES = {"peak_lr": 4e-3, "final_lr": 1.33e-5}  # those of the published map
CONDITIONS = {
    "filter, long": (None, LONG),
    "filter, short": (None, 0),
    "planted 28/26, short": ((0.28, 0.26), 0),
    "planted 20/45, short": ((0.20, 0.45), 0),
    "planted 10/65, short": ((0.10, 0.65), 0),
    "planted 10/65, long": ((0.10, 0.65), LONG),
}


def planted(folder: Path, tokenizer, row: int, upper: float, lower: float) -> None:
    """Pools of known quality: `upper` and `lower` are shares of TOKENS; a fifth of the lower one is clean."""
    by_tier: dict[str, list[str]] = {}
    for doc in world.corpus(150_000, seed=0):
        by_tier.setdefault(doc["truth_tier"], []).append(doc["text"])
    rows = {tier: pack(dict.fromkeys(texts), tokenizer, row) for tier, texts in by_tier.items()}
    clean = rows.pop("clean")
    size = {name: int(TOKENS * share) // row for name, share in (("hq", upper), ("mq", lower))}
    rows.pop("duplicate")
    bad = np.concatenate(list(rows.values()))
    bad = bad[np.random.default_rng(0).permutation(len(bad))[: size["mq"] - size["mq"] // 5]]
    lower_rows = np.concatenate([clean[size["hq"] : size["hq"] + size["mq"] // 5], bad])
    if len(lower_rows) < size["mq"]:
        raise ValueError(f"lower pool: {len(lower_rows)} rows, wanted {size['mq']}; generate more documents")
    save_pool(folder / "hq.npy", clean[: size["hq"]])
    save_pool(folder / "mq.npy", lower_rows[np.random.default_rng(1).permutation(len(lower_rows))])


def planted_plan(pools: dict, row: int, cfg, long: int) -> list[Stage]:
    """The report's stages for two pools: each read once in mixture, then the upper pool alone."""
    step, unit = BATCH * row, long or row
    hq, mq = (pools[name] * row for name in ("hq", "mq"))
    decay, warmup = nearest_multiple(TOKENS * 4 / 23, step), step * 6
    # one step less: chunks of the tail do not fill a row
    mixed = nearest_multiple(hq + mq, step) - warmup - step
    share = hq / (hq + mq)
    alone = nearest_multiple(TOKENS - warmup - mixed - decay, step)

    def both(total: int) -> dict[str, int]:
        upper = int(total * share) // unit * unit
        return {"hq": upper, "mq": total - upper}

    base = {"seq_len": row, "rope_base": cfg.rope_base}
    return [
        Stage("warmup", both(warmup), 0.0, cfg.peak_lr, **base),
        Stage("diversity", both(mixed), cfg.peak_lr, cfg.peak_lr, **base),
        Stage("high_quality", {"hq": alone, "mq": 0}, cfg.peak_lr, cfg.peak_lr, **base),
        Stage(
            "decay",
            {"hq": decay, "mq": 0},
            cfg.peak_lr,
            cfg.final_lr,
            seq_len=unit,
            rope_base=cfg.decay_rope_base if long else cfg.rope_base,
        ),
    ]


def pair(condition: str, seed: int, source: Path, made: Path, cfg, tasks, jail) -> dict:
    """Both arms of one condition and seed."""
    shares, long = CONDITIONS[condition]
    tokenizer = AutoTokenizer.from_pretrained(source / "tokenizer")
    planned, found = PlanFile.load(source / "plan.json"), {"condition": condition, "seed": seed}
    row = planned.seq_len
    with tempfile.TemporaryDirectory() as scratch:
        folder, validation_rows = source, planned.validation_rows
        if shares:
            folder = made / "planted {}-{}".format(*shares)
            if not folder.exists():
                with files.atomic_dir(folder) as temp:
                    planted(temp, tokenizer, row, *shares)
            sizes = {name: len(load_pool(folder / f"{name}.npy")) for name in ("hq", "mq")}
            fg, validation_rows = planted_plan(sizes, row, cfg, long), 0
        else:
            held = {name: load_pool(folder / f"{name}.npy") for name in POOLS}
            held = trainable(held, row, validation_rows)
            bases = {"rope_base": cfg.rope_base, "decay_rope_base": cfg.decay_rope_base if long else 0.0}
            stages = fg_wsd(TOKENS, BATCH * row, held, row, long)
            fg = for_model(stages, cfg.peak_lr, cfg.final_lr, **bases)
        shape = {name: getattr(cfg, name) for name in ("hidden", "layers", "heads", "kv_heads", "mlp")}
        for arm, plan in (("fg", fg), ("vanilla", vanilla(fg))):
            out = Path(scratch, arm)
            train(
                Job(
                    arm,
                    str(out),
                    str(folder),
                    str(source / "tokenizer"),
                    as_data(plan),
                    BATCH,
                    seed=seed,
                    validation_rows=validation_rows,
                    model=shape | {"context": LONG, "tied": True},
                )
            )
            model, _ = load(out / "model")
            result = evaluate(Generator(model, tokenizer), tasks, "base", jail)
            found[arm] = {
                "accuracy": result.overall.mean,
                "loss": solution_loss(model, tokenizer, tasks).mean,
            }
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pools", type=Path, required=True, help="the pools of 01 at `small`")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--conditions", nargs="+", default=list(CONDITIONS), choices=list(CONDITIONS))
    parser.add_argument("--questions", type=int, default=1200)
    options = parser.parse_args()
    cfg = params.coerce(params.schemas()["02_pretrain"], params.load_profile("small", "02_pretrain"))
    cfg = cfg.model_copy(update=RATES)
    tasks = sample(options.questions, "train", seed=990_001)
    rows = files.read_json(options.out) if options.out.exists() else []
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, {options.questions} questions")
    with Jail() as jail:
        for seed in options.seeds:
            for condition in options.conditions:
                if not any(r["condition"] == condition and r["seed"] == seed for r in rows):
                    rows.append(pair(condition, seed, options.pools, options.out.parent, cfg, tasks, jail))
                    files.write_json(options.out, rows)
                    print(rows[-1], flush=True)
    effects = {}
    for condition in dict.fromkeys(r["condition"] for r in rows):
        own = [r for r in rows if r["condition"] == condition]
        gain, loss = (
            over_seeds({r["seed"]: {"mean": r["fg"][key] - r["vanilla"][key], "n": len(tasks)} for r in own})
            for key in ("accuracy", "loss")
        )
        effects[f"{condition} (n={len(own)})"] = gain
        for label, value, scale in (("accuracy, points", gain, 100), ("solution loss", loss, 1)):
            mean, low, high = (scale * value[key] for key in ("mean", "low", "high"))
            print(f"{condition}, {len(own)} seeds: {label} {mean:+.3g} [{low:+.3g}, {high:+.3g}]")
    figure = figures.forest({"": effects}, "FG-WSD minus vanilla WSD, accuracy")
    figure.savefig(options.out.with_suffix(".png"), dpi=150, bbox_inches="tight")


if __name__ == "__main__":
    main()
