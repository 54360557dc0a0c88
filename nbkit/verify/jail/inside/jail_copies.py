"""Objects and exceptions made again from their parts, inside the jail (used by `jail_job.py`).

A test as code runs in another job than the program that it tests. What has no literal (`jail_codec.Held`) is
built anew on the other side: of that side's own class where it has one of this name and these fields, else of
a class made for it. Equality is then always that of a class which the other side did not write.
"""

import collections
import dataclasses
import enum
import sys

# These would end a loop of a test early and quietly, as in all(map(candidate, …)).
_QUIET = (StopIteration, StopAsyncIteration)


class Copies:
    """Makes what is `Held`, for a job with these `names`: copies(tag, parts)."""

    def __init__(self, names: dict) -> None:
        self.names, self.made = names, {}

    def __call__(self, tag: str, parts: tuple) -> object:
        makers = {"N": self._named_tuple, "R": self._dataclass, "E": self._member, "I": _iterator, "V": _view}
        return _array(*parts) if tag == "P" else makers[tag](*parts)

    def _class(self, key: tuple, fits, make) -> type:
        """Our own class of the name key[1] if it fits, else one that we make; the same one for the same
        key."""
        own = self.names.get(key[1])
        if isinstance(own, type) and fits(own):
            return own
        if key not in self.made:
            self.made[key] = make()
        return self.made[key]

    def _named_tuple(self, name: str, fields: tuple, values: tuple) -> tuple:
        kind = self._class(
            ("N", name, fields),
            lambda own: issubclass(own, tuple) and getattr(own, "_fields", None) == fields,
            lambda: collections.namedtuple(name, fields, rename=True),
        )
        if len(values) != len(fields):
            raise ValueError("a named tuple with missing values")
        return tuple.__new__(kind, values)

    def _dataclass(self, name: str, fields: tuple, values: tuple) -> object:
        def fits(own: type) -> bool:
            return dataclasses.is_dataclass(own) and tuple(f.name for f in dataclasses.fields(own)) == fields

        kind = self._class(
            ("R", name, fields), fits, lambda: dataclasses.make_dataclass(name, fields, unsafe_hash=True)
        )
        made = object.__new__(kind)
        for field, value in zip(fields, values, strict=True):
            object.__setattr__(made, field, value)
        return made

    def _member(self, name: str, member: str, value: object, plain: bool) -> object:
        own = self.names.get(name)
        if isinstance(own, type) and issubclass(own, enum.Enum) and member in own.__members__:
            return own[member]
        if plain:
            return value
        kind = self._class(("E", name, member), lambda _: False, lambda: enum.Enum(name, {member: value}))
        return kind[member]

    def error(self, answer: dict, args: tuple | None) -> Exception:
        """The exception that the program raised: of the most special of its classes that is known here too,
        our own ones and those of the standard library, else a RuntimeError that names it."""
        names = [kind.rpartition(".")[2] for kind in answer["kinds"]]
        if args is not None and not any(quiet.__name__ in names for quiet in _QUIET):
            for name, kind in zip(names, answer["kinds"], strict=True):
                found = self._error_class(*kind.rpartition(".")[::2])
                try:
                    if found:
                        own = found if name == names[0] else type(names[0], (found,), {})
                        error = own.__new__(own, *args)
                        error.args = args
                        return error
                except Exception:  # instances of this class cannot be made so; its parent may do
                    continue
        return RuntimeError(answer["error"])

    def _error_class(self, module: str, name: str) -> type | None:
        if module.partition(".")[0] in sys.stdlib_module_names:
            found = getattr(sys.modules.get(module), name, None)
        else:
            found = self.names.get(name)
        return found if isinstance(found, type) and issubclass(found, Exception) else None


def kinds_of(error: BaseException) -> list[str]:
    """Names of the classes of an exception, most special first."""
    return [f"{kind.__module__}.{kind.__qualname__}" for kind in type(error).__mro__][:20]


def _iterator(items: tuple, complete: bool):
    def stream():
        yield from items
        if not complete:
            raise RuntimeError(f"the jail copies {len(items)} items of an iterator, the test wants more")

    return stream()


def _array(dtype: str, shape: tuple, items: tuple) -> object:
    numpy = sys.modules["numpy"]
    kind = numpy.dtype(dtype)
    if kind.kind not in "biufcSUMm":
        raise ValueError("an array of objects")
    stored = numpy.dtype(f"{kind.str[0]}i8") if kind.kind in "Mm" else kind
    return numpy.array(items, dtype=stored).view(kind).reshape(shape)


def _view(kind: str, items: tuple) -> object:
    if kind == "values":
        return dict(enumerate(items)).values()
    return dict.fromkeys(items).keys() if kind == "keys" else dict(items).items()
