"""Rules are checked on hand-written texts, the distilled model on documents it has not seen."""

import numpy as np
import pytest

from nbkit.filter import scorer as quality
from nbkit.tasks import world
from nbkit.text import ngrams

RELATIONAL = [dimension.name for dimension in quality.DIMENSIONS if dimension.relational]


@pytest.fixture(scope="module")
def sample():
    """Texts to fit on and others to test on, of the embedded world."""
    fit, test = ([doc["text"] for doc in world.corpus(300, seed)] for seed in (1, 2))
    return fit, [text for text in test if text not in set(fit)]


@pytest.fixture(scope="module")
def fitted(sample):
    return quality.Scorer().fit(sample[0], [quality.annotate(text) for text in sample[0]])


LEARNABLE = (
    "knowledge_density",
    "factual_specificity",
    "domain_terms",
    "reasoning_depth",
    "educational_value",
    "elaboration",
    "punctuation",
)


def test_distilled_model_agrees_on_unseen_texts(fitted, sample):
    annotations = [quality.annotate(text) for text in sample[1]]
    report = fitted.agreement(sample[1], annotations)
    assert tuple(report) == quality.NAMES
    for name in LEARNABLE:  # measured 0.84 to 0.95 on this sample
        assert report[name]["spearman"] > 0.75, name
        assert report[name]["mae"] < 1.2, name
    truth, guess = quality.as_matrix(annotations), fitted.predict(sample[1])
    column = quality.NAMES.index("elaboration")
    assert report["elaboration"]["mae"] == pytest.approx(np.abs(truth - guess)[:, column].mean())


def test_control_without_signal_there_is_no_agreement(sample):
    annotations = quality.as_matrix([quality.annotate(text) for text in sample[0]])
    mixed = np.random.default_rng(0).permutation(annotations)
    scorer = quality.Scorer().fit(sample[0], mixed)
    report = scorer.agreement(sample[1], [quality.annotate(text) for text in sample[1]])
    for name in LEARNABLE:
        assert abs(report[name]["spearman"]) < 0.35, name


def test_relational_columns_are_those_of_the_rules(fitted, sample):
    scores = fitted.predict(sample[1][:50])
    columns = [quality.NAMES.index(name) for name in RELATIONAL]
    by_rule = [[quality.annotate(text)[name] for name in RELATIONAL] for text in sample[1][:50]]
    assert np.array_equal(scores[:, columns], by_rule)
    assert {"calculation_consistency", "relevance"} <= set(RELATIONAL)


def test_predictions_are_bounded_batch_independent_and_deterministic(fitted, sample):
    texts = [*sample[1][:20], "", "x" * 3000, "漢字 \ud800"]
    scores = fitted.predict(texts)
    assert scores.shape == (23, 20) and scores.min() >= 0 and scores.max() <= 9
    assert np.array_equal(scores, np.concatenate([fitted.predict([text]) for text in texts]))
    assert np.array_equal(scores[::-1], fitted.predict(texts[::-1]))
    assert np.array_equal(scores, fitted.predict(texts, ngrams.word_ids(texts)))
    assert fitted.predict([]).shape == (0, 20)
    again = quality.Scorer().fit(sample[0], [quality.annotate(text) for text in sample[0]])
    assert np.array_equal(again.predict(texts), scores)


def test_annotations_as_rows_and_as_a_matrix_are_the_same(sample):
    rows = [quality.annotate(text) for text in sample[0][:5]]
    shuffled = [dict(reversed(row.items())) for row in rows]
    assert np.array_equal(quality.as_matrix(rows), quality.as_matrix(shuffled))
    assert np.array_equal(
        quality.as_matrix(rows), quality.as_matrix(np.array([[*row.values()] for row in rows]))
    )


def test_constant_dimension_has_no_correlation(fitted):
    report = fitted.agreement(["a b c"] * 3, np.full((3, 20), 4.0))
    assert report["elaboration"]["spearman"] is None


def test_saved_scorer_is_the_same(fitted, sample, tmp_path):
    path = tmp_path / "scorer.npz"
    fitted.save(path)
    again = quality.Scorer.load(path)
    assert np.array_equal(again.predict(sample[1][:20]), fitted.predict(sample[1][:20]))


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty", "text", "array", "absent", "no weights"])
def test_damaged_scorer_is_refused(fitted, tmp_path, damage):
    path = tmp_path / "scorer.npz"
    fitted.save(path)
    data = path.read_bytes()
    if damage == "cut":
        path.write_bytes(data[: len(data) // 2])
    elif damage == "flipped":
        middle = len(data) // 2
        path.write_bytes(data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :])
    elif damage == "array":
        with path.open("wb") as file:
            np.save(file, np.zeros(3))
    elif damage == "absent":
        path.unlink()
    elif damage == "no weights":
        np.savez(path, names=np.array(quality.NAMES))
    else:
        path.write_bytes({"empty": b"", "text": b"hello"}[damage])
    with pytest.raises(ValueError, match="scorer.npz is no complete saved Scorer"):
        quality.Scorer.load(path)


def test_scorer_refuses_bad_input(tmp_path):
    for use in (lambda s: s.predict(["a"]), lambda s: s.save(tmp_path / "x.npz")):
        with pytest.raises(ValueError, match="not fitted"):
            use(quality.Scorer())
    assert not list(tmp_path.iterdir())
    with pytest.raises(ValueError, match="2 texts, 1 annotations"):
        quality.Scorer().fit(["a", "b"], [quality.annotate("a")])
    with pytest.raises(ValueError, match="at least 2"):
        quality.Scorer().fit(["a"], [quality.annotate("a")])
    with pytest.raises(ValueError, match=r"lacks the dimensions \['coherence'\]"):
        quality.as_matrix([{name: 1 for name in quality.NAMES if name != "coherence"}])
    for bad in (10.0, -1.0, np.nan):
        with pytest.raises(ValueError, match="from 0 to 9"):
            quality.as_matrix(np.full((2, 20), bad))
    with pytest.raises(ValueError, match=r"shape \(2, 19\)"):
        quality.as_matrix(np.zeros((2, 19)))
    path = tmp_path / "other.npz"
    np.savez(path, weights=np.zeros((4, 20)), bias=np.zeros(20), names=np.array(quality.NAMES[::-1]))
    with pytest.raises(ValueError, match="other dimensions"):
        quality.Scorer.load(path)
