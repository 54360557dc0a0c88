"""The ladder: accuracy stage by stage on unseen operands, and the 10x baseline where one was trained.

Two of them: over the seeds of `nbkit claims` (the newest of STUDIES), with the stages that every seed ran,
and of the whole pipeline in one seed (small/07_eval.json). Bases complete a document, the others answer in
chat.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

from nbkit.cli.results.reference import Reference
from nbkit.cli.results.text import per_seed, percent, points, table
from nbkit.cli.study.seed_stats import BASELINE

SOURCE, SPLIT = "small/07_eval.json", "operands"
# Of today's world, the newest last; the files in claims/ are older.
STUDIES = ("claims-fresh/claims.json", "claims-ladder/claims.json")
STUDY = STUDIES[-1]
# Claims that say that a step lifts the one before it, and the words for the step.
GAINS = {"cold-start": "the cold start", "overall-sft": "overall SFT", "dpd": "DPD", "rl": "RL"}
STEPS = ("FG-WSD base", "cold start", "overall SFT", "DPD", "RL: STEM", "RL: + code", "RL: + preference")
TEN_TIMES = "benchmarks/ten_times.json"
_BASELINES = {  # as benchmarks/ten_times calls them
    "plain": "unfiltered text, vanilla WSD, SFT on first samples",
    "pools": "pools of the filter, vanilla WSD, SFT on first samples",
    "compute": "as the plain one, cut to the student's training compute, teacher's work included",
}
TOLD = (*STEPS[:4], STEPS[-1])  # those that a sentence has room for: of RL its end


class Step(NamedTuple):
    """One checkpoint: accuracy and 95% interval over questions, as fractions."""

    name: str
    mean: float
    low: float
    high: float


def steps(reference: Reference) -> tuple[list[Step], Step | None]:
    """The student's checkpoints in one seed, in order of training, and the baseline, if one was trained."""
    results = reference.read(SOURCE)["results"]

    def step(name: str) -> Step:
        found = results[name]["by_split"][SPLIT]
        return Step(name, found["mean"], found["low"], found["high"])

    return [step(name) for name in STEPS], step(BASELINE) if BASELINE in results else None


def over_seeds(reference: Reference) -> dict[str, dict[str, Any]]:
    """Checkpoint -> mean, low, high, seeds (`seed_stats.ladder`) of the published study."""
    return reference.read(STUDY)["ladder"]


def summary(reference: Reference) -> str:
    """How far the ladder rises, over seeds and in the whole pipeline, in two sentences of Markdown."""
    found = over_seeds(reference)
    rungs = [f"{name} {100 * found[name]['mean']:.0f}%" for name in TOLD if name in found]
    seeds = min(one["seeds"] for one in found.values())
    gains = {row["id"]: row for row in reference.read(STUDY)["claims"]}
    # The cold start teaches three of the five domains: over all it may stand still while these rise.
    if gains["cold-start-own"]["mean"] is not None:
        place = [rung.startswith("cold start") for rung in rungs].index(True)
        rungs[place] += f" ({points(gains['cold-start-own'])} points on the domains that it teaches)"
    own, baseline = steps(reference)
    last = [step for step in own if step.name in ("overall SFT", "DPD", STEPS[-1])]
    whole = ", ".join(f"{step.name} {100 * step.mean:.0f}%" for step in last)
    beside = f"; a baseline of ten times the size {100 * baseline.mean:.0f}%" if baseline else ""
    return (
        f"**The ladder {_way(gains)}** (`claims`, means of {seeds} seeds): {', '.join(rungs)}. `small`, "
        f"shorter, one seed of the whole pipeline ({reference.commit(SOURCE)}): {whole}{beside}."
    )


