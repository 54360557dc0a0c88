"""Dual preference distillation on trl.DPOTrainer (report, "dual-level preference distillation"). Used by
05.

    L = L_dpo + w_pos * L_pos + w_neg * L_neg

    L_dpo   sequence level: -log sigmoid(beta * ((log pi(y+) - log ref(y+)) - (log pi(y-) - log ref(y-))))
    L_pos   token level, on the good response y+: mean over its tokens of KL(teacher || student)
    L_neg   the same on the bad response y-: where the student is confidently wrong, the teacher shows the
            alternatives

The report does not disclose weights, beta, KL direction or temperature: all are parameters here, and the
token mean is taken per response, then over pairs, so that long responses do not outweigh short ones. This
version holds the logits of the completion positions, (N, V); nothing of size (2n * T, V) is made. Shape
legend: n pairs, T tokens, N completion positions of the batch, V vocabulary. Rows are chosen first, then
rejected (TRL).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from datasets import Dataset
from trl import DPOConfig, DPOTrainer

from nbkit.train.common import Progress, run_training, shared_arguments

DIVERGENCES = ("forward", "reverse", "jsd")


def divergence(
    student_NV: torch.Tensor, teacher_NV: torch.Tensor, kind: str, temperature: float
) -> torch.Tensor:
    """Per-position divergence (N,) of two logit tables, in nats, in float32. forward: KL(teacher ||
    student); reverse: KL(student || teacher); jsd: half of each against their mean."""
    if kind not in DIVERGENCES:
        raise ValueError(f"divergence: got {kind!r}, wanted one of {DIVERGENCES}")
    log_s = F.log_softmax(student_NV.float() / temperature, -1)
    log_t = F.log_softmax(teacher_NV.float() / temperature, -1)
    if kind == "forward":
        return (log_t.exp() * (log_t - log_s)).sum(-1)
    if kind == "reverse":
        return (log_s.exp() * (log_s - log_t)).sum(-1)
    log_m = torch.logsumexp(torch.stack([log_s, log_t]), 0) - torch.log(torch.tensor(2.0))
    return 0.5 * ((log_s.exp() * (log_s - log_m)).sum(-1) + (log_t.exp() * (log_t - log_m)).sum(-1))


@dataclass(frozen=True)
class DPDTerms:
    """The three terms of the loss, means over pairs, and the DPO margin in nats."""

    dpo: torch.Tensor
    pos: torch.Tensor
    neg: torch.Tensor
    margin: torch.Tensor


def dpd_terms(
    student_NV, teacher_NV, targets_N, row_N, ref_logps_2n, beta: float, kind: str, temperature: float
) -> DPDTerms:
    """The loss terms from logits at completion positions. `row_N` says which of the 2n responses a
    position belongs to; targets_N are the tokens actually there; ref_logps_2n are the summed log-probs of
    the reference."""
    rows = len(ref_logps_2n)
    logp_N = torch.log_softmax(student_NV.float(), -1).gather(-1, targets_N[:, None]).squeeze(-1)
    zeros = logp_N.new_zeros(rows)
    count_R = zeros.index_add(0, row_N, torch.ones_like(logp_N)).clamp(min=1)
    ratio_R = zeros.index_add(0, row_N, logp_N) - ref_logps_2n
    chosen, rejected = ratio_R.chunk(2)
    kl_R = zeros.index_add(0, row_N, divergence(student_NV, teacher_NV, kind, temperature)) / count_R
    pos, neg = kl_R.chunk(2)
    margin = chosen - rejected
    return DPDTerms(-F.logsigmoid(beta * margin).mean(), pos.mean(), neg.mean(), margin.mean())


class DPDTrainer(DPOTrainer):
    """DPOTrainer with the joint loss, on rows that already hold prompt_ids, chosen_ids and rejected_ids.
    `teacher` shares the student's tokenizer."""

    def __init__(
        self, *args, teacher, weights: tuple[float, float, float], kind: str, temperature: float, **kwargs
    ):
        super().__init__(*args, **kwargs)
        if teacher.config.vocab_size != self.model.config.vocab_size:
            raise ValueError(
                f"teacher: has a vocabulary of {teacher.config.vocab_size}, "
                f"the student {self.model.config.vocab_size}; token distillation needs the same tokenizer"
            )
        self.teacher = teacher.to(self.accelerator.device).eval()
        self.weights, self.kind, self.temperature = weights, kind, temperature

    def _prepare_dataset(self, dataset, *args, **kwargs):
        return dataset

    def _compute_loss(self, model, inputs, return_outputs):
        mode = "train" if self.model.training else "eval"
        ids, mask = inputs["input_ids"], inputs["attention_mask"]
        targets_mask = inputs["completion_mask"][:, 1:].bool()
        row_N, position_N = targets_mask.nonzero(as_tuple=True)
        with torch.no_grad(), self.accelerator.autocast():
            teacher_NV = self.teacher(input_ids=ids, attention_mask=mask, use_cache=False).logits[
                row_N, position_N
            ]
        outputs = model(input_ids=ids, attention_mask=mask, use_cache=False)
        student_NV = outputs.logits[row_N, position_N]
        reference = torch.cat([inputs["ref_chosen_logps"], inputs["ref_rejected_logps"]])
        targets_N = ids[:, 1:][row_N, position_N]
        terms = dpd_terms(
            student_NV, teacher_NV, targets_N, row_N, reference, self.beta, self.kind, self.temperature
        )
        w_dpo, w_pos, w_neg = self.weights
        loss = w_dpo * terms.dpo + w_pos * terms.pos + w_neg * terms.neg
        for name in ("dpo", "pos", "neg", "margin"):
            self._metrics[mode][f"dpd/{name}"].append(getattr(terms, name).item())
        return (loss, outputs) if return_outputs else loss


