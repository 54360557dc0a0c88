"""How right, how repeatable and how fast is the code grader?

    .venv/bin/python benchmarks/graders.py  # about 15 minutes on 2 cores
    .venv/bin/python benchmarks/graders.py --completions 300 --suites 20 --jobs 200  # a minute
    .venv/bin/python benchmarks/graders.py --references  # a few minutes in one process: references alone

Needs the mirrors humaneval/ and mbpp/ in NBKIT_DATA_DIR. Prints JSON:

    speed      jailed function calls per second of one warm worker, per tier
    soak       1,000 jobs, honest and hostile: processes, descriptors and memory before and after
    graded     reference solutions, and mutants of them, against Python's own verdict: their asserts run the
               plain way, in one namespace (confined all the same)
    regraded   the same completions once more, in another order: how many verdicts differ
    references (alone) all references as they are, and fenced in a sentence, through `extract_code`
    synthetic  synthetic tests for MBPP's training solutions: wrong programs caught, beside the human asserts
"""

import argparse
import json
import os
import random
import statistics
import sys
import time
from collections import Counter
from pathlib import Path

import psutil
from scipy import stats

from nbkit.text.rows import read_rows
from nbkit.verify import Call, Jail, JailPool, extract_code, grade, grade_humaneval, grade_mbpp, mbpp_calls
from nbkit.verify.code.mutants import mutants
from nbkit.verify.code.synthesis import Suite, synthesize
from nbkit.verify.jail.tiers import available

ADD = "def add(a, b): return a + b"
HOSTILE = [
    "def add(a, b): return a - b",
    "import os\nos._exit(0)",
    "import os\ndef add(a, b): return os.fork()",
    "def add(a, b): return [0] * 10**9",
    "def add(a, b): return 'x' * 10**6",
    "import threading, time\nthreading.Thread(target=time.sleep, args=(9,)).start()\ndef add(a, b): return 0",
    "def add(a, b): raise SystemExit",
    "def add(a, b) return",
]


def speed(jobs: int) -> dict:
    """Median over five rounds, tiers in turn, so that a busy moment of the machine meets all of them."""
    jails = {tier: Jail(tier=tier).start() for tier in available()}
    rates = {tier: [] for tier in jails}
    for _ in range(5):
        for tier, jail in jails.items():
            count = jobs // 5 if tier != "wasmtime" else max(3, jobs // 100)
            started = time.perf_counter()
            for number in range(count):
                assert jail.call(ADD, "add", [[number, 1]]).values == [number + 1]
            rates[tier].append(count / (time.perf_counter() - started))
    for jail in jails.values():
        jail.close()
    return {tier: round(statistics.median(found), 1) for tier, found in rates.items()}


