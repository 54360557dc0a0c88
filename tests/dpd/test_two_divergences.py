"""Good and bad responses with divergences of their own: each term is that of a trainer with its divergence
alone, with a teacher in memory or on disk."""

import pytest
import tiny
import tiny_dpd
from tiny_dpd import TEACHER, trainer

from nbkit.dpd.teacher_cache import TeacherCache
from nbkit.dpd.tiles import SKEW, Divergence

SKEWED = (Divergence("skew", 1.0, SKEW), Divergence("skew_reverse", 1.0, SKEW))
POSITIVE, NEGATIVE = (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)


def loss(folder, weights, choice, teacher=None):
    one = trainer(folder, weights=weights, choice=choice, teacher=teacher)
    batch = next(iter(one.get_train_dataloader()))
    found = one.compute_loss(one.model, batch)
    found.backward()
    return float(found.detach()), [p.grad.clone() for p in one.model.parameters()]


def on_disk(folder):
    options = dict(k=8, temperature=1.0)
    teacher = tiny.model(seed=TEACHER)
    return TeacherCache.build(folder, teacher, tiny.tokenizer(), list(tiny_dpd.rows()), **options)


@pytest.mark.parametrize("where", ["in memory", "on disk"])
@pytest.mark.parametrize(("weights", "number"), [(POSITIVE, 0), (NEGATIVE, 1)], ids=["good", "bad"])
def test_each_side_has_its_own_divergence(tmp_path, where, weights, number):
    teacher = on_disk(tmp_path / "cache") if where == "on disk" else None
    both = loss(tmp_path, weights, SKEWED, teacher)
    alone = loss(tmp_path, weights, SKEWED[number], teacher)
    other = loss(tmp_path, weights, SKEWED[1 - number], teacher)
    assert both[0] == pytest.approx(alone[0], abs=1e-6) and abs(both[0] - other[0]) > 1e-4
    for a, b in zip(both[1], alone[1], strict=True):
        assert a.allclose(b, atol=1e-6)


def test_the_two_sides_add_up(tmp_path):
    good, bad = (loss(tmp_path, weights, SKEWED)[0] for weights in (POSITIVE, NEGATIVE))
    assert loss(tmp_path, (0.0, 1.0, 0.5), SKEWED)[0] == pytest.approx(good + 0.5 * bad, abs=1e-6)


def test_a_cache_at_another_temperature_than_one_side_is_refused(tmp_path):
    choice = (SKEWED[0], Divergence("skew_reverse", 2.0, SKEW))
    with pytest.raises(ValueError, match="temperature: got 2.0, but the teacher cache"):
        trainer(tmp_path, choice=choice, teacher=on_disk(tmp_path / "cache"))
