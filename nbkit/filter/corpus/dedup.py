"""`dedup.deduplicate` for a corpus on disk, as datatrove steps: the same sketches, bands, exact check and
rule (keep the first), so the same documents go. Used by pipeline.py.

    ReadRows -> Sketch        any number of tasks   signatures/, sketches/<file>/
    MinhashDedupBuckets       one task per band     pairs/<band>_00.dups      (datatrove's own step)
    FindDuplicates            one task              duplicates/<file>.json

Of datatrove's four MinHash steps, the first and third are ours: datatrove's first wants spaCy's words, its
third takes every LSH match for a duplicate, without looking, and keeps whichever its union-find made the
root. Here the exact Jaccard similarity to a document that is kept decides, for 4 bytes of disk per word.
"""

import hashlib
import heapq
import json
from collections import defaultdict
from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path

import numpy as np
from datasketch import MinHash
from datatrove.data import Document
from datatrove.pipeline.base import PipelineStep
from datatrove.pipeline.dedup.minhash import MinhashConfig, MinhashDedupBuckets
from datatrove.utils.binaryio import read_tuples_from_file
from datatrove.utils.hashing import HashConfig

from nbkit.filter import dedup
from nbkit.filter.corpus.inputs import Corpus, by_file
from nbkit.run.files import atomic_dir, atomic_file, named
from nbkit.text.rows import REASONS
from nbkit.text.words import exact_words

_DOCUMENT = np.dtype([("row", "<u4"), ("size", "<u4"), ("start", "<u8"), ("text", "<u8", (2,))])
_ID = np.dtype([("high", "<u8"), ("low", "<u8"), ("row", "<u4")])
_MANY = 4096  # records read at once
Place = tuple[int, int]  # (number of the file, row in it)


class Sketch(PipelineStep):
    """Writes what the search for duplicates needs of each document: MinHash signatures in datatrove's layout,
    then, as mark of completion, sketches/<file>/ with shingles and the hashes of text and id."""

    type, name = "DEDUP", "sketch"

    def __init__(self, corpus: Corpus, folder: Path, threshold: float, seed: int) -> None:
        super().__init__()
        self.corpus, self.folder, self.threshold, self.seed = corpus, folder, threshold, seed

    def run(self, data, rank: int = 0, world_size: int = 1) -> None:
        # The same bands and permutations as in memory: the same documents are proposed.
        bands, rows = dedup.lsh_bands(self.threshold)
        empty = MinHash(num_perm=dedup.PERMUTATIONS, seed=self.seed + 1, hashfunc=int)
        done = self.folder / "sketches"
        for number, docs in by_file(data, self.corpus.shard(rank, world_size), done):
            with atomic_dir(done / f"{number:05d}") as temp:
                # A bad row or one that goes for another reason is no duplicate of anything.
                _write_sketches(
                    temp, (doc for doc in docs if not doc.metadata["reason"]), empty, bands * rows
                )
                places = np.fromfile(temp / "documents.bin", _DOCUMENT)["row"]
                sketches = np.fromfile(temp / "sketches.bin", "<u4").reshape(-1, bands, rows)
                # Signatures per band, sorted, as datatrove's own step wants to merge them.
                for band in range(bands):
                    path = self.folder / f"signatures/bucket_{band:03d}/{number:05d}.minhash.sig"
                    with atomic_file(path) as part:
                        _sorted_records(sketches[:, band], places).tofile(part)
                # The sketches are in the signatures now; what stays is what the exact check reads.
                (temp / "sketches.bin").unlink()
                _sort_ids(temp / "ids.bin")


def _write_sketches(folder: Path, docs: Iterable[Document], empty: MinHash, n_values: int) -> None:
    start = 0
    with (
        (folder / "documents.bin").open("wb") as documents,
        (folder / "shingles.bin").open("wb") as shingles,
        (folder / "sketches.bin").open("wb") as sketches,
        (folder / "ids.bin").open("wb") as ids,
    ):
        for doc in docs:
            words, row = exact_words(doc.text), doc.metadata["row"]
            own = dedup.shingle_hashes(words)
            own.tofile(shingles)
            dedup.minhash(empty, own).hashvalues[:n_values].astype("<u4").tofile(sketches)
            text = np.frombuffer(_hash(" ".join(words)), "<u8")
            np.array([(row, len(own), start, text)], _DOCUMENT).tofile(documents)
            np.array([(*np.frombuffer(_hash(doc.id), "<u8"), row)], _ID).tofile(ids)
            # Where the next document's shingles begin: they are read back by place, not by search.
            start += len(own)


def _hash(text: str) -> bytes:
    return hashlib.blake2b(text.encode(), digest_size=16).digest()


def _sorted_records(values: np.ndarray, places: np.ndarray) -> np.ndarray:
    """datatrove's signature records: the values of a band, then the document, in ascending order."""
    records = np.column_stack([values, places])
    return records[np.lexsort(records.T[::-1])]


def _sort_ids(path: Path) -> None:
    ids = np.fromfile(path, _ID)
    ids[np.lexsort((ids["row"], ids["low"], ids["high"]))].tofile(path)


def buckets(folder: Path, threshold: float) -> MinhashDedupBuckets:
    """datatrove's step that finds the documents that share a band; run it with one task per band."""
    bands, rows = dedup.lsh_bands(threshold)
    config = MinhashConfig(dedup.SHINGLE, bands, rows, hash_config=HashConfig(precision=32))
    return MinhashDedupBuckets(
        str(folder / "signatures"), str(folder / "pairs"), config=config, lines_to_buffer=_MANY
    )


