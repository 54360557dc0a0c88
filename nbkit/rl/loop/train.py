"""GRPO without KL as a plain loop: sample, grade, update. Made for small models on a CPU, where it is several
times as fast as a trainer (benchmarks/rl/speed.py); grpo.py has the same on TRL, for GPUs. Used by 06.

    trained = train(model, tokenizer, questions, grade, LoopSettings(steps=30, ...), folder=out)
    trained.history  # a row per step: reward, share of groups with signal, length, entropy, gap, ...

Every step asks new questions. The learning rate falls linearly to 0. A step boundary holds everything that
decides the rest (weights, optimizer, questions asked, history), and every draw has a seed of its own made
from the step: a killed training that goes on from its last boundary ends with the very same weights.

Shape legend: P prompts of a step, G completions of each.
"""

import hashlib
import logging
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np
import torch

from nbkit.models.chat_ids import token_ids_of
from nbkit.models.engine import Completion, Engine, Generator, render, sample_seed
from nbkit.rl.loop import objective
from nbkit.rl.loop.alarms import Alarms, Limits, refuse_bad_start, refuse_leaks
from nbkit.rl.loop.rollouts import Grade, checked, pass_rate, summary
from nbkit.rl.loop.update import How, Replayed, Sequences, Updater
from nbkit.rl.replay import Replay
from nbkit.run import files, progress
from nbkit.tasks.skills import Task
from nbkit.tasks.world import prompt_of

STATE = "state.pt"


class Stream(Protocol):
    """Where questions come from: nbkit.rl.questions.Questions."""

    def draw(self, n: int) -> list[Task]: ...

    def told(self, tasks: Sequence[Task], rates: Sequence[float]) -> None: ...

    def state(self) -> dict: ...

    def restore(self, state: dict) -> None: ...


class Watch(Protocol):
    """What looks at the policy during training: nbkit.rl.watch.Watch. The row has "score" (the weights of the
    best one are kept), "eligible" (may be kept) and "stop" ("" or why to end)."""

    every: int

    def __call__(self, policy: Engine, before: Sequence[dict]) -> dict: ...


@dataclass(frozen=True)
class LoopSettings:
    """How `train` trains: `steps` of `prompts_per_step` prompts, each with a `group` of completions of up to
    `max_new_tokens` tokens at temperature 1. `lr`: peak learning rate, linear to 0. `updates`: optimizer
    steps on each batch, of which the later ones are clipped at `clip`. `advantage`, `normalise`: see
    objective.py. `save_every`: steps between two saves. `replay`: fine-tuning whose loss is added.
    Raises ValueError for numbers that make no training."""

    steps: int
    prompts_per_step: int
    group: int
    lr: float
    max_new_tokens: int
    seed: int = 0
    updates: int = 1
    clip: float = 0.2
    advantage: str = "mean"
    normalise: str = "constant"
    save_every: int = 5
    replay: Replay | None = None
    tokens_at_once: int = 16_384

    def __post_init__(self) -> None:
        counts = ("steps", "prompts_per_step", "max_new_tokens", "updates", "save_every")
        for name, low in {**dict.fromkeys(counts, 1), "group": 2}.items():
            if getattr(self, name) < low:
                raise ValueError(f"{name}: got {getattr(self, name)}, wanted {low} or more")
        # A name that is wrong is told now, not after the first rollouts.
        objective.advantages(np.zeros((1, 2)), self.advantage)
        objective.token_weights([1], 1, 1, self.normalise)


@dataclass
class Trained:
    """What `train` leaves beside the trained model: a row per step, a row per look of the watch, the step
    whose weights were kept, alarms as "step 3: ...", and the seconds, of all
    lives where it was resumed."""

    history: list[dict] = field(default_factory=list)
    watched: list[dict] = field(default_factory=list)
    kept_step: int = 0
    alarms: list[str] = field(default_factory=list)
    seconds: float = 0.0


