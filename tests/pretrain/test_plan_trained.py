"""What 01 publishes is what 02 trains, to the token: through the file, the job and the order of the rows."""

import contextlib
import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import tiny
from hypothesis import given, settings
from hypothesis import strategies as st

from nbkit.pretrain.fg_wsd import POOLS, fg_wsd, for_model, report_budgets, vanilla
from nbkit.pretrain.job import Job
from nbkit.pretrain.order import SampleOrder
from nbkit.pretrain.plan import PlanFile, Stage, as_data, check, describe, pool_tokens, total_tokens
from nbkit.run import files, params
from nbkit.run.schemas import SCHEMAS

ROOT = Path(__file__).resolve().parents[2]
TRILLION = 10**12


def publish(folder: Path, pools: dict, max_epochs=8.0, **sizes) -> list[Stage]:
    """As 01 does: plan, check, write."""
    plan = fg_wsd(pools=pools, **sizes)
    check(plan, pools, sizes["seq_len"], sizes["step_tokens"], max_epochs)
    PlanFile(plan, sizes["seq_len"], sizes["step_tokens"], 0, max_epochs).save(folder / "plan.json")
    return plan


def train(folder: Path, batch: int, pools: dict, arm) -> tuple[list[Stage], SampleOrder]:
    """As 02 and its job do, up to the model: read, set the rates, hand over as JSON, order the rows."""
    planned = PlanFile.load(folder / "plan.json")
    planned.check_batch(batch)
    plan = arm(for_model(planned.stages, 3e-3, 1e-5, rope_base=1e4, decay_rope_base=1e4))
    job = Job(**json.loads(json.dumps(asdict(Job("arm", "out", "pools", "tokenizer", as_data(plan), batch)))))
    stages, row = [Stage(**stage) for stage in job.plan], planned.seq_len
    check(stages, pools, row, job.batch * row, planned.max_epochs)
    return stages, SampleOrder(stages, {name: held // row for name, held in pools.items()}, row, job.seed)


def tokens_read(order: SampleOrder) -> list[dict[str, int]]:
    """Tokens of each stage by pool, row by row."""
    read, start = [], 0
    for stage in order.plan:
        pool = order.units(start, stage.total)[:, 0]
        counts = np.bincount(pool, minlength=len(order.names)) * stage.seq_len
        read.append(dict(zip(order.names, counts.tolist(), strict=True)))
        start += stage.total
    return read


@settings(max_examples=200, deadline=None)
@given(
    batch=st.integers(1, 6),
    parts=st.sampled_from([1, 2, 4]),
    row=st.sampled_from([8, 24]),
    steps=st.integers(4, 400),
    extra=st.integers(0, 100),
    share=st.floats(0, 0.4),
    lost=st.floats(0, 0.04),
)
def test_what_01_publishes_is_what_02_trains(tmp_path_factory, batch, parts, row, steps, extra, share, lost):
    folder, longest, batch = tmp_path_factory.getbasetemp(), row * parts, batch * parts
    step = batch * row
    total = step * steps + extra % step
    # Pools near the sizes that 01 aims for, in whole rows; small ones hold a few of the longest sequences.
    wanted = report_budgets(total) | {"synthetic": int(total * share)}
    pools = {name: max(int(wanted[name] * (1 - lost)) // row * row, 6 * longest) for name in POOLS}
    sizes = {"total_tokens": total, "step_tokens": step, "seq_len": row, "decay_seq_len": longest}
    published = publish(folder, pools, synthetic_share=share, **sizes)

    trained, order = train(folder, batch, pools, arm=list)
    assert [(s.name, s.tokens, s.seq_len) for s in trained] == [
        (s.name, s.tokens, s.seq_len) for s in published
    ]
    assert tokens_read(order) == [s.tokens for s in published]

    shuffled, order = train(folder, batch, pools, arm=vanilla)
    assert tokens_read(order) == [s.tokens for s in shuffled]
    assert [s.total for s in shuffled] == [s.total for s in published]
    assert pool_tokens(shuffled) == pool_tokens(published)

    assert total_tokens(published) == steps * step
    assert all(row["epochs"][name] <= 8 for row in describe(published, pools, step) for name in POOLS)


@pytest.mark.parametrize("arm", [list, vanilla])
def test_the_reports_own_plan_is_trained_to_the_token(tmp_path, arm):
    """23T tokens, too many to count row by row: the positions at which each pool is read from and to."""
    pools = {"hq": 13 * TRILLION // 2, "mq": 6 * TRILLION, "synthetic": 345 * TRILLION // 100}
    pools = {name: held // 4096 * 4096 for name, held in pools.items()}
    sizes = {"seq_len": 4096, "decay_seq_len": 65_536, "step_tokens": 1024 * 4096}
    published = publish(tmp_path, pools, 4.0, total_tokens=23 * TRILLION, **sizes)
    trained, order = train(tmp_path, 1024, pools, arm)
    assert total_tokens(published) == total_tokens(trained) == 23 * TRILLION // (1024 * 4096) * (1024 * 4096)
    assert pool_tokens(trained) == pool_tokens(published)
    for stage, wanted, bounds in zip(trained, arm(published), order.bounds, strict=True):
        read = ((bounds[-1] - bounds[0]) * order.chunk).tolist()
        assert dict(zip(order.names, read, strict=True)) == stage.tokens == wanted.tokens
        assert stage.total == wanted.total


def cell(stage: str, holds: str) -> str:
    """The one code cell of a notebook that holds this text."""
    cells = files.read_json(ROOT / "notebooks" / f"{stage}.ipynb")["cells"]
    found = [
        "".join(c["source"]) for c in cells if c["cell_type"] == "code" and holds in "".join(c["source"])
    ]
    assert len(found) == 1, (stage, holds, len(found))
    return found[0]


class Folder:
    """What the cells ask of a run: one folder, written by 01 and read by 02."""

    def __init__(self, folder: Path):
        self.folder = folder

    def artifact_dir(self, name: str):
        return contextlib.nullcontext(self.folder)

    def input(self, stage: str, name: str) -> Path:
        return self.folder


@pytest.mark.parametrize("profile", ["smoke", "small", "claims", "smollm2"])
def test_the_cells_of_01_and_02_make_and_train_one_plan(profile, tmp_path, capsys):
    first, second = (
        params.coerce(SCHEMAS[stage], params.load_profile(profile, stage)) for stage in list(SCHEMAS)[:2]
    )
    wanted = report_budgets(first.total_tokens, first.hq_share) | {
        "synthetic": int(first.total_tokens * first.synthetic_share)
    }
    rows = {name: np.zeros((wanted[name] // first.seq_len, first.seq_len), np.uint16) for name in POOLS}
    one = {"cfg": first, "rows": rows, "POOLS": POOLS, "tokenizer": tiny.tokenizer(), "run": Folder(tmp_path)}
    exec(cell("01_data_mix", "= fg_wsd("), one)
    printed = capsys.readouterr().out
    exec(cell("01_data_mix", "plan.json").partition('with run.artifact_dir("filter")')[0], one)
    two = {"cfg": second, "run": Folder(tmp_path)}
    exec(cell("02_pretrain", "plan.json"), two)
    exec(cell("02_pretrain", "fg = for_model("), two)
    assert [(s.name, s.tokens, s.seq_len) for s in two["fg"]] == [
        (s.name, s.tokens, s.seq_len) for s in one["plan"]
    ]
    assert pool_tokens(vanilla(two["fg"])) == pool_tokens(one["plan"]) and two["held"] == one["held"]
    for stage in two["fg"]:
        assert f"{stage.name:<13}{stage.total // first.step_tokens:>6} steps" in printed
        assert all(f"{stage.tokens[name]:,}" in printed for name in POOLS)
