"""Fast decoding on transformers models: a key-value cache written in place, one prefill per unique prompt,
attention of one query token on a CPU, the draw of the next token. Used by engine.py.

Shape legend: B rows, U unique prompts, H heads, K key-value heads, G = H / K, T tokens, D head width, V
vocabulary.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.cache_utils import Cache, DynamicLayer
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import causal_mask_function, sdpa_mask

DROP = 0.75  # finished rows are dropped when so few of the batch are left: a drop copies the cache


class BufferLayer(DynamicLayer):
    """Key-value cache of one layer with room for `capacity` tokens: appends copy one token, not the whole
    past."""

    def __init__(self, capacity: int):
        super().__init__()
        self.capacity, self.length = capacity, 0

    def update(self, key_states, value_states, *args, **kwargs):
        # Shapes are known with the first keys only: that is when the buffers are made.
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
            B, K, _, D = key_states.shape
            self.buffers = [x.new_empty(B, K, self.capacity, D) for x in (key_states, value_states)]
        end = self.length + key_states.shape[-2]
        for buffer, new in zip(self.buffers, (key_states, value_states), strict=True):
            buffer[:, :, self.length : end] = new
        self.length = end
        # Views of the filled part: nothing is copied to hand them on.
        self.keys, self.values = (buffer[:, :, :end] for buffer in self.buffers)
        return self.keys, self.values

    def select(self, rows_B: torch.Tensor) -> None:
        self.buffers = [buffer[rows_B] for buffer in self.buffers]
        self.keys, self.values = (buffer[:, :, : self.length] for buffer in self.buffers)


class Buffers(Cache):
    """An empty cache of `model` for `capacity` tokens."""

    def __init__(self, model, capacity: int):
        super().__init__(layers=[BufferLayer(capacity) for _ in range(model.config.num_hidden_layers)])

    def select(self, rows_B: torch.Tensor) -> None:
        """Keep, repeat or reorder the rows of the batch."""
        for layer in self.layers:
            layer.select(rows_B)


def cpu_attention(module, query_BHTD, keys_BKTD, values_BKTD, mask, scaling=None, **options):
    """Attention of one query token as two batched products, which on a CPU take half the time of
    scaled_dot_product_attention (benchmarks/speed.py); longer queries go there. Same contract as
    transformers' own attention functions. `mask`: None or (B, 1, 1, T) bool, True where visible."""
    B, H, queries, D = query_BHTD.shape
    # Prompts, soft caps and biases: rare or long, not worth a path of their own.
    if queries > 1 or options.get("softcap") is not None or options.get("position_bias") is not None:
        return sdpa_attention_forward(
            module, query_BHTD, keys_BKTD, values_BKTD, mask, scaling=scaling, **options
        )
    # G query heads share a key head: one product for all of them, keys are not repeated (GQA).
    K = keys_BKTD.shape[1]
    query_BKDG = query_BHTD.reshape(B, K, H // K, D).transpose(2, 3)
    # keys first: a product with the transposed cache is twice as slow in bf16
    scores_BKGT = (
        (keys_BKTD @ query_BKDG).transpose(2, 3).to(torch.float32, memory_format=torch.contiguous_format)
    )
    # Scale and softmax in float32 whatever the dtype of the cache.
    scores_BKGT.mul_(D**-0.5 if scaling is None else scaling)
    if mask is not None:
        scores_BKGT.masked_fill_(~mask, float("-inf"))
    out_BKGD = torch.softmax(scores_BKGT, -1).to(values_BKTD.dtype) @ values_BKTD
    return out_BKGD.reshape(B, 1, H, D), None


def cpu_mask(*, q_length, mask_function=causal_mask_function, attention_mask=None, **options):
    """One token that sees its whole past needs no more than which of it is padding: (B, 1, 1, T), True where
    visible. Anything else (a prompt, a sliding window) is left to transformers."""
    if q_length == 1 and mask_function is causal_mask_function and attention_mask is not None:
        return attention_mask[:, None, None, :]
    return sdpa_mask(q_length=q_length, mask_function=mask_function, attention_mask=attention_mask, **options)


AttentionInterface.register("nbkit_cpu", cpu_attention)
AttentionMaskInterface.register("nbkit_cpu", cpu_mask)


def choose(logits_BV: torch.Tensor, temperature: float, top_p: float, draw_B: torch.Tensor) -> torch.Tensor:
    """Next tokens (B,): argmax at temperature 0, else inverse-CDF sampling inside the smallest set of mass
    `top_p`, from one uniform number of [0, 1) a row."""
    if temperature == 0:
        return logits_BV.argmax(-1)
    probs_BV = torch.softmax(logits_BV.float() / temperature, -1)
    # Top-p: a token is kept if the mass before it is below `top_p`, so the one that crosses it is in.
    if top_p < 1:
        sorted_BV, index_BV = probs_BV.sort(-1, descending=True)
        sorted_BV = sorted_BV * (sorted_BV.cumsum(-1) - sorted_BV < top_p)
        probs_BV = torch.zeros_like(probs_BV).scatter_(-1, index_BV, sorted_BV)
    # Inverse CDF: the draw is scaled to the kept mass instead of normalising the distribution.
    cdf_BV = probs_BV.cumsum(-1)
    draw_B1 = draw_B[:, None] * cdf_BV[:, -1:]
    # the first token whose cumulative mass exceeds the draw; right=True never picks a token of probability 0
    return torch.searchsorted(cdf_BV, draw_B1, right=True).squeeze(-1).clamp(max=cdf_BV.shape[-1] - 1)


@dataclass(frozen=True)
class Choice:
    """How the next token is chosen: `temperature` and `top_p` as for `choose`; `stop`: ids that end a
    completion; `logprobs`: keep the log-probability of every new token."""

    stop: Sequence[int]
    temperature: float
    top_p: float
    logprobs: bool


class _Batch:
    """A model reading one batch: the prompts, each unique one once, then one more token per row. `logits_BV`
    are those of the token after the last."""

    def __init__(self, model, prompts: Sequence[Sequence[int]], budgets: Sequence[int]) -> None:
        at = {"device": next(model.parameters()).device}
        # Each distinct prompt is read once: GRPO asks for every one 16 times (its groups).
        unique = {tuple(prompt): u for u, prompt in enumerate(dict.fromkeys(map(tuple, prompts)))}
        self.read, steps = max(map(len, unique)), max(budgets)  # read: tokens in the cache, padding included
        # Padding stands on the left, so that all rows end at the same place in the cache.
        pads = [self.read - len(prompt) for prompt in unique]
        tokens_UT = torch.tensor([[0] * pad + [*p] for pad, p in zip(pads, unique, strict=True)], **at)
        index_T, pads_U1 = torch.arange(self.read + steps, **at), torch.tensor(pads, **at)[:, None]
        visible_UT = index_T >= pads_U1
        positions_UT = (index_T[: self.read] - pads_U1).clamp(min=0)
        self.model, self.padded, self.cache = model, any(pads), Buffers(model, self.read + steps)
        logits_UV = self._forward(tokens_UT, positions_UT, visible_UT)
        # From the unique prompts to the rows.
        unique_B = torch.tensor([unique[tuple(prompt)] for prompt in prompts], **at)
        self.cache.select(unique_B)
        self.logits_BV, self.position_B = logits_UV[unique_B], positions_UT[unique_B, -1]
        self.visible_BT = visible_UT[unique_B]
        longest = max(len(prompt) + budget for prompt, budget in zip(prompts, budgets, strict=True))
        self.last_position = longest - 1

    def _forward(self, tokens_BT, positions_BT, visible_BT) -> torch.Tensor:
        return self.model(
            input_ids=tokens_BT,
            # attention without a mask is faster
            attention_mask=visible_BT[:, : self.read] if self.padded else None,
            position_ids=positions_BT,
            past_key_values=self.cache,
            use_cache=True,
            logits_to_keep=1,
        ).logits[:, -1]

    def keep(self, kept_B: torch.Tensor) -> None:
        """Go on with these rows only."""
        self.cache.select(kept_B)
        self.position_B, self.visible_BT = self.position_B[kept_B], self.visible_BT[kept_B]

    def advance(self, token_B: torch.Tensor) -> None:
        """Read the next token of every row."""
        self.read += 1
        # finished rows run on until they are dropped: their position must stay one that exists
        self.position_B = (self.position_B + 1).clamp(max=self.last_position)
        self.logits_BV = self._forward(token_B[:, None], self.position_B[:, None], self.visible_BT)


def decode(
    model,
    prompts: Sequence[Sequence[int]],
    budgets: Sequence[int],
    choice: Choice,
    draws_BT: torch.Tensor,
    finished: Callable[[int], object],
) -> list[tuple[list[int], list[float] | None]]:
    """Complete each prompt up to and with a token of `choice.stop`, by at most its budget of tokens: (new
    ids, their log-probs). `draws_BT` are uniform numbers of [0, 1), one per row and token (not read at
    temperature 0). `finished` is told how many rows ended at a step."""
    batch, rows, steps = _Batch(model, prompts, budgets), len(prompts), max(budgets)
    at = {"device": batch.logits_BV.device}
    draws_BT, sizes = draws_BT.to(**at), torch.tensor(budgets, **at)
    # Results are written at the rows' own places; the batch shrinks, the results do not.
    tokens, chosen = torch.zeros(rows, steps, dtype=torch.long, **at), torch.zeros(rows, steps, **at)
    stops = torch.tensor(choice.stop, dtype=torch.long, **at)
    # From here on B are the rows still computed, place_B theirs in the results, live_B those not finished.
    place_B, live_B, left = torch.arange(rows, **at), torch.ones(rows, dtype=torch.bool, **at), rows
    for step in range(steps):
        # Choose.
        draw_B = draws_BT[place_B, step] if choice.temperature else None
        token_B = choose(batch.logits_BV, choice.temperature, choice.top_p, draw_B)
        tokens[place_B, step] = token_B
        if choice.logprobs:
            chosen[place_B, step] = -torch.nn.functional.cross_entropy(
                batch.logits_BV.float(), token_B, reduction="none"
            )
        # Note which rows end here.
        ends_B = live_B & ((token_B[:, None] == stops).any(-1) | (sizes[place_B] == step + 1))
        sizes[place_B[ends_B]] = step + 1
        live_B = live_B & ~ends_B
        left, before = int(live_B.sum()), left
        finished(before - left)
        if not left:
            break
        # Drop finished rows once they are many, then read the chosen tokens.
        if left <= DROP * len(live_B):
            kept_B = live_B.nonzero()[:, 0]
            batch.keep(kept_B)
            place_B, token_B, live_B = (x[kept_B] for x in (place_B, token_B, live_B))
        batch.advance(token_B)
    ids, chosen = tokens.tolist(), chosen.tolist()
    return [
        (ids[row][:size], chosen[row][:size] if choice.logprobs else None)
        for row, size in enumerate(sizes.tolist())
    ]
