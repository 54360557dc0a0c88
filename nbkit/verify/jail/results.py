"""What a jailed job answered, made from what it wrote; nothing it wrote is trusted (used by `jail.py`).

read_calls({"calls": [{"value": ["i", "0x5"]}]}, calls=1)  # JailResult("ok", [5], "")
"""

import json
import time
from dataclasses import dataclass
from typing import Literal

from nbkit.verify.jail.clock import Clock
from nbkit.verify.jail.inside import jail_codec, jail_copies
from nbkit.verify.jail.link import START_S, Cut, Job
from nbkit.verify.jail.text import printable

_DEEPEST, _LONGEST_TEXT = 10, 10_000  # exceptions within exceptions, and what one says
_SIGKILL, _SIGXCPU = 9, 24  # the module signal does not name them on Windows


@dataclass(frozen=True)
class CallError:
    """One call raised, or returned something that is not plain data."""

    detail: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "detail", printable(self.detail))


@dataclass(frozen=True)
class JailResult:
    """Outcome of one job.

    status: "ok" (the code loaded; one entry per call), "error" (it did not load, died, or answered too much
    or nonsense), "timeout" (wall or CPU limit) or "infra" (the jail failed: says nothing about the code).
    values: for "ok", one plain value or `CallError` per call, or the standard output of a program, or True or
    False of a check; otherwise empty.
    """

    status: Literal["ok", "error", "timeout", "infra"]
    values: list
    detail: str = ""

    def __post_init__(self) -> None:  # the one gate for what a program can make us say about it
        object.__setattr__(self, "detail", printable(self.detail))


def read_calls(answer: dict, calls: int) -> JailResult:
    """Decode what a dead job wrote; anything but a well-formed answer is the job's own fault."""
    try:
        if "error" in answer:
            return JailResult("error", [], str(answer["error"])[:300])
        values = [
            CallError(str(item["error"])[:300]) if "error" in item else jail_codec.decode(item["value"])
            for item in answer["calls"]
        ]
    except jail_codec.MALFORMED:
        return JailResult("error", [], "the job ended with no valid answer")
    if len(values) != calls:
        return JailResult("error", [], f"{len(values)} answers to {calls} calls")
    return JailResult("ok", values)


def fault(cut: str, code: int, limit: int, wall_s: float) -> JailResult:
    """What a job that gave no answer did wrong: the same words for the same program, however the race
    between its end and our SIGKILL came out."""
    if cut == "size":
        return JailResult("error", [], f"answer longer than {limit} bytes")
    if code == -_SIGXCPU:
        return JailResult("timeout", [], "CPU limit")
    if cut == "time":
        return JailResult("timeout", [], f"wall limit of {wall_s:g} s")
    if cut == "garbage" or code == -_SIGKILL:
        return JailResult("error", [], "the job gave no valid answer")
    how = f"signal {-code}" if code < 0 else f"exit code {code}"
    return JailResult("error", [], f"the job ended with {how} and no valid answer")


def receive_all(job: Job, clock: Clock) -> bytes:
    """An answer that may come in parts, which begin with "+" and add up to at most `job.limit` bytes. Raises
    Cut."""
    parts, room = [], job.limit
    while (part := job.receive(clock.deadline())).startswith(b"+"):
        parts.append(part[1:])
        room -= len(part)
        job.limit = max(room, 0)
        clock.answered()
    return b"".join([*parts, part])


def _kind(data: list) -> str:
    """The kind of encoded data; of a dictionary of the library its class, without what a default is."""
    return data[1].partition(" ")[0] if data[0] == "m" else data[0]


