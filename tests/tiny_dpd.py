"""Sixteen pairs, a student, a teacher and trainers of the kit's tiny size."""

import tiny
from datasets import Dataset
from trl import DPOConfig

from nbkit.dpd.tiles import Divergence
from nbkit.dpd.trainer import DPDTrainer
from nbkit.models.engine import user_prompt
from nbkit.tasks.skills import sample

TEACHER = 5  # its seed; the student's is 0


def pairs(count=16):
    end = "<|im_end|>"
    return [
        {
            "prompt": user_prompt(tiny.tokenizer(), t.question),
            "chosen": t.answer + end,
            "rejected": "no idea" + end,
        }
        for t in sample(count, "train", 1)
    ]


def rows(count=16):
    ids = [
        {f"{k}_ids": tiny.tokenizer()(text, add_special_tokens=False)["input_ids"] for k, text in p.items()}
        for p in pairs(count)
    ]
    return Dataset.from_list(ids)


def arguments(folder, **changes):
    options = dict(
        max_steps=6,
        per_device_train_batch_size=8,
        learning_rate=1e-3,
        lr_scheduler_type="constant",
        beta=0.1,
        max_length=128,
        precompute_ref_log_probs=True,
        activation_checkpointing=False,
        logging_steps=1,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        seed=0,
        data_seed=0,
        use_cpu=True,
        bf16=False,
    )
    return DPOConfig(str(folder), **(options | changes))


def trainer(folder, data=None, weights=(1.0, 1.0, 0.5), choice=None, teacher=None, model=None, **changes):
    known = {"tiles": {k: changes.pop(k) for k in ("chunk", "compiled") if k in changes}}
    known |= {k: changes.pop(k) for k in ("teacher_tokenizer",) if k in changes}
    return DPDTrainer(
        model or tiny.model(),
        arguments(folder, **changes),
        teacher=teacher or tiny.model(seed=TEACHER),
        weights=weights,
        divergence=choice or Divergence(),
        train_dataset=data or rows(),
        processing_class=tiny.tokenizer(),
        **known,
    )


def losses(trainer, **options):
    trainer.train(**options)
    return [row["loss"] for row in trainer.state.log_history if "loss" in row]


def distance(first, second):
    return max(
        float((a - b).abs().max()) for a, b in zip(first.parameters(), second.parameters(), strict=True)
    )
