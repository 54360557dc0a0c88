"""A sample of a set that is too large to hold: files are read once, hub sets are streamed."""

import json
from collections import Counter

import datasets
import pytest

from nbkit.tasks import sources


@pytest.fixture
def path(tmp_path):
    own = tmp_path / "own.jsonl"
    own.write_text("".join(json.dumps({"text": f"t{i}"}) + "\n" for i in range(20)))
    return own


def test_a_file_gives_each_row_once_in_its_order(path):
    found = sources.sample(f"file:{path}", 5, seed=1)
    numbers = [int(row["id"].rpartition("-")[2]) for row in found]
    assert len(set(numbers)) == 5 and numbers == sorted(numbers)
    assert all(
        row["text"] == f"t{n}" and row["source"] == "own" for row, n in zip(found, numbers, strict=True)
    )
    assert found == sources.sample(str(path), 5, seed=1) != sources.sample(str(path), 5, seed=2)


def test_more_than_there_is_gives_the_whole_file(path):
    assert sources.sample(str(path), 99) == sources.load(str(path))


def test_every_row_is_equally_likely(path):
    drawn = Counter(row["text"] for seed in range(400) for row in sources.sample(str(path), 5, seed))
    # 400 draws of 5 in 20: 100 each, standard deviation 8.7; four of them on either side.
    assert len(drawn) == 20 and all(65 <= n <= 135 for n in drawn.values())


def test_no_more_rows_are_held_than_asked_for(monkeypatch):
    alive, most = set(), 0

    class Row(dict):
        def __init__(self, number):
            nonlocal most
            super().__init__(number=number)
            alive.add(id(self))
            most = max(most, len(alive))

        def __del__(self):
            alive.discard(id(self))

    monkeypatch.setattr(sources, "read_rows", lambda path: map(Row, range(1000)))
    monkeypatch.setattr(sources, "_named", lambda records, name: records)
    assert len(sources.sample("own.jsonl", 5)) == 5
    assert most <= 8


def test_a_hub_set_is_streamed_and_read_no_further_than_needed(monkeypatch):
    read = []

    def rows(shards):
        for shard in shards:
            for i in range(1000):
                read.append((shard, i))
                yield {"text": f"{shard}-{i}"}

    def load_dataset(name, config, *, revision, split, streaming):
        assert (name, revision, split, streaming) == ("owner/name", "main", "train", True)
        return datasets.IterableDataset.from_generator(rows, gen_kwargs={"shards": [0, 1, 2, 3]})

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    found = sources.sample("hub:owner/name@main", 10, seed=3)
    assert len({row["text"] for row in found}) == 10 and len({row["id"] for row in found}) == 10
    assert len(read) < 100


def test_a_registered_set_is_small_and_loaded(monkeypatch):
    monkeypatch.setattr(sources, "load", lambda name, **options: (name, options))
    assert sources.sample("gsm8k", 3, seed=2) == ("gsm8k", {"limit": 3, "seed": 2})


def test_no_rows_are_refused(path):
    with pytest.raises(ValueError, match="limit=0: want at least 1 row"):
        sources.sample(str(path), 0)