class Conversation:
    """A test asks, a program answers, through us: everything the program says is decoded here first.

    `ours` is the program's job ("serve"), `tests` the test's ("check"); every call may take `wall_s` within a
    total that grows with them."""

    def __init__(self, ours: Job, tests: Job, wall_s: float, numpy: bool = False) -> None:
        self.ours, self.tests, self.wall_s, self.cut = ours, tests, wall_s, ""
        self.clock, self._numpy = Clock(wall_s), numpy

    def hold(self) -> JailResult | None:
        """The result; None when the program did not answer, and `cut` says how."""
        try:
            # Both jobs load first, and neither's loading counts against the other.
            answer = self._answer()
            if "error" in answer:
                return JailResult("error", [], answer["error"])
            said = self._first_question()
            self.clock = Clock(self.wall_s)  # the program has loaded, the test has: now they begin
            while True:
                if "broken" in said:
                    why = str(said["broken"])[:300]
                    if why.startswith("MemoryError"):  # such as a test with megabytes of expected values
                        why += " raise memory_mb of the jail, or shorten the test"
                    return JailResult("infra", [], f"the test cannot be used: {why}")
                if "call" not in said:
                    return JailResult("ok", [said["passed"] is True], str(said["detail"])[:300])
                # Question and answer in turn, until the test has its verdict.
                asked = {"call": said["call"], "back": said.get("back") is True}
                self.ours.send(asked, self.clock.deadline())
                answer = self._answer(asked)
                self.clock.answered(1)
                said = self._test(answer)
        except Cut as cut:
            self.cut = str(cut)
        return None

    def _first_question(self) -> dict:
        """What the test says once it has loaded, for which a program cannot be blamed."""
        try:
            return json.loads(self.tests.receive(time.monotonic() + START_S))
        except Cut as cut:
            return {"broken": f"its job ended early: {cut}"}

    def _test(self, answer: dict) -> dict:
        """Hand the test an answer, hear what it says next. Whatever ends it now may be made of that
        answer, so it is no way out of a fail."""
        try:
            self.tests.send(answer, self.clock.deadline())
            return json.loads(self.tests.receive(self.clock.deadline()))
        except Cut as cut:
            if str(cut) == "time":
                raise
            how = "asked for more than it may" if str(cut) == "size" else "ended early"
            return {"passed": False, "detail": f"with what the program answered, the test {how}"}

    def _answer(self, asked: dict | None = None) -> dict:
        """What the program says, once it has loaded (None) or to a question."""
        try:
            answer = json.loads(self.ours.receive(self.clock.deadline()))
            known = self._error(answer) if "error" in answer else {"value": self._again(answer["value"])}
            changed = self._changed(answer.get("changed") or [], asked) if asked else []
            return known | {"changed": changed}
        except jail_codec.MALFORMED:
            raise Cut("garbage") from None

    def _changed(self, pairs: list, asked: dict) -> list[list]:
        """[key, content] of arguments that were changed in place: of those that were sent, each once and of
        its kind."""
        given, found = jail_copies.changeable(asked["call"]), {}
        for key, data in pairs:
            if type(key) not in (int, str) or key not in given or key in found:
                raise ValueError("a change of what was not given")
            found[key] = self._again(data) if asked["back"] else None
            if found[key] is not None and _kind(found[key]) != _kind(given[key]):
                raise ValueError("a change of kind")
        return [list(pair) for pair in found.items()]

    def _error(self, answer: dict, depth: int = 0) -> dict:
        """What the program says about an exception, and about those that it holds: by value, all of it."""
        if type(answer) is not dict or depth > _DEEPEST:
            raise ValueError("malformed exception")
        cause, text = answer.get("cause"), answer.get("text")
        state = self._again(answer.get("state") or ["d", []])
        if state[0] != "d" or any(name[0] != "s" for name, _ in state[1]):
            raise ValueError("malformed exception")
        return {
            "error": str(answer["error"])[:300],
            "kinds": [str(kind)[:200] for kind in answer.get("kinds") or []][:20],
            "args": answer.get("args") and self._again(answer["args"]),
            "text": None if text is None else str(text)[:_LONGEST_TEXT],
            "state": state,
            "group": [self._error(part, depth + 1) for part in answer.get("group") or []],
            "cause": cause and self._error(cause, depth + 1),
        }

    def _again(self, data: object) -> list:
        """Encoded anew by us: what a program wrote goes no further as it is."""
        return jail_codec.encode(jail_codec.decode(data, build=self._hold), rich=True)

    def _hold(self, tag: str, parts: tuple) -> jail_codec.Held:
        if tag == "P" and not self._numpy:
            raise ValueError("an array from a program without numpy")
        return jail_codec.Held(tag, parts)
