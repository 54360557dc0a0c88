"""Sections of the results page about training: its time, the ladder, SFT to DPD. Each returns Markdown."""

from __future__ import annotations

from collections.abc import Mapping
from statistics import mean
from typing import Any

from nbkit.cli.results import claims_table, ladder, reinforcement
from nbkit.cli.results.reference import Reference
from nbkit.cli.results.text import EARLIER, clock, p_value, per_seed, percent, points, share, table
from nbkit.cli.study.seed_stats import over_seeds
from nbkit.evals import claims

_SPLITS = {"operands": "unseen operands", "template": "unseen wording", "composition": "longer compositions"}
_ARMS = {
    "sft": "SFT checkpoint",
    "sft_continued": "SFT continued on the positives",
    "kl_positive": "distillation on positives",
    "kl_both": "distillation on both",
    "dpd": "DPD",
    "dpo": "DPO",
    "teacher": "teacher",
}
# Why FG-WSD has several numbers on one page.
_MANY_WAYS = (
    "FG-WSD minus vanilla WSD is not one number, since it is asked in several ways: the claim about bases "
    "takes one greedy answer (02), the rows of the checkpoints three sampled ones to the same questions "
    "(07), the claim after SFT chat answers on the domains that the cold start teaches (03), and the study "
    "under [Pre-training](#pre-training), which shows greedy and sampled answers of the bases, has more "
    "seeds. The claims about DPD and RL take one greedy answer to each of 1,000 questions of all splits (05, "
    "06), the rows of the checkpoints three sampled ones on unseen operands: RL loses greedy answers there "
    "and keeps the sampled ones."
)


def times(reference: Reference) -> str:
    """Minutes and seconds per notebook."""
    usual, slow = reference.read("timings.json"), reference.read("timings_fp32.json")
    machines = {s.file: s.machine for s in reference.sources()}
    places = {s.file: f"{s.machine} ({s.commit})" for s in reference.sources()}
    rows = [
        ("`small`", usual["small"], places["timings.json"]),
        ("`small`, AVX2 alone", slow["small"], places["timings_fp32.json"]),
        ("`smoke`", usual["smoke"], machines["timings.json"]),
    ]
    heads = ["run", *(stage[:2] for stage in usual["small"]), "all, minutes", "machine"]
    cells = [[name, *map(clock, t.values()), f"{sum(t.values()) / 60:.0f}", place] for name, t, place in rows]
    note = (
        f"Minutes and seconds, install not counted. Peak memory with AVX2 alone: {slow['peak_gib']:.1f} GiB. "
    )
    note += "That run still had the arm DPO in 05 and an earlier 06."
    return table(heads, cells) + "\n\n" + note


def the_ladder(reference: Reference) -> str:
    """Every checkpoint by split, the figure, and what to know about them."""
    study, results = reference.read(ladder.STUDY), reference.read(ladder.SOURCE)["results"]
    # Over seeds: the checkpoints, then every claim, from the newest study that measured it.
    rungs = [
        [name, share(one), ", ".join(percent(value) for value in one["per_seed"].values())]
        for name, one in study["ladder"].items()
    ]
    # One seed of the whole pipeline, by split.
    rows = [
        [name, *(share(one["by_split"][split]) for split in _SPLITS), share(one["overall"])]
        for name, one in results.items()
    ]
    return "\n\n".join(
        [
            ladder.summary(reference),
            "![Accuracy stage by stage](figures/ladder.png)",
            f"Over {len(study['seeds'])} seeds, each with data of its own (profile `claims`), 600 "
            "questions with unseen operands, avg@3, 95% t-intervals over seeds:",
            table(["checkpoint", "right", "by seed"], rungs),
            _caution(study),
            *_claims_over_seeds(reference),
            _MANY_WAYS,
            ladder.ten_times(reference),
            "The whole pipeline in one seed (profile `small`):",
            "![Accuracy stage by stage, one seed](figures/ladder_one_seed.png)",
            table(["checkpoint", *_SPLITS.values(), "all"], rows),
            "avg@3, 300 questions per split, 95% intervals over questions, one seed. Bases "
            "complete a document; from the cold start on, models answer in chat. The cold "
            "start trains math, science and code only. Rates and passes were chosen on training-split "
            "pilots, sizes for their time. DPD and RL are not untouched evidence here: earlier runs of this "
            "seed, whose held-out answers were seen, ended lower (DPD 53% and 56%); then DPD's rate, passes "
            "and number of questions were chosen with the SFT checkpoint of this very seed, on "
            "training-split questions, and RL got more steps."
            + reinforcement.kept_start(reference.read("small/06_rl.json")),
        ]
    )


