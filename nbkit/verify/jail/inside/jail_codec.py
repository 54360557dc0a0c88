"""Values across the jail wall: tagged JSON data of exact types (`jail.py`, `jail_worker.py`).

The type travels with the value, so the parent can tell `True` from `1`, a tuple from a list, and never has
to trust a `__eq__` or `__reduce__` that hostile code wrote: of an instance of a subclass of a built-in type
only the built-in value crosses. Used by notebooks 06 and 07 through `nbkit.verify`.

Example: `encode([1, True])` -> `["l", [["i", "0x1"], ["b", 1]]]`, and `decode` turns it back.

A test as code (`check(candidate)`) meets more types than a comparison with literals needs. With `rich=True`
named tuples, dataclasses, members of enumerations, iterators and views of dictionaries cross as `Held`: their
parts by value, made into objects again by `jail_copies.py` on the other side.
"""

import array
import dataclasses
import datetime
import enum
import functools
import itertools
import re
import sys
import time
import uuid
from collections import ChainMap, Counter, OrderedDict, defaultdict, deque
from decimal import Decimal
from fractions import Fraction

# What `decode`, and reading an answer that holds such data, raises on malformed data.
MALFORMED = (ValueError, TypeError, LookupError, ArithmeticError, AttributeError, RecursionError)
MAX_DEPTH = 64
MAX_INT_BITS = 1 << 22
MAX_ITEMS = 10_000  # of an iterator; of one that goes on, which may have no end, the first _FIRST_ITEMS
_FIRST_ITEMS = 1000
_ITERATOR_S = 0.5
_SAME_HASH = 64
_TIMES = {kind.__name__: kind for kind in (datetime.datetime, datetime.date, datetime.time)}
_ARRAY_CODES = "bBuhHiIlLqQfd"
_DTYPE = re.compile(r"[<>|=]([biufcSUMm])\d{1,9}(?:\[[\w ]{1,9}\])?")

numpy_crosses = False  # set in a job whose other side has numpy as well

# Of a defaultdict only a factory of these crosses: calling one does nothing but make an empty value.
_FACTORIES = (
    int,
    float,
    complex,
    bool,
    str,
    bytes,
    list,
    tuple,
    set,
    frozenset,
    dict,
    deque,
    Counter,
    OrderedDict,
)
_DEFAULTS = {f"defaultdict {factory.__name__}": factory for factory in _FACTORIES}
_SEQUENCES = {"l": list, "t": tuple, "S": set, "F": frozenset}
_MAPPINGS = {
    "Counter": Counter,
    "OrderedDict": OrderedDict,
    "defaultdict": functools.partial(defaultdict, None),
    **{label: functools.partial(defaultdict, factory) for label, factory in _DEFAULTS.items()},
}
_LABELLED = (Counter, OrderedDict, defaultdict)
_VIEWS = {type({}.keys()): "keys", type({}.values()): "values", type({}.items()): "items"}


@dataclasses.dataclass(frozen=True)
class Held:
    """The parts of a value that is no plain data, tag by tag; all of them plain.

    N  a named tuple: (class name, fields, values)       R  a dataclass: the same
    E  a member of an enumeration: (class name, name, value, is it a number or text itself?)
    I  an iterator: (items, are these all?)              V  a view of a dictionary: (kind, items)
    P  an array of numpy: (dtype, shape, items)          C  a ChainMap: its dictionaries
    """

    tag: str
    parts: tuple


class CannotCross(ValueError):
    """A value of this type has no form in which it could cross."""


def encode(value: object, depth: int = 0, rich: bool = False) -> list:
    """`value` as tagged JSON data. Raises CannotCross for a type that has none, ValueError for too
    much of one."""
    if depth > MAX_DEPTH:
        raise ValueError(f"value is nested deeper than {MAX_DEPTH}")
    kind = type(value)
    if kind is int or kind is float or kind is str:  # most values: long lists of them take a while
        return _encode_scalar(value, kind)
    if value is None or value is ...:
        return ["n" if value is None else "e"]
    if kind is bool:
        return ["b", int(value)]
    # What stands for an object of the other side, and, where asked for, objects to be held here.
    if kind is Held:
        return [value.tag, encode(value.parts, depth + 1, rich)]
    if rich and (held := _held(value)):
        return [held.tag, encode(held.parts, depth + 1, rich)]
    if rich and kind is bytearray:  # which a program may change, unlike bytes
        return ["Y", value.hex()]
    # Subclasses are read by the methods of their base: theirs may say anything.
    if issubclass(kind, (int, float, str, bytes, bytearray)):
        return _encode_scalar(value, kind)
    if kind is complex:
        return ["c", value.real.hex(), value.imag.hex()]
    if kind is Fraction:
        return ["q", encode(value.numerator), encode(value.denominator)]
    if kind is Decimal:
        return ["D", str(value)]
    if kind is range:
        return ["r", [encode(part) for part in (value.start, value.stop, value.step)]]
    if kind is deque:
        return ["Q", [encode(item, depth + 1, rich) for item in value], encode(value.maxlen)]
    for tag, base in _SEQUENCES.items():
        if issubclass(kind, base):
            return [tag, [encode(item, depth + 1, rich) for item in base.__iter__(value)]]
    if issubclass(kind, dict):
        # exact classes of the library keep an order of their own; a subclass may say anything
        items = value.items() if kind in (dict, OrderedDict) else dict.items(value)
        pairs = [[encode(key, depth + 1, rich), encode(item, depth + 1, rich)] for key, item in items]
        return ["m", _label(value), pairs] if rich and kind in _LABELLED else ["d", pairs]
    return _encode_library(value, kind, depth, rich)


