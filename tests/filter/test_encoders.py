"""Retrieval by a sentence-transformers model."""

import numpy as np
import pytest
from test_retrieval import REFERENCE, SEEDS

from nbkit.filter.retrieval import HybridIndex
from nbkit.text.characters import printable

NEAR = "What is the sum of 4 and 5? Solution: 4 + 5 = 9, count on from the first number."
FAR = "omg my cat woke me up lol and the bus was late again honestly"


@pytest.fixture(scope="module")
def static_model(tmp_path_factory):
    """A sentence-transformers folder with random word vectors, made without a network."""
    pytest.importorskip("sentence_transformers")
    from sentence_transformers import SentenceTransformer  # noqa: PLC0415 (an optional package)
    from sentence_transformers.models import StaticEmbedding  # noqa: PLC0415 (an optional package)
    from tokenizers import Tokenizer, models, pre_tokenizers  # noqa: PLC0415 (an optional package)

    words = sorted({word.lower() for text in [*SEEDS, *REFERENCE, NEAR] for word in text.split()})
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(["[UNK]", *words])}, "[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    weights = np.random.default_rng(0).normal(size=(len(words) + 1, 16)).astype(np.float32)
    folder = tmp_path_factory.mktemp("models") / "static"
    embedding = StaticEmbedding(tokenizer, embedding_weights=weights)
    SentenceTransformer(modules=[embedding], device="cpu").save(str(folder))
    return str(folder), {word: weights[i + 1] for i, word in enumerate(words)}, weights[0]


@pytest.mark.slow
def test_a_sentence_transformers_folder(static_model, tmp_path):
    folder, vectors, unknown = static_model

    def mean(text: str) -> np.ndarray:
        own = np.mean([vectors.get(word, unknown) for word in text.split()], axis=0)
        return own / np.linalg.norm(own)

    index = HybridIndex(SEEDS, REFERENCE, encoder=folder)
    seeds_MK = np.stack([mean(seed) for seed in SEEDS])
    for text in (NEAR, FAR):
        expected = max(np.mean(np.sort(seeds_MK @ mean(text))[-3:]), 0)
        assert index.signals([text])[1][0] == pytest.approx(expected, abs=1e-5)
    assert index.similarity([""])[0] == 0
    broken = [f"{NEAR} \ud800", f"\udfff {FAR}"]  # half a surrogate pair, which no tokenizer can hold
    assert np.array_equal(index.signals(broken)[1], index.signals([printable(x) for x in broken])[1])
    index.save(tmp_path / "index")
    texts = [NEAR, FAR, *SEEDS]
    assert np.array_equal(HybridIndex.load(tmp_path / "index").similarity(texts), index.similarity(texts))


@pytest.mark.slow
def test_a_model_that_is_not_there():
    with pytest.raises(ValueError, match="no such folder"):
        HybridIndex(SEEDS, REFERENCE, encoder="/no/such/model")


def test_without_sentence_transformers(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "sentence_transformers", None)
    with pytest.raises(ValueError, match="pip install sentence-transformers"):
        HybridIndex(SEEDS, REFERENCE, encoder="some/model")
