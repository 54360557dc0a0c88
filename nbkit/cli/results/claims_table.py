"""One row per claim of the ledger (evals/claims.yaml): the committed measurement and its verdict.

The verdict is computed by nbkit.evals.claims from interval and seeds. Two rows are not in the ledger:
FG-WSD on pools of planted quality, the control of the filter, and the model ten times the student's size at
equal compute.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from nbkit.cli.results import ladder, text
from nbkit.cli.results.reference import Reference
from nbkit.cli.study.seed_stats import over_seeds
from nbkit.evals import claims

# What the README shows where it is measured: claims of the report, then a few controls. The page has all.
CHIEF = (
    "cold-start",
    "cold-start-own",
    "overall-sft",
    "dpd",
    "content-over-format",
    "cold-start-scaling",
    "refinement",
    "revision",
    "fg-wsd-base",
    "fg-wsd-sft",
    "reconstruction",
    "dpd-against-sft",
    "rl",
    "ten-times-its-size",
    "equal-compute",
)
# Claims measured in claims/sft.json, by the name of the difference there.
_SFT = {
    "cold-start-scaling": "03: largest minus smallest set (same epochs)",
    "cold-start-equal-steps": "03: largest minus smallest set (same steps)",
    "refinement": "04: refinement, final minus first sample",
    "revision": "04: of it by revision",
    "rejection-sampling": "04: rejection sampling minus first samples",
    "refined-over-sampled": "04: refined minus rejection sampling",
    "rebuilt-chains": "04: rebuilt minus refined",
    "reconstruction": "04: rebuilt minus first samples",
    "trust": "04: trusted only minus rebuilt",
}
_HUMAN = {"content-over-format": "content minus format", "fine-over-binary": "0-9 minus binary label"}
FG_WSD = "claims/fg_wsd.json"
TEN_TIMES = "claims/ten_times.json"


class Row(NamedTuple):
    """A claim and what was measured. `of`: whose claim, "report" or "kit"; `estimate`: None where nothing
    was; `anchor`: section of the page."""

    id: str
    claim: str
    of: str
    report: str
    estimate: Mapping[str, Any] | None
    seeds: int
    verdict: str
    commit: str
    anchor: str

    @property
    def ours(self) -> str:
        return text.points(self.estimate) if self.estimate else "not measured"

    @property
    def n(self) -> str:
        return str(self.estimate["n"]) if self.estimate else "-"

    @property
    def smallest(self) -> str:
        """The smallest effect that an inconclusive comparison could have seen, in points."""
        found = claims.smallest(self.estimate, self.seeds, self.verdict)
        return "-" if found is None else f"{100 * found:.1f}"


def rows(reference: Reference) -> list[Row]:
    """All claims: the report's first, then ours; of each, what held first, what was not measured last."""
    # The claims in the order of the ledger, with whatever was measured for each.
    found = _measured(reference)
    made = []
    for claim in claims.claims():
        estimate, seeds, file, anchor = found.get(claim["id"], (None, 0, "", ""))
        verdict = claims.verdict(claim, estimate, seeds)
        commit = reference.commit(file) if file else "-"
        report = claim["figure"] or "undisclosed"
        about = (claim["id"], claim["claim"], claim["of"], report)
        made.append(Row(*about, estimate, seeds, verdict, commit, anchor))
    # Two more rows, which measure the filter, and a comparison that the report does not make.
    made += [_planted(reference), _equal_compute(reference)]
    owners = list(claims.OWNERS)
    return sorted(made, key=lambda row: (owners.index(row.of), claims.VERDICTS.index(row.verdict)))


def chief(reference: Reference) -> list[Row]:
    """The rows of the README: those of CHIEF that were measured."""
    return [row for row in rows(reference) if row.id in CHIEF and row.estimate]


