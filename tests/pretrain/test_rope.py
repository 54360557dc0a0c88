"""ABF: angles by hand, the switch survives saving, and whatever holds the model's tensors sees it."""

import pytest
import tiny
import torch

from nbkit.models.load import load
from nbkit.pretrain.rope import rope_base, set_rope_base


def logits(model, length=64):
    with torch.no_grad():
        return model(torch.arange(length)[None] % 200).logits


def test_frequencies_by_hand():
    model = tiny.model()  # hidden 32, 4 heads: head dimension 8, four frequencies
    set_rope_base(model, 16.0)
    assert model.model.rotary_emb.inv_freq.tolist() == pytest.approx([1, 1 / 2, 1 / 4, 1 / 8])
    cos, sin = model.model.rotary_emb(torch.zeros(1), torch.tensor([[3]]))
    assert cos[0, 0, :4].tolist() == pytest.approx(torch.tensor([3, 1.5, 0.75, 0.375]).cos().tolist())
    assert rope_base(model) == 16.0


def test_the_base_changes_the_model_and_can_be_set_back():
    model = tiny.model().eval()
    before = logits(model)
    set_rope_base(model, 1e6)
    changed = logits(model)
    set_rope_base(model, 10_000.0)
    assert not torch.allclose(before, changed) and torch.equal(before, logits(model))


def test_the_base_is_saved_with_the_model(tmp_path):
    model = tiny.model().eval()
    set_rope_base(model, 5e5)
    model.save_pretrained(tmp_path)
    tiny.tokenizer().save_pretrained(tmp_path)
    again, _ = load(tmp_path)
    assert rope_base(again) == 5e5 and torch.equal(logits(model), logits(again.cpu().eval()))


def test_the_tensors_stay_the_same_ones():
    """A compiled or wrapped model holds the tensor, not the attribute."""
    model = tiny.model()
    held = model.model.rotary_emb.inv_freq
    set_rope_base(model, 1e6)
    assert held is model.model.rotary_emb.inv_freq and held[-1] == pytest.approx(1e6 ** (-6 / 8))


@pytest.mark.slow
def test_a_compiled_model_reads_the_new_base():
    model = tiny.model().eval()
    compiled = torch.compile(model)
    before = logits(compiled)
    set_rope_base(model, 1e6)
    assert torch.allclose(logits(compiled), logits(model), atol=1e-4)
    assert not torch.allclose(before, logits(compiled), atol=1e-3)


def test_what_has_no_plain_base_is_refused():
    for bad in (0.0, -1.0, float("nan")):
        with pytest.raises(ValueError, match="wanted 1 or more"):
            set_rope_base(tiny.model(), bad)
    with pytest.raises(ValueError, match="Linear has no rotary embedding"):
        rope_base(torch.nn.Linear(2, 2))
    scaled = tiny.model()
    scaled.config.rope_parameters["rope_type"] = "yarn"
    with pytest.raises(ValueError, match="rope_type 'yarn'"):
        set_rope_base(scaled, 1e5)
