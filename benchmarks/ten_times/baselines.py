"""The baselines of ten_times: what a finished run holds, and models of ten times the student's size that are
made from it."""

from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace

import numpy as np
from transformers import AutoTokenizer

from nbkit.models.load import save
from nbkit.models.side_by_side import together
from nbkit.pretrain.fg_wsd import for_model, longer, vanilla
from nbkit.pretrain.job import Job
from nbkit.pretrain.plan import PlanFile, as_data, pool_tokens
from nbkit.refine.loop import read
from nbkit.run import files
from nbkit.sft.sft import SFTSettings, finetuned
from nbkit.tasks import world
from nbkit.tasks.sets import at_shares, training_tasks
from nbkit.text.tokenizer import load_pool, pack, save_pool

SHAPE = ("hidden", "layers", "heads", "kv_heads", "mlp")


class Outputs:
    """A finished run: parameters and artifacts of its stages."""

    def __init__(self, folder: Path):
        self.folder = folder

    def params(self, stage: str) -> SimpleNamespace:
        return SimpleNamespace(**files.read_json(self.folder / stage / "manifest.json")["params"])

    @property
    def name(self) -> str:
        """The same while nothing is run again."""
        stages = ("01_data_mix", "02_pretrain", "03_sft_cold_start", "04_sft_overall")
        return files.digest([files.read_json(self.folder / s / "manifest.json") for s in stages])[:12]

    @property
    def planned(self) -> PlanFile:
        return PlanFile.load(self.folder / "01_data_mix/pools/plan.json")

    @property
    def tokenizer(self):
        return AutoTokenizer.from_pretrained(self.folder / "01_data_mix/pools/tokenizer")

    def baseline(self) -> dict:
        """Sizes of the model ten times the student's."""
        cfg = self.params("02_pretrain")
        size = {name: getattr(cfg, f"baseline_{name}") for name in SHAPE}
        return size | {"context": self.planned.stages[-1].seq_len, "tied": cfg.tied_embeddings}


def unfiltered(run: Outputs, out: Path) -> None:
    """Pools of the sizes that the plan reads, from the documents as they come; the synthetic pool is 01's."""
    params, source = run.params("01_data_mix"), run.folder / "01_data_mix/pools"
    out.mkdir(parents=True, exist_ok=True)
    if params.sources != ["embedded"]:
        raise ValueError(
            f"sources: got {params.sources} in 01, wanted ['embedded'], whose text can be made again"
        )
    tokenizer, row, kept_back = run.tokenizer, run.planned.seq_len, run.planned.validation_rows
    raw = world.corpus(params.web_docs, params.seed) + world.natural_text(params.natural_chars, params.seed)
    order = np.random.default_rng(params.seed).permutation(len(raw))
    rows = pack([raw[i] for i in order], tokenizer, row)
    # As many different rows as the plan reads, shared in its proportion where there are fewer.
    wanted = {name: pool_tokens(run.planned.stages)[name] // row + kept_back for name in ("hq", "mq")}
    share = min(1.0, len(rows) / sum(wanted.values()))
    start = 0
    for name, count in wanted.items():
        end = start + int(share * count)
        save_pool(out / f"{name}.npy", rows[start:end])
        start = end
    save_pool(out / "synthetic.npy", np.array(load_pool(source / "synthetic.npy")))


def pretrained(run: Outputs, kind: str, lr: float, times: float, work: Path) -> Path:
    """The baseline's base after vanilla WSD on `times` the student's tokens, at the peak rate `lr`."""
    out, cfg, planned = work / kind / f"base-{lr:g}-{times:.4g}", run.params("02_pretrain"), run.planned
    pools = run.folder / "01_data_mix/pools"
    if kind != "pools":
        pools = work / "unfiltered"
        if not (pools / "synthetic.npy").exists():
            unfiltered(run, pools)
    rates = {"peak_lr": lr, "final_lr": lr * cfg.final_lr / cfg.big_peak_lr, "decay_shape": cfg.decay_shape}
    bases = {"rope_base": cfg.rope_base, "decay_rope_base": cfg.decay_rope_base}
    stages = planned.stages if times == 1 else longer(planned.stages, times, planned.step_tokens)
    job = Job(
        f"{kind} {lr:g}",
        str(out),
        str(pools),
        str(run.folder / "01_data_mix/pools/tokenizer"),
        as_data(vanilla(for_model(stages, **rates, **bases))),
        cfg.batch,
        seed=cfg.seed,
        model=run.baseline(),
        weight_decay=cfg.weight_decay,
        validation_rows=planned.validation_rows,
        save_every=500,
    )
    together("nbkit.pretrain.job", {out: asdict(job)})
    return out / "model"


def first_samples(run: Outputs) -> list:
    """Conversations of 04's instructions with the teacher's first samples, at its shares."""
    cfg = run.params("04_sft_overall")
    reasoning, general, agent, code = cfg.shares
    mixture = {
        "general": general,
        "agent": agent,
        "code": code,
        "math": reasoning / 2,
        "science": reasoning / 2,
    }
    drawn = training_tasks(cfg.task_sets, cfg.prompts, mixture, cfg.seed + 1)
    tasks = list({world.instruction(task): task for task in drawn}.values())
    parts = sorted((run.folder / "04_sft_overall/refined").iterdir())
    said = {found.question: found.first or "" for part in parts for found in read(part)[0]}
    everyone = at_shares([task.domain for task in tasks], mixture, len(tasks), seed=cfg.seed)
    return [world.responded(tasks[i], said[world.instruction(tasks[i])]) for i in everyone]


def tuned(run: Outputs, base: Path, lr: float, passes: float, times: float, out: Path) -> Path:
    """The base after the cold start of 03 and SFT on first samples, each over `times` its data's passes."""
    cold, overall = run.params("03_sft_cold_start"), run.params("04_sft_overall")
    # The cold start does not depend on `passes`: it is kept beside the base, for all of them.
    begun = base.parent / f"cold-{lr:g}"
    if not begun.exists():
        mixture = dict(zip(("math", "science", "code"), cold.shares, strict=True))
        tasks = training_tasks(cold.task_sets, cold.samples, mixture, cold.seed)
        _trained(base, [world.chat(task) for task in tasks], cold, lr, cold.epochs * times, begun)
    if not out.exists():
        _trained(begun, first_samples(run), overall, lr, passes * times, out)
    return out


def _trained(
    base: Path, conversations: list, cfg: SimpleNamespace, lr: float, epochs: float, out: Path
) -> None:
    settings = SFTSettings(lr, cfg.batch, cfg.max_length, cfg.seed, epochs=epochs)
    with files.atomic_dir(out) as temp:
        model, tokenizer, _ = finetuned(base, conversations, settings, out=temp / "trainer", label=out.name)
        save(temp, model, tokenizer)
