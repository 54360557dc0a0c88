"""Supervised fine-tuning on trl.SFTTrainer: loss on assistant tokens only, conversations packed per row.
Used by 03 and 04.

Conversations are packed into rows of `max_length` tokens without seeing each other: the collator sends
per-conversation `position_ids` and no attention mask, from which transformers builds a block-diagonal mask
per row. On a CPU this is 1.5 to 3 times faster than TRL's padding-free packing, which flattens the batch
into one very long row (design notes, trl.md section 7). Shape legend: R rows, T tokens per row.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from datasets import Dataset
from transformers import Trainer
from trl import SFTConfig, SFTTrainer, pack_dataset

from nbkit.data.tokens import CHAT_TEMPLATE
from nbkit.train.common import Progress, can_compile, run_training, shared_arguments

IGNORE = -100


@dataclass(frozen=True)
class SFTResult:
    """`dropped`: conversations longer than max_length, left out whole instead of being cut."""

    history: list[dict]
    samples: int
    dropped: int
    seconds: float


def encode(conversations: Sequence[list[dict]], tokenizer, max_length: int) -> tuple[list[dict], int]:
    """Token ids and labels of each conversation; labels are -100 outside assistant turns. Returns (rows,
    dropped).

    Raises ValueError when the chat template has no generation markers (no token would carry loss)."""
    if "generation" not in (tokenizer.chat_template or ""):
        raise ValueError(
            "chat_template: has no {% generation %} markers, so the assistant's tokens cannot be told apart; "
            "use a template with markers (nbkit.data.tokens.CHAT_TEMPLATE has them)"
        )
    rows = []
    for messages in conversations:
        out = tokenizer.apply_chat_template(messages, return_dict=True, return_assistant_tokens_mask=True)
        labels = [
            token if mine else IGNORE
            for token, mine in zip(out["input_ids"], out["assistant_masks"], strict=True)
        ]
        rows.append({"input_ids": list(out["input_ids"]), "labels": labels})
    kept = [row for row in rows if len(row["input_ids"]) <= max_length]
    if not kept:
        raise ValueError(
            f"max_length: got {max_length}, but every one of {len(rows)} conversations is longer; raise it"
        )
    return kept, len(rows) - len(kept)


def with_markers(tokenizer):
    """The tokenizer with a chat template that marks the assistant's tokens: its own if it does, the kit's
    ChatML if it is a ChatML tokenizer (SmolLM2, Qwen and others), else ValueError."""
    if "generation" not in (tokenizer.chat_template or ""):
        if not {"<|im_start|>", "<|im_end|>"} <= set(tokenizer.get_vocab()):
            raise ValueError(
                "chat_template: has no {% generation %} markers and the tokenizer is not ChatML; "
                "set a template with markers"
            )
        tokenizer.chat_template = CHAT_TEMPLATE
    return tokenizer


@dataclass
class RowPacked:
    """Collator of packed rows: input_ids, labels and position_ids, each (R, T); padding starts a
    conversation of its own."""

    pad_id: int

    def __call__(self, rows: Sequence[dict]) -> dict[str, torch.Tensor]:
        width = max(len(row["input_ids"]) for row in rows)
        batch = {"input_ids": [], "labels": [], "position_ids": []}
        for row in rows:
            fill = width - len(row["input_ids"])
            positions = [p for length in row["seq_lengths"] for p in range(length)]
            # the first label of a conversation would be predicted from the conversation before it
            labels = [IGNORE if p == 0 else y for p, y in zip(positions, row["labels"], strict=True)]
            batch["input_ids"].append(list(row["input_ids"]) + [self.pad_id] * fill)
            batch["labels"].append(labels + [IGNORE] * fill)
            batch["position_ids"].append(positions + list(range(fill)))
        return {name: torch.tensor(values) for name, values in batch.items()}


class RowPackedTrainer(SFTTrainer):
    """SFTTrainer with the plain cross-entropy of transformers on the CPU, where TRL's chunked kernel is
    slower at small vocabularies."""

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        if self.args.use_cpu:
            return Trainer.compute_loss(self, model, inputs, return_outputs, num_items_in_batch)
        return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)


def sft(
    model,
    tokenizer,
    conversations: Sequence[list[dict]],
    *,
    epochs: float,
    lr: float,
    batch: int,
    max_length: int,
    out: Path,
    seed: int,
    compile_steps: int = 0,
    label: str = "sft",
    report: Callable[[str], None] = lambda text: None,
) -> SFTResult:
    """Fine-tune `model` in place. `batch` is in packed rows of `max_length` tokens."""
    encoded, dropped = encode(conversations, tokenizer, max_length)
    packed = pack_dataset(Dataset.from_list(encoded), max_length, "bfd")
    steps = max(1, int(epochs * len(packed) / batch))
    arguments = SFTConfig(
        max_steps=steps,
        per_device_train_batch_size=min(batch, len(packed)),
        learning_rate=lr,
        lr_scheduler_type="cosine",
        warmup_steps=max(1, steps // 20),
        max_length=max_length,
        packing=False,
        dataset_kwargs={"skip_prepare_dataset": True},
        remove_unused_columns=False,
        activation_checkpointing=False,
        torch_compile=bool(compile_steps) and steps >= compile_steps and can_compile(),
        logging_steps=max(1, steps // 50),
        **shared_arguments(out, seed),
    )
    trainer = RowPackedTrainer(
        model=model,
        args=arguments,
        train_dataset=packed,
        processing_class=tokenizer,
        data_collator=RowPacked(tokenizer.pad_token_id),
        callbacks=[Progress(label, report)],
    )
    history, seconds = run_training(trainer)
    return SFTResult(history, len(encoded), dropped, seconds)
