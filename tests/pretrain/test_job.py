"""Pre-training: runs repeat exactly, the schedule reaches the optimizer, a stopped run goes on."""

import contextlib
import shutil
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import tiny
import torch

from nbkit.models.load import Shape, load, parameters
from nbkit.pretrain.checkpoint import newest_valid
from nbkit.pretrain.job import Job, identity, train
from nbkit.pretrain.order import SampleOrder
from nbkit.pretrain.plan import Stage, as_data, learning_rate
from nbkit.pretrain.rope import rope_base
from nbkit.pretrain.trainer import Follow, MicroBatches
from nbkit.run import progress
from nbkit.tasks import world
from nbkit.text.tokenizer import load_pool, pack, save_pool

SHAPE = dict(hidden=32, layers=2, heads=4, kv_heads=2, mlp=64, context=128, tied=True)
PLAN = [
    Stage("warmup", {"hq": 256, "mq": 256}, 0.0, 1e-2, seq_len=32),
    Stage("diversity", {"hq": 1280, "mq": 1280}, 1e-2, 1e-2, seq_len=32),
    Stage("decay", {"hq": 1024}, 1e-2, 1e-4, seq_len=128, rope_base=80_000.0),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Pools of rows of 32 tokens and the tokenizer, as 01 leaves them."""
    folder, docs = tmp_path_factory.mktemp("pools"), world.corpus(300, seed=3)
    for name, own in (("hq", docs[:150]), ("mq", docs[150:])):
        save_pool(folder / f"{name}.npy", pack(own, tiny.tokenizer(), 32))
    tiny.tokenizer().save_pretrained(folder / "tokenizer")
    return folder


def job(folder, out, **changes) -> Job:
    values = dict(name="arm", out=str(out), pools=str(folder), tokenizer=str(folder / "tokenizer"))
    values |= dict(plan=as_data(PLAN), batch=8, model=SHAPE, validation_rows=8)
    return Job(**values | changes)


def weights(out) -> bytes:
    return (out / "model" / "model.safetensors").read_bytes()


def test_pretraining_learns_repeats_exactly_and_follows_the_plan(folder, tmp_path):
    result = train(job(folder, tmp_path / "a"))
    train(job(folder, tmp_path / "b"))
    assert weights(tmp_path / "a") == weights(tmp_path / "b")
    assert result.history[-1]["loss"] < 0.8 * result.history[0]["loss"]
    assert result.tokens == 16 * 8 * 32 and (result.world_size, result.resumed_at) == (1, 0)
    rates = [learning_rate((row["step"] - 0.5) * 256, PLAN) for row in result.history]
    assert [row["learning_rate"] for row in result.history] == pytest.approx(rates, rel=1e-6)
    assert [row["tokens"] for row in result.history] == [256 * row["step"] for row in result.history]


def test_the_same_rows_in_token_shards_train_the_same_weights(folder, tmp_path):
    """The pool hq as three shards on other disks, each with a rest that fills no row."""
    rows = load_pool(folder / "hq.npy")
    for number, part in enumerate(np.array_split(rows, 3)):
        path = tmp_path / f"far/hq/{number:05d}_unshuffled.ds"
        path.parent.mkdir(parents=True, exist_ok=True)
        tokens = np.append(part.ravel(), [1, 2, 3]).astype("<u2")
        tokens.tofile(path), np.array([len(tokens)], "<u8").tofile(f"{path}.index")
    train(job(folder, tmp_path / "one"))
    train(job(folder, tmp_path / "shards", token_shards=[str(tmp_path / "far")]))
    assert weights(tmp_path / "one") == weights(tmp_path / "shards")


@pytest.mark.parametrize("numbers, wanted", [("bf16", ["eager", "sdpa"]), ("fp32", ["sdpa", "sdpa"])])
def test_short_sequences_get_the_faster_attention_of_a_cpu(monkeypatch, numbers, wanted):
    monkeypatch.setattr("nbkit.pretrain.trainer.precision", lambda: numbers)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    plan, model, seen = [PLAN[0], replace(PLAN[2], seq_len=512)], tiny.model(), []
    follow, args = Follow(plan, batch_tokens=512), SimpleNamespace(torch_compile=False)
    follow.on_train_begin(args, None, None, model)
    for step in (0, 1):
        follow.on_step_begin(args, SimpleNamespace(global_step=step), None, model)
        seen.append(model.config._attn_implementation)
    assert seen == wanted


def test_decay_reads_longer_sequences_under_a_larger_rotary_base(folder, tmp_path):
    train(job(folder, tmp_path))
    model, _ = load(tmp_path / "model")
    assert rope_base(model) == 80_000.0
    items = MicroBatches(
        {name: load_pool(folder / f"{name}.npy") for name in ("hq", "mq")},
        SampleOrder(PLAN, {"hq": 40, "mq": 40}, 32, 0),
        256,
    )
    assert [tuple(items[i]["input_ids"].shape) for i in (0, 11, 12, 15)] == [
        (8, 32),
        (8, 32),
        (2, 128),
        (2, 128),
    ]


def test_an_item_is_the_rows_that_the_order_names(folder):
    pools = {name: load_pool(folder / f"{name}.npy") for name in ("hq", "mq")}
    items = MicroBatches(pools, order := SampleOrder(PLAN, {"hq": 40, "mq": 40}, 32, 5), 256)
    for i in (3, 13):
        long = items[i]["input_ids"].shape[1] // 32
        wanted = [pools[order.names[p]][r : r + long].ravel().tolist() for p, r in order.units(i * 256, 256)]
        assert items[i]["input_ids"].tolist() == wanted == items[i]["labels"].tolist()


def test_passes_per_step_change_nothing_but_the_order_of_summation(folder, tmp_path):
    """Gradients accumulated over two half batches, in float32, against the whole batch at once."""
    one, two = tmp_path / "one", tmp_path / "two"
    with float32():
        train(job(folder, one)), train(job(folder, two, micro_batch=4))
    for a, b in zip(load(one / "model")[0].parameters(), load(two / "model")[0].parameters(), strict=True):
        assert torch.allclose(a, b, atol=2e-4)


@contextlib.contextmanager
def float32():
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NBKIT_PRECISION", "fp32")
        yield


def test_a_stopped_run_goes_on_to_the_same_weights(folder, tmp_path, monkeypatch):
    said = []
    monkeypatch.setattr(progress.Part, "resume", lambda part, done: said.append(f"{part.text} {done}"))
    whole = train(job(folder, tmp_path / "whole"))
    assert whole.resumed_at == 0
    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Follow, "on_step_begin", stop_at(13, Follow.on_step_begin))
        train(job(folder, tmp_path / "cut", save_every=4))
    assert sorted(p.name for p in (tmp_path / "cut").glob("check*")) == ["checkpoint-12", "checkpoint-8"]
    assert train(job(folder, tmp_path / "cut", save_every=4)).resumed_at == 12
    assert weights(tmp_path / "cut") == weights(tmp_path / "whole")
    assert said == ["step 12"], "the live line says it of the resumed run, and of that alone"


def stop_at(step, original):
    def on_step_begin(self, args, state, control, **kwargs):
        if state.global_step == step:
            raise KeyboardInterrupt
        return original(self, args, state, control, **kwargs)

    return on_step_begin


@pytest.mark.slow
def test_a_compiled_run_leaves_the_same_model(folder, tmp_path):
    train(job(folder, tmp_path / "eager"))
    result = train(job(folder, tmp_path / "compiled", compile_steps=1))
    first, second = (load(tmp_path / name / "model")[0] for name in ("eager", "compiled"))
    assert result.compiled
    for a, b in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.allclose(a, b, atol=1e-2)


def test_a_run_branches_where_its_stages_begin_to_differ(folder, tmp_path):
    train(job(folder, tmp_path / "trunk", keep_at=[12]))
    short = [*PLAN[:2], replace(PLAN[2], seq_len=32, rope_base=10_000.0)]
    options = dict(branch_from=str(tmp_path / "trunk" / "checkpoint-12"), chunk=128)
    result = train(job(folder, tmp_path / "twig", plan=as_data(short), **options))
    assert result.resumed_at == 12 and weights(tmp_path / "twig") != weights(tmp_path / "trunk")
    same = train(job(folder, tmp_path / "same", branch_from=options["branch_from"]))
    assert same.resumed_at == 12 and weights(tmp_path / "same") == weights(tmp_path / "trunk")
    earlier = [PLAN[0], replace(PLAN[1], lr_to=5e-3), PLAN[2]]
    with pytest.raises(ValueError, match=r"plan\[1\].lr_to 0.01 -> 0.005"):
        train(job(folder, tmp_path / "no", plan=as_data(earlier), branch_from=options["branch_from"]))


def test_a_changed_plan_does_not_continue_old_checkpoints(folder, tmp_path):
    train(job(folder, tmp_path, save_every=8))
    changed = [*PLAN[:2], replace(PLAN[2], lr_to=2e-4)]
    with pytest.raises(ValueError, match=r"plan\[2\].lr_to 0.0001 -> 0.0002"):
        train(job(folder, tmp_path, plan=as_data(changed)))


def test_validation_reads_rows_that_no_stage_reads(folder, tmp_path):
    result = train(job(folder, tmp_path, validations=4))
    assert [row["step"] for row in result.validation] == [4, 8, 12, 16]
    assert all({"eval_hq_loss", "eval_mq_loss", "tokens"} < set(row) for row in result.validation)
    with pytest.raises(ValueError, match="validation_rows: got 4, wanted at least one micro batch of 8"):
        train(job(folder, tmp_path / "few", validations=4, validation_rows=4))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"batch": 6}, "do not divide into whole steps of 192 tokens"),
        ({"micro_batch": 3}, "8 rows per step do not split over 1 device"),
        ({"micro_batch": 2}, "each a multiple of the longest sequence's 4 rows"),
    ],
)
def test_a_job_that_cannot_be_done_is_refused(folder, tmp_path, changes, message):
    with pytest.raises(ValueError, match=message):
        train(job(folder, tmp_path, **changes))


def test_a_loss_that_is_not_finite_stops_the_run_and_names_the_batch(folder, tmp_path):
    def spoil(self, args, state, control, model=None, **kwargs):
        if state.global_step == 9:
            with torch.no_grad():
                model.model.norm.weight.fill_(float("nan"))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Follow, "on_step_begin", spoil)
        with pytest.raises(ValueError, match=r"not finite at step 10, .* batch \(pool:row\): [hm]q:\d+"):
            train(job(folder, tmp_path, save_every=4))
    found, skipped = newest_valid(tmp_path)
    assert found.name == "checkpoint-8" and not skipped


def test_weights_that_are_not_finite_are_never_sealed(folder, tmp_path):
    """The step before a save spoils a weight: no loss has seen it yet."""
    on_step_end = Follow.on_step_end

    def spoil(self, args, state, control, model=None, **kwargs):
        if state.global_step == 8:
            with torch.no_grad():
                model.model.norm.weight[3] = float("inf")
        return on_step_end(self, args, state, control, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Follow, "on_step_end", spoil)
        with pytest.raises(
            ValueError, match=r"not finite after step 8: model.norm.weight \(1 in all\); checkpoints"
        ):
            train(job(folder, tmp_path, save_every=4))
    found, skipped = newest_valid(tmp_path)
    assert found.name == "checkpoint-4" and not skipped


def test_a_start_is_known_by_its_content_not_its_path(folder, tmp_path):
    train(job(folder, tmp_path / "base"))
    pools = {"hq": np.zeros((4, 32), np.uint16)}
    before = identity(job(folder, "", model=None, start_from=str(tmp_path / "base" / "model")), pools)
    shutil.copytree(tmp_path / "base" / "model", tmp_path / "moved")
    assert identity(job(folder, "", model=None, start_from=str(tmp_path / "moved")), pools) == before
    with (tmp_path / "moved" / "model.safetensors").open("r+b") as weights:
        weights.seek(-1, 2)
        weights.write(b"\x7f")
    assert identity(job(folder, "", model=None, start_from=str(tmp_path / "moved")), pools) != before
    assert identity(job(folder, ""), pools)["start_from"] == ""  # and not the hash of the working folder


def test_pools_that_are_not_there_and_rates_that_teach_nothing(folder, tmp_path):
    with pytest.raises(ValueError, match="holds no .*npy; run 01_data_mix"):
        train(job(folder, tmp_path, pools=str(tmp_path)))
    flat = as_data([Stage("diversity", {"hq": 256}, 0.0, 0.0, seq_len=32)])
    with pytest.raises(ValueError, match="every learning rate is 0"):
        train(job(folder, tmp_path, plan=flat))


def test_models_have_the_asked_shape_and_round_trip(tmp_path):
    model = tiny.model()
    embed, layer = len(tiny.tokenizer()) * 32, 32 * 32 * 2 + 32 * 16 * 2 + 3 * 32 * 64 + 2 * 32
    assert parameters(model) == embed + 2 * layer + 32
    model.save_pretrained(tmp_path)
    tiny.tokenizer().save_pretrained(tmp_path)
    again, tokenizer = load(tmp_path)
    assert again.dtype == torch.float32 and tokenizer.chat_template
    assert all(
        torch.equal(a, b) for a, b in zip(model.parameters(), again.to("cpu").parameters(), strict=True)
    )


def test_bad_models_are_refused(tmp_path):
    with pytest.raises(ValueError, match="hidden must divide by heads"):
        Shape(hidden=30, layers=1, heads=4, kv_heads=2, mlp=8, context=64, tied=True)
    with pytest.raises(ValueError, match="could not load"):
        load(tmp_path / "nothing")
