"""Agreement with labels: planted rules are found, nothing is found in noise, and no test row is fitted on."""

import random

import numpy as np
import pytest
from scipy import stats

from nbkit.filter import agreement
from nbkit.filter.agreement import CONTENT, FORMAT, annotated_pairs, distilled, pair_hits, tier_agreement
from nbkit.filter.document_filter import Combination
from nbkit.filter.labels import MEASURED_ONLY
from nbkit.filter.rules.dimensions import annotate
from nbkit.filter.scorer import NAMES, Scorer

WORDS = [
    *("river", "stone", "winter", "garden", "letter", "music"),
    *("window", "market", "silver", "forest", "doctor", "bridge"),
]
WAYS = {"0-9", "binary label", "binary decision", "content", "format", "equal weights", "length"}


def sentence(rng: random.Random, words: list[str] = WORDS, n: int = 8) -> str:
    return " ".join(rng.choices(words, k=n)).capitalize() + "."


def test_the_two_groups_are_the_twenty_dimensions():
    assert sorted([*CONTENT, *FORMAT]) == list(range(20)) and len(CONTENT) == 12
    assert "casing" in [NAMES[q] for q in FORMAT] and "coherence" in [NAMES[q] for q in CONTENT]


def test_binary_by_hand():
    assert agreement.binary(np.array([[0, 4, 5, 9], [4.99, 1, 5.01, 8]])).tolist() == [[0, 0, 9, 9]] * 2


@pytest.mark.parametrize("n", [5, 23, 100])
def test_folds_are_balanced_and_seeded(n):
    fold_D = agreement.document_folds(n)
    sizes = np.bincount(fold_D, minlength=5)
    assert len(fold_D) == n and sizes.max() - sizes.min() <= 1
    assert np.array_equal(fold_D, agreement.document_folds(n))
    assert n == 5 or not np.array_equal(fold_D, agreement.document_folds(n, seed=1))


@pytest.fixture(scope="module")
def annotated():
    rng = random.Random(0)
    texts = [" ".join(sentence(rng) for _ in range(1 + i % 5)) for i in range(40)]
    return texts, np.random.default_rng(0).integers(0, 10, (40, 20)).astype(float)


def test_no_annotation_decides_its_own_score(annotated):
    texts, marks_DQ = annotated
    fold_D = agreement.document_folds(40, folds=4)
    before_DQ = distilled(texts, marks_DQ, fold_D)
    changed_DQ = np.where(fold_D[:, None] == 2, 9 - marks_DQ, marks_DQ)
    after_DQ = distilled(texts, changed_DQ, fold_D)
    assert np.array_equal(after_DQ[fold_D == 2], before_DQ[fold_D == 2])
    assert not np.array_equal(after_DQ[fold_D == 1], before_DQ[fold_D == 1])
    others = np.flatnonzero(fold_D != 2)
    scorer = Scorer().fit([texts[i] for i in others], marks_DQ[others])
    assert np.array_equal(scorer.predict(texts)[fold_D == 2], before_DQ[fold_D == 2])


def test_rows_that_may_not_be_fitted_on_decide_nothing(annotated):
    texts, marks_DQ = annotated
    fold_D, may_D = agreement.document_folds(40, folds=2), np.arange(40) < 30
    before_DQ = distilled(texts, marks_DQ, fold_D, may_D)
    changed_DQ = np.where(may_D[:, None], marks_DQ, 0)
    assert np.array_equal(distilled(texts, changed_DQ, fold_D, may_D), before_DQ)
    assert before_DQ[~may_D].any(), "but they are scored"


def test_spearman_is_scipys_and_the_interval_narrows_with_n():
    rng = np.random.default_rng(0)
    x = rng.normal(size=400)
    y = x + rng.normal(size=400)
    few, many = agreement.spearman(x[:40], y[:40]), agreement.spearman(x, y)
    assert (many.mean, many.n) == (pytest.approx(stats.spearmanr(x, y).statistic), 400)
    assert few.low < few.mean < few.high and many.high - many.low < 0.6 * (few.high - few.low)
    assert agreement.spearman(x, y) == many
    assert agreement.spearman(np.exp(x), y) == many, "ranks alone count"
    noise = agreement.spearman(x, rng.normal(size=400))
    assert noise.low < 0 < noise.high
    exact = agreement.spearman(x, 2 * x)
    assert exact.mean == pytest.approx(1) and exact.low == pytest.approx(1)


