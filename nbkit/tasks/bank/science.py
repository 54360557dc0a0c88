"""Skills of the domain science."""

from nbkit.tasks.bank.math import countdown, sum_steps
from nbkit.tasks.bank.words import ANIMALS, ELEMENTS, PLANETS, listing
from nbkit.tasks.skills import Draft, skill


@skill(
    "science",
    "How many {small} are {n} {big}?",
    "Convert {n} {big} to {small}.",
    "Express {n} {big} in {small}.",
    "Turn {n} {big} into {small}.",
    kind="number",
)
def convert_units(rng, level):
    big, small, k = rng.choice(
        (
            ("m", "cm", 100),
            ("km", "m", 1000),
            ("kg", "g", 1000),
            ("hours", "minutes", 60),
            ("minutes", "seconds", 60),
            ("cm", "mm", 10),
        )
    )
    n = rng.randint(1, 9)
    return Draft(dict(n=n, big=big, small=small), [f"1 {big} = {k} {small}", f"{n} * {k} = {n * k}"], n * k)


@skill(
    "science",
    "What is the symbol of {e}?",
    "Give the chemical symbol for {e}.",
    "Write {e} as a symbol.",
    "Which symbol does {e} have?",
    fact=True,
)
def element_symbol(rng, level):
    e = rng.choice(list(ELEMENTS))
    return Draft(dict(e=e), [f"{e} is written {ELEMENTS[e]}"], ELEMENTS[e])


@skill(
    "science",
    "Which element is {s}?",
    "Name the element with symbol {s}.",
    "What does the symbol {s} mean?",
    "Which element does {s} stand for?",
    fact=True,
)
def symbol_element(rng, level):
    e = rng.choice(list(ELEMENTS))
    return Draft(dict(s=ELEMENTS[e]), [f"{ELEMENTS[e]} is {e}"], e)


@skill(
    "science",
    "Is water solid, liquid or gas at {t} C?",
    "Name the state of water at {t} degrees C.",
    "At {t} C, water is what?",
    "Which state has water at {t} C?",
)
def state_of_water(rng, level):
    t = rng.choice((rng.randint(-40, -1), rng.randint(1, 99), rng.randint(101, 180)))
    rule = "below 0: solid" if t < 0 else "from 0 to 100: liquid" if t < 100 else "above 100: gas"
    return Draft(dict(t=t), [rule], rule.split()[-1])


@skill(
    "science",
    "A car goes {d} km in {t} hours. What is its speed in km/h?",
    "Distance {d} km, time {t} hours: give the speed in km/h.",
    "Find the speed for {d} km in {t} hours.",
    "How fast is {d} km in {t} hours, in km/h?",
    kind="number",
)
def speed(rng, level):
    t, v = rng.randint(2, 5), rng.randint(1, 9) * 10
    steps = ["speed = distance / time", countdown(t * v, t, unit=10), f"{t * v} / {t} = {v}"]
    return Draft(dict(d=t * v, t=t), steps, v)


@skill(
    "science",
    "A car drives {t} hours at {v} km/h. How many km is that?",
    "Speed {v} km/h, time {t} hours: give the distance in km.",
    "Find the distance for {t} hours at {v} km/h.",
    "How far is {t} hours at {v} km/h, in km?",
    kind="number",
)
def distance(rng, level):
    t, v = rng.randint(2, 9), rng.randint(1, 9) * 10
    return Draft(dict(t=t, v=v), ["distance = speed * time", f"{v} * {t} = {v * t}"], v * t)


@skill(
    "science",
    "It is {a} C and gets {b} degrees warmer. How many C is it then?",
    "Start at {a} C, plus {b} degrees: give the temperature in C.",
    "Find the temperature after {b} degrees more than {a} C.",
    "From {a} C it rises by {b} degrees: to how many C?",
    kind="number",
    levels=2,
)
def warming(rng, level):
    a, b = rng.randint(1, (9, 30)[level - 1]), rng.randint(1, (9, 30)[level - 1])
    return Draft(dict(a=a, b=b), sum_steps(a, b), a + b)


@skill(
    "science",
    "What force moves {m} kg at {a} m/s2, in N?",
    "Mass {m} kg, acceleration {a} m/s2: give the force in N.",
    "Find the force for {m} kg and {a} m/s2.",
    "How many N give {m} kg an acceleration of {a} m/s2?",
    kind="number",
)
def force(rng, level):
    m, a = rng.randint(2, 9), rng.randint(2, 9)
    return Draft(dict(m=m, a=a), ["F = m * a", f"{m} * {a} = {m * a}"], m * a)


@skill(
    "science",
    "A current of {i} A flows through {r} ohm. What is the voltage in V?",
    "Current {i} A, resistance {r} ohm: give the voltage.",
    "Find the voltage for {i} A and {r} ohm.",
    "How many V drive {i} A through {r} ohm?",
    kind="number",
)
def voltage(rng, level):
    i, r = rng.randint(2, 9), rng.randint(2, 9)
    return Draft(dict(i=i, r=r), ["U = R * I", f"{r} * {i} = {r * i}"], r * i)


@skill(
    "science",
    "What kind of animal is a {x}?",
    "Name the class of the {x}.",
    "To which group belongs the {x}?",
    "A {x} is what sort of animal?",
    fact=True,
)
def animal_class(rng, level):
    x = rng.choice(list(ANIMALS))
    return Draft(dict(x=x), [f"a {x} is a {ANIMALS[x]}"], ANIMALS[x])


@skill(
    "science",
    "Which planet is number {n} from the sun?",
    "Name planet {n} counted from the sun.",
    "Give the planet at place {n}.",
    "What planet stands at place {n} from the sun?",
    fact=True,
)
def planet(rng, level):
    n = rng.randint(1, 8)
    return Draft(dict(n=n), [listing(f"{i} {name}" for i, name in enumerate(PLANETS[:n], 1))], PLANETS[n - 1])
