"""How often the 95% intervals of avg@k and of a paired difference hold the truth: mock models of known
accuracy, 1,000 rounds of each kind, against Student's t on the same rounds. About half a minute on one core.

    .venv/bin/python benchmarks/coverage.py       # writes outputs/reference/benchmarks/coverage.json

avg@k: accuracies 2, 10, 50, 90, 98%; k = 1, 2, 4, 16, 64; 10, 30, 100, 300 questions; equally hard, or with
difficulties from a Beta distribution of size a + b = 10, 2 or 0.5 (0.5: nearly all right or nearly all
wrong). Differences: eight pairs of such models; what is hard for one is hard for the other.
Shape legend: R rounds, Q questions.
"""

from __future__ import annotations

import itertools
import platform

import numpy as np
from scipy import stats

from nbkit.evals.score import intervals
from nbkit.evals.selftest import right_samples
from nbkit.run import files

ROUNDS = 1000
QUESTIONS, KS, ACCURACIES = (10, 30, 100, 300), (1, 2, 4, 16, 64), (0.02, 0.1, 0.5, 0.9, 0.98)
SPREADS = (None, 10.0, 2.0, 0.5)
PAIRS = ((0.02, 0.02), (0.02, 0.1), (0.1, 0.1), (0.1, 0.5), (0.5, 0.5), (0.5, 0.9), (0.9, 0.98), (0.02, 0.98))


def students_t(values_RQ: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The t-intervals for the means of the rows."""
    questions = values_RQ.shape[1]
    half_R = stats.t.ppf(0.975, questions - 1) * values_RQ.std(1, ddof=1) / np.sqrt(questions)
    return values_RQ.mean(1) - half_R, values_RQ.mean(1) + half_R


def on_difference(values_RQ: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """`intervals` on the scale from -1 to 1, as `paired_difference` has it."""
    low_R, high_R = intervals((values_RQ + 1) / 2)
    return 2 * low_R - 1, 2 * high_R - 1


def measure(values_RQ: np.ndarray, truth: float, ours) -> dict[str, float]:
    """Coverage and mean width of both kinds of interval on the same rounds."""
    found = {}
    for name, method in (("ours", ours), ("t", students_t)):
        low_R, high_R = method(values_RQ)
        inside_R = (low_R <= truth + 1e-12) & (truth - 1e-12 <= high_R)
        found |= {f"covered_{name}": float(inside_R.mean()), f"width_{name}": float((high_R - low_R).mean())}
    return found


def of_accuracies(rng: np.random.Generator) -> list[dict]:
    """One row per kind of mock model."""
    rows = []
    for spread, questions, k, accuracy in itertools.product(SPREADS, QUESTIONS, KS, ACCURACIES):
        means_RQ = right_samples(rng, k, accuracy, spread, (ROUNDS, questions)) / k
        kind = {"spread": spread, "questions": questions, "k": k, "accuracy": accuracy}
        rows.append(kind | measure(means_RQ, accuracy, intervals))
    return rows


def of_differences(rng: np.random.Generator) -> list[dict]:
    """One row per kind of pair."""
    rows = []
    for spread, questions in itertools.product((None, 2.0, 0.5), QUESTIONS):
        # A question has one rank of difficulty for both models.
        rank_RQ = rng.random((ROUNDS, questions))
        chances = {a: np.full(rank_RQ.shape, a) for a in ACCURACIES}
        if spread is not None:
            chances = {a: stats.beta.ppf(rank_RQ, a * spread, (1 - a) * spread) for a in ACCURACIES}
        for k, (one, other) in itertools.product((1, 4, 64), PAIRS):
            difference_RQ = (rng.binomial(k, chances[one]) - rng.binomial(k, chances[other])) / k
            kind = {"spread": spread, "questions": questions, "k": k, "accuracies": [one, other]}
            rows.append(kind | measure(difference_RQ, one - other, on_difference))
    return rows


def summary(rows: list[dict]) -> dict:
    """The least covered kinds, and the least coverage per k and number of questions."""
    parts = []
    for questions in QUESTIONS:
        for k in sorted({row["k"] for row in rows}):
            own = [row for row in rows if (row["questions"], row["k"]) == (questions, k)]
            least = {f"least_{name}": min(row[f"covered_{name}"] for row in own) for name in ("ours", "t")}
            parts.append({"questions": questions, "k": k} | least)
    worst = {name: min(rows, key=lambda row: row[f"covered_{name}"]) for name in ("ours", "t")}
    return {"kinds": len(rows), "worst": worst, "by": parts}


def price(rows: list[dict]) -> list[dict]:
    """How much wider than the t-interval: in the middle of the scale, for few and many samples of equally
    hard questions and of unlike ones."""
    keys = ("spread", "questions", "k", "width_ours", "width_t")
    return [
        {key: row[key] for key in keys} | {"times": row["width_ours"] / row["width_t"]}
        for row in rows
        if (row.get("accuracy") == 0.5 or row.get("accuracies") == [0.1, 0.5])
        and row["k"] in (4, 64)
        and row["spread"] in (None, 2.0)
    ]


def main() -> None:
    rng = np.random.default_rng(0)
    accuracies, differences = of_accuracies(rng), of_differences(rng)
    result = {
        "rounds": ROUNDS,
        "avg@k": summary(accuracies) | {"width at 50%": price(accuracies)},
        "paired difference": summary(differences) | {"width, 50% minus 10%": price(differences)},
        "python": platform.python_version(),
    }
    path = files.project_root() / "outputs" / "reference" / "benchmarks" / "coverage.json"
    files.write_json(path, result)
    for name in ("avg@k", "paired difference"):
        for method, worst in result[name]["worst"].items():
            print(f"{name}, {method}: least coverage {worst[f'covered_{method}']:.1%} of {ROUNDS}, {worst}")
    print("written:", path)


if __name__ == "__main__":
    main()