@pytest.mark.slow
def test_spearman_coverage_is_about_95_percent(monkeypatch):
    monkeypatch.setattr(agreement, "_ROUNDS", 200)
    rng, inside = np.random.default_rng(3), []
    true = 6 / np.pi * np.arcsin(0.6 / 2)  # of two normal variables with correlation 0.6
    for _ in range(200):
        x, y = rng.multivariate_normal([0, 0], [[1, 0.6], [0.6, 1]], 60).T
        got = agreement.spearman(x, y)
        inside.append(got.low <= true <= got.high)
    assert 0.88 <= np.mean(inside) <= 0.99


def tiered_rows(per_source: int, own_words: bool) -> list[dict]:
    """Sources of tiers 0, 5 and 9 in each half; with `own_words`, each source has a vocabulary of its own."""
    rng = random.Random(1)
    rows = []
    for half in "AB":
        for tier in (0, 5, 9):
            words = [f"{word}{half}{tier}" for word in WORDS] if own_words else WORDS
            for _ in range(per_source):
                text = " ".join(sentence(rng, words) for _ in range(3))
                rows.append({"text": text, "source": f"{half}{tier}", "tier": tier, "half": half})
    return rows


SPLITS = ("unseen documents", "A -> B", "B -> A")


def test_dimensions_that_follow_the_tier_agree_on_every_split():
    rows = tiered_rows(24, own_words=False)
    rng = np.random.default_rng(0)
    tier_D = np.array([row["tier"] for row in rows])
    dims_DQ = rng.uniform(0, 9, (len(rows), 20))
    dims_DQ[:, CONTENT] = np.clip(tier_D[:, None] + rng.normal(0, 2, (len(rows), len(CONTENT))), 0, 9)
    report = tier_agreement(rows, dims_DQ, agreement.document_folds(len(rows), folds=3))
    assert tuple(report) == SPLITS
    for split in SPLITS:
        found = report[split]
        assert set(found) == {
            "20 dimensions", "content only", "format only", "with similarity", "n-gram classifier"
        }  # fmt: skip
        for way in ("20 dimensions", "content only", "with similarity"):
            assert found[way].mean > 0.85 and found[way].low > 0.8, (split, way)
        for way in ("format only", "n-gram classifier"):  # neither the format nor the words tell the tier
            assert abs(found[way].mean) < 0.35, (split, way)
    assert report["unseen documents"]["20 dimensions"].n == 144
    assert report["A -> B"]["20 dimensions"].n == report["B -> A"]["20 dimensions"].n == 72


def test_a_classifier_of_sources_is_found_out_on_unseen_sources():
    rows = tiered_rows(24, own_words=True)
    dims_DQ = np.random.default_rng(0).uniform(0, 9, (len(rows), 20))
    report = tier_agreement(rows, dims_DQ, agreement.document_folds(len(rows), folds=3))
    assert report["unseen documents"]["n-gram classifier"].mean > 0.9
    for split in ("A -> B", "B -> A"):
        assert report[split]["n-gram classifier"].mean < 0.4
    assert abs(report["unseen documents"]["20 dimensions"].mean) < 0.35


def test_tiers_of_the_test_rows_and_of_measured_sources_are_not_fitted(monkeypatch):
    rows = tiered_rows(12, own_words=False)
    rows += [{**row, "source": MEASURED_ONLY[0], "half": "B"} for row in rows[:6]]
    fitted = []
    fit = Combination.fit.__func__

    def recorded(cls, features_DK, label_D, source_D=None, **options):
        fitted.append(set(source_D))
        return fit(cls, features_DK, label_D, source_D, **options)

    monkeypatch.setattr(Combination, "fit", classmethod(recorded))
    dims_DQ = np.random.default_rng(0).uniform(0, 9, (len(rows), 20))
    report = tier_agreement(rows, dims_DQ, agreement.document_folds(len(rows), folds=2))
    assert not any(MEASURED_ONLY[0] in sources for sources in fitted)
    halves = [{source[0] for source in sources} for sources in fitted]
    assert halves == [{"A", "B"}] * 8 + [{"A"}] * 4 + [{"B"}] * 4
    assert report["A -> B"]["20 dimensions"].n == 36 + 6, "measured all the same"


def pairs_and_marks(n: int, worsen, groups: int = 6):
    """Pairs of a text and the same text made worse, with the rules' marks."""
    rng = random.Random(2)
    pairs = []
    for i in range(n):
        text = " ".join(sentence(rng) for _ in range(rng.randint(2, 5)))
        pairs.append({"better": text, "worse": worsen(text), "group": f"topic {i % groups}"})
    marks = {
        text: list(annotate(text).values()) for pair in pairs for text in (pair["better"], pair["worse"])
    }
    return pairs, marks


