"""A model names its tokenizer by a digest in its config, and is not loaded with another one."""

import json
import shutil

import pytest
import tiny
from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerFast

from nbkit.models.load import TOKENIZER_KEY, load, save
from nbkit.run import files
from nbkit.tasks import world
from nbkit.text.tokenizer import tokenizer_digest, train_tokenizer


def rebuilt(change):
    """The tiny tokenizer after a change of its JSON."""
    spec = json.loads(tiny.tokenizer().backend_tokenizer.to_str())
    change(spec)
    return PreTrainedTokenizerFast(tokenizer_object=Tokenizer.from_str(json.dumps(spec)))


def swapped(spec):
    """Two tokens trade their ids."""
    vocab = spec["model"]["vocab"]
    vocab["a"], vocab["b"] = vocab["b"], vocab["a"]


def unmerged(spec):
    """The same vocabulary, but most of it is never reached."""
    spec["model"]["merges"] = spec["model"]["merges"][:3]


def test_the_digest_is_of_vocabulary_and_cutting():
    tokenizer = tiny.tokenizer()
    known = tokenizer_digest(tokenizer)
    assert known == tokenizer_digest(rebuilt(lambda spec: None))
    other = rebuilt(swapped)
    assert len(other) == len(tokenizer)
    assert tokenizer_digest(other) != known
    cut = rebuilt(unmerged)
    assert cut.get_vocab() == tokenizer.get_vocab()
    assert tokenizer_digest(cut) != known


def test_the_digest_is_of_nothing_else():
    tokenizer = rebuilt(lambda spec: None)
    known = tokenizer_digest(tokenizer)
    tokenizer.chat_template = "{{ messages }}"
    tokenizer.pad_token = "<eos>"
    tokenizer(["a", "a b c"], padding=True, truncation=True, max_length=2)
    assert tokenizer_digest(tokenizer) == known


@pytest.fixture
def saved(tmp_path):
    save(tmp_path / "mine", tiny.model(), tiny.tokenizer())
    return tmp_path / "mine"


def test_a_saved_model_names_its_tokenizer(saved):
    assert files.read_json(saved / "config.json")[TOKENIZER_KEY] == tokenizer_digest(tiny.tokenizer())
    model, tokenizer = load(saved)
    assert getattr(model.config, TOKENIZER_KEY) == tokenizer_digest(tokenizer)


def test_another_tokenizer_of_equal_size_is_refused(saved, tmp_path):
    other = train_tokenizer([d["text"] for d in world.corpus(200, seed=7)], 320)
    assert len(other) == len(tiny.tokenizer())
    other.save_pretrained(tmp_path / "other")
    shutil.copy(tmp_path / "other/tokenizer.json", saved)
    found, wanted = tokenizer_digest(other)[:12], tokenizer_digest(tiny.tokenizer())[:12]
    told = (
        f"tokenizer: {saved} has one with digest {found}, wanted the one that its model was trained with, "
        f"{wanted}; copy that one's files .* remove 'tokenizer_sha256' from its config.json"
    )
    with pytest.raises(ValueError, match=told):
        load(saved)
    # Saved anew with it, the model names this one.
    config = files.read_json(saved / "config.json")
    del config[TOKENIZER_KEY]
    files.write_json(saved / "config.json", config)
    save(saved, *load(saved))
    assert files.read_json(saved / "config.json")[TOKENIZER_KEY] == tokenizer_digest(other)


def test_models_without_a_record_are_loaded(saved, tmp_path):
    model = tiny.model()
    model.save_pretrained(tmp_path / "theirs")
    rebuilt(swapped).save_pretrained(tmp_path / "theirs")
    assert TOKENIZER_KEY not in files.read_json(tmp_path / "theirs/config.json")
    assert load(tmp_path / "theirs")[1].get_vocab() == rebuilt(swapped).get_vocab()


def test_a_folder_that_is_not_there_is_no_hub_id(tmp_path):
    for name in ("outputs/smoke/05_dpd/dpd", str(tmp_path / "none"), "./none"):
        with pytest.raises(
            ValueError, match="could not load .*there is no such folder; a stage publishes its models"
        ):
            load(name)
