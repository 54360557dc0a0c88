"""Inputs as they come: joined files, foreign line ends, odd folder names, control tokens in a text."""

from __future__ import annotations

import datetime
import decimal
import gzip
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from nbkit.filter.corpus import pipeline
from nbkit.run import files
from nbkit.text import tokenizer as tokens
from nbkit.text.rows import BadRows, read_documents, scan_documents

BOM = b"\xef\xbb\xbf"


def row(text: str, **fields) -> bytes:
    return json.dumps({"text": text, **fields}, ensure_ascii=False).encode()


A, B, C = row("a"), row("b"), row("c")
JOINED = {
    "a mark in the middle": (BOM + A + b"\n" + BOM + B + b"\n", "ab", {}),
    "two marks": (A + b"\n" + BOM + BOM + B, "ab", {}),
    "a mark alone on its line": (A + b"\n" + BOM + b"\n" + B, "ab", {}),
    "no line end before the mark": (A + BOM + B + b"\n" + C, "abc", {}),
    "CR LF": (A + b"\r\n" + B + b"\r\n\r\n" + C, "abc", {}),
    "CR": (A + b"\r" + B + b"\r" + C, "abc", {}),
    "all three": (A + b"\n" + B + b"\r" + C + b"\r\n", "abc", {}),
    "CR, CR LF": (A + b"\r\r\n" + B, "ab", {}),
    "spaces around": (b"  " + A + b" \t\n" + B + b"   ", "ab", {}),
    "line separators in a text": (row("a\u2028\u0085") + b"\n" + B, ["a\u2028\u0085", "b"], {}),
    "a mark inside a text": (row("x\ufeffy") + b"\n" + row("}\ufeff{"), ["x\ufeffy", "}\ufeff{"], {}),
    "NUL in a text": (row("x\x00y") + b"\n" + B, ["x\x00y", "b"], {}),
    "a hole of NUL bytes": (A + b"\n" + b"\x00" * 50 + b"\n" + B, "ab", {"json": 1}),
    "a number of 5,000 digits": (b'{"text": "a", "n": ' + b"9" * 5000 + b"}\n" + B, "b", {"json": 1}),
    "UTF-16": ("{}".encode("utf-16") + b"\n" + B, "b", {"utf8": 1}),
}


@pytest.mark.parametrize("how", JOINED)
@pytest.mark.parametrize("name", ["own.jsonl", "own.jsonl.gz"])
def test_joined_files_and_line_ends(tmp_path, how, name):
    data, texts, counts = JOINED[how]
    path, bad = tmp_path / name, BadRows()
    path.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    found = [doc["text"] for doc in read_documents(path, on_bad="skip", bad=bad, make_ids=True)]
    assert (found, dict(bad.counts)) == (list(texts), counts)


def test_rows_are_numbered_by_line_whatever_the_line_end(tmp_path):
    path = tmp_path / "own.jsonl"
    path.write_bytes(A + b"\r\n\r\n" + B + b"\r" + b"nonsense\n" + C)
    assert [(r.number, r.reason) for r in scan_documents(path, make_ids=True)] == [
        *((1, None), (3, None), (4, "json"), (5, None))
    ]


def test_an_overlong_line_without_line_feeds_is_passed_over(tmp_path):
    path = tmp_path / "own.jsonl"
    path.write_bytes(A + b"\r" + row("x" * 3_000_000) + b"\r" + B)
    rows = list(scan_documents(path, make_ids=True, max_chars=10))
    assert [(r.number, r.reason) for r in rows] == [(1, None), (2, "too_long"), (3, None)]


def test_parquet_values_that_python_cannot_hold_cost_no_row(tmp_path):
    nested = pa.array([{"a": [1, None], "b": {"c": "x"}}, None])
    columns = {
        "id": pa.array(["a", "b"]).dictionary_encode(),
        "text": pa.array(["one", "two"], pa.large_string()),
        "nanoseconds": pa.array([1, 1_700_000_000_123_456_789], pa.timestamp("ns")),
        "far": pa.array([10**15, 0], pa.timestamp("ms")),
        "zone": pa.array([0, 1], pa.timestamp("us", tz="Mars/Phobos")),
        "day": pa.array([10**7, 1], pa.date32()),
        "span": pa.array([1, 2], pa.duration("ns")),
        "time": pa.array([1, 2], pa.time64("ns")),
        "money": pa.array([decimal.Decimal("1.50"), None]),
        "nested": nested,
        "pairs": pa.array([[("k", 1)], []], pa.map_(pa.string(), pa.int64())),
        "bytes": pa.array([b"\xff", b""]),
        "nothing": pa.nulls(2),
    }
    path = tmp_path / "own.parquet"
    parquet.write_table(pa.table(columns), path)
    first, second = read_documents(path)
    assert [first["id"], first["text"], second["id"], second["text"]] == ["a", "one", "b", "two"]
    assert first["nested"] == {"a": [1, None], "b": {"c": "x"}} and second["nested"] is None
    assert first["day"] == "29349-01-26" and second["day"] == datetime.date(1970, 1, 2)
    assert first["money"] == decimal.Decimal("1.50") and isinstance(first["zone"], str)


