"""Dual preference distillation on trl.DPOTrainer (report, "dual-level preference distillation"). Used by
05.

    L = w_dpo * L_dpo + w_pos * L_pos + w_neg * L_neg

    L_dpo   sequence level: -log sigmoid(beta * ((log pi(y+) - log ref(y+)) - (log pi(y-) - log ref(y-)))),
            log-probabilities summed over tokens, at temperature 1; a mean over pairs
    L_pos   token level, on the good response y+: mean over its tokens of the divergence from the teacher,
            then a mean over pairs: a long response does not outweigh a short one, and two half batches
            accumulate to the whole one
    L_neg   the same on the bad response y-: where the student is confidently wrong, the teacher shows the
            alternatives

The report names the three terms and no weight before any of them. It does not disclose weights, beta, the
direction of the divergence, its temperature or how tokens are averaged: here they are parameters, except the
average, which is the one above. L_pos and L_neg may have divergences of their own. The temperature acts on
both distributions of a divergence, without a factor temperature^2 (raise w_pos and w_neg for it). A fourth
weight, 0 in DPD, is that of the plain SFT loss on y+: with it, the methods that DPD is compared with are the
same code on the same rows in the same steps (SFT continued is Weights(0, 0, 0, 1)). Reference
log-probabilities are computed once, by TRL, before training. Negatives that are sampled anew in every pass:
nbkit.dpd.on_policy. Shape legend: n pairs, N completion tokens of the batch, V vocabulary, H width. Rows are
chosen first, then rejected (TRL).
"""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from datasets import Dataset
from trl import DPOConfig, DPOTrainer
from trl.models.utils import _ForwardRedirection

from nbkit.dpd.loss import against_teacher, against_top_k
from nbkit.dpd.pairs import SIDES, filter_pairs
from nbkit.dpd.states import check_vocabularies, completion_states, plain_head, whole_head
from nbkit.dpd.teacher_cache import CachedTeacherCollator, TeacherCache
from nbkit.dpd.terms import DPDTerms, Weights, divergence, dpd_terms
from nbkit.dpd.tiles import Divergence
from nbkit.models.chat_ids import token_ids
from nbkit.models.distributed import sharding as split
from nbkit.models.training import LONG, run_training, shared_arguments
from nbkit.run import progress
from nbkit.run.moved import once_separate

__all__ = ["DPDTerms", "Weights", "divergence", "dpd_terms"]  # of terms.py: with the trainer from one place


