"""The input files of a corpus as datatrove reads them: the first step of every pass of pipeline.py.

A file is the unit of work. What a pass writes for a file is named after its number and appears whole, so it
does not depend on the number of tasks or workers, and a killed pass goes on with the files that have nothing
yet.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from datatrove.data import Document
from datatrove.pipeline.base import PipelineStep

from nbkit.text.rows import Row, scan_documents


@dataclass(frozen=True)
class Corpus:
    """The input files, in the order that "first" refers to, and how to read them (see reading.py)."""

    files: tuple[str, ...]
    labels: tuple[str, ...]
    on_bad: str
    make_ids: bool
    max_chars: int | None

    def shard(self, rank: int, tasks: int) -> range:
        """Numbers of the files that task `rank` of `tasks` works on."""
        return range(rank, len(self.files), tasks)

    def rows(self, number: int) -> Iterator[Row]:
        """Rows of one file, good and bad; a bad one raises ValueError unless on_bad is "skip"."""
        path = Path(self.files[number])
        # A bad row ends the pass or is carried on with its reason; none is lost in silence.
        for row in scan_documents(path, self.make_ids, self.max_chars, self.labels[number], unique=False):
            if row.reason and self.on_bad == "error":
                raise row.error(path)
            yield row


def is_done(folder: Path, number: int) -> bool:
    """Whether a pass has written its folder or parquet file for an input file."""
    return any((folder / f"{number:05d}{suffix}").exists() for suffix in ("", ".parquet"))


class ReadRows(PipelineStep):
    """Every row as a Document with metadata "source", "file" (its number), "row", "reason" and "detail".

    A bad row has a reason, and neither id nor text. Files that have something in `done` are left out.
    """

    type, name = "READER", "rows"

    def __init__(self, corpus: Corpus, done: Path) -> None:
        super().__init__()
        self.corpus, self.done = corpus, done

    def run(self, data=None, rank: int = 0, world_size: int = 1) -> Iterator[Document]:
        for number in self.corpus.shard(rank, world_size):
            if not is_done(self.done, number):
                for row in self.corpus.rows(number):
                    yield _document(number, row)


def _document(number: int, row: Row) -> Document:
    record = row.record or {"id": "", "text": "", "source": ""}
    place = {"source": record["source"], "file": number, "row": row.number}
    reason = {"reason": row.reason, "detail": row.detail}
    return Document(text=record["text"], id=record["id"], metadata={**place, **reason})


def by_file(
    data: Iterable[Document], numbers: Iterable[int], done: Path
) -> Iterator[tuple[int, Iterator[Document]]]:
    """(file number, its documents) in order, with no documents for a file without rows."""
    # Tasks read their files one after the other, so documents of a file come together.
    groups = groupby(data, key=lambda doc: doc.metadata["file"])
    ready = next(groups, None)
    for number in numbers:
        if is_done(done, number):
            continue
        if ready is not None and ready[0] == number:
            yield ready
            ready = next(groups, None)
        else:
            yield number, iter(())
