"""The live line of `nbkit run`, as pure functions of time: what is going on, and whether anything is heard.

    02_pretrain  03:12 / ~11:40  1.3 GiB  student_fg: step 120/1465, 01:05 left, 12,300 tok/s
    02_pretrain  05:41 / ~11:40  1.3 GiB  no news for 01:20, still using CPU 98%; last: student_fg: loading

What goes on comes from two files of the run folder: `.cell` (the notebook's cell, written by
nbkit.execute) and `.progress` (the step inside it, written by nbkit.progress). Used by runner.py.
"""

from __future__ import annotations

import json
import os
from collections import deque
from dataclasses import dataclass
from typing import TextIO

CELL = ".cell"
QUIET_S = 60.0  # after so long without news the line says so
IDLE = 5.0  # percent of one core: less is called idle


@dataclass(frozen=True)
class Outcome:
    """How a stage's run ended; `peak_bytes`: resident memory of its whole process tree."""

    ok: bool
    seconds: float
    peak_bytes: int
    trouble: str = ""


def clock(seconds: float) -> str:
    """75 -> "01:15"; hours appear when there are any."""
    hours, rest = divmod(int(seconds), 3600)
    return f"{hours}:{rest // 60:02d}:{rest % 60:02d}" if hours else f"{rest // 60:02d}:{rest % 60:02d}"


def gib(size: float) -> str:
    """Bytes as "1.3 GiB"."""
    return f"{size / 2**30:.1f} GiB"


class Load:
    """Processor use over the last half minute, from readings of the CPU seconds that were used so far."""

    def __init__(self, window: float = 30.0) -> None:
        self.window = window
        self.readings: deque[tuple[float, float]] = deque()

    def percent(self, now: float, cpu_s: float) -> float:
        """Percent of one core since `window` seconds ago (200: two cores); 0 at the first reading."""
        self.readings.append((now, cpu_s))
        while len(self.readings) > 2 and self.readings[1][0] <= now - self.window:
            self.readings.popleft()
        start, before = self.readings[0]
        # a process that ended takes its seconds along, so that the sum may fall
        return max(0.0, 100 * (cpu_s - before) / (now - start)) if now > start else 0.0


class News:
    """What to show now, from what the run's two files say and when they last changed."""

    def __init__(self) -> None:
        self.load = Load()
        self.last: tuple[str, str] | None = None
        self.heard = 0.0

    def text(self, now: float, cell: str, step: str, cpu_s: float) -> str:
        """`cell`, `step`: the files' content ("" without one); `cpu_s`: CPU seconds of all processes so far.

        A time left is counted down from when it was said, and is shown neither when it is over nor when
        nothing was heard for a minute.
        """
        percent = self.load.percent(now, cpu_s)
        if (cell, step) != self.last:
            self.last, self.heard = (cell, step), now
        said = _read(step)
        text, since = said.get("text") or _read(cell).get("text") or "starting", now - self.heard
        if since >= QUIET_S:
            work = "idle" if percent < IDLE else f"still using CPU {percent:.0f}%"
            return f"no news for {clock(since)}, {work}; last: {text}"
        if (said.get("left") or 0) - since >= 1:
            text += f", {clock(said['left'] - since)} left"
        return text + (f", {said['note']}" if said.get("note") else "")


def _read(content: str) -> dict:
    try:
        found = json.loads(content)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


class Line:
    """The line of one stage: rewritten in place on a terminal, else printed once a minute.

    `expected`: seconds, or None where nothing is known. `origin`: where that number comes from, "" for an
    earlier run on this machine.
    """

    def __init__(
        self, stage: str, expected: float | None, stream: TextIO, every: float = 60.0, origin: str = ""
    ) -> None:
        self.stage, self.stream, self.every = stage, stream, every
        self.expected = f"~{clock(expected)}" if expected is not None else "?"
        self.live, self.next_print, self.width = stream.isatty(), every, 0
        if not self.live:
            source = f", {origin}" if origin else ""
            print(f"{stage}  started, expected {self.expected}{source}", file=stream, flush=True)
        elif origin:
            self.expected += " scaled" if expected is not None else ""

    def update(self, seconds: float, size: int, text: str) -> None:
        """Show where the stage stands."""
        line = f"{self.stage}  {clock(seconds)} / {self.expected}  {gib(size)}  {text}".rstrip()
        if self.live:
            self._rewrite(line)
        elif seconds >= self.next_print:
            self.next_print = seconds + self.every
            print(line, file=self.stream, flush=True)

    def close(self, outcome: Outcome) -> None:
        """The stage's last line."""
        word = "done" if outcome.ok else "FAILED"
        line = f"{self.stage}  {word} in {clock(outcome.seconds)}, peak {gib(outcome.peak_bytes)}"
        if self.live:
            self._rewrite(line)
            self.stream.write("\n")
        else:
            print(line, file=self.stream, flush=True)

    def _rewrite(self, line: str) -> None:
        line = line[: max(20, _columns(self.stream) - 1)]
        self.stream.write("\r" + line.ljust(self.width))
        self.stream.flush()
        self.width = len(line)


def _columns(stream: TextIO) -> int:
    try:
        return os.get_terminal_size(stream.fileno()).columns or 100
    except (OSError, ValueError):
        return 100
