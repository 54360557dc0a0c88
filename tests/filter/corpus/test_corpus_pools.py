"""Cuts of the pools, against the pools in memory."""

import json

import numpy as np
import pyarrow
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet

from nbkit.filter import pools
from nbkit.filter.corpus.inputs import Corpus
from nbkit.filter.corpus.pools import FindCuts, decide, sort_keys

score = st.one_of(st.sampled_from([0.0, -0.0, 1.0, -1.0, 1.0 + 2**-52]), st.floats(-1e300, 1e300))


@given(st.lists(st.tuples(score, st.integers(0, 50)), min_size=1, max_size=40), st.data())
def test_cuts_are_those_of_pools(tmp_path_factory, rows, data):
    folder = tmp_path_factory.mktemp("cuts")
    scores, tokens = [row[0] for row in rows], [row[1] for row in rows]
    hq = data.draw(st.integers(0, sum(tokens)))
    mq = data.draw(st.integers(0, sum(tokens) - hq))
    # Ids in another order than the documents, and a document that was removed.
    ids = [f"{(i * 7) % 41:02d}" for i in range(len(rows))]
    table = {"id": [*ids, "gone"], "n_tokens": [*tokens, 99], "score": [*scores, None]}
    (folder / "scores").mkdir()
    parquet.write_table(pyarrow.table(table), folder / "scores/00000.parquet", row_group_size=7)
    corpus = Corpus(("x.jsonl",), ("x",), "error", False, None)
    FindCuts(corpus, folder / "scores", folder / "cuts.json", hq, mq).run()
    cuts = json.loads((folder / "cuts.json").read_text())
    found = [
        decide({"id": own, "score": value, "reason": None}, cuts)
        for own, value in zip(ids, scores, strict=True)
    ]
    assert found == pools.pools(scores, tokens, hq, mq, ids).tolist()


@given(st.lists(score, min_size=2, max_size=2))
def test_sort_keys_have_the_order_of_the_scores(pair):
    left, right = sort_keys(np.array(pair)).tolist()
    assert (left < right, left == right) == (pair[0] < pair[1], pair[0] == pair[1])
