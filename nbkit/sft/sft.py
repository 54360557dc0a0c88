"""Supervised fine-tuning on trl.SFTTrainer: loss on assistant tokens only, conversations packed without
seeing each other. Used by 03-06.

A conversation is a list of messages, or {"messages": [...], "tools": [...]} where tools are offered, in any
form that docs/formats.md names (text/conversations.py brings them to one). Tool definitions, questions and
tool results (role "tool") are read; what the assistant writes is learned: its <think>, its answer, its tool
calls and the <|im_end|> with which it stops.

Two ways of packing, the same loss and gradients (tests/sft/test_sft.py):
- in rows of `max_length` tokens: per-conversation `position_ids` and no attention mask, from which
  transformers builds a block-diagonal mask per row. On a CPU 1.5 to 3 times faster than TRL's own, which
  flattens the batch into one very long row.
- TRL's own (padding-free), where FlashAttention is there. Tested with plain attention on a CPU only: no GPU
  was at hand, so FlashAttention was never run, nor `flash_attention` beyond its answer without a GPU.
Shape legend: R rows, T tokens per row.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from transformers import Trainer
from transformers.utils import is_flash_attn_2_available
from transformers.utils.chat_template_utils import render_jinja_template
from trl import SFTConfig, SFTTrainer, pack_dataset
from trl.chat_template_utils import has_generation_markers

from nbkit.models.chat_ids import ids_and_offsets, rendered
from nbkit.models.distributed import sharding as split
from nbkit.models.load import load
from nbkit.models.training import LONG, run_training, shared_arguments
from nbkit.run import progress
from nbkit.run.moved import once_separate
from nbkit.text.conversations import conversation
from nbkit.text.tokenizer import CHAT_TEMPLATE

IGNORE = -100


@dataclass(frozen=True)
class SFTSettings:
    """How `sft` trains. `lr`: peak learning rate. `batch`: packed rows per step, of `max_length` tokens each.
    `epochs`: passes over the conversations; `steps`, where given, counts in their place."""

    lr: float
    batch: int
    max_length: int
    seed: int
    epochs: float = 1.0
    steps: int = 0


@dataclass(frozen=True)
class SFTResult:
    """`samples`: conversations learned from. `dropped`: conversations longer than max_length, left out whole
    instead of being cut. `tokens` of the samples, of which `learned` carry loss. `seconds`: training.
    `validation`: {"step", "eval_loss"} on the conversations that were held out, if any."""

    history: list[dict]
    samples: int
    dropped: int
    tokens: int
    learned: int
    seconds: float
    validation: list[dict]


def encode(conversations: Sequence[list[dict] | dict], tokenizer, max_length: int) -> tuple[list[dict], int]:
    """Token ids and labels of each conversation; labels are -100 outside assistant turns. Returns (rows,
    dropped).

    Raises ValueError when the chat template has no generation markers, when a conversation has no assistant
    turn or holds what cannot be learned as text (it names row and message), and when every conversation is
    longer than `max_length` tokens."""
    if not has_generation_markers(tokenizer.chat_template or ""):
        raise ValueError(
            "chat_template: has no {% generation %} markers, so the assistant's tokens cannot be told apart; "
            "use a template with markers (nbkit.text.tokenizer.CHAT_TEMPLATE has them)"
        )
    # Too long a conversation is left out whole: cut, it would teach an answer that never ends.
    shown = progress.each(conversations, "encoding conversation")
    rows = [_row(i, row, tokenizer) for i, row in enumerate(shown)]
    kept = [row for row in rows if len(row["input_ids"]) <= max_length]
    if not kept:
        raise ValueError(
            f"max_length: got {max_length}, but every one of {len(rows)} conversations is longer; raise it"
        )
    return kept, len(rows) - len(kept)


def _row(number: int, row: list[dict] | dict, tokenizer) -> dict:
    """One conversation. Not apply_chat_template's own mask: where an answer begins with a line break, that
    one lets a token carry loss that begins in the prompt (the line break before it, merged)."""
    messages, tools = conversation(row, f"conversations[{number}]")

    def template(messages: list[dict], tools: list | None) -> tuple[str, list[int]]:
        (text,), (spans,) = render_jinja_template(
            [messages],
            tools=tools,
            chat_template=tokenizer.get_chat_template(tools=tools),
            return_assistant_tokens_mask=True,
            **tokenizer.special_tokens_map,
        )
        return text, [place for span in spans for place in span]

    # The template marks where the assistant's text begins and ends, in characters, in turn.
    text, places = rendered(messages, tools, tokenizer, template)
    spans = list(zip(places[::2], places[1::2], strict=True))
    if not spans:
        raise ValueError(
            f"conversations[{number}]: has no assistant turn, so none of it would carry loss; leave it out"
        )
    spans = _learned(spans, messages, number)
    # A token is learned if it lies whole inside such a span.
    ids, offsets = ids_and_offsets(tokenizer, text)
    begins, ends = np.array(spans).T
    first, last = np.array(offsets).T
    turn = np.searchsorted(begins, first, side="right") - 1  # the assistant turn that began last, or -1
    inside = (turn >= 0) & (last <= ends[turn])
    inside[0] = False  # nothing comes before the first token that could predict it
    return {"input_ids": ids, "labels": np.where(inside, ids, IGNORE).tolist()}


def _learned(spans: Sequence, messages: Sequence[dict], number: int) -> Sequence:
    """The assistant's spans without those of messages that say "weight": 0 (read, but not learned)."""
    weights = [message.get("weight") for message in messages if message["role"] == "assistant"]
    # No weight given (the usual case), or 1 everywhere: all of them are learned.
    if set(weights) <= {None, 1}:
        return spans
    if not set(weights) <= {None, 0, 1} or len(weights) != len(spans):
        raise ValueError(f"conversations[{number}]: got weights {weights}, wanted 0 or 1 for each message")
    if 1 not in weights and None not in weights:
        raise ValueError(f"conversations[{number}]: every assistant turn has weight 0; leave it out")
    return [span for span, weight in zip(spans, weights, strict=True) if weight != 0]


