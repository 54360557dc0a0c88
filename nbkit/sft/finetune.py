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
from shutil import copytree
from typing import Any

import torch

from nbkit.models.load import load, save
from nbkit.models.side_by_side import together, workshop
from nbkit.run import files
from nbkit.run.stage import Run
from nbkit.sft import job
from nbkit.sft.sft import SFTSettings, finetuned

AMOUNTS, VALIDATION = "amounts.json", "validation.json"
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
        history, seconds = _note(name, out, asdict(result))
        _keep(run, name, out, (model, tokenizer), (history, seconds))

    return run.once(name, build, **_key(Arm(source, conversations, settings), held_out))


@dataclass(frozen=True)
class Arm:
    """One fine-tuning: the model at `source` learns `conversations` by `settings`."""

    source: str | Path
    conversations: Conversations
    settings: SFTSettings


def finetune_all(run: Run, arms: Mapping[str, Arm], held_out: Conversations = ()) -> dict[str, Path]:
    """Several fine-tunings, each as `finetune` makes it. On a CPU side by side, one thread each: small models
    gain nothing from more. What is being trained lies in the run's folder `training` until the notebook ends
    with `side_by_side.clean_up`: an interrupted notebook does not train a finished one again."""
    if torch.cuda.is_available():
        return {name: finetune(run, name, *vars(arm).values(), held_out) for name, arm in arms.items()}
    places = {name: workshop(run) / name for name in arms}

    def build(name: str, out: Path) -> None:
        # The first that is missing starts all; those which are finished are not trained again.
        longest_first = sorted(arms, key=lambda n: -_size(arms[n].source))  # none is left alone at the end
        jobs = {places[n]: job.job(places[n], *vars(arms[n]).values(), held_out) for n in longest_first}
        together("nbkit.sft.job", jobs)
        copytree(places[name] / job.MODEL, out, dirs_exist_ok=True)
        _, seconds = _note(name, out, files.read_json(places[name] / job.RESULT))
        run.timing(**{f"{name}_s": seconds})

    return {name: run.once(name, partial(build, name), **_key(arm, held_out)) for name, arm in arms.items()}


def _size(source: str | Path) -> int:
    """Bytes of a model's folder; 0 for a hub id."""
    return sum(path.stat().st_size for path in Path(source).glob("*.safetensors"))


def _key(arm: Arm, held_out: Conversations) -> dict:
    """What a fine-tuning is made from."""
    key = vars(arm) | {"source": str(arm.source), "settings": asdict(arm.settings)}
    return key | ({"held_out": held_out} if held_out else {})


def _note(name: str, out: Path, result: dict) -> tuple[list[dict], float]:
    """Write what an SFTResult holds into the artifact, but for history and seconds, which are returned: with
    seconds in it, equal seeds would not give equal bytes."""
    history, seconds = result.pop("history"), result.pop("seconds")
    files.write_json(out / VALIDATION, result.pop("validation"))
    files.write_json(out / AMOUNTS, result)
    print(f"{name}: {result['samples']} conversations, {result['dropped']} left out as too long")
    return history, seconds


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
    return files.read_json(path / AMOUNTS)


def validation_of(path: Path) -> list[dict]:
    """The loss on held-out conversations while a folder of `finetune` was trained: step, eval_loss."""
    return files.read_json(path / VALIDATION)
