"""Distillation by the launcher: two processes learn what one does; what cannot be split is refused."""

import pytest
import tiny
import tiny_dpd
import torch
from kept_once import KeptOnce

from nbkit.dpd.job import Source, distil_all
from nbkit.dpd.teacher_cache import TeacherCache
from nbkit.dpd.tiles import Divergence
from nbkit.dpd.trainer import DPDSettings, Weights, tokenized, trainer_of
from nbkit.models.distributed.sharding import Devices
from nbkit.models.load import history_of, load, save
from nbkit.run.schemas.posttraining import Distil
from nbkit.sft.sft import with_markers

# Whole batches only: a smaller one at the end of a pass is filled up by accelerate.
PAIRS = tiny_dpd.pairs()[:16]
SETTINGS = DPDSettings(
    2.0, 5e-3, 4, 128, 0.1, Weights(0.5, 1.0, 0.5), Divergence("jsd", 2.0), 0, "<|im_end|>"
)


@pytest.fixture
def source(tmp_path):
    for name, seed in (("student", 0), ("teacher", tiny_dpd.TEACHER)):
        save(tmp_path / name, tiny.model(seed), with_markers(tiny.tokenizer()))
    return Source(tmp_path / "student", tmp_path / "teacher")


def cached(source, folder) -> Source:
    """The same with the teacher's likeliest tokens on disk, and no other teacher."""
    tokenizer = load(source.student)[1]
    about = dict(k=8, temperature=2.0, vocab=len(tokenizer))
    rows = tokenized(tokenizer, PAIRS)
    kept = TeacherCache.build(folder, load(source.teacher)[0], tokenizer, rows, **about)
    return Source(source.student, source.teacher, kept.folder)


@pytest.mark.slow
@pytest.mark.parametrize("teacher", ["in memory", "on disk"])
def test_two_processes_distil_what_one_does(source, tmp_path, monkeypatch, teacher):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("NBKIT_PRECISION", "fp32")
    chosen, found = source if teacher == "in memory" else cached(source, tmp_path / "cache"), {}
    for processes in (1, 2):
        run, devices = KeptOnce(tmp_path / str(processes), "05_dpd"), Devices("torchrun", processes)
        found[processes] = distil_all(run, chosen, PAIRS, {"dpd": SETTINGS}, devices=devices)["dpd"]
        again = distil_all(run, chosen, PAIRS, {"dpd": SETTINGS}, devices=devices)
        assert again == {"dpd": found[processes]} and run.built == ["dpd"]  # kept, not trained again
        assert run.seconds["dpd_s"] > 0
    one, two = (history_of(found[n]) for n in (1, 2))
    assert len(one) == 8 and one[-1]["loss"] < one[0]["loss"]
    for name in ("loss", "dpd/dpo", "dpd/pos", "dpd/neg"):
        values = [[row[name] for row in rows] for rows in (one, two)]
        assert values[1] == pytest.approx(values[0], rel=1e-3, abs=1e-6), name
    first, second = (load(found[n])[0].state_dict() for n in (1, 2))
    assert all(torch.allclose(first[name], second[name], atol=1e-2) for name in first)


@pytest.mark.slow
def test_after_a_crash_the_finished_arm_is_kept_and_the_other_begins_again(source, tmp_path, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    run, devices = KeptOnce(tmp_path / "run", "05_dpd"), Devices("torchrun", 2)
    short = DPDSettings(**{**vars(SETTINGS), "max_length": 8})
    with pytest.raises(RuntimeError, match="none of 16 is left"):
        distil_all(run, source, PAIRS, {"dpd": SETTINGS, "short": short}, devices=devices)
    assert run.built == ["dpd"]
    both = distil_all(run, source, PAIRS, {"dpd": SETTINGS, "short": SETTINGS}, devices=devices)
    assert run.built == ["dpd", "short"]
    losses = [[row["loss"] for row in history_of(path)] for path in both.values()]
    assert losses[0] == pytest.approx(losses[1], rel=1e-6)


def test_a_batch_that_does_not_split_is_refused(source, tmp_path, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "3")
    student, tokenizer = load(source.student)
    with pytest.raises(ValueError, match="batch: 4 pairs do not split over 3 processes; take a multiple"):
        trainer_of(student, tokenizer, load(source.teacher)[0], PAIRS, SETTINGS, tmp_path, "dpd")
    with pytest.raises(ValueError, match=r"batch: got 16 rows a step for 3 x 1 processes"):
        Distil.coerced({"launcher": "torchrun", "processes": 3, "batch": 16})


def test_sharding_without_a_launcher_is_refused(source, tmp_path, monkeypatch):
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    student, tokenizer = load(source.student)
    with pytest.raises(ValueError, match="sharding: got 'fsdp2', wanted .* launcher torchrun"):
        trainer_of(student, tokenizer, None, PAIRS, SETTINGS, tmp_path, "dpd", sharding="fsdp2")
