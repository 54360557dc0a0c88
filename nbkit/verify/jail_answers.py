"""What a jailed job answered, made from what it wrote; nothing it wrote is trusted (used by `jail.py`).

read_calls({"calls": [{"value": ["i", "0x5"]}]}, calls=1)  # JailResult("ok", [5], "")
"""

import json
from dataclasses import dataclass
from typing import Literal

from . import jail_codec
from .jail_link import Cut, Job
from .jail_text import printable


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


class Conversation:
    """A test asks, a program answers, through us: everything the program says is decoded here first.

    `ours` is the program's job ("serve"), `tests` the test's ("check"); `deadline` is a time of
    time.monotonic."""

    def __init__(self, ours: Job, tests: Job, deadline: float) -> None:
        self.ours, self.tests, self.deadline, self.cut = ours, tests, deadline, ""

    def hold(self) -> JailResult | None:
        """The result; None when the program did not answer, and `cut` says how."""
        try:
            answer = self._answer()
            if "error" in answer:
                return JailResult("error", [], answer["error"])
            answer = None  # the program has loaded; the test begins
            while True:
                said = self._test(answer)
                if "broken" in said:
                    return JailResult("infra", [], f"the test cannot be used: {str(said['broken'])[:300]}")
                if "call" not in said:
                    return JailResult("ok", [said["passed"] is True], str(said["detail"])[:300])
                self.ours.send(said["call"], self.deadline)
                answer = self._answer()
        except Cut as cut:
            self.cut = str(cut)
        return None

    def _test(self, answer: dict | None) -> dict:
        """Hand the test an answer, hear what it says next. Only lack of time is the program's fault."""
        try:
            if answer is not None:
                self.tests.send(answer, self.deadline)
            return json.loads(self.tests.receive(self.deadline))
        except Cut as cut:
            if str(cut) == "time":
                raise
            return {"broken": f"its job ended early: {cut}"}

    def _answer(self) -> dict:
        try:
            answer = json.loads(self.ours.receive(self.deadline))
            if "error" in answer:
                return {"error": str(answer["error"])[:300]}
            return {"value": jail_codec.encode(jail_codec.decode(answer["value"]))}
        except jail_codec.MALFORMED:
            raise Cut("garbage") from None
