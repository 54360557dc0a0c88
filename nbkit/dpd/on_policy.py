"""DPD with negatives that are fresh in every pass: sampled from the *current* student instead of the student
at the start. Used by 05.

    fresh = Fresh(tasks, samples=4, min_margin=0.6, sampling={"max_new_tokens": 96}, jail=jail)
    history, seconds = on_policy(model, tokenizer, teacher, pairs, fresh, settings, out=folder)

The first pass trains on the pairs as they are: their negatives are the student's own, at its start. Before
every later pass the student answers each question again, the verifier scores the answers, and the worst takes
the place of the old negative if it is clearly worse than the positive. Where the student no longer errs, the
old negative stays, so that every pass has the same questions, positives and steps as the static arm: nothing
but the negatives differs. How many are fresh is noted per pass in `fresh.json`. The reference of the sequence
term stays the student at its start.
"""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from transformers import TrainerCallback
from trl.trainer.dpo_trainer import DataCollatorForPreference

from nbkit.dpd.pairs import broken_rule
from nbkit.dpd.states import completion_states
from nbkit.dpd.trainer import DPDSettings, trainer_of
from nbkit.evals.evaluate import verdicts
from nbkit.models.engine import Completion, Generator
from nbkit.models.load import load
from nbkit.models.training import run_training
from nbkit.run import files, progress
from nbkit.run.stage import Run
from nbkit.sft.finetune import train_once
from nbkit.sft.sft import with_markers
from nbkit.tasks.partial import partial_credit
from nbkit.tasks.skills import Task
from nbkit.verify.jail.jail import Jail

NOTE = "fresh.json"
SIDES_IDS = ("chosen_ids", "rejected_ids")


@dataclass(frozen=True)
class Fresh:
    """Where fresh negatives come from. `tasks`: one per pair, which its verifier scores; None: a rated pair,
    whose negative stays. `samples` of the student per question and pass. `min_margin`: how much worse than
    the positive a negative scores at least. `sampling`: options of `Engine.sample_ids` (temperature and top-p
    1 where they are not named). Code of the answers runs in `jail`."""

    tasks: Sequence[Task | None]
    samples: int
    min_margin: float
    sampling: Mapping
    jail: Any = None


class Rows(torch.utils.data.Dataset):
    """The rows of a trainer, as a list in which negatives can be replaced."""

    def __init__(self, rows: Sequence[Mapping]):
        self.rows = [dict(row) for row in rows]

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, number: int) -> dict:
        return self.rows[number]


def worst(
    pair: Mapping, samples: Sequence[Completion], scores: Sequence[float], fresh: Fresh, stop: str, room: int
) -> dict | None:
    """The new "rejected", "rejected_ids" and "rejected_score" of a pair: the worst of the samples that ended
    by themselves, the first where scores are equal. None where it breaks a rule of nbkit.dpd.pairs: not
    clearly worse, empty, the same as the positive, or longer than `room` tokens."""
    ended = [i for i, sample in enumerate(samples) if sample.stopped]
    if not ended:
        return None
    least = min(ended, key=lambda i: (scores[i], i))
    sample = samples[least]
    new = {"rejected": sample.text + stop, "rejected_ids": sample.ids, "rejected_score": float(scores[least])}
    good = {"chosen_score": 1.0} | dict(pair)
    broken = broken_rule(good | new, stop=stop, min_margin=fresh.min_margin)
    return None if broken or len(sample.ids) > room else new


def negatives(
    engine: Generator, pairs: Sequence[dict], rows: Rows, fresh: Fresh, settings: DPDSettings, seed: int
) -> list[dict | None]:
    """One new negative per pair from the model that `engine` holds, None where the old one stays. Where the
    grader fails on a question, its negative stays."""
    asked = [i for i, task in enumerate(fresh.tasks) if task is not None]
    if not asked:
        return [None] * len(pairs)
    prompts = [rows[i]["prompt_ids"] for i in asked]
    sampling = {"temperature": 1.0, "top_p": 1.0} | dict(fresh.sampling)
    groups = engine.sample_ids(prompts, fresh.samples, seed=seed, **sampling)
    # A response that was cut counts as wrong, and is not chosen.
    texts = [[c.text if c.stopped else None for c in group] for group in groups]
    asked_tasks, lost = [fresh.tasks[i] for i in asked], max(0.01, 1.5 / len(asked))  # one may always be lost
    scores_QK = verdicts(asked_tasks, texts, fresh.jail, lost, partial_credit)
    new: list[dict | None] = [None] * len(pairs)
    for row, i in enumerate(asked):
        if scores_QK.mask.any() and scores_QK.mask[row].any():
            continue
        room = settings.max_length - len(prompts[row])
        new[i] = worst(pairs[i], groups[row], scores_QK.data[row], fresh, settings.stop, room)
    return new


