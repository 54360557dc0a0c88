"""Objects and exceptions made again from their parts, inside the jail (used by `jail_job.py`).

A test as code runs in another job than the program that it tests. What has no literal (`jail_codec.Held`) is
built anew on the other side: of that side's own class where it has one of this name and these fields, else of
a class made for it. Equality is then always that of a class which the other side did not write.
"""

import collections
import contextlib
import dataclasses
import enum
import opcode
import sys
import types

# These would end a loop of a test early and quietly, as in all(map(candidate, …)), and those of a test runner
# would end the test itself: "skipped" is no failure.
_QUIET = (StopIteration, StopAsyncIteration)
_RUNNERS = ("unittest", "doctest", "bdb")
_KEPT = (types.MemberDescriptorType, types.GetSetDescriptorType)
# Lists, dictionaries (also of the library), sets, bytearrays, deques: what a program may change in place.
_CHANGEABLE = ("l", "d", "m", "S", "Y", "Q")
_LONGEST_TEXT, _LONGEST_STATE = 10_000, 1 << 20
_DEEPEST, _MOST_PARTS = 8, 100  # of exceptions within an exception


class Copies:
    """Makes what is `Held`, for a job with these `names`: copies(tag, parts). `raised` holds all exceptions
    that it made; `decode` is that of `jail_codec`."""

    def __init__(self, names: dict, decode) -> None:
        self.names, self.made, self.raised, self._decode = names, {}, [], decode

    def __call__(self, tag: str, parts: tuple) -> object:
        makers = {"N": self._named_tuple, "R": self._dataclass, "E": self._member, "I": _iterator, "V": _view}
        makers |= {"P": _array, "C": _chain}
        return makers[tag](*parts)

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
            return self._number_or_text(name, member, value)
        kind = self._class(("E", name, member), lambda _: False, lambda: enum.Enum(name, {member: value}))
        return kind[member]

    def _number_or_text(self, name: str, member: str, value: object) -> object:
        """A member that is a number or text itself: equal to it, and with a name where it can have one."""
        base = {int: enum.IntEnum, str: enum.StrEnum}.get(type(value))
        if base is None or type(member) is not str or not member.isidentifier() or member.startswith("_"):
            return value
        key = ("E", name, member, value)
        return self._class(key, lambda _: False, lambda: base(name, {member: value}))[member]

    def refill(self, given: tuple[tuple, dict], changed: list) -> bool:
        """Give arguments of the test, (positional, by name), the content that the program has left in its
        copies of them, in place; False where one of them keeps the content that it had."""
        whole = True
        for key, data in changed:
            own = given[0][key] if type(key) is int else given[1][key]
            new = data and self._decode(data, build=self)
            if type(own) is not type(new):  # not handed over, or of a class of the test's own
                whole = False
            elif isinstance(own, dict):
                own.clear()
                for name, value in new.items():  # Counter.update would add
                    own[name] = value
            elif isinstance(own, set):
                own.clear()
                own |= new
            elif isinstance(own, collections.deque):
                own.clear()
                own.extend(new)
            else:
                own[:] = new
        return whole

    def error(self, answer: dict) -> Exception:
        """The exception that the program raised: of the most special of its classes that are known here too,
        our own ones and those of the standard library, else a RuntimeError that names it."""
        found = self._error(answer)
        self.raised.append(found)
        return found

    def _error(self, answer: dict) -> Exception:
        names = [kind.rpartition(".")[2] for kind in answer["kinds"]]
        args = answer["args"] and self._decode(answer["args"], build=self)
        if args is None or any(quiet.__name__ in names for quiet in _QUIET):
            return RuntimeError(answer["error"])
        group = [self.error(part) for part in answer["group"]]
        for bases in self._bases(answer["kinds"]):
            try:
                error = _exception(names[0], bases, args, group, answer["text"])
            except Exception:  # instances of this class cannot be made so; its parent may do
                continue
            for name, value in self._decode(answer["state"], build=self).items():
                _remember(error, name, value)
            error.__cause__ = answer["cause"] and self.error(answer["cause"])
            return error
        return RuntimeError(answer["error"])

    def _bases(self, kinds: list[str]) -> list[tuple[type, ...]]:
        """What the class of an exception may be derived from, the best choice first: all of its classes that
        are known here, then each of them alone."""
        known = [self._error_class(*kind.rpartition(".")[::2]) for kind in kinds]
        special: list[type] = []
        for kind in filter(None, known):
            if not any(issubclass(other, kind) for other in special):
                special.append(kind)
        return [tuple(special), *((kind,) for kind in known if kind)] if special else []

    def _error_class(self, module: str, name: str) -> type | None:
        root = module.partition(".")[0]
        if root in sys.stdlib_module_names:
            found = None if root in _RUNNERS else getattr(sys.modules.get(module), name, None)
        else:
            found = self.names.get(name)
        return found if isinstance(found, type) and issubclass(found, Exception) else None


