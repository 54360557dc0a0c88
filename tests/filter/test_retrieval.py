"""The hybrid index against BM25, cosine and rank fusion from their definitions, one text at a time."""

import math
import os
import random
from collections import Counter

import numpy as np
import pytest

from nbkit.filter.retrieval import HybridIndex, _Nearest
from nbkit.tasks import sources
from nbkit.text.ngrams import ngram_ids, word_ids

SEEDS = [
    "Question: what is 2 + 3? Solution: 2 + 3 = 5 because three follows two twice.",
    "To add two numbers, count on from the first number. For example 4 + 2 = 6.",
    "The sum of an even and an odd number is odd: 4 + 3 = 7.",
    "Multiplication is repeated addition, so 3 * 4 = 4 + 4 + 4 = 12.",
    "A fraction is a part of a whole; one half plus one half is one.",
    "Subtract the smaller number from the larger number: 9 - 4 = 5.",
]
NEAR = "What is the sum of 4 and 5? Solution: 4 + 5 = 9, count on from the first number."
FAR = "omg my cat woke me up lol and the bus was late again honestly"
REFERENCE = [
    FAR,
    "The sum was paid in two parts, one of them late.",
    "Buses are late: count on it, number 4 first.",
    "zzz",
    "What is a half of the larger part? Solution: count the whole first.",
]
TEXTS = [NEAR, FAR, SEEDS[2], "number number number", "4 + 4", "", "\n", "数学 数学"]


@pytest.fixture(scope="module")
def index():
    return HybridIndex(SEEDS, REFERENCE, n_components=4, max_query_terms=6)


def tokens(text: str) -> list[int]:
    return word_ids([text])[0].tolist()


def brute_bm25(text: str, limit: int, skip: int | None = None, k1: float = 1.5, b: float = 0.75) -> float:
    """Lucene's BM25 by words: mean of the 3 nearest seeds, over the query's idf, times the known share."""
    seeds = [tokens(seed) for seed in SEEDS]
    mean_length = sum(map(len, seeds)) / len(seeds)
    words = tokens(text)
    holding = {word: sum(word in seed for seed in seeds) for word in words}
    idf = {word: math.log(1 + (len(seeds) - n + 0.5) / (n + 0.5)) for word, n in holding.items() if n}
    if not idf:
        return 0.0
    counts = Counter(words)
    query = sorted(idf, key=lambda word: (-counts[word] * idf[word], word))[:limit]
    scores = []
    for number, seed in enumerate(seeds):
        if number != skip:
            shares = (
                seed.count(word) / (seed.count(word) + k1 * (1 - b + b * len(seed) / mean_length))
                for word in query
            )
            scores.append(sum(idf[word] * share for word, share in zip(query, shares, strict=True)))
    known = sum(word in idf for word in words) / len(words)
    return sum(sorted(scores)[-3:]) / 3 / sum(idf[word] for word in query) * known


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("limit", [1, 6, 1000])
def test_lexical_is_bm25(text, limit):
    index = HybridIndex(SEEDS, REFERENCE, n_components=4, max_query_terms=limit)
    assert index.signals([text])[0][0] == pytest.approx(brute_bm25(text, limit), abs=2e-6)


def test_the_query_holds_no_more_than_its_limit(index):
    queries_DV, share_D = index._lexical.queries(word_ids([*SEEDS, " ".join(SEEDS)]))
    assert queries_DV.getnnz(axis=1).max() == 6
    assert share_D == pytest.approx(1)


def brute_cosine(text: str, n_components: int, skip: int | None = None) -> float:
    """TF-IDF and SVD with dense numpy and plain loops: words and pairs, counted by their hashes."""

    def counts(text: str) -> Counter:
        words = word_ids([text])
        grams = [int(gram) % 2**16 for n in (1, 2) for gram in ngram_ids(*words, n)[0]]
        return Counter(grams)

    seeds = [counts(seed) for seed in SEEDS]
    features = sorted({feature for one in [*seeds, counts(text)] for feature in one})
    idf = [math.log((1 + len(seeds)) / (1 + sum(f in seed for seed in seeds))) + 1 for f in features]

    def dense(one: Counter) -> np.ndarray:
        return np.array(
            [(1 + math.log(one[f])) * w if one[f] else 0.0 for f, w in zip(features, idf, strict=True)]
        )

    unit_MF = np.stack([dense(seed) / np.linalg.norm(dense(seed)) for seed in seeds])
    axes_KF = np.linalg.svd(unit_MF, full_matrices=False)[2][:n_components]
    own_F = dense(counts(text))
    own_K = axes_KF @ own_F / max(np.linalg.norm(own_F), 1e-12)
    latent_MK = unit_MF @ axes_KF.T
    cosines = latent_MK @ own_K / np.linalg.norm(latent_MK, axis=1)
    return max(np.mean(sorted(np.delete(cosines, [] if skip is None else skip))[-3:]), 0)