def train(
    model,
    tokenizer,
    questions: Stream,
    grade: Grade,
    settings: LoopSettings,
    *,
    folder: Path | None = None,
    watch: Watch | None = None,
    label: str = "rl",
) -> Trained:
    """Train `model` in place; with a `watch` it ends with the weights of the best look. `folder`: where its
    state lies; one of the same training is gone on from. Raises RuntimeError where a reward fails (the last
    boundary stays in `folder`), GraderError where none comes for several steps, ValueError for a policy that
    cannot be trained."""
    refuse_bad_start(tokenizer)
    at_work = _AtWork(model, tokenizer, questions, settings, label)
    at_work.resume(folder)
    with progress.doing(label), progress.doing("step", settings.steps) as part:
        for step in range(at_work.step, settings.steps):
            part.at(step + 1)
            # The watch looks first: step 0 is the policy as it came.
            if watch and step % watch.every == 0:
                at_work.look(watch)
            if at_work.stopped:
                break
            at_work.train_step(grade, folder)
            if folder and (step + 1) % settings.save_every == 0:
                at_work.save(folder)
        if watch and not at_work.stopped:
            at_work.look(watch)
    at_work.finish()
    at_work.note_time()
    return at_work.trained


class _AtWork:
    """A training between two steps: all that its rest depends on."""

    def __init__(self, model, tokenizer, questions: Stream, settings: LoopSettings, label: str):
        self.model, self.tokenizer, self.questions = model.eval(), tokenizer, questions
        self.settings, self.label = settings, label
        how = {name: getattr(settings, name) for name in ("updates", "clip", "normalise", "tokens_at_once")}
        weight = settings.replay.weight if settings.replay else 0.0
        self.updater = Updater(model, How(longest=settings.max_new_tokens, replay_weight=weight, **how))
        self.sampler = Generator(model, tokenizer, logprobs=True)
        self.step, self.stopped, self.trained = 0, "", Trained()
        self.best: dict[str, torch.Tensor] = {}
        self.alarms = Alarms(Limits())
        self.since = time.perf_counter()
        # What tells this training from another one in the same folder, with the settings.
        self.origin = weights_digest(model)

    def train_step(self, grade: Grade, folder: Path | None) -> None:
        """Sample, grade, update; one more row of the history."""
        settings, before = self.settings, self.questions.state()
        tasks = self.questions.draw(settings.prompts_per_step)
        prompts, groups = self._rollouts(tasks)
        try:
            rewards_PG = checked(grade(tasks, groups), (len(tasks), settings.group))
        except Exception as error:
            # The boundary before this step is whole: its questions count as not yet asked.
            self.questions.restore(before)
            raise self._failed(error, folder) from error
        # Cut-off completions are masked as ungraded ones are: neither baseline nor loss.
        ended_PG = np.array([[c.stopped for c in group] for group in groups])
        advantages_PG = objective.advantages(np.where(ended_PG, rewards_PG, np.nan), settings.advantage)
        flat = [c for group in groups for c in group]
        data = Sequences(
            [ids for ids in prompts for _ in range(settings.group)],
            [c.ids for c in flat],
            [c.logprobs or [] for c in flat],
            advantages_PG.ravel(),
        )
        lr = objective.decayed(settings.lr, self.step, settings.steps)
        try:
            measured = self.updater.step(data, lr, self._replayed())
        except ValueError as error:
            raise ValueError(f"{self.label}, step {self.step + 1}: {error}") from error
        self.step += 1
        self._note({"step": self.step, "lr": lr, **summary(groups, rewards_PG, advantages_PG), **measured})
        # A group of G is a pass rate of its question: the filter learns from it at no cost.
        known = [p for p, row in enumerate(rewards_PG) if np.isfinite(row).any()]
        self.questions.told([tasks[p] for p in known], [pass_rate(rewards_PG[p]) for p in known])

    def _rollouts(self, tasks: Sequence[Task]) -> tuple[list[list[int]], list[list[Completion]]]:
        """(prompt ids, G completions of each) under the weights of now."""
        texts = [render(self.tokenizer, prompt_of(task)) for task in tasks]
        refuse_leaks(tasks, texts)
        ids, settings = token_ids_of(self.tokenizer, texts), self.settings
        self.sampler.refresh(self.model)
        seed = sample_seed(settings.seed, self.step)
        return ids, self.sampler.sample_ids(ids, settings.group, settings.max_new_tokens, 1.0, 1.0, seed)

    def _replayed(self) -> Replayed | None:
        return self.settings.replay.draw(self.tokenizer, self.step) if self.settings.replay else None

    def _failed(self, error: Exception, folder: Path | None) -> RuntimeError:
        kept = "nothing was kept (no folder)"
        if folder:
            self.save(folder)
            kept = (
                f"the checkpoint after step {self.step} is kept in {folder}, and the next run goes on from it"
            )
        return RuntimeError(
            f"{self.label}: the reward failed at step {self.step + 1} ({type(error).__name__}: {error}); "
            f"mend it and run again; {kept}"
        )

    def _note(self, row: dict) -> None:
        self.trained.history.append(row)
        progress.note(f"reward {row['reward']:.2f}")
        for alarm in self.alarms(row):
            self.trained.alarms.append(f"step {self.step}: {alarm}")
            logging.getLogger(__name__).info("%s, %s", self.label, self.trained.alarms[-1])

    def look(self, watch: Watch) -> None:
        """Let `watch` measure the policy; keep its weights where it is the best so far."""
        looked = self.trained.watched
        if looked and looked[-1]["step"] == self.step:  # a resumed training stands where it looked last
            return
        self.sampler.refresh(self.model)
        row = {"step": self.step, **watch(self.sampler, looked)}
        earlier = [r["score"] for r in looked if r["eligible"]]
        # Of equal scores the later: it has seen more.
        if row["eligible"] and row["score"] >= max(earlier, default=-np.inf):
            self.best = {name: value.detach().clone() for name, value in self.model.state_dict().items()}
            self.trained.kept_step = self.step
        looked.append(row)
        self.stopped = row["stop"]

    def note_time(self) -> None:
        """Add what has passed since the last call: the seconds of a resumed training add up."""
        now = time.perf_counter()
        self.trained.seconds, self.since = self.trained.seconds + now - self.since, now

    def finish(self) -> None:
        """End with the best weights, where something watched."""
        if self.best:
            self.model.load_state_dict(self.best)
        else:
            self.trained.kept_step = self.step

    def save(self, folder: Path) -> None:
        self.note_time()
        content = {
            "weights": self.model.state_dict(),
            "optimizer": self.updater.optimizer.state_dict(),
            "best": self.best,
            "plain": {
                "identity": self._identity(),
                "step": self.step,
                "stopped": self.stopped,
                "trained": asdict(self.trained),
                "questions": self.questions.state(),
            },
        }
        folder.mkdir(parents=True, exist_ok=True)
        with files.atomic_file(folder / STATE) as temp:
            torch.save(content, temp)

    def resume(self, folder: Path | None) -> None:
        """Go on from the state in `folder`, if it is one of this training."""
        path = folder / STATE if folder else None
        if path is None or not path.is_file():
            return
        content = torch.load(path, weights_only=True)
        plain = content["plain"]
        if plain["identity"] != self._identity():
            print(f"{self.label}: the checkpoint in {folder} is of another training; starting over")
            return
        self.model.load_state_dict(content["weights"])
        self.updater.optimizer.load_state_dict(content["optimizer"])
        self.best, self.step, self.stopped = content["best"], plain["step"], plain["stopped"]
        self.trained = Trained(**plain["trained"])
        self.questions.restore(plain["questions"])
        self.alarms.rows = list(self.trained.history)
        print(f"{self.label}: goes on after step {self.step} of {self.settings.steps}")

    def _identity(self) -> dict:
        # "layout": of the saved state; another one (a renamed field of Trained) is another number.
        found = {"settings": asdict(self.settings), "label": self.label, "model": self.origin, "layout": 2}
        return files.plain(found, "identity")


def weights_digest(model) -> str:
    """Hash of a model's weights."""
    found = hashlib.sha256()
    for value in model.state_dict().values():
        found.update(value.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes())
    return found.hexdigest()
