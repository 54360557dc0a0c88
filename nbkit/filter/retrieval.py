"""Similarity of documents to curated high-quality seeds: BM25 and vector signals, fused. Notebook 01.

The report retrieves documents near its seeds with hybrid text + vector retrieval. A document queries BM25
(bm25s) over the seeds and, as a vector (encoders.py), their nearest neighbours: exactly, or through HNSW
(usearch) where seeds are many. Shape legend: D documents, M seeds, V words of the seeds, R reference
documents, K dimensions.

    index = HybridIndex(["2 + 3 = 5, because ...", ...], reference=sample_of_corpus)
    similarity_D = index.similarity(texts)            # 0-1
    index.save("index"); HybridIndex.load("index")
"""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import bm25s
import numpy as np
from scipy.sparse import csr_matrix

from nbkit.filter.encoders import Lsa, SentenceEncoder, Words
from nbkit.run import files
from nbkit.text.ngrams import word_ids

_RRF_K = 60  # Cormack, Clarke and Buettcher (SIGIR 2009)
_MAX_CHARS = 1_000_000  # the beginning speaks for a longer document, and bounds memory
_BLOCK_CHARS = 2_000_000
_BLOCK_CELLS = 4_000_000  # of a (D, M) block of scores: 32 MB
_SETTINGS = "settings.json"


