"""Token views against plain logits, and the numbers made from them by hand."""

import math

import pytest
import tiny
import torch
from tiny_dpd import TEACHER, rows, trainer

from nbkit.dpd.tiles import Divergence
from nbkit.dpd.trainer import divergence
from nbkit.dpd.view import TokenView, concentration, pair_terms, summary, token_views

ROW = rows()[3]


def views_of(student, how, teacher=None, side="chosen"):
    return token_views(student, teacher or tiny.model(seed=TEACHER), tiny.tokenizer(), ROW, side, how)


def test_a_view_says_what_the_logits_say():
    how, tokenizer = Divergence("forward", 2.0), tiny.tokenizer()
    start, ids = ROW["prompt_ids"], ROW["chosen_ids"]
    with torch.no_grad():
        logits = [
            tiny.model(seed=seed)(torch.tensor([start + ids])).logits[0, len(start) - 1 : -1]
            for seed in (0, TEACHER)
        ]
    p_s, p_t = (torch.softmax(x, -1) for x in logits)
    views = views_of(tiny.model(), how)
    assert [v.token for v in views] == [tokenizer.decode([i]) for i in ids]
    away = divergence(*logits, "forward", 2.0).tolist()
    assert [v.divergence for v in views] == pytest.approx(away, abs=1e-5)
    for n, view in enumerate(views):
        assert (view.student, view.teacher) == pytest.approx((float(p_s[n, ids[n]]), float(p_t[n, ids[n]])))
        assert (view.teacher_top, view.teacher_top_p) == (
            tokenizer.decode([int(p_t[n].argmax())]),
            pytest.approx(float(p_t[n].max())),
        )


def test_the_rows_that_pad_a_teacher_do_not_count():
    teacher, padded = tiny.model(seed=TEACHER), tiny.model(seed=TEACHER)
    padded.resize_token_embeddings(len(tiny.tokenizer()) + 8)
    with torch.no_grad():
        padded.get_output_embeddings().weight[-8:] = 9.0
    plain, cut = (views_of(tiny.model(), Divergence(), t) for t in (teacher, padded))
    assert [v.divergence for v in cut] == pytest.approx([v.divergence for v in plain], abs=1e-6)


def test_terms_of_one_pair_are_those_of_the_trainer(tmp_path):
    one = trainer(tmp_path, weights=(1.0, 1.0, 1.0), per_device_train_batch_size=1)
    row = one.train_dataset[3]
    batch = one.data_collator([row])
    terms = one._terms(one.model, batch)
    views = {side: views_of(tiny.model(), Divergence(), side=side) for side in ("chosen", "rejected")}
    ours = pair_terms(views, 0.1)
    assert ours["L_dpo"] == pytest.approx(math.log(2)) and ours["margin"] == 0
    assert (ours["L_pos"], ours["L_neg"]) == pytest.approx((float(terms.pos), float(terms.neg)), abs=1e-5)
    moved = {side: views_of(tiny.model(seed=2), Divergence(), side=side) for side in views}
    one.model.load_state_dict(tiny.model(seed=2).state_dict())
    terms, ours = one._terms(one.model, batch), pair_terms(moved, 0.1, reference=views)
    assert (ours["L_dpo"], ours["margin"]) == pytest.approx((float(terms.dpo), float(terms.margin)), abs=1e-3)


def test_a_margin_that_is_far_off_does_not_overflow():
    far = {side: [view(1.0)._replace(logp=x)] for side, x in (("chosen", -9e4), ("rejected", 0.0))}
    near = {side: [view(1.0)._replace(logp=0.0)] for side in far}
    assert pair_terms(far, 0.1, reference=near)["L_dpo"] == pytest.approx(9e3)


def view(divergence, student=0.2, teacher=0.2):
    return TokenView("a", divergence, math.log(student), student, teacher, "b", 0.9)


def test_concentration_and_confident_errors_by_hand():
    views = [view(x) for x in (1.0, 0.0, 7.0, 0.0, 0.0, 0.0, 2.0, 0.0, 0.0, 0.0)]
    assert concentration(views) == pytest.approx(0.7) and concentration(views, 0.2) == pytest.approx(0.9)
    assert concentration([view(0.0)]) == 0
    assert view(1, 0.6, 0.05).confidently_wrong
    few = [view(3.0, 0.6, 0.05), view(1.0), view(0.0), view(0.0)]
    assert summary(few) == pytest.approx(
        {
            "tokens": 4,
            "mean": 1.0,
            "tenth": 0.75,
            "confidently_wrong": 0.25,
            "they_carry": 0.75,
            "student_p": 0.3,
            "teacher_p": 0.1625,
        }
    )
    assert not view(1, 0.6, 0.2).confidently_wrong and not view(1, 0.4, 0.05).confidently_wrong
