"""Cached teachers: the same numbers as the teacher in memory, and what is refused."""

import json

import pytest
import tiny
import torch
from safetensors.torch import load, save
from tiny_dpd import TEACHER, distance, losses, rows, trainer

from nbkit.dpd import teacher_cache
from nbkit.dpd.teacher_cache import TeacherCache, truncation_on
from nbkit.dpd.tiles import Divergence
from nbkit.dpd.trainer import divergence

ALL_BUT_ONE = len(tiny.tokenizer()) - 1  # one token in the tail: nothing is lost


def build(folder, k=8, temperature=1.0, teacher=None, data=None, **options):
    teacher = teacher or tiny.model(seed=TEACHER)
    given = dict(k=k, temperature=temperature) | options
    return TeacherCache.build(folder, teacher, tiny.tokenizer(), data or rows(), **given)


def test_what_is_stored_is_the_softmax_of_the_teacher(tmp_path):
    cache, row = build(tmp_path, temperature=2.0), rows()[3]
    for side, (ids, log_probs) in cache.read(row).items():
        tokens = torch.tensor([row["prompt_ids"] + row[f"{side}_ids"]])
        with torch.no_grad():
            logits = tiny.model(seed=TEACHER)(tokens).logits[0, len(row["prompt_ids"]) - 1 : -1]
        p = torch.softmax(logits.double() / 2.0, -1)
        assert ids.shape == (len(row[f"{side}_ids"]), 8) and log_probs.shape == (len(ids), 9)
        assert torch.equal(ids, p.topk(8).indices)
        assert torch.allclose(log_probs[:, :-1].exp().double(), p.topk(8).values, atol=1e-6)
        assert torch.allclose(log_probs.exp().sum(-1), torch.ones(len(ids)), atol=1e-6)


@pytest.mark.parametrize("choice", [Divergence("reverse", 2.0), Divergence("jsd", 1.0, 0.3)], ids=str)
def test_training_from_a_whole_cache_is_training_from_the_teacher(tmp_path, choice):
    cache = build(tmp_path / "cache", ALL_BUT_ONE, choice.temperature)
    one, other = trainer(tmp_path, choice=choice), trainer(tmp_path, choice=choice, teacher=cache)
    assert losses(one) == pytest.approx(losses(other), abs=2e-4)
    assert distance(one.model, other.model) < 1e-4


def test_fewer_tokens_see_less_of_the_divergence(tmp_path):
    seen = []
    for k in (2, 32, ALL_BUT_ONE):
        one = trainer(tmp_path, teacher=build(tmp_path / "cache", k), weights=(0.0, 1.0, 1.0))
        seen.append(float(one.compute_loss(one.model, next(iter(one.get_train_dataloader()))).detach()))
    assert seen == sorted(seen) and seen[0] < seen[-1]


def test_truncated_responses_take_the_first_log_probs(tmp_path):
    longest = max(len(r["prompt_ids"]) + len(r["chosen_ids"]) for r in rows())
    cache = build(tmp_path / "cache", ALL_BUT_ONE)
    for cut in (longest - 2, min(len(r["prompt_ids"]) for r in rows())):
        one, other = (trainer(tmp_path, teacher=t, max_length=cut) for t in (None, cache))
        a, b = (float(t.compute_loss(t.model, next(iter(t.get_train_dataloader())))) for t in (one, other))
        assert a == pytest.approx(b, abs=1e-5)


def test_a_second_build_reads_what_is_there_and_other_settings_lie_elsewhere(tmp_path, monkeypatch):
    first = build(tmp_path)
    monkeypatch.setattr(teacher_cache, "top_k", None)  # calling it would raise
    assert build(tmp_path) == first
    monkeypatch.undo()
    others = [
        build(tmp_path, k=9),
        build(tmp_path, temperature=2.0),
        build(tmp_path, teacher=tiny.model(seed=6)),
    ]
    assert len({c.folder for c in [first, *others]}) == 4