@torch.no_grad()
def log_probs(model, pad_id: int, rows: Sequence[Mapping], batch: int = 16) -> list[float]:
    """Summed log-probability (nats, at temperature 1) of the "rejected_ids" of each row under `model`."""
    collate, sums = DataCollatorForPreference(pad_token_id=pad_id), []
    for start in range(0, len(rows), batch):
        some = rows[start : start + batch]
        # Both sides negative: the collator wants two, and the first half is read.
        given = [{"prompt_ids": r["prompt_ids"]} | dict.fromkeys(SIDES_IDS, r["rejected_ids"]) for r in some]
        made = {name: x.to(model.device) for name, x in collate.torch_call(given).items()}
        mask = made["completion_mask"][:, 1:].bool()
        row_N, targets_N = mask.nonzero()[:, 0], made["input_ids"][:, 1:][mask]
        logits_NV = model.get_output_embeddings()(completion_states(model, made)).float()
        logp_N = logits_NV.log_softmax(-1).gather(-1, targets_N[:, None]).squeeze(-1)
        zeros = logp_N.new_zeros(len(mask))
        sums += zeros.index_add(0, row_N, logp_N)[: len(some)].tolist()
    return sums


class Refresh(TrainerCallback):
    """Before every pass but the first: samples negatives from the student as it is, and puts them into the
    rows of the trainer with their log-probability under the reference."""

    def __init__(self, build, reference, rows: Rows, pad_id: int):
        self.build, self.reference, self.rows, self.pad_id = build, reference, rows, pad_id
        self.passes, self.note = 0, []

    def on_epoch_begin(self, args, state, control, model=None, **kwargs):
        self.passes += 1
        if self.passes == 1:
            return
        # The student answers in evaluation mode, without touching its random numbers.
        with progress.doing("fresh negatives"):
            new = self.build(self.passes)
        changed = [i for i, one in enumerate(new) if one]
        for i in changed:
            self.rows.rows[i]["rejected_ids"] = new[i]["rejected_ids"]
        of_reference = log_probs(self.reference, self.pad_id, [self.rows[i] for i in changed])
        for i, value in zip(changed, of_reference, strict=True):
            self.rows.rows[i]["ref_rejected_logps"] = value
        self.note.append({"pass": self.passes, "fresh": len(changed), "pairs": len(new)})


def on_policy(
    model,
    tokenizer,
    teacher,
    pairs: Sequence[dict],
    fresh: Fresh,
    settings: DPDSettings,
    *,
    out: Path,
    **options,
) -> tuple[list[dict], float]:
    """Distil in place as nbkit.dpd.trainer.dpd does, with fresh negatives in every pass but the first; leaves
    `fresh.json` in `out`. `teacher`: a model (fresh negatives are in no cache). Raises ValueError as `dpd`
    does, and where tasks and pairs differ in number."""
    if len(fresh.tasks) != len(pairs):
        raise ValueError(
            f"tasks: got {len(fresh.tasks)} for {len(pairs)} pairs, wanted one for each (None: it has none)"
        )
    label = "on policy"
    # The student at its start, before TRL patches the model: a later copy would run the student's weights.
    reference, engine = copy.deepcopy(model).eval(), Generator(model, tokenizer)
    trainer = trainer_of(model, tokenizer, teacher, pairs, settings, out, label, **options)
    rows = Rows(list(trainer.train_dataset))
    trainer.train_dataset = rows
    own = list(pairs)

    def build(number: int) -> list[dict | None]:
        engine.refresh(model)
        new = negatives(engine, own, rows, fresh, settings, seed=settings.seed + 1000 * number)
        for i, one in enumerate(new):
            own[i] = own[i] | (one or {})
        return new

    refresh = Refresh(build, reference, rows, tokenizer.pad_token_id)
    trainer.add_callback(refresh)
    history, seconds = run_training(trainer, label)
    files.write_json(out / NOTE, refresh.note)
    return history, seconds


def distil_fresh(
    run: Run, source, pairs: Sequence[dict], fresh: Fresh, arms: Mapping[str, DPDSettings], **key
) -> dict[str, Path]:
    """Arm -> the folder of the student after `on_policy`, made once, as nbkit.dpd.job.distil_all does it for
    static pairs; one after the other, in this process, since the verifier has to run. `source`: a
    nbkit.dpd.job.Source with a teacher's weights."""
    teacher, proof = load(source.teacher)

    def training(settings: DPDSettings):
        def train(model, tokenizer, out: Path) -> tuple[list[dict], float]:
            with Jail() as jail:
                given = (model, with_markers(tokenizer), teacher, pairs, replace(fresh, jail=jail))
                return on_policy(*given, settings, out=out, teacher_tokenizer=proof)

        return train

    about = {"samples": fresh.samples, "min_margin": fresh.min_margin, "sampling": dict(fresh.sampling)}
    return {
        name: train_once(
            run,
            name,
            source.student,
            training(settings),
            settings=asdict(settings),
            pairs=pairs,
            fresh=about,
            **key,
        )
        for name, settings in arms.items()
    }
