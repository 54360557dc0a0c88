"""Generation on transformers models, fast enough for RL on a CPU. Used by 02-07.

What makes it fast (measured in the design notes, section 7): a weight copy in bf16 where the CPU
multiplies bf16, a key-value cache that is written in place, one prefill per unique prompt, and rows that
leave the batch when they are finished.

    completions = Generator(model, tokenizer).sample(["<|im_start|>user…"], n=9, temperature=0.6, top_p=0.95)
    completions[0][3].text, completions[0][3].stopped
Shape legend: B rows, T prompt tokens, V vocabulary.
"""

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from transformers.cache_utils import Cache, DynamicLayer

from nbkit.train.common import cpu_has_bf16


@dataclass(frozen=True)
class Completion:
    """One answer. `ids` without the prompt, its stop token included; `stopped` is False when the token
    limit cut it off."""

    text: str
    ids: list[int]
    stopped: bool


class BufferLayer(DynamicLayer):
    """Key-value cache of one layer with room for `capacity` tokens: appends copy one token, not the whole
    past."""

    def __init__(self, capacity: int):
        super().__init__()
        self.capacity, self.length = capacity, 0

    def update(self, key_states, value_states, *args, **kwargs):
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
            B, H, _, D = key_states.shape
            self.buffers = [x.new_empty(B, H, self.capacity, D) for x in (key_states, value_states)]
        end = self.length + key_states.shape[-2]
        for buffer, new in zip(self.buffers, (key_states, value_states), strict=True):
            buffer[:, :, self.length : end] = new
        self.length = end
        self.keys, self.values = (buffer[:, :, :end] for buffer in self.buffers)
        return self.keys, self.values

    def select(self, rows_B: torch.Tensor) -> None:
        self.buffers = [buffer[rows_B] for buffer in self.buffers]
        self.keys, self.values = (buffer[:, :, : self.length] for buffer in self.buffers)


