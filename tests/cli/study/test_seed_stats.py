"""Numbers over seeds, tokens to match, and their figures, by hand and as scipy has them."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy import stats
from test_seeds import CLAIMS

from nbkit.cli.study import figures
from nbkit.cli.study.seed_stats import breakdown, claim_rows, ladder, over_seeds
from nbkit.cli.study.token_efficiency import summarise, tokens_to_match
from nbkit.evals import claims


def of(*means: float, n: int = 100) -> dict[int, dict]:
    """seed -> estimate, as a stage records it."""
    return {seed: {"mean": mean, "low": -1.0, "high": 1.0, "n": n} for seed, mean in enumerate(means)}


def test_seeds_are_the_unit_as_scipy_has_it():
    rng = np.random.default_rng(0)
    vanilla, fg = rng.normal(0.40, 0.02, 6), rng.normal(0.43, 0.02, 6)
    got = over_seeds(of(*(fg - vanilla), n=500))
    wanted = stats.ttest_rel(fg, vanilla)
    interval = wanted.confidence_interval(0.95)
    assert got["mean"] == pytest.approx((fg - vanilla).mean())
    assert (got["low"], got["high"]) == (pytest.approx(interval.low), pytest.approx(interval.high))
    assert got["p_t"] == pytest.approx(wanted.pvalue) and (got["n"], got["seeds"]) == (500, 6)
    assert got["per_seed"] == {str(i): pytest.approx(x) for i, x in enumerate(fg - vanilla)}


@pytest.mark.parametrize("size", [2, 5, 9])
def test_sign_flips_are_all_tried(size):
    x = np.random.default_rng(size).normal(0.5, 1, size)
    flipped = [abs(np.mean(x * signs)) for signs in itertools.product((-1, 1), repeat=size)]
    exact = np.mean(np.array(flipped) >= abs(x.mean()) - 1e-12)
    assert over_seeds(of(*x))["p_sign_flip"] == pytest.approx(exact)


def test_five_seeds_above_zero_have_the_least_p_that_sign_flips_allow():
    assert over_seeds(of(0.1, 0.2, 0.3, 0.1, 0.2))["p_sign_flip"] == pytest.approx(2 / 32)


def test_one_seed_has_no_interval_over_seeds():
    with pytest.raises(ValueError, match="got 1, wanted at least 2"):
        over_seeds(of(0.1))


def measured(*means: float) -> dict[int, dict]:
    """seed -> stage -> metrics, with the data's estimate equal in all."""
    data = {"mean": 0.3, "low": 0.2, "high": 0.4, "n": 9}
    return {seed: {"01_make": {"data": data}, "02_use": {"gain": gain}} for seed, gain in of(*means).items()}


def test_verdicts_over_seeds(monkeypatch):
    monkeypatch.setattr(claims, "claims", lambda: CLAIMS)

    def verdicts(*means):
        return [row["verdict"] for row in claim_rows(measured(*means), "01_make")]

    up = (0.02, 0.03, 0.025, 0.03, 0.02)
    assert verdicts(*up) == ["reproduced", "trend", "not measured here"]
    assert verdicts(*up[:4])[0] == "trend", "four seeds are not five"
    assert verdicts(0.02, 0.03, 0.025, 0.03, -0.09)[0] == "inconclusive"
    assert verdicts(*(-value for value in up))[0] == "contradicted"
    gain, data, never = claim_rows(measured(*up), "01_make")
    assert gain["ours"].startswith("+2.5 points [+1.9, +3.1]") and gain["n"] == 100 and gain["seeds"] == 5
    assert data["seeds"] == 1 and "p_t" not in data and "all seeds share" in data["note"]
    assert (data["low"], data["high"]) == (0.2, 0.4), "its own interval, not five copies of it"
    assert never["ours"] == "no time" and "note" not in never


def test_toy_sizes_are_not_judged_over_seeds_either(monkeypatch):
    monkeypatch.setattr(claims, "claims", lambda: CLAIMS)
    rows = claim_rows(measured(0.02, 0.03, 0.025, 0.03, 0.02), "01_make", "smoke")
    assert [row["verdict"] for row in rows] == ["unjudged", "unjudged", "not measured here"]


