"""Hidden states and heads that the loss of nbkit.dpd.loss works on: which positions, whose rows of the
vocabulary, gathered from shards. Used by 05.

The head is never called as a module: the loss multiplies by its weight, tile by tile.
"""

import torch
from torch.distributed.tensor import DTensor, Partial

# What configs call a factor on the logits, or their bound (after trl.trainer.utils.add_fused_lm_head)
SCALES = (
    "final_logit_softcapping",
    "logit_scale",
    "output_multiplier",
    "lm_head_multiplier",
    "logits_scaling",
)


def completion_states(model, batch: dict) -> torch.Tensor:
    """Hidden states (N, H) before the head at the positions that predict a completion token, row by row."""
    # The backbone alone: the head's logits (N x V) are what the loss avoids making.
    states = model.base_model(
        input_ids=batch["input_ids"], attention_mask=batch["attention_mask"], use_cache=False
    ).last_hidden_state
    # Position i predicts token i + 1, so states lose their last column and the mask its first.
    return states[:, :-1][batch["completion_mask"][:, 1:].bool()]


def whole_head(weight_VH: torch.Tensor) -> torch.Tensor:
    """The head, gathered where FSDP2 holds it in shards. Every rank's loss is a mean over its own pairs, so
    the gradient that goes back to the shards is the mean over ranks, as FSDP2 has it for other weights."""
    if not isinstance(weight_VH, DTensor):
        return weight_VH
    # Each rank's gradient of the whole head is a partial sum, which FSDP2 reduces to its shards.
    mesh = weight_VH.device_mesh
    whole_VH = weight_VH.full_tensor(grad_placements=[Partial()] * mesh.ndim)
    if whole_VH.requires_grad:
        whole_VH.register_hook(lambda grad: grad / mesh.size())
    return whole_VH


def plain_head(model, name: str) -> torch.nn.Module:
    """The model's head. Raises ValueError where logits are more than hidden states times its weight."""
    head, config = model.get_output_embeddings(), model.config.get_text_config()
    # A scale of 1.0 changes nothing; any other would be missing from our product.
    odd = [scale for scale in SCALES if getattr(config, scale, None) not in (None, 1.0)]
    if head.bias is not None:
        odd.append("a bias")
    if odd:
        raise ValueError(f"{name}: its head has {odd}; wanted logits = hidden states times weight")
    return head


def check_vocabularies(tokenizer, student_rows: int, teacher_tokenizer, teacher_rows: int) -> None:
    """Student and teacher must name the same token by the same id. Teacher rows beyond the student's are
    padding, left out of its softmax; the teacher's tokenizer is the proof. Raises ValueError."""
    if teacher_tokenizer is not None:
        # By whole vocabularies, not by size: two tokenizers of equal size may number tokens differently.
        own, theirs = tokenizer.get_vocab(), teacher_tokenizer.get_vocab()
        if differ := sorted(t for t in own.keys() | theirs.keys() if own.get(t) != theirs.get(t)):
            raise ValueError(
                f"teacher: its tokenizer differs from the student's in {len(differ)} tokens, such as "
                f"{differ[0]!r} ({theirs.get(differ[0])} there, {own.get(differ[0])} here); token "
                "distillation needs the same tokenizer: take another teacher, or train with SFT on its text"
            )
    # Fewer teacher rows leave student tokens without a probability; more need the proof above.
    if teacher_rows < student_rows or (teacher_rows > student_rows and teacher_tokenizer is None):
        raise ValueError(
            f"teacher: has a vocabulary of {teacher_rows}, the student {student_rows}; token distillation "
            "needs the same tokenizer: a larger teacher may be padded (then pass teacher_tokenizer, or "
            "vocab to TeacherCache.build), a smaller one needs resize_token_embeddings"
        )
