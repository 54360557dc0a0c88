"""The live line of `nbkit run`, as pure functions of time: what is going on, and whether anything is heard.

    02_pretrain  03:12 / ~11:40  1.3 GiB  student_fg: step 120/1465, 01:05 left, 12,300 tok/s
    02_pretrain  05:41 / ~11:40  1.3 GiB  no news for 01:20, still using CPU 98%; last: student_fg: loading

What goes on comes from two files of the run folder: `.cell` (the notebook's cell, written by
nbkit.cli.execute) and `.progress` (the step inside it, written by nbkit.run.progress). Used by runner.py.
"""

from __future__ import annotations

import json
import os
import re
import select
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TextIO

SHORT_S = 30.0
QUIET_S = 60.0  # after so long without news the line says so
IDLE = 5.0  # percent of one core: less is called idle
RESUMED = "resumed: an interrupted run left finished parts"  # in place of where a forecast comes from
LEAST = 20  # letters of what goes on that a narrow terminal shows, if it can
# What News.text says: how long nothing was heard, what goes on, the time left, a note behind it.
_TEXT = re.compile(
    r"(?P<quiet>no news for .*?; last: )?(?P<doing>.*?)(?:(?P<left>, [\d:]+ left)(?P<note>, .*)?)?", re.DOTALL
)


@dataclass(frozen=True)
class Outcome:
    """How a stage's run ended; `peak_bytes`: memory of its whole process tree."""

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


def unread(stream: TextIO) -> bool:
    """Is this a pipe that nobody reads any more? A BrokenPipeError may also be another pipe's."""
    try:
        descriptor = stream.fileno()
    except (OSError, ValueError):  # no file, as in a test
        return False
    if not hasattr(select, "poll"):  # Windows
        return True
    poll = select.poll()
    poll.register(descriptor, 0)  # an end that went away is always told
    return any(state & (select.POLLERR | select.POLLHUP) for _, state in poll.poll(0))


class Pace:
    """How much longer than expected the stages took that this run finished so far. One of less than half a
    minute does not count: it is mostly start-up."""

    def __init__(self) -> None:
        self.expected = self.took = 0.0

    def add(self, expected: float | None, took: float) -> None:
        """A whole stage is done (seconds); `expected` before any correction, None if nothing was known."""
        if expected and expected >= SHORT_S:
            self.expected, self.took = self.expected + expected, self.took + took

    @property
    def factor(self) -> float:
        """1.3: so far everything took 1.3 times as long as expected."""
        return self.took / self.expected if self.expected and self.took else 1.0

    def words(self) -> str:
        """The correction in words; "" for one below a tenth."""
        return "" if 1 / 1.1 < self.factor < 1.1 else f"times {self.factor:.2g} as the finished stages took"


def outlook(expected: Sequence[float | None], pace: Pace) -> str:
    """What the stages that are left will take together, corrected by the finished ones; "" where it is not
    known of any, or only one is left, whose own line says it."""
    # One stage has a line of its own, and without any expectation there is nothing to say.
    known = [seconds for seconds in expected if seconds is not None]
    if not known or len(expected) < 2:
        return ""
    text = f"{len(expected)} stages left, expected ~{clock(sum(known) * pace.factor)} in all"
    if unknown := len(expected) - len(known):
        text += f" without {unknown} of unknown length"
    return ", ".join(filter(None, [text, pace.words()]))


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
        # The step inside a cell says more than the cell; before either the kernel starts.
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

    `expected`: seconds, or None where nothing is known; once it is over, the line says that the stage is
    slower. `origin`: where that number comes from, "" for an earlier run on this machine.
    """

    def __init__(
        self, stage: str, expected: float | None, stream: TextIO, every: float = 60.0, origin: str = ""
    ) -> None:
        self.stage, self.stream, self.every = stage, stream, every
        self.limit = float("inf") if expected is None else int(expected) + 1
        self.expected = f"~{clock(expected)}" if expected is not None else "?"
        self.live, self.next_print, self.width = stream.isatty(), every, 0
        if not self.live:
            source = f", {origin}" if origin else ""
            print(f"{stage}  started, expected {self.expected}{source}", file=stream, flush=True)
        elif origin == RESUMED:
            self.expected += " resumed"
        elif origin:
            self.expected += " scaled" if expected is not None else ""

    def update(self, seconds: float, size: int, text: str) -> None:
        """Show where the stage stands."""
        times, late = f"{clock(seconds)} / {self.expected}", seconds >= self.limit
        if self.live:
            slow = ", slower than expected" if late else ""
            width = max(20, _columns(self.stream) - 1)
            self._rewrite(fitted(f"{self.stage}  {times}", slow, gib(size), text, width))
        elif seconds >= self.next_print:
            self.next_print = seconds + self.every
            if late:
                times = f"expected {self.expected}, now {clock(seconds)}: slower than expected"
            print(f"{self.stage}  {times}  {gib(size)}  {text}".rstrip(), file=self.stream, flush=True)

    def close(self, outcome: Outcome) -> None:
        """The stage's last line."""
        word = "done" if outcome.ok else "FAILED"
        line = f"{self.stage}  {word} in {clock(outcome.seconds)}, peak {gib(outcome.peak_bytes)}"
        if self.live:
            self._rewrite(line[: max(20, _columns(self.stream) - 1)])
            self.stream.write("\n")
        else:
            print(line, file=self.stream, flush=True)

    def _rewrite(self, line: str) -> None:
        self.stream.write("\r" + line.ljust(self.width))
        self.stream.flush()
        self.width = len(line)


def fitted(start: str, slow: str, memory: str, text: str, width: int) -> str:
    """The line of a terminal `width` wide: `start` (stage and times) and the time left always show. What goes
    on is shortened in its middle; where that would leave too little of it, the note behind the time left goes
    first, then the longer words of `slow`, then the memory.

    >>> fitted("02_pretrain  03:12 / ~11:40", "", "1.3 GiB", "student_vanilla: step 9/99, 01:05 left", 70)
    '02_pretrain  03:12 / ~11:40  1.3 GiB  student_v… step 9/99, 01:05 left'
    """
    parts = {name: part or "" for name, part in _TEXT.fullmatch(text).groupdict().items()}
    quiet, doing, left, note = parts["quiet"], parts["doing"], parts["left"], parts["note"]
    short = slow.removesuffix(" than expected")
    for words, size, last in ((slow, memory, note), (slow, memory, ""), (short, memory, ""), (short, "", "")):
        before = "  ".join(filter(None, [start + words, size])) + "  " + quiet
        room = width - len(before) - len(left + last)
        if room >= min(len(doing), LEAST):
            break
    return (before + _shortened(doing, max(room, 0)) + left + last).rstrip()[:width]


def _shortened(text: str, room: int) -> str:
    """`text` with its middle left out, which holds its beginning and its count."""
    if len(text) <= room:
        return text
    end = room // 2
    return f"{text[: room - end - 1]}…{text[len(text) - end :]}" if room > 2 else ""


def _columns(stream: TextIO) -> int:
    try:
        return os.get_terminal_size(stream.fileno()).columns or 100
    except (OSError, ValueError):
        return 100