def test_an_inconclusive_claim_over_seeds_names_the_smallest_effect(monkeypatch):
    monkeypatch.setattr(claims, "claims", lambda: CLAIMS)
    row = claim_rows(measured(0.02, 0.03, -0.025, 0.03, -0.09), None)[0]
    half = (row["high"] - row["low"]) / 2
    # t with four degrees of freedom: 2.776 at 97.5%, 0.941 at 80%.
    assert row["smallest"] == pytest.approx(half * (2.776 + 0.941) / 2.776, rel=1e-3)


def test_a_value_that_no_seed_changes_is_not_reproduced_by_five(monkeypatch):
    monkeypatch.setattr(claims, "claims", lambda: CLAIMS)
    metrics = measured(*[0.02] * 5)
    row = claim_rows(metrics, "01_make")[0]
    assert row["verdict"] == "inconclusive" and (row["low"], row["seeds"]) == (-1.0, 1), (
        "one seed's own interval"
    )
    assert row["note"].startswith("equal in every seed") and row["p_t"] is None
    metrics[0]["02_use"]["gain"]["low"] = 0.01
    assert claim_rows(metrics, "01_make")[0]["verdict"] == "trend"
    value = over_seeds(of(0.1, 0.1, 0.1))
    assert (value["low"], value["high"], value["p_sign_flip"]) == (None, None, None)


def test_a_metric_missing_in_one_seed_is_named(monkeypatch):
    monkeypatch.setattr(claims, "claims", lambda: CLAIMS)
    metrics = measured(0.1, 0.2, 0.3)
    del metrics[1]["02_use"]["gain"]
    row = claim_rows(metrics, "01_make")[0]
    assert row["note"] == row["ours"] == "02_use.gain is missing in seed 1"
    assert row["verdict"] == "not measured here" and row["mean"] is None


def test_parts_that_one_seed_lacks_are_left_out():
    one, two = {"half": {"first": of(0.1)[0], "second": of(0.2)[0]}}, {"half": {"first": of(0.3)[0]}}
    got = breakdown({4: one, 7: two})
    assert list(got["half"]) == ["first"] and got["half"]["first"]["per_seed"] == {"4": 0.1, "7": 0.3}


def test_tokens_to_match_by_hand():
    # Between 1M (20%) and 2M (40%), 30% lies half way in log tokens: at the square root of 2.
    got = tokens_to_match(
        [1_000_000, 2_000_000, 4_000_000], np.array([[0.2, 0.4, 0.5]] * 3), np.full(3, 0.3), 10**6
    )
    assert got["match"] == {
        "relation": "about",
        "tokens": 1414214,
        "times": pytest.approx(math.sqrt(2), 1e-5),
    }
    assert got["low"] == got["high"] == got["match"], "equal seeds leave nothing to vary"
    assert got["words"] == "about 1.41x [1.41x, 1.41x]"


@pytest.mark.parametrize(
    ("fg", "relation", "tokens"),
    [(0.1, "fewer than", 100), (0.2, "about", 100), (0.4, "about", 200), (0.45, "more than", 200)],
)
def test_outside_the_tokens_tried_it_is_a_bound(fg, relation, tokens):
    got = tokens_to_match([100, 200], np.array([[0.2, 0.4]] * 2), np.array([fg] * 2), 100)["match"]
    assert got == {"relation": relation, "tokens": tokens, "times": tokens / 100}


def test_the_first_crossing_counts_where_the_curve_falls_again():
    got = tokens_to_match([100, 200, 400], np.array([[0.2, 0.4, 0.3]] * 2), np.array([0.35] * 2), 100)
    assert 100 < got["match"]["tokens"] < 200


def test_the_interval_comes_from_resampled_seeds():
    # Two seeds give four equally likely draws, so the 95% interval spans seed 0 alone to seed 1 alone.
    vanilla, fg = np.array([[0.2, 0.4], [0.3, 0.4]]), np.array([0.3, 0.45])
    got = tokens_to_match([100, 400], vanilla, fg, 100)
    assert got["low"] == {"relation": "about", "tokens": 200, "times": 2.0}
    assert got["high"]["relation"] == "more than" and got["match"]["tokens"] == round(
        100 * 4 ** (0.125 / 0.15)
    )