def changeable(call: list) -> dict[int | str, list]:
    """Of the encoded arguments of a call those that a program can change in place, by position or name."""
    _, (args, keywords) = call
    named = [*enumerate(args[1]), *((key[1], item) for key, item in keywords[1])]
    return {key: item for key, item in named if item[0] in _CHANGEABLE}


def changed(asked: dict, given: list, codec: types.ModuleType, build: Copies) -> list[list]:
    """[key, content] of every argument that the program has changed in place. The content, encoded, goes
    along only where the test is to have it (`asked["back"]`). `given`: the objects that the program had."""
    found = []
    for key, before in changeable(asked["call"]).items():
        after = codec.encode(given[0][key] if type(key) is int else given[1][key], rich=True)
        # The same set, built on two sides, may come in two orders: then it is built here once more.
        if after != before and after != codec.encode(codec.decode(before, build=build), rich=True):
            found.append([key, after if asked["back"] else None])
    return found


def is_dropped(frame: types.FrameType) -> bool:
    """Does the code of this frame drop what its call gives, or ask only whether that is None?"""
    code, at = frame.f_code.co_code, frame.f_lasti + 2
    while opcode.opname[code[at]] == "CACHE":
        at += 2
    return opcode.opname[code[at]].endswith(("POP_TOP", "IF_NONE", "IF_NOT_NONE"))


def _exception(name: str, bases: tuple, args: tuple, group: list, text: str | None) -> Exception:
    """An exception of the class `name`: the base itself where it has that name, else one made of them all."""
    own = bases[0]
    if len(bases) > 1 or own.__name__ != name:
        own = type(name, bases, {})
    error = own.__new__(own, args[0], group) if issubclass(own, ExceptionGroup) else own.__new__(own, *args)
    error.args = (args[0], group) if group else args
    if own not in bases and text is not None and str(error) != text:
        own.__str__ = lambda self: text
    return error


def _remember(error: Exception, name: str, value: object) -> None:
    """Give an exception an attribute: one that its built-in class keeps, or one of its own."""
    if _is_special(name):
        return
    if any(isinstance(vars(kind).get(name), _KEPT) for kind in type(error).__mro__):
        with contextlib.suppress(Exception):
            setattr(error, name, value)
    else:
        vars(error)[name] = value


def parts_of(error: BaseException, encode, describe, depth: int = 0) -> dict:
    """What the test's side needs to make the same exception again, by value. What it carries and cannot cross
    becomes text (arguments) or is left out (attributes)."""

    def crossing(value: object) -> object:
        try:
            encode(value, rich=True)
        except BaseException:
            return str(value)[:1000]
        return value

    try:
        carried = error.args[:1] if isinstance(error, BaseExceptionGroup) else error.args
        args = encode(tuple(map(crossing, carried)), rich=True)
    except BaseException:
        args = None
    try:
        text = str.__str__(str(error))[:_LONGEST_TEXT]
    except BaseException:
        text = None
    deeper = depth < _DEEPEST
    group = error.exceptions[:_MOST_PARTS] if deeper and isinstance(error, BaseExceptionGroup) else ()
    cause = error.__cause__ if deeper else None
    return {
        "error": describe(error),
        "kinds": kinds_of(error),
        "args": args,
        "text": text,
        "state": _state(error, encode),
        "group": [parts_of(part, encode, describe, depth + 1) for part in group],
        "cause": cause and parts_of(cause, encode, describe, depth + 1),
    }


def _is_special(name: str) -> bool:
    return name == "args" or (name.startswith("__") and name != "__notes__")


def _state(error: BaseException, encode) -> list:
    """Attributes of an exception, its classes' included, as far as they are plain values."""
    names = {name for kind in type(error).__mro__ for name in vars(kind)} | set(vars(error))
    pairs, room = [], _LONGEST_STATE
    for name in sorted(name for name in names if type(name) is str and not _is_special(name)):
        try:
            pair = [encode(name), encode(getattr(error, name), rich=True)]
        except BaseException:  # a method, or an object
            continue
        if (room := room - len(str(pair))) < 0:
            break
        pairs.append(pair)
    return ["d", pairs]


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


def _chain(*maps: dict) -> collections.ChainMap:
    if not all(isinstance(one, dict) for one in maps):
        raise ValueError("a ChainMap of other things than dictionaries")
    return collections.ChainMap(*maps)


def _view(kind: str, items: tuple) -> object:
    if kind == "values":
        return dict(enumerate(items)).values()
    return dict.fromkeys(items).keys() if kind == "keys" else dict(items).items()
