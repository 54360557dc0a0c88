"""Token shards as one pool: the rows that are packed, from any number of files, without holding them."""

import json
import os
import tracemalloc

import numpy as np
import pytest

from nbkit.pretrain.order import SampleOrder
from nbkit.pretrain.plan import Stage
from nbkit.pretrain.trainer import MicroBatches
from nbkit.run import files
from nbkit.text import token_shards
from nbkit.text.token_shards import TokenRows, data_id, load_pools, shard_of, token_folder
from nbkit.text.tokenizer import save_pool

S = 4
GIB = 2**30


def write(path, tokens, dtype="<u2"):
    """A token file and its index, as datatrove's DocumentTokenizer writes them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    np.asarray(tokens, dtype).tofile(path)
    ends = [len(tokens) // 2, len(tokens)] if len(tokens) else []
    np.asarray(ends, "<u8").tofile(f"{path}.index")
    return path


@pytest.fixture
def own(tmp_path):
    """What 01 publishes: two pools of rows of four tokens."""
    for name in ("hq", "mq"):
        save_pool(tmp_path / f"own/{name}.npy", np.full((2, S), 9, np.uint16))
    (tmp_path / "own/tokenizer").mkdir()
    (tmp_path / "own/tokenizer/tokenizer.json").write_text("{}")
    return tmp_path / "own"


@pytest.fixture
def rows(tmp_path):
    """Shards of 2 rows and a rest, none, less than one, and exactly 3 rows."""
    parts = [range(10), [], [77, 78], range(100, 112)]
    return TokenRows([shard_of(write(tmp_path / f"{i}.ds", p)) for i, p in enumerate(parts)], S)


WANTED = [[0, 1, 2, 3], [4, 5, 6, 7], [100, 101, 102, 103], [104, 105, 106, 107], [108, 109, 110, 111]]


def test_rows_of_shards_are_one_array(rows):
    assert (len(rows), rows.shape, rows.size) == (5, (5, S), 20)
    assert np.asarray(rows).tolist() == WANTED
    assert [row.tolist() for row in rows] == WANTED
    assert rows[3].tolist() == rows[-2].tolist() == WANTED[3]


@pytest.mark.parametrize("part", [slice(1, 4), slice(None, -2), slice(-3, None), slice(4, 2), slice(0, 99)])
def test_a_slice_is_read_only_when_it_is_asked_for(rows, part):
    assert np.asarray(rows[part]).tolist() == WANTED[part]
    assert len(rows[part]) == len(WANTED[part])


def test_a_slice_of_a_slice_counts_from_its_own_start(rows):
    assert np.asarray(rows[1:5][1:3]).tolist() == WANTED[2:4]
    assert rows[1:5][-1].tolist() == WANTED[4]


def test_what_no_array_allows_is_refused(rows):
    with pytest.raises(IndexError, match="row 5 of 5"):
        rows[5]
    with pytest.raises(ValueError, match="step 2"):
        rows[::2]


def test_four_bytes_a_token_are_known_by_the_index(tmp_path):
    shard = shard_of(write(tmp_path / "a.ds", [1, 2, 3, 70_000], "<u4"))
    assert TokenRows([shard], S)[0].tolist() == [1, 2, 3, 70_000]


def test_shards_that_are_cut_short_or_mixed_are_refused(tmp_path):
    path = write(tmp_path / "a.ds", range(12))
    with path.open("r+b") as handle:
        handle.truncate(10)
    with pytest.raises(ValueError, match="10 bytes are no 12 tokens.*cut short"):
        shard_of(path)
    (tmp_path / "a.ds.index").unlink()
    with pytest.raises(ValueError, match=r"no a\.ds\.index beside it"):
        shard_of(path)
    both = [shard_of(write(tmp_path / f"{t[1:]}.ds", range(8), t)) for t in ("<u2", "<u4")]
    with pytest.raises(ValueError, match=r"shards of \[2, 4\] bytes a token"):
        TokenRows(both, S)


def test_pools_of_shards_take_the_place_of_01s(own, tmp_path):
    write(tmp_path / "far/hq/00000_unshuffled.ds", range(8))
    write(tmp_path / "near/hq/00000_unshuffled.ds", range(20, 24))
    pools = load_pools(own, [str(tmp_path / "far"), str(tmp_path / "near")])
    assert np.asarray(pools["hq"]).tolist() == [[0, 1, 2, 3], [4, 5, 6, 7], [20, 21, 22, 23]]
    assert pools["mq"].tolist() == [[9] * S] * 2
    assert list(pools) == ["hq", "mq"]


def test_folders_that_hold_no_pools_are_refused(own, tmp_path):
    with pytest.raises(ValueError, match="is no folder; give the --out"):
        load_pools(own, [str(tmp_path / "absent")])
    with pytest.raises(ValueError, match=r"in folders \[\], wanted some of \['hq', 'mq'\]"):
        load_pools(own, [str(own)])
    write(tmp_path / "other/lq/0.ds", range(8))
    with pytest.raises(ValueError, match=r"in folders \['lq'\]"):
        load_pools(own, [str(tmp_path / "other")])
    write(tmp_path / "few/hq/0.ds", range(3))
    with pytest.raises(ValueError, match="no shard of pool 'hq' holds a row of 4 tokens"):
        load_pools(own, [str(tmp_path / "few")])
    with pytest.raises(ValueError, match=r"holds no \*\.npy; run 01_data_mix"):
        load_pools(tmp_path)


def filtered(tmp_path, name="pools-a", **manifest):
    """What `nbkit filter` leaves of one pair of budgets."""
    write(tmp_path / f"out/{name}/tokens/hq/0.ds", range(8))
    path = tmp_path / f"out/{name}/manifest.json"
    path.write_text(json.dumps({"outputs": {"tokens/hq/0.ds": "abc"}} | manifest))
    return path


def test_the_out_folder_of_the_filter_will_do_while_it_is_clear(own, tmp_path):
    manifest = filtered(tmp_path)
    for given in ("out", "out/pools-a", "out/pools-a/tokens"):
        assert token_folder(tmp_path / given) == manifest.parent / "tokens"
    filtered(tmp_path, "pools-b")
    with pytest.raises(ValueError, match="has 2 pools-.*finished ones: pools-a, pools-b; name the one"):
        token_folder(tmp_path / "out")
    (tmp_path / "out/pools-b/manifest.json").unlink()
    assert token_folder(tmp_path / "out") == manifest.parent / "tokens"
    manifest.unlink()
    with pytest.raises(ValueError, match="finished ones: none"):
        token_folder(tmp_path / "out")


def test_pools_without_token_files_name_the_option(tmp_path):
    manifest = filtered(tmp_path)
    (manifest.parent / "tokens").rename(tmp_path / "elsewhere")
    with pytest.raises(ValueError, match="has no tokens/; run `nbkit filter` with --token-files"):
        token_folder(tmp_path / "out")


def test_tokens_of_another_tokenizer_are_refused(own, tmp_path):
    same = files.sha256(own / "tokenizer/tokenizer.json")
    filtered(tmp_path, tokenizer=same)
    assert len(load_pools(own, [str(tmp_path / "out")])["hq"]) == 2
    filtered(tmp_path, tokenizer="0" * 64)
    with pytest.raises(ValueError, match="tokenized with another tokenizer than"):
        load_pools(own, [str(tmp_path / "out")])


def test_checkpoints_know_shards_by_their_content_not_their_place(own, tmp_path):
    assert data_id(own) == files.sha256(own)
    filtered(tmp_path)
    first = data_id(own, [str(tmp_path / "out")])
    (tmp_path / "out").rename(tmp_path / "moved")
    assert data_id(own, [str(tmp_path / "moved")]) == first != data_id(own)
    path = tmp_path / "moved/pools-a/manifest.json"
    path.write_text(json.dumps({"outputs": {"tokens/hq/0.ds": "other"}}))
    assert data_id(own, [str(tmp_path / "moved")]) != first


def test_shards_without_a_manifest_are_known_by_names_and_sizes(own, tmp_path):
    path = write(tmp_path / "plain/hq/0.ds", range(8))
    first = data_id(own, [str(tmp_path / "plain")])
    write(path, range(12))
    assert data_id(own, [str(tmp_path / "plain")]) != first


def sparse(path, tokens, marks):
    """A token file of that many tokens that takes no disk: holes, but for `marks` (place -> token)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as handle:
        handle.truncate(4 * tokens)
        for place, token in marks.items():
            handle.seek(4 * place)
            handle.write(np.array([token], "<u4").tobytes())
    np.asarray([tokens], "<u8").tofile(f"{path}.index")