def curve(shift: float, tokens=(100, 200)) -> list[dict]:
    def point(arm, count, mean):
        return {"arm": arm, "tokens": count, "accuracy": {"mean": mean + shift, "n": 50}, "loss": 1 - mean}

    return [point("vanilla", t, 0.2 + t / 1000) for t in tokens] + [point("fg", 100, 0.35)]


def test_a_curve_over_seeds():
    got = summarise({0: curve(0.0), 1: curve(0.1)})
    assert [v["tokens"] for v in got["vanilla"]] == [100, 200] and got["fg"]["tokens"] == 100
    assert got["fg"]["accuracy"]["mean"] == pytest.approx(0.4) and got["fg"]["loss"]["mean"] == pytest.approx(
        0.65
    )
    assert got["fg"]["accuracy"]["low"] == 0.0, "no share lies below 0"
    assert got["fg"]["accuracy"]["per_seed"] == {"0": pytest.approx(0.35), "1": pytest.approx(0.45)}
    assert got["tokens_to_match"]["match"]["tokens"] == round(100 * math.sqrt(2))
    with pytest.raises(ValueError, match="in seed 0 and .*300.* in seed 5, wanted the same"):
        summarise({0: curve(0.0), 5: curve(0.0, (100, 300))})
    with pytest.raises(ValueError, match="wanted one arm 'fg'"):
        summarise({0: curve(0.0)[:2], 1: curve(0.0)[:2]})


def overlapping(texts) -> list[str]:
    boxes = [(t.get_text(), t.get_window_extent()) for t in texts if t.get_text()]
    return [f"{a} | {b}" for (a, x), (b, y) in itertools.combinations(boxes, 2) if x.overlaps(y)]


def test_the_ladder_over_seeds_holds_what_every_seed_evaluated():
    def one(base, sft, **others):
        names = {"FG-WSD base": base, "overall SFT": sft, "10x baseline + SFT": 0.2} | others
        own = {name: {"by_split": {"operands": {"mean": mean, "n": 300}}} for name, mean in names.items()}
        return {"07_eval": {"results": own}}

    steps = ladder({1: one(0.1, 0.4), 2: one(0.3, 0.5, DPD=0.6)})
    assert list(steps) == ["FG-WSD base", "overall SFT", "10x baseline + SFT"]
    assert [steps[name]["mean"] for name in steps] == pytest.approx([0.2, 0.45, 0.2])
    assert steps["FG-WSD base"]["per_seed"] == {"1": 0.1, "2": 0.3} and steps["overall SFT"]["n"] == 300
    assert ladder({1: {}, 2: {}}) == {}
    # The figure: the baseline, equal in all seeds, is a line and no step.
    axis = figures.ladder(steps).axes[0]
    assert [t.get_text() for t in axis.get_xticklabels()] == ["FG-WSD\nbase", "overall\nSFT"]
    assert "2 seeds" in axis.get_title() and [t.get_text() for t in axis.texts] == ["20", "45"]
    figures.plt.close("all")


def test_figures_show_every_row_without_overlaps():
    values = {str(level): over_seeds(of(0.01 * level, -0.02, 0.03, 0.1)) for level in range(5)}
    values["5"] = over_seeds(of(*[-0.0001] * 4))
    fig = figures.forest({"": {"all": values["0"]}, "level": values}, "b minus a")
    fig.canvas.draw()
    axis = fig.axes[0]
    assert [t.get_text() for t in axis.get_yticklabels()] == ["all", *(f"level: {i}" for i in range(6))]
    assert len(axis.texts) == 7 and axis.texts[-1].get_text() == "+0.0", "equal in all seeds: no interval"
    assert "4 seeds" in axis.get_title("left")
    assert overlapping([*axis.texts, *axis.get_yticklabels(), axis.title, axis.xaxis.label]) == []
    for shift in (-0.2, 0.0, 0.2):
        fg = curve(shift)[2:]
        fig = figures.token_efficiency(summarise({s: curve(0.0 + s / 100)[:2] + fg for s in range(3)}))
        fig.canvas.draw()
        axis = fig.axes[0]
        assert "vanilla matches FG-WSD with" in axis.get_title("left")
        assert overlapping([axis.xaxis.label, axis.yaxis.label, *axis.get_xticklabels()]) == []
    figures.plt.close("all")
