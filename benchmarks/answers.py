"""How often does an answer checker err? Ours beside string match, Math-Verify and TRL's accuracy_reward.

    .venv/bin/python benchmarks/answers.py  # two minutes; GSM8K needs its mirror in NBKIT_DATA_DIR
    .venv/bin/python benchmarks/answers.py --suites CHECKOUT  # also on the tests of a checkout of Math-Verify

Labelled pairs (tests/math_pairs): `dev` was read while the checker was written, `held_out` was not. GSM8K:
the 1,319 test solutions as answers, against their own gold answer (equal) and a perturbed one (not equal).
The comparison goes both ways, since each is best at its own conventions (docs/equality.md):
Math-Verify on our pairs, and we on its test suite, whose answers and golds are both extracted from text.
Prints JSON; for every set and checker, with 95% intervals (Wilson):

    false_positive     unequal pairs that it pays      false_negative     equal pairs that it does not pay
    undecided          pairs it gives no verdict on, which count in neither
"""

import argparse
import importlib
import json
import logging
import os
import random
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import math_verify
from scipy import stats
from trl.rewards import accuracy_reward

from nbkit.run.files import write_json
from nbkit.tasks import sources
from nbkit.verify import Jail, extract_answer, verdict

PAIRS = Path(__file__).resolve().parents[1] / "tests" / "math_pairs"


def string_match(text: str, gold: str) -> bool:
    return extract_answer(text) == gold.strip()


def math_verify_alone(text: str, gold: str) -> bool | None:
    """As its README shows it; None where it cannot read the gold answer."""
    parsed = math_verify.parse(rf"\boxed{{{gold}}}")
    return math_verify.verify(parsed, math_verify.parse(text)) if parsed else None


def trl_reward(text: str, gold: str) -> bool | None:
    (reward,) = accuracy_reward([[{"role": "assistant", "content": text}]], [rf"\boxed{{{gold}}}"])
    return None if reward is None else reward == 1.0


def labelled(name: str) -> list[tuple[str, str, bool, str]]:
    """(text of a model, gold, equal, category): the answer stands in a box, as a model would write it."""
    rows = [json.loads(line) for line in (PAIRS / f"{name}.jsonl").read_text().splitlines()]
    return [(rf"\boxed{{{r['prediction']}}}", r["gold"], r["equal"], r["category"]) for r in rows]


def gsm8k() -> list[tuple[str, str, bool, str]]:
    found = []
    for row in sources.load("gsm8k", split="test", purpose="eval"):
        rng, gold = random.Random(row["prompt"]), row["answer"]
        body, _, answer = row["response"].rpartition("#### ")
        text = rf"{body}The answer is \boxed{{{answer}}}."  # a box is the one form that every checker reads
        found.append((text, gold, True, "gold"))
        digits = list(gold.lstrip("-"))
        rng.shuffle(digits)
        value = float(gold)
        perturbed = {
            "one more": f"{value + 1:g}" if value % 1 else str(int(value) + 1),
            "sign": gold[1:] if gold.startswith("-") else f"-{gold}",
            "ten times": f"{gold}0",
            "a half more": f"{gold}.5",
            "digits shuffled": "".join(digits).lstrip("0") or "0",
        }
        kind = rng.choice(sorted(perturbed))
        if float(perturbed[kind]) != value:
            found.append((text, perturbed[kind], False, kind))
    return found


def suite(checkout: Path) -> list[tuple[str, str, bool, str]]:
    """The cases (prediction, gold, expected) of Math-Verify's tests, which are imported to read them.

    Raises ValueError when the folder holds none.
    """
    found = []
    sys.path.insert(0, str(checkout))  # its tests import one another
    for path in sorted((checkout / "tests").glob("test_*.py")):
        module = importlib.import_module(f"tests.{path.stem}")
        for name, test in vars(module).items():
            marks = getattr(test, "pytestmark", []) if name.startswith("test_") else []
            found += [
                case for mark in marks if mark.name == "parametrize" for case in _cases(mark, path.stem)
            ]
    if not found:
        raise ValueError(
            f"--suites {checkout}: no cases in tests/test_*.py; wanted a checkout of Math-Verify"
        )
    return found


