"""Numbers in nested dicts and lists, by their path: how verify and compare look at metrics.json."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

Path = tuple[str, ...]
ABSENT = object()  # no value at this path, which is another thing than null


def leaves(tree: Any, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """(path, value) of everything that is neither a dict nor a list; a place in a list counts from "0"."""
    if isinstance(tree, Mapping):
        for name, value in tree.items():
            yield from leaves(value, (*path, str(name)))
    elif isinstance(tree, Sequence) and not isinstance(tree, str):
        for number, value in enumerate(tree):
            yield from leaves(value, (*path, str(number)))
    else:
        yield path, tree


def at(tree: Any, path: Path) -> Any:
    """What lies at a path; ABSENT where nothing does."""
    for name in path:
        if isinstance(tree, Mapping) and name in tree:
            tree = tree[name]
        elif isinstance(tree, list) and name.isdigit() and int(name) < len(tree):
            tree = tree[int(name)]
        else:
            return ABSENT
    return tree


def by_id(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """The metrics with the rows of the ledger under their ids: a claim that came later moves no other."""
    rows = metrics.get("ledger")
    return {**metrics, "ledger": {row["id"]: row for row in rows}} if rows else dict(metrics)


def is_number(value: Any) -> bool:
    """A number that is no truth value."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def same(stored: Any, derived: Any) -> bool:
    """Equal, floats to within 1e-9: another order of summing changes the last digits."""
    if is_number(stored) and is_number(derived):
        return math.isclose(stored, derived, rel_tol=1e-9, abs_tol=1e-9)
    return type(stored) is type(derived) and stored == derived


def shown(value: Any) -> str:
    """A value in a line for people: six digits of a number, 60 characters of a text."""
    if value is ABSENT:
        return "nothing"
    if isinstance(value, float):
        return f"{value:.6g}"
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