@pytest.mark.parametrize("text", TEXTS)
def test_vector_is_the_cosine_in_the_space_of_the_seeds(index, text):
    assert index.signals([text])[1][0] == pytest.approx(brute_cosine(text, 4), abs=2e-5)


def brute_fusion(index: HybridIndex, own: tuple[float, float]) -> float:
    """Reciprocal ranks against the reference, by loops; a value between two references is between in rank."""
    total = 0.0
    for value, reference in zip(own, index.signals(REFERENCE), strict=True):
        points = {0.0: len(reference)} | {v: sum(r > v for r in reference) for v in reference if v > 0}
        below = max(v for v in points if v <= value)
        above = min((v for v in points if v >= value), default=None)
        rank = points[below]
        if above is not None and above > below:
            rank += (points[above] - points[below]) * (value - below) / (above - below)
        total += 1 / (60 + 1 + rank)
    lowest, highest = 2 / (60 + len(REFERENCE) + 1), 2 / 61
    return (total - lowest) / (highest - lowest)


@pytest.mark.parametrize("text", [*TEXTS, *REFERENCE])
def test_fusion_by_hand(index, text):
    lexical, vector = index.signals([text])
    assert index.similarity([text])[0] == pytest.approx(
        brute_fusion(index, (lexical[0], vector[0])), abs=1e-9
    )


def test_seeds_leave_themselves_out(index):
    expected = [
        brute_fusion(index, (round(brute_bm25(seed, 6, skip=i), 6), round(brute_cosine(seed, 4, skip=i), 6)))
        for i, seed in enumerate(SEEDS)
    ]
    assert index.similarity_of_seeds() == pytest.approx(expected, abs=1e-3)
    assert (index.similarity_of_seeds() < index.similarity(SEEDS)).any()


def test_near_beats_far_and_scores_stay_in_range(index):
    near, far, empty, itself = index.similarity([NEAR, FAR, "", SEEDS[0]])
    assert itself >= near > 0.6 > far
    assert empty == 0
    assert index.similarity([SEEDS[0]] * 2).tolist() == [itself] * 2
    rng = random.Random(0)
    noise = ["".join(chr(rng.randint(0, 0x2FF)) for _ in range(rng.randint(0, 80))) for _ in range(200)]
    scores = index.similarity([*noise, "\ud800 lone surrogate", "x" * 100_000])
    assert scores.shape == (202,)
    assert scores.min() >= 0 and scores.max() <= 1


def test_no_words_no_similarity_whatever_the_encoder_says(monkeypatch):
    index = HybridIndex(SEEDS, REFERENCE, n_components=4)
    monkeypatch.setattr(index._encoder, "encode", lambda texts, words: np.ones((len(texts), 4)))
    assert index.signals(["", " \t", "a word"])[1][:2].tolist() == [0, 0]
    assert index.similarity(["", "\x00"]).tolist() == [0, 0]


def test_a_higher_signal_never_ranks_lower(index):
    rng = np.random.default_rng(0)
    for signal in range(2):
        pair = [np.full(400, 0.2), np.full(400, 0.2)]
        pair[signal] = np.sort(rng.uniform(0, 1.2, 400))
        assert (np.diff(index.fuse(tuple(pair))) >= 0).all()


@pytest.mark.parametrize("approximate_above", [1, 5000])
def test_score_depends_on_neither_batch_nor_order(approximate_above, monkeypatch):
    index = HybridIndex(SEEDS, REFERENCE, approximate_above=approximate_above)
    rng = random.Random(0)
    words = " ".join([*SEEDS, *REFERENCE]).split()
    texts = [*TEXTS, *SEEDS, *(" ".join(rng.choices(words, k=rng.randint(1, 60))) for _ in range(200))]
    together = index.similarity(texts)
    assert np.array_equal(together, [index.similarity([text])[0] for text in texts])
    order = rng.sample(range(len(texts)), len(texts))
    assert np.array_equal(together[order], index.similarity([texts[i] for i in order]))
    assert np.array_equal(together, index.similarity(texts, words=word_ids(texts)))
    monkeypatch.setattr("nbkit.filter.retrieval._BLOCK_CHARS", 500)
    assert np.array_equal(together, index.similarity(texts))
    assert np.array_equal(together, index.similarity(texts, words=word_ids(texts)))
    again = HybridIndex(SEEDS, REFERENCE[::-1], approximate_above=approximate_above)
    assert np.array_equal(together, again.similarity(texts))
    assert index.similarity([]).shape == (0,)


