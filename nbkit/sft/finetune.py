"""Load a model, train it, save it with its tokenizer and history, note the seconds: each arm of a notebook,
kept across runs. Used by 03-06.

    settings = SFTSettings(lr=0.002, batch=8, max_length=256, seed=0, epochs=2.0)
    path = finetune(run, "cold_start", base, conversations, settings)  # the folder of a model
    amounts_of(path)["dropped"]  # conversations left out as too long

`finetune` is supervised fine-tuning; `train_once` does the same around any training (DPD, GRPO).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from nbkit.models.distributed.arms import one_by_one
from nbkit.models.distributed.sharding import Devices
from nbkit.models.load import load, save
from nbkit.models.side_by_side import side_by_side, small_enough, weight_bytes
from nbkit.run import files
from nbkit.run.stage import Run
from nbkit.sft import job
from nbkit.sft.sft import SFTSettings, finetuned

Conversations = Sequence[list[dict] | dict]  # in the forms of nbkit.sft.sft
# train(model, tokenizer, folder): trains the model in place, returns (history, seconds)
Training = Callable[[Any, Any, Path], tuple[list[dict], float]]


def finetune(
    run: Run,
    name: str,
    source: str | Path,
    conversations: Conversations,
    settings: SFTSettings,
    held_out: Conversations = (),
) -> Path:
    """The model at `source`, fine-tuned: the artifact folder `name` of `run`, with model, tokenizer, history,
    amounts and, for conversations that are `held_out`, the loss on them. Made again only when source,
    conversations or settings change (see Run.once)."""

    def build(out: Path) -> None:
        options = {"out": out, "label": name, "held_out": held_out}
        model, tokenizer, result = finetuned(source, conversations, settings, **options)
        job.note(out, result)
        _keep(run, name, out, (model, tokenizer), (result.history, result.seconds))

    path = run.once(name, build, **_key(Arm(source, conversations, settings), held_out))
    return _told(name, path)


@dataclass(frozen=True)
class Arm:
    """One fine-tuning: the model at `source` learns `conversations` by `settings`."""

    source: str | Path
    conversations: Conversations
    settings: SFTSettings


def finetune_all(
    run: Run, arms: Mapping[str, Arm], held_out: Conversations = (), devices: Devices | None = None
) -> dict[str, Path]:
    """Several fine-tunings, each as `finetune` makes it. Small models on a CPU are trained side by side, one
    thread each: they gain nothing from more. `devices`: each one after the other on all of these instead."""
    launched = devices is not None and not devices.inline
    if not launched and not small_enough(*(arm.source for arm in arms.values())):
        return {name: finetune(run, name, *vars(arm).values(), held_out) for name, arm in arms.items()}

    def write(name: str, folder: Path) -> dict:
        return job.job(folder, *vars(arms[name]).values(), held_out)

    # Side by side the longest first: none is left alone at the end.
    order = list(arms) if launched else sorted(arms, key=lambda name: -weight_bytes(arms[name].source))
    jobs = {name: (write, _key(arms[name], held_out)) for name in order}
    start = partial(one_by_one, devices=devices) if launched else side_by_side
    made = start(run, "nbkit.sft.job", jobs)
    return {name: _told(name, made[name]) for name in arms}


def _key(arm: Arm, held_out: Conversations) -> dict:
    """What a fine-tuning is made from."""
    key = vars(arm) | {"source": str(arm.source), "settings": asdict(arm.settings)}
    return key | ({"held_out": held_out} if held_out else {})


def _told(name: str, path: Path) -> Path:
    amounts = amounts_of(path)
    print(f"{name}: {amounts['samples']} conversations, {amounts['dropped']} left out as too long")
    return path


def train_once(run: Run, name: str, source: str | Path, train: Training, **key: Any) -> Path:
    """The model at `source` after `train`: the artifact folder `name` of `run`, with model, tokenizer and
    history. `key` is what the training depends on beside the source, the parameters and the inputs of the
    run: where one of them changes, it is made again (see Run.once)."""

    def build(out: Path) -> None:
        model, tokenizer = load(source)
        _keep(run, name, out, (model, tokenizer), train(model, tokenizer, out))

    return run.once(name, build, source=str(source), **key)


def _keep(run: Run, name: str, out: Path, made: tuple, trained: tuple[list[dict], float]) -> None:
    """Save what was trained; the seconds go to the manifest."""
    history, seconds = trained
    save(out, *made, history)
    run.timing(**{f"{name}_s": seconds})


def amounts_of(path: Path) -> dict[str, int]:
    """What a folder of `finetune` was made from: samples, dropped (longer than a row), tokens, learned (those
    that carry loss)."""
    return files.read_json(path / job.AMOUNTS)


def validation_of(path: Path) -> list[dict]:
    """The loss on held-out conversations while a folder of `finetune` was trained: step, eval_loss."""
    return files.read_json(path / job.VALIDATION)
