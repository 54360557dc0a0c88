"""Load a model, train it, save it with its tokenizer and history, note the seconds: each arm of a notebook,
kept across runs. Used by 03-06.

    settings = SFTSettings(lr=0.002, batch=8, max_length=256, seed=0, epochs=2.0)
    path = finetune(run, "cold_start", base, conversations, settings)  # the folder of a model
    amounts_of(path)["dropped"]  # conversations left out as too long

`finetune` is supervised fine-tuning; `train_once` does the same around any training (DPD, GRPO).
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from nbkit.models.load import load, save
from nbkit.run import files
from nbkit.run.stage import Run
from nbkit.sft.sft import SFTResult, SFTSettings, sft, with_markers

AMOUNTS, VALIDATION = "amounts.json", "validation.json"
Conversations = Sequence[list[dict] | dict]  # in the forms of nbkit.sft.sft
# train(model, tokenizer, folder): trains the model in place, returns (history, seconds)
Training = Callable[[Any, Any, Path], tuple[list[dict], float]]


def finetuned(
    source: str | Path, conversations: Conversations, settings: SFTSettings, **options
) -> tuple[Any, Any, SFTResult]:
    """(model, tokenizer, result) of the model at `source` after fine-tuning; nothing is saved. The tokenizer
    has a chat template that marks the assistant's tokens. `options` (out, label, held_out) go to `sft`.
    Raises as `load` and `sft` do."""
    model, tokenizer = load(source)
    tokenizer = with_markers(tokenizer)
    return model, tokenizer, sft(model, tokenizer, conversations, settings, **options)


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
        model, tokenizer, result = finetuned(
            source, conversations, settings, out=out, label=name, held_out=held_out
        )
        amounts = asdict(result)
        files.write_json(out / VALIDATION, amounts.pop("validation"))
        # the history has a file of its own; with seconds in it, equal seeds would not give equal bytes
        history, seconds = amounts.pop("history"), amounts.pop("seconds")
        files.write_json(out / AMOUNTS, amounts)
        print(f"{name}: {result.samples} conversations, {result.dropped} left out as too long")
        _keep(run, name, out, (model, tokenizer), (history, seconds))

    # All of it goes into the hash: an equal call finds the folder, a changed one trains again.
    key = {"source": str(source), "conversations": conversations, "settings": asdict(settings)}
    key |= {"held_out": held_out} if held_out else {}
    return run.once(name, build, **key)


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
