"""Skills of the domain math. Every chain holds each intermediate result that its answer needs: what a chain
skips has to be guessed, and a student never learns to (LOG.md, 2026-11-27)."""

from nbkit.tasks.bank.words import NAMES, THINGS, listing, numbers
from nbkit.tasks.skills import Draft, skill


def sum_steps(a: int, b: int) -> list[str]:
    """Addition as it is taught: tens, units, then their sum."""
    # Small sums are facts that a child knows: no steps.
    if a < 10 and b < 10:
        return [f"{a} + {b} = {a + b}"]
    tens, units = a // 10 * 10 + b // 10 * 10, a % 10 + b % 10
    return [
        f"{a // 10 * 10} + {b // 10 * 10} = {tens}",
        f"{a % 10} + {b % 10} = {units}",
        f"{tens} + {units} = {a + b}",
    ]


def difference_steps(a: int, b: int) -> list[str]:
    """Subtraction: the tens of b, then its units, and these over the ten below where they reach it."""
    tens, units = b // 10 * 10, b % 10
    left = a - tens
    parts = [tens] if tens else []
    if left % 10 and units > left % 10:
        parts += [left % 10, units - left % 10]
    elif units:
        parts += [units]
    steps = []
    for part in parts:
        steps, a = [*steps, f"{a} - {part} = {a - part}"], a - part
    return steps