def test_a_planted_format_rule_is_found_by_format_alone():
    hits = pair_hits(*pairs_and_marks(90, lambda text: text.upper()))
    assert set(hits) == WAYS and all(part.shape == (90,) for part in hits.values())
    assert all(set(part) <= {0.0, 0.5, 1.0} for part in hits.values())
    for way in ("0-9", "binary label", "format", "equal weights"):
        assert hits[way].mean() > 0.95, way
    assert (hits["length"] == 0.5).all(), "capitals do not change the length"


def test_a_planted_content_rule_is_found():
    hits = pair_hits(
        *pairs_and_marks(90, lambda text: "Omg i love it lol! " + text.replace(" ", " haha ", 2))
    )
    for way in ("0-9", "content", "equal weights"):
        assert hits[way].mean() > 0.95, way
    assert (hits["length"] == 0).all()


def test_length_by_hand():
    pairs, marks = pairs_and_marks(12, lambda text: text[: len(text) // 2])
    pairs[0] = {**pairs[0], "better": pairs[0]["worse"], "worse": pairs[0]["better"]}
    assert pair_hits(pairs, marks)["length"].tolist() == [0.0] + [1.0] * 11


def test_random_labels_give_a_coin_toss():
    pairs, marks = pairs_and_marks(160, lambda text: text.upper())
    rng = random.Random(0)
    for pair in pairs:
        if rng.random() < 0.5:
            pair["better"], pair["worse"] = pair["worse"], pair["better"]
    hits = pair_hits(pairs, marks)
    for way in WAYS - {"length"}:
        assert hits[way].mean() == pytest.approx(0.5, abs=0.14), way  # 3.5 standard errors


def test_weights_come_from_other_groups_than_those_tested():
    # Of two groups that contradict each other, one is the fit of the other, so its own labels cannot help.
    pairs, marks = pairs_and_marks(60, lambda text: text.upper(), groups=2)
    in_b = np.array([pair["group"] == "topic 1" for pair in pairs])
    before = pair_hits(pairs, marks)
    for pair in (pair for pair in pairs if pair["group"] == "topic 1"):
        pair["better"], pair["worse"] = pair["worse"], pair["better"]
    after = pair_hits(pairs, marks)
    for way in ("0-9", "content", "format", "binary label", "binary decision", "equal weights"):
        assert np.array_equal(after[way][in_b], 1 - before[way][in_b]), way
    assert after["0-9"][in_b].mean() < 0.05, "learned from the group that says the opposite"
    assert (after["format"][~in_b] != 1).all(), "the other group teaches that no format dimension is good"


def test_no_half_reads_the_texts_of_the_other(monkeypatch):
    pairs, marks = pairs_and_marks(36, lambda text: text.upper())
    topic = {text: pair["group"] for pair in pairs for text in (pair["better"], pair["worse"])}
    read, weighed = [], []
    fit, fit_pairs = Scorer.fit, Combination.fit_pairs.__func__

    def recorded(self, texts, annotations):
        read.append(frozenset(topic[text] for text in texts))
        return fit(self, texts, annotations)

    def recorded_pairs(cls, better_PK, worse_PK, group_P):
        weighed.append(frozenset(group_P))
        return fit_pairs(cls, better_PK, worse_PK, group_P)

    monkeypatch.setattr(Scorer, "fit", recorded)
    monkeypatch.setattr(Combination, "fit_pairs", classmethod(recorded_pairs))
    pair_hits(pairs, marks)
    assert read == weighed and len(set(read)) == 2
    first, second = set(read)
    assert not first & second and first | second == set(topic.values())
    assert len(first) == len(second) == 3


class Grader:
    """Scores all but some texts, as an endpoint that answered nonsense for them."""

    def __init__(self, fails: set[str]) -> None:
        self.fails, self.asked = fails, []

    def annotate_all(self, texts):
        self.asked += texts
        return [None if text in self.fails else annotate(text) for text in texts]


def test_unscored_texts_take_their_pairs_out_and_are_told(capsys):
    pairs = [
        {"better": "a b.", "worse": "c", "group": "x"},
        {"better": "a b.", "worse": "bad", "group": "x"},
        {"better": "d", "worse": "c", "group": "y"},
    ]
    grader = Grader({"bad"})
    kept, marks = annotated_pairs(pairs, grader)
    assert kept == [pairs[0], pairs[2]] and set(marks) == {"a b.", "c", "d"}
    assert sorted(grader.asked) == ["a b.", "bad", "c", "d"], "each text once"
    assert marks["c"] == [annotate("c")[name] for name in NAMES]
    assert capsys.readouterr().out == "1 of 3 pairs left out: 1 texts unscored\n"
    annotated_pairs(pairs, Grader(set()))
    assert not capsys.readouterr().out
