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
from nbkit.verify.code.variations import variations, written
from nbkit.verify.jail.jail import Jail
from nbkit.verify.jail.results import CallError

_BATCH = 25  # calls per job: an input on which the solution hangs spoils its batch only


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


@dataclass(frozen=True)
class SynthesisSettings:
    """How many tests `synthesize` looks for, and what they must catch.

    `public`: tests shown in the problem text. `private`: most tests that are kept. `rounds` of `candidates`
    new tests are tried while one of up to `max_mutants` mutants passes. `min_score`: least share of mutants
    that must fail the private tests (some are equivalent to the solution, so 1 is too much to ask). Raises
    ValueError for numbers out of range.
    """

    public: int = 1
    private: int = 8
    rounds: int = 3
    candidates: int = 50
    max_mutants: int = 20
    min_score: float = 0.6
    seed: int = 0

    def __post_init__(self) -> None:
        for name, low in (("public", 0), ("private", 1), ("rounds", 1)):
            if (value := getattr(self, name)) < low:
                raise ValueError(f"SynthesisSettings {name}={value}: wanted {low} or more")


DEFAULT = SynthesisSettings()


def synthesize(
    jail: Jail,
    solution: str,
    entry: str,
    examples: Sequence[list],
    settings: SynthesisSettings = DEFAULT,
) -> Suite | Rejected:
    """Tests for `entry` of `solution`, from example arguments (one list per call; plain data)."""
    # What the tests must tell from the solution.
    try:
        suspects = mutants(solution, settings.max_mutants)
    except ValueError as error:
        return Rejected(str(error))
    shown = [Call(args, answer) for args, answer in _answers(jail, solution, entry, examples)]
    if not shown:
        return Rejected("the solution answers none of its examples")
    suspects += _impostors(entry, shown)
    # Vary the examples, answer them by the solution, note what each catches.
    key = f"synthesis/{settings.seed}/{entry}/{solution}"
    rng = random.Random(key.encode("utf-8", "backslashreplace"))
    tests, caught_by, hopeless = [], [], set()  # caught_by[t]: mutants that test t notices
    for _ in range(settings.rounds):
        bases = [call.args for call in [*shown, *(t for t, c in zip(tests, caught_by, strict=True) if c)]]
        found = _answers(
            jail, solution, entry, variations(bases, settings.candidates, rng, known=tests + shown)
        )
        tests += (new := [Call(args, answer) for args, answer in found])
        caught_by += _caught(jail, suspects, entry, new, hopeless)
        if len(set().union(*caught_by)) == len(suspects):
            break
    # Keep the fewest that catch as many; refuse a suite that decides nothing.
    chosen = [tests[i] for i in _cover(caught_by, settings.private)]
    if not chosen:
        return Rejected("no new test: the solution answers no variation of its examples")
    if all(same(test.expected, tests[0].expected) for test in [*tests, *shown]):
        return Rejected("the solution always gives the same answer, so a constant would pass")
    if grade(jail, solution, entry, chosen[::-1]).status != "pass":
        return Rejected("the solution does not give the same answers twice")
    survivors = [code for code in suspects if grade(jail, code, entry, chosen).status == "pass"]
    suite = Suite(entry, solution, shown[: settings.public], chosen, suspects, survivors, len(tests))
    if suite.killed < settings.min_score * suite.mutants:
        return Rejected(
            f"the tests catch {suite.killed} of {suite.mutants} mutants, wanted {settings.min_score:.0%}"
        )
    return suite


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
    # Each mutant runs all tests in one job: calls are cheap, jobs are not.
    for number, code in enumerate(suspects):
        if number in hopeless:
            for seen in caught:
                seen.add(number)
            continue
        result = jail.call(code, entry, [test.args for test in tests])
        # One that dies would be run again for every round: it is set aside.
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
    # A problem text must not give the solution away ...
    lines = [
        line.strip() for line in suite.solution.splitlines() if not line.strip().startswith(("def ", "#"))
    ]
    if leaked := [line for line in lines if len(line) >= 12 and line in text]:
        return f"shows a line of the solution: {leaked[0]}"
    # ... nor a private test, which would only have to be remembered.
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
