"""Texts with weak and human labels, on the mirrors of the public sets."""

import os
from collections import Counter

import pytest

from nbkit.filter import labels
from nbkit.tasks import sources

MIRROR = os.environ.get("NBKIT_DATA_DIR")
NEEDED = sorted({name for name, *_ in labels.TIERS} | set(labels.HUMAN))
ABSENT = [name for name in NEEDED if not (MIRROR and os.path.isdir(os.path.join(MIRROR, name)))]
needs_mirror = pytest.mark.skipif(
    bool(ABSENT), reason=f"NBKIT_DATA_DIR={MIRROR} holds no {', '.join(ABSENT)}"
)


def test_halves_share_no_set_and_both_span_the_tiers():
    sets = {half: {name for name, _, _, of in labels.TIERS if of == half} for half in "AB"}
    assert not sets["A"] & sets["B"]
    for half in "AB":
        tiers = {tier for _, _, tier, of in labels.TIERS if of == half}
        assert {0, 3, 5, 9} <= tiers and tiers <= set(range(10))


def test_evaluation_sets_are_measured_only():
    evaluation = [name for name, *_ in labels.TIERS if sources.SOURCES[name].eval_only]
    assert evaluation == list(labels.MEASURED_ONLY) == ["pubmedqa"]


def test_unknown_pairs_are_refused():
    with pytest.raises(
        ValueError, match=r"'convincing_arg': want one of convincing_args, .*, onestop_english"
    ):
        labels.human_pairs("convincing_arg")


def test_absent_mirror_is_named(monkeypatch):
    monkeypatch.delenv("NBKIT_DATA_DIR", raising=False)
    with pytest.raises(ValueError, match="NBKIT_DATA_DIR is not set"):
        labels.tiered(limit=2)


@pytest.fixture(scope="module")
def rows():
    return labels.tiered(limit=60, seed=1)


@needs_mirror
def test_every_source_has_its_tier_and_half(rows):
    assert {(row["source"], row["tier"], row["half"]) for row in rows} == {
        ("corpus_masc/spam", 0, "A"),
        ("corpus_web_boilerplate/raw", 0, "B"),
        ("corpus_web_c4", 3, "A"),
        ("corpus_web_boilerplate/clean", 3, "B"),
        ("corpus_kids", 5, "A"),
        ("corpus_books", 5, "B"),
        ("corpus_wiki", 7, "A"),
        ("corpus_textbook", 9, "B"),
        ("corpus_tex", 9, "A"),
        ("pubmedqa", 9, "B"),
    }
    assert set(Counter(row["source"] for row in rows).values()) <= {59, 60}  # one may have been nearly empty


@needs_mirror
@pytest.mark.parametrize("seed", [0, 1])
def test_texts_are_different_and_none_is_empty_or_long(seed):
    rows = labels.tiered(limit=150, seed=seed)
    assert all(len(row["text"].strip()) > 50 for row in rows)
    assert max(len(row["text"]) for row in rows) <= 3000
    assert len({row["id"] for row in rows}) == len({row["text"] for row in rows}) == len(rows)


@needs_mirror
def test_the_seed_decides(rows):
    texts = [row["text"] for row in rows]
    assert [row["text"] for row in labels.tiered(limit=60, seed=1)] == texts
    assert [row["text"] for row in labels.tiered(limit=60, seed=2)] != texts


@needs_mirror
def test_texts_are_those_of_the_sources(rows):
    spam = [doc["text"] for doc in sources.load("corpus_masc") if doc["domain"] == "spam"]
    wiki = [doc["text"] for doc in sources.load("corpus_wiki")]
    for source, texts in (("corpus_masc/spam", spam), ("corpus_wiki", wiki)):
        for row in (row for row in rows if row["source"] == source):
            assert any(row["text"] in text for text in texts), row["id"]
    abstracts = [row["text"] for row in rows if row["source"] == "pubmedqa"]
    assert not any("Question:" in text or text.startswith("Context:") for text in abstracts)


@needs_mirror
@pytest.mark.parametrize(
    ("name", "n_pairs", "n_groups"),
    [("convincing_args", 11_650, 32), ("corpus_qa_stackexchange", 735, 735), ("onestop_english", 189, 189)],
)
def test_human_pairs(name, n_pairs, n_groups):
    pairs = labels.human_pairs(name)
    assert len(pairs) == n_pairs and len({pair["group"] for pair in pairs}) == n_groups
    assert all(pair["better"].strip() and pair["worse"].strip() for pair in pairs)
    assert all(pair["better"] != pair["worse"] for pair in pairs)


@needs_mirror
def test_the_votes_are_those_of_the_mirror():
    by_id = {doc["id"]: doc for doc in sources.load("corpus_qa_stackexchange")}
    for pair in labels.human_pairs("corpus_qa_stackexchange"):
        votes = {answer["text"]: answer["votes"] for answer in by_id[pair["group"]]["answers"]}
        assert votes[pair["better"]] == max(votes.values()) and votes[pair["worse"]] == min(votes.values())
        assert votes[pair["better"]] - votes[pair["worse"]] >= 3


@needs_mirror
def test_advanced_articles_are_longer_than_elementary_ones():
    pairs = labels.human_pairs("onestop_english")
    longer = [len(pair["better"].split()) > len(pair["worse"].split()) for pair in pairs]
    assert sum(longer) > 0.95 * len(pairs), "the two levels are not swapped"
