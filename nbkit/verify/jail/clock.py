"""How long a job may take (used by `jail.py`): so that neither a busy machine nor a long suite of tests
refuses a right program, and a hanging one still costs no more than the limit.

    clock = Clock(wall_s=2.0)
    job.receive(clock.deadline())  # at most 2 s from the start
    clock.answered(1)              # the next answer has 2 s of its own,
    job.receive(clock.deadline())  # all together have five limits, and a twentieth of one for every call

Up to 12 s that a job spends waiting for a processor are not counted: `left`.
"""

import math
import os
import time
from pathlib import Path

_SLOW_CALLS, _CALLS_PER_LIMIT = 5, 20
_MOST_CALLS = 1000  # a test as code may ask for ever
_MOST_WAITING_S = 12.0  # so that one that hangs still ends soon, however busy the machine is


class Clock:
    """Deadlines (of time.monotonic) for the answers of one job that starts now, to `calls` calls or to as
    many as are `answered`."""

    def __init__(self, wall_s: float, calls: int = 0) -> None:
        self._wall_s, self._calls = wall_s, calls
        self._start = self._last = time.monotonic()

    def deadline(self) -> float:
        return min(self._last + self._wall_s, self._start + _total(self._wall_s, self._calls))

    def answered(self, calls: int = 0) -> None:
        """An answer has come; `calls` more have been answered than were known."""
        self._last = time.monotonic()
        self._calls += calls


def cpu_limit(wall_s: float, calls: int = 0) -> int:
    """Seconds of processor time, whole ones, that the kernel allows such a job: a little more than its clock,
    in case nobody is there to end it."""
    return math.ceil(_total(wall_s, calls)) + 2


def _total(wall_s: float, calls: int) -> float:
    return wall_s * (_SLOW_CALLS + min(calls, _MOST_CALLS) / _CALLS_PER_LIMIT)


def left(deadline: float, worker: int | None) -> float:
    """Seconds until the deadline, moved by the time that the worker's job stood waiting for a processor.

    Not moved for a job of several threads, which may wait for each other, nor where the kernel does not tell.
    """
    wait = deadline - time.monotonic()
    if wait > 0 or worker is None:
        return wait
    wait += min(_waited(worker), _MOST_WAITING_S)
    return max(wait, 0.01) if wait > 0 else wait  # do not ask the kernel again at once


def _waited(worker: int) -> float:
    try:
        jobs = Path(f"/proc/{worker}/task/{worker}/children").read_text().split()
        if len(jobs) != 1 or len(os.listdir(f"/proc/{jobs[0]}/task")) != 1:
            return 0.0
        return int(Path(f"/proc/{jobs[0]}/schedstat").read_text().split()[1]) / 1e9
    except (OSError, ValueError, IndexError):
        return 0.0