def with_markers(tokenizer):
    """The tokenizer with a chat template that marks the assistant's tokens: its own if it does, the kit's
    ChatML if it is a ChatML tokenizer (SmolLM2, Qwen and others), else ValueError."""
    if not has_generation_markers(tokenizer.chat_template or ""):
        if not {"<|im_start|>", "<|im_end|>"} <= set(tokenizer.get_vocab()):
            raise ValueError(
                "chat_template: has no {% generation %} markers and the tokenizer is not ChatML; "
                "set a template with markers"
            )
        tokenizer.chat_template = CHAT_TEMPLATE
    return tokenizer


def packing(device: str, flash: bool) -> tuple[str | None, str]:
    """The attention under which TRL's own packing trains, or None for rows; and a remark to print, or "".
    Without FlashAttention, TRL's packing would build one dense mask over the whole batch."""
    # FlashAttention reads where conversations begin from position_ids, so TRL's packing needs no mask.
    if device == "cuda" and flash:
        return "flash_attention_2", ""
    if device == "cuda":
        return None, "no FlashAttention here: packed in rows, slow for long ones; `pip install kernels`"
    return None, ""


def flash_attention() -> bool:
    """Can FlashAttention 2 run here, from flash-attn or (downloaded) from `kernels`?"""
    capable = torch.cuda.is_available() and torch.cuda.get_device_capability() >= (8, 0)
    return capable and is_flash_attn_2_available(kernels_fallback_ok=True)


@dataclass
class RowPacked:
    """Collator of packed rows: input_ids, labels and position_ids, each (R, T); padding starts a
    conversation of its own."""

    pad_id: int

    def __call__(self, rows: Sequence[dict]) -> dict[str, torch.Tensor]:
        # Rows are padded to the longest of the batch only; packing leaves them nearly full.
        width = max(len(row["input_ids"]) for row in rows)
        batch = {"input_ids": [], "labels": [], "position_ids": []}
        for row in rows:
            fill = width - len(row["input_ids"])
            # Positions start again at 0 with every conversation: that is how transformers finds the borders.
            positions = [p for length in row["seq_lengths"] for p in range(length)]
            batch["input_ids"].append(list(row["input_ids"]) + [self.pad_id] * fill)
            batch["labels"].append(list(row["labels"]) + [IGNORE] * fill)
            batch["position_ids"].append(positions + list(range(fill)))
        return {name: torch.tensor(values) for name, values in batch.items()}


class RowPackedTrainer(SFTTrainer):
    """SFTTrainer with the plain cross-entropy of transformers on the CPU, where TRL's chunked kernel is
    slower at small vocabularies."""

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        if self.args.use_cpu:
            inputs["use_cache"] = (
                False  # with a cache, transformers does not look for packing in position_ids
            )
            return Trainer.compute_loss(self, model, inputs, return_outputs, num_items_in_batch)
        return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)


def rows_needed(conversations: Sequence[list[dict] | dict], tokenizer, max_length: int) -> int:
    """Packed rows that the conversations fill: the steps of one pass are this over the batch."""
    return len(_packed(encode(conversations, tokenizer, max_length)[0], max_length))


