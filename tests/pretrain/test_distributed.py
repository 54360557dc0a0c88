"""World sizes: the same samples, the same loss, checkpoints that any number of ranks can continue."""

import json
import shutil

import pytest
import tiny
import torch
from accelerate.data_loader import prepare_data_loader, skip_first_batches
from torch.utils.data import DataLoader, SequentialSampler

from nbkit.models.load import load
from nbkit.pretrain import launch
from nbkit.pretrain.job import Job
from nbkit.pretrain.order import SampleOrder
from nbkit.pretrain.plan import Stage, as_data
from nbkit.pretrain.trainer import MicroBatches
from nbkit.tasks import world
from nbkit.text.tokenizer import load_pool, pack, save_pool

ROW, BATCH = 32, 16
SHAPE = dict(hidden=32, layers=2, heads=4, kv_heads=2, mlp=64, context=64, tied=True)


def plan(steps: int, batch: int = BATCH) -> list[Stage]:
    """`steps` steps: a tenth warmup, the last fifth on sequences twice as long."""
    size = ROW * batch
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


def run(pools, out, ranks, steps=20, module="nbkit.pretrain.job", launcher="", **changes):
    job = Job("arm", str(out), str(pools), str(pools / "tokenizer"), as_data(plan(steps)), BATCH, model=SHAPE)
    config = {**vars(job), "micro_batch": 8, "log_samples": True, **changes}
    return launch.run(module, config, out, launcher or ("torchrun" if ranks > 1 else "inline"), ranks)


@pytest.fixture(scope="module")
def trained(pools, tmp_path_factory):
    """(folder, results): 20 steps by 1 and by 2 ranks, in folder/1 and folder/2, with checkpoint-6."""
    folder = tmp_path_factory.mktemp("trained")
    return folder, {n: run(pools, folder / str(n), n, save_every=6, keep_at=[6]) for n in (1, 2)}


def from_step_6(source, out):
    shutil.copytree(source / "checkpoint-6", out / "checkpoint-6")
    return out


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


def rates(result) -> list[float]:
    return [row["learning_rate"] for row in result["history"]]


def test_two_ranks_read_the_same_and_learn_the_same(trained):
    folder, results = trained
    assert [results[n]["world_size"] for n in (1, 2)] == [1, 2]
    assert samples(folder / "1") == samples(folder / "2")
    assert [len(found) for found in samples(folder / "2").values()] == [2] * 20
    assert losses(results[2]) == pytest.approx(losses(results[1]), rel=1e-3)
    assert rates(results[2]) == rates(results[1])
    first, second = (dict(load(folder / str(n) / "model")[0].named_parameters()) for n in (1, 2))
    assert all(torch.allclose(first[name], second[name], atol=1e-2) for name in first)


@pytest.fixture(scope="module")
def plain(pools, tmp_path_factory):
    """What one rank measures without saving memory."""
    return run(pools, tmp_path_factory.mktemp("plain"), 1, validations=2, validation_rows=16)


@pytest.mark.parametrize(
    "saving",
    [{"chunked_loss": True}, {"activation_checkpointing": "layers"}],
    ids=["chunked", "layers"],
)
def test_what_saves_memory_changes_no_loss(pools, plain, tmp_path, saving):
    saved = run(pools, tmp_path / "saved", 1, validations=2, validation_rows=16, **saving)
    assert losses(saved) == pytest.approx(losses(plain), rel=1e-3) and rates(saved) == rates(plain)
    for ours, theirs in zip(saved["validation"], plain["validation"], strict=True):
        assert ours == pytest.approx(theirs, rel=1e-3)


@pytest.mark.slow
def test_tiles_of_logits_over_two_ranks_and_from_a_plain_checkpoint(pools, trained, tmp_path):
    folder, results = trained
    two = run(pools, tmp_path / "two", 2, chunked_loss=True, activation_checkpointing="layers")
    assert losses(two) == pytest.approx(losses(results[1]), rel=1e-3)
    rest = run(pools, from_step_6(folder / "1", tmp_path), 1, chunked_loss=True)  # no part of the identity
    assert rest["resumed_at"] == 6 and losses(rest) == pytest.approx(losses(results[1]), rel=1e-3)


@pytest.mark.slow
def test_two_ranks_stay_together_over_a_hundred_steps(pools, tmp_path):
    one, two = (run(pools, tmp_path / str(n), n, steps=100) for n in (1, 2))
    assert samples(tmp_path / "1") == samples(tmp_path / "2") and len(losses(one)) == 100
    assert losses(two) == pytest.approx(losses(one), rel=1e-3) and rates(two) == rates(one)


# The other way, to two ranks, starts two more processes; `trained` has shown that two learn what one does.
@pytest.mark.parametrize(("first", "second"), [pytest.param(1, 2, marks=pytest.mark.slow), (2, 1)])
def test_checkpoints_go_from_one_world_size_to_another(pools, trained, tmp_path, first, second):
    folder, results = trained
    rest = run(pools, from_step_6(folder / str(first), tmp_path), second)
    assert rest["resumed_at"] == 6 and rest["world_size"] == second
    assert sorted(samples(tmp_path)) == list(range(6, 20))
    assert losses(rest) == pytest.approx(losses(results[1]), rel=1e-3) and rates(rest) == rates(results[1])