class HybridIndex:
    """Seeds indexed twice. A document's signal is its mean over its `neighbours` nearest seeds.

    Fusion: each signal becomes a rank, ranks become 1 / (60 + rank) (reciprocal rank fusion), their sum is
    scaled to 0-1. A rank within the batch would change with what else is scored, and so from shard to shard
    of a corpus; so the rank counts the documents of a fixed sample, `reference`, that have the higher signal;
    between two of these it is interpolated. 1: above the whole reference in both signals. 0: nothing shared.

    `encoder`: "lsa", or a sentence-transformers model. `max_query_terms`: a document asks BM25 only for
    its words of most weight (count times idf, as Lucene's MoreLikeThis), so that a long one costs no more.
    HNSW serves above `approximate_above` seeds. Raises ValueError for fewer than 2 seeds or references, seeds
    without words, and an encoder that cannot be loaded.
    """

    def __init__(
        self,
        seeds: Sequence[str],
        reference: Sequence[str],
        encoder: str = "lsa",
        seed: int = 0,
        neighbours: int = 3,
        max_query_terms: int = 50,
        approximate_above: int = 5000,
        n_components: int = 64,
    ) -> None:
        # A seed leaves itself out, so one alone would have no neighbour.
        if len(seeds) < 2 or (np.diff(word_ids(seeds)[1]) == 0).any():
            raise ValueError(f"{len(seeds)} seeds: want at least 2, each with a word")
        if len(reference) < 2:
            raise ValueError(
                f"{len(reference)} reference documents: want a sample of the corpus, some hundreds"
            )
        if neighbours < 1 or max_query_terms < 1:
            raise ValueError(f"neighbours={neighbours}, max_query_terms={max_query_terms}: want 1 or more")
        # What `load` needs beside the arrays.
        self.settings = {
            "encoder": encoder,
            "neighbours": min(neighbours, len(seeds) - 1),
            "max_query_terms": max_query_terms,
            "approximate_above": approximate_above,
        }
        self.seeds = list(seeds)
        self._encoder = (
            Lsa.fit(self.seeds, n_components, seed) if encoder == "lsa" else SentenceEncoder(encoder)
        )
        self._lexical = _Lexical(self.seeds, max_query_terms)
        self._vector = _Nearest(_unit(self._encoder.encode(self.seeds)), approximate_above)
        # Scores are ranks among the reference documents: BM25 and cosine have no common scale.
        self._rank_by(np.sort(np.stack(self.signals(reference)), axis=1))

    def signals(self, texts: Sequence[str], words: Words | None = None) -> tuple[np.ndarray, np.ndarray]:
        """(lexical, vector), each float64 (D,) and at least 0; 0 for a text without words.

        Lexical: BM25 over the query's sum of idf, so that length does not pay, times the share of the
        document's words that seeds hold at all. Vector: cosine, negative as 0. `words`: what
        `ngrams.word_ids(texts)` gives, where the caller has it.
        """
        return self._signals(texts, words, skip_self=False)

    def similarity(self, texts: Sequence[str], words: Words | None = None) -> np.ndarray:
        """Fused similarity to the seeds, float64 (D,), from 0 to 1; rule: see the class."""
        return self.fuse(self._signals(texts, words, skip_self=False))

    def similarity_of_seeds(self) -> np.ndarray:
        """Each seed's similarity to the other seeds, (M,): what a combination may be learned from without
        the leak that every seed is its own neighbour."""
        return self.fuse(self._signals(self.seeds, None, skip_self=True))

    def fuse(self, signals: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
        """Similarity (D,) from what `signals` gave."""
        n = self._reference_2R.shape[1]
        # A value between two reference documents gets a rank between theirs: no steps, no ties.
        ranks_2D = [np.interp(own_D, *curve) for own_D, curve in zip(signals, self._curves, strict=True)]
        # Reciprocal rank fusion (Cormack et al. 2009): two scales that cannot be added become ranks.
        total_D = sum(1 / (_RRF_K + rank_D) for rank_D in ranks_2D)
        lowest, highest = 2 / (_RRF_K + n + 1), 2 / (_RRF_K + 1)
        return np.clip((total_D - lowest) / (highest - lowest), 0, 1)

    def _rank_by(self, reference_2R: np.ndarray) -> None:
        self._reference_2R = reference_2R
        self._curves = [_rank_curve(reference_R) for reference_R in reference_2R]

    def _signals(
        self, texts: Sequence[str], words: Words | None, skip_self: bool
    ) -> tuple[np.ndarray, np.ndarray]:
        neighbours, out_2D = self.settings["neighbours"], np.zeros((2, len(texts)))
        # Blocks bound the (D, M) table of scores; they change no result.
        for rows in _blocks(texts, len(self.seeds)):
            block = [text[:_MAX_CHARS] for text in texts[rows]]
            own = word_ids(block) if words is None else _part(words, rows)
            skip_D = np.arange(rows.start, rows.stop) if skip_self else None
            out_2D[0, rows] = _top_mean(self._lexical.scores(own), neighbours, skip_D)
            out_2D[1, rows] = self._vector.mean_cosine(self._encoder.encode(block, own), neighbours, skip_D)
            # Texts without a word get 0, whatever cosine an all-zero vector has.
            out_2D[:, rows] *= np.diff(own[1]) > 0
        # Sums over blocks of another size differ in the last bits, which would swap ranks.
        out_2D = np.round(np.maximum(out_2D, 0), 6)
        return out_2D[0], out_2D[1]

    def save(self, folder: str | Path) -> None:
        """Write index, seeds and settings to `folder`, whole or not at all. A sentence-transformers model is
        kept by name: `load` needs it in the same place."""
        with files.atomic_dir(folder) as temp:
            lines = (json.dumps({"text": text}) for text in self.seeds)
            (temp / "seeds.jsonl").write_text("".join(line + "\n" for line in lines), encoding="utf-8")
            arrays = {"seeds_MK": self._vector.seeds_MK, "reference_2R": self._reference_2R}
            if isinstance(self._encoder, Lsa):
                arrays |= {"idf_F": self._encoder.idf_F, "table_FK": self._encoder.table_FK}
            np.savez(temp / "arrays.npz", **arrays)
            about = {"settings": self.settings, "sha256": files.sha256(temp)}
            files.write_json(temp / _SETTINGS, about)

    @classmethod
    def load(cls, folder: str | Path) -> "HybridIndex":
        """What `save` wrote, with the same scores. Raises ValueError for a folder that is not whole."""
        folder = Path(folder)
        if not (folder / _SETTINGS).is_file():
            raise ValueError(f"{folder} holds no {_SETTINGS} of a saved HybridIndex: save it again")
        # The hash of all files: half a copy would give other scores without a word.
        about = files.read_json(folder / _SETTINGS)
        if not isinstance(about, dict) or about.get("sha256") != files.sha256(folder, skip=[_SETTINGS]):
            raise ValueError(f"{folder} is damaged: its files are not those that were saved; save it again")
        index, settings = cls.__new__(cls), about["settings"]
        with np.load(folder / "arrays.npz", allow_pickle=False) as arrays:
            index._rank_by(arrays["reference_2R"])
            seeds_MK = arrays["seeds_MK"]
            lsa = settings["encoder"] == "lsa"
            index._encoder = (
                Lsa(arrays["idf_F"], arrays["table_FK"]) if lsa else SentenceEncoder(settings["encoder"])
            )
        index.settings = settings
        lines = (folder / "seeds.jsonl").read_text(encoding="utf-8").splitlines()
        index.seeds = [json.loads(line)["text"] for line in lines]
        # The lexical side is small: it is built again from the seeds.
        index._lexical = _Lexical(index.seeds, settings["max_query_terms"])
        index._vector = _Nearest(seeds_MK, settings["approximate_above"])
        return index


class _Lexical:
    """BM25 (Lucene's variant, the default of bm25s) of documents against all seeds."""

    def __init__(self, seeds: Sequence[str], max_terms: int) -> None:
        ids_T, starts_M1 = word_ids(seeds)
        self.vocabulary_V, term_T = np.unique(ids_T, return_inverse=True)
        self.max_terms = max_terms
        # Ids of the seeds' words run from 0: BM25 wants a vocabulary without gaps.
        terms = [part.tolist() for part in np.split(term_T, starts_M1[1:-1])]
        bm25 = bm25s.BM25(k1=1.5, b=0.75)
        stored = bm25.build_index_from_ids(range(len(self.vocabulary_V)), terms, show_progress=False)
        shape = (len(self.vocabulary_V), len(seeds))
        # Scores of every (word, seed) are computed once; a query only adds them up.
        self.scores_VM = csr_matrix((stored["data"], stored["indices"], stored["indptr"]), shape=shape)
        holding_V = np.diff(self.scores_VM.indptr)
        self.idf_V = np.log(1 + (len(seeds) - holding_V + 0.5) / (holding_V + 0.5))

    def queries(self, words: Words) -> tuple[csr_matrix, np.ndarray]:
        """Each document's words of most weight as ones (D, V), and the share of its words that are known."""
        ids_T, starts_D1 = words
        n_docs, size = len(starts_D1) - 1, len(self.vocabulary_V)
        doc_T = np.repeat(np.arange(n_docs), np.diff(starts_D1))
        # Words that no seed holds match nothing: they are known only by their share.
        term_T = np.searchsorted(self.vocabulary_V, ids_T)
        known_T = self.vocabulary_V.take(term_T, mode="clip") == ids_T
        share_D = np.bincount(doc_T[known_T], minlength=n_docs) / np.maximum(np.diff(starts_D1), 1)
        keys, counts = np.unique(doc_T[known_T] * size + term_T[known_T], return_counts=True)
        doc, term = np.divmod(keys, size)
        # The words of most weight (count times idf) of every document, by one sort for the batch.
        order = np.lexsort((term, -counts * self.idf_V[term], doc))
        place = np.arange(len(doc)) - np.searchsorted(doc, doc)  # within its document, as doc is sorted
        chosen = np.sort(order[place < self.max_terms])
        starts = np.searchsorted(doc[chosen], np.arange(n_docs + 1))
        ones = np.ones(len(chosen), np.float32)
        return csr_matrix((ones, term[chosen], starts), shape=(n_docs, size)), share_D

    def scores(self, words: Words) -> np.ndarray:
        """BM25 over the query's sum of idf, times the share of known words, (D, M)."""
        queries_DV, share_D = self.queries(words)
        reach_D = np.maximum(queries_DV @ self.idf_V, 1e-12)
        return (queries_DV @ self.scores_VM).toarray() * (share_D / reach_D)[:, None]


class _Nearest:
    """Cosine to the nearest of unit vectors, by one product or, for many of them, by HNSW."""

    def __init__(self, seeds_MK: np.ndarray, approximate_above: int) -> None:
        self.seeds_MK, self.graph = seeds_MK, None
        if len(seeds_MK) > approximate_above:
            from usearch.index import Index  # noqa: PLC0415 (needed by this path only)

            self.graph = Index(ndim=seeds_MK.shape[1], metric="ip", dtype="f32", expansion_search=128)
            # One thread in a fixed order: the graph, and so every score, is the same in each run.
            self.graph.add(np.arange(len(seeds_MK)), seeds_MK, threads=1)

    def mean_cosine(self, vectors_DK: np.ndarray, neighbours: int, skip_D: np.ndarray | None) -> np.ndarray:
        vectors_DK = vectors_DK.astype(np.float64)
        if self.graph is None or not len(vectors_DK):
            return _top_mean(vectors_DK @ self.seeds_MK.T.astype(np.float64), neighbours, skip_D)
        # A seed finds itself first: one neighbour more is asked for, then it is taken out.
        wanted = neighbours + (skip_D is not None)
        keys_DN = self.graph.search(vectors_DK.astype(np.float32), wanted, threads=1).keys.reshape(-1, wanted)
        keys_DN = keys_DN.astype(np.int64)
        # The graph's distances are approximate: cosines of what it found are computed again, exactly.
        cosine_DN = np.einsum("dk,dnk->dn", vectors_DK, self.seeds_MK[keys_DN].astype(np.float64))
        if skip_D is not None:
            cosine_DN[keys_DN == skip_D[:, None]] = -np.inf
        return _top_mean(cosine_DN, neighbours, None)


def _top_mean(scores_DN: np.ndarray, neighbours: int, skip_D: np.ndarray | None) -> np.ndarray:
    if skip_D is not None:
        scores_DN[np.arange(len(scores_DN)), skip_D] = -np.inf
    if neighbours == scores_DN.shape[1]:
        return scores_DN.mean(axis=1)
    return np.partition(scores_DN, -neighbours, axis=1)[:, -neighbours:].mean(axis=1)


def _rank_curve(reference_R: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Signal values, ascending, and their ranks: 1 + how many of the sorted reference are higher. Signal 0
    has the last rank, R + 1, however many of the reference share it."""
    # Only positive signals are ranked; 0 is "nothing shared" and goes last.
    values, counts = np.unique(reference_R[reference_R > 0], return_counts=True)
    higher = np.cumsum(counts[::-1])[::-1] - counts
    return np.append(0.0, values), np.append(len(reference_R), higher) + 1.0


def _unit(vectors_MK: np.ndarray) -> np.ndarray:
    return vectors_MK / np.maximum(np.linalg.norm(vectors_MK, axis=1, keepdims=True), 1e-12)


def _part(words: Words, rows: slice) -> Words:
    ids_T, starts_D1 = words
    starts = starts_D1[rows.start : rows.stop + 1]
    return ids_T[starts[0] : starts[-1]], starts - starts[0]


def _blocks(texts: Sequence[str], n_seeds: int) -> Iterator[slice]:
    """Slices of bounded characters and score cells, so that memory does not grow with the batch."""
    start = chars = 0
    for position, text in enumerate(texts):
        size = min(len(text), _MAX_CHARS)
        full = chars + size > _BLOCK_CHARS or (position - start + 1) * n_seeds > _BLOCK_CELLS
        if full and position > start:
            yield slice(start, position)
            start, chars = position, 0
        chars += size
    if start < len(texts):
        yield slice(start, len(texts))