class FindDuplicates(PipelineStep):
    """One task. Ids given twice first (of all but the first document, on_bad decides), then duplicates in the
    order of the corpus. Memory grows with the number of documents that share a band, not with the corpus."""

    type, name = "DEDUP", "find duplicates"

    def __init__(self, corpus: Corpus, folder: Path, threshold: float) -> None:
        super().__init__()
        self.corpus, self.folder, self.threshold = corpus, folder, threshold

    def run(self, data=None, rank: int = 0, world_size: int = 1) -> None:
        # Written whole by one task: where it is there, the pass was done.
        if (self.folder / "duplicates").is_dir():
            return
        # Ids first: a document that goes for its id must not be what another is a duplicate of.
        removed: dict[Place, tuple[str, str]] = dict(self._given_twice())
        removed |= self._duplicates(removed.keys())
        by_number: dict[int, dict[int, tuple[str, str]]] = defaultdict(dict)
        for (number, row), why in removed.items():
            by_number[number][row] = why
        with atomic_dir(self.folder / "duplicates") as temp:
            for number, rows in by_number.items():
                (temp / f"{number:05d}.json").write_text(json.dumps(rows, sort_keys=True))

    def _given_twice(self) -> Iterator[tuple[Place, tuple[str, str]]]:
        last, first = None, (0, 0)
        # All ids of the corpus in one sorted stream: equal ones come beside each other.
        for high, low, number, row in heapq.merge(*map(self._ids, range(len(self.corpus.files)))):
            if (high, low) != last:
                last, first = (high, low), (number, row)
            elif self.corpus.on_bad == "skip":
                yield (number, row), ("duplicate_id", f"id of {self._name(first)}")
            else:
                raise ValueError(
                    f"{self.corpus.files[number]} row {row} has the id of {self.corpus.files[first[0]]} row "
                    f"{first[1]}: {REASONS['duplicate_id']}; on_bad='skip' keeps the first and counts this "
                    "one"
                )

    def _ids(self, number: int) -> Iterator[tuple[int, int, int, int]]:
        with (self.folder / f"sketches/{number:05d}/ids.bin").open("rb") as handle:
            for high, low, row in read_tuples_from_file(handle, "QQI", lines_to_buffer=_MANY):
                yield high, low, number, row

    def _duplicates(self, skipped: Iterable[Place]) -> dict[Place, tuple[str, str]]:
        groups, member = self._groups()
        kept: list[list[Place]] = [[] for _ in groups]
        removed = {}
        # In the order of the corpus: the first of a group stays, as in `dedup.deduplicate`.
        for place in sorted(member.keys() - set(skipped)):
            others = {other for group in member[place] for other in kept[group]}
            if others and (why := self._compare(place, others)):
                removed[place] = why
                continue
            # Kept: later documents of its groups are compared with it.
            for group in member[place]:
                kept[group].append(place)
        return removed

    def _groups(self) -> tuple[list[list[Place]], dict[Place, list[int]]]:
        """Documents that share a band. datatrove writes each group as a chain of pairs (a, b), (b, c), ..."""
        groups: list[list[Place]] = []
        for path in named(self.folder / "pairs", "*.dups"):
            last = None
            with path.open("rb") as handle:
                for *left, right_file, right_row in read_tuples_from_file(
                    handle, "4I", lines_to_buffer=_MANY
                ):
                    if tuple(left) != last:
                        groups.append([tuple(left)])
                    last = (right_file, right_row)
                    groups[-1].append(last)
        member: dict[Place, list[int]] = defaultdict(list)
        for number, group in enumerate(groups):
            for place in group:
                member[place].append(number)
        return groups, member

    def _compare(self, place: Place, others: set[Place]) -> tuple[str, str] | None:
        """The reason to remove a document, given the kept ones that share a band with it."""
        text, own = _sketch_of(self.folder, place)
        found = [(*_sketch_of(self.folder, other), other) for other in sorted(others)]
        # Equal text first: it is the stronger reason.
        for other_text, _, other in found:
            if (other_text == text).all():
                return "duplicate_exact", f"of {self._name(other)}"
        # Of equally similar ones the earliest, as in memory.
        similarity, earliest = max(
            (dedup.jaccard(own, shingles), (-other[0], -other[1])) for _, shingles, other in found
        )
        if similarity < self.threshold:
            return None
        original = (-earliest[0], -earliest[1])
        return "duplicate_near", f"of {self._name(original)}, similarity {similarity:.4f}"

    def _name(self, place: Place) -> str:
        return f"{self.corpus.labels[place[0]]}:{place[1]}"


@lru_cache(maxsize=64)
def _opened(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    return np.fromfile(folder / "documents.bin", _DOCUMENT), np.memmap(folder / "shingles.bin", "<u4", "r")


def _sketch_of(folder: Path, place: Place) -> tuple[np.ndarray, np.ndarray]:
    """(hash of the text, shingles) of a document."""
    documents, shingles = _opened(folder / f"sketches/{place[0]:05d}")
    found = documents[np.searchsorted(documents["row"], place[1])]
    start = int(found["start"])
    return found["text"], shingles[start : start + int(found["size"])]
