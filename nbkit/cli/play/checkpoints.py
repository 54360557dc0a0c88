"""The checkpoints of a profile for the page: found, checked, packed in half precision. Used by page.py."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from transformers import LlamaConfig

from nbkit.run import files, provenance

MOST_BYTES = 60_000_000  # of weights in one page: a browser reads more only slowly, and phones give up
# As 07 calls them, in the order of the pipeline: label, stage, artifact, form.
PUBLISHED = (
    ("FG-WSD base", "02_pretrain", "student_fg", "base"),
    ("cold start", "03_sft_cold_start", "cold_start", "chat"),
    ("overall SFT", "04_sft_overall", "sft", "chat"),
    ("DPD", "05_dpd", "dpd", "chat"),
    ("RL: + preference", "06_rl", "rl", "chat"),
    ("10x baseline + SFT", "03_sft_cold_start", "cold_start_10x", "chat"),
)
# What decoder.js computes; everything else in a config.json must not change the result.
_COMPUTED = {"hidden_act": "silu", "attention_bias": False, "mlp_bias": False}
# The pre-tokenizer that train_tokenizer makes (nbkit/text/tokenizer.py), and what of a BPE is supported.
_SPLITS = [
    {"type": "Digits", "individual_digits": True},
    {"type": "ByteLevel", "add_prefix_space": False, "use_regex": True},
]
_BPE = {
    "type": "BPE",
    "dropout": None,
    "continuing_subword_prefix": None,
    "end_of_word_suffix": None,
    "byte_fallback": False,
    "ignore_merges": False,
}
_HINT = "`nbkit report` without --play writes the report alone"


@dataclass(frozen=True)
class Checkpoint:
    """A published model. `form`: "base" completes a document, "chat" answers a turn."""

    label: str
    folder: Path
    form: str


def found(profile: str) -> list[Checkpoint]:
    """What the profile has published of PUBLISHED. Raises ValueError when that is nothing."""
    there = []
    for label, stage, name, form in PUBLISHED:
        state, _, manifest = provenance.load_manifest(profile, stage)
        # A run may leave out some arms, and stages may be missing or of another format.
        if state == "complete" and name in manifest["outputs"]:
            there.append(Checkpoint(label, provenance.run_dir(profile, stage) / name, form))
    if not there:
        raise ValueError(
            f"--play: profile {profile!r} has published no checkpoint, wanted one at least; "
            f"`nbkit run --profile {profile}` makes them"
        )
    return there


def shape(checkpoint: Checkpoint) -> dict[str, Any]:
    """Sizes and constants of the model as decoder.js names them. Raises ValueError for another architecture
    than the Llama that nbkit trains."""
    raw = files.read_json(checkpoint.folder / "config.json")
    if raw.get("model_type") != "llama":
        raise _unsupported(checkpoint, "model_type", raw.get("model_type"), "llama")
    # Through the class, so that fields which an older file leaves out or names otherwise are filled in.
    config = LlamaConfig.from_pretrained(checkpoint.folder)
    for key, wanted in _COMPUTED.items():
        if (given := getattr(config, key)) != wanted:
            raise _unsupported(checkpoint, key, given, wanted)
    rope = config.rope_parameters
    if rope["rope_type"] != "default":
        raise _unsupported(checkpoint, "rope_type", rope["rope_type"], "default")
    return {
        "hidden": config.hidden_size,
        "layers": config.num_hidden_layers,
        "heads": config.num_attention_heads,
        "kvHeads": config.num_key_value_heads,
        "width": config.head_dim,
        "mlp": config.intermediate_size,
        "context": config.max_position_embeddings,
        "vocab": config.vocab_size,
        "eps": config.rms_norm_eps,
        "theta": rope["rope_theta"],
        "tied": config.tie_word_embeddings,
    }


def _unsupported(checkpoint: Checkpoint, key: str, given: Any, wanted: Any) -> ValueError:
    return ValueError(
        f"--play: {checkpoint.label} ({checkpoint.folder}) has {key} {given!r}, the page computes {wanted!r} "
        f"only; {_HINT}"
    )


def counts(checkpoint: Checkpoint) -> list[tuple[str, int]]:
    """(name, number of values) of each tensor, in the order of the file; no weight is read. Raises
    ValueError where they lie in another form than one model.safetensors."""
    path = checkpoint.folder / "model.safetensors"
    if not path.is_file():
        raise _unsupported(
            checkpoint, "weights", sorted(p.name for p in checkpoint.folder.iterdir()), path.name
        )
    with safe_open(path, "pt") as stored:
        shapes = {name: stored.get_slice(name).get_shape() for name in stored.keys()}  # noqa: SIM118 (no dict)
    return [(name, torch.Size(sizes).numel()) for name, sizes in shapes.items()]


def check_size(counted: Sequence[Sequence[tuple[str, int]]]) -> None:
    """Raises ValueError unless the weights of all checkpoints together fit a page, at two bytes each."""
    total = 2 * sum(count for tensors in counted for _, count in tensors)
    if total > MOST_BYTES:
        raise ValueError(
            f"--play: the weights of {len(counted)} checkpoints take {total / 1e6:,.0f} MB in half "
            f"precision, a page holds at most {MOST_BYTES / 1e6:.0f} MB; use a profile with smaller "
            "models, such as small, or ask these in Python (nbkit.models.engine.Generator)"
        )


def weights(checkpoint: Checkpoint) -> str:
    """All tensors one after another in the order of `counts`: float16, little endian, as base64. Raises
    ValueError where a value is beyond half precision."""
    halves = []
    with safe_open(checkpoint.folder / "model.safetensors", "pt") as stored:
        for name, _ in counts(checkpoint):
            half = stored.get_tensor(name).to(torch.float16)
            if not torch.isfinite(half).all():
                raise _unsupported(checkpoint, name, "values beyond 65,504", "what half precision holds")
            halves.append(half.numpy().astype("<f2").tobytes())
    return base64.b64encode(b"".join(halves)).decode("ascii")


def tokenizer_spec(checkpoint: Checkpoint) -> dict[str, Any]:
    """What decoder.js reads of tokenizer.json: the tokens by id, the merges, the added tokens. Raises
    ValueError for a tokenizer of another kind than nbkit trains."""
    spec = files.read_json(checkpoint.folder / "tokenizer.json")
    for key, given, wanted in _differing(spec):
        raise _unsupported(checkpoint, f"tokenizer.json, {key}:", given, wanted)
    by_id = {i: token for token, i in spec["model"]["vocab"].items()}
    by_id |= {token["id"]: token["content"] for token in spec["added_tokens"]}
    # Merges are pairs; older files write them as one text.
    merges = [m.split(" ") if isinstance(m, str) else m for m in spec["model"]["merges"]]
    added = [token["content"] for token in spec["added_tokens"]]
    return {"vocab": [by_id.get(i, "") for i in range(max(by_id) + 1)], "merges": merges, "added": added}


def _differing(spec: Mapping[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    """(key, given, wanted) of what in a tokenizer.json decoder.js would compute otherwise."""
    if spec["normalizer"] is not None:
        yield "normalizer", spec["normalizer"], None
    if spec["decoder"]["type"] != "ByteLevel":
        yield "decoder", spec["decoder"]["type"], "ByteLevel"
    # Several steps stand in a sequence, one may stand alone; options that change nothing are not compared.
    steps = (spec["pre_tokenizer"] or {}).get("pretokenizers", [spec["pre_tokenizer"]])
    kept = [{k: v for k, v in (step or {}).items() if k != "trim_offsets"} for step in steps]
    if kept != _SPLITS:
        yield "pre_tokenizer", json.dumps(kept), json.dumps(_SPLITS)
    for key, wanted in _BPE.items():
        if (given := spec["model"].get(key, wanted)) not in (wanted, wanted or ""):
            yield key, given, wanted
    if single := [
        t["content"] for t in spec["added_tokens"] if t["lstrip"] or t["rstrip"] or t["single_word"]
    ]:
        yield "added tokens that take spaces or words along", single, []
