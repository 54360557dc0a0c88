"""From the scores of a corpus to its pools, as datatrove steps: `nbkit.filter.pools` for any size. Used by
pipeline.py.

    FindCuts       one task     cuts.json                          the score and id where each budget ends
    WritePools     any number   hq/ mq/ <file>.jsonl.gz, provenance/<file>.parquet
    WriteTokens    optional     tokens/<pool>/*.ds                 (datatrove's DocumentTokenizer)
    WriteManifest  one task     manifest.json, last: the summary, and the sha256 of every file
"""

import gzip
import json
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from datatrove.data import Document
from datatrove.pipeline.base import PipelineStep
from pyarrow import parquet

from nbkit.filter.corpus.inputs import Corpus
from nbkit.filter.corpus.score import SCORED, write_rows
from nbkit.run.files import atomic_file, files_in, named, read_json, sha256, size_of, write_json
from nbkit.text.rows import REASONS, read_rows

POOLS = ("hq", "mq")
DECISIONS = (*POOLS, "drop", "removed", "bad")
_PROVENANCE = SCORED.append(pa.field("decision", pa.string()))
_ROWS = 2**16
_EXAMPLES = 3
_SIGN = np.uint64(1 << 63)


def sort_keys(scores: np.ndarray) -> np.ndarray:
    """uint64 (D,) in the order of the float64 scores (D,): the bits, with those of negatives turned over."""
    bits = (np.asarray(scores, np.float64) + 0.0).view(np.uint64)  # + 0.0: one zero only
    return np.where(bits & _SIGN, ~bits, bits | _SIGN)


