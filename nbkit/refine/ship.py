"""Pack the teacher that profile `teacher` trains into the folder that comes with the kit (`make teacher`).

    python -m nbkit.refine.ship outputs/teacher/04_sft_overall nbkit/models/shipped

Weights in half precision, tokenizer, and a manifest: what it is, which command made it, how often it was
right on questions with unseen operands, and the sha256 of its weights.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from nbkit.models.load import load, parameters, record_tokenizer
from nbkit.run import files

WEIGHTS, MANIFEST = "model.safetensors", "manifest.json"
COMMAND = "make teacher"


def ship(stage: Path, out: Path) -> dict:
    """Pack the teacher that the finished stage folder of 04 holds, and return its manifest. Raises ValueError
    where that stage trained none."""
    if not (stage / "teacher_chat").is_dir():
        raise ValueError(
            f"{stage}: has no teacher_chat, so 04 trained no teacher there; run `nbkit run --profile teacher "
            "--only 01,02,03,04` first"
        )
    model, tokenizer = load(stage / "teacher_chat")
    accuracy = files.read_json(stage / "metrics.json")["results"]["teacher"]
    made_by = files.read_json(stage / "manifest.json")
    with files.atomic_dir(out) as temp:
        record_tokenizer(model, tokenizer)
        # half: half the size; it is loaded in float32 again
        model.to(torch.float16).save_pretrained(temp)
        tokenizer.save_pretrained(temp)
        manifest = {
            "parameters": parameters(model),
            "command": COMMAND,
            "git": made_by["git"],
            "packages": made_by["packages"],
            "accuracy": {"overall": accuracy["overall"], "by_domain": accuracy["by_domain"]},
            "sha256": files.sha256(temp / WEIGHTS),
        }
        files.write_json(temp / MANIFEST, manifest)
    return manifest


def main(argv: Sequence[str] | None = None) -> int:
    stage, out = map(Path, sys.argv[1:] if argv is None else argv)
    manifest = ship(stage, out)
    mean = manifest["accuracy"]["overall"]["mean"]
    print(f"{out}: {manifest['parameters']:,} parameters, {mean:.1%} of unseen operands right")
    return 0


if __name__ == "__main__":
    sys.exit(main())
