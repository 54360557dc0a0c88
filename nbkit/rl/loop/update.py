"""One update of the policy from a step's completions: log-probabilities, loss, optimizer. Used by train.py.

Only completions with an advantage are read: the others would add 0 to the gradient. Sequences of like length
share a batch of at most `tokens_at_once` tokens, padded on the right: under a causal mask no real token sees
the padding, so no mask of it is needed. The head is applied to the positions that predict completion tokens,
not to the prompt.

Shape legend: S sequences, B sequences of a batch, T tokens, N completion tokens of a batch, H width,
V vocabulary.
"""

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from nbkit.rl.loop import objective
from nbkit.run.precision import precision

BETAS = (0.9, 0.95)  # a second moment over 20 steps: a stage has some dozens


@dataclass(frozen=True)
class Sequences:
    """A step's completions in the order they were sampled: ids of prompt and completion, the sampler's
    log-probabilities of the completion, the advantage."""

    prompts: Sequence[Sequence[int]]
    completions: Sequence[Sequence[int]]
    sampled: Sequence[Sequence[float]]
    advantages: np.ndarray  # (S,)


@dataclass(frozen=True)
class Replayed:
    """Prompts and right answers of earlier fine-tuning, as ids: their mean negative log-likelihood is added
    to a step's loss, against forgetting (arXiv 2606.04272)."""

    prompts: Sequence[Sequence[int]]
    answers: Sequence[Sequence[int]]


@dataclass(frozen=True)
class How:
    """How an update is made: `updates` optimizer steps on the same completions, `clip` of their ratio,
    `normalise` as in `objective.token_weights`, `longest`: the generation limit. `replay_weight`: of
    the loss on replayed answers (Replayed)."""

    updates: int
    clip: float
    normalise: str
    longest: int
    tokens_at_once: int
    replay_weight: float = 0.0


def batches(lengths: Sequence[int], tokens_at_once: int) -> Iterator[list[int]]:
    """Indices of sequences in batches of at most so many tokens, padding included, shortest first; a sequence
    that is longer alone gets a batch of its own."""
    rows: list[int] = []
    for i in sorted(range(len(lengths)), key=lambda i: lengths[i]):
        if rows and (len(rows) + 1) * lengths[i] > tokens_at_once:
            yield rows
            rows = []
        rows.append(i)
    if rows:
        yield rows


