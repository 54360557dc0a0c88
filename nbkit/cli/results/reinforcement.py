"""The section of the results page about reinforcement learning, as Markdown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nbkit.cli.results.reference import Reference
from nbkit.cli.results.text import percent, points, share, table


def rl(reference: Reference) -> str:
    """Rewards of the three stages, judge, questions kept."""
    found = reference.read("small/06_rl.json")
    rows = [
        [stage, found["kept"][stage], f"{reward['first']:.2f}", f"{reward['last']:.2f}"]
        for stage, reward in found["rewards"].items()
    ]
    judge, mutants = found["judge_accuracy"], found["mutants"]
    kept = "skill levels kept" if "moves" in found else "questions kept"
    return "\n\n".join(
        [
            table(["RL stage", kept, "reward, first step", "last step"], rows),
            *([_moves(found)] if "moves" in found else []),
            f"After all stages against DPD: {points(found['change'])} points, "
            f"n={found['change']['n']}, one seed. Judge on pairs it never saw: {share(judge)}, "
            f"n={judge['n']}. Mutants killed by the test functions of that day: "
            f"{mutants['killed']} of {mutants['total']}.",
            _seeds(reference.read("benchmarks/rl_seeds.json")),
            _ablations(reference.read("benchmarks/rl_ablations.json")),
            _direct(reference.read("benchmarks/rl_direct.json")),
        ]
    )


def _seeds(found: Mapping[str, Any]) -> str:
    """STEM and code by the loop of today, several RL seeds from one checkpoint."""
    rows = []
    for stage, study in found.items():
        ((arm, changed),) = study["over_seeds"].items()
        seeds = [row["own"]["avg T=1"]["mean"] for name, row in study["arms"].items() if name.startswith(arm)]
        for name, own in changed["own"].items():
            each = ", ".join(f"{100 * value:+.1f}" for value in seeds) if name == "avg T=1" else ""
            start = share(study["start"]["own"][name])
            rows.append([stage, name, start, points(own), points(changed["others"][name]), each])
    about = next(iter(found.values()))["about"]
    n, rollouts = int(about["questions"]), int(about["rollouts"])
    heads = [
        "stage",
        f"k={about['k']}",
        "start",
        "change, its domains",
        "change, other domains",
        "by RL seed",
    ]
    return (
        f"STEM and code by the loop of 28 November (`benchmarks/rl/study.py --held-out`), {len(seeds)} RL "
        f"seeds from *one* DPD checkpoint, {rollouts:,} rollouts, {n} questions of its domains and {n // 2} "
        "of the others with held-out operands. The t-intervals are over RL seeds: they say what chance in RL "
        "does, not what another checkpoint would do.\n\n" + table(heads, rows)
    )


def _ablations(found: Mapping[str, Any]) -> str:
    """Arms of multi-stage RL at equal rollouts: change from their start, and beside `staged`."""
    about, told, rows = found["about"], found["summary"], []
    for arm, parts in told["arms"].items():
        beside = told["minus_staged"].get(arm)
        seeds = sum(key.startswith(f"{arm} | ") for key in found["rows"])
        rows.append(
            [f"`{arm}`", seeds]
            + [points(parts[part]["avg T=1"]) for part in ("stem", "code", "others")]
            + [points(beside[part]["avg T=1"]) if beside else "" for part in ("stem", "code")]
        )
    n, rollouts = int(about["questions"]), int(about["rollouts"])
    # The test of the loop stands beside: it has no start to be compared with.
    path = next(row["path"] for key, row in found["rows"].items() if key.startswith("perfectible"))
    ends = f"{percent(path[0]['accuracy'])} to {percent(path[-1]['accuracy'])}"
    heads = ["arm", "RL seeds", "STEM", "code", "other domains", "STEM minus `staged`", "code minus `staged`"]
    return (
        f"Arms at {rollouts:,} training rollouts, stages together, from *one* DPD checkpoint "
        f"(`benchmarks/rl/ablations.py`, which says what each does): change of avg@{about['k']} at "
        f"temperature 1 in points, {n} STEM, {n} code and {n // 2} other questions with held-out operands, "
        f"t-intervals over RL seeds.\n\n{table(heads, rows)}\n\nTest of the loop, one seed: the same 64 "
        f"training questions, solved 20 to 80% of the time at the start, rise from {ends} in "
        f"{path[-1]['rollouts']:,} rollouts."
    )


def _direct(found: Mapping[str, Any]) -> str:
    """RL on STEM from an SFT of which a share has no chain of thought: has it a habit to change?"""
    rows, told, rollouts = [], found["summary"], next(iter(found["trainings"].values()))["rollouts"]
    sampled = next(name for name in told if name.startswith("avg@"))
    for name in (sampled, f"thinks, {sampled}", "greedy"):
        for learned, own in told[name].items():
            beside = own.get("change minus share 0")
            cells = [name, f"{100 * float(learned):.0f}%", share(own["before"]), share(own["after"])]
            rows.append([*cells, points(own["change"]), points(beside) if beside else ""])
    seeds = told[sampled]["0.0"]["change"]["n"]
    heads = ["measure", "SFT without a chain", "before RL", "after", "change", "change minus that at 0%"]
    return (
        "A habit to change (`benchmarks/rl/direct.py`): overall SFT from *one* cold start, of whose math, "
        "science and code responses a share has no chain of thought (`direct_share` of 04), then "
        f"{rollouts:,} rollouts of STEM; {found['about']['questions']} math and science questions with "
        f"held-out operands, {seeds} seeds, t-intervals over them:\n\n{table(heads, rows)}"
    )


def unchanged(found: Mapping[str, Any]) -> list[str]:
    """The RL stages of which no checkpoint was better than their start."""
    stages = found.get("stages", {})
    # "kept" is how measurements from before 28 November call the step.
    return [name for name, stage in stages.items() if stage.get("kept_step", stage.get("kept")) == 0]


def kept_start(found: Mapping[str, Any]) -> str:
    """A sentence about them, "" where there is none."""
    names = unchanged(found)
    return (
        f" Of the RL stages, {' and '.join(names)} kept {'its' if len(names) == 1 else 'their'} start: no "
        "later look was better."
        if names
        else ""
    )


def _moves(found: Mapping[str, Any]) -> str:
    """What each RL stage that did not keep its start changed on fresh questions, in its own domains and in
    the others."""
    same = {f"rl_{name}" if name != "preference" else "rl" for name in unchanged(found)}
    measures = list(next(iter(found["moves"].values())))
    changed = {name: of for name, of in found["moves"].items() if name.split()[0] not in same}
    rows = [[name, *(points(of[m]) for m in measures)] for name, of in changed.items()]
    n = next(iter(changed.values()))[measures[0]]["n"]
    wins = ", ".join(f"by the {who} {share(value)}" for who, value in found["wins"].items())
    note = f"n={n} questions in the first row. Win rate against the start of the last stage: {wins}."
    return table(["change on fresh questions, points", *measures], rows) + "\n\n" + note
