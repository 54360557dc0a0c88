"""Does the grader pass every right program on 1,000 inputs a task, in the manner of HumanEval+ and MBPP+?

    NBKIT_DATA_DIR=... .venv/bin/python benchmarks/plus_suites.py humaneval  # about 15 minutes
    NBKIT_DATA_DIR=... .venv/bin/python benchmarks/plus_suites.py mbpp --tasks 0-20  # the first twenty of 967

The inputs are varied from the arguments in the mirror's own tests, the expected values are what the reference
solution returns. Integers stay within twice the largest one of the mirror's own arguments: some references
take twice as long for each one more. Inputs are left out on which the reference raises, takes longer than
`--seconds`, or returns an integer that Python does not write out; a task gets no more after 20 seconds.
Each task is graded at the defaults of `Jail` twice: as calls, and as a check in EvalPlus' form, which
compares with numpy. Prints every task that is refused, then JSON.
"""

import argparse
import ast
import json
import os
import random
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from nbkit.text.rows import read_rows
from nbkit.verify import Call, CallError, Jail, grade, grade_check, mbpp_calls
from nbkit.verify.code.variations import vary

FILES = {"humaneval": "humaneval/test.jsonl.gz", "mbpp": "mbpp/mbpp.jsonl.gz"}
LONGEST = 3000  # characters of one input as written
TASK_S = 20  # of asking the reference of one task
CHECK = """
import numpy as np
from math import nan, inf
def check(candidate):
    for inputs, expected in {rows!r}:
        out = candidate(*inputs)
        assert out == expected or np.allclose(out, expected, rtol=1e-07, atol=1e-6)
"""


def tasks(name: str) -> Iterator[tuple[str, str, str, list[list]]]:
    """(task, reference solution, entry, arguments of its own tests) of each task that has literal ones."""
    for row in read_rows(Path(os.environ["NBKIT_DATA_DIR"]) / FILES[name]):
        if name == "humaneval":
            code, entry = row["prompt"] + row["canonical_solution"], row["entry_point"]
            own = literal_arguments(row["test"], entry)
        else:
            found = mbpp_calls(row["test_list"])
            if not found or row.get("test_setup_code"):
                continue
            code, entry = row["code"].replace("\r", ""), found[0]
            own = [call.args for call in found[1] if isinstance(call.args, list)]
        if own := [args for args in own if args]:
            yield str(row["task_id"]), code, entry, own


def literal_arguments(test: str, entry: str) -> list[list]:
    """The arguments of the calls in a test that are written out as values."""
    found = []
    for node in ast.walk(ast.parse(test)):
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") in ("candidate", entry):
            try:
                found.append([ast.literal_eval(argument) for argument in node.args])
            except ValueError:
                continue
    return found


def varied(own: list[list], count: int, rng: random.Random) -> list[list]:
    """Up to `count` different inputs, each one to three changes away from an earlier one."""
    pool, seen, found, most = list(own), set(), [], max(10, 2 * largest(own))
    for _ in range(12 * count):
        args = list(rng.choice(pool))
        for _ in range(rng.choice((1, 1, 2, 3))):
            place = rng.randrange(len(args))
            args[place] = vary(args[place], rng)
        text = repr(args)
        if text in seen or len(text) > LONGEST or largest(args) > most:
            continue
        seen.add(text)
        found.append(args)
        pool += [args] if len(pool) < 400 else []
        if len(found) == count:
            break
    return found


def largest(value: object) -> int:
    """The largest integer in a value, without its sign."""
    if isinstance(value, dict):
        value = [*value, *value.values()]
    if isinstance(value, list | tuple | set | frozenset):
        return max(map(largest, value), default=0)
    return abs(value) if isinstance(value, int) else 0


def expected(jail: Jail, code: str, entry: str, inputs: list[list]) -> list[Call]:
    """The inputs with what the reference returns, in jobs of twenty; alone where one of them fails."""
    calls, end = [], time.monotonic() + TASK_S
    for start in range(0, len(inputs), 20):
        if time.monotonic() > end:
            break
        batch = inputs[start : start + 20]
        values = jail.call(code, entry, batch, 1 << 24).values
        if not values:
            alone = [jail.call(code, entry, [args], 1 << 24).values for args in batch]
            values = [one[0] if one else CallError("none") for one in alone]
        pairs = zip(batch, values, strict=True)
        calls += [Call(args, value) for args, value in pairs if not isinstance(value, CallError)]
    return [call for call in calls if writable(call)]


def writable(call: Call) -> bool:
    """Can a check hold it as source text? Python writes no integer of more than 4,300 digits."""
    try:
        return bool(repr(call))
    except ValueError:
        return False


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("suite", choices=FILES)
    parser.add_argument("--tasks", default="0-", metavar="FROM-TO", help="such as 0-20 (default: all)")
    parser.add_argument("--inputs", type=int, default=1000, help="inputs a task (default: 1000)")
    parser.add_argument("--seconds", type=float, default=1.0, help="longest time of one input (default: 1)")
    options = parser.parse_args()
    first, _, last = options.tasks.partition("-")
    refused, graded, inputs = [], 0, 0
    with Jail(wall_s=options.seconds) as maker, Jail() as grader:
        for name, code, entry, own in list(tasks(options.suite))[int(first) : int(last) if last else None]:
            calls = expected(maker, code, entry, varied(own, options.inputs, random.Random(name)))
            if not calls:
                continue
            check = CHECK.format(rows=[(call.args, call.expected) for call in calls])
            verdicts = grade(grader, code, entry, calls), grade_check(grader, code, entry, check)
            graded, inputs = graded + 1, inputs + len(calls)
            print(name, len(calls), "inputs", file=sys.stderr, flush=True)
            if any(verdict.status != "pass" for verdict in verdicts):
                refused.append(name)
                print(name, *verdicts, file=sys.stderr, flush=True)
    print(json.dumps({"suite": options.suite, "tasks": graded, "inputs": inputs, "refused": refused}))
    return 1 if refused else 0


if __name__ == "__main__":
    sys.exit(main())