def _label(value: dict) -> str:
    """The name of its class; of a defaultdict with the factory, if that one crosses."""
    name, factory = type(value).__name__, getattr(value, "default_factory", None)
    known = any(factory is one for one in _FACTORIES)
    return f"{name} {factory.__name__}" if known else name


def _encode_library(value: object, kind: type, depth: int, rich: bool) -> list:
    """Values of classes of the standard library, and numbers of numpy, by what they hold."""
    # Times cross by their parts; a zone with rules of its own does not.
    for name, base in _TIMES.items():
        if issubclass(kind, base):
            if isinstance(getattr(value, "tzinfo", None), datetime.timezone | None):
                return ["T", name, base.isoformat(value), int(getattr(value, "fold", 0))]
            raise CannotCross("cannot return a time of a zone that is no fixed offset")
    if issubclass(kind, datetime.timedelta):
        return ["T", "timedelta", [value.days, value.seconds, value.microseconds]]
    if kind is datetime.timezone:
        return ["T", "timezone", encode(value.utcoffset(None))[2]]
    if issubclass(kind, uuid.UUID):
        return ["U", value.hex]
    if kind is array.array:
        return ["A", value.typecode, [encode(item) for item in value]]
    # numpy only if it is loaded already: a value of another module cannot be of it.
    numpy = sys.modules.get("numpy") if kind.__module__ == "numpy" else None
    if numpy and isinstance(value, numpy.generic) and type(item := value.item()).__module__ != "numpy":
        return encode(item, depth + 1, rich)
    if numpy and isinstance(value, numpy.ndarray) and rich:
        return _encode_array(value, depth)
    raise CannotCross(f"cannot return a value of type {kind.__name__}; use plain built-in types")


def _encode_array(value: object, depth: int) -> list:
    if not numpy_crosses:
        raise CannotCross("an array of numpy crosses only where the program has numpy: Jail(numpy=True)")
    if not (found := _DTYPE.fullmatch(value.dtype.str)):
        raise CannotCross(f"cannot return a numpy array of {value.dtype}")
    flat = value.view(f"{value.dtype.str[0]}i8") if found[1] in "Mm" else value
    parts = (value.dtype.str, tuple(value.shape), tuple(flat.ravel().tolist()))
    return ["P", encode(parts, depth + 1)]


def _encode_scalar(value: object, kind: type) -> list:
    """A number or text, without what a subclass says about itself."""
    if issubclass(kind, int):
        plain = int.__pos__(value)
        if plain.bit_length() > MAX_INT_BITS:
            raise ValueError(f"integer has more than {MAX_INT_BITS} bits")
        return ["i", hex(plain)]
    if issubclass(kind, float):
        return ["f", float.__pos__(value).hex()]
    if issubclass(kind, str):
        return ["s", str.__str__(value)]
    return ["y", (bytes if issubclass(kind, bytes) else bytearray).hex(value)]


def _held(value: object) -> Held | None:
    kind = type(value)
    if issubclass(kind, tuple) and type(fields := getattr(kind, "_fields", None)) is tuple:
        return Held("N", (kind.__name__, fields, tuple(tuple.__iter__(value))))
    if isinstance(getattr(kind, "__dataclass_fields__", None), dict):
        fields = tuple(field.name for field in dataclasses.fields(kind))
        return Held("R", (kind.__name__, fields, tuple(getattr(value, name) for name in fields)))
    if issubclass(kind, enum.Enum):
        return Held("E", (kind.__name__, value.name, value.value, issubclass(kind, (int, str, float))))
    if kind is ChainMap:
        return Held("C", tuple(value.maps))
    if kind in _VIEWS:
        return Held("V", (_VIEWS[kind], tuple(value)))
    if hasattr(kind, "__next__") and hasattr(kind, "__iter__"):
        return Held("I", _first_items(value))
    return None


