"""Every kind of damage, in every format: refused with file and row, or counted and the rest kept."""

import gzip
import json
import tracemalloc

import pyarrow
import pytest
from pyarrow import parquet

from nbkit.text import rows as reading
from nbkit.text.rows import BadRows, read_documents, read_rows, scan_documents

GOOD = {"id": "a", "text": "A text.", "source": "own"}


def line(**fields) -> bytes:
    return json.dumps({**GOOD, **fields}).encode()


def kept(path, **options):
    """(ids kept, counts by reason, examples) of a reading that skips bad rows."""
    bad = BadRows()
    docs = list(read_documents(path, on_bad="skip", bad=bad, **options))
    return [doc["id"] for doc in docs], dict(bad.counts), bad.examples


BAD_LINES = {
    "utf8": (b'{"id": "x", "text": "\xff\xfe"}', "row 2 is damaged .*UTF-8"),
    "surrogate": (b'{"id": "x", "text": "\\ud800"}', "row 2 is damaged .*surrogate"),
    "json": (b'{"id": "x", "text": "cut', "row 2 is broken JSON"),
    "nested": (b"[" * 100_000, "row 2 is broken JSON"),
    "not_object": (b"[1, 2]", "row 2 is no JSON object but list"),
    "no_text": (b'{"id": "x"}', "row 2 has no string 'text' but NoneType"),
    "text_number": (b'{"id": "x", "text": 5}', "row 2 has no string 'text' but int"),
    "empty_text": (line(id="x", text=" \n"), "row 2 has an empty text"),
    "no_id": (b'{"text": "x"}', "row 2 has no 'id'"),
    "id_true": (line(id=True), "row 2 has no 'id'"),
    "duplicate_id": (line(text="another"), "row 2 has an id given before, 'a'"),
}


@pytest.mark.parametrize("kind", BAD_LINES)
@pytest.mark.parametrize("name", ["own.jsonl", "own.jsonl.gz"])
def test_a_bad_line_is_refused_or_counted(tmp_path, kind, name):
    bad, message = BAD_LINES[kind]
    path = tmp_path / name
    with (gzip.open if name.endswith(".gz") else open)(path, "wb") as out:
        out.write(b"\n".join([line(), bad, line(id="z")]))
    with pytest.raises(ValueError, match=rf"own\.jsonl.* {message}.*on_bad='skip'"):
        list(read_documents(path))
    reason = {"surrogate": "utf8", "nested": "json", "text_number": "no_text", "id_true": "no_id"}
    reason = reason.get(kind, kind)
    assert kept(path) == (["a", "z"], {reason: 1}, {reason: [f"{path}:2"]})


def test_rows_are_lines_and_blank_lines_count(tmp_path):
    path = tmp_path / "own.jsonl"
    path.write_bytes(b"\xef\xbb\xbf" + line() + b"\r\n\n  \n" + line(id=7) + b"\n\n")
    assert [(row.number, row.record["id"]) for row in scan_documents(path)] == [(1, "a"), (4, "7")]
    assert list(read_rows(path)) == [GOOD, {**GOOD, "id": 7}], "raw rows keep their types"
    path.write_bytes(b"")
    assert list(read_rows(path)) == []


def test_ids_are_made_and_sources_filled_in(tmp_path):
    path = tmp_path / "own.jsonl"
    path.write_bytes(b'{"text": "one"}\n{"text": "two", "id": "b", "source": 3}\n')
    docs = list(read_documents(path, make_ids=True))
    assert docs == [
        {"text": "one", "id": "own-1", "source": "own"},
        {"text": "two", "id": "b", "source": "own"},
    ]
    assert next(iter(scan_documents(path, make_ids=True, label="sub/own"))).record["id"] == "sub/own-1"


@pytest.mark.parametrize("cut", [30, 2000, 20_000])
def test_a_truncated_gzip_keeps_what_came_whole(tmp_path, cut):
    path = tmp_path / "own.jsonl.gz"
    rows = [{**GOOD, "id": str(i), "text": str(i**9) * 50} for i in range(2000)]
    path.write_bytes(gzip.compress(b"".join(json.dumps(row).encode() + b"\n" for row in rows)))
    path.write_bytes(path.read_bytes()[:-cut])
    ids, counts, examples = kept(path)
    assert ids == [str(i) for i in range(len(ids))] and 1000 < len(ids) < 2001
    assert counts == {"damaged": 1} and examples == {"damaged": [f"{path}:{len(ids) + 1}"]}
    with pytest.raises(ValueError, match=rf"own\.jsonl\.gz is damaged or cut off after row {len(ids)} "):
        list(read_documents(path))


