"""Which continuation does a model find most likely? Accuracy by log-likelihood. Used by run.py.

Tokenisation as lm-evaluation-harness does it: context and continuation are encoded together, and what comes
after as many tokens as the context alone has is the continuation; spaces at the context's end belong to the
continuation. Shape legend: C choices, T tokens, V vocabulary.

    scores = choice_scores(model, tokenizer, "Question: 2 + 2?\\nAnswer:", ["3", "4"])
    scores.pick(), scores.pick("acc_norm")
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch


@dataclass(frozen=True)
class Scores:
    """`loglik`: natural log of the probability of each choice given the context, summed over its tokens.
    `lengths`: characters of each choice. `cut`: the context was longer than the model's, and lost its
    beginning."""

    loglik: tuple[float, ...]
    lengths: tuple[int, ...]
    tokens: int
    cut: bool = False

    def pick(self, metric: str = "acc") -> int:
        """The place of the likeliest choice ("acc"), or of the likeliest per character ("acc_norm"); the
        first of equal ones."""
        if metric == "acc":
            return int(np.argmax(self.loglik))
        if metric != "acc_norm":
            raise ValueError(f"metric: got {metric!r}, wanted 'acc' or 'acc_norm'")
        return int(np.argmax(np.array(self.loglik) / np.array(self.lengths, float)))


def encode_pair(tokenizer, context: str, continuation: str) -> tuple[list[int], list[int]]:
    """(ids of the context, ids of the continuation). An empty context becomes the tokenizer's first token of
    a text, or its last where it has none. Raises ValueError for an empty continuation."""
    if not context:
        start = tokenizer.bos_token_id if tokenizer.bos_token_id is not None else tokenizer.eos_token_id
        ids = tokenizer.encode(continuation, add_special_tokens=False)
        # A text that begins with this token by itself is not given a second one.
        pair = (ids[:1], ids[1:]) if ids and ids[0] == start else ([start], ids)
    else:
        trailing = len(context) - len(context.rstrip())
        if trailing:
            context, continuation = context[:-trailing], context[-trailing:] + continuation
        # Together, since a token may span the border; the context alone says where that is.
        whole, alone = tokenizer.encode(context + continuation), tokenizer.encode(context)
        pair = (alone, whole[len(alone) :])
    if not pair[1]:
        raise ValueError(
            f"choices: {continuation!r:.60} is no token of its own after its question, so it has no score"
        )
    return pair


@torch.inference_mode()
def choice_scores(model, tokenizer, context: str, choices: Sequence[str], delimiter: str = " ") -> Scores:
    """Log-likelihoods of `choices`, each behind `delimiter`, given `context`. The context is read once.

    A context that does not fit loses its beginning, as in lm-evaluation-harness. Raises ValueError for fewer
    than two choices, and for a choice that is longer than the model's context."""
    if len(choices) < 2:
        raise ValueError(f"choices: got {len(choices)}, wanted two or more to choose from")
    pairs = [encode_pair(tokenizer, context, delimiter + choice) for choice in choices]
    limit = getattr(model.config, "max_position_embeddings", None) or 2**31
    if (longest := max(len(ids) for _, ids in pairs)) > limit:
        raise ValueError(f"choices: one has {longest} tokens, the model reads {limit}")
    # The last token is predicted, not read: so many fit.
    rows = [(before + ids)[-(limit + 1) :][:-1] for before, ids in pairs]
    shared = _shared([row[: len(row) - len(ids) + 1] for row, (_, ids) in zip(rows, pairs, strict=True)])
    logits = _logits(model, rows, shared)
    values = []
    for row_logits_TV, row, (_, ids) in zip(logits, rows, pairs, strict=True):
        # Logits from the last token of the context on, one for each token of the choice.
        at = len(row) - len(ids) - shared
        chosen_TV = row_logits_TV[at + 1 : at + 1 + len(ids)].float()
        picked_T = torch.tensor(ids, device=chosen_TV.device)[:, None]
        values.append(float(torch.log_softmax(chosen_TV, -1).gather(-1, picked_T).sum()))
    cut = any(len(before) + len(ids) - 1 > limit for before, ids in pairs)
    lengths = tuple(len(choice) for choice in choices)
    return Scores(tuple(values), lengths, sum(len(ids) for _, ids in pairs), cut)


def _shared(contexts: Sequence[Sequence[int]]) -> int:
    """How many first tokens all contexts share: all of the context, but where it was cut for each choice."""
    shortest = min(map(len, contexts))
    for place in range(shortest):
        if len({context[place] for context in contexts}) > 1:
            return place
    return shortest


def _logits(model, rows: Sequence[Sequence[int]], shared: int) -> torch.Tensor:
    """Logits after every token of each row from place `shared` - 1 on: (C, longest - shared + 1, V). What
    the rows share is read once."""
    at = {"device": next(model.parameters()).device}
    rest = [row[shared:] for row in rows]
    longest = max(map(len, rest))
    padded = torch.tensor([[*row, *[0] * (longest - len(row))] for row in rest], **at)
    if not shared:
        first = model(input_ids=padded, use_cache=False).logits
        return torch.cat([first[:, :1], first], 1)  # place -1 is never asked for
    head = model(input_ids=torch.tensor([rows[0][:shared]], **at), use_cache=True, logits_to_keep=1)
    before = head.logits.expand(len(rows), -1, -1)
    if not longest:
        return before
    # Padding stands on the right, where causal attention lets no earlier token see it.
    head.past_key_values.batch_repeat_interleave(len(rows))
    after = model(input_ids=padded, past_key_values=head.past_key_values, use_cache=True).logits
    return torch.cat([before, after], 1)