def _way(gains: Mapping[str, Mapping[str, Any]]) -> str:
    """Which steps rise, their interval over seeds above zero, as words."""
    steps = [words for name, words in GAINS.items() if gains[name]["mean"] is not None]
    rises = [words for name, words in GAINS.items() if (gains[name]["low"] or 0) > 0]
    falls = [words for name, words in GAINS.items() if (gains[name]["high"] or 0) < 0]
    if not rises:
        return "does not rise"
    if rises == steps:
        return "rises at every step" + ("" if len(steps) == len(GAINS) else f" up to {steps[-1]}")
    down = f" and falls with {' and '.join(falls)} (greedy)" if falls else ""
    return "rises with " + " and ".join(filter(None, (", ".join(rises[:-1]), rises[-1]))) + down


def example(reference: Reference) -> str:
    """One question and its answers stage by stage, as a table of Markdown; "" where the run recorded none."""
    found = reference.read(SOURCE).get("example")
    if not found:
        return ""
    rows = []
    for name in ("FG-WSD base", "overall SFT", "DPD", "RL: + preference"):
        answer = found["answers"][name]
        # A cell of a table is one line, and its own signs would end it.
        said = " ".join(answer["text"].split()).replace("|", "\\|").replace("`", "'")
        said = said.replace('": ', '":').replace(", ", ",")  # JSON, compact
        said = re.sub(r" ([*+/=-]) ", r"\1", said)  # and equations
        rows.append([name, f"`{said}`", "right" if answer["right"] else "wrong"])
    heads = [f"“{found['question']}” (wanted: {found['wanted']})", "answer", ""]
    return table(heads, rows)


def ten_times(reference: Reference) -> str:
    """The student against models of ten times its size (benchmarks/ten_times), as a table of Markdown."""
    found = reference.read(TEN_TIMES)
    rows = []
    for name, by_run in found["effects"].items():
        kind, _, asked = name.partition(", ")
        runs = [run[kind] for run in found["runs"]]
        tokens, flops = (fmean(run[key] for run in runs) for key in ("share of its tokens", "flops"))
        ours = fmean(run["student"]["flops"] for run in found["runs"])
        over = by_run["over runs"]
        right = [_right(found["rows"], asked, baseline) for baseline in (None, kind)]
        cells = [_BASELINES[kind], asked, f"{100 * tokens:.0f}%", f"{ours:.2g} / {flops:.2g}"]
        cells.append(" / ".join(percent(one) for one in right))
        rows.append([*cells, points(over), per_seed(over)])
    student, baseline = found["runs"][0]["student"]["parameters"], runs[0]["parameters"]
    heads = ["baseline", "questions", "of the student's tokens", "FLOPs, student / baseline", "right"]
    return (
        f"The student ({student:,} parameters, `{found['student']}` of the same seeds) against a model of "
        f"{baseline:,} that is made plainly, {found['questions']} questions of each set, avg@3. The "
        "baseline's rates and passes were chosen on training-split questions of the first seed:\n\n"
        + table([*heads, "student minus baseline, points", "by seed"], rows)
    )


def _right(rows: Sequence[Mapping[str, Any]], asked: str, baseline: str | None) -> float:
    """Share of right answers over the runs, of a baseline or of the student (None)."""
    own = [row for row in rows if row["key"].get("set") == asked and row["key"].get("baseline") == baseline]
    return fmean(row["value"]["mean"] for row in own)


def figures(reference: Reference) -> dict[str, Any]:
    """File name -> matplotlib figure, made to be read at half a page's width."""
    from nbkit.cli.study import figures as study  # noqa: PLC0415 (imports pyplot)
    from nbkit.evals import plots  # noqa: PLC0415 (slow, needed to draw only)

    found, baseline = steps(reference)
    title = f"Unseen operands, avg@3, 300 questions, one seed (commit {reference.commit(SOURCE)})"
    whole = plots.ladder({step.name: step for step in found}, baseline, title)
    return {"ladder.png": study.ladder(over_seeds(reference)), "ladder_one_seed.png": whole}


def draw(reference: Reference, folder: Path) -> None:
    """Write the figures as PNG into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, figure in figures(reference).items():
        figure.savefig(folder / name, dpi=110, metadata={"Software": None})
