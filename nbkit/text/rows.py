"""Rows and documents of .jsonl, .jsonl.gz and .parquet files, one at a time, no bad row unaccounted for.

`sources.load` and the corpus pipeline read through this module. Memory holds one line, or one batch of a
parquet row group, never a file (and about 100 bytes per row where duplicate ids are looked for).

    for row in read_rows("own.jsonl.gz"): ...                 # dicts as they are; a bad row is a ValueError
    bad = BadRows()
    docs = list(read_documents("own.parquet", on_bad="skip", bad=bad))
    bad.counts, bad.examples["utf8"]                          # {"utf8": 2}, ["own.parquet:17", ...]

`row` is the line of a jsonl file (blank lines are skipped but counted) or the row of a parquet file, from 1.
A line ends with LF, CR LF or CR; a byte order mark at its beginning is passed over, as files may be joined.
"""

import gzip
import hashlib
import io
import json
import re
import zlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

SUFFIXES = (".jsonl", ".jsonl.gz", ".parquet")
ON_BAD = ("error", "skip")
# What can be wrong with a row -> what to do about it.
REASONS = {
    "utf8": "convert the file to UTF-8 or fetch it again",
    "json": "fetch the file again",
    "not_object": 'every line must be an object like {"id": "a", "text": "..."}',
    "damaged": "fetch the file again",
    "too_long": "split the document, or raise max_chars",
    "no_text": "give every row a string 'text'",
    "empty_text": "remove the row",
    "no_id": "give every row an 'id', or let make_ids (--make-ids) number the rows",
    "duplicate_id": "make the ids of a corpus unique",
}
_BATCH = 64  # rows of a parquet file decoded at once
_EXAMPLES = 5
_ESCAPED = 12  # bytes of JSON that one character may take, \ud83d\ude00 being the longest
_OTHER_FIELDS = 2**20  # bytes of a line that other columns may take where max_chars bounds it
_PIECE = 2**20
_MARK = b"\xef\xbb\xbf"  # of byte order, in UTF-8
_JOIN = re.compile(rb"(?<=\})\xef\xbb\xbf(?=\{)")


class Row(NamedTuple):
    """A row of a file: `record`, or the `reason` (a key of REASONS) and `detail` of what is wrong with it."""

    number: int
    record: dict | None
    reason: str | None = None
    detail: str = ""

    def error(self, path: Path) -> ValueError:
        """What the reader says about a bad row: file, row, what was found and the next step."""
        return ValueError(
            f"{path} {self.detail}: {REASONS[self.reason]}; on_bad='skip' (--on-bad skip) keeps the "
            "other rows and counts this one"
        )


def _bad(number: int, reason: str, found: str) -> Row:
    return Row(number, None, reason, f"row {number} {found}")


