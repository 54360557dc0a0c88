"""The claims of a run: their groups, tables and the three sentences about them."""

from __future__ import annotations

import pytest
from tiny_runs import LEDGER

from nbkit.cli.report import ledger


def claim(verdict: str, low: float | None, high: float | None, of: str = "report", text: str = "x") -> dict:
    mean = None if low is None else (low + high) / 2
    numbers = {"mean": mean, "low": low, "high": high, "ours": f"{mean}", "n": 10, "seeds": 1}
    return {"id": text, "claim": text, "report": "undisclosed", "verdict": verdict, "of": of} | numbers


@pytest.mark.parametrize(
    ("row", "group"),
    [
        (claim("reproduced", 0.1, 0.2), "held"),
        (claim("trend", 0.1, 0.2), "held"),
        (claim("inconclusive", -0.1, 0.2), "open"),
        (claim("contradicted", -0.2, -0.1), "against"),
        (claim("not reproduced", -0.2, -0.1), "against"),
        (claim("not reproduced", -0.2, 0.1), "open"),
        (claim("unjudged", 0.1, 0.2), "unjudged"),
        (claim("not measured here", None, None), "unmeasured"),
        (claim("out of reach here", None, None), "unmeasured"),
        (claim("undisclosed", None, None), "unmeasured"),
        (claim("a word of tomorrow", 0.1, 0.2), "unmeasured"),
        ({}, "unmeasured"),
    ],
)
def test_group(row, group):
    assert ledger.group(row, "small") == group


def test_smoke_judges_nothing_whatever_an_older_run_wrote():
    assert ledger.group(claim("trend", 0.1, 0.2), "smoke") == "unjudged"
    assert ledger.shown(claim("trend", 0.1, 0.2), "smoke")["verdict"] == "unjudged"
    assert ledger.group(claim("undisclosed", None, None), "smoke") == "unmeasured"


def test_the_claims_of_the_report_come_first():
    tables = ledger.gathered({"ledger": [LEDGER[-1], *LEDGER[:-1]]}, "small")["tables"]
    assert [table["title"] for table in tables] == ["Claims of the report", "Our own ablations and controls"]
    assert [row["id"] for row in tables[0]["rows"]] == ["a", "c", "f", "g"]
    assert [row["id"] for row in tables[1]["rows"]] == ["h"]


def test_a_row_that_does_not_say_whose_it_is_is_the_reports():
    row = {key: value for key, value in LEDGER[-1].items() if key != "of"}
    assert ledger.shown(row, "small")["of"] == "report"


def test_our_own_claims_do_not_ask_what_the_report_says():
    tables = ledger.gathered({"ledger": LEDGER}, "small")["tables"]
    assert [table["reported"] for table in tables] == [True, False]
    assert {row["report"] for row in tables[0]["rows"]} == {"no figure"}
    assert ledger.shown({**LEDGER[0], "report": "27.1 -> 34.3"}, "small")["report"] == "27.1 -> 34.3"


def test_every_verdict_that_occurs_is_explained():
    words = ledger.gathered({"ledger": LEDGER}, "small")["words"]
    assert set(words) == {"trend", "contradicted", "inconclusive", "not measured here"}


def test_three_sentences_count_the_claims_of_the_report():
    told = ledger.gathered({"ledger": LEDGER}, "small")["sentences"]
    assert [sentence["text"] for sentence in told] == [
        "1 of the 3 claims of the report measured here (all only as a trend): “a beats b”, "
        "+5.0 points [+1.0, +9.0].",
        "1 claim went the other way: “c < d & e”, -5.0 points [-9.0, -1.0]; 1 claim stays open (its interval "
        "holds zero): “f helps”, 0.0 points [-10.0, +10.0].",
        "1 claim of the report was not measured in this run; one run has one seed, which makes a trend at "
        "best; of our own ablations and controls, 1 of 1 measured here held.",
    ]


def test_what_several_claims_add_up_to():
    rows = [claim("reproduced", 0.1, 0.3, text="a"), claim("trend", 0.1, 0.3), claim("trend", 0.1, 0.3)]
    rows += [claim("inconclusive", -0.1, 0.1, text="b"), claim("inconclusive", -0.1, 0.1)]
    held, failed, unknown = ledger.gathered({"ledger": rows}, "small")["sentences"]
    assert held["text"].startswith("3 of the 5 claims of the report measured here (1 reproduced, 2 only as")
    assert held["text"].endswith("“a”, 0.2, and 2 more.")
    assert failed["text"] == "2 claims stay open (their intervals hold zero): “b”, 0.0, and 1 more."
    assert failed["group"] == "open"
    assert unknown["text"].startswith("Every claim of the report was measured;")


def test_nothing_held_and_nothing_failed():
    nothing, *_ = ledger.gathered({"ledger": [claim("inconclusive", -0.1, 0.1)]}, "small")["sentences"]
    assert nothing["text"] == "None of the report's claims measured here (1) shows an effect above zero."
    _, failed, _ = ledger.gathered({"ledger": [claim("trend", 0.1, 0.2)]}, "small")["sentences"]
    assert failed["text"] == "No claim measured here failed."


def test_a_run_of_toy_size_says_so():
    rows = [row | {"verdict": "unjudged"} if row["mean"] is not None else row for row in LEDGER]
    told = ledger.gathered({"ledger": rows}, "smoke")["sentences"]
    assert [sentence["group"] for sentence in told] == ["unjudged", "unjudged", "unmeasured"]
    assert "give no verdict on any claim" in told[0]["text"]
    assert told[1]["text"].startswith("3 claims of the report got a number all the same, such as “a beats b”")
    assert told[2]["text"] == "1 claim of the report was not measured in this run."


@pytest.mark.parametrize("metrics", [{}, {"ledger": []}, {"ledger": ["odd"]}])
def test_no_ledger(metrics):
    assert ledger.gathered(metrics, "small") == {"tables": [], "words": {}, "sentences": []}
