"""A teacher's K likeliest tokens on disk, so that distillation runs without it in memory. Used by 05.

For every completion token: the ids of the K likeliest tokens, their log-probabilities at the temperature of
the divergence, and that of all other tokens together (the tail): 8K + 4 bytes per token. The divergence is
then the one between distributions over K + 1 outcomes. It never exceeds the exact one, and what is missing
lies in the tail alone. With tail masses t of the teacher and s of the student, conditional distributions
T and S within the tail:

    forward   t * KL(T || S)
    reverse   s * KL(S || T)
    jsd       at most (mixing * t + (1 - mixing) * s) * log 2
    skew      t * KL(T || M), skew_reverse s * KL(S || M), with M the mixture within the tail

`truncation` measures the error. One file per pair, written whole or not at all; the folder's name is a hash
of teacher weights, tokenizer, K and temperature, a file's name one of the pair's tokens.
Shape legend: N tokens, C tokens of one completion, V vocabulary, H width, K kept.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from trl.trainer.dpo_trainer import DataCollatorForPreference
from trl.trainer.utils import hash_module

from nbkit.dpd.loss import TILE, against_teacher, against_top_k
from nbkit.dpd.pairs import SIDES
from nbkit.dpd.states import completion_states, plain_head
from nbkit.dpd.tiles import Divergence
from nbkit.run import files, progress


def top_k(hidden_NH, weight_VH, k: int, temperature: float) -> tuple[torch.Tensor, torch.Tensor]:
    """(ids (N, K) int32, log-probabilities (N, K + 1) float32, the tail's last), some tokens at a time."""
    if not 1 <= k < len(weight_VH):
        raise ValueError(f"k: got {k}, wanted 1 to {len(weight_VH) - 1} of the teacher's vocabulary")
    ids, log_probs = [], []
    # Tiles of TILE logits, as in the loss: the peak does not grow with the number of tokens.
    for part in hidden_NH.split(max(1, TILE // len(weight_VH))):
        logits = (part.to(weight_VH.dtype) @ weight_VH.T).float() / temperature
        top, at = logits.topk(k)
        # log p = z - log Z. The tail's mass is summed from the rest, not taken as 1 - top: no cancellation.
        log_z = torch.logsumexp(logits, -1, keepdim=True)
        tail = torch.logsumexp(logits.scatter_(-1, at, -math.inf), -1, keepdim=True)
        ids.append(at.int())
        log_probs.append(torch.cat([top, tail], -1) - log_z)
    return torch.cat(ids), torch.cat(log_probs)


def tokenizer_id(tokenizer) -> str:
    return files.digest(tokenizer.get_vocab())


@dataclass(frozen=True)
class TeacherCache:
    """One teacher's log-probabilities in `folder`; `tokenizer` names pairs in errors."""

    folder: Path
    tokenizer: object
    k: int
    temperature: float
    vocab: int

    @classmethod
    def build(
        cls,
        root: Path,
        teacher,
        tokenizer,
        rows: Sequence[dict],
        *,
        k: int,
        temperature: float,
        vocab: int | None = None,
    ) -> "TeacherCache":
        """The cache under `root` for these pairs ("prompt_ids", "chosen_ids", "rejected_ids"); pairs that
        are there already are kept. `tokenizer`: the teacher's; `vocab`: rows of the student's head, where the
        teacher's has more for padding. Raises ValueError naming the pair where the teacher gives NaN."""
        # The folder is named by all that decides its content: another teacher or k makes another cache.
        weight_VH = plain_head(teacher, "teacher").weight[:vocab]
        about = {"teacher": hash_module(teacher), "tokenizer": tokenizer_id(tokenizer), "k": k}
        about |= {"temperature": temperature, "vocab": len(weight_VH)}
        cache = cls(Path(root) / files.digest(about)[:16], tokenizer, k, temperature, vocab=len(weight_VH))
        files.write_json(cache.folder / "about.json", about)
        collate = DataCollatorForPreference(pad_token_id=tokenizer.pad_token_id)
        teacher.eval()
        for row in progress.each(rows, "the teacher's likeliest tokens"):
            if cache.path(row).is_file():
                continue
            # One pair at a time: its two responses are the rows of the batch.
            batch = {name: x.to(teacher.device) for name, x in collate.torch_call([row]).items()}
            with torch.no_grad():
                hidden_NH = completion_states(teacher, batch)
                ids, log_probs = top_k(hidden_NH, weight_VH, k, temperature)
            cache._check(row, log_probs)
            # Split what was computed for both responses, and write the pair whole or not at all.
            lengths = [len(row[f"{side}_ids"]) for side in SIDES]
            held = {f"{s}_ids": x for s, x in zip(SIDES, ids.split(lengths), strict=True)}
            held |= {f"{s}_log_probs": x for s, x in zip(SIDES, log_probs.split(lengths), strict=True)}
            files.atomic_write(cache.path(row), save({name: x.cpu().clone() for name, x in held.items()}))
        return cache

    @classmethod
    def open(cls, folder: Path, tokenizer) -> "TeacherCache":
        """A cache that was built before. Raises ValueError for another tokenizer than the teacher's."""
        about = files.read_json(Path(folder) / "about.json")
        if about["tokenizer"] != tokenizer_id(tokenizer):
            raise ValueError(
                f"teacher cache {folder}: made with another tokenizer than the student's; token distillation "
                "needs the same one: build it again from a teacher that shares it"
            )
        return cls(Path(folder), tokenizer, about["k"], about["temperature"], about["vocab"])

    def path(self, row: dict) -> Path:
        # By the pair's tokens: the same text sampled again as other tokens has other log-probabilities.
        key = files.digest([row["prompt_ids"], *(row[f"{side}_ids"] for side in SIDES)])
        return self.folder / f"{key[:32]}.safetensors"

    def read(self, row: dict) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
        """Side -> (ids (C, K), log-probabilities (C, K + 1)). Raises ValueError naming the pair for what is
        missing, cut short or not finite."""
        try:
            held = load(self.path(row).read_bytes())
            # int32 on disk halves the ids; indexing in torch wants int64.
            sides = {side: (held[f"{side}_ids"].long(), held[f"{side}_log_probs"]) for side in SIDES}
        except (FileNotFoundError, SafetensorError, KeyError) as error:
            raise ValueError(
                f"teacher cache: no readable log-probs for {self._name(row)} ({self.path(row)}: "
                f"{type(error).__name__}); run TeacherCache.build on these pairs"
            ) from error
        # A file of another pair or k, or one with NaN, would train silently on the wrong teacher.
        for side, (ids, log_probs) in sides.items():
            if ids.shape != (len(row[f"{side}_ids"]), self.k):
                raise ValueError(
                    f"teacher cache: {self.path(row)} holds {len(ids)} tokens of {side}, "
                    f"{self._name(row)} has {len(row[f'{side}_ids'])}; delete it and build again"
                )
            self._check(row, log_probs)
        return sides

    def _name(self, row: dict) -> str:
        return f"the pair with prompt {self.tokenizer.decode(row['prompt_ids'])[-80:]!r}"

    def _check(self, row: dict, log_probs: torch.Tensor) -> None:
        if not torch.isfinite(log_probs).all():
            raise ValueError(
                f"teacher cache: log-probs of {self._name(row)} are not finite; check the teacher in "
                f"float32, then delete {self.path(row)} and build again"
            )


@dataclass
class CachedTeacherCollator(DataCollatorForPreference):
    """TRL's batch, with "teacher_ids" (N, K) and "teacher_log_probs" (N, K + 1) for its completion tokens."""

    cache: TeacherCache | None = None

    def torch_call(self, examples: list[dict]) -> dict:
        batch, held = super().torch_call(examples), [self.cache.read(row) for row in examples]
        # TRL's order: all chosen responses of the batch, then all rejected ones.
        parts = []
        for side in SIDES:
            for row, sides in zip(examples, held, strict=True):
                # The collator cuts to max_length; the rows of the teacher end at the same token.
                kept = (self.max_length or math.inf) - len(row["prompt_ids"])
                kept = max(0, min(len(row[f"{side}_ids"]), kept))
                parts.append([x[:kept] for x in sides[side]])
        batch["teacher_ids"], batch["teacher_log_probs"] = (
            torch.cat(column) for column in zip(*parts, strict=True)
        )
        return batch


def truncation(hidden_NH, weight_VH, teacher_hidden_NH, teacher_weight_VH, ks, divergence: Divergence):
    """Rows {"k", "tail", "exact", "kept", "gradient"}, means over the N tokens: mass of the teacher's tail,
    divergence without and with truncation (nats), and the norm of the error of the gradient in the student's
    hidden states over the norm of that gradient."""
    # Targets do not matter: only the second result, the divergence, is read.
    targets_N = torch.zeros(len(hidden_NH), dtype=torch.long, device=hidden_NH.device)
    hidden_NH, weight_VH = hidden_NH.detach().requires_grad_(), weight_VH.detach()

    def mean_and_gradient(function, *teacher):
        mean = function(hidden_NH, weight_VH, targets_N, *teacher, divergence)[1].mean()
        return mean.item(), torch.autograd.grad(mean, hidden_NH)[0]

    # The exact divergence once; every k is compared with it, and its gradient with the exact one.
    exact, gradient = mean_and_gradient(against_teacher, teacher_hidden_NH, teacher_weight_VH)
    rows = []
    for k in ks:
        ids, log_t = top_k(teacher_hidden_NH, teacher_weight_VH, k, divergence.temperature)
        kept, own = mean_and_gradient(against_top_k, ids.long(), log_t)
        tail = log_t[:, -1].exp().mean().item()
        error = ((own - gradient).norm() / gradient.norm()).item()
        rows.append({"k": k, "tail": tail, "exact": exact, "kept": kept, "gradient": error})
    return rows


def truncation_on(
    student, teacher, tokenizer, rows: Sequence[dict], ks, divergence: Divergence
) -> list[dict]:
    """`truncation` on the completions of some tokenized pairs; a padded teacher is cut to the student's
    vocabulary."""
    weight_VH = plain_head(student, "student").weight
    collate = DataCollatorForPreference(pad_token_id=tokenizer.pad_token_id)
    batch = {name: x.to(student.device) for name, x in collate.torch_call(list(rows)).items()}
    # No gradient to the models: `truncation` differentiates in the hidden states alone.
    with torch.no_grad():
        states, guided = (completion_states(model, batch) for model in (student, teacher))
    teacher_VH = plain_head(teacher, "teacher").weight[: len(weight_VH)]
    return truncation(states, weight_VH, guided, teacher_VH, [k for k in ks if k], divergence)