class BadRows:
    """Counts of the rows left out, by reason, and where the first of each are ("file:row")."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.examples: dict[str, list[str]] = {}

    def add(self, path: str | Path, row: Row) -> None:
        self.counts[row.reason] += 1
        places = self.examples.setdefault(row.reason, [])
        if len(places) < _EXAMPLES:
            places.append(f"{path}:{row.number}")


def read_rows(path: str | Path, on_bad: str = "error", bad: BadRows | None = None) -> Iterator[dict]:
    """Every row of the file as a dict. Raises ValueError for a file that is absent or of another kind, and
    for the first bad row; with on_bad="skip" bad rows are left out and counted in `bad`."""
    yield from (row.record for row in _good(Path(path), scan_rows(path), on_bad, bad))


def read_documents(
    path: str | Path,
    on_bad: str = "error",
    bad: BadRows | None = None,
    make_ids: bool = False,
    max_chars: int | None = None,
) -> Iterator[dict]:
    """Every document of the file: its row with "id" (str), "text" and "source"; see `scan_documents`."""
    rows = scan_documents(path, make_ids, max_chars)
    yield from (row.record for row in _good(Path(path), rows, on_bad, bad))


def _good(path: Path, rows: Iterator[Row], on_bad: str, bad: BadRows | None) -> Iterator[Row]:
    if on_bad not in ON_BAD:
        raise ValueError(f"on_bad={on_bad!r}: want one of {ON_BAD}")
    for row in rows:
        if row.reason is None:
            yield row
        elif on_bad == "error":
            raise row.error(path)
        elif bad is not None:
            bad.add(path, row)


def scan_documents(
    path: str | Path,
    make_ids: bool = False,
    max_chars: int | None = None,
    label: str | None = None,
    unique: bool = True,
) -> Iterator[Row]:
    """Every row of the file, good or bad, in order; a good one is a document.

    "id" must be a string or an integer, which becomes a string; with `make_ids` a row without one is called
    `<label>-<row>`. `label` (default: the file's name without suffix) is also the "source" of rows that name
    none. Bad besides damaged rows: text that is absent, no string, blank, or longer than `max_chars`
    characters (None: any length is accepted; a 50 MB text takes some 200 MB while it is read); and, with
    `unique`, an id that the file gave before.
    """
    label = Path(path).name.removesuffix(_suffix(Path(path))) if label is None else label
    seen: set[bytes] = set()
    for row in scan_rows(path, max_chars):
        if row.reason is None:
            row = _document(row, label, make_ids, max_chars)
        if row.reason is None and unique:
            key = hashlib.blake2b(row.record["id"].encode(), digest_size=16).digest()
            if key in seen:
                row = _bad(row.number, "duplicate_id", f"has an id given before, {row.record['id']!r}")
            seen.add(key)
        yield row


def _document(row: Row, label: str, make_ids: bool, max_chars: int | None) -> Row:
    number, record = row.number, row.record
    text, own, source = record.get("text"), record.get("id"), record.get("source")
    if own is None and make_ids:
        own = f"{label}-{number}"
    # Why a row cannot be a document, first reason first.
    if not isinstance(text, str):
        return _bad(number, "no_text", f"has no string 'text' but {type(text).__name__}")
    if not text.strip():
        return _bad(number, "empty_text", "has an empty text")
    if max_chars is not None and len(text) > max_chars:
        return _bad(number, "too_long", f"has {len(text):,} characters, over max_chars={max_chars:,}")
    if isinstance(own, bool) or not isinstance(own, str | int) or own == "":
        return _bad(number, "no_id", "has no 'id'")
    own, source = str(own), source if isinstance(source, str) else label
    try:
        # Half of a surrogate pair can be read from JSON, but never written as UTF-8.
        "".join((own, text, source)).encode()
    except UnicodeEncodeError:
        return _bad(number, "utf8", "is damaged (half of a surrogate pair)")
    return Row(number, {**record, "id": own, "text": text, "source": source})


def scan_rows(path: str | Path, max_chars: int | None = None) -> Iterator[Row]:
    """Every row of the file, good or bad, in order. A gzip file that breaks off ends with one bad row; a
    damaged parquet row group gives one for each row it held. Lines that no text of `max_chars` characters
    could need are passed over unread. Raises ValueError for a file that is absent or of another kind."""
    path = Path(path)
    # The kind of file is in its name; the content is not guessed at.
    suffix = _suffix(path)
    if not path.is_file():
        raise ValueError(f"no such data file: {path}")
    if suffix == ".parquet":
        yield from _scan_parquet(path)
    else:
        # Bytes of a line that could still hold a text of `max_chars`, escapes and other fields included.
        longest = -1 if max_chars is None else _ESCAPED * max_chars + _OTHER_FIELDS
        yield from _scan_jsonl(path, longest)


def _suffix(path: Path) -> str:
    for suffix in SUFFIXES:
        if path.name.endswith(suffix):
            return suffix
    raise ValueError(f"{path.name}: want one of {', '.join(SUFFIXES)}")


def _scan_jsonl(path: Path, longest: int) -> Iterator[Row]:
    number = 0
    with (
        (gzip.open if path.suffix == ".gz" else open)(path, "rb") as raw,
        # Latin-1 makes every byte a character and back: what is wanted of text mode are the three line ends.
        io.TextIOWrapper(raw, "latin-1", newline=None) as handle,
    ):
        while True:
            try:
                line = handle.readline(longest)
                # The rest of a line that is too long is read and dropped in pieces: memory stays bounded.
                overlong = piece = len(line) == longest and not line.endswith("\n")
                while piece and not (piece := handle.readline(_PIECE)).endswith("\n"):
                    pass
            except (EOFError, gzip.BadGzipFile, zlib.error) as error:
                found = f"is damaged or cut off after row {number} ({error})"
                yield Row(number + 1, None, "damaged", found)
                return
            if not line:
                return
            if overlong:
                number += 1
                yield _bad(number, "too_long", f"is a line of over {longest:,} bytes")
                continue
            for part in _joined(line.encode("latin-1")):
                number += 1
                if found := _parsed(number, part):
                    yield found


def _joined(line: bytes) -> list[bytes]:
    """The lines in one that holds two files' last and first, where the first had no line end."""
    # Joined files leave a byte order mark between two lines, where the first had no line end.
    parts = _JOIN.split(line) if _MARK in line else [line]
    if len(parts) > 1 and (whole := _parsed(0, line)) and not whole.reason:
        return [line]  # the mark stands inside a text
    return parts


def _parsed(number: int, line: bytes) -> Row | None:
    """The row of a line; None for a blank one."""
    try:
        text = line.decode().lstrip("\ufeff")
        if not text.strip():
            return None
        record = json.loads(text)
    except UnicodeDecodeError as error:
        return _bad(number, "utf8", f"is damaged (no UTF-8: {error})")
    except (ValueError, RecursionError) as error:
        return _bad(number, "json", f"is broken JSON ({error})")
    if not isinstance(record, dict):
        return _bad(number, "not_object", f"is no JSON object but {type(record).__name__}")
    return Row(number, record)


def _scan_parquet(path: Path) -> Iterator[Row]:
    from pyarrow import ArrowException, parquet  # noqa: PLC0415 (slow, needed for parquet only)

    try:
        file = parquet.ParquetFile(path)
    except (ArrowException, OSError) as error:
        yield Row(1, None, "damaged", f"is no complete parquet file, not even row 1 can be read ({error})")
        return
    with file:
        number = 1
        for group in range(file.num_row_groups):
            # A damaged row group costs its own rows; the next one may be whole.
            end = number + file.metadata.row_group(group).num_rows
            try:
                for batch in file.iter_batches(_BATCH, row_groups=[group]):
                    yield from _batch_rows(batch, number)
                    number += len(batch)
            except (ArrowException, OSError) as error:
                yield from (_bad(lost, "damaged", f"is damaged ({error})") for lost in range(number, end))
            number = end


def _batch_rows(batch, number: int) -> Iterator[Row]:
    from pyarrow import ArrowException  # noqa: PLC0415 (slow, needed for parquet only)

    try:
        records = batch.to_pylist()
    except (ArrowException, ValueError, OverflowError, KeyError):
        records = [None] * len(batch)  # then one by one, to find the row
    for i, record in enumerate(records):
        try:
            yield Row(number + i, record or _record(batch.slice(i, 1)))
        except UnicodeDecodeError as error:
            yield _bad(number + i, "utf8", f"is damaged (no UTF-8: {error})")


def _record(row) -> dict:
    """One row. A value of another column than text that Python cannot hold (a time in nanoseconds, a date
    after the year 9999, an unknown time zone) becomes text, as Arrow writes it."""
    from pyarrow import ArrowException  # noqa: PLC0415 (slow, needed for parquet only)

    record = {}
    for name, column in zip(row.schema.names, row.columns, strict=True):
        try:
            # Text must be text: a damaged string is a bad row. Other types may become text.
            record[name] = column.to_pylist()[0]
        except UnicodeDecodeError:
            raise
        except (ArrowException, ValueError, OverflowError, KeyError):
            record[name] = str(column).strip("[]\n ")
    return record
