"""Does a model use what stands far back? Pass keys, look-ups and the loss by position. Used by 02.

All three are read off one forward pass with the right answer in place: a key counts as found when every one
of its tokens is the model's first choice, which is what greedy decoding would write. The margin is a measure
for models too small to find keys: how many nats per token the right key is likelier than a wrong one. Shape
legend: N rows of S tokens.
"""

import random
from collections.abc import Sequence

import numpy as np
import torch

from nbkit.evals.score import Estimate, avg_at_k, estimate
from nbkit.run import progress
from nbkit.tasks.long_documents import opening, register

KEY, ASK = "\nThe pass key is {}. Remember it.\n", "\nWhat is the pass key? The pass key is"


@torch.no_grad()
def token_losses(model, ids_NS: np.ndarray, batch: int = 16) -> np.ndarray:
    """Loss of every token but the first in nats, (N, S - 1), and with it whether it was the first choice."""
    losses, hits = [], []
    for start in progress.each(range(0, len(ids_NS), batch), "losses by position"):
        ids_BS = torch.from_numpy(np.asarray(ids_NS[start : start + batch]).astype(np.int64)).to(model.device)
        # Position i predicts token i + 1: the last logits have nothing to be compared with.
        logits_BSV = model(input_ids=ids_BS).logits[:, :-1].float()
        loss_BS = torch.nn.functional.cross_entropy(
            logits_BSV.transpose(1, 2), ids_BS[:, 1:], reduction="none"
        )
        losses.append(loss_BS.cpu().numpy())
        hits.append((logits_BSV.argmax(-1) == ids_BS[:, 1:]).cpu().numpy())
    return np.stack([np.concatenate(losses), np.concatenate(hits)])


def recalled(model, prompts: Sequence[list[int]], right: Sequence[list[int]], wrong: Sequence[list[int]]):
    """(found (N,), margin (N,)): is `right` the greedy continuation of each prompt, and by how many nats per
    token is it likelier than `wrong`. Prompts and continuations must each be of one length."""
    if len({len(p) for p in prompts}) > 1 or len({len(c) for c in [*right, *wrong]}) > 1:
        raise ValueError("prompts, continuations: got different lengths, wanted one length of each")
    size = len(right[0])
    # Right and wrong keys after the same prompt: the margin compares the two passes position by position.
    (loss_NS, hit_NS), (other_NS, _) = (
        token_losses(model, np.array([p + c for p, c in zip(prompts, ends, strict=True)]))
        for ends in (right, wrong)
    )
    return hit_NS[:, -size:].all(1), other_NS[:, -size:].mean(1) - loss_NS[:, -size:].mean(1)


@progress.doing("pass keys")
def passkey(
    model, tokenizer, filler: np.ndarray, lengths: Sequence[int], n: int = 20, seed: int = 0
) -> list[dict]:
    """For each length of the whole prompt in tokens: a five-digit key between pieces of `filler` (a stream of
    token ids), at `n` depths from its beginning to its end; {length, found, margin}."""
    rng, rows = random.Random(f"passkey/{seed}"), []
    ask = tokenizer(ASK).input_ids
    for length in lengths:
        prompts, right, wrong = [], [], []
        for i in range(n):
            # A key that is asked for, and another of the same form to compare with.
            key, other = (" " + "".join(rng.choices("0123456789", k=5)) for _ in range(2))
            said = tokenizer(KEY.format(key.strip())).input_ids
            # Whatever the key and the question leave is filler.
            room = length - len(said) - len(ask)
            if room < 0 or len(filler) < room:
                raise ValueError(
                    f"length: got {length}, wanted {len(said) + len(ask)} tokens or more, and as much filler"
                )
            # Depths evenly from the beginning to the end, each in another piece of filler.
            start, depth = rng.randint(0, len(filler) - room), round(room * i / max(1, n - 1))
            text = filler[start : start + room].tolist()
            prompts.append(text[:depth] + said + text[depth:] + ask)
            right.append(tokenizer(key).input_ids)
            wrong.append(tokenizer(other).input_ids)
        found_N, margin_N = recalled(model, prompts, right, wrong)
        rows.append({"length": length, "found": avg_at_k(found_N), "margin": estimate(margin_N)})
    return rows


@progress.doing("look-ups")
def look_up(
    model,
    tokenizer,
    filler: np.ndarray,
    distances: Sequence[int],
    n: int = 40,
    entries: int = 16,
    seed: int = 0,
) -> list[dict]:
    """Look-ups of the trained form in unseen registers, `distance` tokens of `filler` between register and
    question; {distance, found, margin}, the margin against another entry's count."""
    rows = []
    for distance in distances:
        rng = random.Random(f"look-up/{seed}/{distance}")
        parts, right, wrong = [], [], []
        for _ in range(n):
            lines = register(rng, entries)
            # The entry that is asked for; another one's count is what a guess would say.
            entry, other = rng.sample(lines, 2)
            parts.append([tokenizer(t).input_ids for t in (opening(lines) + "\n", "\n" + entry.question)])
            right.append(tokenizer(f" {entry.count}").input_ids)
            wrong.append(tokenizer(f" {other.count}").input_ids)
        # prompts of one length: a shorter register gets a little more filler, so distances are lower bounds
        longest = max(len(said) + len(asked) for said, asked in parts)
        prompts = []
        for said, asked in parts:
            room = longest + distance - len(said) - len(asked)
            start = rng.randint(0, len(filler) - room)
            prompts.append(said + filler[start : start + room].tolist() + asked)
        found_N, margin_N = recalled(model, prompts, right, wrong)
        rows.append({"distance": distance, "found": avg_at_k(found_N), "margin": estimate(margin_N)})
    return rows


def loss_by_position(model, rows_NS: np.ndarray, edges: Sequence[int]) -> np.ndarray:
    """Mean loss in nats per token of each row between the position edges, shape (N, len(edges) - 1)."""
    loss_NS = token_losses(model, rows_NS)[0]
    if sorted(set(edges)) != list(edges) or edges[0] < 0 or edges[-1] > rows_NS.shape[1]:
        raise ValueError(f"edges: got {list(edges)}, wanted rising positions from 0 to {rows_NS.shape[1]}")
    return np.stack(
        [loss_NS[:, max(0, a - 1) : b - 1].mean(1) for a, b in zip(edges, edges[1:], strict=False)], axis=1
    )


def position_change(after_NB: np.ndarray, before_NB: np.ndarray) -> list[Estimate]:
    """after - before per position bucket, rows paired: one Estimate in nats per bucket."""
    return [estimate(d) for d in (after_NB - before_NB).T]