def dpd(
    model,
    tokenizer,
    teacher,
    pairs: Sequence[dict],
    *,
    epochs: float,
    lr: float,
    batch: int,
    max_length: int,
    beta: float,
    weights: tuple[float, float, float],
    kind: str,
    temperature: float,
    out: Path,
    seed: int,
    label: str = "dpd",
    report: Callable[[str], None] = lambda text: None,
) -> tuple[list[dict], float]:
    """Distil in place from pairs of {"prompt", "chosen", "rejected"} (plain text: chat prompt and
    completions with their stop token). Returns (history, seconds). Raises ValueError for a pair with equal
    responses."""
    if same := [pair["prompt"] for pair in pairs if pair["chosen"] == pair["rejected"]]:
        raise ValueError(
            f"pairs: {len(same)} have equal responses, first: {same[0][:80]!r}; drop them before training"
        )
    # tokenized here: DPOTrainer would append <eos> to plain text that already ends with its stop token
    columns = [
        {
            "prompt_ids": tokenizer(pair["prompt"], add_special_tokens=False)["input_ids"],
            "chosen_ids": tokenizer(pair["chosen"], add_special_tokens=False)["input_ids"],
            "rejected_ids": tokenizer(pair["rejected"], add_special_tokens=False)["input_ids"],
        }
        for pair in pairs
    ]
    steps = max(1, int(epochs * len(pairs) / batch))
    arguments = DPOConfig(
        max_steps=steps,
        per_device_train_batch_size=batch,
        learning_rate=lr,
        lr_scheduler_type="cosine",
        warmup_steps=max(1, steps // 10),
        beta=beta,
        max_length=max_length,
        precompute_ref_log_probs=True,
        activation_checkpointing=False,
        logging_steps=max(1, steps // 40),
        **shared_arguments(out, seed),
    )
    trainer = DPDTrainer(
        model=model,
        args=arguments,
        train_dataset=Dataset.from_list(columns),
        processing_class=tokenizer,
        callbacks=[Progress(label, report)],
        teacher=teacher,
        weights=weights,
        kind=kind,
        temperature=temperature,
    )
    return run_training(trainer)
