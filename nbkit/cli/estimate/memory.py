"""Peak memory of one device while it trains, in bytes: what is held between steps, and what a step adds.

The kit trains fp32 weights under bf16 autocast with AdamW (Micikevicius et al., arXiv 1710.03740): 16 bytes a
parameter, which fsdp2 splits over the devices (ZeRO, arXiv 1910.02054). Activations are counted operation by
operation, after Korthikanti et al., arXiv 2205.05198, for this very model; tests/cli/estimate compares the
count with what autograd saves. Shape legend: h width, k width of the keys, m of the MLP, V vocabulary.
"""

from __future__ import annotations

from dataclasses import dataclass

from nbkit.cli.estimate.shapes import Shape

TILE = (4096, 32_768)  # tokens and words of a tile of TRL's fused head
BUFFER = 1.0e9  # workspace of the matrix products and the allocator's slack on a GPU (our choice)


@dataclass(frozen=True)
class How:
    """How a model is trained. `devices`: over all nodes. `tokens`: of one pass on one device. `sharding`:
    "ddp" or "fsdp2". `checkpointing`: activations are computed again in the backward pass: "none", "layers",
    or "offload", with the layers' inputs on the host. `chunked`: logits in tiles. `bf16`: autocast, else
    fp32."""

    tokens: int
    devices: int = 1
    sharding: str = "ddp"
    checkpointing: str = "none"
    chunked: bool = False
    bf16: bool = True


def layer_bytes(shape: Shape, bf16: bool = True) -> float:
    """What autograd keeps of one layer and token."""
    h, k, m = shape.hidden, shape.kv, shape.mlp
    if not bf16:
        # Twice a norm's input and its normalised form; rotated queries and keys, values, the attention's
        # output; what the norms hand to the linear layers; gate, its SiLU, up, and their product.
        return 4 * (4 * h + 2 * h + (h + 2 * k) + h) + 16 * m + 4 * shape.heads
    # fp32: twice a norm's input and its normalised form (16 h). bf16: the input of q, k and v, cast for
    # each of them (6 h), of gate and up (4 h); queries (2 h), keys and values (4 k), the attention's output
    # (2 h); gate, its SiLU, up, and their product (8 m).
    return 16 * h + 6 * h + 4 * h + 2 * h + 4 * k + 2 * h + 8 * m + 4 * shape.heads


def logit_bytes(shape: Shape, how: How) -> float:
    """Of a pass at the worst moment: logits, their log-softmax in fp32, and the gradient of both. In tiles:
    one tile, the gradients of the hidden states and of the head in fp32, and the head gathered."""
    if not how.chunked:
        return shape.vocab * how.tokens * (10 if how.bf16 else 12)
    tile = min(how.tokens, TILE[0]) * min(shape.vocab, TILE[1]) * (2 if how.bf16 else 4)
    return tile + 4 * shape.hidden * how.tokens + 8 * shape.vocab * shape.hidden


def held(shape: Shape, how: How) -> dict[str, float]:
    """Between steps: weights and gradients (fp32) and AdamW's two moments (fp32). DDP also keeps the
    gradients' buckets, and autocast a bf16 copy of the weights; fsdp2 gathers two layers and the embeddings
    in bf16."""
    count, sharded = shape.parameters, how.sharding == "fsdp2"
    own = count / how.devices if sharded else count
    parts = {"weights": 4 * own, "gradients": 4 * own, "optimiser": 8 * own}
    if sharded:
        parts["gathered"] = (2 if how.bf16 else 4) * (2 * shape.layer + shape.embeddings)
    else:
        parts["copies"] = (2 if how.bf16 else 0) * count + (4 * count if how.devices > 1 else 0)
    return parts


def step(shape: Shape, how: How) -> dict[str, float]:
    """What a pass adds: activations, and the logits path."""
    layer = layer_bytes(shape, how.bf16)
    # Computed again: the input of every layer stays (fp32), or two on their way to the host, and one layer
    # at a time is whole.
    inputs = {"none": 0, "layers": shape.layers, "offload": 2}[how.checkpointing]
    whole = shape.layers if how.checkpointing == "none" else 1
    per_token = 4 * shape.hidden * inputs + layer * whole
    return {"activations": per_token * how.tokens, "logits": logit_bytes(shape, how)}


def training(shape: Shape, how: How, gpu: bool = True) -> dict[str, float]:
    """All parts of the peak, by name; their sum is the peak."""
    return held(shape, how) | step(shape, how) | ({"buffers": BUFFER} if gpu else {})
