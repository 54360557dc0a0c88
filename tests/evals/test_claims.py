"""Verdicts follow from intervals, seeds and profile; the ledger has a row per claim."""

import pytest

from nbkit.evals import claims

CLAIM = {"id": "c", "claim": "a gain", "figure": "x", "metric": "a.b"}
UP, FLAT, DOWN = ({"mean": m, "low": m - 0.02, "high": m + 0.02, "n": 100} for m in (0.03, 0.0, -0.03))


def test_verdicts_are_computed():
    assert claims.verdict(CLAIM, UP, seeds=5) == "reproduced"
    assert claims.verdict(CLAIM, UP, seeds=4) == "trend"
    assert claims.verdict(CLAIM, FLAT, seeds=5) == "inconclusive"
    assert claims.verdict(CLAIM, DOWN, seeds=5) == claims.verdict(CLAIM, DOWN, seeds=1) == "contradicted"
    assert claims.verdict(CLAIM, None, seeds=5) == "not measured here"
    assert claims.verdict({"figure": None, "metric": None}, None, 5) == "undisclosed"


def test_an_interval_that_touches_zero_is_inconclusive():
    assert claims.verdict(CLAIM, {"low": 0.0, "high": 0.1}, 5) == "inconclusive"
    assert claims.verdict(CLAIM, {"low": -0.1, "high": 0.0}, 5) == "inconclusive"


def test_toy_sizes_are_not_judged():
    for found in (UP, FLAT, DOWN):
        row = claims.row(CLAIM, found, 1, "smoke")
        assert (row["verdict"], row["smallest"]) == ("unjudged", None)
    assert claims.verdict(CLAIM, None, 1, "smoke") == "not measured here"
    assert claims.verdict(CLAIM, UP, 1, "small") == "trend"


def test_an_inconclusive_row_names_the_smallest_effect_it_could_have_seen():
    # Over five seeds (t 2.776 and 0.941), then over the 100 questions of one run (1.984 and 0.845).
    assert claims.row(CLAIM, FLAT, 5)["smallest"] == pytest.approx(0.02 * 3.717 / 2.776, rel=1e-3)
    row = claims.row(CLAIM, FLAT, 1)
    assert row["smallest"] == pytest.approx(0.02 * 2.829 / 1.984, rel=1e-3)
    assert row["ours"] == "+0.0 points [-2.0, +2.0], would have seen 2.9 or more"
    assert claims.row(CLAIM, UP, 5)["smallest"] is claims.row(CLAIM, None, 0)["smallest"] is None
    assert claims.row(CLAIM, FLAT | {"n": 1}, 1)["smallest"] is None, "one question has no spread"


def test_every_verdict_has_its_place():
    found = [claims.verdict(CLAIM, one, seeds) for one in (UP, FLAT, DOWN, None) for seeds in (1, 5)]
    found += [
        claims.verdict(CLAIM, UP, 1, "smoke"),
        claims.verdict({"figure": None, "metric": None}, None, 1),
    ]
    assert set(found) == set(claims.VERDICTS)


def test_the_list_of_claims_is_whole_and_has_no_typed_verdict():
    listed = claims.claims()
    assert len({c["id"] for c in listed}) == len(listed)
    assert not any("verdict" in c for c in listed)
    assert all(c["metric"] or c["why"] for c in listed), "a claim without a metric says why"
    assert {c["of"] for c in listed} == set(claims.OWNERS)
    # A figure that the report gives belongs to a claim of the report.
    assert all(c["of"] == "report" for c in listed if c["figure"])
    parts = [c for c in listed if "by" in c]
    assert parts and all(c["effect"] and c["questions"] for c in parts), "its figure needs both"


def test_ledger_has_a_row_per_claim_and_the_reports_first():
    change = {"mean": 0.1, "low": 0.02, "high": 0.2, "n": 30}
    rows = claims.ledger({"05_dpd": {"change": change}}, seeds=1)
    found = {row["id"]: row for row in rows}
    assert len(found) == len(rows) == len(claims.claims())
    owners = [row["of"] for row in rows]
    assert owners == sorted(owners, key=[*claims.OWNERS].index)
    assert (found["dpd"]["verdict"], found["dpd"]["of"]) == ("trend", "report")
    assert found["dpd"]["ours"] == "+10.0 points [+2.0, +20.0]"
    assert (found["dpd"]["n"], found["dpd"]["seeds"]) == (30, 1)
    rl = found["rl"]
    assert rl["verdict"] == "not measured here"
    assert (rl["ours"], rl["n"], rl["mean"], rl["seeds"]) == ("not measured in this run", None, None, 0)
    toy = claims.ledger({"05_dpd": {"change": change}}, seeds=1, profile="smoke")
    assert {row["id"]: row["verdict"] for row in toy}["dpd"] == "unjudged"


def test_the_ledger_as_text_has_a_part_per_owner():
    rows = [
        claims.row(CLAIM | {"of": "kit", "id": "own"}, FLAT, 5),
        claims.row(CLAIM, UP, 5) | {"p_t": 0.0123},
    ]
    assert claims.text(rows).splitlines() == [
        "claims of the report:",
        "  reproduced         c                      +3.0 points [+1.0, +5.0]  p = 0.012, 5 seeds",
        "our own ablations and controls:",
        "  inconclusive       own                    +0.0 points [-2.0, +2.0], would have seen 2.7 or more",
    ]
    assert claims.text(rows[1:]).count(":") == 1
