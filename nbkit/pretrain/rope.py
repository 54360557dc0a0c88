"""Adjusted base frequency (ABF, Xiong et al. 2023, arXiv 2309.16039): a larger rotary base lets positions
beyond the trained ones turn as slowly as trained ones did. Used by 02 in the decay stage.

The report extends its context to 64K by ABF and does not disclose the base during it; its released base has
5,000,000. Bases here are our choice (parameters rope_base and decay_rope_base of 02).
"""

import torch


def _rotary(model):
    rotary = getattr(getattr(model, "model", None), "rotary_emb", None)
    if rotary is None or "rope_theta" not in (model.config.rope_parameters or {}):
        raise ValueError(
            f"{type(model).__name__} has no rotary embedding with a base (model.model.rotary_emb, "
            "config.rope_parameters['rope_theta']); ABF wants a Llama-like model"
        )
    return rotary


def rope_base(model) -> float:
    """The rotary base that the model runs with."""
    _rotary(model)
    return float(model.config.rope_parameters["rope_theta"])


def set_rope_base(model, base: float) -> None:
    """Change the rotary base in place: the config, so that a saved model keeps it, and the frequencies, whose
    tensors stay the same ones, so that compiled and wrapped models read the new values."""
    if not base >= 1:
        raise ValueError(f"rope_base: got {base}, wanted 1 or more (Llama: 10,000 to 5,000,000)")
    rotary = _rotary(model)
    # Scaled kinds (linear, YaRN) derive their frequencies otherwise: setting the base would not be ABF.
    kind = model.config.rope_parameters.get("rope_type", "default")
    if kind != "default":
        raise ValueError(
            f"rope_type {kind!r}: ABF changes the base of plain rotary positions ('default') only"
        )
    model.config.rope_parameters["rope_theta"] = float(base)
    frequencies, _ = type(rotary).compute_default_rope_parameters(model.config)
    with torch.no_grad():
        # `original_inv_freq` too: the copy that transformers keeps to go back to.
        rotary.inv_freq.copy_(frequencies)
        rotary.original_inv_freq.copy_(frequencies)