def test_rows_of_padding_are_left_out(tmp_path):
    padded = tiny.model(seed=TEACHER)
    padded.resize_token_embeddings(384, mean_resizing=False)
    with torch.no_grad():
        padded.lm_head.weight[len(tiny.tokenizer()) :] = 7.0
    plain, cut = build(tmp_path), build(tmp_path, teacher=padded, vocab=len(tiny.tokenizer()))
    assert torch.equal(cut.read(rows()[0])["chosen"][1], plain.read(rows()[0])["chosen"][1])
    with pytest.raises(ValueError, match="vocabulary of 384, the student 320.*vocab to TeacherCache.build"):
        trainer(tmp_path, teacher=build(tmp_path, teacher=padded), teacher_tokenizer=tiny.tokenizer())


def damage(cache, row, **changes):
    held = load(cache.path(row).read_bytes()) | changes
    cache.path(row).write_bytes(save({k: x for k, x in held.items() if x is not None}))


def nan(row):
    return torch.full((len(row["rejected_ids"]), 9), float("nan"))


@pytest.mark.parametrize(
    ("harm", "says"),
    [
        (lambda cache, row: cache.path(row).unlink(), "no readable log-probs .*FileNotFoundError"),
        (lambda cache, row: cache.path(row).write_bytes(b"half"), "no readable log-probs .*SafetensorError"),
        (lambda cache, row: damage(cache, row, chosen_ids=None), "no readable log-probs .*KeyError"),
        (lambda cache, row: damage(cache, row, rejected_log_probs=nan(row)), "are not finite"),
        (lambda cache, row: damage(cache, row, chosen_ids=torch.zeros(1, 8).int()), "1 tokens .* has "),
    ],
)
def test_missing_and_broken_log_probs_are_refused_before_training_naming_the_pair(tmp_path, harm, says):
    cache, row = build(tmp_path), rows()[5]
    harm(cache, row)
    with pytest.raises(ValueError, match=says) as error:
        trainer(tmp_path, teacher=cache)
    asked = repr(tiny.tokenizer().decode(row["prompt_ids"])[-80:])
    assert asked in str(error.value)


def test_a_teacher_that_gives_nan_is_refused_when_the_cache_is_built(tmp_path):
    broken = tiny.model(seed=TEACHER)
    with torch.no_grad():
        broken.model.norm.weight[0] = float("nan")
    with pytest.raises(ValueError, match="log-probs of the pair with prompt '.* are not finite"):
        build(tmp_path, teacher=broken)
    assert not list(tmp_path.rglob("*.safetensors"))


def test_another_tokenizer_or_temperature_is_refused(tmp_path):
    cache = build(tmp_path)
    with pytest.raises(ValueError, match="temperature: got 2.0, but the teacher cache .* at 1.0"):
        trainer(tmp_path, teacher=cache, choice=Divergence("forward", 2.0))
    about = json.loads((cache.folder / "about.json").read_text())
    (cache.folder / "about.json").write_text(json.dumps(about | {"tokenizer": "another"}))
    with pytest.raises(ValueError, match="made with another tokenizer than the student's"):
        trainer(tmp_path, teacher=cache)


def test_truncation_on_pairs_is_measured_on_their_completions():
    student, teacher = tiny.model(), tiny.model(seed=TEACHER)
    how, data = Divergence("forward", 2.0), [rows()[i] for i in (3, 5)]
    few, all_but_one = truncation_on(student, teacher, tiny.tokenizer(), data, (8, ALL_BUT_ONE), how)
    away = []
    for row in data:
        for side in ("chosen", "rejected"):
            tokens = torch.tensor([row["prompt_ids"] + row[f"{side}_ids"]])
            with torch.no_grad():
                tables = [m(tokens).logits[0, len(row["prompt_ids"]) - 1 : -1] for m in (student, teacher)]
            away += divergence(*tables, "forward", 2.0).tolist()
    assert few["exact"] == pytest.approx(sum(away) / len(away), abs=1e-5)
    assert few["kept"] < few["exact"] and all_but_one["kept"] == pytest.approx(few["exact"], abs=1e-5)
    assert few["gradient"] > all_but_one["gradient"]
