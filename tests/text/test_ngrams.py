"""Hashed words and n-grams against a tokenizer in plain Python, which makes a string per word."""

import random
import re
import string
from collections import Counter

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from nbkit.text import ngrams

# The same rule by another road: a regular expression over characters instead of a table over bytes.
_TOKEN = re.compile(r"[0-9a-zA-Z_\u0080-\U0010ffff]+|[^\x00\t\r\x0b\x0c ]")
TEXTS = st.lists(
    st.one_of(
        st.text(max_size=40),
        st.text("aB1_ \n\t.,é漢\x00\ud800", max_size=40),
        st.text("ab \n", max_size=200),
    ),
    max_size=6,
)


def tokens(text: str) -> list[str]:
    return _TOKEN.findall(text.lower().encode("utf-8", "replace").decode())


def ids_of(text: str) -> list[int]:
    return ngrams.word_ids([text])[0].tolist()


@given(TEXTS)
@example([])
@example([""])
@example(["", "", "a", ""])
@example(["\x00", "a\x00b", "\x00a"])
@example(["\ud800a \udfff", "?a"])
def test_tokens_are_those_of_the_slow_tokenizer(texts):
    ids_T, starts_D1 = ngrams.word_ids(texts)
    wanted = [tokens(text) for text in texts]
    assert ids_T.dtype == np.uint32
    assert np.diff(starts_D1).tolist() == [len(words) for words in wanted]
    assert starts_D1[0] == 0 and starts_D1[-1] == len(ids_T)
    # A bijection between tokens and hashes: equal words have equal hashes, others other ones.
    flat = [word for words in wanted for word in words]
    assert len(set(zip(flat, ids_T.tolist(), strict=True))) == len(set(flat)) == len(set(ids_T.tolist()))


@given(TEXTS)
def test_a_hash_does_not_depend_on_the_batch(texts):
    ids_T, starts_D1 = ngrams.word_ids(texts)
    for d, text in enumerate(texts):
        assert ids_T[starts_D1[d] : starts_D1[d + 1]].tolist() == ids_of(text)


def test_what_is_a_token_by_hand():
    assert ids_of("Straße") == ids_of("STRAßE") and ids_of("WORD Ünder") == ids_of("word ünder")
    assert len(ids_of("it's 3.5, ok\nnext_word")) == len(
        ["it", "'", "s", "3", ".", "5", ",", "ok", "\n", "next_word"]
    )
    assert ids_of("a\x00b") == ids_of("a b") == ids_of("a") + ids_of("b")
    assert ids_of("\n") != ids_of(".") and ids_of(" \t\r\x0b\x0c\x00") == []
    assert ids_of("a\ud800") == ids_of("a?"), "a lone surrogate reads as a question mark"
    assert ids_of("ab") != ids_of("ba") and ids_of("a") != ids_of("aa")


def test_hashes_are_the_same_in_every_process():
    # Written down once: a saved scorer or index is useless if they change.
    assert ids_of("the quick\n") == [1492375239, 666844089, 690266755]


@pytest.mark.parametrize(
    "words",
    [
        [str(number) for number in range(10_000)],
        [f"{a}{b}{c}" for a in string.ascii_lowercase for b in string.ascii_lowercase for c in "aeiouxyzst"],
        sorted({"".join(random.Random(i).choices("abcdefgh", k=3 + i % 12)) for i in range(12_000)})[:10_000],
        [chr(0x4E00 + i) + chr(0x4E00 + 7 * i % 5000) for i in range(10_000)],
    ],
    ids=["numbers", "three letters", "few letters", "CJK"],
)
def test_different_words_hardly_collide(words):
    assert len(set(words)) == len(words)
    ids_T, _ = ngrams.word_ids([" ".join(words)])
    # 10,000 words: 0.01 collisions expected; two or more have a chance of 1 in 15,000.
    assert len(words) - len(np.unique(ids_T)) <= 1
    # The low bits number the features: as many of 2^16 are hit as by throwing at random (sd 27).
    hit, random_share = len(np.unique(ids_T % 2**16)), 1 - (1 - 2**-16) ** len(words)
    assert hit == pytest.approx(2**16 * random_share, abs=5 * 27)


@given(TEXTS, st.integers(1, 3))
def test_ngrams_are_those_of_zip(texts, n):
    ids_T, starts_D1 = ngrams.word_ids(texts)
    grams, starts = ngrams.ngram_ids(ids_T, starts_D1, n)
    wanted = []
    for text in texts:
        words = tokens(text)
        wanted.append(list(zip(*(words[k:] for k in range(n)), strict=False)))
    assert np.diff(starts).tolist() == [len(of_text) for of_text in wanted]
    assert starts[0] == 0 and starts[-1] == len(grams)
    flat = [gram for of_text in wanted for gram in of_text]
    assert len(set(zip(flat, grams.tolist(), strict=True))) == len(set(flat)) == len(set(grams.tolist()))


def test_ngrams_keep_order_and_refuse_none():
    words = ngrams.word_ids(["a b a"])
    ab, ba = ngrams.ngram_ids(*words, 2)[0]
    assert ab != ba
    with pytest.raises(ValueError, match="n=0"):
        ngrams.ngram_ids(*words, 0)


@given(TEXTS, st.sampled_from([(1,), (2,), (1, 2), (1, 2, 3)]))
def test_counts_against_a_dense_loop(texts, sizes):
    n_features = 64
    matrix = ngrams.word_counts(*ngrams.word_ids(texts), n_features, sizes)
    wanted = np.zeros((len(texts), n_features))
    for d, text in enumerate(texts):
        words = ngrams.word_ids([text])
        for n in sizes:
            for gram in ngrams.ngram_ids(*words, n)[0].tolist():
                wanted[d, gram % n_features] += 1
    assert matrix.dtype == np.float32 and matrix.shape == wanted.shape
    assert np.array_equal(matrix.toarray(), wanted)


def test_repeats_count():
    text = "to be or not to be"
    counts = Counter(ngrams.word_counts(*ngrams.word_ids([text]), 2**16, (1,)).toarray()[0])
    assert (counts[2.0], counts[1.0]) == (2, 2)  # to, be; or, not
