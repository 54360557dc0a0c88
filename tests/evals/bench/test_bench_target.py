"""Models that read no text: another model's tokenizer, of a vocabulary of equal size, and damaged weights."""

import json
import logging

import pytest
import tiny
import torch

from nbkit.evals.bench import run
from nbkit.evals.bench.target import plain_text_loss
from nbkit.models.load import SHIPPED, TOKENIZER_KEY, load, save
from nbkit.run import files
from nbkit.text.tokenizer import train_tokenizer


class Permuted:
    """A tokenizer whose ids stand for other tokens."""

    def __init__(self, tokenizer, seed: int) -> None:
        self.tokenizer = tokenizer
        self.ids = torch.randperm(len(tokenizer), generator=torch.Generator().manual_seed(seed)).tolist()

    def encode(self, text: str) -> list[int]:
        return [self.ids[i] for i in self.tokenizer.encode(text)]


def test_a_trained_model_tells_its_tokenizer_from_permuted_ones():
    model, tokenizer = load("shipped")
    assert plain_text_loss(model.eval(), tokenizer) < 0.6
    assert min(plain_text_loss(model, Permuted(tokenizer, seed)) for seed in range(3)) > 1.2


def test_the_shipped_model_raises_no_doubt(caplog):
    made = run.Target("shipped")
    assert made.doubt == "" and not caplog.records


def test_a_tokenizer_of_equal_size_is_doubted_aloud_and_in_the_files(tmp_path, caplog):
    # As from elsewhere: without the record that our own models carry.
    model, own = load("shipped")
    other = train_tokenizer(
        [str(path.read_text()) for path in sorted((SHIPPED.parents[1] / "run").glob("*.py"))], 1024
    )
    assert len(other) == len(own) == model.config.vocab_size
    model.save_pretrained(tmp_path / "model")
    other.save_pretrained(tmp_path / "model")
    with caplog.at_level(logging.WARNING):
        made = run.Target(tmp_path / "model")
    assert made.text_loss > 1
    assert "its tokenizer is another model's, or it is untrained" in caplog.text
    row = {"key": 1, "prompt": "Hi.", "instruction_id_list": ["punctuation:no_comma"], "kwargs": [{}]}
    (tmp_path / "own.jsonl").write_text(json.dumps(row) + "\n")
    options = run.Options(data=str(tmp_path / "own.jsonl"), max_new_tokens=2)
    run.run_benchmark(made, "ifeval", options, tmp_path)
    found = files.read_json(tmp_path / "ifeval.json")
    assert (found["text_loss"], found["doubt"]) == (made.text_loss, made.doubt)
    assert "This model finds no ordinary text likelier than chance" in (tmp_path / "ifeval.html").read_text()
    # Our own models name their tokenizer: there it is no doubt but an error.
    config = files.read_json(tmp_path / "model/config.json")
    files.write_json(tmp_path / "model/config.json", config | {TOKENIZER_KEY: "0" * 64})
    with pytest.raises(ValueError, match="tokenizer: .* wanted the one that its model was trained with"):
        run.Target(tmp_path / "model")


def test_weights_without_numbers_are_refused(tmp_path):
    model = tiny.model()
    with torch.no_grad():
        model.model.norm.weight.fill_(float("nan"))
    save(tmp_path, model, tiny.tokenizer())
    with pytest.raises(ValueError, match="model: .* has a loss of nan on ordinary text, wanted a number"):
        run.Target(tmp_path)
