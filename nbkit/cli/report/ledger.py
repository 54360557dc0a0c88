"""The claims that the last stage judged, and three sentences about them. Used by gather.py and two_runs.py.

A row falls into one of five groups: "held" (its interval lies above zero), "open" (holds zero), "against"
(below zero), "unmeasured" and "unjudged" (measured at sizes that give no verdict).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

WORDS = {
    "reproduced": "at least five seeds, and the 95% interval lies above zero",
    "trend": "the interval lies above zero, with fewer than five seeds",
    "inconclusive": "the interval holds zero: this run cannot tell",
    "contradicted": "the interval lies below zero",
    "not reproduced": "the interval holds zero or lies below it",
    "unjudged": "measured at toy sizes, which say nothing about a claim",
    "undisclosed": "the report gives no number and this kit has no measurement for it",
    "not measured here": "this run has no measurement for it",
    "out of reach here": "this run has no measurement for it",
}
SIGNS = {"held": "✓", "open": "?", "against": "✗", "unmeasured": "–", "unjudged": "–"}
_GROUPS = {"reproduced": "held", "trend": "held", "inconclusive": "open", "contradicted": "against"}


def gathered(metrics: Mapping[str, Any], profile: str) -> dict[str, Any]:
    """What the page shows of a ledger: `tables` (title, rows, reported: does any row tell what the report
    says?; the report's claims first), `words` (the verdicts that occur, with their meaning), `sentences`
    (three, or [] where there is no ledger)."""
    rows = [shown(row, profile) for row in metrics.get("ledger", []) if isinstance(row, Mapping)]
    titles = {"report": "Claims of the report", "kit": "Our own ablations and controls"}
    tables = [{"title": titles[of], "rows": [row for row in rows if row["of"] == of]} for of in titles]
    for table in tables:  # a column of nothing is left out
        table["reported"] = any(row["report"] for row in table["rows"])
    words = {row["verdict"]: WORDS[row["verdict"]] for row in rows if row["verdict"] in WORDS}
    return {
        "tables": [table for table in tables if table["rows"]],
        "words": words,
        "sentences": sentences(rows, profile) if rows else [],
    }


def shown(row: Mapping[str, Any], profile: str) -> dict[str, Any]:
    """A ledger row as the page shows it; `of` is "report" where an older run does not say. `report`: the
    report's figure, "no figure" where it gives none, "" for our own ablations and controls."""
    known, found = ("id", "claim", "ours", "seeds", "n"), group(row, profile)
    owner, figure = "kit" if row.get("of") == "kit" else "report", row.get("report") or "undisclosed"
    none = {"report": "no figure", "kit": ""}[owner]
    return {key: row.get(key) for key in known} | {
        "of": owner,
        "report": none if figure == "undisclosed" else figure,
        # An older run at toy size wrote a verdict all the same.
        "verdict": "unjudged" if found == "unjudged" else str(row.get("verdict", "")),
        "group": found,
    }


def group(row: Mapping[str, Any], profile: str) -> str:
    """The group of a row, by its verdict; an older run's "not reproduced" is told apart by its interval."""
    verdict = str(row.get("verdict", ""))
    if row.get("mean") is None:
        return "unmeasured"
    if profile == "smoke" or verdict == "unjudged":
        return "unjudged"
    if verdict == "not reproduced":
        return "against" if (row.get("high") or 0) < 0 else "open"
    return _GROUPS.get(verdict, "unmeasured")


def sentences(rows: Sequence[Mapping[str, Any]], profile: str) -> list[dict[str, str]]:
    """Three sentences, each with its group, first word and text: what held, what did not, what is not known.
    They count the report's claims; our own ablations are named in the third."""
    report = [row for row in rows if row["of"] == "report"]
    parts = {name: [row for row in report if row["group"] == name] for name in SIGNS}
    measured = [row for row in report if row["group"] != "unmeasured"]
    last = {"group": "unmeasured", "head": "Not known.", "text": _unknown(rows, parts["unmeasured"])}
    if parts["unjudged"]:
        return [*_unjudged(profile, parts["unjudged"]), last]
    held = {"group": "held", "head": "What held.", "text": _held(parts["held"], len(measured))}
    against = "against" if parts["against"] else "open"
    text = _failed(parts["against"], parts["open"])
    return [held, {"group": against, "head": "What did not.", "text": text}, last]


def _unjudged(profile: str, rows: Sequence[Mapping[str, Any]]) -> list[dict[str, str]]:
    """The first two sentences of a run that is too small to judge anything."""
    first = (
        f"The sizes of profile {profile} are those of a toy: they show that every step works, and give no "
        "verdict on any claim."
    )
    second = (
        f"{_claims(len(rows))} of the report got a number all the same, such as {_first(rows[:1])}; "
        "take none of them for a result."
    )
    return [
        {"group": "unjudged", "head": "No verdicts.", "text": first},
        {"group": "unjudged", "head": "Numbers.", "text": second},
    ]


def _held(rows: Sequence[Mapping[str, Any]], measured: int) -> str:
    """The sentence about the claims with an effect above zero."""
    if not rows:
        return f"None of the report's claims measured here ({measured}) shows an effect above zero."
    sure = sum(row["verdict"] == "reproduced" for row in rows)
    kinds = ((sure, "reproduced"), (len(rows) - sure, "only as a trend"))
    how = ", ".join(f"{'all' if count == len(rows) else count} {word}" for count, word in kinds if count)
    return f"{len(rows)} of the {measured} claims of the report measured here ({how}): {_first(rows)}."


def _failed(against: Sequence[Mapping[str, Any]], still_open: Sequence[Mapping[str, Any]]) -> str:
    """The sentence about what went the other way, and about what this run cannot tell."""
    said = []
    if against:
        said.append(f"{_claims(len(against))} went the other way: {_first(against)}")
    if still_open:
        verb = "stays open (its interval holds" if len(still_open) == 1 else "stay open (their intervals hold"
        said.append(f"{_claims(len(still_open))} {verb} zero): {_first(still_open)}")
    return ("; ".join(said) or "No claim measured here failed") + "."


def _unknown(rows: Sequence[Mapping[str, Any]], unmeasured: Sequence[Mapping[str, Any]]) -> str:
    """The sentence about what was not measured, what one seed cannot show, and our own ablations."""
    said = "Every claim of the report was measured"
    if unmeasured:
        verb = "was" if len(unmeasured) == 1 else "were"
        said = f"{_claims(len(unmeasured))} of the report {verb} not measured in this run"
    if any(row["group"] == "held" and row["verdict"] == "trend" for row in rows):
        said += "; one run has one seed, which makes a trend at best"
    own = [row for row in rows if row["of"] == "kit" and row["group"] not in ("unmeasured", "unjudged")]
    if own:
        held = sum(row["group"] == "held" for row in own)
        said += f"; of our own ablations and controls, {held} of {len(own)} measured here held"
    return said + "."


def _first(rows: Sequence[Mapping[str, Any]]) -> str:
    """The first claim with its numbers, and how many more there are."""
    more = f", and {len(rows) - 1} more" if len(rows) > 1 else ""
    return f"“{rows[0]['claim']}”, {rows[0]['ours']}{more}"


def _claims(count: int) -> str:
    return f"{count} claim" if count == 1 else f"{count} claims"
