"""Which checkpoints the page takes, how their weights are packed, and what is refused in one line."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import numpy as np
import play_outputs
import pytest
import tiny
import torch
from node import saved

from nbkit.cli.play import checkpoints
from nbkit.cli.play.checkpoints import PUBLISHED, Checkpoint
from nbkit.models.load import SHIPPED
from nbkit.run import closure, files, provenance

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def checkpoint(tmp_path) -> Checkpoint:
    return Checkpoint("mine", saved(tmp_path / "mine", tiny.model(), tiny.tokenizer()), "chat")


def changed(checkpoint: Checkpoint, name: str, change) -> None:
    """Change a JSON file of the checkpoint in place."""
    spec = files.read_json(checkpoint.folder / name)
    change(spec)
    files.write_json(checkpoint.folder / name, spec)


def test_labels_and_artifacts_are_those_of_07():
    cells = closure.code_cells(ROOT / "notebooks/07_eval.ipynb")
    scope: dict = {}
    exec(next(cell for cell in cells if cell.startswith("published = {")), scope)
    of_07 = {
        (label, stage, name) for stage, arms in scope["published"].values() for label, name in arms.items()
    }
    assert {row[:3] for row in PUBLISHED} <= of_07
    assert [row[3] for row in PUBLISHED] == [
        "base" if row[0].endswith("base") else "chat" for row in PUBLISHED
    ]


def test_finds_what_is_published_in_the_order_of_the_pipeline(outputs):
    with pytest.raises(ValueError, match="'smoke' has published no checkpoint.*nbkit run --profile smoke"):
        checkpoints.found(play_outputs.PROFILE)
    play_outputs.publish("06_rl", ["rl", "rl_stem"])
    play_outputs.publish("03_sft_cold_start", ["cold_start", "cold_start_vanilla"])
    play_outputs.publish("02_pretrain", ["student_fg"])
    (outputs / "smoke/02_pretrain/_SUCCESS").unlink()  # not finished
    there = checkpoints.found(play_outputs.PROFILE)
    assert [(c.label, c.form) for c in there] == [("cold start", "chat"), ("RL: + preference", "chat")]
    assert there[1].folder == provenance.run_dir("smoke", "06_rl") / "rl"


def test_weights_are_half_precision_in_the_order_told(checkpoint):
    counted = checkpoints.counts(checkpoint)
    values = np.frombuffer(base64.b64decode(checkpoints.weights(checkpoint)), "<f2")
    model = tiny.model()
    state = {name: value for name, value in model.state_dict().items() if name != "lm_head.weight"}  # tied
    assert dict(counted) == {name: value.numel() for name, value in state.items()}
    assert len(values) == sum(count for _, count in counted)
    at = 0
    for name, count in counted:
        assert (values[at : at + count] == state[name].half().numpy().ravel()).all(), name
        at += count


def test_what_half_precision_does_not_hold_is_refused(tmp_path):
    model = tiny.model()
    with torch.no_grad():
        model.model.norm.weight[0] = 1e5
    checkpoint = Checkpoint("mine", saved(tmp_path / "large", model, tiny.tokenizer()), "chat")
    with pytest.raises(ValueError, match="mine .*: model.norm.weight has values that half"):
        checkpoints.weights(checkpoint)


def test_the_shape_is_that_of_the_config(checkpoint):
    got = checkpoints.shape(checkpoint)
    assert (got["hidden"], got["layers"], got["heads"], got["kvHeads"]) == (32, 2, 4, 2)
    assert (got["width"], got["mlp"], got["context"], got["tied"]) == (8, 64, 256, True)
    assert (got["eps"], got["theta"], got["vocab"]) == (1e-5, 10000.0, len(tiny.tokenizer()))
    assert checkpoints.shape(Checkpoint("shipped", SHIPPED, "chat"))["theta"] == 100000.0


@pytest.mark.parametrize(
    ("key", "value", "told"),
    [
        ("model_type", "qwen3", "has model_type 'qwen3', the page takes 'llama' only"),
        ("hidden_act", "gelu", "has hidden_act 'gelu', the page takes 'silu' only"),
        ("attention_bias", True, "has attention_bias True, the page takes False only"),
        ("mlp_bias", True, "has mlp_bias True"),
        (
            "rope_parameters",
            {"rope_type": "linear", "factor": 2.0, "rope_theta": 1e4},
            "has rope_type 'linear', the page takes 'default' only",
        ),
    ],
)
def test_another_architecture_is_refused_in_one_line(checkpoint, key, value, told):
    changed(checkpoint, "config.json", lambda config: config.update({key: value}))
    with pytest.raises(ValueError) as error:
        checkpoints.shape(checkpoint)
    assert told in str(error.value)
    assert "mine" in str(error.value) and "without --play" in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda spec: spec.update(normalizer={"type": "NFC"}), "tokenizer.json, normalizer"),
        (lambda spec: spec.update(decoder={"type": "WordPiece"}), "tokenizer.json, decoder: 'WordPiece'"),
        (lambda spec: spec.update(pre_tokenizer=None), "tokenizer.json, pre_tokenizer"),
        (lambda spec: spec["pre_tokenizer"]["pretokenizers"].pop(0), "tokenizer.json, pre_tokenizer"),
        (lambda spec: spec["model"].update(type="Unigram"), "tokenizer.json, type: 'Unigram'"),
        (lambda spec: spec["model"].update(byte_fallback=True), "tokenizer.json, byte_fallback: True"),
        (lambda spec: spec["model"]["vocab"].pop("Ġ"), "bytes it lacks: \\['Ġ'\\]"),
        (lambda spec: spec["added_tokens"][4].update(lstrip=True), "take spaces"),
    ],
)
def test_another_tokenizer_is_refused(checkpoint, change, told):
    assert len(checkpoints.tokenizer_spec(checkpoint)["vocab"]) == len(tiny.tokenizer())
    changed(checkpoint, "tokenizer.json", change)
    with pytest.raises(ValueError, match=told):
        checkpoints.tokenizer_spec(checkpoint)


def test_weights_in_several_files_are_refused(checkpoint):
    (checkpoint.folder / "model.safetensors").rename(checkpoint.folder / "model-00001-of-00002.safetensors")
    with pytest.raises(ValueError, match="has weights .*model-00001-of-00002.*'model.safetensors' only"):
        checkpoints.counts(checkpoint)


def test_merges_of_an_older_file_are_pairs_too(checkpoint):
    before = checkpoints.tokenizer_spec(checkpoint)

    def as_text(spec: dict) -> None:
        spec["model"]["merges"] = [" ".join(pair) for pair in spec["model"]["merges"]]

    changed(checkpoint, "tokenizer.json", as_text)
    assert checkpoints.tokenizer_spec(checkpoint) == before
    assert json.loads(json.dumps(before)) == before


def test_too_large_weights_are_refused_with_their_size():
    checkpoints.check_size([[("a", 15_000_000)], [("b", 10_000_000), ("c", 5_000_000)]])  # 60 MB
    with pytest.raises(ValueError) as error:
        checkpoints.check_size([[("a", 135_000_000)], [("b", 135_000_000)]])
    assert "weights of 2 checkpoints take 540 MB in half precision" in str(error.value)
    assert "at most 60 MB" in str(error.value) and "small" in str(error.value)
    assert "\n" not in str(error.value)
