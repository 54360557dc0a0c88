"""The claim ledger: every quantitative claim of the report with our miniature measurement and a computed
verdict. Used by 07 for one run and by `nbkit claims` over seeds.

rows = ledger({"05_dpd": {"change": {"mean": 0.04, "low": 0.01, "high": 0.07, "n": 300}}}, seeds=1)
"""

from collections.abc import Mapping
from pathlib import Path

import yaml

SEEDS_FOR_REPRODUCED = 5


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


def verdict(claim: Mapping, estimate: Mapping | None, seeds: int) -> str:
    """reproduced: at least 5 seeds and an interval above 0; trend: above 0 with fewer seeds; not
    reproduced: the interval holds 0 or lies below; undisclosed: nothing to measure against; out of reach
    here: this run has no measurement."""
    # No figure in the report and nothing measured: there is no claim to check.
    if estimate is None:
        return "undisclosed" if claim["figure"] is None and claim["metric"] is None else "out of reach here"
    if estimate["low"] > 0:
        return "reproduced" if seeds >= SEEDS_FOR_REPRODUCED else "trend"
    return "not reproduced"


def row(claim: Mapping, found: Mapping | None, seeds: int) -> dict:
    """One row of the ledger: id, claim, report, seeds, n (questions), mean, low, high (95%), ours, verdict.
    `found`: the estimate over `seeds` seeds, or None."""
    numbers = {key: found[key] if found else None for key in ("n", "mean", "low", "high")}
    ours = (
        f"{100 * found['mean']:+.1f} points [{100 * found['low']:+.1f}, {100 * found['high']:+.1f}]"
        if found
        else claim.get("why", "not measured in this run")
    )
    about = {"id": claim["id"], "claim": claim["claim"], "report": claim["figure"] or "undisclosed"}
    about["seeds"] = seeds if found else 0
    return about | numbers | {"ours": ours, "verdict": verdict(claim, found, seeds)}


def ledger(metrics: Mapping[str, Mapping], seeds: int) -> list[dict]:
    """One row per claim, from the metrics of one run."""
    return [row(claim, lookup(metrics, claim["metric"]), seeds) for claim in claims()]
