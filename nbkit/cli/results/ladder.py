"""The ladder: accuracy stage by stage on questions with unseen operands, beside the 10x baseline.

Drawn from small/07_eval.json. The bases complete a document, the others answer in chat.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from nbkit.cli.results.reference import Reference
from nbkit.cli.results.text import table

SOURCE, SPLIT = "small/07_eval.json", "operands"
BASELINE = "10x baseline + SFT"
STEPS = ("FG-WSD base", "cold start", "overall SFT", "DPD", "RL: STEM", "RL: + code", "RL: + preference")


class Step(NamedTuple):
    """One checkpoint: accuracy and 95% interval over questions, as fractions."""

    name: str
    mean: float
    low: float
    high: float


def steps(reference: Reference) -> tuple[list[Step], Step]:
    """The student's checkpoints in order of training, and the baseline."""
    results = reference.read(SOURCE)["results"]

    def step(name: str) -> Step:
        found = results[name]["by_split"][SPLIT]
        return Step(name, found["mean"], found["low"], found["high"])

    return [step(name) for name in STEPS], step(BASELINE)


def summary(reference: Reference) -> str:
    """Whether the ladder rises, in one sentence of Markdown."""
    (base, *later), baseline = steps(reference)
    best = max(later, key=lambda step: step.mean)
    way = "rises" if later[-1].mean > base.mean else "falls"
    numbers = [f"{100 * step.mean:.0f}%" for step in (base, best, later[-1], baseline)]
    return (
        f"**The ladder {way}**: from {numbers[0]} ({base.name}) to {numbers[2]} after the last "
        f"stage; the best later checkpoint is {best.name} with {numbers[1]}, the baseline of "
        f"ten times the size has {numbers[3]}."
    )


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
        rows.append([name, f"`{said}`", "right" if answer["right"] else "wrong"])
    heads = [f"“{found['question']}” (wanted: {found['wanted']})", "answer", ""]
    return table(heads, rows)


def figure(reference: Reference) -> Any:
    """A matplotlib figure of the ladder, made to be read at half a page's width."""
    from nbkit.evals import plots  # noqa: PLC0415 (slow, needed to draw only)

    found, baseline = steps(reference)
    title = f"Unseen operands, avg@3, 300 questions, one seed (commit {reference.commit(SOURCE)})"
    return plots.ladder({step.name: step for step in found}, baseline, title)


def draw(reference: Reference, path: Path) -> None:
    """Write the figure as PNG."""
    fig = figure(reference)
    path.parent.mkdir(parents=True, exist_ok=True)
    fig.savefig(path, dpi=110, metadata={"Software": None})