class FindCuts(PipelineStep):
    """One task: how far down the scores two token budgets reach, as `nbkit.filter.pools` has it.

    Best first, equal scores in the order of their ids: "hq" while the running total stays within hq_tokens,
    then "mq" while it stays within both. Exact at any size: four histograms of 2^16 bins find the 64 bits of
    the score where a budget ends, then the documents of that score alone are sorted. Writes per pool the last
    document inside, [score, id] (id "": none of that score), or null where all fit. Raises ValueError when
    the documents hold fewer tokens than asked for.
    """

    type, name = "FILTER", "cuts"

    def __init__(self, corpus: Corpus, scores: Path, out: Path, hq_tokens: int, mq_tokens: int) -> None:
        super().__init__()
        self.corpus, self.scores, self.out = corpus, scores, out
        self.hq_tokens, self.mq_tokens = hq_tokens, mq_tokens

    def run(self, data=None, rank: int = 0, world_size: int = 1) -> None:
        # Sums over an incomplete pass would set the cuts too low.
        if (found := len(named(self.scores, "*.parquet"))) != len(self.corpus.files):
            raise ValueError(
                f"{self.scores} holds the scores of {found} files, the corpus has {len(self.corpus.files)}: "
                f"remove {self.scores.parent} and run again"
            )
        # One pass to see whether the budgets can be met at all.
        held = sum(int(tokens.sum()) for _, tokens in self._scored())
        asked = self.hq_tokens + self.mq_tokens
        if asked > held:
            raise ValueError(
                f"the budgets ask for {asked:,} tokens (hq {self.hq_tokens:,} + mq {self.mq_tokens:,}) but "
                f"the documents that were not removed hold {held:,}: add documents or lower the budgets"
            )
        write_json(self.out, {"hq": self._cut(self.hq_tokens), "mq": self._cut(asked)})

    def _batches(self, *columns: str) -> Iterator[pa.RecordBatch]:
        """These columns of the documents that have a score."""
        for path in named(self.scores, "*.parquet"):
            with parquet.ParquetFile(path) as file:
                for batch in file.iter_batches(_ROWS, columns=["score", *columns]):
                    yield batch.filter(batch["score"].is_valid())

    def _scored(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        for batch in self._batches("n_tokens"):
            yield sort_keys(batch["score"].to_numpy()), batch["n_tokens"].to_numpy()

    def _cut(self, budget: int) -> list | None:
        above = prefix = 0  # tokens above, and the leading bits of, the score where the budget ends
        # 16 bits of the score at a time, the leading ones first: a histogram says where the budget ends.
        for shift in (48, 32, 16, 0):
            tokens = np.zeros(2**16, np.int64)
            for keys, counts in self._scored():
                # Only scores that share the bits found so far are counted further.
                inside = keys >> np.uint64(shift + 16) == prefix if shift < 48 else slice(None)
                bins = (keys[inside] >> np.uint64(shift)) & np.uint64(0xFFFF)
                np.add.at(tokens, bins.astype(np.intp), counts[inside])
            running = above + np.cumsum(tokens[::-1])
            fits = int(np.searchsorted(running, budget, side="right"))
            if fits == len(tokens):
                return None
            above = int(running[fits - 1]) if fits else above
            # The bin where the budget ends gives the next 16 bits.
            prefix = (prefix << 16) | (len(tokens) - 1 - fits)
        return self._cut_ties(prefix, budget - above)

    def _cut_ties(self, key: int, left: int) -> list:
        # Documents of exactly that score are few: they alone are held and sorted by id.
        ties = []
        for batch in self._batches("id", "n_tokens"):
            ties += batch.filter(pa.array(sort_keys(batch["score"].to_numpy()) == key)).to_pylist()
        last = ""
        for row in sorted(ties, key=lambda row: row["id"]):
            left -= row["n_tokens"]
            if left < 0:
                break
            last = row["id"]
        return [ties[0]["score"], last]


def decide(row: dict[str, Any], cuts: dict[str, list | None]) -> str:
    """One of DECISIONS for a row of the scores: "bad" is no document, "removed" has another reason to go."""
    if row["reason"]:
        return "bad" if row["reason"] in REASONS else "removed"
    # The better pool first; a cut of null means that all of the rest fits.
    for pool in POOLS:
        if cuts[pool] is None:
            return pool
        score, last = cuts[pool]
        if row["score"] > score or (row["score"] == score and row["id"] <= last):
            return pool
    return "drop"


class WritePools(PipelineStep):
    """Reads the corpus again beside its scores and writes each document where it belongs."""

    type, name = "WRITER", "pools"

    def __init__(self, corpus: Corpus, scores: Path, out: Path) -> None:
        super().__init__()
        self.corpus, self.scores, self.out = corpus, scores, out

    def run(self, data=None, rank: int = 0, world_size: int = 1) -> None:
        # Cuts are the same for every task: they come from one.
        cuts = read_json(self.out / "cuts.json")
        for number in self.corpus.shard(rank, world_size):
            provenance = self.out / f"provenance/{number:05d}.parquet"
            if provenance.is_file():
                continue
            with ExitStack() as stack:
                # Left in reverse order: the provenance, which marks the file as done, comes last.
                temp = stack.enter_context(atomic_file(provenance))
                pools = {pool: stack.enter_context(_gzip_file(self._pool(pool, number))) for pool in POOLS}
                write_rows(temp, _PROVENANCE, self._decided(number, cuts, pools))

    def _pool(self, pool: str, number: int) -> Path:
        return self.out / pool / f"{number:05d}.jsonl.gz"

    def _decided(self, number: int, cuts: dict, pools: dict) -> Iterator[dict]:
        with parquet.ParquetFile(self.scores / f"{number:05d}.parquet") as file:
            scored = (row for batch in file.iter_batches(1024) for row in batch.to_pylist())
            # Scores and documents are read side by side, in the same order.
            for row, found in zip(scored, self.corpus.rows(number), strict=True):
                assert row["row"] == found.number, "the input changed after it was scored"
                row["decision"] = decide(row, cuts)
                if row["decision"] in pools:
                    kept = {key: found.record[key] for key in ("id", "text", "source")}
                    line = json.dumps({**kept, "score": row["score"]}, ensure_ascii=False)
                    pools[row["decision"]].write(line.encode() + b"\n")
                yield row


@contextmanager
def _gzip_file(path: Path) -> Iterator[gzip.GzipFile]:
    """A gzip file that appears whole, the same bytes for the same lines."""
    with (
        atomic_file(path) as temp,
        temp.open("wb") as raw,
        gzip.GzipFile("", "wb", compresslevel=6, fileobj=raw, mtime=0) as out,
    ):
        yield out


class ReadPool(PipelineStep):
    """The documents of the pool files of a folder, for DocumentTokenizer."""

    type, name = "READER", "pool"

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder = folder

    def run(self, data=None, rank: int = 0, world_size: int = 1) -> Iterator[Document]:
        for path in named(self.folder, "*.jsonl.gz")[rank::world_size]:
            for row in read_rows(path):
                yield Document(text=row["text"], id=row["id"])


class WriteManifest(PipelineStep):
    """One task, the last: counts what was decided and hashes every file. `about`: plain data to keep."""

    type, name = "WRITER", "manifest"

    def __init__(self, corpus: Corpus, out: Path, about: dict) -> None:
        super().__init__()
        self.corpus, self.out, self.about = corpus, out, about

    def run(self, data=None, rank: int = 0, world_size: int = 1) -> None:
        names = [*POOLS, "provenance", "tokens"]
        outputs = {
            f"{name}/{inside}": {"sha256": sha256(path), "bytes": size_of(path)}
            for name in names
            for inside, path in files_in(self.out / name).items()
        }
        summary = {"folder": str(self.out), **self._summary()}
        write_json(self.out / "manifest.json", {**self.about, "summary": summary, "outputs": outputs})

    def _summary(self) -> dict:
        # One pass over all rows: counts, and the first places of each reason.
        documents, tokens, reasons, examples = Counter(), Counter(), Counter(), {}
        for row in self._rows("decision", "reason", "n_tokens", "file", "row"):
            documents[row["decision"]] += 1
            tokens[row["decision"]] += row["n_tokens"] or 0
            if row["reason"]:
                reasons[row["reason"]] += 1
                places = examples.setdefault(row["reason"], [])
                if len(places) < _EXAMPLES:
                    places.append(f"{row['file']}:{row['row']}")
        return {
            "rows": sum(documents.values()),
            "tokens": sum(tokens.values()),
            "decisions": {name: {"documents": documents[name], "tokens": tokens[name]} for name in DECISIONS},
            "reasons": {
                reason: {"rows": n, "examples": examples[reason]} for reason, n in sorted(reasons.items())
            },
            "cuts": read_json(self.out / "cuts.json"),
        }

    def _rows(self, *columns: str) -> Iterator[dict]:
        for number in range(len(self.corpus.files)):
            with parquet.ParquetFile(self.out / f"provenance/{number:05d}.parquet") as file:
                for batch in file.iter_batches(_ROWS, columns=columns):
                    yield from batch.to_pylist()
