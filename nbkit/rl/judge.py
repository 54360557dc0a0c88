"""Pairwise preference model: reads a question and two answers, gives its verdict in one token (report, RL
stage 3). Used by 06.

It is a language model fine-tuned on the verdict "A" or "B" and scored by comparing those two logits; both
orders are asked and averaged, so that a preference for a position cancels. Judging in one token is cheap
and hard to talk round. Shape legend: P comparisons.
"""

import random
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial

import numpy as np
import torch
from torch.nn.utils.rnn import pad_sequence

from nbkit.evals.score import Estimate, avg_at_k
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


def held_back(
    pairs: Sequence[dict], seed: int, share: float = 0.2, most: int = 200
) -> tuple[list[dict], list[dict]]:
    """(pairs to learn from, pairs to measure on), split by question: sets with several pairs of a question
    would measure what was learned. About `share` of the pairs are measured on, `most` at most; what is left
    of their questions is dropped."""
    by_question: dict[str, list[dict]] = {}
    for i, pair in enumerate(pairs):
        by_question.setdefault(text_of(pair["prompt"], f"pairs[{i}].prompt"), []).append(pair)
    questions = sorted(by_question)
    random.Random(f"held back/{seed}").shuffle(questions)
    # Whole questions are taken until there are enough pairs.
    wanted, held = int(min(share * len(pairs), most)), []
    while questions and len(held) < wanted:
        held += by_question[questions.pop()]
    return [pair for question in questions for pair in by_question[question]], held[:wanted]


def _other_answer(task: Task, rng: random.Random) -> str:
    return sample(1, "train", rng.randrange(10**9), names=[task.skill])[0].answer


class PairwiseJudge:
    """P(first answer is better) under a trained verdict model; `prefer` averages both orders."""

    def __init__(self, model, tokenizer, batch: int = 128):
        self.model, self.tokenizer, self.batch = model.eval(), tokenizer, batch
        # One id per letter: the verdict is a single token, so two logits of one position decide it.
        self.ids = [tokenizer(letter, add_special_tokens=False)["input_ids"][0] for letter in ("A", "B")]

    @torch.no_grad()
    def first_wins(self, triples: Sequence[tuple[str, str, str]]) -> np.ndarray:
        """P(first better) for (question, first, second), asked in this order only; shape (P,)."""
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
        forward = self.first_wins(triples)
        backward = self.first_wins([(q, b, a) for q, a, b in triples])
        return (forward + 1 - backward) / 2


@dataclass(frozen=True)
class Judged:
    """How good a judge is on pairs whose better side is known.

    `accuracy`: share decided rightly (a tie is half right), over pairs. `first`: mean P(first) over both
    orders; 0.5 where it favours no position. `calibration`: expected calibration error, the mean distance
    between how sure it is and how often it is right, in ten bins (Guo et al. 2017, eq. 3). `seconds`: of
    one comparison, both orders where it asks both.
    """

    accuracy: Estimate
    first: float
    calibration: float
    seconds: float

    def __str__(self) -> str:
        return (
            f"right {self.accuracy}, first place {self.first:.2f}, calibration error {self.calibration:.2f}, "
            f"{1000 * self.seconds:.1f} ms a comparison"
        )

    def dict(self) -> dict:
        """Without the time, which is another one in every run."""
        told = asdict(self) | {"accuracy": self.accuracy.dict()}
        del told["seconds"]
        return told


def judged(judge, pairs: Sequence[dict]) -> Judged:
    """`judge` (a PairwiseJudge, or anything with its two methods) on {"prompt", "chosen", "rejected"}."""
    triples = [tuple(text_of(pair[key], key) for key in ("prompt", "chosen", "rejected")) for pair in pairs]
    start = time.perf_counter()
    won_P = judge.prefer(triples)
    seconds = (time.perf_counter() - start) / len(triples)
    right_P = (won_P > 0.5) + 0.5 * (won_P == 0.5)
    swapped = [(q, b, a) for q, a, b in triples]
    first = float(np.mean([judge.first_wins(triples), judge.first_wins(swapped)]))
    # How sure it is lies between one half and one: ten equal bins of that.
    sure_P = np.maximum(won_P, 1 - won_P)
    bins_P = np.minimum(((sure_P - 0.5) * 20).astype(int), 9)
    gaps = [abs((sure_P - right_P)[bins_P == b].sum()) for b in range(10)]
    return Judged(avg_at_k(right_P[:, None]), first, float(sum(gaps) / len(triples)), seconds)
