"""One RL stage as notebook 06 runs it: filter, train, keep the best checkpoint; all that a figure needs is
kept beside the model.

    stage = RLStage("stem", questions, verified(jails), guard, settings, plan)
    path = run_stage(run, "rl_stem", origin, stage)    # the folder of a model
    about(path)["rates"]                               # avg@16 of each question of the filter

`engine`: "loop" (loop/train.py) or "trl" (trl/grpo.py: GPUs, several devices). TRL knows neither a stream of
questions nor a filter during training, and saves nothing on the way: it gets all questions of the stage at
once (`refilter` and `save_every` do nothing), its policy is looked at before and after, and alarms come after
it. Filter and looks stay in this process; what `on` starts on several devices is the training alone.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from nbkit.models.engine import Engine, Generator
from nbkit.models.side_by_side import workshop
from nbkit.rl.loop.alarms import Alarms
from nbkit.rl.loop.rollouts import Grade, pass_rates
from nbkit.rl.loop.train import LoopSettings, Trained, train
from nbkit.rl.questions import NothingInBand, Questions
from nbkit.rl.trl.plain import OnTRL, Reward
from nbkit.rl.watch import Exam, Watch, shown
from nbkit.run import files
from nbkit.run.stage import Run
from nbkit.sft.finetune import train_once
from nbkit.tasks.skills import Task

ABOUT = "stage.json"
ENGINES = ("loop", "trl")


@dataclass(frozen=True)
class Plan:
    """How a stage is filtered and watched. `pool` questions are answered `samples` times before it; the first
    `exam` of them are its score, answered `exam_samples` times every `look_every` steps."""

    pool: int
    samples: int
    exam: int
    exam_samples: int
    look_every: int


@dataclass(frozen=True)
class RLStage:
    """A stage: its questions, its reward, verifiable questions of all domains as its guard, and how it
    trains. `on`: where and how TRL runs; on several devices `reward` must be `grade` as plain data. Raises
    ValueError for an unknown `engine`, and where these do not go together."""

    name: str
    questions: Questions
    grade: Grade
    guard: Exam
    settings: LoopSettings
    plan: Plan
    engine: str = "loop"
    on: OnTRL = OnTRL()
    reward: Reward | None = None

    def __post_init__(self) -> None:
        if self.engine not in ENGINES:
            raise ValueError(f"engine: got {self.engine!r}, wanted one of {', '.join(ENGINES)}")
        if self.engine == "loop" and self.on != OnTRL():
            raise ValueError(
                f"engine: 'loop' trains in this process alone, got {self.on}; take engine trl for these"
            )
        if not self.on.devices.inline and self.reward is None:
            raise ValueError(
                "reward: got a function alone, which other processes cannot make again; give it as plain "
                "data too (nbkit.rl.trl.plain: Verified or Preferred), or take launcher inline"
            )


def run_stage(run: Run, name: str, source: str | Path, stage: RLStage, **key: Any) -> Path:
    """The policy at `source` after a stage: the artifact folder `name` of `run`, made again when the source,
    the parameters, or `key` change. A stage whose filter leaves nothing keeps its start and says why."""

    def build(model, tokenizer, out: Path) -> tuple[list[dict], float]:
        trained, found = trained_stage(model, tokenizer, stage, folder, source)
        files.write_json(out / ABOUT, files.plain(found))
        return trained.history, trained.seconds

    key = {"stage": stage.name, "settings": asdict(stage.settings), "plan": asdict(stage.plan), **key}
    # An interrupted stage is gone on from only where all is equal that its result depends on.
    folder = workshop(run) / f"{name}-{run.made_from(source=str(source), **key)[:12]}"
    path = train_once(run, name, source, build, **key)
    print(in_words(stage.name, about(path)))
    return path


def about(path: Path) -> dict:
    """What a stage left beside its model: rates, counts, filtered, watched, kept_step, alarms, skipped."""
    return files.read_json(path / ABOUT)


def trained_stage(
    model, tokenizer, stage: RLStage, folder: Path, source: str | Path = ""
) -> tuple[Trained, dict]:
    """Filter and train `model` in place; (what the loop says, what `about` holds). `source`: where it was
    loaded from, for other processes."""
    learner = Learner(model, tokenizer, folder, source)
    if not stage.on.tools:
        return _stage(learner, stage)
    from nbkit.rl.trl import job  # noqa: PLC0415 (TRL takes seconds to import)

    with job.asking(stage.on) as engine_of:
        return _stage(replace(learner, engine_of=engine_of), stage)


@dataclass(frozen=True)
class Learner:
    """The policy that a stage trains in place. `folder`: of the trainer's files; `source`: where the policy
    was loaded from, for other processes; `engine_of`: (model, tokenizer) -> what answers for it."""

    model: Any
    tokenizer: Any
    folder: Path
    source: str | Path
    engine_of: Callable[..., Engine] = Generator

    def engine(self) -> Engine:
        """The policy with its weights of now, as it is filtered and looked at."""
        return self.engine_of(self.model, self.tokenizer)


def _stage(learner: Learner, stage: RLStage) -> tuple[Trained, dict]:
    """`trained_stage` of a policy that may call tools."""
    policy, plan, settings = learner.engine(), stage.plan, stage.settings

    def rates_of(tasks: Sequence[Task]) -> np.ndarray:
        return pass_rates(policy, stage.grade, tasks, plan.samples, settings.max_new_tokens, settings.seed)

    # Before the stage: what can the policy do, and what is inside the band?
    try:
        tasks, rates = stage.questions.survey(plan.pool, rates_of)
    except NothingInBand as error:
        return Trained(), {"skipped": str(error), "rates": [], "counts": stage.questions.counts()}
    exam = tasks[: plan.exam]
    stage.questions.hold_back(exam)
    watch = Watch(
        Exam(exam, stage.grade, plan.exam_samples),
        stage.guard,
        plan.look_every,
        settings.max_new_tokens,
        settings.seed,
    )
    # The stage itself.
    if stage.engine == "trl":
        trained = _by_trl(learner, stage, watch)
    else:
        given = (learner.model, learner.tokenizer, stage.questions, stage.grade, settings)
        trained = train(*given, watch=watch, label=stage.name, folder=learner.folder)
    return trained, {
        "skipped": "",
        "rates": [float(rate) for rate in rates if np.isfinite(rate)],
        "counts": stage.questions.counts(),
        "filtered": stage.questions.filtered,
        "watched": shown(trained.watched),
        "kept_step": trained.kept_step,
        "alarms": trained.alarms,
    }


def _by_trl(learner: Learner, stage: RLStage, watch: Watch) -> Trained:
    """The stage on TRL: its questions are drawn beforehand, the policy is looked at before and after."""
    from nbkit.rl.trl import job  # noqa: PLC0415 (TRL takes seconds to import)

    settings, model, folder = stage.settings, learner.model, learner.folder
    # On the host: GPUs are for what trains.
    start = {name: value.detach().cpu().clone() for name, value in model.state_dict().items()}
    watched = [{"step": 0, **watch(learner.engine(), [])}]
    tasks = stage.questions.draw(settings.steps * settings.prompts_per_step)
    how = job.GRPOSettings(**{f.name: getattr(settings, f.name) for f in fields(job.GRPOSettings)})
    # In this process, or by the launcher from plain data.
    if stage.on.devices.inline:
        with job.options_of(stage.on) as options:
            about_it = {"out": folder, "label": stage.name, "options": options}
            history, seconds = job.trained(model, learner.tokenizer, tasks, stage.grade, how, **about_it)
    else:
        given = job.Launch(learner.source, stage.reward, stage.on)
        history, seconds = job.launched(model, given, tasks, how, folder=folder, label=stage.name)
    # What the loop's alarms say to its rows, step by step.
    rows_of, alarms = [_as_ours(row, step) for step, row in enumerate(history, 1)], Alarms()
    told = [f"step {row['step']}: {words}" for row in rows_of for words in alarms(row)]
    watched.append({"step": settings.steps, **watch(learner.engine(), watched)})
    # The better one of the two, as the loop would keep it.
    kept_step, (first, last) = settings.steps, watched
    if not last["eligible"] or last["score"] < first["score"]:
        model.load_state_dict(start)
        kept_step = 0
    return Trained(rows_of, watched, kept_step, told, seconds)


def _as_ours(row: Mapping[str, float], step: int) -> dict[str, float]:
    """A row of TRL's history under the names of the loop's. `step`: of rollouts; TRL counts updates."""
    names = {
        "length": "completions/mean_length",
        "cut": "completions/clipped_ratio",
        "entropy": "entropy",
        "reward": "reward",
        "reward_min": "reward_min",
        "reward_max": "reward_max",
        "held": "clip_ratio/region_mean",
        "gap": "sampling/sampling_logp_difference/mean",  # with vLLM only: else the trainer samples itself
        "loss": "loss",
        "lr": "learning_rate",
        "calls": "tools/call_frequency",  # of tools, per completion
    }
    ours = {name: row[theirs] for name, theirs in names.items() if theirs in row}
    ours = {"held": 0.0, "gap": 0.0, "entropy": 0.0, **ours, "step": step}
    return ours | {"signal": 1 - row.get("frac_reward_zero_std", 0.0), "graded": row.get("graded", 1.0)}


def in_words(name: str, found: Mapping) -> str:
    """One line about a stage: what was asked, what was kept."""
    if found["skipped"]:
        return f"{name}: SKIPPED, the policy is unchanged; {found['skipped']}"
    counts, watched = found["counts"], found["watched"]
    best = next(row for row in watched if row["step"] == found["kept_step"])
    text = (
        f"{name}: {counts['different']} different questions, {counts['repeats']} repeats, "
        f"{counts['kept']} of {counts['cells']} skill levels inside the band; score on held-back training "
        f"questions {watched[0]['score']:.3f} at the start, {watched[-1]['score']:.3f} at the end; "
    )
    text += (
        f"weights of step {found['kept_step']} ({best['score']:.3f})"
        if found["kept_step"]
        else "weights of its start, UNCHANGED"
    )
    text += f"; noted: {watched[-1]['note']}" if watched[-1].get("note") else ""
    return text + (f"; stopped: {watched[-1]['stop']}" if watched[-1]["stop"] else "")
