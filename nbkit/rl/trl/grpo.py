"""Group-relative policy optimisation on trl.GRPOTrainer, stage by stage (report, "multi-stage RL"). Used
by 06.

As in the report: no KL term, the loss of truncated completions masked, groups of 16. It is the engine "trl"
of 06, for GPUs; small models on a CPU have the plain loop (loop/train.py). The one seam is
`_generate_single_turn`, which hands the rollouts to nbkit's generator on a CPU; on a GPU TRL's own path is
used. Under a launcher each process has its part of a step's prompts (job.py), on a CPU with the completions
that one process would sample. Shape legend: P prompts, G completions per prompt, advantages are over G.
"""

import math
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from datasets import Dataset
from transformers import TrainerCallback
from trl import GRPOConfig, GRPOTrainer
from trl.import_utils import is_vllm_available

from nbkit.models.chat_ids import token_ids
from nbkit.models.distributed import sharding as split
from nbkit.models.engine import Generator, sample_seed
from nbkit.models.training import LONG, run_training, shared_arguments
from nbkit.rl.trl import dialogue
from nbkit.run.moved import once_separate
from nbkit.text.tokenizer import stop_ids


class FastRolloutTrainer(GRPOTrainer):
    """GRPOTrainer whose rollouts on the CPU come from `Generator` (in-place cache, one prefill per unique
    prompt). `spelled`: ids of prompts that TRL would encode otherwise (nbkit.models.chat_ids). `asked`: the
    step of the last rollouts, how many turns they had, and the prompts of the first."""

    spelled: Mapping[str, list[int]] = MappingProxyType({})
    asked: tuple[int, int, int] = (-1, 0, 0)

    def _generate_single_turn(
        self, prompt_ids, images, multimodal_fields, num_generations, has_tool_images=False
    ):
        # TRL's generation is left alone wherever it is fast: vLLM, or transformers on a GPU.
        if self.use_vllm or self.accelerator.device.type != "cpu":
            return super()._generate_single_turn(
                prompt_ids, images, multimodal_fields, num_generations, has_tool_images
            )
        model = self.accelerator.unwrap_model(self.model)
        # The generator is made once; between steps only the weights of the policy change.
        if not hasattr(self, "_rollouts"):
            self._rollouts = Generator(model, self.processing_class)
        self._rollouts.refresh(model)
        # Where tools are called, a step has several turns; the later ones go on with some of the prompts.
        step, turn, rows = self.asked
        again, step = self.state.global_step == step, self.state.global_step
        turn, rows = (turn + 1, rows) if again else (0, len(prompt_ids))
        self.asked = step, turn, rows
        # A prompt of a later process is numbered on: so many processes sample what one would.
        first = self.accelerator.process_index * rows
        sampled = self._rollouts.sample_ids(
            prompt_ids,  # each G times in a row; the generator reads equal prompts once
            1,
            self.max_completion_length,
            self.temperature,
            self.args.top_p or 1.0,
            # The step is part of the seed: equal prompts of different steps get different samples.
            sample_seed(self.args.seed, step, turn) if turn else sample_seed(self.args.seed, step),
            first,
        )
        # None: log-probabilities of the sampler, which TRL has from vLLM alone.
        return [group[0].ids for group in sampled], None

    def _tokenize_prompts(self, prompts: list):
        """As `grpo` encoded them, where a message spells a control token; as a conversation with tools."""
        if self.tools:
            return dialogue.prompt_ids(self.processing_class, prompts, self.tools), None, {}
        ids, *others = super()._tokenize_prompts(prompts)
        if not self.spelled:
            return ids, *others
        return [self.spelled.get(p, own) for p, own in zip(prompts, ids, strict=True)], *others

    def _get_tool_suffix_ids(self, tool_messages: list[dict]) -> list[int]:
        """What a program prints is text, whatever control token it spells."""
        return dialogue.suffix_ids(self.processing_class, tool_messages)

    def _calculate_rewards(self, *arguments):
        """Note the share of completions that got a reward. TRL leaves the others out of every mean."""
        rewards = super()._calculate_rewards(*arguments)
        # An infinite reward counts as none too: it would take over the mean of its group.
        rewards[~torch.isfinite(rewards)] = torch.nan
        # Over completions, not groups: `SkipUngraded` asks whether this step has any signal at all.
        self.graded = float((~torch.isnan(rewards).all(1)).float().mean())
        metrics = self._metrics["train" if self.model.training else "eval"]
        metrics["graded"].append(self.graded)
        # For the alarms: equal rewards everywhere teach nothing.
        known = rewards[~torch.isnan(rewards)]
        for name, value in (("reward_min", known.amin), ("reward_max", known.amax)):
            metrics[name].append(float(value()) if len(known) else 0.0)
        return rewards

    def log(self, logs: dict, *arguments, **options) -> None:
        """A step without any reward has no mean; 0 stands for it, marked by "graded": 0."""
        for metrics in self._metrics.values():
            for name, values in metrics.items():
                if name.startswith("reward") and values and all(map(math.isnan, values)):
                    metrics[name] = [0.0]
        super().log(logs, *arguments, **options)