def _cases(mark: object, category: str) -> Iterator[tuple[str, str, bool, str]]:
    names, rows = mark.args[:2]
    names = [name.strip() for name in names.split(",")] if isinstance(names, str) else list(names)
    for row in rows:
        case = dict(zip(names, getattr(row, "values", row), strict=False))
        expected = case.get("expected", case.get("result"))
        if isinstance(case.get("gold"), str) and isinstance(case.get("pred"), str) and expected is not None:
            yield case["pred"], case["gold"], bool(expected), category


def math_verify_texts(text: str, gold: str) -> bool:
    return math_verify.verify(math_verify.parse(gold), math_verify.parse(text))


def rate(count: int, n: int) -> dict:
    interval = stats.binomtest(count, n).proportion_ci(method="wilson")
    return {"count": count, "n": n, "rate": count / n, "low": interval.low, "high": interval.high}


def audit(check: Callable[[str, str], bool | None], rows: list[tuple]) -> dict:
    outcomes, seconds, by = Counter(), [], {}
    for text, gold, equal, category in rows:
        started = time.perf_counter()
        said = check(text, gold)
        seconds.append(time.perf_counter() - started)
        outcomes[equal, said] += 1
        by.setdefault(category, Counter())["agree" if said == equal else "differ"] += 1
    agree = outcomes[True, True] + outcomes[False, False]
    return {
        "agreement": rate(agree, len(rows)),
        "false_positive": rate(outcomes[False, True], outcomes[False, True] + outcomes[False, False]),
        "false_negative": rate(outcomes[True, False], outcomes[True, True] + outcomes[True, False]),
        "undecided": outcomes[True, None] + outcomes[False, None],
        "slowest_s": round(max(seconds), 3),
        "median_ms": round(sorted(seconds)[len(seconds) // 2] * 1000, 2),
        "differ_by_category": {name: dict(count) for name, count in sorted(by.items())},
    }


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sets", nargs="+", default=["dev", "held_out", "gsm8k"])
    parser.add_argument("--suites", type=Path, help="a checkout of Math-Verify, for the other direction")
    parser.add_argument("--out", type=Path, help="also write the JSON here")
    options = parser.parse_args()
    logging.disable(logging.WARNING)  # Math-Verify warns of every answer it cannot read
    report: dict = {"sets": {}}
    with Jail(wall_s=1.0) as jail:
        report["tier"] = jail.tier

        def ours(text: str, gold: str) -> bool | None:
            return {"pass": True, "fail": False}.get(verdict(extract_answer(text), gold, jail))

        checkers = {
            "nbkit": ours,
            "string match": string_match,
            "Math-Verify": math_verify_alone,
            "TRL accuracy_reward": trl_reward,
        }
        for name in options.sets:
            if name == "gsm8k" and not os.environ.get("NBKIT_DATA_DIR"):
                report["sets"][name] = "NBKIT_DATA_DIR is not set"
                continue
            rows = gsm8k() if name == "gsm8k" else labelled(name)
            report["sets"][name] = {checker: audit(check, rows) for checker, check in checkers.items()}
        if options.suites is None:
            report["sets"]["math-verify's tests"] = "skipped: name a checkout of Math-Verify by --suites"
        else:
            rows = suite(options.suites)
            both = {
                "nbkit": lambda text, gold: ours(text, extract_answer(gold)),
                "Math-Verify": math_verify_texts,
            }
            report["sets"]["math-verify's tests"] = {name: audit(check, rows) for name, check in both.items()}
    print(json.dumps(report, indent=1))
    if options.out:
        write_json(options.out, report)
    return 0


if __name__ == "__main__":
    sys.exit(main())
