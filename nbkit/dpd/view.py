"""Token by token: where teacher and student part on a response, how sure the student is, and what the teacher
prefers there. Used by 05. Shape legend: N tokens of the response, n of them at a time, V vocabulary."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F

from nbkit.dpd.loss import TILE
from nbkit.dpd.pairs import SIDES
from nbkit.dpd.states import completion_states, plain_head
from nbkit.dpd.tiles import Divergence
from nbkit.dpd.trainer import divergence

SURE, UNLIKELY = 0.5, 0.1


class TokenView(NamedTuple):
    """One token of a response: the divergence there (nats), its log-probability under the student, its
    probability under both models, and the token that the teacher finds likeliest, all at temperature 1."""

    token: str
    divergence: float
    logp: float
    student: float
    teacher: float
    teacher_top: str
    teacher_top_p: float

    @property
    def confidently_wrong(self) -> bool:
        """Is the student sure of this token, and the teacher sure against it?"""
        return self.student > SURE and self.teacher < UNLIKELY


@torch.no_grad()
def token_views(student, teacher, tokenizer, row: dict, side: str, how: Divergence) -> list[TokenView]:
    """One view per token of the "chosen" or "rejected" `side` of a row of nbkit.dpd.trainer.tokenized. A
    teacher with more rows of vocabulary than the student is cut to them, as in the loss."""
    # Prompt and response in one batch of one row, as the trainer sees them.
    start, ids = row["prompt_ids"], row[f"{side}_ids"]
    batch = {"input_ids": torch.tensor([start + ids], device=student.device)}
    batch["attention_mask"] = torch.ones_like(batch["input_ids"])
    batch["completion_mask"] = torch.tensor([[0] * len(start) + [1] * len(ids)], device=student.device)
    # Hidden states of the response's tokens, then logits in tiles: no table of tokens times vocabulary.
    states = [completion_states(model, batch) for model in (student, teacher)]
    rows = len(plain_head(student, "student").weight)
    heads = [plain_head(m, n).weight[:rows] for m, n in ((student, "student"), (teacher, "teacher"))]
    views, n = [], max(1, TILE // rows)
    for at in range(0, len(ids), n):
        logits = [(state[at : at + n] @ head.T).float() for state, head in zip(states, heads, strict=True)]
        away_n = divergence(*logits, how.kind, how.temperature, how.mixing).tolist()
        logp_nV = F.log_softmax(logits[0], -1)
        p_s, p_t = logp_nV.exp(), F.softmax(logits[1], -1)
        for i, token in enumerate(ids[at : at + n]):
            # Beside each token what both models give it, and what the teacher would have written.
            top, text = int(p_t[i].argmax()), tokenizer.decode([token])
            own = (float(logp_nV[i, token]), float(p_s[i, token]), float(p_t[i, token]))
            views.append(TokenView(text, away_n[i], *own, tokenizer.decode([top]), float(p_t[i, top])))
    return views


def pair_terms(
    views: Mapping[str, Sequence[TokenView]], beta: float, reference: Mapping | None = None
) -> dict[str, float]:
    """The terms of the loss on one pair of responses with tokens, from their views. `reference`: views of
    the same pair by the student at its start; None: it still is the reference."""
    # Without a reference the student is its own: both log-ratios are 0 and L_dpo = log 2.
    before = reference or views
    chosen, rejected = (sum(v.logp - r.logp for v, r in zip(views[s], before[s], strict=True)) for s in SIDES)
    pos, neg = (sum(v.divergence for v in views[s]) / len(views[s]) for s in SIDES)
    margin = chosen - rejected
    # -log sigmoid(x) = log(1 + exp(-x)), without overflow.
    return {"L_dpo": float(np.logaddexp(0, -beta * margin)), "L_pos": pos, "L_neg": neg, "margin": margin}


def summary(views: Sequence[TokenView]) -> dict[str, float]:
    """Numbers about many tokens: how many, their mean divergence (nats), the part of it that the tenth with
    the most carries, the share that the student is confidently wrong about, the part that they carry, and
    the mean probability that student and teacher give the tokens."""
    # A mean says little here: a few tokens carry most of the divergence, so shares are given too.
    total = sum(view.divergence for view in views)
    wrong = [view.divergence for view in views if view.confidently_wrong]
    return {
        "tokens": len(views),
        "mean": total / len(views),
        "tenth": concentration(views),
        "confidently_wrong": len(wrong) / len(views),
        "they_carry": sum(wrong) / max(total, 1e-12),
        "student_p": sum(view.student for view in views) / len(views),
        "teacher_p": sum(view.teacher for view in views) / len(views),
    }


def concentration(views: Sequence[TokenView], share: float = 0.1) -> float:
    """What part of the divergence the `share` of tokens with the most of it carries."""
    values = sorted((view.divergence for view in views), reverse=True)
    return sum(values[: max(1, round(share * len(values)))]) / max(sum(values), 1e-12)