def _first_items(iterator: object) -> tuple[tuple, bool]:
    """(items, True), or the first of too many, or of too slow ones, and False."""
    items, started = [], time.process_time()
    for item in itertools.islice(iterator, MAX_ITEMS):
        items.append(item)
        if len(items) % 100 == 0 and time.process_time() - started > _ITERATOR_S:
            return tuple(items[:_FIRST_ITEMS]), False
    return (tuple(items), True) if len(items) < MAX_ITEMS else (tuple(items[:_FIRST_ITEMS]), False)


def decode(data: object, depth: int = 0, build=Held) -> object:
    """Inverse of `encode`; raises one of `MALFORMED` when malformed. `build(tag, parts)` makes what is
    `Held`."""
    if type(data) is not list or depth > MAX_DEPTH:
        raise ValueError("malformed value")
    tag = data[0]
    # Every tag is checked for what it needs; whatever is left falls through to the error.
    if tag in ("n", "e"):
        return None if tag == "n" else ...
    if tag == "b":
        return bool([0, 1].index(data[1]))
    if tag == "s" and type(data[1]) is str:
        return data[1]
    if tag in ("i", "f", "c", "q", "D"):
        return _decode_number(tag, data, depth)
    if tag in ("y", "Y"):
        return (bytes if tag == "y" else bytearray).fromhex(data[1])
    if tag in _SEQUENCES and type(data[1]) is list:
        items = [decode(item, depth + 1, build) for item in data[1]]
        return _SEQUENCES[tag](_spread(items) if tag in "SF" else items)
    if tag == "d" or (tag == "m" and data[1] in _MAPPINGS):
        keys = _spread([decode(key, depth + 1, build) for key, _ in data[-1]])
        pairs = dict(zip(keys, [decode(item, depth + 1, build) for _, item in data[-1]], strict=True))
        return pairs if tag == "d" else _MAPPINGS[data[1]](pairs)
    if tag == "r":
        parts = [decode(part, depth + 1) for part in data[1]]
        if [type(part) for part in parts] == [int, int, int]:
            return range(*parts)
    if tag in ("T", "U", "A"):
        return _decode_library(data)
    if tag == "Q":
        return deque([decode(item, depth + 1, build) for item in data[1]], decode(data[2], depth + 1))
    if (
        tag in ("N", "R", "E", "I", "V", "P", "C")
        and type(parts := decode(data[1], depth + 1, build)) is tuple
    ):
        return build(tag, parts)
    raise ValueError("malformed value")


def _decode_library(data: list) -> object:
    if data[0] == "U" and type(data[1]) is str:
        return uuid.UUID(hex=data[1])
    if data[0] == "A" and type(data[1]) is str and len(data[1]) == 1 and data[1] in _ARRAY_CODES:
        return array.array(data[1], [decode(item) for item in data[2]])
    if data[1] in _TIMES and type(data[2]) is str:
        made = _TIMES[data[1]].fromisoformat(data[2])
        return made if data[1] == "date" else made.replace(fold=[0, 1].index(data[3]))
    if data[1] in ("timedelta", "timezone"):
        span = datetime.timedelta(*data[2])
        return span if data[1] == "timedelta" else datetime.timezone(span)
    raise ValueError("malformed value")


def _spread(items: list) -> list:
    """The items, if a hash table of them is built in linear time: not where many have been given one hash."""
    if len(items) > _SAME_HASH and max(Counter(map(hash, items)).values()) > _SAME_HASH:
        raise ValueError("too many keys with one hash")
    return items


def _decode_number(tag: str, data: list, depth: int) -> object:
    if tag == "i":
        # bounded before it is read: reading takes time that grows with its square
        if len(data[1]) > MAX_INT_BITS // 4 + 3:
            raise ValueError("integer too long")
        return int(data[1], 16)
    if tag == "f":
        return float.fromhex(data[1])
    if tag == "c":
        return complex(float.fromhex(data[1]), float.fromhex(data[2]))
    if tag == "D":
        if (
            type(data[1]) is not str or (number := Decimal(data[1])).is_snan()
        ):  # that one raises when compared
            raise ValueError("malformed value")
        return number
    parts = [decode(part, depth + 1) for part in data[1:3]]
    # Fraction would read a text too, and "1e9999999" takes it for ever
    if [type(part) for part in parts] != [int, int]:
        raise ValueError("malformed value")
    return Fraction(*parts)