class SkipUngraded(TrainerCallback):
    """A step whose completions all went without a reward changes nothing: its gradient is 0, but the
    optimizer's momentum would still move the weights."""

    def __init__(self, trainer: FastRolloutTrainer):
        self.trainer = trainer

    def on_pre_optimizer_step(self, args, state, control, model=None, **kwargs):
        if self.trainer.graded == 0:
            model.zero_grad(set_to_none=True)


@dataclass(frozen=True)
class GRPOSettings:
    """How `grpo` trains. `steps` of `prompts_per_step` prompts, each with a `group` of completions of up to
    `max_new_tokens` tokens. `lr`: peak learning rate, linear to 0. `updates`, `clip`, `advantage` and
    `normalise` as in the loop's settings, in TRL's words below."""

    steps: int
    prompts_per_step: int
    group: int
    lr: float
    max_new_tokens: int
    seed: int
    updates: int = 1
    clip: float = 0.2
    advantage: str = "mean"
    normalise: str = "constant"


@dataclass(frozen=True)
class TRLOptions:
    """What TRL alone can do. `sharding`: "ddp" or "fsdp2", see nbkit.models.distributed.sharding. `vllm`: who
    samples on GPUs, "none" (transformers), "colocate" (vLLM beside the training, in the same memory) or
    "server", one that `vllm serve` started at the address `vllm_server`. `tools`: functions that the policy
    may call (dialogue.py), in at most `tool_turns` turns of a completion. `completions_per_pass`: of an
    update, on each device; their gradients are accumulated. 0: all at once."""

    sharding: str = "ddp"
    vllm: str = "none"
    vllm_server: str = ""
    tools: tuple[Callable, ...] = ()
    tool_turns: int = 3
    completions_per_pass: int = 0


_SCALE = {"mean": "none", "std": "group"}
_LOSS = {"constant": "dr_grpo", "token": "dapo", "sequence": "grpo"}


def _sampler(options: TRLOptions, stops: Sequence[int]) -> dict[str, Any]:
    """`vllm` in TRL's words. Raises ValueError for an unknown one, and where it is not installed."""
    modes = ("none", "colocate", "server")
    if options.vllm not in modes or (options.vllm == "server") != bool(options.vllm_server):
        raise ValueError(
            f"vllm: got {options.vllm!r} with vllm_server={options.vllm_server!r}, wanted one of "
            f"{', '.join(modes)}, and an address such as http://localhost:8000 for server alone"
        )
    if options.vllm == "none":
        return {}
    if not is_vllm_available():
        raise ValueError(
            f"vllm: got {options.vllm!r}, but vllm is not installed here; "
            f"`{sys.executable} -m pip install vllm` on a machine with GPUs, or take vllm=none"
        )
    # Its own end of a turn is what the model's files say; a chat turn ends with <|im_end|>.
    how = {"use_vllm": True, "vllm_mode": options.vllm, "generation_kwargs": {"stop_token_ids": list(stops)}}
    return how | ({"vllm_server_base_url": options.vllm_server} if options.vllm_server else {})