def soak(jobs: int) -> dict:
    """State of this process and of the worker after a warm-up, and again after `jobs` more."""

    def state(jail):
        ours, worker = psutil.Process(), psutil.Process(jail._worker.pid)
        return {
            "processes": len(ours.children(recursive=True)),
            "descriptors": ours.num_fds() + worker.num_fds(),
            "our_mib": round(ours.memory_info().rss / 2**20, 1),
            "worker_mib": round(worker.memory_info().rss / 2**20, 1),
        }

    def work(jail, count):
        for number in range(count):
            code = ADD if number % 2 else HOSTILE[number // 2 % len(HOSTILE)]
            outcomes[grade(jail, code, "add", [Call([2, 3], 5)]).status] += 1

    outcomes: Counter[str] = Counter()
    with Jail() as jail:
        work(jail, 100)
        before = state(jail)
        outcomes.clear()
        work(jail, jobs)
        return {"jobs": jobs, "before": before, "after": state(jail), "verdicts": dict(outcomes)}


def mirror(path: str) -> list[dict]:
    root = os.environ.get("NBKIT_DATA_DIR")
    if not root:
        raise SystemExit("NBKIT_DATA_DIR is not set: point it at a folder with humaneval/ and mbpp/")
    return list(read_rows(Path(root) / path))


def references(wall_s: float) -> dict:
    """Verdicts on all reference solutions, one worker: {"plain" or "fenced": {set: {status: count}}}."""
    rows = [row[1:4] for row in completions(0, mutated=False)]
    found: dict = {"wall_s": wall_s, "not_passed": []}
    with JailPool(1, wall_s=wall_s) as pool:
        found["tier"] = pool.tier
        for form, text in (("plain", "{}"), ("fenced", "Here it is:\n\n```python\n{}\n```\n\nIt works.")):
            counts = {"humaneval": Counter(), "mbpp": Counter()}
            for grader, code, row in rows:
                answer = text.replace("{}", code)
                program = answer if form == "plain" else extract_code(answer, row.get("entry_point"))
                (verdict,) = pool.map(lambda jail, g, *args: g(jail, *args), [(grader, program, row)])
                counts["humaneval" if grader is grade_humaneval else "mbpp"][verdict.status] += 1
                if verdict.status != "pass":
                    found["not_passed"].append([form, str(row["task_id"]), verdict.status, verdict.detail])
            found[form] = {name: dict(count) for name, count in counts.items()}
    return found


def completions(limit: int, mutated: bool = True) -> list[tuple]:
    """(kind, grader, code, row, plain test) of every reference and its mutants, `limit` in all; or of the
    references alone."""
    rows = []
    for row in mirror("humaneval/test.jsonl.gz"):
        code = row["prompt"] + row["canonical_solution"]
        rows.append((grade_humaneval, code, row, f"{row['test']}\ncheck({row['entry_point']})"))
    for row in mirror("mbpp/mbpp.jsonl.gz"):
        setup = (row["test_setup_code"] or "").replace("\r", "")
        rows.append((grade_mbpp, row["code"].replace("\r", ""), row, "\n".join([setup, *row["test_list"]])))
    found = [("reference", *row) for row in rows]
    if not mutated:
        return found
    changed = [[("mutant", g, m, row, test) for m in mutants(code, 20)] for g, code, row, test in rows]
    for turn in range(20):  # one of every program, then another one of every program
        found += [group[turn] for group in changed if turn < len(group)]
    return found[:limit]


def plainly(jail: Jail, code: str, test: str) -> bool:
    """What the usual harness says: code and asserts in one namespace, right if nothing is raised."""
    source = f"{code}\n_TEST = {test!r}\ndef _plain():\n    exec(_TEST, globals())\n    return True"
    return jail.call(source, "_plain", [[]]).values == [True]


def graded(pool: JailPool, rows: list[tuple]) -> tuple[list[str], dict]:
    plain = pool.map(plainly, [(code, test) for _, _, code, _, test in rows])
    ours = [v.status for v in pool.map(lambda jail, g, code, row: g(jail, code, row), [r[1:4] for r in rows])]
    table = Counter(zip([row[0] for row in rows], plain, ours, strict=True))
    changed = {s: table["mutant", False, s] for s in ("pass", "fail", "infra")}
    interval = stats.binomtest(changed["fail"], sum(changed.values())).proportion_ci(method="wilson")
    odd = [
        {"plain": p, "ours": o, "code": row[2], "task": str(row[3].get("task_id"))}
        for row, p, o in zip(rows, plain, ours, strict=True)
        if p != (o == "pass")
    ]
    return ours, {
        "references": {s: table["reference", True, s] + table["reference", False, s] for s in changed},
        "mutants_that_python_fails": changed,
        "share_we_fail": [changed["fail"] / sum(changed.values()), interval.low, interval.high],
        "mutants_that_python_passes": {s: table["mutant", True, s] for s in changed},
        "disagreements": odd[:40],
    }


def synthetic(pool: JailPool, limit: int) -> dict:
    rows = []
    train = [row for row in mirror("mbpp/mbpp.jsonl.gz") if 601 <= row["task_id"] <= 974]
    for row in train[:limit]:
        parsed = mbpp_calls(row["test_list"])
        if parsed and all(isinstance(call.args, list) for call in parsed[1]):
            rows.append((row["code"].replace("\r", ""), *parsed))
    made = pool.map(
        lambda jail, code, entry, c: synthesize(jail, code, entry, [call.args for call in c]), rows
    )
    kept = [(suite, *row) for suite, row in zip(made, rows, strict=True) if isinstance(suite, Suite)]

    def by_people(jail, suite, code, entry, calls):
        return sum(grade(jail, wrong, entry, calls).status == "fail" for wrong in suite.suspects)

    return {
        "solutions": len(rows),
        "suites": len(kept),
        "dropped": dict(Counter(s.reason.split(" of ")[0] for s in made if not isinstance(s, Suite))),
        "wrong_programs": sum(suite.mutants for suite, *_ in kept),
        "caught_by_synthetic_tests": sum(suite.killed for suite, *_ in kept),
        "caught_by_human_asserts": sum(pool.map(by_people, kept)),
        "tests_per_suite": statistics.mean(len(suite.private) for suite, *_ in kept),
    }


def _write(report: dict, out: Path | None) -> int:
    text = json.dumps(report, indent=1)
    print(text)
    if out:
        out.write_text(text + "\n")
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--completions", type=int, default=10_000, help="references and mutants to grade")
    parser.add_argument("--suites", type=int, default=1000, help="solutions to make synthetic tests for")
    parser.add_argument("--jobs", type=int, default=1000, help="jobs of the soak and of the speed test")
    parser.add_argument("--wall-s", type=float, default=5.0, help="limit of a job")
    parser.add_argument("--out", type=Path, help="also write the JSON here")
    parser.add_argument("--references", action="store_true", help="grade the references and nothing else")
    options = parser.parse_args()
    if options.references:
        return _write(references(options.wall_s), options.out)
    started = time.perf_counter()
    report: dict = {"wall_s": options.wall_s, "speed": speed(options.jobs), "soak": soak(options.jobs)}
    rows = completions(options.completions)
    with JailPool(wall_s=options.wall_s) as pool:
        report["tier"] = pool.tier
        verdicts, report["graded"] = graded(pool, rows)
        order = random.Random(0).sample(range(len(rows)), len(rows))
        again = pool.map(lambda jail, g, code, row: g(jail, code, row), [rows[i][1:4] for i in order])
        differ = [i for i, v in zip(order, again, strict=True) if verdicts[i] != v.status]
        report["regraded"] = {"completions": len(rows), "verdicts_that_differ": len(differ)}
        report["synthetic"] = synthetic(pool, options.suites)
    report |= {"cores": os.cpu_count(), "seconds": round(time.perf_counter() - started)}
    _write(report, options.out)
    return int(bool(differ) or report["graded"]["references"]["pass"] < min(1138, len(rows)))


if __name__ == "__main__":
    sys.exit(main())
