"""The pieces of work that the estimate counts, and what is known of amounts before the data is there."""

from __future__ import annotations

import math
from dataclasses import dataclass

from nbkit.cli.estimate.shapes import Shape

# A conversation fills so much of its longest form, a sample so much of max_new_tokens. At `small` 51 of 256
# tokens (0.20) and 22.6 of 96 (0.24) were measured; for other data this is an assumption.
FILLED = 0.25
# Tokens that 04 generates in all for one token of its drafts: judges, revisions, chains (small: 1.31).
AROUND_DRAFTS = 1.31
# Pairs of 05 that its rules keep of those sampled (small: 671 of 1,347).
PAIRS_KEPT = 0.5


@dataclass(frozen=True)
class Work:
    """One piece of a stage. `tokens`: trained on, generated, or (kind "filter") read. `seq_len`: the longest
    sequence. `row`: tokens of a pass on a device. `steps`: optimizer steps. `spread`: the stage can train it
    on several devices. `beside`: a small model is trained beside the others on a CPU. `devices`, `sharding`,
    `checkpointing`, `chunked`: as of nbkit.cli.estimate.memory.How."""

    name: str
    kind: str  # "train", "generate" or "filter"
    shape: Shape | None
    tokens: float
    seq_len: int
    row: int = 0
    steps: int = 0
    checkpointing: str = "none"
    chunked: bool = False
    sharding: str = "ddp"
    devices: int = 1
    spread: bool = False
    beside: bool = False
    extra_flops: float = 0.0  # besides the training of `shape`: a teacher's or a reference's forward pass
    extra_bytes: float = 0.0  # of memory: the teacher
    kept: int = 1  # models that stay on disk
    checkpoints: int = 0  # checkpoints with optimiser state that stay beside them

    @property
    def flops(self) -> float:
        """Of all its tokens; generation is a forward pass, a third of training."""
        if self.shape is None:
            return 0.0
        share = 1 if self.kind == "train" else 1 / 3
        return self.tokens * self.shape.flops_per_token(self.seq_len) * share + self.extra_flops

    @property
    def disk(self) -> float:
        """Bytes that stay: models in fp32, and checkpoints with AdamW's state (12 bytes a parameter)."""
        if self.shape is None or self.kind != "train":
            return 0.0
        return self.shape.parameters * (4 * self.kept + 12 * self.checkpoints)


def packed(conversations: float, max_length: int, epochs: float, batch: int) -> tuple[float, int]:
    """(tokens, steps) of a fine-tuning on conversations that fill FILLED of a row each."""
    tokens = conversations * max_length * FILLED * epochs
    return tokens, max(1, math.ceil(tokens / (batch * max_length)))


def answers(count: float, max_new_tokens: int) -> float:
    """Tokens of so many sampled answers."""
    return count * max_new_tokens * FILLED
