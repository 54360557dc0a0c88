"""Arms side by side are what each alone is, with a teacher in memory or on disk."""

import pytest
import tiny
import tiny_dpd
import torch
from kept_once import KeptOnce

from nbkit.dpd import job
from nbkit.dpd.job import Source, distil_all
from nbkit.dpd.teacher_cache import TeacherCache
from nbkit.dpd.tiles import Divergence
from nbkit.dpd.trainer import DPDSettings, Weights, tokenized
from nbkit.models.load import history_of, load, save
from nbkit.sft.sft import with_markers

PAIRS = tiny_dpd.pairs()
HOW = Divergence("jsd", 2.0)


def settings(**weights) -> DPDSettings:
    return DPDSettings(1.0, 1e-3, 8, 128, 0.1, Weights(**weights), HOW, 0, "<|im_end|>")


ARMS = {"dpd": settings(dpo=0.5, pos=1.0, neg=0.5), "sft_continued": settings(dpo=0, pos=0, neg=0, sft=1)}


@pytest.fixture
def source(tmp_path):
    for name, seed in (("student", 0), ("teacher", tiny_dpd.TEACHER)):
        save(tmp_path / name, tiny.model(seed), with_markers(tiny.tokenizer()))
    return Source(tmp_path / "student", tmp_path / "teacher")


def weights(path) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in load(path)[0].parameters()])


def test_arms_side_by_side_are_what_each_alone_is(tmp_path, source, monkeypatch):
    torch.set_num_threads(1)
    run = KeptOnce(tmp_path / "run", "05_dpd")
    together = distil_all(run, source, PAIRS, ARMS, guided_by="a")
    assert sorted(run.seconds) == ["dpd_s", "sft_continued_s"] and min(run.seconds.values()) > 0
    # With models that are too large for it, one after the other in this process.
    monkeypatch.setattr(job, "small_enough", lambda *models: False)
    own = KeptOnce(tmp_path / "alone", "05_dpd")
    alone = distil_all(own, source, PAIRS, ARMS, guided_by="a")
    for name in ARMS:
        assert torch.equal(weights(together[name]), weights(alone[name]))
        losses = [[row["loss"] for row in history_of(path)] for path in (together[name], alone[name])]
        assert losses[0] == pytest.approx(losses[1])
    assert not torch.equal(weights(together["dpd"]), weights(together["sft_continued"]))
    # Another teacher under the same name, or other pairs: made again.
    distil_all(own, source, PAIRS, ARMS, guided_by="b")
    distil_all(own, source, PAIRS[:8], {"dpd": ARMS["dpd"]}, guided_by="b")
    assert own.built == ["dpd", "sft_continued", "dpd", "sft_continued", "dpd"]


def test_a_teacher_on_disk_is_read_in_place_of_its_weights(tmp_path, source):
    tokenizer = load(source.student)[1]
    rows, teacher = tokenized(tokenizer, PAIRS), load(source.teacher)[0]
    size = len(tokenizer)
    options = dict(k=4, temperature=HOW.temperature, vocab=size)
    cache = TeacherCache.build(tmp_path / "cache", teacher, tokenizer, rows, **options)
    run = KeptOnce(tmp_path / "run", "05_dpd")
    cached = Source(source.student, "no such model", cache.folder)
    with pytest.raises(ValueError, match="no such model"):
        distil_all(run, Source(source.student, "no such model"), PAIRS, {"dpd": ARMS["dpd"]})
    path = distil_all(run, cached, PAIRS, {"dpd": ARMS["dpd"]})["dpd"]
    assert not torch.equal(weights(path), weights(source.student))