def _arguments(settings: GRPOSettings, options: TRLOptions, stops: Sequence[int], out: Path) -> GRPOConfig:
    """The settings in TRL's words; `stops` end a turn. Raises ValueError for prompts that do not split over
    the processes."""
    split.check_sharding(options.sharding)
    prompts_here = split.split_batch(settings.prompts_per_step, "questions", "prompts_per_step")
    rows = prompts_here * settings.group  # groups stay whole
    if rows % (at_once := options.completions_per_pass or rows):
        raise ValueError(
            f"completions_per_pass: got {at_once}, but a step has {rows} completions on each device, wanted "
            "a divisor of that, or 0 for all at once"
        )
    recomputed = "layers" if settings.max_new_tokens > LONG else "none"
    # No KL term and truncated completions masked, as in the report ("multi-stage RL").
    arguments = GRPOConfig(
        # TRL counts optimizer steps.
        max_steps=settings.steps * settings.updates,
        num_iterations=settings.updates,
        epsilon=settings.clip,
        scale_rewards=_SCALE[settings.advantage],
        loss_type=_LOSS[settings.normalise],
        per_device_train_batch_size=at_once,
        gradient_accumulation_steps=rows // at_once,  # TRL samples for all passes of a step together
        num_generations=settings.group,
        max_completion_length=settings.max_new_tokens,
        learning_rate=settings.lr,
        lr_scheduler_type="linear",
        beta=0.0,
        mask_truncated_completions=True,
        temperature=1.0,
        logging_steps=1,
        max_tool_calling_iterations=options.tool_turns,
        **_sampler(options, stops),
        **({"activation_checkpointing": False} | split.sharding_arguments(options.sharding, recomputed)),
        **shared_arguments(out, settings.seed),
    )
    split.one_device_each(arguments)
    return arguments


@once_separate("settings", GRPOSettings)
def grpo(
    model,
    tokenizer,
    rows: Sequence[dict],
    reward: Callable,
    settings: GRPOSettings,
    *,
    out: Path,
    label: str = "rl",
    options: TRLOptions | None = None,
) -> tuple[list[dict], float]:
    """Train `model` in place on rows {"prompt": text, ...columns}; with tools a prompt is a list of messages.
    `reward(prompts, completions, **columns) -> list[float | None]`, None where the grader failed: such a
    completion counts in no mean.
    Returns (history, seconds); "graded" in the history is the share of completions with a reward. Where that
    is 0 the step was masked: no weight moved, and its "reward" of 0 says nothing. Under a launcher every
    process takes its part of the prompts of a step. Raises ValueError without rows, and for prompts that do
    not split over the processes."""
    if not rows:
        raise ValueError(
            "rows: no question is left for this stage; the pass-rate filter dropped all, "
            "widen the band or add prompts"
        )
    if settings.advantage not in _SCALE:
        raise ValueError(
            f"advantage: got {settings.advantage!r}, wanted one of {', '.join(_SCALE)} with engine trl; "
            "take engine loop for it"
        )
    # TRL tells finished from truncated by these ids; a chat turn ends with <|im_end|>, not with <eos>
    model.generation_config.eos_token_id = stops = stop_ids(tokenizer)
    options = options or TRLOptions()
    arguments = _arguments(settings, options, stops, out)
    with dialogue.parsing(tokenizer, bool(options.tools)):
        trainer = FastRolloutTrainer(
            model=model,
            args=arguments,
            train_dataset=Dataset.from_list(list(rows)),
            reward_funcs=reward,
            processing_class=tokenizer,
            tools=list(options.tools) or None,
        )
        split.check_trainer(trainer, options.sharding)
        # Prompts in which a message spells a control token, as ids: TRL would encode the token itself.
        prompts = [row["prompt"] for row in rows]
        trainer.spelled = {str(p): token_ids(tokenizer, p) for p in prompts if getattr(p, "cuts", ())}
        trainer.add_callback(SkipUngraded(trainer))
        return run_training(trainer, label, key="reward")
