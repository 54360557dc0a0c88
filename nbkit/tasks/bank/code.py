"""Skills of the domain code."""

from nbkit.tasks.bank.words import numbers
from nbkit.tasks.skills import Draft, skill


@skill(
    "code",
    "What does len({xs}) return in Python?",
    "Evaluate len({xs}).",
    "Give the value of len({xs}).",
    "What is printed by print(len({xs}))?",
    kind="number",
    levels=4,
    composes=True,
)
def list_length(rng, level):
    length = rng.randint(*((1, 3), (3, 5), (5, 7), (8, 9), (10, 11))[level - 1])
    xs = [rng.randint(0, 9) for _ in range(length)]
    return Draft(dict(xs=xs), [", ".join(f"{i}: {x}" for i, x in enumerate(xs, 1))], len(xs))


@skill(
    "code",
    "What does {xs}[{i}] return in Python?",
    "Evaluate {xs}[{i}].",
    "Give the value of {xs}[{i}].",
    "What is printed by print({xs}[{i}])?",
    kind="number",
)
def list_index(rng, level):
    xs = numbers(rng, rng.randint(3, 4), 9)
    i = rng.randrange(len(xs))
    return Draft(dict(xs=xs, i=i), [", ".join(f"{j}: {x}" for j, x in enumerate(xs[: i + 1]))], xs[i])


@skill(
    "code",
    "What does {xs}[{i}:{j}] return in Python?",
    "Evaluate {xs}[{i}:{j}].",
    "Give the value of {xs}[{i}:{j}].",
    "What is printed by print({xs}[{i}:{j}])?",
)
def list_slice(rng, level):
    xs = numbers(rng, rng.randint(3, 5), 9)
    i = rng.randrange(len(xs) - 1)
    j = rng.randint(i + 1, len(xs))
    return Draft(
        dict(xs=xs, i=i, j=j),
        [", ".join(f"{k}: {x}" for k, x in enumerate(xs[:j])), f"from {i} to {j - 1}"],
        xs[i:j],
    )


@skill(
    "code",
    "What does list(range({a}, {b})) return in Python?",
    "Evaluate list(range({a}, {b})).",
    "Give the value of list(range({a}, {b})).",
    "What is printed by print(list(range({a}, {b})))?",
)
def python_range(rng, level):
    a = rng.randint(0, 9)
    b = a + rng.randint(1, 5)
    return Draft(dict(a=a, b=b), [f"from {a} to {b - 1}"], list(range(a, b)))


@skill(
    "code",
    "What does {a} {o} {b} return in Python?",
    "Evaluate {a} {o} {b}.",
    "Give the value of {a} {o} {b}.",
    "What is printed by print({a} {o} {b})?",
)
def comparison(rng, level):
    a, b, o = rng.randint(1, 9), rng.randint(1, 9), rng.choice(("<", ">", "==", "!="))
    value = {"<": a < b, ">": a > b, "==": a == b, "!=": a != b}[o]
    return Draft(
        dict(a=a, b=b, o=o),
        [f"{a} is {'equal to' if a == b else 'less than' if a < b else 'more than'} {b}"],
        value,
    )


@skill(
    "code",
    "What does sum({xs}) return in Python?",
    "Evaluate sum({xs}).",
    "Give the value of sum({xs}).",
    "What is printed by print(sum({xs}))?",
    kind="number",
    levels=4,
    composes=True,
)
def list_sum(rng, level):
    xs = [rng.randint(1, 9) for _ in range(level + 1)]
    steps, total = [], xs[0]
    for x in xs[1:]:
        steps, total = [*steps, f"{total} + {x} = {total + x}"], total + x
    return Draft(dict(xs=xs), steps, total)


@skill(
    "code",
    "x = {x}; for i in range({n}): x += {k}. What is x?",
    "Start with x = {x} and run x += {k} {n} times. What is x?",
    "Trace x = {x} with {n} times x += {k}.",
    "Where does x end: x = {x}, then {n} times x += {k}?",
    kind="number",
    levels=4,
    composes=True,
)
def loop_trace(rng, level):
    x, k, n = rng.randint(0, 9), rng.randint(1, 5), level + 1
    steps = [f"{x + i * k} + {k} = {x + (i + 1) * k}" for i in range(n)]
    return Draft(dict(x=x, k=k, n=n), steps, x + n * k)


@skill(
    "code",
    "Write a Python function {f} that {what} x {by} {k}.",
    "Define {f}(x) in Python: it {what} x {by} {k}.",
    "Code a function {f}; it {what} x {by} {k}.",
    "I need Python: {f} {what} its x {by} {k}.",
    kind="code",
)
def write_arithmetic(rng, level):
    what, by, o = rng.choice((("increases", "by", "+"), ("lowers", "by", "-"), ("multiplies", "with", "*")))
    f, k = rng.choice(("f", "g", "h")), rng.randint(2, 19)
    value = {"+": lambda x: x + k, "-": lambda x: x - k, "*": lambda x: x * k}[o]
    calls = tuple(((x,), value(x)) for x in (0, 1, 7, -3, 20))
    return Draft(
        dict(f=f, what=what, by=by, k=k),
        [f"use x {o} {k}"],
        f"def {f}(x): return x {o} {k}",
        calls,
        f,
        ("f",),
    )


LIST_JOBS = {
    "the largest item": ("max(xs)", max),
    "the smallest item": ("min(xs)", min),
    "the sum": ("sum(xs)", sum),
    "the number of items": ("len(xs)", len),
    "the first item": ("xs[0]", lambda xs: xs[0]),
    "the last item": ("xs[-1]", lambda xs: xs[-1]),
    "the sorted list": ("sorted(xs)", sorted),
    "the reversed list": ("xs[::-1]", lambda xs: xs[::-1]),
}


@skill(
    "code",
    "Write a Python function {f} that returns {job} of a list xs.",
    "Define {f}(xs) in Python: return {job}.",
    "Code a function {f} giving {job} of xs.",
    "I need Python: {f} takes xs and returns {job}.",
    kind="code",
    fact=True,
)
def write_list_function(rng, level):
    job = rng.choice(list(LIST_JOBS))
    body, reference = LIST_JOBS[job]
    f = rng.choice(("f", "g", "h"))
    calls = tuple(((xs,), reference(xs)) for xs in ([3, 1, 2], [5], [4, 4, 9, 0], [-2, 7, -5]))
    return Draft(dict(f=f, job=job), [f"{job}: {body}"], f"def {f}(xs): return {body}", calls, f, ("f",))
