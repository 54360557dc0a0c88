"""The closed forms of the estimate against the model itself: parameters, FLOPs, and what autograd keeps."""

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.autograd.graph import saved_tensors_hooks
from transformers import LlamaConfig, LlamaForCausalLM

from nbkit.cli.estimate import memory
from nbkit.cli.estimate.shapes import KNOWN, Shape, shape_of
from nbkit.pretrain import throughput

NANBEIGE = KNOWN["Nanbeige/Nanbeige4-3B-Base"]
SMOLLM3 = KNOWN["HuggingFaceTB/SmolLM3-3B-Base"]
SHAPES = {
    "small": Shape(96, 4, 4, 2, 256, 1024),
    "one head a group": Shape(128, 3, 4, 4, 384, 600, tied=False),
    "gpu": Shape(768, 12, 12, 4, 2048, 2048),
    "3B": NANBEIGE,
}


def model_of(shape: Shape) -> LlamaForCausalLM:
    config = LlamaConfig(
        vocab_size=shape.vocab,
        hidden_size=shape.hidden,
        intermediate_size=shape.mlp,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.kv_heads,
        max_position_embeddings=65_536,
        tie_word_embeddings=shape.tied,
        attn_implementation="sdpa",
    )
    return LlamaForCausalLM(config)


@pytest.mark.parametrize("shape", [*SHAPES.values(), SMOLLM3], ids=[*SHAPES, "SmolLM3"])
def test_parameters_and_flops_are_those_of_the_model(shape):
    with torch.device("meta"):
        model = model_of(shape)
    assert shape.parameters == sum(p.numel() for p in model.parameters())
    assert shape.flops_per_token(4096) == throughput.flops_per_token(model, 4096)


def test_the_sizes_of_published_models():
    assert 3.9e9 < NANBEIGE.parameters < 3.95e9
    assert 3.07e9 < SMOLLM3.parameters < 3.08e9
    assert shape_of("shipped") == Shape(144, 5, 6, 3, 384, 1024)
    assert shape_of("owner/never-heard-of") is None


def saved_bytes(shape: Shape, tokens: int, bf16: bool, layers: int) -> int:
    """What autograd keeps of the layers in a forward pass, weights left out, counted without computing."""
    kept: dict[int, int] = {}
    with FakeTensorMode(), torch.device("cpu"):
        model = model_of(Shape(**vars(shape) | {"layers": layers})).model
        own = {p.untyped_storage()._cdata for p in model.parameters()}
        copies = {tuple(p.shape) for p in model.parameters() if p.ndim == 2}
        copies |= {tuple(reversed(size)) for size in copies}

        def keep(tensor):
            storage = tensor.untyped_storage()
            # A bf16 copy of a weight is autocast's, and counted with the weights.
            if storage._cdata not in own and tuple(tensor.shape) not in copies:
                kept[storage._cdata] = storage.nbytes()
            return tensor

        ids = torch.zeros(1, tokens, dtype=torch.long)
        autocast = torch.autocast("cpu", torch.bfloat16, enabled=bf16)
        with saved_tensors_hooks(keep, lambda tensor: tensor), autocast:
            out = model(ids, use_cache=False)
        del out
    return sum(kept.values())


@pytest.mark.parametrize("bf16", [True, False], ids=["bf16", "fp32"])
@pytest.mark.parametrize("name", SHAPES)
def test_what_autograd_keeps_of_a_layer(name, bf16, monkeypatch):
    # Tensors without storage look like tracing, for which transformers makes a mask that training does not.
    monkeypatch.setattr("transformers.models.llama.modeling_llama.create_causal_mask", lambda **_: None)
    shape, tokens = SHAPES[name], 1536
    four, two = (saved_bytes(shape, tokens, bf16, layers) for layers in (4, 2))
    assert (four - two) / 2 / tokens == pytest.approx(memory.layer_bytes(shape, bf16), rel=0.01)
