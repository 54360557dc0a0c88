"""Several distillations from the same pairs, each kept as an artifact; on a CPU side by side. Used by 05.

    arms = {"dpd": DPDSettings(...), "dpo": DPDSettings(...)}
    trained = distil_all(run, Source("outputs/small/04_sft_overall/sft", "shipped"), pairs, arms)

    python -m nbkit.dpd.job FOLDER/job.json

is one of them as a process of its own (by nbkit.models.distributed.launch: as several). It reads `pairs.json`
beside the job and leaves `model/` and `result.json`.
"""

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache, partial
from pathlib import Path

from nbkit.dpd.teacher_cache import TeacherCache
from nbkit.dpd.tiles import Divergence
from nbkit.dpd.trainer import DPDSettings, Weights, dpd
from nbkit.models.distributed.arms import one_by_one
from nbkit.models.distributed.sharding import Devices, whole_state, world_size
from nbkit.models.load import load, save
from nbkit.models.side_by_side import MODEL, RESULT, identity, side_by_side, small_enough
from nbkit.run import files, progress
from nbkit.run.stage import Run
from nbkit.sft.finetune import train_once
from nbkit.sft.sft import with_markers

PAIRS = "pairs.json"


@dataclass(frozen=True)
class Source:
    """The models of a distillation, as `models.load.load` reads them. `cache`: folder of a TeacherCache, read
    in place of the teacher's weights."""

    student: str | Path
    teacher: str | Path
    cache: str | Path = ""


def distil_all(
    run: Run,
    source: Source,
    pairs: Sequence[dict],
    arms: Mapping[str, DPDSettings],
    *,
    devices: Devices | None = None,
    **key,
) -> dict[str, Path]:
    """Arm -> the folder of the student after `nbkit.dpd.trainer.dpd` by its settings, made once. `key`: what
    identifies the teacher beside its name (see Run.once). Small models on a CPU are trained side by side, one
    thread each. `devices`: each arm after the other on all of these instead, the teacher whole on every one.
    Raises as `dpd` does, or RuntimeError with the end of a process's log."""
    keys = {name: {"settings": asdict(settings), "pairs": pairs, **key} for name, settings in arms.items()}
    launched = devices is not None and not devices.inline
    if not launched and not small_enough(source.student, *([] if source.cache else [source.teacher])):
        teacher = cache(partial(load, source.teacher))  # once for all arms, and not where all are kept
        return {
            name: train_once(
                run, name, source.student, _in_place(source, pairs, own, name, teacher), **keys[name]
            )
            for name, own in arms.items()
        }

    def job(name: str, folder: Path) -> dict:
        folder.mkdir(parents=True, exist_ok=True)
        files.write_json(folder / PAIRS, list(pairs))
        told = {part: str(path) for part, path in asdict(source).items()}
        told |= {"models": [identity(source.student), identity(source.teacher)]}
        return told | {"settings": asdict(arms[name]), "pairs": files.digest(list(pairs)), **key}

    start = partial(one_by_one, devices=devices) if launched else side_by_side
    return start(run, "nbkit.dpd.job", {name: (job, keys[name]) for name in arms})


def _in_place(
    source: Source, pairs: Sequence[dict], settings: DPDSettings, label: str, teacher: Callable, **options
):
    """What `train_once` calls; `teacher()` loads the teacher with its tokenizer. `options` of `dpd`."""

    def train(model, tokenizer, out: Path) -> tuple[list[dict], float]:
        tokenizer = with_markers(tokenizer)  # one chat form for all models of a run
        if source.cache:
            guide, proof = TeacherCache.open(Path(source.cache), tokenizer), None
        else:
            guide, proof = teacher()
        own = {"out": out, "label": label, "teacher_tokenizer": proof, **options}
        return dpd(model, tokenizer, guide, pairs, settings, **own)

    return train


def main(argv: Sequence[str]) -> None:
    path = Path(argv[0])
    told, pairs, label = files.read_json(path), files.read_json(path.parent / PAIRS), path.parent.name
    source = Source(told["student"], told["teacher"], told["cache"])
    own = told["settings"]
    own |= {"weights": Weights(*own["weights"]), "divergence": Divergence(**own["divergence"])}
    own["negative"] = own["negative"] and Divergence(**own["negative"])
    with progress.doing(label):
        model, tokenizer = load(source.student)
        teacher, sharding = partial(load, source.teacher), told.get("sharding", "ddp")
        train = _in_place(source, pairs, DPDSettings(**own), label, teacher, sharding=sharding)
        history, seconds = train(model, tokenizer, path.parent / "trainer")
        state = whole_state(model)  # every rank takes part; one of them saves
        if int(os.environ.get("RANK", 0)):
            return
        with files.atomic_dir(path.parent / MODEL) as temp:
            save(temp, model, tokenizer, history, state)
    files.write_json(path.parent / RESULT, {"seconds": seconds, "world_size": world_size()})


if __name__ == "__main__":
    main(sys.argv[1:])
