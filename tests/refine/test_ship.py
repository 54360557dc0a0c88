"""The teacher that comes with the kit: packed in half precision, read again in float32, its words true."""

import json

import pytest
import tiny
import torch

from nbkit.models.load import SHIPPED, load, parameters, save
from nbkit.refine import ship
from nbkit.run import files
from nbkit.text.tokenizer import tokenizer_digest

ACCURACY = {"overall": {"mean": 0.93, "low": 0.9, "high": 0.95, "n": 300}, "by_domain": {}}


@pytest.fixture
def stage(tmp_path):
    """What 04 leaves behind, in small."""
    save(tmp_path / "04" / "teacher_chat", tiny.model(), tiny.tokenizer())
    results = {"results": {"teacher": ACCURACY | {"texts": ["not copied"]}}}
    (tmp_path / "04" / "metrics.json").write_text(json.dumps(results))
    (tmp_path / "04" / "manifest.json").write_text(json.dumps({"git": {"commit": "abc"}, "packages": {}}))
    return tmp_path / "04"


def test_weights_are_halved_and_read_again_in_float32(stage, tmp_path, capsys):
    assert ship.main([str(stage), str(tmp_path / "shipped")]) == 0
    model, tokenizer = load(tmp_path / "shipped")
    before, _ = load(stage / "teacher_chat")
    assert model.dtype == torch.float32
    for name, weight in before.state_dict().items():
        torch.testing.assert_close(model.state_dict()[name], weight.half().float())
    sizes = [(p / ship.WEIGHTS).stat().st_size for p in (tmp_path / "shipped", stage / "teacher_chat")]
    assert sizes[0] < 0.6 * sizes[1]
    assert len(tokenizer) == len(tiny.tokenizer()) and "93.0%" in capsys.readouterr().out
    manifest = files.read_json(tmp_path / "shipped" / ship.MANIFEST)
    assert manifest["accuracy"] == ACCURACY and manifest["git"] == {"commit": "abc"}
    assert manifest["sha256"] == files.sha256(tmp_path / "shipped" / ship.WEIGHTS)
    assert model.config.tokenizer_sha256 == tokenizer_digest(tiny.tokenizer())


def test_a_stage_without_a_teacher_is_refused(tmp_path):
    with pytest.raises(ValueError, match="nbkit run --profile teacher"):
        ship.ship(tmp_path, tmp_path / "shipped")


def test_the_shipped_teacher_is_what_its_manifest_says():
    """Its weights, its size, and an accuracy worth the name."""
    manifest = files.read_json(SHIPPED / ship.MANIFEST)
    assert manifest["sha256"] == files.sha256(SHIPPED / ship.WEIGHTS)
    model, tokenizer = load("shipped")
    assert parameters(model) == manifest["parameters"] and 1e6 < manifest["parameters"] < 5e6
    assert sum(path.stat().st_size for path in SHIPPED.iterdir()) < 8 * 2**20
    assert manifest["accuracy"]["overall"]["low"] > 0.85
    assert model.get_input_embeddings().weight.shape[0] == len(tokenizer)