class Generator:
    """Samples from a frozen copy of `model` (weights at the time of construction; `refresh` copies them
    again)."""

    def __init__(self, model, tokenizer, stop: Sequence[str] = ("<|im_end|>", "<eos>"), batch: int = 256):
        self.tokenizer, self.batch = tokenizer, batch
        known = tokenizer.get_vocab()
        self.stop = sorted({known[s] for s in stop if s in known} | {tokenizer.eos_token_id})
        self.pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id
        self.device = next(model.parameters()).device
        self.dtype = torch.bfloat16 if self.device.type == "cuda" or cpu_has_bf16() else torch.float32
        # A fresh module, because deepcopy of a model that TRL has patched would run the original's weights.
        config = copy.deepcopy(model.config)
        config.use_cache = True
        with torch.random.fork_rng(devices=[]):
            self.model = type(model)(config).to(self.device).eval()
        for parameter in self.model.parameters():
            # parameters only: rotary frequencies in bf16 would shift the positions of long prompts
            parameter.data = parameter.data.to(self.dtype)
        self.refresh(model)

    def refresh(self, model) -> None:
        with torch.no_grad():
            source = dict(model.named_parameters())
            for name, parameter in self.model.named_parameters():
                parameter.copy_(source[name])

    @torch.no_grad()
    def sample(
        self,
        prompts: Sequence[str],
        n: int = 1,
        max_new_tokens: int = 64,
        temperature: float = 0.0,
        top_p: float = 1.0,
        seed: int = 0,
    ) -> list[list[Completion]]:
        """`n` completions of every prompt; temperature 0 is greedy. Same seed, prompts and batch: same
        completions."""
        if not prompts:
            return []
        ids = self.tokenizer(list(prompts), add_special_tokens=False)["input_ids"]
        return self.sample_ids(ids, n, max_new_tokens, temperature, top_p, seed)

    @torch.no_grad()
    def sample_ids(
        self,
        ids: Sequence[list[int]],
        n: int,
        max_new_tokens: int,
        temperature: float,
        top_p: float,
        seed: int,
    ) -> list[list[Completion]]:
        if any(not row for row in ids):
            raise ValueError("prompts: got an empty prompt, wanted at least one token")
        if self.device.type == "cpu":
            random = torch.Generator().manual_seed(seed)
        else:
            random = torch.Generator(self.device).manual_seed(seed)
        by_length = sorted(range(len(ids)), key=lambda i: len(ids[i]))
        per_batch = max(1, self.batch // n)
        results: list[list[Completion]] = [[] for _ in ids]
        for start in range(0, len(ids), per_batch):
            chosen = by_length[start : start + per_batch]
            rows = self._generate([ids[i] for i in chosen], n, max_new_tokens, temperature, top_p, random)
            for j, i in enumerate(chosen):
                results[i] = [self._completion(row) for row in rows[j * n : (j + 1) * n]]
        return results

    def _completion(self, ids: list[int]) -> Completion:
        stopped = bool(ids) and ids[-1] in self.stop
        body = ids[:-1] if stopped else ids
        return Completion(self.tokenizer.decode(body, skip_special_tokens=False), ids, stopped)

    def _generate(self, prompts, n, max_new_tokens, temperature, top_p, random) -> list[list[int]]:
        length = max(len(p) for p in prompts)
        tokens_BT = torch.tensor([[self.pad] * (length - len(p)) + p for p in prompts], device=self.device)
        mask_BT = torch.tensor([[0] * (length - len(p)) + [1] * len(p) for p in prompts], device=self.device)
        cache = Cache(
            layers=[BufferLayer(length + max_new_tokens) for _ in range(self.model.config.num_hidden_layers)]
        )
        positions_BT = (mask_BT.cumsum(-1) - 1).clamp(min=0)
        out = self.model(
            input_ids=tokens_BT,
            attention_mask=mask_BT,
            position_ids=positions_BT,
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
        )
        repeat_B = torch.arange(len(prompts), device=self.device).repeat_interleave(n)
        logits_BV, mask_BT, next_B = (
            out.logits[repeat_B, -1],
            mask_BT[repeat_B],
            positions_BT[repeat_B, -1] + 1,
        )
        for layer in cache.layers:
            layer.select(repeat_B)
        finished: list[list[int]] = [[] for _ in range(len(repeat_B))]
        alive_B = torch.arange(len(repeat_B), device=self.device)
        stop = torch.tensor(self.stop, device=self.device)
        for step in range(max_new_tokens):
            token_B = choose(logits_BV.float(), temperature, top_p, random)
            for row, token in zip(alive_B.tolist(), token_B.tolist(), strict=True):
                finished[row].append(token)
            keep_B = ~torch.isin(token_B, stop)
            if step + 1 == max_new_tokens or not keep_B.any():
                break
            if not keep_B.all():
                rows_B = keep_B.nonzero().squeeze(-1)
                alive_B, token_B, mask_BT, next_B = (
                    alive_B[rows_B],
                    token_B[rows_B],
                    mask_BT[rows_B],
                    next_B[rows_B],
                )
                for layer in cache.layers:
                    layer.select(rows_B)
            mask_BT = torch.cat([mask_BT, mask_BT.new_ones(len(mask_BT), 1)], dim=1)
            logits_BV = self.model(
                input_ids=token_B[:, None],
                attention_mask=mask_BT,
                position_ids=next_B[:, None],
                past_key_values=cache,
                use_cache=True,
            ).logits[:, -1]
            next_B = next_B + 1
        return finished


def choose(
    logits_BV: torch.Tensor, temperature: float, top_p: float, random: torch.Generator
) -> torch.Tensor:
    """Next tokens (B,): argmax at temperature 0, else inverse-CDF sampling inside the smallest set of mass
    `top_p`."""
    if temperature == 0:
        return logits_BV.argmax(-1)
    probs_BV = torch.softmax(logits_BV / temperature, -1)
    if top_p < 1:
        sorted_BV, index_BV = probs_BV.sort(-1, descending=True)
        sorted_BV = sorted_BV * (sorted_BV.cumsum(-1) - sorted_BV < top_p)
        probs_BV = torch.zeros_like(probs_BV).scatter_(-1, index_BV, sorted_BV)
    cdf_BV = probs_BV.cumsum(-1)
    draw_B1 = torch.rand(len(cdf_BV), 1, generator=random, device=cdf_BV.device) * cdf_BV[:, -1:]
    # the first token whose cumulative mass exceeds the draw; right=True never picks a token of probability 0
    return torch.searchsorted(cdf_BV, draw_B1, right=True).squeeze(-1).clamp(max=cdf_BV.shape[-1] - 1)
