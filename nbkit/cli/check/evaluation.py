"""07's numbers from its records: one line per question and checkpoint, the marks of its samples in `right`.
Used by verify_command.py.

    found, notes = derive(stage, measured)    # parts of metrics.json, computed anew; what could not be
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from nbkit.cli.check.places import Place, Stage
from nbkit.cli.check.records import SCORE, Derived, difference, marks, read_log, rebuilt, scores
from nbkit.cli.results.ladder import STEPS
from nbkit.cli.study.seed_stats import BASELINE
from nbkit.evals.claims import ledger
from nbkit.evals.reasoning import SHARES, format_of
from nbkit.evals.score import Estimate
from nbkit.evals.significance import holm, paired_p
from nbkit.evals.words import headline_name
from nbkit.models.engine import Completion
from nbkit.run import files

STAGE = "07_eval"
CHANCE = (*SCORE, "evals/significance.py")
LEDGER = (*CHANCE, "evals/claims.py", "evals/claims.yaml")
TAUGHT = ("math", "science", "code")  # the domains of the cold start, all that the baseline learned


def derive(stage: Stage, place: Place) -> tuple[list[Derived], list[str]]:
    """Scores, gains, differences, ledger and example of 07; and a note for each part that is not derived.

    Raises ValueError or OSError for a log that is cut or gone.
    """
    stored = stage.metrics
    # The records of every model that metrics.json has results of.
    logs = {label: read_log(log_of(stage, label)) for label in stored["results"]}
    outside = {name: read_log(log_of(stage, name)) for name in stored.get("external", {})}
    right = {label: marks([row["right"] for row in rows]) for label, rows in logs.items()}
    about, note = _about(stage, logs)
    notes = [note] if note else []
    # Scores of each model, then what sets two of them against each other.
    found = [_scored("results", label, right[label], about) for label in logs]
    for label, rows in logs.items():
        found += _ended(label, rows) if label in stored.get("format", {}) else []
    for name, rows in outside.items():
        found.append(_scored("external", name, marks([row["right"] for row in rows]), []))
    own: dict[str, Any] = {}
    if about:
        own = _compared(right, about)
        sources = "the marks of the same questions"
        found += [Derived(("stage_gain", n), e, sources) for n, e in own["stage_gain"].items()]
        found += [Derived(("stage_p", n), p, sources, CHANCE) for n, p in _p_values(right, about).items()]
        found += [Derived((n,), e, sources) for n, e in own.items() if n != "stage_gain"]
        rows, note = _ledger(stage, place, own)
        how = ("the metrics of all stages", LEDGER, frozenset())
        found += [Derived(("ledger", row["id"]), row, *how) for row in rows]
        notes += [note] if note else []
    if stored.get("example"):
        found.append(Derived(("example",), _example(stored["example"], logs), "the logged answers", ()))
    return found, notes


def log_of(stage: Stage, label: str) -> Any:
    """The file with the answers of one model."""
    name = "".join(c if c.isalnum() else "_" for c in label)
    return stage.folder / "logs" / f"answers_{name}.jsonl"


def headline(stored: Mapping[str, str], found: Sequence[Derived]) -> dict[str, str]:
    """The headline of the manifest, as far as the derived numbers make it: unseen operands, as on the ladder,
    where it says so ("asked"); of an older 07, all splits together."""
    scored = {d.path[1]: d.value for d in found if d.path[0] == "results" and "by_split" in d.value}
    newer = stored.get("asked", "").startswith("unseen operands")
    # Where the splits are not known, the score on unseen operands does not follow.
    told = {n: (newer and one["by_split"].get("operands")) or one["overall"] for n, one in scored.items()}
    for derived in found:
        if (name := derived.path[0]).endswith("_minus_baseline"):
            told[name] = told[headline_name(name)] = derived.value  # an older 07 published its short name
    return {name: str(Estimate(**told[name])) for name in stored if name in told}


def _scored(kind: str, label: str, right_QK: np.ma.MaskedArray, about: Sequence[Mapping]) -> Derived:
    source = f"{len(right_QK)} questions x {right_QK.shape[1]} samples"
    return Derived((kind, label), scores(right_QK, about), source)


def _ended(label: str, rows: Sequence[Mapping]) -> list[Derived]:
    """Why the samples ended and how long they were; their texts are logged of the first samples only."""
    answers = [
        [
            Completion("", stop=why, counted=count)
            for why, count in zip(row["stops"], row["tokens"], strict=True)
        ]
        for row in rows
    ]
    parts, source = files.plain(format_of(answers)), "the logged stop reasons and lengths"
    how = (source, (*SCORE, "evals/reasoning.py"), frozenset({"mean", "n", "median", "p90", "most"}))
    return [Derived(("format", label, name), parts[name], *how) for name in (*SHARES[:3], "tokens")]


def _about(stage: Stage, logs: Mapping[str, list[dict]]) -> tuple[list[dict[str, Any]], str]:
    """Domain and split of each question, and why they are not known where they are not."""
    if not logs:
        return [], ""
    rows = next(iter(logs.values()))
    asked = [row["question"] for row in rows]
    if wrong := [label for label, own in logs.items() if [row["question"] for row in own] != asked]:
        raise ValueError(f"{log_of(stage, wrong[0]).name} holds other questions than the log before it")
    if all({"domain", "split"} <= set(row) for row in rows):
        return rows, ""
    # A run of an older nbkit logged the questions alone.
    values = stage.manifest["params"]
    splits = ("operands", "template", "composition") if "embedded" in values["task_sets"] else ("operands",)
    about, why = rebuilt(rows, values["task_sets"], values["questions"], splits)
    return about, f"by_domain, by_split, gains, differences, ledger: {why}" if why else ""


def _compared(right: Mapping[str, np.ma.MaskedArray], about: Sequence[Mapping]) -> dict[str, Any]:
    """Each checkpoint minus the one before on unseen operands; the last one minus the baseline."""
    pairs, operands = _steps(right, about)
    gains = {after: difference(right[after], right[before], operands) for before, after in pairs}
    found: dict[str, Any] = {"stage_gain": gains}
    order = [label for label in STEPS if label in right]
    if len(order) > 1 and BASELINE in right:
        last, everything = right[order[-1]], range(len(about))
        trained = [i for i in everything if about[i]["domain"] in TAUGHT]
        found["final_minus_baseline"] = difference(last, right[BASELINE], trained)
        found["pipeline_minus_baseline"] = difference(last, right[BASELINE], everything)
    return found


def _steps(
    right: Mapping[str, np.ma.MaskedArray], about: Sequence[Mapping]
) -> tuple[list[tuple[str, str]], list[int]]:
    """The checkpoints that follow each other, (before, after), and the questions with unseen operands."""
    operands = [i for i, row in enumerate(about) if row["split"] == "operands"]
    pairs = [(before, after) for before, after in pairwise(STEPS) if {before, after} <= set(right)]
    return (pairs if operands else []), operands


def _p_values(right: Mapping[str, np.ma.MaskedArray], about: Sequence[Mapping]) -> dict[str, Any]:
    """The p-value of each gain, and the same corrected for all of them."""
    pairs, operands = _steps(right, about)
    found = {after: paired_p(right[after][operands], right[before][operands]) for before, after in pairs}
    corrected = holm(found)
    return {name: {"paired t": p, "Holm": corrected[name]} for name, p in found.items()}


def _ledger(stage: Stage, place: Place, own: Mapping[str, Any]) -> tuple[list[dict], str]:
    """The rows of the ledger, from the metrics that 07 read and its derived ones; or why there is none."""
    measured: dict[str, Any] = {stage.name: own}
    for name, entry in stage.manifest["inputs"].items():
        upstream, _, file = name.partition("/")
        if file != "metrics.json":
            continue
        path = place.home / upstream / file
        # Metrics that were made anew since say nothing about what 07 judged.
        if not path.is_file() or files.sha256(path) != entry["sha256"]:
            return [], f"ledger: the metrics of {upstream} that it was computed from are not here any more"
        measured[upstream] = files.read_json(path)
    return ledger(measured, seeds=1, profile=stage.manifest["params"]["profile"]), ""


def _example(stored: Mapping[str, Any], logs: Mapping[str, list[dict]]) -> dict[str, Any]:
    """The shown question as the logs have it: the first of those that split the checkpoints most evenly."""

    def balance(number: int) -> int:
        count = sum(bool(rows[number]["right"][0]) for rows in logs.values())
        return min(count, len(logs) - count)

    first = next(iter(logs.values()))
    shown = max(range(len(first)), key=balance)
    answers = {}
    for label in stored["answers"]:
        row = logs[label][shown]
        answers[label] = {"text": row["got"].split("\nQuestion:")[0][:200], "right": bool(row["right"][0])}
    return {"question": first[shown]["question"], "wanted": first[shown]["wanted"], "answers": answers}
