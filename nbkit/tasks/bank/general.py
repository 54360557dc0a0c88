"""Skills of the domain general."""

from nbkit.tasks.bank.words import CAPITALS, DAYS, MONTHS, OPPOSITES, WORDS, listing
from nbkit.tasks.skills import Draft, skill


@skill(
    "general",
    "What is the first letter of {w}?",
    "Give the first letter of {w}.",
    "With which letter starts {w}?",
    "Name the letter that opens {w}.",
    fact=True,
)
def first_letter(rng, level):
    w = rng.choice(WORDS)
    return Draft(dict(w=w), [" ".join(w)], w[0])


@skill(
    "general",
    "What is the last letter of {w}?",
    "Give the last letter of {w}.",
    "With which letter ends {w}?",
    "Name the letter that closes {w}.",
    fact=True,
)
def last_letter(rng, level):
    w = rng.choice(WORDS)
    return Draft(dict(w=w), [" ".join(w)], w[-1])


@skill(
    "general",
    "Spell {w} backwards.",
    "Reverse the letters of {w}.",
    "Write {w} from back to front.",
    "Turn {w} around, letter by letter.",
    fact=True,
)
def reverse_word(rng, level):
    w = rng.choice(WORDS)
    return Draft(dict(w=w), [" ".join(w)], " ".join(w[::-1]))


@skill(
    "general",
    "How many letters has {w}?",
    "Count the letters of {w}.",
    "Give the length of the word {w}.",
    "Tell me how long {w} is.",
    kind="number",
    fact=True,
)
def word_length(rng, level):
    w = rng.choice(WORDS)
    return Draft(dict(w=w), [", ".join(f"{letter} {i}" for i, letter in enumerate(w, 1))], len(w))


@skill(
    "general",
    "Repeat {w} {n} times.",
    "Write {w} {n} times.",
    "Say {n} times the word {w}.",
    "Give me {n} copies of {w}.",
)
def repeat_word(rng, level):
    w, n = rng.choice(WORDS), rng.randint(2, 5)
    return Draft(dict(w=w, n=n), [", ".join(f"{i} {w}" for i in range(1, n + 1))], " ".join([w] * n))


@skill(
    "general",
    "Which day comes {n} days after {d}?",
    "It is {d}. Which day is it in {n} days?",
    "Name the day {n} days after {d}.",
    "{n} days from {d} is what day?",
    levels=3,
)
def day_after(rng, level):
    i, n = rng.randrange(7), rng.randint(1, (2, 4, 6)[level - 1])
    path = [f"{j} {DAYS[(i + j) % 7]}" for j in range(n + 1)]
    return Draft(dict(n=n, d=DAYS[i]), [", ".join(path)], DAYS[(i + n) % 7])


@skill(
    "general",
    "Which month comes after {m}?",
    "Name the month after {m}.",
    "What month follows {m}?",
    "{m} is over. Which month begins?",
    fact=True,
)
def month_after(rng, level):
    i = rng.randrange(12)
    return Draft(dict(m=MONTHS[i]), [f"{MONTHS[i]}, {MONTHS[(i + 1) % 12]}"], MONTHS[(i + 1) % 12])


@skill(
    "general",
    "What is {a} {o} {b}?",
    "Evaluate {a} {o} {b}.",
    "Give the truth value of {a} {o} {b}.",
    "Decide: {a} {o} {b}?",
    levels=4,
    composes=True,
    fact=True,
)
def boolean_logic(rng, level):
    words = [rng.choice(("true", "false")) for _ in range(level + 1)]
    o = rng.choice(("and", "or"))
    slots = dict(a=words[0], o=o, b=f" {o} ".join(words[1:]))
    steps, value = [], words[0]
    for word in words[1:]:
        # "and": one false decides; "or": one true
        decides = "false" if o == "and" else "true"
        result = decides if decides in (value, word) else value
        steps, value = [*steps, f"{value} {o} {word} = {result}"], result
    return Draft(slots, steps, value)


@skill(
    "general",
    "What is the opposite of {w}?",
    "Give the opposite of {w}.",
    "Name the contrary of {w}.",
    "Which word means the reverse of {w}?",
    fact=True,
)
def opposite(rng, level):
    # Both ways round: "cold" has an opposite as well as "hot".
    table = OPPOSITES | {b: a for a, b in OPPOSITES.items()}
    w = rng.choice(list(table))
    return Draft(dict(w=w), [f"{w} and {table[w]}"], table[w])


@skill(
    "general",
    "What is the capital of {c}?",
    "Name the capital of {c}.",
    "Which city is the capital of {c}?",
    "Tell me the capital city of {c}.",
    fact=True,
)
def capital(rng, level):
    c = rng.choice(list(CAPITALS))
    return Draft(dict(c=c), [f"{c}: {CAPITALS[c]}"], CAPITALS[c])


@skill(
    "general",
    "Write {w} in {style}.",
    "Put {w} in {style}.",
    "Format {w} with {style}.",
    "Give me {w} inside {style}.",
)
def format_word(rng, level):
    style, (left, right) = rng.choice(
        (("brackets", "[]"), ("quotes", '""'), ("stars", "**"), ("braces", "{}"), ("parentheses", "()"))
    )
    w = rng.choice(WORDS)
    return Draft(dict(w=w, style=style), [f"{style}: {left} {right}"], f"{left}{w}{right}")


@skill(
    "general",
    "Reverse the list {xs}.",
    "Write {xs} backwards.",
    "Give {xs} from last to first.",
    "Turn the list {xs} around.",
    levels=4,
    composes=True,
)
def reverse_list(rng, level):
    xs = rng.sample(WORDS, level + 2)
    numbered = [f"{i} {x}" for i, x in enumerate(xs, 1)]
    return Draft(dict(xs=listing(xs)), [listing(numbered), listing(numbered[::-1])], listing(xs[::-1]))


@skill(
    "general",
    "Which word comes first in the alphabet, {a} or {b}?",
    "Alphabetically first: {a} or {b}?",
    "Name the first by alphabet: {a}, {b}.",
    "Of {a} and {b}, which does a dictionary list first?",
)
def alphabet_order(rng, level):
    a, b = rng.sample([w for w in WORDS if len(w) == 3], 2)
    # Equal first letters would need the second one, which the one step does not show.
    if a[0] == b[0]:
        b = next(w for w in WORDS if w[0] != a[0])
    return Draft(dict(a=a, b=b), [f"{min(a, b)[0]} before {max(a, b)[0]}"], min(a, b))
