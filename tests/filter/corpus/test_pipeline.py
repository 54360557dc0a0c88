"""A corpus through the whole pipeline: the same bytes whatever the tasks, workers and kills; every row
accounted for; and the same decisions as the kit's in-memory functions."""

import gzip
import hashlib
import json
import shutil
from collections import Counter
from dataclasses import fields
from pathlib import Path

import numpy as np
import pyarrow
import pytest
from pyarrow import parquet
from transformers import AutoTokenizer

from nbkit.filter import dedup, pools, scorer
from nbkit.filter.contamination import decontaminate
from nbkit.filter.corpus import pipeline
from nbkit.filter.corpus.executors import Execution
from nbkit.filter.corpus.pipeline import FilterSettings, filter_corpus
from nbkit.filter.document_filter import DocumentFilter
from nbkit.tasks import world
from nbkit.text.rows import read_rows
from nbkit.text.token_shards import load_pools
from nbkit.text.tokenizer import pack, save_pool, token_counts, train_tokenizer

N = 240
EVAL = {
    "own": [f"Which of the {i} bridges over the old river fell in the year {1600 + i}?" for i in range(5)]
}


@pytest.fixture(scope="module")
def docs() -> list[dict]:
    """Planted duplicates, and leaks in every 40th document."""
    rows = [{key: doc[key] for key in ("id", "text", "source")} for doc in world.corpus(N, seed=3)]
    for i in range(0, N, 40):
        rows[i]["text"] += "\n" + EVAL["own"][(i // 40) % 5]
    return rows


@pytest.fixture(scope="module")
def saved(tmp_path_factory, docs) -> Path:
    """A real filter, fitted on a small sample, with its tokenizer."""
    folder = tmp_path_factory.mktemp("saved") / "filter"
    sample = [doc["text"] for doc in docs[:120]]
    annotations = scorer.as_matrix([scorer.annotate(text) for text in sample])
    DocumentFilter.fit(sample, annotations, world.seeds(20)).save(folder)
    train_tokenizer(sample, 320).save_pretrained(folder / "tokenizer")
    return folder


@pytest.fixture
def inputs(tmp_path, docs) -> str:
    """Five files of three kinds, one of them empty."""
    folder = tmp_path / "in"
    folder.mkdir()
    parts = [docs[:100], docs[100:150], [], docs[150:200], docs[200:]]
    for number, part in enumerate(parts):
        lines = "".join(json.dumps(doc) + "\n" for doc in part).encode()
        if number % 2:
            table = pyarrow.Table.from_pylist(part)
            parquet.write_table(table, folder / f"{number}.parquet", row_group_size=20)
        elif number:
            (folder / f"{number}.jsonl").write_bytes(lines)
        else:
            (folder / f"{number}.jsonl.gz").write_bytes(gzip.compress(lines))
    return str(folder / "*")


def run(inputs, saved, out, **settings) -> dict:
    execution = Execution(**{f.name: settings.pop(f.name) for f in fields(Execution) if f.name in settings})
    texts = settings.pop("eval_texts", EVAL)
    chosen = FilterSettings(**{"hq_tokens": 4000, "mq_tokens": 5000, **settings})
    return filter_corpus(inputs, saved, out, chosen, execution, eval_texts=texts)


def content(summary: dict) -> dict[str, str]:
    """Every result file and its hash. Parquet holds no time or path of the run, so bytes can be compared."""
    folder = Path(summary["folder"])
    found = {}
    for name in ("hq", "mq", "provenance", "tokens"):
        for path in sorted((folder / name).rglob("*.*")):
            found[path.relative_to(folder).as_posix()] = hashlib.sha256(path.read_bytes()).hexdigest()
    assert found == {
        k: v["sha256"] for k, v in json.loads((folder / "manifest.json").read_text())["outputs"].items()
    }
    return found


def provenance(summary: dict) -> list[dict]:
    paths = sorted((Path(summary["folder"]) / "provenance").glob("*.parquet"))
    return [row for path in paths for row in parquet.read_table(path).to_pylist()]


def pool(summary: dict, name: str) -> list[dict]:
    return [row for path in sorted((Path(summary["folder"]) / name).glob("*")) for row in read_rows(path)]


def test_the_same_bytes_for_any_tasks(inputs, saved, tmp_path):
    first = run(inputs, saved, tmp_path / "a", token_files=True)
    second = run(inputs, saved, tmp_path / "b", token_files=True, tasks=3)
    assert content(first) == content(second) and len(content(first)) > 15
    assert {**first, "folder": 0} == {**second, "folder": 0}
    for name in ("hq", "mq"):
        sizes = [p.stat().st_size for p in (Path(first["folder"]) / "tokens" / name).glob("*.ds")]
        assert sum(sizes) == 2 * first["decisions"][name]["tokens"] > 0, "uint16, one <eos> per document"


def test_02_reads_the_token_files_as_they_lie(inputs, saved, tmp_path):
    summary = run(inputs, saved, tmp_path / "out", token_files=True, tasks=2)
    tokenizer = AutoTokenizer.from_pretrained(saved / "tokenizer")
    for name in ("hq", "mq", "synthetic"):
        save_pool(tmp_path / f"own/{name}.npy", np.zeros((1, 32), np.uint16))
    shutil.copytree(saved / "tokenizer", tmp_path / "own/tokenizer")
    pools = load_pools(tmp_path / "own", [str(tmp_path / "out")])
    for name in ("hq", "mq"):
        # Every file is packed by itself; what fills no row at its end is left out.
        files = sorted((Path(summary["folder"]) / name).glob("*.jsonl.gz"))
        wanted = np.concatenate([pack(list(read_rows(path)), tokenizer, 32) for path in files])
        assert np.array_equal(pools[name], wanted)
        assert len(wanted) > 50
    assert pools["synthetic"].shape == (1, 32)


def test_the_same_bytes_for_two_workers(inputs, saved, tmp_path):
    one, two = (run(inputs, saved, tmp_path / str(n), tasks=3, workers=n) for n in (1, 2))
    assert content(one) == content(two)


def test_the_same_decisions_as_in_memory(inputs, saved, tmp_path, docs):
    summary = run(inputs, saved, tmp_path / "out", tasks=2)
    rows = provenance(summary)
    assert [row["id"] for row in rows] == [doc["id"] for doc in docs], (
        "every row once, in the order of the files"
    )
    kept, removed = dedup.deduplicate(docs)
    assert len(removed) > 10
    expected = {row["id"]: f"duplicate_{row['kind']}" for row in removed}
    kept, leaks = decontaminate(kept, EVAL)
    assert len(leaks) == 6
    expected |= {row["id"]: f"leak_{row['kind']}" for row in leaks}
    assert {row["id"]: row["reason"] for row in rows if row["reason"]} == expected

    scores = DocumentFilter.load(saved).score([doc["text"] for doc in kept])
    tokens = token_counts(kept, AutoTokenizer.from_pretrained(saved / "tokenizer"))
    scored = [row for row in rows if not row["reason"]]
    np.testing.assert_allclose([row["score"] for row in scored], scores["score"], rtol=1e-6)
    columns = np.array([[row[name] for name in scorer.NAMES] for row in scored])
    np.testing.assert_allclose(columns, scores["dimensions"], atol=1e-5)
    assert [row["n_tokens"] for row in scored] == tokens.tolist()
    label = pools.pools([row["score"] for row in scored], tokens, 4000, 5000, [doc["id"] for doc in kept])
    assert [row["decision"] for row in scored] == label.tolist()
    for name in ("hq", "mq"):
        wanted = [doc["id"] for doc, own in zip(kept, label, strict=True) if own == name]
        assert [row["id"] for row in pool(summary, name)] == wanted
        assert summary["decisions"][name]["tokens"] <= {"hq": 4000, "mq": 5000 + 4000}[name]
    texts = {doc["id"]: doc["text"] for doc in docs}
    assert all(row["text"] == texts[row["id"]] for row in pool(summary, "hq"))


def test_new_budgets_reuse_the_scores_and_anything_else_does_not(inputs, saved, tmp_path, monkeypatch):
    out = tmp_path / "out"
    run(inputs, saved, out)
    scores = list(out.glob("scores-*"))
    before = {path: path.stat().st_mtime_ns for path in scores[0].rglob("*.parquet")}
    assert run(inputs, saved, out, hq_tokens=100)["decisions"]["hq"]["tokens"] <= 100
    assert list(out.glob("scores-*")) == scores and len(list(out.glob("pools-*"))) == 2
    assert before == {path: path.stat().st_mtime_ns for path in scores[0].rglob("*.parquet")}
    other = tmp_path / "other"
    shutil.copytree(saved, other)
    combination = json.loads((other / "combination.json").read_text())
    combination["offset"] += 1
    (other / "combination.json").write_text(json.dumps(combination))
    shifted = run(inputs, other, out)
    assert len(list(out.glob("scores-*"))) == 2
    best = max(row["score"] for row in provenance(run(inputs, saved, out)) if not row["reason"])
    assert max(r["score"] for r in provenance(shifted) if not r["reason"]) == pytest.approx(best + 1)
    changed = Path(inputs).parent / "2.jsonl"
    changed.write_text(json.dumps({"id": "new", "text": "A new document."}) + "\n")
    assert run(inputs, saved, out)["rows"] == N + 1
    run(inputs, saved, out, threshold=0.9)
    assert len(list(out.glob("scores-*"))) == 4
    monkeypatch.setattr(pipeline, "run_stages", lambda *_: pytest.fail("a finished call must not run again"))
    assert run(inputs, saved, out, threshold=0.9)["rows"] == N + 1


BAD = [
    (b'{"id": "u", "text": "\xff"}', "utf8"),
    (b'{"id": "e", "text": ""}', "empty_text"),
    (b'{"id": "n"}', "no_text"),
    (b'{"text": "no id"}', "no_id"),
    (b"{", "json"),
    (json.dumps({"id": "big", "text": "word " * 10_000_000}).encode(), "too_long"),
    (b'{"id": "twice", "text": "A second document of the same id."}', "duplicate_id"),
]


@pytest.fixture
def damaged(tmp_path, docs) -> Path:
    """Every kind of bad row between good ones, in three files."""
    folder = tmp_path / "bad"
    folder.mkdir()
    good = [json.dumps(doc).encode() for doc in docs[:60]]
    good[0] = b'{"id": "twice", "text": "The first document of its id."}'
    lines = good + [line for line, _ in BAD]
    whole = gzip.compress(b"\n".join(lines[:60]))
    (folder / "a.jsonl.gz").write_bytes(whole[:-300])
    (folder / "b.jsonl").write_bytes(b"\n".join(lines[60:]))
    table = pyarrow.table({"id": ["p"], "text": ["lost"]})
    parquet.write_table(table, folder / "c.parquet")
    (folder / "c.parquet").write_bytes((folder / "c.parquet").read_bytes()[:-10])
    return folder


def test_bad_rows_are_skipped_only_when_asked_and_all_counted(damaged, saved, tmp_path):
    settings = {"eval_texts": None, "hq_tokens": 10, "mq_tokens": 10}
    with pytest.raises(ValueError, match=r"a\.jsonl\.gz is damaged or cut off after row \d\d "):
        run(str(damaged / "a*"), saved, tmp_path / "out", **settings)
    with pytest.raises(ValueError, match=r"b\.jsonl row 1 is damaged \(no UTF-8.*on_bad='skip'"):
        run(str(damaged / "b*"), saved, tmp_path / "out", **settings)
    with pytest.raises(ValueError, match=r"c\.parquet is no complete parquet file"):
        run(str(damaged / "c*"), saved, tmp_path / "out", **settings)
    summary = run(str(damaged / "*"), saved, tmp_path / "out", on_bad="skip", tasks=3, **settings)
    counts = {name: about["rows"] for name, about in summary["reasons"].items()}
    counts.pop("duplicate_near", None), counts.pop("duplicate_exact", None)
    assert counts == dict.fromkeys((reason for _, reason in BAD), 1) | {"damaged": 2}
    assert summary["reasons"]["duplicate_id"]["examples"] == [f"{damaged / 'b.jsonl'}:7"]
    assert summary["reasons"]["too_long"]["examples"] == [f"{damaged / 'b.jsonl'}:6"]
    rows = provenance(summary)
    places = Counter((row["file"], row["row"]) for row in rows)
    assert max(places.values()) == 1 and sum(places.values()) == summary["rows"] == len(rows)
    assert [row["row"] for row in rows if row["file"].endswith("b.jsonl")] == list(range(1, 8))
    assert summary["decisions"]["bad"]["documents"] == len(BAD) + 2
    whole = [row for row in rows if row["decision"] in ("hq", "mq", "drop")]
    assert all(row["score"] is not None for row in whole) and len(whole) > 20


def test_ids_given_twice_name_both_places(tmp_path, saved):
    for name in ("a", "b"):
        (tmp_path / f"{name}.jsonl").write_text('{"id": "x", "text": "Some words here."}\n')
    with pytest.raises(ValueError, match=r"b\.jsonl row 1 has the id of .*a\.jsonl row 1: make the ids"):
        run(str(tmp_path / "*.jsonl"), saved, tmp_path / "out")
    for name in ("a", "b"):
        (tmp_path / f"{name}.jsonl").write_text(json.dumps({"text": f"Some words of {name}."}) + "\n")
    summary = run(str(tmp_path / "*.jsonl"), saved, tmp_path / "out", make_ids=True, hq_tokens=1, mq_tokens=0)
    assert [(row["id"], row["source"]) for row in provenance(summary)] == [("a-1", "a"), ("b-1", "b")]


def test_budgets_above_the_pool_are_refused_and_the_scores_kept(inputs, saved, tmp_path):
    with pytest.raises(ValueError, match=r"budgets ask for 9,005,000 tokens .* hold [\d,]+: add documents"):
        run(inputs, saved, tmp_path / "out", hq_tokens=9_000_000)
    scores = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("scores/*.parquet")}
    run(inputs, saved, tmp_path / "out")
    assert scores == {path: path.stat().st_mtime_ns for path in tmp_path.rglob("scores/*.parquet")}