def _caution(study: Mapping[str, Any]) -> str:
    """What the newest study ran with, where it is not the profile, and what was seen before it."""
    sizes = [
        f"`{name}` {value:g} ({usual:g})"
        for name, (usual, value) in study["other_parameters"].get("06_rl", {}).items()
        if isinstance(value, int | float)
    ]
    rows = {row["id"]: row["per_seed"] for row in study["claims"] if row["id"] in ("dpd", "rl")}
    untouched = {
        name: points(over_seeds({s: {"mean": own[s], "n": 0} for s in own if s not in ("31", "32")}))
        for name, own in rows.items()
    }
    return (
        "01 to 05 have the sizes of `claims` without its ablations; **RL has about a quarter of its steps**: "
        f"{', '.join(sizes)}; in brackets `claims`. 05 to 07 of seeds 31 and 32 were made anew: a first "
        "DPD, at ten times the rate, had lost points on their held-out questions, and the rate was then "
        "chosen on training-split questions of another run. The other three seeds alone: DPD "
        f"{untouched['dpd']}, RL {untouched['rl']}."
    )


def _claims_over_seeds(reference: Reference) -> list[str]:
    """A table of the claims of each study, the newest first. Of two that measured the same, the claims'
    table has the one with more seeds (`claims_table`); here both stand."""
    tables = []
    for file in reversed(ladder.STUDIES):
        study = reference.read(file)
        own = [row for row in study["claims"] if row.get("p_t") is not None]
        cells = [[row["claim"], points(row), p_value(row["p_t"]), row["n"], per_seed(row)] for row in own]
        head = f"claim, {len(study['seeds'])} seeds ({reference.commit(file)})"
        tables.append(table([head, "points", "p", "questions", "by seed"], cells))
    return tables


def all_claims(reference: Reference) -> str:
    """Every claim: the report's, then ours; of each, what held first."""
    parts, rows = [], claims_table.rows(reference)
    heads = ["ours, points [95%]", "questions", "seeds", "verdict", "smallest effect it could see", "commit"]
    for owner, words in claims.OWNERS.items():
        # Our own controls have no figure of the report to stand beside.
        first = ["claim", "the report"] if owner == "report" else ["claim"]
        cells = [
            [*(row.claim, row.report)[: len(first)], row.ours, row.n, row.seeds, row.verdict]
            + [row.smallest, row.commit]
            for row in rows
            if row.of == owner
        ]
        parts += [f"### {words[0].upper()}{words[1:]}", table([*first, *heads], cells)]
    return "\n\n".join(parts)


def sft(reference: Reference) -> str:
    """What refinement and the cold start change, over seeds."""
    study = reference.read("claims/sft.json")
    rows = [
        [name, points(d), p_value(d["p_t"]), d["n"], per_seed(d)] for name, d in study["differences"].items()
    ]
    # Chains of 04: how many are kept, and whether those lead to their solution by the strict measure.
    chains = []
    for seed, found in study["each seed"].items():
        one, rounds = found["04"], found["04"]["rounds"]
        right = [percent(rounds[name]["mean"]) for name in ("teacher's first sample", "revision 2")]
        # What all models generated, per instruction: the price of a refined solution.
        spent = sum(sum(one["tokens"][part].values()) for part in ("refine", "reconstruct"))
        tokens = spent / one["tokens"]["instructions"]
        kept = f"{one['chains']['lead']['n']} of {one['chains']['usable']}"
        lead = share(one["chains"]["lead"], 1)
        chains.append([seed, *right, kept, lead, percent(one["chains"]["before"]["mean"]), f"{tokens:.0f}"])
    heads = [
        "seed",
        "first samples right",
        "final ones right",
        "chains kept",
        "of these lead to the solution",
    ]
    return "\n\n".join(
        [
            EARLIER,
            table(["three seeds", "points", "p", "questions", "by seed"], rows),
            table([*heads, "before the filter", "tokens per instruction"], chains),
        ]
    )