class DPDTrainer(DPOTrainer):
    """DPOTrainer with the joint loss, on rows that already hold prompt_ids, chosen_ids and rejected_ids.

    `teacher`: a model (whole on every rank), or a TeacherCache; `weights`: Weights, or its first three;
    `divergence`: one for both responses, or two, of y+ and of y-;
    `tiles`: `chunk` and `compiled` of `loss.against_teacher`; `teacher_tokenizer`: proof that a teacher of
    more rows is only padded. Rows may bring "ref_chosen_logps", "ref_rejected_logps" and "ref_model", as
    `train_dataset` of an earlier trainer has them; those of another model than the student at its start
    raise ValueError."""

    def __init__(
        self,
        model,
        args: DPOConfig,
        *,
        teacher,
        weights: Weights | tuple[float, ...],
        divergence: Divergence | tuple[Divergence, Divergence],
        processing_class,
        teacher_tokenizer=None,
        tiles: Mapping[str, Any] = MappingProxyType({}),
        **kwargs,
    ):
        # The reference is never a second model here: its log-probs come with the rows.
        if not args.precompute_ref_log_probs:
            raise ValueError(
                "precompute_ref_log_probs: got False, wanted True: the loss reads them from rows"
            )
        self.teacher, self.weights, self.tiles = teacher, Weights(*weights), tiles
        self.divergences = divergence if isinstance(divergence, tuple) else (divergence, divergence)
        # A cached teacher is files: it is opened for this tokenizer and read by a collator of its own.
        self.rows, cached = len(plain_head(model, "student").weight), isinstance(teacher, TeacherCache)
        teacher_rows = teacher.vocab if cached else len(plain_head(teacher, "teacher").weight)
        if cached:
            teacher = TeacherCache.open(teacher.folder, processing_class)  # refuses another tokenizer
            kwargs["data_collator"] = CachedTeacherCollator(
                processing_class.pad_token_id, args.max_length, args.truncation_mode, cache=teacher
            )
            if other := {how.temperature for how in self.divergences} - {teacher.temperature}:
                raise ValueError(
                    f"temperature: got {min(other)}, but the teacher cache holds log-probs at "
                    f"{teacher.temperature}; build one at the temperature you train with"
                )
        # Token i of the student must be token i of the teacher, or the divergence compares different words.
        proof = None if cached else teacher_tokenizer
        check_vocabularies(processing_class, self.rows, proof, teacher_rows)
        super().__init__(model, args=args, processing_class=processing_class, **kwargs)
        # After super(): only then is there an accelerator that knows the device.
        if not cached:
            self.teacher = teacher.to(self.accelerator.device).eval()

    def _prepare_dataset(self, dataset, *args, **kwargs):
        # Rows are tokenized already; TRL's preparation would tokenize text and append <eos>.
        return dataset

    def _precompute_ref_logps(self, dataset, *args, **kwargs):
        own = self._precompute_model_hash
        # Log-probs from an earlier run are used again, if they are of the very student that starts here.
        if "ref_chosen_logps" in dataset.column_names:
            found = set(dataset["ref_model"]) if "ref_model" in dataset.column_names else {"unknown"}
            if found != {own}:
                raise ValueError(
                    f"ref_chosen_logps: made by model {sorted(found)[0][:12]}, but this student starts as "
                    f"{own[:12]}; drop the ref_ columns to compute them again"
                )
            return dataset
        # The model's hash goes with them, so that a later trainer can tell whose they are.
        dataset = super()._precompute_ref_logps(dataset, *args, **kwargs)
        return dataset.add_column("ref_model", [own] * len(dataset))

    def compute_ref_log_probs(self, model, inputs):
        # The pass of the reference needs no teacher: its tensors are taken out of the batch.
        known = {name: x for name, x in inputs.items() if not name.startswith("teacher_")}
        return super().compute_ref_log_probs(model, known)

    def _compute_loss(self, model, inputs, return_outputs):
        if return_outputs:
            raise ValueError(
                "compute_metrics: not supported, there are no logits to pass; read the dpd/ logs"
            )
        student = self.accelerator.unwrap_model(model)
        # through the wrapper's forward: DDP and FSDP prepare there for the backward pass
        terms = _ForwardRedirection()(model, student, self._terms, student, inputs)
        mode = "train" if self.model.training else "eval"
        for name, term in terms._asdict().items():
            # Means over ranks, for the log only: each rank's loss is over its own pairs.
            mean = self.accelerator.gather_for_metrics(term.detach()).mean()
            self._metrics[mode][f"dpd/{name}"].append(mean.item())
        return terms.loss(self.weights)

    def _terms(self, student, inputs) -> DPDTerms:
        # Shifted by one, as in `completion_states`: token i + 1 is predicted at position i.
        completion = inputs["completion_mask"][:, 1:].bool()
        row_N, targets_N = completion.nonzero()[:, 0], inputs["input_ids"][:, 1:][completion]
        with self.accelerator.autocast():  # the redirection leaves out accelerate's own
            if isinstance(self.teacher, TeacherCache):
                loss, tables, head = against_top_k, (inputs["teacher_ids"], inputs["teacher_log_probs"]), ()
            else:
                guide_NH, *head = self._teacher_states(inputs, row_N)
                loss, tables = against_teacher, (guide_NH,)
            # The two numbers per token that all terms are made of: log-probability and divergence.
            hidden_NH = completion_states(student, inputs)
            head_VH = whole_head(student.get_output_embeddings().weight)
            # Chosen first, then rejected, as the rows of the batch: tokens of y+, then those of y-.
            reference = torch.cat([inputs["ref_chosen_logps"], inputs["ref_rejected_logps"]])
            pos, neg = self.divergences
            good = int((row_N < len(reference) // 2).sum())
            parts = [(slice(None), pos)] if pos == neg else [(slice(good), pos), (slice(good, None), neg)]
            numbers = []
            for part, how in parts:
                own = (hidden_NH[part], head_VH, targets_N[part])
                numbers.append(loss(*own, *(x[part] for x in tables), *head, how, **self.tiles))
            logp_N, away_N = (torch.cat(column) for column in zip(*numbers, strict=True))
        return dpd_terms(logp_N, away_N, row_N, reference, self.beta)

    @torch.no_grad()
    def _teacher_states(self, inputs, row_N):
        """The teacher's hidden states (N, H) and its head without padding rows."""
        hidden_NH = completion_states(self.teacher, inputs)
        # NaN here would reach every weight in one step; the pair is named, so that it can be looked at.
        finite_N = torch.isfinite(hidden_NH).all(-1)
        if not finite_N.all():
            row = row_N[~finite_N][0]
            prompt = inputs["input_ids"][row][inputs["completion_mask"][row] == 0]
            raise ValueError(
                "teacher: its hidden states are not finite on the pair with prompt "
                f"{self._tokenizer.decode(prompt, skip_special_tokens=True)[-80:]!r}; check it in float32"
            )
        # Rows beyond the student's vocabulary are padding and stay out of the teacher's softmax.
        return hidden_NH, self.teacher.get_output_embeddings().weight[: self.rows]


def tokenized(tokenizer, pairs: Sequence[dict]) -> list[dict]:
    """The rows that DPDTrainer and TeacherCache read: prompt_ids, chosen_ids, rejected_ids. Tokenized here,
    because DPOTrainer would append <eos> to text that already ends with its stop token. Tokens that a pair
    brings are kept: what a model sampled need not be how its text is encoded."""
    parts = ("prompt", *SIDES)
    return [
        {f"{part}_ids": pair.get(f"{part}_ids") or token_ids(tokenizer, pair[part]) for part in parts}
        for pair in pairs
    ]


@dataclass(frozen=True)
class DPDSettings:
    """How `dpd` trains. `epochs` over the pairs, `batch` pairs per step, peak learning rate `lr` (cosine, a
    tenth of the steps warm-up). `max_length`: most tokens of a prompt with its response. `beta`: sharpness of
    the sequence term. `weights` of the terms, `divergence` of the token terms: see the module; `negative`:
    that of the term on y-, where it has one of its own. `stop`: the token that ends every response; "": not
    checked."""

    epochs: float
    lr: float
    batch: int
    max_length: int
    beta: float
    weights: Weights | tuple[float, ...]
    divergence: Divergence
    seed: int
    stop: str = ""
    negative: Divergence | None = None


@once_separate("settings", DPDSettings)
def dpd(
    model,
    tokenizer,
    teacher,
    pairs: Sequence[dict],
    settings: DPDSettings,
    *,
    out: Path,
    label: str = "dpd",
    **options,
) -> tuple[list[dict], float]:
    """Distil in place from pairs of {"prompt", "chosen", "rejected"} (plain text: chat prompt and
    completions that end with their stop token). `options`: `teacher_tokenizer`, `tiles` of DPDTrainer, and
    `sharding` ("ddp", "fsdp2"; see nbkit.models.distributed.sharding): under torchrun every process takes its
    part of the pairs of a step. Returns (history, seconds). Raises ValueError as `trainer_of` does."""
    return run_training(trainer_of(model, tokenizer, teacher, pairs, settings, out, label, **options), label)


def trainer_of(
    model, tokenizer, teacher, pairs: Sequence[dict], settings: DPDSettings, out: Path, label: str, **options
) -> DPDTrainer:
    """The trainer that `dpd` runs, its reference's log-probs computed. Raises ValueError for pairs that
    nbkit.dpd.pairs would drop: empty, equal or truncated responses, more than max_length tokens; and for a
    batch that does not split over the processes."""
    sharding = options.pop("sharding", "ddp")
    split.check_sharding(sharding)
    own_batch = split.split_batch(settings.batch, "pairs")
    # A pair that teaches nothing is refused here, not dropped: the caller decides what it trains on.
    limits = dict(length=lambda text: len(token_ids(tokenizer, text)), max_length=settings.max_length)
    kept, counts = filter_pairs(pairs, stop=settings.stop, **limits)
    if len(kept) < len(pairs):
        raise ValueError(f"pairs: {dict(counts)} (rules: nbkit.dpd.pairs); filter_pairs before training")
    # The optimizer: a tenth of the steps warm-up, then a cosine to zero.
    steps = max(1, int(settings.epochs * len(pairs) / settings.batch))
    arguments = DPOConfig(
        max_steps=steps,
        per_device_train_batch_size=own_batch,
        learning_rate=settings.lr,
        lr_scheduler_type="cosine",
        warmup_steps=max(1, steps // 10),
        beta=settings.beta,
        max_length=settings.max_length,
        precompute_ref_log_probs=True,
        logging_steps=max(1, steps // 40),
        **split.sharding_arguments(sharding, "layers" if settings.max_length > LONG else "none"),
        **shared_arguments(out, settings.seed),
    )
    split.one_device_each(arguments)
    # The reference is the student at its start; TRL computes its log-probs before the first step.
    with progress.doing(f"{label}: log-probs of the reference"):
        trainer = DPDTrainer(
            model,
            arguments,
            teacher=teacher,
            weights=settings.weights,
            divergence=(settings.divergence, settings.negative or settings.divergence),
            train_dataset=_dataset(tokenized(tokenizer, pairs), arguments),
            processing_class=tokenizer,
            **options,
        )
    split.check_trainer(trainer, sharding)
    return trainer


def _dataset(rows: list[dict], arguments: DPOConfig) -> Dataset:
    """The rows; for several processes as files of the trainer's folder. TRL's first rank leaves the
    reference's log-probs beside the dataset, where the others look for them; that of a list lies in a folder
    of each process alone."""
    dataset, folder = Dataset.from_list(rows), Path(arguments.output_dir) / "pairs"
    if arguments.world_size == 1:
        return dataset
    with arguments.main_process_first(local=False):
        if arguments.process_index == 0:
            shutil.rmtree(folder, ignore_errors=True)  # of a run that was killed
            dataset.save_to_disk(folder)
    return Dataset.load_from_disk(str(folder))