def countdown(a: int, b: int, unit: int = 1) -> str:
    """Division as taking b away (times `unit`) until less than that is left: how often, and what is left."""
    return ", ".join(f"{i * unit}: {a - i * unit * b}" for i in range(1, a // (b * unit) + 1))


@skill(
    "math",
    "What is {a} + {b}?",
    "Add {a} and {b}.",
    "Compute {a} + {b}.",
    "Find the sum of {a} and {b}.",
    kind="number",
    levels=4,
)
def add(rng, level):
    hi = (9, 20, 50, 99)[level - 1]
    a, b = rng.randint(1, hi), rng.randint(1, hi)
    return Draft(dict(a=a, b=b), sum_steps(a, b), a + b)


@skill(
    "math",
    "What is {a} - {b}?",
    "Subtract {b} from {a}.",
    "Compute {a} - {b}.",
    "Take {b} away from {a}.",
    kind="number",
    levels=4,
)
def subtract(rng, level):
    hi = (9, 20, 30, 49)[level - 1]
    b = rng.randint(1, hi)
    a = b + rng.randint(0, hi)
    return Draft(dict(a=a, b=b), difference_steps(a, b), a - b)


@skill(
    "math",
    "What is {a} * {b}?",
    "Multiply {a} by {b}.",
    "Compute {a} * {b}.",
    "Find the product of {a} and {b}.",
    kind="number",
    levels=4,
)
def multiply(rng, level):
    a, b = rng.randint(2, (5, 9, 19, 29)[level - 1]), rng.randint(2, (5, 9, 5, 9)[level - 1])
    if a < 10 or a % 10 == 0:
        return Draft(dict(a=a, b=b), [f"{a} * {b} = {a * b}"], a * b)
    # Beyond the table: tens and units apart.
    tens, units = a // 10 * 10, a % 10
    steps = [
        f"{tens} * {b} = {tens * b}",
        f"{units} * {b} = {units * b}",
        *sum_steps(tens * b, units * b),
    ]
    return Draft(dict(a=a, b=b), steps, a * b)


@skill(
    "math",
    "What is {a} / {b}?",
    "Divide {a} by {b}.",
    "Compute {a} / {b}.",
    "How often does {b} go into {a}?",
    kind="number",
    levels=2,
)
def divide(rng, level):
    b, q = rng.randint(2, (5, 9)[level - 1]), rng.randint(2, 9)
    return Draft(dict(a=b * q, b=b), [countdown(b * q, b), f"{b * q} / {b} = {q}"], q)


@skill(
    "math",
    "What is the remainder of {a} divided by {b}?",
    "Compute {a} mod {b}.",
    "Give {a} modulo {b}.",
    "What is left when {a} is split by {b}?",
    kind="number",
    levels=3,
)
def remainder(rng, level):
    b = rng.randint(2, (4, 6, 9)[level - 1])
    a = b * rng.randint(1, 8) + rng.randrange(b)
    return Draft(dict(a=a, b=b), [countdown(a, b), f"left {a % b}"], a % b)


@skill(
    "math",
    "Which is larger, {a} or {b}?",
    "Name the larger of {a} and {b}.",
    "Pick the bigger number: {a} or {b}.",
    "Of {a} and {b}, which is more?",
    kind="number",
    levels=2,
)
def compare(rng, level):
    a, b = numbers(rng, 2, (20, 50)[level - 1])
    return Draft(dict(a=a, b=b), [f"{max(a, b)} > {min(a, b)}"], max(a, b))


@skill(
    "math",
    "What is the maximum of {xs}?",
    "Find the largest of {xs}.",
    "Name the biggest number in {xs}.",
    "Which of {xs} is the top one?",
    kind="number",
    levels=4,
    composes=True,
)
def maximum(rng, level):
    xs = numbers(rng, level + 2, 30)
    largest = [max(xs[: i + 1]) for i in range(len(xs))]
    return Draft(dict(xs=listing(xs)), [f"largest so far: {listing(largest)}"], max(xs))


@skill(
    "math",
    "Sort {xs}.",
    "Put {xs} in order.",
    "Write {xs} from small to large.",
    "Arrange {xs} in increasing order.",
    levels=4,
    composes=True,
)
def sort_numbers(rng, level):
    xs = numbers(rng, level + 2, 20)
    # insertion sort: the sorted numbers after each one is put in
    states = [listing(sorted(xs[: i + 1])) for i in range(1, len(xs))]
    return Draft(dict(xs=listing(xs)), states, listing(sorted(xs)))


@skill(
    "math",
    "What comes next: {xs}?",
    "Continue {xs}.",
    "Give the next number of {xs}.",
    "Which number follows {xs}?",
    kind="number",
    levels=2,
)
def sequence(rng, level):
    start, step = rng.randint(1, 12), rng.randint(1, (3, 5)[level - 1])
    xs = [start + i * step for i in range(3)]
    return Draft(
        dict(xs=listing(xs)),
        [f"{xs[1]} - {xs[0]} = {step}", f"{xs[-1]} + {step} = {xs[-1] + step}"],
        xs[-1] + step,
    )


@skill(
    "math",
    "{story} How many {thing} does {name} have?",
    "{story} How many {thing} are there now?",
    "{story} Count the {thing} of {name}.",
    "{story} Tell me the number of {thing} left.",
    kind="number",
    levels=4,
    composes=True,
)
def word_problem(rng, level):
    name, thing = rng.choice(NAMES), rng.choice(THINGS)
    have = rng.randint(2, 12)
    story, steps = f"{name} has {have} {thing}.", []
    for _ in range(level):
        # Each step adds or takes away; what is there never falls below 1.
        if rng.random() < 0.6 or have < 3:
            n = rng.randint(1, 9)
            story, steps, have = (
                f"{story} {name} gets {n} more.",
                [*steps, f"{have} + {n} = {have + n}"],
                have + n,
            )
        else:
            n = rng.randint(1, have - 1)
            story, steps, have = (
                f"{story} {name} gives away {n}.",
                [*steps, f"{have} - {n} = {have - n}"],
                have - n,
            )
    return Draft(dict(story=story, thing=thing, name=name), steps, have)


@skill(
    "math",
    "Is {a} even or odd?",
    "Even or odd: {a}?",
    "Tell whether {a} is even or odd.",
    "Which parity has {a}?",
)
def parity(rng, level):
    a = rng.randint(1, 99)
    return Draft(dict(a=a), [f"last digit {a % 10}"], "odd" if a % 2 else "even")


@skill(
    "math",
    "What is {a} + {b} * {c}?",
    "Compute {a} + {b} * {c}.",
    "Work out {a} + {b} * {c}.",
    "Evaluate {a} + {b} * {c}.",
    kind="number",
)
def two_operations(rng, level):
    a, b, c = rng.randint(1, 10), rng.randint(2, 5), rng.randint(2, 5)
    return Draft(dict(a=a, b=b, c=c), [f"{b} * {c} = {b * c}", f"{a} + {b * c} = {a + b * c}"], a + b * c)


@skill(
    "math",
    "What is {p}% of {a}?",
    "Compute {p} percent of {a}.",
    "Find {p}% of {a}.",
    "How much is {p} percent of {a}?",
    kind="number",
)
def percent(rng, level):
    p, a = rng.choice((10, 20, 25, 50)), rng.randint(1, 10) * 20
    steps = {
        10: [f"{a} / 10 = {a // 10}"],
        20: [f"{a} / 10 = {a // 10}", f"{a // 10} * 2 = {a // 5}"],
        25: [f"{a} / 2 = {a // 2}", f"{a // 2} / 2 = {a // 4}"],
        50: [f"{a} / 2 = {a // 2}"],
    }
    return Draft(dict(p=p, a=a), steps[p], a * p // 100)
