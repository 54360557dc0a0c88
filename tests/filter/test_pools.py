"""Which documents are kept: hand-computed numbers and, with hypothesis, the definition itself."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nbkit.filter import pools


def test_pools_by_hand():
    labels = pools.pools([0.1, 0.9, 0.5, 0.7, 0.2], [10, 10, 10, 10, 10], hq_tokens=25, mq_tokens=15)
    assert labels.tolist() == ["drop", "hq", "mq", "hq", "mq"]
    # Equal scores fall in document order, so that a rerun gives the same pools.
    assert pools.pools([1, 1, 1], [5, 5, 5], 5, 5).tolist() == ["hq", "mq", "drop"]


DOCS = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 40)), min_size=1, max_size=30)
SHARES = st.tuples(st.floats(0, 0.5), st.floats(0, 0.5))


def by_hand(scores, tokens, ids, hq_tokens, mq_tokens):
    """The definition, one document after the other; the first that does not fit closes its pool."""
    labels, held, closed = {}, 0, 0
    for _, name, size in sorted((-s, i, t) for s, i, t in zip(scores, ids, tokens, strict=True)):
        held += size
        closed = max(closed, (held > hq_tokens) + (held > hq_tokens + mq_tokens))
        labels[name] = ("hq", "mq", "drop")[closed]
    return labels


@settings(max_examples=200, deadline=None)
@given(docs=DOCS, shares=SHARES, data=st.data())
def test_pools_follow_the_definition_whatever_the_order_of_documents(docs, shares, data):
    ids = data.draw(st.lists(st.text(max_size=3), min_size=len(docs), max_size=len(docs), unique=True))
    scores, tokens = zip(*docs, strict=True)
    budgets = [int(share * sum(tokens)) for share in shares]
    wanted = by_hand(scores, tokens, ids, *budgets)
    order = data.draw(st.permutations(range(len(docs))))
    got = pools.pools(
        [scores[i] for i in order], [tokens[i] for i in order], *budgets, ids=[ids[i] for i in order]
    )
    assert {ids[i]: label for i, label in zip(order, got, strict=True)} == wanted


@settings(max_examples=200, deadline=None)
@given(sizes=st.lists(st.integers(0, 40), min_size=1, max_size=30), shares=SHARES, data=st.data())
def test_without_ties_no_id_is_needed(sizes, shares, data):
    budgets = [int(share * sum(sizes)) for share in shares]
    order = np.array(data.draw(st.permutations(range(len(sizes)))))
    ranked = pools.pools(-np.arange(len(sizes)), sizes, *budgets)
    assert (pools.pools(-order, np.array(sizes)[order], *budgets) == ranked[order]).all()


@settings(max_examples=200, deadline=None)
@given(docs=DOCS, shares=SHARES)
def test_pools_respect_budgets_and_order(docs, shares):
    scores, tokens = (np.array(column) for column in zip(*docs, strict=True))
    hq_tokens, mq_tokens = (int(share * tokens.sum()) for share in shares)
    labels = pools.pools(scores, tokens, hq_tokens, mq_tokens)
    kept_hq, kept = tokens[labels == "hq"].sum(), tokens[labels != "drop"].sum()
    assert hq_tokens - tokens.max() <= kept_hq <= hq_tokens
    assert hq_tokens + mq_tokens - tokens.max() <= kept <= hq_tokens + mq_tokens
    rank = np.select([labels == "hq", labels == "mq"], [2, 1], 0)
    assert (np.diff(rank[np.argsort(-scores, kind="stable")]) <= 0).all(), "no better document is worse off"


@settings(max_examples=100, deadline=None)
@given(docs=DOCS, over=st.integers(1, 10**6), hq_share=st.floats(0, 1))
def test_a_budget_above_the_corpus_is_refused_by_any_split(docs, over, hq_share):
    scores, tokens = zip(*docs, strict=True)
    wanted = sum(tokens) + over
    hq_tokens = int(wanted * hq_share)
    with pytest.raises(ValueError, match=f"ask for {wanted:,} tokens .* hold {sum(tokens):,}"):
        pools.pools(scores, tokens, hq_tokens, wanted - hq_tokens)


def test_ids_that_differ_in_a_zero_character_are_two():
    for order in ([0, 1], [1, 0]):
        ids = [["a", "a\0"][i] for i in order]
        found = pools.pools([1, 1], [5, 5], 5, 5, ids=ids)
        assert dict(zip(ids, found.tolist(), strict=True)) == {"a": "hq", "a\0": "mq"}


def test_pools_refuse_ids_that_do_not_tell_documents_apart():
    with pytest.raises(ValueError, match="ids: got 2, 1 of them different"):
        pools.pools([1, 2], [10, 10], 10, 10, ids=["a", "a"])
    with pytest.raises(ValueError, match="each of 2 documents"):
        pools.pools([1, 2], [10, 10], 10, 10, ids=["a", "b", "c"])


def test_pools_of_trillions_are_exact():
    """12.5T tokens in documents of a narrow integer type: the running total is wider than they are."""
    tokens = np.full(12_500, 10**9, dtype=np.int32)
    labels = pools.pools(-np.arange(12_500), tokens, 6_500 * 10**9, 6_000 * 10**9)
    assert [(labels == name).sum() for name in ("hq", "mq", "drop")] == [6_500, 6_000, 0]


@pytest.mark.parametrize(
    ("tokens", "hq_tokens", "message"),
    [
        ([10, 10.5], 10, "negative or fractional"),
        ([10, -1], 5, "negative or fractional"),
        ([10, 10], -1, "hq_tokens=-1"),
        ([10, 10], 1e1, r"hq_tokens=10\.0"),
    ],
)
def test_pools_count_whole_tokens_only(tokens, hq_tokens, message):
    with pytest.raises(ValueError, match=message):
        pools.pools([1, 2], tokens, hq_tokens, 0)


def test_pools_refuse_a_budget_above_the_corpus():
    with pytest.raises(ValueError, match=r"ask for 30 tokens .* hold 20"):
        pools.pools([1, 2], [10, 10], 20, 10)
    with pytest.raises(ValueError, match="NaN"):
        pools.pools([1, float("nan")], [10, 10], 10, 10)


def test_waterfall_by_hand():
    rows = pools.waterfall(100, 80, 60, 30, 12)
    assert [row["tokens"] for row in rows] == [100, 80, 60, 30, 12]
    assert [row["of_previous"] for row in rows] == pytest.approx([1, 0.8, 0.75, 0.5, 0.4])
    assert [row["of_raw"] for row in rows] == pytest.approx([1, 0.8, 0.6, 0.3, 0.12])
    assert rows[3]["report_trillions"] == 12.5
    with pytest.raises(ValueError, match="decontaminated holds 81"):
        pools.waterfall(100, 80, 81, 30, 12)
