"""Scoring of a corpus with a saved `DocumentFilter`, as datatrove steps. Used by pipeline.py.

    ReadRows -> MarkDuplicates -> MarkLeaks -> Score -> WriteScores        scores/<file>.parquet

Nothing is dropped on the way: a document that must go carries its reason to the end, so every row of the
input, bad or good, is one row of the output. Scores depend on a document's own text alone, not on the batch.
"""

from collections.abc import Iterable, Iterator
from itertools import groupby, islice
from pathlib import Path

import numpy as np
import pyarrow as pa
from datatrove.data import Document
from datatrove.pipeline.base import PipelineStep
from pyarrow import parquet

from nbkit.filter.corpus.inputs import Corpus, by_file
from nbkit.filter.scorer import NAMES
from nbkit.run.files import atomic_file, read_json

SIGNALS = ("lexical", "vector", "similarity")
SCORED = pa.schema(
    [("id", pa.string()), ("source", pa.string()), ("file", pa.string()), ("row", pa.int64())]
    + [("n_chars", pa.int64()), ("n_tokens", pa.int64())]
    + [(name, pa.float32()) for name in (*NAMES, *SIGNALS)]
    + [("score", pa.float64()), ("reason", pa.string()), ("detail", pa.string())]
)
_BATCH_DOCS, _BATCH_CHARS = 256, 4_000_000  # whichever is reached first: bounds memory for long documents
_ROWS = 1024


class MarkDuplicates(PipelineStep):
    """Gives the documents that FindDuplicates removed their reason."""

    type, name = "FILTER", "duplicates"

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder = folder

    def run(self, data: Iterable[Document], rank: int = 0, world_size: int = 1) -> Iterator[Document]:
        # One small file of reasons at a time: documents come file by file.
        current, removed = None, {}
        for doc in data:
            if doc.metadata["file"] != current:
                current = doc.metadata["file"]
                path = self.folder / f"{current:05d}.json"
                removed = read_json(path) if path.is_file() else {}
            if why := removed.get(str(doc.metadata["row"])):
                doc.metadata["reason"], doc.metadata["detail"] = why
            yield doc


class MarkLeaks(PipelineStep):
    """Gives the documents that hold an evaluation item their reason. `folder`: a saved Decontaminator."""

    type, name = "FILTER", "leaks"

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder = folder

    def run(self, data: Iterable[Document], rank: int = 0, world_size: int = 1) -> Iterator[Document]:
        from nbkit.filter.contamination import Decontaminator  # noqa: PLC0415 (datatrove pickles the step, not what it loads)

        leaks = Decontaminator.load(self.folder)
        for doc in data:
            if not doc.metadata["reason"] and (leak := leaks.leak(doc.text)):
                doc.metadata["reason"] = f"leak_{leak['kind']}"
                doc.metadata["detail"] = f"{leak['set']} {leak['item']}: {leak['match']}"
            yield doc


class Score(PipelineStep):
    """Counts tokens of every document and scores those without a reason to go, in batches.

    `folder`: a saved DocumentFilter, with the tokenizer in `tokenizer/`. Adds the metadata "n_tokens" and
    "scores" (column -> number).
    """

    type, name = "FILTER", "score"

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder = folder

    def run(self, data: Iterable[Document], rank: int = 0, world_size: int = 1) -> Iterator[Document]:
        from transformers import AutoTokenizer  # noqa: PLC0415 (in the worker only: the parent needs none of it)

        from nbkit.filter.document_filter import DocumentFilter  # noqa: PLC0415 (as above)
        from nbkit.text.tokenizer import token_counts  # noqa: PLC0415 (as above)

        document_filter = DocumentFilter.load(self.folder)
        tokenizer = AutoTokenizer.from_pretrained(self.folder / "tokenizer")
        for batch in _batches(data):
            # Bad rows have no id: there is no text to count.
            read = [doc for doc in batch if doc.id]
            for doc, count in zip(read, token_counts([doc.text for doc in read], tokenizer), strict=True):
                doc.metadata["n_tokens"] = int(count)
            live = [doc for doc in batch if not doc.metadata["reason"]]
            if live:
                _add_scores(live, document_filter.score([doc.text for doc in live]))
            yield from batch


def _batches(data: Iterable[Document]) -> Iterator[list[Document]]:
    """Batches of one file each, so that not even the last bit of a sum depends on the tasks."""
    for _, docs in groupby(data, key=lambda doc: doc.metadata["file"]):
        batch, chars = [], 0
        for doc in docs:
            batch.append(doc)
            chars += len(doc.text)
            if len(batch) >= _BATCH_DOCS or chars >= _BATCH_CHARS:
                yield batch
                batch, chars = [], 0
        if batch:
            yield batch


def _add_scores(docs: list[Document], scores: dict[str, np.ndarray]) -> None:
    columns = dict(zip(NAMES, np.asarray(scores["dimensions"]).T, strict=True))
    columns |= {name: scores[name] for name in (*SIGNALS, "score") if name in scores}
    if not np.isfinite(scores["score"]).all():
        raise ValueError("the filter gave a score that is no finite number: train it again")
    for d, doc in enumerate(docs):
        doc.metadata["scores"] = {name: float(values[d]) for name, values in columns.items()}


class WriteScores(PipelineStep):
    """One parquet file per input file: every row with its scores or its reason, without the text."""

    type, name = "WRITER", "scores"

    def __init__(self, corpus: Corpus, folder: Path) -> None:
        super().__init__()
        self.corpus, self.folder = corpus, folder

    def run(self, data: Iterable[Document], rank: int = 0, world_size: int = 1) -> None:
        for number, docs in by_file(data, self.corpus.shard(rank, world_size), self.folder):
            with atomic_file(self.folder / f"{number:05d}.parquet") as temp:
                write_rows(temp, SCORED, (self._row(doc) for doc in docs))

    def _row(self, doc: Document) -> dict:
        about = doc.metadata
        row = {"file": self.corpus.files[about["file"]], "row": about["row"], **about.get("scores", {})}
        row |= {"reason": about["reason"], "detail": about["detail"] or None}
        if doc.id:
            row |= {"id": doc.id, "source": about["source"], "n_tokens": about["n_tokens"]}
            row["n_chars"] = len(doc.text)
        return row


def write_rows(path: Path, schema: pa.Schema, rows: Iterable[dict]) -> None:
    """A parquet file of `rows`, written as they come; absent columns are null."""
    with parquet.ParquetWriter(path, schema, compression="zstd") as writer:
        rows = iter(rows)
        while block := list(islice(rows, _ROWS)):
            writer.write_table(pa.Table.from_pylist(block, schema))