@pytest.mark.parametrize("ranks", [1, 2, 4, 8])
@pytest.mark.parametrize("accumulate", [1, 2, 4])
def test_any_number_of_ranks_takes_each_step_apart_into_the_same_rows(pools, ranks, accumulate):
    """Through accelerate's own data loaders, without the processes; `resumed`: as after step 7."""
    steps, batch = 20, 64
    stages, rows = plan(steps, batch), {name: load_pool(pools / f"{name}.npy") for name in ("hq", "mq")}
    order = SampleOrder(stages, {name: len(own) for name, own in rows.items()}, ROW, 0)
    items = MicroBatches(rows, order, batch // ranks // accumulate * ROW)
    whole, resumed = [], []
    for rank in range(ranks):
        loader = DataLoader(
            items, 1, sampler=SequentialSampler(items), collate_fn=lambda items: items[0]["input_ids"]
        )
        shard = prepare_data_loader(loader, num_processes=ranks, process_index=rank)
        whole.append(list(shard))
        resumed.append([None] * 7 * accumulate + list(skip_first_batches(shard, 7 * accumulate)))
    assert {len(own) for own in whole + resumed} == {steps * accumulate}
    for step in range(steps):
        units = order.units(step * batch * ROW, batch * ROW)
        long = stages[0 if step < 16 else 2].seq_len // ROW
        wanted = sorted(tuple(rows[order.names[p]][r : r + long].ravel().tolist()) for p, r in units)
        for shards in [whole, resumed] if step >= 7 else [whole]:
            mine = [own for rank in shards for own in rank[step * accumulate : (step + 1) * accumulate]]
            assert sorted(tuple(row) for own in mine for row in own.tolist()) == wanted, f"step {step}"


FSDP2_ON_CPU = """
from accelerate import PartialState
from accelerate.utils import DistributedType, FullyShardedDataParallelPlugin
from torch.distributed.tensor import DTensor

from nbkit.pretrain import job as pretrain


class Trainer(pretrain.PretrainTrainer):
    # accelerate shards on GPUs only; with these two set, its code and torch's run on gloo as they are
    def create_accelerator_and_postprocess(self):
        super().create_accelerator_and_postprocess()
        state = self.accelerator.state
        state.fsdp_plugin = FullyShardedDataParallelPlugin(**self.args.fsdp_plugin_args)
        state.distributed_type = PartialState._shared_state["distributed_type"] = DistributedType.FSDP
        self.is_fsdp_enabled = True

    def log(self, logs, *args, **kwargs):
        if "loss" in logs:  # not after a validation: the last group then waits for a backward pass, unsharded
            assert all(isinstance(parameter, DTensor) for parameter in self.model.parameters())
        super().log(logs, *args, **kwargs)


pretrain.PretrainTrainer = Trainer
main = pretrain.main
"""


@pytest.mark.slow
def test_fsdp2_follows_one_rank_and_resumes_in_other_world_sizes(pools, trained, tmp_path, monkeypatch):
    """Each rank holds a part of every weight. Checkpoints are sharded, the model left behind is not."""
    (tmp_path / "fsdp2_on_cpu.py").write_text(FSDP2_ON_CPU)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    how = {"module": "fsdp2_on_cpu", "launcher": "torchrun", "sharding": "fsdp2"}
    plain, two = trained[1][1], run(pools, tmp_path / "2", 2, save_every=6, keep_at=[6], **how)
    assert samples(tmp_path / "2") == samples(trained[0] / "1") and rates(two) == rates(plain)
    assert losses(two) == pytest.approx(losses(plain), rel=1e-3)
    assert len(list((tmp_path / "2" / "checkpoint-6" / "optimizer_0").glob("*.distcp"))) == 2
    first, second = (load(folder / "model")[0].state_dict() for folder in (trained[0] / "1", tmp_path / "2"))
    assert first.keys() == second.keys()
    assert all(torch.allclose(first[name], second[name], atol=2e-2) for name in first)

    one = run(pools, from_step_6(tmp_path / "2", tmp_path / "2to1"), 1, save_every=12, keep_at=[], **how)
    assert one["resumed_at"] == 6 and losses(one) == pytest.approx(losses(two), rel=1e-3)
    shutil.copytree(tmp_path / "2to1" / "checkpoint-12", tmp_path / "1to2" / "checkpoint-12")
    back = run(pools, tmp_path / "1to2", 2, **how)
    assert back["resumed_at"] == 12 and losses(back) == pytest.approx(losses(two), rel=1e-3)


def test_sharding_that_would_not_happen_is_refused(pools, tmp_path):
    with pytest.raises(ValueError, match="sharding: got 'fsdp2', wanted .* launcher torchrun"):
        run(pools, tmp_path / "inline", 1, sharding="fsdp2")
    with pytest.raises(RuntimeError, match="sharding: accelerate has FSDP2 on GPUs only"):
        run(pools, tmp_path / "cpu", 1, launcher="torchrun", sharding="fsdp2")