def test_only_the_beginning_of_a_very_long_document_counts(index, monkeypatch):
    monkeypatch.setattr("nbkit.filter.retrieval._MAX_CHARS", len(NEAR))
    assert index.similarity([NEAR + FAR * 3]) == index.similarity([NEAR])


@pytest.mark.parametrize("approximate_above", [1, 5000])
def test_round_trip(tmp_path, approximate_above):
    index = HybridIndex(SEEDS, REFERENCE, n_components=4, approximate_above=approximate_above)
    index.save(tmp_path / "index")
    loaded = HybridIndex.load(tmp_path / "index")
    for own, other in zip(index.signals(TEXTS), loaded.signals(TEXTS), strict=True):
        assert np.array_equal(own, other)
    assert np.array_equal(index.similarity(TEXTS), loaded.similarity(TEXTS))
    assert np.array_equal(index.similarity_of_seeds(), loaded.similarity_of_seeds())
    assert loaded.settings == index.settings and loaded.seeds == SEEDS
    assert (loaded._vector.graph is None) == (approximate_above == 5000)


@pytest.mark.parametrize("name", ["arrays.npz", "seeds.jsonl", "settings.json"])
@pytest.mark.parametrize("damage", ["cut", "absent", "changed"])
def test_refuses_a_damaged_folder(index, tmp_path, name, damage):
    index.save(tmp_path / "index")
    file = tmp_path / "index" / name
    data = file.read_bytes()
    if damage == "absent":
        file.unlink()
    else:
        file.write_bytes(data[: len(data) // 2] if damage == "cut" else b"[]" + data[2:])
    with pytest.raises(ValueError, match="again"):
        HybridIndex.load(tmp_path / "index")


def test_refuses_bad_input():
    with pytest.raises(ValueError, match="1 seeds: want at least 2"):
        HybridIndex(["only one"], REFERENCE)
    with pytest.raises(ValueError, match="each with a word"):
        HybridIndex(["one seed", "  \n"[:2]], REFERENCE)
    with pytest.raises(ValueError, match="1 reference documents"):
        HybridIndex(SEEDS, REFERENCE[:1])
    with pytest.raises(ValueError, match="max_query_terms=0"):
        HybridIndex(SEEDS, REFERENCE, max_query_terms=0)


def test_hnsw_finds_what_the_exact_search_finds():
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(50, 32))
    points = np.repeat(centres, 120, axis=0) + 0.7 * rng.normal(size=(6000, 32))
    seeds_MK = (points / np.linalg.norm(points, axis=1, keepdims=True)).astype(np.float32)
    queries_DK = seeds_MK[::20] + 0.05 * rng.normal(size=(300, 32)).astype(np.float32)
    exact, approximate = _Nearest(seeds_MK, 10_000), _Nearest(seeds_MK, 5000)
    keys = approximate.graph.search(queries_DK, 10, threads=1).keys.astype(int)
    brute = np.argsort(-queries_DK @ seeds_MK.T, axis=1)[:, :10]
    recall = np.mean([len(set(a) & set(b)) / 10 for a, b in zip(keys, brute, strict=True)])
    assert recall > 0.97
    pair = [nearest.mean_cosine(queries_DK, 3, None) for nearest in (exact, approximate)]
    assert np.mean(np.abs(pair[0] - pair[1]) < 1e-6) > 0.97
    itself = [nearest.mean_cosine(seeds_MK[:300], 3, np.arange(300)) for nearest in (exact, approximate)]
    assert np.mean(np.abs(itself[0] - itself[1]) < 1e-6) > 0.97
    assert itself[0].max() < 0.99
    twin = _Nearest(seeds_MK, 5000).mean_cosine(queries_DK, 3, None)
    assert np.array_equal(twin, pair[1])


@pytest.mark.slow
@pytest.mark.skipif(not os.environ.get("NBKIT_DATA_DIR"), reason="NBKIT_DATA_DIR is not set")
def test_textbooks_lie_nearer_to_other_textbooks_than_the_web_does():
    books = [row["text"][:3000] for row in sources.load("corpus_textbook")]
    web = [row["text"][:3000] for row in sources.load("corpus_web_c4")]
    index = HybridIndex(books[::4], [*books[1::8], *web[::8]])
    far, near = index.similarity(web[1::8]), index.similarity(books[2::8])
    assert np.mean(near[:, None] > far[None]) > 0.9