def dpd(reference: Reference) -> str:
    """DPD against its parts, by the teacher's answer, by weights; the memory of its loss."""
    study = reference.read("claims/dpd.json")
    seeds = study["seeds_of_05"]
    # Accuracy of every method, then the differences that the claims are about.
    answered = [[words, percent(mean(s["answered"][arm] for s in seeds), 1)] for arm, words in _ARMS.items()]
    rows = [[r["claim"], points(r), p_value(r["p_t"]), per_seed(r)] for r in study["claims"]]
    rows += [
        [words, points(study[key]), p_value(study[key]["p_t"]), per_seed(study[key])]
        for key, words in (
            ("sft_continued_minus_checkpoint", "SFT continued minus the checkpoint"),
            ("dpo_minus_checkpoint", "DPO alone minus the checkpoint"),
        )
    ]
    # Where the teacher is right and where it is wrong; other weights and betas.
    split = study["by"]["dpd-teacher-wrong"]
    by_teacher = [
        [_ARMS[arm], *(points(split[side][arm]) for side in ("teacher right", "teacher wrong"))]
        for arm in ("kl_positive", "kl_both", "dpd", "dpo")
    ]
    weights = [
        [f"{name} = {value}", points(found), p_value(found["p_t"])]
        for name, values in study["by"]["dpd-sensitivity"].items()
        for value, found in sorted(values.items(), key=lambda item: float(item[0]))
    ]
    return "\n\n".join(
        [
            EARLIER,
            table(["1,000 held-out questions, mean of five seeds", "right"], answered),
            table(
                ["five seeds; for a claim, its first side minus its second", "points", "p", "by seed"], rows
            ),
            table(["minus SFT continued", "teacher right", "teacher wrong"], by_teacher),
            table(["DPD minus SFT continued, at", "points", "p"], weights),
            _pairs(seeds),
            _memory(reference.read("benchmarks/dpd.json")),
        ]
    )


def _pairs(seeds: list[Mapping[str, Any]]) -> str:
    rows = []
    for one in seeds:
        rules, bad = one["pairs"]["rules"], one["tokens"]["rejected"]
        shares = [percent(bad[key]) for key in ("tenth", "confidently_wrong", "they_carry")]
        dropped = [rules.get(rule, 0) for rule in ("score", "equal", "margin")]
        rows.append([one["seed"], one["pairs"]["questions"], rules["kept"], *dropped, *shares])
    heads = ["seed", "questions", "pairs", "no right teacher sample", "equal responses", "not clearly worse"]
    words = ["divergence in a tenth of the tokens", "tokens confidently wrong", "divergence they carry"]
    return "Pairs, and the first 100 bad responses of each seed:\n\n" + table([*heads, *words], rows)


def _memory(found: Mapping[str, Any]) -> str:
    shape = found["shape"]
    rows = [[name, f"{c['peak_mib']:,.0f}", f"{c['cpu_s']:.1f}"] for name, c in found["side_by_side"].items()]
    kept = [
        [c["divergence"], c["k"], percent(1 - c["kept"] / c["exact"], 1), percent(c["gradient"], 1)]
        for c in found["truncation"]
    ]
    return "\n\n".join(
        [
            f"Memory and time of the loss, {shape['tokens']:,} tokens, vocabulary "
            f"{shape['vocab']:,}, width {shape['hidden']}, one thread, medians of "
            f"{found['rounds']}:",
            table(["loss", "MiB over inputs", "CPU seconds"], rows),
            f"A teacher cached as its k likeliest tokens ({found['truncation'][0]['tokens']} tokens):",
            table(["divergence", "k", "lost", "error of the gradient"], kept),
        ]
    )
