"""Scalar reward model (Bradley-Terry), the usual one of RLHF: what 06 compares its pairwise judge with.

One number r(question, answer) per answer; P(first is better) = sigmoid(r(first) - r(second)), trained by the
log-loss of that on preference pairs (TRL's RewardTrainer; Ouyang et al. 2022, eq. 1). It reads each answer
alone, so it has no preference for a position, and n answers cost n passes where a pairwise judge needs n².
Shape legend: P comparisons, A answers.
"""

import math
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from datasets import Dataset
from torch.nn.utils.rnn import pad_sequence
from transformers import AutoModelForSequenceClassification
from trl import RewardConfig, RewardTrainer

from nbkit.models.chat_ids import token_ids_of
from nbkit.models.engine import render, user_turn
from nbkit.models.load import device, load
from nbkit.models.training import run_training, shared_arguments
from nbkit.run import progress
from nbkit.sft.sft import SFTSettings
from nbkit.text.conversations import text_of


def with_scalar_head(source: str | Path, seed: int):
    """(model, tokenizer): the causal model at `source` with one number per sequence in place of its head,
    which begins at zero: before training every answer is worth the same."""
    causal, tokenizer = load(source)
    config = causal.config
    # The number is read at the last token that is no padding, which the model finds by this id.
    config.num_labels, config.pad_token_id = 1, tokenizer.pad_token_id
    torch.manual_seed(seed)
    model = AutoModelForSequenceClassification.from_config(config, dtype=torch.float32)
    body = getattr(model, model.base_model_prefix)
    body.load_state_dict(getattr(causal, causal.base_model_prefix).state_dict())
    torch.nn.init.zeros_(model.score.weight)
    return model.to(device()), tokenizer


def train_scalar(source: str | Path, pairs: Sequence[dict], settings: SFTSettings, out: Path):
    """A `ScalarJudge` of the model at `source`, trained on {"prompt", "chosen", "rejected"}. A step reads
    `settings.batch` pairs; pairs longer than `settings.max_length` tokens are left out. Raises ValueError
    where none is left, and naming a pair of another form."""
    model, tokenizer = with_scalar_head(source, settings.seed)
    rows = []
    for i, pair in enumerate(progress.each(pairs, "encoding pair")):
        prompt, *sides = (text_of(pair[key], f"pairs[{i}].{key}") for key in ("prompt", "chosen", "rejected"))
        chosen, rejected = (encoded(tokenizer, prompt, side) for side in sides)
        if max(len(chosen), len(rejected)) <= settings.max_length:
            rows.append({"chosen_ids": chosen, "rejected_ids": rejected})
    if not rows:
        raise ValueError(
            f"max_length: got {settings.max_length}, but every one of {len(pairs)} pairs is longer; raise it"
        )
    steps = settings.steps or math.ceil(settings.epochs * math.ceil(len(rows) / settings.batch))
    config = RewardConfig(
        per_device_train_batch_size=settings.batch,
        learning_rate=settings.lr,
        lr_scheduler_type="cosine",
        warmup_steps=max(1, steps // 20),
        max_steps=steps,
        max_length=settings.max_length,
        logging_steps=10,
        gradient_checkpointing=False,
        **shared_arguments(out, settings.seed),
    )
    trainer = RewardTrainer(model, config, train_dataset=Dataset.from_list(rows), processing_class=tokenizer)
    run_training(trainer, "scalar reward model")
    return ScalarJudge(model, tokenizer)


def encoded(tokenizer, question: str, answer: str) -> list[int]:
    """Token ids of a question and its answer, up to the end of the answer's turn."""
    turns = [*user_turn(question), {"role": "assistant", "content": answer}]
    (ids,) = token_ids_of(tokenizer, [render(tokenizer, turns)])
    return list(ids) + [tokenizer.eos_token_id]


class ScalarJudge:
    """P(first answer is better) by a scalar reward model; the methods of `nbkit.rl.judge.PairwiseJudge`."""

    def __init__(self, model, tokenizer, batch: int = 128):
        self.model, self.tokenizer, self.batch = model.eval(), tokenizer, batch

    @torch.no_grad()
    def scores(self, answers: Sequence[tuple[str, str]]) -> np.ndarray:
        """r of each (question, answer), shape (A,)."""
        rows = [torch.tensor(encoded(self.tokenizer, *answer)) for answer in answers]
        scores_A = np.zeros(len(rows))
        order = sorted(range(len(rows)), key=lambda i: len(rows[i]))
        pad = partial(pad_sequence, batch_first=True)
        for start in range(0, len(order), self.batch):
            chosen = order[start : start + self.batch]
            mask = pad([torch.ones_like(rows[i]) for i in chosen]).to(self.model.device)
            ids = pad([rows[i] for i in chosen], padding_value=self.tokenizer.pad_token_id)
            logits = self.model(input_ids=ids.to(self.model.device), attention_mask=mask).logits
            scores_A[chosen] = logits[:, 0].float().cpu().numpy()
        return scores_A

    def first_wins(self, triples: Sequence[tuple[str, str, str]]) -> np.ndarray:
        """P(first better) for (question, first, second), shape (P,)."""
        # Each answer is read once, however many comparisons it is in.
        answers = sorted({(q, side) for q, *sides in triples for side in sides})
        of = dict(zip(answers, self.scores(answers), strict=True)) if answers else {}
        margins_P = np.array([of[q, a] - of[q, b] for q, a, b in triples])
        return 1 / (1 + np.exp(-margins_P))

    prefer = first_wins  # the order changes nothing
