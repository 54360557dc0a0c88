"""Words the skills are made of: names, things, facts.

Few on purpose: a model of half a million parameters must know them all after a few million tokens.
"""

import random

NAMES = ["Ana", "Ben", "Eva", "Ida", "Leo", "Mia"]
THINGS = ["apples", "books", "coins", "cups", "hats", "keys"]
WORDS = [
    "cat",
    "dog",
    "sun",
    "map",
    "box",
    "red",
    "key",
    "fox",
    "egg",
    "ice",
    "tree",
    "fish",
    "bird",
    "lamp",
    "door",
    "king",
]
DAYS = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]
MONTHS = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
]
PLANETS = ["Mercury", "Venus", "Earth", "Mars", "Jupiter", "Saturn", "Uranus", "Neptune"]
ELEMENTS = dict(
    hydrogen="H", carbon="C", oxygen="O", sodium="Na", iron="Fe", gold="Au", silver="Ag", zinc="Zn"
)
CAPITALS = dict(
    France="Paris",
    Italy="Rome",
    Spain="Madrid",
    Japan="Tokyo",
    Egypt="Cairo",
    Peru="Lima",
    Norway="Oslo",
    Greece="Athens",
)
OPPOSITES = dict(
    hot="cold", big="small", up="down", fast="slow", light="dark", old="new", wet="dry", full="empty"
)
ANIMALS = dict(
    cat="mammal",
    dog="mammal",
    whale="mammal",
    eagle="bird",
    duck="bird",
    shark="fish",
    trout="fish",
    frog="amphibian",
    ant="insect",
    bee="insect",
)


def listing(items) -> str:
    return ", ".join(str(x) for x in items)


def numbers(rng: random.Random, n: int, hi: int) -> list[int]:
    """`n` different numbers from 1 to `hi`."""
    return rng.sample(range(1, hi + 1), n)