def _packed(encoded: Sequence[dict], max_length: int) -> Dataset:
    # Best fit, decreasing: whole conversations, none cut at the end of a row.
    return pack_dataset(Dataset.from_list(list(encoded)), max_length, "bfd")


def _arguments(settings, steps: int, rows: int, out: Path, sharding: str, **options) -> SFTConfig:
    """How `steps` steps train on `rows` packed rows: a twentieth of the steps warm-up, then a cosine.
    `options`: further arguments of SFTConfig."""
    arguments = SFTConfig(
        max_steps=steps,
        per_device_train_batch_size=max(1, min(settings.batch, rows) // split.world_size()),
        learning_rate=settings.lr,
        lr_scheduler_type="cosine",
        warmup_steps=max(1, steps // 20),
        max_length=settings.max_length,
        dataset_kwargs={"skip_prepare_dataset": True},
        remove_unused_columns=False,
        logging_steps=max(1, steps // 50),
        eval_steps=max(1, steps // 10),
        prediction_loss_only=True,
        **split.sharding_arguments(sharding, "layers" if settings.max_length > LONG else "none"),
        **shared_arguments(out, settings.seed),
        **options,
    )
    split.one_device_each(arguments)
    return arguments


@once_separate("settings", SFTSettings)
def sft(
    model,
    tokenizer,
    conversations: Sequence[list[dict] | dict],
    settings: SFTSettings,
    *,
    out: Path,
    label: str = "sft",
    held_out: Sequence[list[dict] | dict] = (),
    sharding: str = "ddp",
) -> SFTResult:
    """Fine-tune `model` in place; the loss is the mean over all learned tokens of a step. `out`: folder of
    the trainer's files; `label` names the run in the progress line. The loss on `held_out` conversations is
    measured ten times: where it is flat, more steps would not help. Under torchrun every process takes its
    part of the rows of a step, and `sharding` ("ddp", "fsdp2") says how the weights are split. Raises
    ValueError as `encode` does, and for a batch that does not split over the processes."""
    split.check_sharding(sharding)
    split.split_batch(settings.batch)
    # Conversations become rows of tokens; their number and `epochs` give the number of steps.
    encoded, dropped = encode(conversations, tokenizer, settings.max_length)
    packed = _packed(encoded, settings.max_length)
    steps = settings.steps or max(1, int(settings.epochs * len(packed) / settings.batch))
    # How conversations share a row, which depends on the attention that is there.
    attention, remark = packing(model.device.type, flash_attention())
    if remark:
        print(f"{label}: {remark}")
    options = {"packing": attention is not None, "eval_strategy": "steps" if held_out else "no"}
    arguments = _arguments(settings, steps, len(packed), out, sharding, **options)
    # Train in rows, or packed by TRL where FlashAttention keeps conversations apart.
    shared = dict(args=arguments, train_dataset=packed, processing_class=tokenizer)
    if held_out:
        kept, _ = encode(held_out, tokenizer, settings.max_length)
        shared["eval_dataset"] = _packed(kept, settings.max_length)
    before = model.config._attn_implementation
    if attention is None:
        trainer = RowPackedTrainer(model, data_collator=RowPacked(tokenizer.pad_token_id), **shared)
    else:
        model.set_attn_implementation(attention)
        trainer = SFTTrainer(model, **shared)
    split.check_trainer(trainer, sharding)
    history, seconds = run_training(trainer, label)
    if attention is not None:
        model.set_attn_implementation(before)
    # What was learned from, to report.
    tokens = sum(len(row["input_ids"]) for row in encoded)
    learned = sum(y != IGNORE for row in encoded for y in row["labels"])
    measured = [row for row in trainer.state.log_history if "eval_loss" in row]
    validation = [{key: row[key] for key in ("step", "eval_loss")} for row in measured]
    return SFTResult(history, len(encoded), dropped, tokens, learned, seconds, validation)


def finetuned(
    source: str | Path, conversations: Sequence, settings: SFTSettings, **options
) -> tuple[Any, Any, SFTResult]:
    """(model, tokenizer, result) of the model at `source` after fine-tuning; nothing is saved. The tokenizer
    has a chat template that marks the assistant's tokens. `options` (out, label, held_out, sharding) go to
    `sft`. Raises as `load` and `sft` do."""
    model, tokenizer = load(source)
    tokenizer = with_markers(tokenizer)
    return model, tokenizer, sft(model, tokenizer, conversations, settings, **options)