def test_parquet_without_its_end(tmp_path):
    path = tmp_path / "own.parquet"
    parquet.write_table(pyarrow.table({"id": ["a", "b"], "text": ["one", "two"]}), path)
    assert [row["source"] for row in read_documents(path)] == ["own", "own"]
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(ValueError, match=r"own\.parquet is no complete parquet file, not even row 1"):
        list(read_documents(path))
    assert kept(path) == ([], {"damaged": 1}, {"damaged": [f"{path}:1"]})


def test_a_damaged_row_group_loses_its_own_rows_only(tmp_path):
    path = tmp_path / "own.parquet"
    ids = [str(i) for i in range(600)]
    table = pyarrow.table({"id": ids, "text": [f"text {i} " * 20 for i in range(600)]})
    parquet.write_table(table, path, row_group_size=200, compression="zstd", use_dictionary=False)
    column = parquet.ParquetFile(path).metadata.row_group(1).column(1)
    data = bytearray(path.read_bytes())
    start = column.data_page_offset
    data[start : start + column.total_compressed_size] = bytes(column.total_compressed_size)
    path.write_bytes(data)
    found, counts, examples = kept(path)
    assert found == ids[:200] + ids[400:]
    assert counts == {"damaged": 200} and examples["damaged"][0] == f"{path}:201"
    with pytest.raises(ValueError, match=r"own\.parquet row 201 is damaged"):
        list(read_documents(path))


def test_parquet_rows_have_the_same_faults(tmp_path):
    path = tmp_path / "own.parquet"
    raw = pyarrow.array([b"fine", b"\xff\xfe", b"", None, b"fine too"], pyarrow.binary())
    text = pyarrow.Array.from_buffers(pyarrow.string(), 5, raw.buffers())
    parquet.write_table(pyarrow.table({"id": ["a", "b", "c", "d", "a"], "text": text}), path)
    ids, counts, examples = kept(path)
    assert ids == ["a"]
    assert counts == {"utf8": 1, "empty_text": 1, "no_text": 1, "duplicate_id": 1}
    assert examples["utf8"] == [f"{path}:2"] and examples["duplicate_id"] == [f"{path}:5"]
    with pytest.raises(ValueError, match=r"own\.parquet row 2 is damaged \(no UTF-8"):
        list(read_documents(path))


def test_a_document_of_50_mb(tmp_path):
    path = tmp_path / "own.jsonl.gz"
    with gzip.open(path, "wb", compresslevel=1) as out:
        out.write(line() + b"\n" + line(id="big", text="word " * 10_000_000) + b"\n" + line(id="z"))
    docs = list(read_documents(path))
    assert [doc["id"] for doc in docs] == ["a", "big", "z"] and len(docs[1]["text"]) == 50_000_000
    assert kept(path, max_chars=49_999_999) == (["a", "z"], {"too_long": 1}, {"too_long": [f"{path}:2"]})
    with pytest.raises(ValueError, match="row 2 has 50,000,000 characters, over max_chars=10,000,000"):
        list(read_documents(path, max_chars=10_000_000))
    del docs
    tracemalloc.start()
    assert kept(path, max_chars=1_000_000)[:2] == (["a", "z"], {"too_long": 1})
    assert tracemalloc.get_traced_memory()[1] < 30e6, "an overlong line is passed over, not held"
    tracemalloc.stop()


def test_memory_does_not_grow_with_the_file(tmp_path):
    peaks = []
    for name, n in (("small", 300), ("large", 6000)):
        path = tmp_path / f"{name}.jsonl"
        with path.open("wb") as out:
            out.writelines(line(id=str(i), text="word " * 400) + b"\n" for i in range(n))
        tracemalloc.start()
        assert sum(1 for _ in read_documents(path)) == n
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] - peaks[0] < 2e6, "12 MB more in the file"


def test_examples_are_bounded_and_counts_are_not(tmp_path):
    path = tmp_path / "own.jsonl"
    path.write_bytes(b"[]\n" * 50)
    assert kept(path)[1] == {"not_object": 50}
    assert kept(path)[2]["not_object"] == [f"{path}:{i}" for i in range(1, 6)]


def test_refusals(tmp_path):
    with pytest.raises(ValueError, match="no such data file"):
        next(read_rows(tmp_path / "absent.jsonl"))
    with pytest.raises(ValueError, match=r"own\.csv: want one of \.jsonl, \.jsonl\.gz, \.parquet"):
        next(read_rows(tmp_path / "own.csv"))
    (tmp_path / "own.jsonl").write_bytes(line())
    with pytest.raises(ValueError, match="on_bad='ignore': want one of"):
        next(read_rows(tmp_path / "own.jsonl", on_bad="ignore"))


def test_every_reason_has_its_advice(tmp_path):
    (tmp_path / "own.jsonl").write_bytes(b"\n".join(bad for bad, _ in BAD_LINES.values()))
    found = {row.reason for row in scan_documents(tmp_path / "own.jsonl") if row.reason}
    assert found | {"damaged", "too_long", "duplicate_id"} == set(reading.REASONS)