# Paths


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("data [v2]/part.jsonl", ["data [v2]/part.jsonl"]),
        ("data [v2]/*.jsonl", ["data [v2]/part.jsonl"]),
        ("*/part.jsonl", ["data [v2]/part.jsonl", "data 2/part.jsonl"]),
        ("d*/data [v3]/*.jsonl", ["deep/data [v3]/x.jsonl"]),
        ("run #1/a*b?.jsonl", ["run #1/a*b?.jsonl"]),
        ("run #1/*", ["run #1/a*b?.jsonl", "run #1/axbc.jsonl"]),
        ("run #1/a?b?.jsonl", ["run #1/a*b?.jsonl", "run #1/axbc.jsonl"]),
        ("data [0-9]/*.jsonl", ["data 2/part.jsonl"]),
        ("[x]/[y]/[z].jsonl", ["[x]/[y]/[z].jsonl"]),
        ("**/x.jsonl", ["deep/data [v3]/x.jsonl"]),
        ("é ü/ß.jsonl", ["é ü/ß.jsonl"]),
    ],
)
def test_an_existing_path_goes_before_a_glob(tmp_path, monkeypatch, pattern, found):
    names = ["data [v2]/part.jsonl", "data 2/part.jsonl", "deep/data [v3]/x.jsonl", "[x]/[y]/[z].jsonl"]
    for name in [*names, "run #1/a*b?.jsonl", "run #1/axbc.jsonl", "é ü/ß.jsonl"]:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(A)
    monkeypatch.chdir(tmp_path)
    for given in (pattern, f"./{pattern}", str(tmp_path / pattern)):
        corpus = pipeline._corpus(given, "error", True, None)
        assert [str(Path(p).relative_to(tmp_path)) for p in corpus.files] == sorted(found), given
    monkeypatch.setenv("HOME", str(tmp_path))
    assert len(pipeline._corpus(f"~/{pattern}", "error", True, None).files) == len(found)


def test_a_pattern_without_match_says_so(tmp_path):
    for pattern in (f"{tmp_path}/none/*.jsonl", f"{tmp_path}/[v2].jsonl", ""):
        with pytest.raises(ValueError, match="matches no file; quote the pattern"):
            pipeline._corpus(pattern, "error", True, None)


# Control tokens


@pytest.fixture(scope="module")
def tokenizer():
    return tokens.train_tokenizer(["What is 2 + 2? The tag ends a row."] * 20, 400)


@pytest.mark.parametrize("token", tokens.CONTROL_TOKENS)
@pytest.mark.parametrize("text", ["the tag {} ends a row", "{}", "{}{}", "a{}b\n{}", "<{}>", "x{} "])
def test_a_control_token_spelled_in_a_document_is_text(tokenizer, token, text):
    text = text.replace("{}", token)
    ids = tokens.encode([text, text], tokenizer)
    controls = [tokenizer.convert_tokens_to_ids(name) for name in tokens.CONTROL_TOKENS]
    assert np.isin(ids, controls).sum() == 2 and (ids == tokenizer.eos_token_id).sum() == 2
    assert tokenizer.decode(ids) == (text + tokens.EOS) * 2
    assert tokens.token_counts([text, text], tokenizer).sum() == len(ids)
    assert tokenizer(token)["input_ids"] == [tokenizer.convert_tokens_to_ids(token)], "elsewhere it is one"


def test_thinking_and_tool_calls_stay_tokens(tokenizer):
    ids = tokens.encode(["<think>2</think><tool_call>3</tool_call>"], tokenizer).tolist()
    assert [tokenizer.convert_ids_to_tokens(i) for i in ids if i < 8] == [
        *("<think>", "</think>", "<tool_call>", "</tool_call>", "<eos>")
    ]


def test_token_files_of_a_corpus_agree(tokenizer, tmp_path):
    tokenizer.save_pretrained(tmp_path / "tokenizer")
    step = pipeline._tokenizer_step(tmp_path / "tokenizer", tmp_path / "out [1] #2")
    encoded = step.tokenizer.encode_batch(["a <eos> b<|im_end|>", "<pad>"])
    assert [e.ids for e in encoded] == [
        tokens.encode([text], tokenizer).tolist() for text in ("a <eos> b<|im_end|>", "<pad>")
    ]


def test_a_pool_passes_over_the_copies_of_a_file_browser(tmp_path):
    with gzip.open(tmp_path / "00000.jsonl.gz", "wb") as out:
        out.write(row("a", id="a") + b"\n")
    (tmp_path / "._00000.jsonl.gz").write_bytes(b"\x00\x05\x16\x07")
    assert [doc.id for doc in pipeline.ReadPool(tmp_path).run()] == ["a"]
    assert [p.name for p in files.named(tmp_path, "*.jsonl.gz")] == ["00000.jsonl.gz"]
