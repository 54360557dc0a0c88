"""What each stage computes with its parameters: parameters of the seven stages -> pieces of work.

    configs = {"02_pretrain": <Pretrain>, ...}          # nbkit.cli.planning.plan gives their values
    for piece in of_profile(configs)["02_pretrain"]: ...

Counts that depend on data not yet there (tokens of a conversation, pairs kept) are those of work.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from nbkit.cli.estimate.shapes import Shape, shape_of
from nbkit.cli.estimate.work import AROUND_DRAFTS, PAIRS_KEPT, Work, answers, packed
from nbkit.pretrain.fg_wsd import fg_wsd, planned_pools, report_budgets
from nbkit.pretrain.plan import total_tokens

LONG = 8192  # as nbkit.models.training.LONG, which imports torch: above it activations are computed again
SPLITS = 3  # of the embedded questions
ASKED = 96  # tokens that 02 lets a base model answer with
Configs = Mapping[str, Any]


def of_profile(configs: Configs) -> dict[str, list[Work]]:
    """Stage -> its pieces of work, for the stages that are given; 01 and 02 must be among them, since
    vocabulary and sizes come from there."""
    models = _models(configs)
    makers = {
        "01_data_mix": _filter,
        "02_pretrain": _pretrain,
        "03_sft_cold_start": _cold_start,
        "04_sft_overall": _overall,
        "05_dpd": _distil,
        "06_rl": _reinforce,
        "07_eval": _evaluate,
    }
    return {stage: makers[stage](configs, models) for stage in configs if stage in makers}


def _models(configs: Configs) -> dict[str, Shape | None]:
    """The models of a profile: student, baseline and teacher, and what 03 to 05 start from instead."""
    mix, pre = configs["01_data_mix"], configs["02_pretrain"]
    shipped = shape_of("shipped")
    vocab = mix.vocab_size if mix.vocabulary == "trained" or shipped is None else shipped.vocab

    def sized(prefix: str) -> Shape:
        size = (getattr(pre, prefix + name) for name in ("hidden", "layers", "heads", "kv_heads", "mlp"))
        return Shape(*size, vocab=vocab, tied=pre.tied_embeddings)

    found: dict[str, Shape | None] = {"student": sized(""), "baseline": sized("baseline_")}
    # A base model given by name takes the student's place from 03 on.
    named = {stage: getattr(configs[stage], name, "") for stage, name in _STUDENTS if stage in configs}
    found["tuned"] = shape_of(named["03_sft_cold_start"]) if named.get("03_sft_cold_start") else sized("")
    found["distilled"] = shape_of(named["05_dpd"]) if named.get("05_dpd") else found["tuned"]
    for stage in ("04_sft_overall", "05_dpd"):
        if stage in configs:
            given = configs[stage].teacher_model
            found[f"teacher of {stage}"] = sized("baseline_") if given == "trained" else shape_of(given)
    return found


_STUDENTS = (("03_sft_cold_start", "base_model"), ("05_dpd", "student_model"))


def _filter(configs: Configs, models: Mapping) -> list[Work]:
    """The raw corpus, read by 01, or by `nbkit filter` where 01 has a sample of it (`kept_share`). Without
    one it is 1/0.46 of what the filter keeps, as at `small` (undisclosed in the report)."""
    mix = configs["01_data_mix"]
    kept = report_budgets(mix.total_tokens, mix.hq_share)["filtered"]
    return [Work("raw corpus, filtered", "filter", None, kept / (mix.kept_share or 0.46), mix.seq_len)]


def _pretrain(configs: Configs, models: Mapping) -> list[Work]:
    """Every arm with the tokens of its plan, and the questions that each answers."""
    mix, pre = configs["01_data_mix"], configs["02_pretrain"]
    shares, held_out = (mix.hq_share, mix.synthetic_share), mix.validation_rows * mix.seq_len
    pools = planned_pools(mix.total_tokens, *shares, held_out)
    decay = mix.decay_seq_len
    plan = fg_wsd(mix.total_tokens, mix.step_tokens, pools, mix.seq_len, decay, mix.synthetic_share)
    whole, last = total_tokens(plan), plan[-1].total
    # Attention costs more in longer sequences: the mean length, weighted by tokens, counts for FLOPs.
    mean = round(sum(stage.total * stage.seq_len for stage in plan) / whole)
    tokens = {"student_fg": whole, "student_vanilla": whole, "baseline_10x": whole}
    tokens |= {"teacher": pre.teacher_tokens, "student_no_abf": last, "student_short": last}
    tokens = {arm: tokens[arm] for arm in tokens if arm in pre.arms or arm.startswith("student_fg")}
    tokens |= {f"vanilla_{times:g}x": whole * times for times in pre.vanilla_multiples}
    lengths = {"student_no_abf": decay, "teacher": mix.seq_len, "student_short": mix.seq_len}
    devices = pre.processes * pre.nodes
    row = (pre.micro_batch or max(1, pre.batch // devices)) * mix.seq_len
    work = []
    for arm, count in tokens.items():
        shape = models["baseline" if arm in ("baseline_10x", "teacher") else "student"]
        about = _options(pre) | {"sharding": pre.sharding, "devices": devices}
        about |= {"spread": True, "beside": True}
        steps = max(1, round(count / mix.step_tokens))
        about |= {"checkpoints": 2 if pre.save_every and pre.save_every < steps else 0}
        work.append(Work(arm, "train", shape, count, lengths.get(arm, mean), row, steps, **about))
    asked = len(tokens) * SPLITS * pre.eval_questions
    work.append(Work("questions", "generate", models["student"], answers(asked, ASKED), mix.seq_len))
    return work


def _options(cfg: Any) -> dict[str, Any]:
    """What a schema may say about memory."""
    return {
        "checkpointing": getattr(cfg, "activation_checkpointing", "none"),
        "chunked": getattr(cfg, "chunked_loss", False),
    }


def _recomputed(length: int) -> str:
    return "layers" if length > LONG else "none"


def _sft(name: str, shape: Shape | None, cfg: Any, count: float, epochs: float, alone: bool = True) -> Work:
    """A fine-tuning on `count` conversations, by the batch and row of `cfg`; `alone`: on one device, as all
    are but the arms of 03 to 05."""
    tokens, steps = packed(count, cfg.max_length, epochs, cfg.batch)
    devices = 1 if alone else cfg.processes * cfg.nodes
    row = max(1, cfg.batch // devices) * cfg.max_length
    # TRL's trainers make the logits in tiles, on a GPU.
    options = {"checkpointing": _recomputed(cfg.max_length), "chunked": True}
    options |= {"sharding": "ddp" if alone else cfg.sharding, "devices": devices}
    options |= {"spread": not alone, "beside": not alone}
    return Work(name, "train", shape, tokens, cfg.max_length, row, steps, **options)


def _cold_start(configs: Configs, models: Mapping) -> list[Work]:
    cfg = configs["03_sft_cold_start"]
    work = [_sft("cold_start", models["tuned"], cfg, cfg.samples, cfg.epochs, alone=False)]
    for other in [] if cfg.base_model else cfg.compare:
        shape = models["baseline" if other.endswith("10x") else "student"]
        name = f"cold_start_{other.rpartition('_')[2]}"
        work.append(_sft(name, shape, cfg, cfg.samples, cfg.epochs, alone=False))
    if cfg.curve:
        # Every point in every repeat, and the control, which takes the largest set's steps on the smallest.
        sizes = (sum(cfg.curve) + cfg.curve[-1]) * cfg.repeats
        work.append(_sft("scaling curve", models["tuned"], cfg, sizes, cfg.epochs))
    points = (len(cfg.curve) + 1) * cfg.repeats if cfg.curve else 0
    asked = cfg.eval_questions * (len(work) + 1 + points)
    work.append(_asked("questions", models["tuned"], asked, cfg))
    return work


def _asked(name: str, shape: Shape | None, count: float, cfg: Any) -> Work:
    return Work(name, "generate", shape, answers(count, cfg.max_new_tokens), cfg.max_new_tokens)


def _overall(configs: Configs, models: Mapping) -> list[Work]:
    cfg, work = configs["04_sft_overall"], []
    teacher, student = models["teacher of 04_sft_overall"], models["tuned"]
    if cfg.teacher_samples:
        # Drafting from two thirds, then all four roles: about 2.3 conversations a task.
        work.append(_sft("teacher's roles", teacher, cfg, 2.3 * cfg.teacher_samples, cfg.teacher_epochs))
    drafts = cfg.prompts * (cfg.candidates + 1)
    work.append(_asked("refinement", teacher, drafts * AROUND_DRAFTS, cfg))
    for arm in ("sft", *cfg.ablations):
        work.append(_sft(arm, student, cfg, cfg.prompts, cfg.epochs, alone=False))
    work.append(_asked("questions", student, cfg.eval_questions * (3 + len(cfg.ablations)), cfg))
    return work


def _distil(configs: Configs, models: Mapping) -> list[Work]:
    cfg = configs["05_dpd"]
    teacher, student = models["teacher of 05_dpd"], models["distilled"]
    work = [
        _asked("teacher's samples", teacher, cfg.prompts * cfg.teacher_draws, cfg),
        _asked("student's samples", student, cfg.prompts * cfg.samples, cfg),
    ]
    if cfg.teacher_lessons:
        work.append(_sft("teacher's lessons", teacher, cfg, cfg.teacher_lessons, 1.0))
    # Both responses of every pair that is kept; the teacher reads them in every step unless they are cached.
    pairs = cfg.prompts * PAIRS_KEPT
    tokens = 2 * answers(pairs, cfg.max_length) * cfg.epochs
    steps = max(1, round(pairs * cfg.epochs / cfg.batch))
    reading = teacher.flops_per_token(cfg.max_length) / 3 if teacher and not cfg.top_k else 0
    names = ["dpd", "sft_continued", *cfg.against]
    names += [f"w_neg={w:g}" for w in cfg.w_neg_grid] + [f"beta={b:g}" for b in cfg.beta_grid]
    for name in names:
        # Arms that sample anew stay on one device.
        alone = name.endswith("on_policy")
        devices = 1 if alone else cfg.processes * cfg.nodes
        extra = {
            "extra_flops": tokens * reading,
            "extra_bytes": 4 * teacher.parameters if teacher and not cfg.top_k else 0,
            "checkpointing": _recomputed(cfg.max_length),
            "chunked": True,
            "beside": True,
            "devices": devices,
            "spread": not alone,
            "sharding": cfg.sharding if devices > 1 else "ddp",
        }
        row = 2 * max(1, cfg.batch // devices) * cfg.max_length
        work.append(Work(name, "train", student, tokens, cfg.max_length, row, steps, **extra))
    work.append(_asked("questions", student, cfg.eval_questions * (2 + len(names)), cfg))
    return work


def _reinforce(configs: Configs, models: Mapping) -> list[Work]:
    cfg, policy = configs["06_rl"], models["distilled"]
    work = [_asked("pass rates", policy, 3 * cfg.pool * cfg.pass_samples, cfg)]
    for name in ("stem", "code", "preference"):
        steps = getattr(cfg, f"{name}_steps")
        each = cfg.prompts_per_step * cfg.group
        devices = cfg.processes * cfg.nodes  # they sample too
        work.append(replace(_asked(f"{name}: rollouts", policy, steps * each, cfg), devices=devices))
        trained = answers(steps * each, cfg.max_new_tokens)
        row = (cfg.completions_per_pass or each // devices) * cfg.max_new_tokens
        grpo = (f"{name}: GRPO", "train", policy, trained, cfg.max_new_tokens, row, steps)
        about = {"devices": devices, "sharding": cfg.sharding, "spread": cfg.engine == "trl"}
        work.append(Work(*grpo, checkpointing=_recomputed(cfg.max_new_tokens), chunked=True, **about))
    work.append(_sft("judge", policy, cfg, 2 * cfg.judge_pairs, cfg.judge_epochs))
    work.append(_asked("questions", policy, 4 * cfg.eval_questions, cfg))
    return work


def _evaluate(configs: Configs, models: Mapping) -> list[Work]:
    cfg = configs["07_eval"]
    checkpoints = sum({"02": 2, "03": 2, "04": 1, "05": 1, "06": 3}[stage] for stage in cfg.stages)
    splits = SPLITS if "embedded" in cfg.task_sets else 1
    asked = checkpoints * splits * cfg.questions * cfg.k
    return [_asked("questions", models["distilled"], asked, cfg)]
