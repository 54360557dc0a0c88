"""What an evaluation found: scores with intervals, lengths, stop reasons; and its files. Used by run.py.

result.overall                     # Estimate: mean, low, high, n
result.write("evals")              # <task>.parquet, <task>.html, and <task>.json last
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from nbkit.evals.bench.grading import Mark
from nbkit.evals.bench.items import Questions
from nbkit.evals.bench.loglik import Scores
from nbkit.evals.bench.readers import Item
from nbkit.evals.bench.results import page
from nbkit.evals.bench.table import Benchmark
from nbkit.evals.reasoning import format_of, spread
from nbkit.evals.score import Estimate, avg_at_k
from nbkit.models.engine import Completion
from nbkit.run import files, provenance


@dataclass(frozen=True)
class Record:
    """The answers to one question and their marks, both in the order of the samples."""

    completions: Sequence[Mapping[str, Any]]
    marks: Sequence[Mark]
    scores: Scores | None = None

    @classmethod
    def of_choices(cls, bench: Benchmark, item: Item, row: Mapping[str, Any]) -> "Record":
        """Of log-likelihoods: the likeliest choice is the answer; `also` holds acc and acc_norm both."""
        lengths = tuple(len(choice) for choice in item.choices)
        scores = Scores(tuple(row["loglik"]), lengths, row["tokens"], row["cut"])
        picks = {metric: scores.pick(metric) for metric in ("acc", "acc_norm")}
        also = {metric: [float(place == item.gold)] for metric, place in picks.items()}
        text = item.choices[picks[bench.verifier]]
        said = {"texts": [text], "stop": "stop", "tokens": row["tokens"], "detail": ""}
        return cls([said], [Mark(also[bench.verifier][0], also)], scores)

    @property
    def values(self) -> list[float] | None:
        """The marks, None where one of them is missing: then the question counts nowhere."""
        values = [mark.value for mark in self.marks]
        return None if None in values else values


@dataclass(frozen=True)
class Result:
    """Shape legend: Q questions, K answers to each. `shown`: the prompts as texts. `about`: decoding, form,
    settings and target of the evaluation."""

    bench: Benchmark
    questions: Questions
    records: Sequence[Record]
    shown: Sequence[str]
    about: Mapping[str, Any] = field(default_factory=dict)
    bill: str = ""

    @property
    def tasks(self) -> Sequence[Item]:
        return self.questions.items

    @property
    def texts(self) -> list[str]:
        """The first answers."""
        return [record.completions[0]["texts"][-1] for record in self.records]

    @property
    def answers(self) -> list[list[Completion]]:
        """All answers, of conversations the last turn; `tokens` counts all turns."""
        return [[_completion(one) for one in record.completions] for record in self.records]

    @cached_property
    def correct_QK(self) -> np.ma.MaskedArray:
        """The marks; a question that could not be marked is masked whole."""
        most = max(len(record.marks) for record in self.records)
        marks_QK = np.ma.zeros((len(self.records), most))
        for row, record in enumerate(self.records):
            marks_QK[row] = np.ma.masked if record.values is None else record.values
        return marks_QK

    @property
    def graded(self) -> list[int]:
        return [row for row, record in enumerate(self.records) if record.values is not None]

    @property
    def overall(self) -> Estimate:
        """Raises ValueError where no question could be marked, with the first reason."""
        return self._score(self.graded)

    def _score(self, rows: Sequence[int]) -> Estimate:
        if not len(rows):
            raise ValueError(
                f"{self.bench.name}: no question could be marked; first reason: {self._reasons()[:1]}"
            )
        return avg_at_k(self.correct_QK[list(rows)])

    def without(self, flagged: Sequence[int]) -> Estimate | None:
        """The score without these questions; None where none is left."""
        rows = sorted({*self.graded} - {*flagged})
        return self._score(rows) if rows else None

    def _reasons(self) -> list[str]:
        return [mark.detail for record in self.records for mark in record.marks if mark.value is None]

    def by_group(self) -> dict[str, Estimate]:
        groups: dict[str, list[int]] = {}
        for row in self.graded:
            groups.setdefault(self.tasks[row].group, []).append(row)
        return {name: self._score(rows) for name, rows in sorted(groups.items())} if len(groups) > 1 else {}

    def also(self) -> dict[str, dict[str, float]]:
        """Other metrics: mean and how many marks it is of."""
        marks: dict[str, list[float]] = {}
        for row in self.graded:
            for mark in self.records[row].marks:
                for name, values in mark.also.items():
                    marks.setdefault(name, []).extend(values)
        return {name: {"mean": float(np.mean(v)), "n": len(v)} for name, v in marks.items()}

    def lengths(self) -> dict[str, dict[str, float]]:
        """Tokens of an answer: of all, of right and of wrong ones."""
        rows = [
            (one["tokens"], mark.value)
            for record in self.records
            for one, mark in zip(record.completions, record.marks, strict=True)
        ]
        parts = {
            "all": [tokens for tokens, _ in rows],
            "right": [tokens for tokens, value in rows if value == 1],
            "wrong": [tokens for tokens, value in rows if value == 0],
        }
        return {name: spread(found) for name, found in parts.items() if found}

    def summary(self) -> dict[str, Any]:
        """Everything of <task>.json but the files and the settings. Raises ValueError as `overall` does."""
        reasons, stops = self._reasons(), Counter(c["stop"] for r in self.records for c in r.completions)
        asked = len(self.records)
        return {
            "task": self.bench.name,
            "title": self.bench.title,
            "overall": self.overall.dict() if self.graded else None,
            "metric": _metric(self.bench, self.correct_QK.shape[1]),
            "questions": asked,
            "of": self.questions.total,
            "not_scorable": self.questions.left_out,
            "infra": asked - len(self.graded),
            "status": "complete" if len(self.graded) == asked else "partial",
            "first_reason": reasons[0] if reasons else "",
            "also": self.also(),
            "by_group": {name: e.dict() for name, e in self.by_group().items()},
            "stops": dict(stops),
            "tokens": self.lengths(),
            "format": format_of(self.answers) if self.bench.answers != "choose" else None,
            "cut_contexts": sum(bool(r.scores and r.scores.cut) for r in self.records),
        }

    def write(self, out: str | Path) -> Path:
        """The files of the evaluation; the manifest with their hashes last."""
        out, name = Path(out), self.bench.stem
        self._parquet(out / f"{name}.parquet")
        files.atomic_write(out / f"{name}.html", page.page(self))
        about, target = self.about, self.about["target"]
        made = {
            "model": target.source,
            "model_name": target.name,
            "number_format": target.number_format,
            "text_loss": target.text_loss,
            "doubt": target.doubt,
            "form": about["form"],
            "shots": about["shots"],
            "decoding": vars(about["decoding"]) if self.bench.answers != "choose" else None,
            "revision": self.bench.revision,
            "settings": about["settings"],
            "judge": self.bill,
            "versions": provenance.environment() | {"commit": provenance.git_state()[0]["commit"]},
            "files": {
                kind: files.sha256(out / f"{name}.{kind}") for kind in ("parquet", "html", "journal.jsonl")
            },
        }
        files.write_json(out / f"{name}.json", files.plain(self.summary() | made))
        return out / f"{name}.json"

    def _parquet(self, path: Path) -> None:
        import pyarrow as pa  # noqa: PLC0415 (slow import, needed here only)
        import pyarrow.parquet as pq  # noqa: PLC0415 (with it)

        rows = [
            {
                "id": item.id,
                "group": item.group,
                "prompt": shown,
                "answer": page.answer_text(item),
                "completions": ["\n\n".join(one["texts"]) for one in record.completions],
                "verdicts": [mark.value for mark in record.marks],
                "stops": [one["stop"] for one in record.completions],
                "tokens": [one["tokens"] for one in record.completions],
                "details": [mark.detail for mark in record.marks],
                "loglikelihoods": list(record.scores.loglik) if record.scores else [],
            }
            for item, shown, record in zip(self.tasks, self.shown, self.records, strict=True)
        ]
        with files.atomic_file(path) as temp:
            pq.write_table(pa.Table.from_pylist(rows), temp)


def _metric(bench: Benchmark, k: int) -> str:
    if bench.answers == "choose":
        return bench.verifier
    return f"avg@{k}" if k > 1 else {"judge": "mean mark", "generate": "accuracy"}[bench.answers]


def _completion(said: Mapping[str, Any]) -> Completion:
    return Completion(said["texts"][-1], stop=said["stop"], detail=said["detail"], counted=said["tokens"])
