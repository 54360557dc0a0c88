"""World sizes: the same samples, the same loss, checkpoints that any number of ranks can continue."""

import json

import pytest
import tiny
import torch
from accelerate.data_loader import BatchSamplerShard
from torch.utils.data import BatchSampler, SequentialSampler

from nbkit import launch
from nbkit.data import world
from nbkit.data.tokens import load_pool, pack, save_pool
from nbkit.train.models import load
from nbkit.train.order import SampleOrder
from nbkit.train.pretrain import Job
from nbkit.train.pretrain_trainer import MicroBatches
from nbkit.train.schedule import Stage, as_data

ROW, BATCH = 32, 16
SHAPE = dict(hidden=32, layers=2, heads=4, kv_heads=2, mlp=64, context=64, tied=True)


def plan(steps: int) -> list[Stage]:
    """`steps` steps: a tenth warmup, the last fifth on sequences twice as long."""
    size = ROW * BATCH
    return [
        Stage("warmup", {"hq": steps // 20 * size, "mq": steps // 20 * size}, 0.0, 5e-3, seq_len=ROW),
        Stage(
            "diversity", {"hq": steps * 7 // 20 * size, "mq": steps * 7 // 20 * size}, 5e-3, 5e-3, seq_len=ROW
        ),
        Stage("decay", {"hq": steps // 5 * size}, 5e-3, 1e-4, seq_len=2 * ROW, rope_base=40_000.0),
    ]


@pytest.fixture(scope="module")
def pools(tmp_path_factory):
    folder, docs = tmp_path_factory.mktemp("pools"), world.corpus(600, seed=3)
    for name, own in (("hq", docs[:300]), ("mq", docs[300:])):
        save_pool(folder / f"{name}.npy", pack(own, tiny.tokenizer(), ROW))
    tiny.tokenizer().save_pretrained(folder / "tokenizer")
    return folder


def run(pools, out, ranks, steps=20, **changes):
    job = Job("arm", str(out), str(pools), str(pools / "tokenizer"), as_data(plan(steps)), BATCH, model=SHAPE)
    out.mkdir(parents=True, exist_ok=True)
    config = {**vars(job), "max_epochs": 1e9, "log_samples": True, **changes}
    return launch.run("nbkit.train.pretrain", config, out, "torchrun" if ranks > 1 else "inline", ranks)


def samples(out) -> dict[int, set]:
    """Step -> what all ranks together trained on in it, as they logged it while training."""
    steps: dict[int, set] = {}
    for path in out.glob("samples-*.jsonl"):
        for line in path.read_text().splitlines():
            row = json.loads(line)
            steps.setdefault(row["step"], set()).add(row["sha256"])
    return steps


def losses(result) -> list[float]:
    return [row["loss"] for row in result["history"]]


def test_two_ranks_read_the_same_and_learn_the_same(pools, tmp_path):
    one, two = run(pools, tmp_path / "one", 1, micro_batch=8), run(pools, tmp_path / "two", 2)
    assert (one["world_size"], two["world_size"]) == (1, 2)
    assert samples(tmp_path / "one") == samples(tmp_path / "two")
    assert [len(found) for found in samples(tmp_path / "two").values()] == [2] * 20
    assert losses(two) == pytest.approx(losses(one), rel=1e-3)
    first, second = (dict(load(tmp_path / n / "model")[0].named_parameters()) for n in ("one", "two"))
    assert all(torch.allclose(first[name], second[name], atol=1e-2) for name in first)


@pytest.mark.slow
def test_two_ranks_stay_together_over_a_hundred_steps(pools, tmp_path):
    one, two = (run(pools, tmp_path / str(n), n, steps=100, micro_batch=8) for n in (1, 2))
    assert samples(tmp_path / "1") == samples(tmp_path / "2") and len(losses(one)) == 100
    assert losses(two) == pytest.approx(losses(one), rel=1e-3)


@pytest.mark.parametrize(("first", "second"), [(1, 2), (2, 1)])
def test_checkpoints_go_from_one_world_size_to_another(pools, tmp_path, first, second):
    whole = run(pools, tmp_path / "whole", 1, micro_batch=8)
    out = tmp_path / "parts"
    run(pools, out, first, micro_batch=8, save_every=6, keep_at=[6])
    for step in (12, 18):
        for path in sorted((out / f"checkpoint-{step}").rglob("*"), reverse=True):
            path.unlink() if path.is_file() else path.rmdir()
        (out / f"checkpoint-{step}").rmdir()
    rest = run(pools, out, second, micro_batch=8)
    assert rest["resumed_at"] == 6 and rest["world_size"] == second
    assert losses(rest) == pytest.approx(losses(whole), rel=1e-3)


@pytest.mark.parametrize("ranks", [1, 2, 4, 8])
@pytest.mark.parametrize("accumulate", [1, 2])
def test_any_number_of_ranks_takes_each_step_apart_into_the_same_rows(pools, ranks, accumulate):
    """Through accelerate's own sharding of the batches, without the processes."""
    if BATCH // ranks // accumulate < 2:
        accumulate = 1
    stages, rows = plan(20), {name: load_pool(pools / f"{name}.npy") for name in ("hq", "mq")}
    order = SampleOrder(stages, {name: len(own) for name, own in rows.items()}, ROW, 0)
    items = MicroBatches(rows, order, BATCH // ranks // accumulate * ROW)
    sampler = BatchSampler(SequentialSampler(items), 1, drop_last=False)
    shards = [list(BatchSamplerShard(sampler, ranks, rank)) for rank in range(ranks)]
    for step in range(20):
        mine = [
            items[i]["input_ids"]
            for shard in shards
            for (i,) in shard[step * accumulate : (step + 1) * accumulate]
        ]
        found = sorted(tuple(row) for batch in mine for row in batch.tolist())
        units = order.units(step * BATCH * ROW, BATCH * ROW)
        long = mine[0].shape[1] // ROW
        wanted = sorted(tuple(rows[order.names[p]][r : r + long].ravel().tolist()) for p, r in units)
        assert found == wanted, f"step {step}"
