"""Skills of the domain agent."""

from nbkit.tasks.bank.math import sum_steps
from nbkit.tasks.bank.words import CAPITALS, DAYS, NAMES, THINGS
from nbkit.tasks.skills import Draft, skill
from nbkit.text.tool_calls import tool_call


@skill(
    "agent",
    "Use a tool to compute {a} {o} {b}.",
    "Let the calculator work out {a} {o} {b}.",
    "Call a tool for {a} {o} {b}.",
    "With your tools, find {a} {o} {b}.",
    kind="tool",
)
def call_calculator(rng, level):
    a, b, o = rng.randint(10, 50), rng.randint(2, 50), rng.choice("+-*/")
    return Draft(dict(a=a, b=b, o=o), ["arithmetic: calc"], tool_call("calc", expression=f"{a} {o} {b}"))


@skill(
    "agent",
    "Use a tool to get the weather in {city}.",
    "Look up the weather of {city}.",
    "Call a tool: weather in {city}.",
    "With your tools, tell the weather for {city}.",
    kind="tool",
    fact=True,
)
def call_weather(rng, level):
    city = rng.choice(list(CAPITALS.values()))
    return Draft(dict(city=city), ["weather: weather"], tool_call("weather", city=city))


@skill(
    "agent",
    "Use a tool to set an alarm at {h}:{m}.",
    "Set an alarm for {h}:{m}.",
    "Call a tool: alarm at {h}:{m}.",
    "With your tools, wake me at {h}:{m}.",
    kind="tool",
)
def call_alarm(rng, level):
    h, m = rng.randint(1, 12), rng.choice((10, 15, 20, 30, 40, 45, 50))
    return Draft(dict(h=h, m=m), ["alarm: alarm"], tool_call("alarm", hour=h, minute=m))


@skill(
    "agent",
    "Use a tool to remind {name} about {thing} on {day}.",
    "Remind {name} on {day} about {thing}.",
    "Call a tool: reminder for {name}, {thing}, {day}.",
    "With your tools, note {thing} for {name} on {day}.",
    kind="tool",
)
def call_reminder(rng, level):
    name, thing, day = rng.choice(NAMES), rng.choice(THINGS), rng.choice(DAYS)
    return Draft(
        dict(name=name, thing=thing, day=day),
        [f"reminder: remind {name}, {thing}, {day}"],
        tool_call("remind", name=name, about=thing, day=day),
    )


@skill(
    "agent",
    "Which tool fits: calc, weather or alarm? Task: {task}.",
    "Choose calc, weather or alarm for: {task}.",
    "Pick a tool (calc, weather, alarm): {task}.",
    "{task}: should I use calc, weather or alarm?",
)
def choose_tool(rng, level):
    tool = rng.choice(("calc", "weather", "alarm"))
    a, b = rng.randint(2, 99), rng.randint(2, 99)
    task = {
        "calc": f"{a} * {b}",
        "weather": f"rain in {rng.choice(list(CAPITALS.values()))}",
        "alarm": f"wake up at {a % 12 + 1}:30",
    }[tool]
    return Draft(dict(task=task), [{"calc": "numbers", "weather": "weather", "alarm": "time"}[tool]], tool)


@skill(
    "agent",
    "The tool {t} returned {n} {u}. What is the value?",
    "Tool {t} says: {n} {u}. Read the number.",
    "Result of {t}: {n} {u}. Give the number.",
    "{t} answered with {n} {u}. Which number is it?",
    kind="number",
)
def read_tool_result(rng, level):
    t, u = rng.choice((("calc", "points"), ("weather", "degrees"), ("alarm", "minutes"), ("search", "hits")))
    n = rng.randint(2, 99)
    return Draft(dict(t=t, n=n, u=u), [f"{n} {u}"], n)


@skill(
    "agent",
    "The tool weather returned temperature {t}, wind {w}, rain {r}. What is the {key}?",
    "Tool weather says: temperature {t}, wind {w}, rain {r}. Read the {key}.",
    "Result of weather: temperature {t}, wind {w}, rain {r}. Give the {key}.",
    "weather answered with temperature {t}, wind {w}, rain {r}. Which is the {key}?",
    kind="number",
)
def read_field(rng, level):
    found = {"temperature": rng.randint(1, 39), "wind": rng.randint(1, 60), "rain": rng.randint(0, 9)}
    key = rng.choice(list(found))
    slots = dict(t=found["temperature"], w=found["wind"], r=found["rain"], key=key)
    return Draft(slots, [f"{key} {found[key]}"], found[key])


@skill(
    "agent",
    "The tool calc returned {n}. Add {k} to its result.",
    "Tool calc says: {n}. Its result plus {k} is what?",
    "Result of calc: {n}. Give it with {k} more.",
    "calc answered with {n}. What is {k} more than that?",
    kind="number",
    levels=2,
)
def use_tool_result(rng, level):
    hi = (9, 40)[level - 1]
    n, k = rng.randint(1, hi), rng.randint(1, hi)
    return Draft(dict(n=n, k=k), sum_steps(n, k), n + k)


@skill(
    "agent",
    "Use a tool to set an alarm {k} hours after {h}:{m}.",
    "Set an alarm {k} hours later than {h}:{m}.",
    "Call a tool: alarm {k} hours after {h}:{m}.",
    "With your tools, wake me {k} hours after {h}:{m}.",
    kind="tool",
)
def alarm_later(rng, level):
    h, k, m = rng.randint(1, 12), rng.randint(1, 8), rng.choice((10, 15, 20, 30, 40, 45, 50))
    steps = [*sum_steps(h, k), "alarm: alarm"]
    return Draft(dict(h=h, k=k, m=m), steps, tool_call("alarm", hour=h + k, minute=m))
