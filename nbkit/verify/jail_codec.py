"""Values across the jail wall: tagged JSON data of exact built-in types (`jail.py`, `jail_worker.py`).

The type travels with the value, so the parent can tell `True` from `1`, a tuple from a list, and never has
to trust a `__eq__` or `__reduce__` that hostile code wrote. Used by notebooks 06 and 07 through
`nbkit.verify`.

Example: `encode([1, True])` -> `["l", [["i", "0x1"], ["b", 1]]]`, and `decode` turns it back.
"""

from collections import Counter, OrderedDict, defaultdict
from fractions import Fraction

# What `decode`, and reading an answer that holds such data, raises on malformed data.
MALFORMED = (ValueError, TypeError, LookupError, ArithmeticError, AttributeError, RecursionError)
MAX_DEPTH = 64
MAX_INT_BITS = 65_536

_SEQUENCES = {"l": list, "t": tuple, "S": set, "F": frozenset}
_DICTIONARIES = (dict, Counter, OrderedDict, defaultdict)  # all arrive as plain ones
_SEQUENCE_TAGS = {kind: tag for tag, kind in _SEQUENCES.items()}


def encode(value: object, depth: int = 0) -> list:
    """`value` as tagged JSON data. Raises ValueError for any type but exact built-in ones and Fraction."""
    kind = type(value)
    if depth > MAX_DEPTH:
        raise ValueError(f"value is nested deeper than {MAX_DEPTH}")
    if value is None:
        return ["n"]
    if kind is bool:
        return ["b", int(value)]
    if kind is int:
        if value.bit_length() > MAX_INT_BITS:
            raise ValueError(f"integer has more than {MAX_INT_BITS} bits")
        return ["i", hex(value)]
    if kind is float:
        return ["f", value.hex()]
    if kind is str:
        return ["s", value]
    if kind is bytes:
        return ["y", value.hex()]
    if kind is complex:
        return ["c", value.real.hex(), value.imag.hex()]
    if kind is Fraction:
        return ["q", encode(value.numerator), encode(value.denominator)]
    if kind in _SEQUENCE_TAGS:
        return [_SEQUENCE_TAGS[kind], [encode(item, depth + 1) for item in value]]
    if kind in _DICTIONARIES:
        return ["d", [[encode(key, depth + 1), encode(item, depth + 1)] for key, item in value.items()]]
    raise ValueError(f"cannot return a value of type {kind.__name__}; use plain built-in types")


def decode(data: object, depth: int = 0) -> object:
    """Inverse of `encode`; raises one of `MALFORMED` when malformed."""
    if type(data) is not list or depth > MAX_DEPTH:
        raise ValueError("malformed value")
    tag = data[0]
    if tag == "n":
        return None
    if tag == "b":
        return bool([0, 1].index(data[1]))
    if tag == "i":
        if len(data[1]) > MAX_INT_BITS // 4 + 3:
            raise ValueError("integer too long")
        return int(data[1], 16)
    if tag == "f":
        return float.fromhex(data[1])
    if tag == "s" and type(data[1]) is str:
        return data[1]
    if tag == "y":
        return bytes.fromhex(data[1])
    if tag == "c":
        return complex(float.fromhex(data[1]), float.fromhex(data[2]))
    if tag == "q":
        parts = [decode(part, depth + 1) for part in data[1:3]]
        # Fraction would read a text too, and "1e9999999" takes it for ever
        if [type(part) for part in parts] != [int, int]:
            raise ValueError("malformed value")
        return Fraction(*parts)
    if tag in _SEQUENCES and type(data[1]) is list:
        return _SEQUENCES[tag]([decode(item, depth + 1) for item in data[1]])
    if tag == "d":
        return {decode(key, depth + 1): decode(item, depth + 1) for key, item in data[1]}
    raise ValueError("malformed value")
