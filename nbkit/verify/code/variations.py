"""New test arguments near known ones, as a tester would choose them (used by `synthesis.py`).

vary([3, 1, 2], random.Random(0))  # such as [3, 1], [2, 1, 3] or [3, 0, 2]
"""

import random
from collections.abc import Callable, Sequence

from nbkit.verify.code.grade import Call

_LETTERS = "abcdefghijklmnopqrstuvwxyz AEIOU019.,-"
_MAX_SHOWN = 500  # characters of one test's arguments


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


def variations(bases: Sequence[list], count: int, rng: random.Random, known: Sequence[Call]) -> list[list]:
    """New argument lists, each one or two changes away from a known one."""
    # Arguments by their source text: equal ones are the same test.
    seen, found = {written(call.args) for call in known}, []
    for _ in range(count * 10):
        args = list(rng.choice(bases))
        # One change mostly, two now and then: far-off arguments mostly raise.
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
        # Items stay of their kind: a spare one of the list is varied, not invented.
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
    # Ways in which testers shorten, repeat and reorder what they have.
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