def token_logps(
    model, prompts: Sequence[Sequence[int]], completions: Sequence[Sequence[int]]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Log-probability of every completion token under `model` and the entropy (without gradient) of the
    distribution that it was drawn from, both (N,) float32 in nats, completion after completion."""
    device = next(model.parameters()).device
    longest = max(len(p) + len(c) for p, c in zip(prompts, completions, strict=True))
    ids_BT = torch.zeros(len(prompts), longest, dtype=torch.long)
    places = []
    for b, (prompt, completion) in enumerate(zip(prompts, completions, strict=True)):
        ids_BT[b, : len(prompt) + len(completion)] = torch.tensor([*prompt, *completion])
        # The token at place t is predicted at t - 1; rows lie behind each other.
        first = b * longest + len(prompt) - 1
        places += range(first, first + len(completion))
    places_N = torch.tensor(places)
    target_N = ids_BT.flatten()[places_N + 1].to(device)
    with torch.autocast(device.type, torch.bfloat16, enabled=precision() == "bf16"):
        hidden_BTH = model.base_model(input_ids=ids_BT.to(device), use_cache=False).last_hidden_state
        hidden_NH = hidden_BTH.flatten(0, 1).index_select(0, places_N.to(device))
        logits_NV = model.get_output_embeddings()(hidden_NH)
    # In float32 from here: bf16 has three digits.
    log_NV = torch.log_softmax(logits_NV.float(), -1)
    with torch.no_grad():
        entropy_N = -(log_NV.exp() * log_NV).sum(-1)
    return log_NV.gather(-1, target_N[:, None]).squeeze(-1), entropy_N


class Updater:
    """The optimizer of a policy, and what it is told after each step of rollouts."""

    def __init__(self, model, how: How):
        self.model, self.how = model, how
        self.parameters = [p for p in model.parameters() if p.requires_grad]
        fused = self.parameters[0].device.type in ("cpu", "cuda")
        self.optimizer = torch.optim.AdamW(self.parameters, betas=BETAS, weight_decay=0.0, fused=fused)

    def step(self, data: Sequences, lr: float, replayed: Replayed | None = None) -> dict[str, float]:
        """`updates` optimizer steps at rate `lr`, with the loss on `replayed` answers added. Returns loss,
        gradient norm, entropy, "gap" (mean absolute difference of the sampler's log-probabilities from ours)
        and "held" (share of tokens that the clip holds back), means over the updates. Without any advantage
        no weight moves, not even by momentum. Raises ValueError for a loss or gradient that is not finite:
        weights and optimizer are then as before the step, the first of several updates included."""
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        kept = np.flatnonzero(data.advantages)
        if not len(kept):
            return self._look(data)
        old: dict[int, torch.Tensor] = {}
        # With one update nothing has moved when it is refused: no copy is needed.
        before = self._copy() if self.how.updates > 1 else None
        try:
            rows = [self._epoch(data, kept, old, replayed) for _ in range(self.how.updates)]
        except ValueError:
            if before:
                self._restore(*before)
            raise
        return {name: float(np.mean([row[name] for row in rows])) for name in rows[0]} | {
            # Later updates have moved on from the sampler: the first one tells whether both are the same.
            "gap": rows[0]["gap"],
            "entropy": rows[0]["entropy"],
        }

    def _copy(self) -> tuple[list[torch.Tensor], dict]:
        weights = [parameter.detach().clone() for parameter in self.parameters]
        return weights, copy.deepcopy(self.optimizer.state_dict())

    @torch.no_grad()
    def _restore(self, weights: list[torch.Tensor], state: dict) -> None:
        for parameter, value in zip(self.parameters, weights, strict=True):
            parameter.copy_(value)
        self.optimizer.load_state_dict(state)

    def _replay(self, replayed: Replayed) -> float:
        """Gradient of the weighted loss on replayed answers, added to what is there. Returns that loss."""
        logp_N, _ = token_logps(self.model, replayed.prompts, replayed.answers)
        loss = -self.how.replay_weight * logp_N.mean()
        loss.backward()
        return float(loss.detach())

    def _epoch(
        self, data: Sequences, kept: np.ndarray, old: dict[int, torch.Tensor], replayed: Replayed | None
    ) -> dict[str, float]:
        """One pass over the sequences `kept`, one optimizer step. `old`: by the first sequence of a batch,
        the log-probabilities at the first pass."""
        lengths = [len(data.completions[s]) for s in kept]
        weight_S = objective.token_weights(
            lengths, len(data.completions), self.how.longest, self.how.normalise
        )
        sums = dict.fromkeys(("loss", "entropy", "gap", "held"), 0.0)
        self.optimizer.zero_grad(set_to_none=True)
        whole = [len(data.prompts[s]) + len(data.completions[s]) for s in kept]
        for rows in batches(whole, self.how.tokens_at_once):
            chosen = [int(kept[row]) for row in rows]
            logp_N, entropy_N = token_logps(
                self.model, [data.prompts[s] for s in chosen], [data.completions[s] for s in chosen]
            )
            # The policy that sampled is the one of the first pass: ratio 1 there, with its gradient.
            old_N = old.setdefault(chosen[0], logp_N.detach())
            repeats = torch.tensor([lengths[row] for row in rows])
            advantage_N, weight_N = (
                torch.tensor(x, dtype=torch.float32).repeat_interleave(repeats).to(logp_N.device)
                for x in (data.advantages[chosen], weight_S[rows])
            )
            loss, held_N = objective.policy_loss(logp_N, old_N, advantage_N, weight_N, self.how.clip)
            loss.backward()
            sums["loss"] += float(loss.detach())
            sums["held"] += float(held_N.sum())
            sums["entropy"] += float(entropy_N.sum())
            sums["gap"] += _gap(logp_N, [data.sampled[s] for s in chosen])
        if replayed:
            sums["loss"] += self._replay(replayed)
        norm = float(torch.nn.utils.clip_grad_norm_(self.parameters, 1.0))
        # A finite loss may have a gradient that is not: both are looked at before a weight moves.
        if not (np.isfinite(sums["loss"]) and np.isfinite(norm)):
            self.optimizer.zero_grad(set_to_none=True)
            raise ValueError(f"loss is {sums['loss']}, gradient norm {norm}; wanted finite numbers: lower lr")
        self.optimizer.step()
        tokens = sum(lengths)
        shares = {name: sums[name] / tokens for name in ("entropy", "gap", "held")}
        return {"loss": sums["loss"], "grad_norm": norm, **shares}

    @torch.no_grad()
    def _look(self, data: Sequences) -> dict[str, float]:
        """The measures of a step without an update, from its first completions."""
        some = [s for s, ids in enumerate(data.completions) if ids][:32]
        zero = {"loss": 0.0, "grad_norm": 0.0, "held": 0.0}
        if not some:
            return {**zero, "entropy": 0.0, "gap": 0.0}
        logp_N, entropy_N = token_logps(
            self.model, [data.prompts[s] for s in some], [data.completions[s] for s in some]
        )
        gap = _gap(logp_N, [data.sampled[s] for s in some]) / len(logp_N)
        return {**zero, "entropy": float(entropy_N.mean()), "gap": gap}


def _gap(logp_N: torch.Tensor, sampled: Sequence[Sequence[float]]) -> float:
    """Sum over tokens of the absolute difference from the sampler's log-probabilities."""
    theirs_N = torch.tensor([value for row in sampled for value in row], device=logp_N.device)
    return float((logp_N.detach() - theirs_N).abs().sum())