def test_200_gb_of_shards_are_read_in_flat_memory(tmp_path):
    """400 shards of 512 MB as many nodes would write them, in sequences of 4,096 and 65,536 tokens."""
    row, per_shard, n = 4096, 2**27, 400
    if os.name == "nt":
        pytest.skip("Windows writes zeros in place of holes: 200 GB of disk")
    save_pool(tmp_path / "own/hq.npy", np.zeros((1, row), np.uint32))
    for number in range(n):
        # The first token of every shard is its number: the right shard must answer.
        sparse(tmp_path / f"far/hq/{number:05d}.ds", per_shard, {0: number + 1})
    assert sum(p.stat().st_size for p in tmp_path.glob("far/hq/*.ds")) == 200 * GIB
    tracemalloc.start()
    pool = load_pools(tmp_path / "own", [str(tmp_path / "far")])["hq"]
    rows_per_shard = per_shard // row
    assert len(pool) == n * rows_per_shard
    assert [int(pool[i * rows_per_shard][0]) for i in range(n)] == list(range(1, n + 1))
    # The order over 13M rows, and batches of both lengths from all over the pool.
    steps, batch = 1000, 16 * row
    plan = [
        Stage("diversity", {"hq": steps * batch}, 1.0, 1.0, seq_len=row),
        Stage("decay", {"hq": steps * batch}, 1.0, 0.1, seq_len=batch),
    ]
    items = MicroBatches({"hq": pool}, SampleOrder(plan, {"hq": len(pool)}, row, seed=0), batch)
    shapes = {tuple(items[i]["input_ids"].shape) for i in (*range(0, 40), *range(steps, steps + 40))}
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert shapes == {(16, row), (1, batch)}
    assert peak < 32 * 2**20, f"{peak / 2**20:.0f} MiB at 200 GB"
    assert token_shards._mapped.cache_info().currsize <= 64
