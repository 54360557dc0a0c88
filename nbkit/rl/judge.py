"""Pairwise preference model: reads a question and two answers, gives its verdict in one token (report, RL
stage 3). Used by 06.

It is a language model fine-tuned on the verdict "A" or "B" and scored by comparing those two logits; both
orders are asked and averaged, so that a preference for a position cancels. Judging in one token is cheap
and hard to talk round. Shape legend: P comparisons.
"""

import random
from collections.abc import Sequence
from functools import partial

import numpy as np
import torch
from torch.nn.utils.rnn import pad_sequence

from nbkit.models.chat_ids import token_ids_of
from nbkit.models.engine import user_prompt
from nbkit.run import progress
from nbkit.tasks.skills import DOMAINS, Task, sample
from nbkit.tasks.world import CHATTER_PARTS
from nbkit.text.conversations import text_of


def render(question: str, first: str, second: str) -> str:
    return f"Question: {question}\nA: {first}\nB: {second}\nBetter:"


def conversations(pairs: Sequence[dict], seed: int = 0) -> list[list[dict]]:
    """Training chats from {"prompt", "chosen", "rejected"}, texts or lists of text parts: each pair once in a
    random order, so that A and B are equally often right. Raises ValueError naming a pair of another form."""
    rng = random.Random(f"preference/{seed}")
    chats = []
    for i, pair in enumerate(pairs):
        # Which side is right is all that training can learn, so it must not follow from the position.
        flipped = rng.random() < 0.5
        prompt, good, bad = (
            text_of(pair[key], f"pairs[{i}].{key}") for key in ("prompt", "chosen", "rejected")
        )
        first, second = (bad, good) if flipped else (good, bad)
        chats.append(
            [
                {"role": "user", "content": render(prompt, first, second)},
                {"role": "assistant", "content": "B" if flipped else "A"},
            ]
        )
    return chats


def embedded_pairs(n: int, split: str, seed: int, domains: Sequence[str] = DOMAINS) -> list[dict]:
    """Preference pairs of the embedded world. Raters there prefer a right answer to a wrong one (half of
    the pairs) and, between two right ones, the one without small talk around it."""
    rng = random.Random(f"pairs/{seed}/{split}")
    tasks = sample(n, split, seed + 17, {d: 1.0 for d in domains})
    # Two kinds of pairs in equal parts: a wrong answer, or the right one wrapped in small talk.
    pairs = []
    for task in tasks:
        rejected = (
            _other_answer(task, rng)
            if rng.random() < 0.5
            else f"{rng.choice(CHATTER_PARTS[0])} {task.answer} {rng.choice(CHATTER_PARTS[3])}"
        )
        # Another task of the same skill may have the same answer: no pair, since neither would be better.
        if rejected != task.answer:
            pairs.append({"prompt": task.question, "chosen": task.answer, "rejected": rejected})
    return pairs


def _other_answer(task: Task, rng: random.Random) -> str:
    return sample(1, "train", rng.randrange(10**9), names=[task.skill])[0].answer


class PairwiseJudge:
    """P(first answer is better) under a trained verdict model; `prefer` averages both orders."""

    def __init__(self, model, tokenizer, batch: int = 128):
        self.model, self.tokenizer, self.batch = model.eval(), tokenizer, batch
        # One id per letter: the verdict is a single token, so two logits of one position decide it.
        self.ids = [tokenizer(letter, add_special_tokens=False)["input_ids"][0] for letter in ("A", "B")]

    @torch.no_grad()
    def _first_wins(self, triples: Sequence[tuple[str, str, str]]) -> np.ndarray:
        prompts = [user_prompt(self.tokenizer, render(*triple)) for triple in triples]
        probabilities_P = np.zeros(len(prompts))
        # Prompts of like length share a batch, which keeps the padding short.
        order = sorted(range(len(prompts)), key=lambda i: len(prompts[i]))
        for start in progress.each(range(0, len(order), self.batch), "judging"):
            chosen = order[start : start + self.batch]
            # Padded on the left, so that the last position of every row is the one that predicts the verdict.
            ids = [torch.tensor(row) for row in token_ids_of(self.tokenizer, [prompts[i] for i in chosen])]
            pad = partial(pad_sequence, batch_first=True, padding_side="left")
            mask = pad([torch.ones_like(row) for row in ids]).to(self.model.device)
            # Positions count from the first real token; those of the padding are never attended to.
            positions = (mask.cumsum(-1) - 1).clamp(min=0)
            logits = self.model(
                input_ids=pad(ids, padding_value=self.tokenizer.pad_token_id).to(self.model.device),
                attention_mask=mask,
                position_ids=positions,
                logits_to_keep=1,
            ).logits[:, -1]
            # Only the two letters compete: whatever else the model would write is left out of the softmax.
            probabilities_P[chosen] = torch.softmax(logits[:, self.ids].float(), -1)[:, 0].cpu().numpy()
        return probabilities_P

    def prefer(self, triples: Sequence[tuple[str, str, str]]) -> np.ndarray:
        """P(first better) for (question, first, second), shape (P,); swapping the answers gives exactly
        one minus it."""
        if not triples:
            return np.zeros(0)
        # Averaged over both orders, a preference for the first place adds as much as it takes away.
        forward = self._first_wins(triples)
        backward = self._first_wins([(q, b, a) for q, a, b in triples])
        return (forward + 1 - backward) / 2
