"""Synthetic test functions by reverse generation: solution and tests first, problem text after (06).

As in the report (multi-stage RL, coding): a task starts from a solution. Its tests are varied from example
arguments, answered by running the solution, and kept for what they catch: where a
mutant of the solution passes (or a program that only remembers the public tests) more are tried, a suite that
still lets too many pass is dropped, and so is a test that adds nothing. A few public tests go into the
problem text, which a model writes last; the private ones decide.

    suite = synthesize(jail, "def f(xs): return max(xs)", "f", [[[3, 1, 2]]])
    suite.public  # [Call([[3, 1, 2]], 3)]
    suite.private, f"{suite.killed} of {suite.mutants} mutants caught"
    problem_request(suite)  # what a model is asked, to write the text
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from nbkit.text.chat import split_thought
from nbkit.verify.code.grade import Call, grade, same
from nbkit.verify.code.mutants import mutants
from nbkit.verify.jail.jail import Jail
from nbkit.verify.jail.results import CallError

_LETTERS = "abcdefghijklmnopqrstuvwxyz AEIOU019.,-"
_BATCH = 25  # calls per job: an input on which the solution hangs spoils its batch only
_MAX_SHOWN = 500  # characters of one test's arguments


@dataclass(frozen=True)
class Suite:
    """A solution with its tests. The `suspects` are its mutants and two impostors; `survivors` are those that
    pass the private tests: equivalent to the solution, or beyond these tests. `tried` counts tests."""

    entry: str
    solution: str
    public: list[Call]
    private: list[Call]
    suspects: list[str]
    survivors: list[str]
    tried: int

    @property
    def killed(self) -> int:
        return len(self.suspects) - len(self.survivors)

    @property
    def mutants(self) -> int:
        return len(self.suspects)


@dataclass(frozen=True)
class Rejected:
    """No suite for this solution, and why."""

    reason: str


def synthesize(
    jail: Jail,
    solution: str,
    entry: str,
    examples: Sequence[list],
    *,
    public: int = 1,
    private: int = 8,
    rounds: int = 3,
    candidates: int = 50,
    max_mutants: int = 20,
    min_score: float = 0.6,
    seed: int = 0,
) -> Suite | Rejected:
    """Tests for `entry` of `solution`, from example arguments (one list per call; plain data).

    `rounds` of `candidates` new tests are tried while a mutant passes; `private` is the most that are kept,
    `min_score` the least share of mutants that must fail them (some are equivalent to the solution, so 1 is
    too much to ask). Raises ValueError for numbers out of range.
    """
    for name, value, low in (("public", public, 0), ("private", private, 1), ("rounds", rounds, 1)):
        if value < low:
            raise ValueError(f"synthesize {name}={value}: wanted {low} or more")
    try:
        suspects = mutants(solution, max_mutants)
    except ValueError as error:
        return Rejected(str(error))
    shown = [Call(args, answer) for args, answer in _answers(jail, solution, entry, examples)]
    if not shown:
        return Rejected("the solution answers none of its examples")
    suspects += _impostors(entry, shown)
    rng = random.Random(f"synthesis/{seed}/{entry}/{solution}".encode("utf-8", "backslashreplace"))
    tests, caught_by, hopeless = [], [], set()  # caught_by[t]: mutants that test t notices
    for _ in range(rounds):
        bases = [call.args for call in [*shown, *(t for t, c in zip(tests, caught_by, strict=True) if c)]]
        found = _answers(jail, solution, entry, _variations(bases, candidates, rng, known=tests + shown))
        tests += (new := [Call(args, answer) for args, answer in found])
        caught_by += _caught(jail, suspects, entry, new, hopeless)
        if len(set().union(*caught_by)) == len(suspects):
            break
    chosen = [tests[i] for i in _cover(caught_by, private)]
    if not chosen:
        return Rejected("no new test: the solution answers no variation of its examples")
    if all(same(test.expected, tests[0].expected) for test in [*tests, *shown]):
        return Rejected("the solution always gives the same answer, so a constant would pass")
    if grade(jail, solution, entry, chosen[::-1]).status != "pass":
        return Rejected("the solution does not give the same answers twice")
    survivors = [code for code in suspects if grade(jail, code, entry, chosen).status == "pass"]
    suite = Suite(entry, solution, shown[:public], chosen, suspects, survivors, len(tests))
    if suite.killed < min_score * suite.mutants:
        return Rejected(f"the tests catch {suite.killed} of {suite.mutants} mutants, wanted {min_score:.0%}")
    return suite


def written(value: object) -> str:
    """A value as Python source; integers of more than 4,300 digits, which `repr` refuses, in hexadecimal."""
    try:
        return repr(value)
    except ValueError:
        pass
    kind = type(value)
    if kind is int:
        return hex(value)
    if kind is dict:
        return f"{{{', '.join(f'{written(key)}: {written(item)}' for key, item in value.items())}}}"
    if kind in (list, tuple, set, frozenset):
        return f"{kind.__name__}([{', '.join(map(written, value))}])"
    return f"{kind.__name__}(...)"  # a fraction, say, which a text cannot show


def _impostors(entry: str, shown: Sequence[Call]) -> list[str]:
    """Wrong programs a policy may try: hand back the argument, or remember what the problem text shows."""
    table = {written(tuple(call.args)): call.expected for call in shown}
    return [
        f"def {entry}(*args): return args[0] if args else None",
        f"def {entry}(*args): return {written(table)}.get(repr(args), {written(shown[0].expected)})",
    ]


def _answers(jail: Jail, code: str, entry: str, arguments: Sequence[list]) -> list[tuple[list, object]]:
    """(args, value) for those arguments on which the program returns something plain in time."""
    found = []
    for start in range(0, len(arguments), _BATCH):
        batch = arguments[start : start + _BATCH]
        values = jail.call(code, entry, batch).values
        if not values:  # one of them hangs or kills it: save a few of the others, but do not search for ever
            alone = [jail.call(code, entry, [args]).values for args in batch[:3]]
            values = [one[0] if one else CallError("no answer") for one in alone]
        found += [(a, v) for a, v in zip(batch, values, strict=False) if not isinstance(v, CallError)]
    return found


def _caught(
    jail: Jail, suspects: Sequence[str], entry: str, tests: Sequence[Call], hopeless: set[int]
) -> list[set[int]]:
    """For every test the mutants that answer it otherwise. A mutant that hangs or dies somewhere joins the
    `hopeless`: it is not run again here and counts for every test, until `synthesize` grades it with those
    that it keeps."""
    caught: list[set[int]] = [set() for _ in tests]
    for number, code in enumerate(suspects):
        if number in hopeless:
            for seen in caught:
                seen.add(number)
            continue
        result = jail.call(code, entry, [test.args for test in tests])
        if result.status != "ok":
            hopeless.add(number)
        values = result.values or [CallError(result.detail)] * len(tests)
        for seen, test, value in zip(caught, tests, values, strict=True):
            if isinstance(value, CallError) or not same(value, test.expected):
                seen.add(number)
    return caught


def _cover(caught_by: Sequence[set[int]], limit: int) -> list[int]:
    """At most `limit` tests: in turn the one that catches most mutants still free, then the next best."""
    chosen: list[int] = []
    left = set().union(*caught_by)
    while left and len(chosen) < limit:
        best = max(range(len(caught_by)), key=lambda t: (len(caught_by[t] & left), -t))
        chosen.append(best)
        left -= caught_by[best]
    rest = sorted(set(range(len(caught_by))) - set(chosen), key=lambda t: (-len(caught_by[t]), t))
    return [*chosen, *rest[: limit - len(chosen)]]


# --- variations of arguments ---


def _variations(bases: Sequence[list], count: int, rng: random.Random, known: Sequence[Call]) -> list[list]:
    """New argument lists, each one or two changes away from a known one."""
    seen, found = {written(call.args) for call in known}, []
    for _ in range(count * 10):
        args = list(rng.choice(bases))
        for _ in range(rng.choice((1, 1, 2))):
            if args:
                place = rng.randrange(len(args))
                args[place] = vary(args[place], rng)
        if (text := written(args)) not in seen and len(text) <= _MAX_SHOWN:
            seen.add(text)
            found.append(args)
        if len(found) == count:
            break
    return found


def vary(value: object, rng: random.Random) -> object:
    """A neighbour of `value` of the same type: what a tester would try next (edges, one more, one less)."""
    kind = type(value)
    if kind is bool:
        return not value
    if kind is int:
        return rng.choice((value + 1, value - 1, -value, 0, 1, 2 * value, value // 2, rng.randint(-50, 50)))
    if kind is float:
        return rng.choice((value + 1.0, -value, 0.0, value / 2, value * 3, round(rng.uniform(-50, 50), 2)))
    if kind is str:
        return "".join(_vary_items(list(value), rng, lambda: rng.choice(_LETTERS)))
    if kind in (list, tuple):
        spare = rng.choice(value) if value else rng.randint(-9, 9)
        return kind(_vary_items(list(value), rng, lambda: vary(spare, rng)))
    if kind in (set, frozenset):
        items = sorted(value, key=written)
        return kind(_vary_items(items, rng, lambda: vary(rng.choice(items), rng) if items else 0))
    if kind is dict and value:
        key = rng.choice(list(value))
        changed = {key: vary(value[key], rng)} if rng.random() < 0.7 else {}
        return {k: v for k, v in value.items() if k != key} | changed
    return value


def _vary_items(items: list, rng: random.Random, fresh: Callable[[], object]) -> list:
    place = rng.randrange(len(items)) if items else 0
    change = rng.choice(("drop", "double", "insert", "replace", "replace", "reverse", "sort", "empty", "one"))
    if change == "insert" or not items:
        return [*items[:place], fresh(), *items[place:]]
    if change == "replace":
        return [*items[:place], fresh(), *items[place + 1 :]]
    if change == "drop":
        return items[:place] + items[place + 1 :]
    if change == "double":
        return [*items[: place + 1], *items[place:]]
    if change == "sort":
        return sorted(items, key=written)
    return {"reverse": items[::-1], "empty": [], "one": items[:1]}[change]


# --- the problem text, written last ---


def problem_request(suite: Suite) -> str:
    """What a model is asked, to write the text of the problem."""
    return (
        f"Here is a Python function.\n\n{suite.solution}\n\n"
        f"It passes these tests:\n{public_tests(suite)}\n\n"
        "Write the programming problem that it solves, for somebody who sees neither: say what "
        f"{suite.entry} takes and returns, edge cases included, in plain words. Show no code of the "
        "solution. Answer with the text of the problem alone."
    )


def public_tests(suite: Suite) -> str:
    return "\n".join(
        f"{suite.entry}({', '.join(map(written, call.args))}) == {written(call.expected)}"
        for call in suite.public
    )


def problem_fault(text: str, suite: Suite) -> str | None:
    """Why a text cannot be the problem of this suite; None if it can."""
    if not 20 <= len(text) <= 4000:
        return f"{len(text)} characters, wanted 20 to 4000"
    if suite.entry not in text:
        return f"does not name {suite.entry}"
    lines = [
        line.strip() for line in suite.solution.splitlines() if not line.strip().startswith(("def ", "#"))
    ]
    if leaked := [line for line in lines if len(line) >= 12 and line in text]:
        return f"shows a line of the solution: {leaked[0]}"
    hidden = [", ".join(map(written, call.args)) for call in suite.private]
    if any(f"{suite.entry}({args})" in text for args in hidden):
        return "shows a private test"
    return None


def write_problems(suites: Sequence[Suite], ask: Callable[[list[str]], list[str]]) -> list[str | Rejected]:
    """The text of every suite, public tests appended, or why there is none. `ask` answers requests in order,
    such as a model behind an `Endpoint`."""
    texts = []
    for suite, answer in zip(suites, ask([problem_request(suite) for suite in suites]), strict=True):
        fault = problem_fault(text := split_thought(answer)[1].strip(), suite)
        texts.append(Rejected(fault) if fault else f"{text}\n\nIt must pass:\n{public_tests(suite)}")
    return texts
