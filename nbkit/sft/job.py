"""One supervised fine-tuning as plain data and a process of its own: what `finetune_all` starts side by side,
or on several devices.

    python -m nbkit.sft.job FOLDER/job.json
    torchrun --nproc_per_node 8 -m nbkit.models.distributed.launch nbkit.sft.job FOLDER/job.json

Reads `conversations.json` beside the job, leaves `model/` and `result.json`.
"""

import os
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from nbkit.models.distributed.sharding import whole_state, world_size
from nbkit.models.load import save
from nbkit.models.side_by_side import MODEL, RESULT, identity
from nbkit.run import files, progress
from nbkit.sft.sft import SFTResult, SFTSettings, finetuned

CONVERSATIONS, AMOUNTS, VALIDATION = "conversations.json", "amounts.json", "validation.json"


def job(
    folder: Path, source: str | Path, conversations: Sequence, settings: SFTSettings, held_out: Sequence
) -> dict:
    """The job as plain data; its conversations are written to `folder`, and their hash stands in the job."""
    text = {"learned": list(conversations), "held_out": list(held_out)}
    folder.mkdir(parents=True, exist_ok=True)
    files.write_json(folder / CONVERSATIONS, text)
    about = {"source": str(source), "model": identity(source), "settings": asdict(settings)}
    return about | {"conversations": files.digest(text)}


def main(argv: Sequence[str]) -> None:
    path = Path(argv[0])
    wanted, text = files.read_json(path), files.read_json(path.parent / CONVERSATIONS)
    label, settings = path.parent.name, SFTSettings(**wanted["settings"])
    with progress.doing(label):
        options = {"out": path.parent / "trainer", "label": label, "held_out": text["held_out"]}
        options["sharding"] = wanted.get("sharding", "ddp")
        model, tokenizer, result = finetuned(wanted["source"], text["learned"], settings, **options)
        state = whole_state(model)  # every rank takes part; one of them saves
        if int(os.environ.get("RANK", 0)):
            return
        with files.atomic_dir(path.parent / MODEL) as temp:
            save(temp, model, tokenizer, result.history, state)
            note(temp, result)
    files.write_json(path.parent / RESULT, {"seconds": result.seconds, "world_size": world_size()})


def note(out: Path, result: SFTResult) -> None:
    """Write amounts and validation beside the model, but not the seconds: with them in it, equal seeds would
    not give equal bytes."""
    about = asdict(result)
    del about["history"], about["seconds"]
    files.write_json(out / VALIDATION, about.pop("validation"))
    files.write_json(out / AMOUNTS, about)


if __name__ == "__main__":
    main(sys.argv[1:])  # under `accelerate launch`
