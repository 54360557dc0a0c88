"""The claim ledger: every quantitative claim of the report, and the kit's own controls of it, with our
miniature measurement and a computed verdict. Used by 07 for one run and by `nbkit claims` over seeds.

rows = ledger({"05_dpd": {"change": {"mean": 0.04, "low": 0.01, "high": 0.07, "n": 300}}}, seeds=1)
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import yaml

from nbkit.evals.significance import smallest_effect

SEEDS_FOR_REPRODUCED = 5
# Profiles that only show that everything runs: their sizes say nothing about a claim.
UNJUDGED = ("smoke",)
# From what held to what was never measured; tables come in this order.
VERDICTS = (
    "reproduced",
    "trend",
    "inconclusive",
    "contradicted",
    "unjudged",
    "not measured here",
    "undisclosed",
)
# Whose claim it is (`of`), and how tables call it.
OWNERS = {"report": "claims of the report", "kit": "our own ablations and controls"}


def claims() -> list[dict]:
    return yaml.safe_load((Path(__file__).parent / "claims.yaml").read_text(encoding="utf-8"))


def lookup(metrics: Mapping, path: str | None) -> dict | None:
    """The estimate at a dotted path such as "05_dpd.change", or None when this run did not measure it."""
    node = metrics
    for part in (path or "").split("."):
        if not isinstance(node, Mapping) or part not in node:
            return None
        node = node[part]
    return node


def measured(metrics: Mapping, claim: Mapping) -> dict | None:
    """The estimate of a claim. None too where the parts that it is about (`by`) are empty: "at other values"
    says nothing when no other value was tried."""
    if claim.get("by") and lookup(metrics, claim["by"]) == {}:
        return None
    return lookup(metrics, claim["metric"])


def verdict(claim: Mapping, estimate: Mapping | None, seeds: int, profile: str = "") -> str:
    """What a measurement says about a claim, from its 95% interval (`low`, `high`) and the seeds:

    reproduced           at least 5 seeds, and the interval lies above 0
    trend                it lies above 0, with fewer seeds
    inconclusive         it holds 0: neither shown nor refuted
    contradicted         it lies below 0
    unjudged             measured at the toy sizes of `profile` "smoke", which say nothing about a claim
    not measured here    this run has no measurement
    undisclosed          nor has the report a figure: there is nothing to measure against
    """
    # No figure in the report and nothing measured: there is no claim to check.
    if estimate is None:
        return "undisclosed" if claim["figure"] is None and claim["metric"] is None else "not measured here"
    if profile in UNJUDGED:
        return "unjudged"
    if estimate["low"] > 0:
        return "reproduced" if seeds >= SEEDS_FOR_REPRODUCED else "trend"
    return "contradicted" if estimate["high"] < 0 else "inconclusive"


def smallest(found: Mapping | None, seeds: int, judged: str) -> float | None:
    """The smallest effect that an inconclusive measurement could have seen, as a fraction (80% power); None
    for another verdict, or where one question or seed has no spread."""
    # With several seeds the interval is over them, else over questions.
    units = seeds if seeds > 1 else (found or {}).get("n", 0)
    if judged != "inconclusive" or units < 2:
        return None
    return smallest_effect(found["low"], found["high"], units)


def row(claim: Mapping, found: Mapping | None, seeds: int, profile: str = "") -> dict:
    """One row of the ledger: id, claim, of ("report" or "kit"), report (its figure), seeds, n (questions),
    mean, low, high (95%), smallest (`smallest`), ours (the numbers as text), verdict. `found`: the estimate
    over `seeds` seeds, or None; `profile`: that of the run."""
    numbers = {key: found[key] if found else None for key in ("n", "mean", "low", "high")}
    judged = verdict(claim, found, seeds, profile)
    numbers["smallest"] = smallest(found, seeds, judged)
    ours = claim.get("why", "not measured in this run")
    if found:
        ours = f"{100 * found['mean']:+.1f} points [{100 * found['low']:+.1f}, {100 * found['high']:+.1f}]"
    if numbers["smallest"]:
        ours += f", would have seen {100 * numbers['smallest']:.1f} or more"
    about = {"id": claim["id"], "claim": claim["claim"], "of": claim.get("of", "report")}
    about |= {"report": claim["figure"] or "undisclosed", "seeds": seeds if found else 0}
    return about | numbers | {"ours": ours, "verdict": judged}


def ledger(metrics: Mapping[str, Mapping], seeds: int, profile: str = "") -> list[dict]:
    """One row per claim, from the metrics of one run of `profile`: the report's claims first, then ours."""
    rows = [row(claim, measured(metrics, claim), seeds, profile) for claim in claims()]
    return sorted(rows, key=lambda one: [*OWNERS].index(one["of"]))


def text(rows: Iterable[Mapping]) -> str:
    """The ledger as lines for a terminal, in a part for each owner of claims."""
    parts: dict[str, list[Mapping]] = {owner: [] for owner in OWNERS}
    for one in rows:
        parts[one["of"]].append(one)
    return "\n".join(
        line for owner, own in parts.items() if own for line in (f"{OWNERS[owner]}:", *_lines(own))
    )


def _lines(rows: Sequence[Mapping]) -> list[str]:
    # p-values are over seeds: one run has none.
    made = []
    for one in rows:
        p = f"  p = {one['p_t']:.2g}, {one['seeds']} seeds" if one.get("p_t") is not None else ""
        made.append(f"  {one['verdict']:<19}{one['id']:<23}{one['ours']}{p}")
    return made