def condition(
    results: Sequence[Mapping[str, Any]], name: str, seeds: Sequence[int] | None = None
) -> dict[str, Any]:
    """FG-WSD minus vanilla WSD under one condition of claims/fg_map.json, over all or some seeds."""
    differences = {
        str(one["seed"]): {"mean": one["fg"]["accuracy"] - one["vanilla"]["accuracy"], "n": 1200}
        for one in results
        if one["condition"] == name and (seeds is None or one["seed"] in seeds)
    }
    return over_seeds(differences)


def fg_wsd(reference: Reference, pools: str, key: str = "avg@3", split: str = "operands") -> dict[str, Any]:
    """FG-WSD minus vanilla WSD over seeds, on pools of the "filter" or "planted" ones."""
    return reference.read(FG_WSD)["effects"][f"FG-WSD minus vanilla: {pools}, {split}, {key}"]


def _planted(reference: Reference) -> Row:
    estimate, seeds = fg_wsd(reference, "planted"), fg_wsd(reference, "planted")["seeds"]
    words = "FG-WSD beats vanilla WSD on pools of planted quality"
    verdict = claims.verdict({}, estimate, seeds)
    commit = reference.commit(FG_WSD)
    return Row("fg-wsd-planted", words, "kit", "-", estimate, seeds, verdict, commit, "pre-training")


def _equal_compute(reference: Reference) -> Row:
    estimate = reference.read(ladder.TEN_TIMES)["effects"]["compute, operands"]["over runs"]
    words = "at equal compute the student beats ten times the size (15% of the tokens)"
    verdict, commit = claims.verdict({}, estimate, estimate["seeds"]), reference.commit(ladder.TEN_TIMES)
    return Row("equal-compute", words, "kit", "-", estimate, estimate["seeds"], verdict, commit, "the-ladder")


def _measured(reference: Reference) -> dict[str, tuple[Mapping[str, Any], int, str, str]]:
    """id -> (estimate, seeds, file, section of the page)."""
    found = {}
    # Those of RL are measured by a whole pipeline, on one seed, until a study has them.
    for row in reference.read("small/07_eval.json")["ledger"]:
        if row["id"] in ("rl", "rl-stem", "rl-code") and row["mean"] is not None:
            found[row["id"]] = (row, row["seeds"], "small/07_eval.json", "reinforcement-learning")
    tenfold = reference.read(TEN_TIMES)["claim"]
    found["ten-times-its-size"] = (tenfold, tenfold["seeds"], TEN_TIMES, "the-ladder")
    for file, section in (("claims/claims.json", "pre-training"), ("claims/dpd.json", "dpd")):
        for row in reference.read(file)["claims"]:
            if row["mean"] is not None:
                found[row["id"]] = (row, row["seeds"], file, section)
    study = reference.read("claims/dpd.json")
    found["sft-continued"] = (study["sft_continued_minus_checkpoint"], 5, "claims/dpd.json", "dpd")
    differences = reference.read("claims/sft.json")["differences"]
    for name, difference in _SFT.items():
        one = differences[difference]
        found[name] = (one, one["seeds"], "claims/sft.json", "sft-and-refinement")
    # Of studies of today's world the one with more seeds stands, of equal ones the newer.
    today: dict[str, int] = {}
    for file in ladder.STUDIES:
        for row in reference.read(file)["claims"]:
            if row["mean"] is not None and row["seeds"] >= today.get(row["id"], 0):
                found[row["id"]] = (row, row["seeds"], file, "the-ladder")
                today[row["id"]] = row["seeds"]
    own = fg_wsd(reference, "filter")  # more seeds than the ladder, and three answers a question
    found["fg-wsd-base"] = (own, own["seeds"], FG_WSD, "pre-training")
    human = reference.read("smollm2/01_data_mix.json")["human"]["convincing_args"]
    for name, difference in _HUMAN.items():
        found[name] = (human[difference], 1, "smollm2/01_data_mix.json", "the-data-filter")
    return found
