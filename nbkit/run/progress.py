"""What the live line of `nbkit run` shows: one place where any code says what happens now.

    progress.say("loading the pools")                       # until the next words, or the end of the cell
    with progress.doing("grading", total=300) as part:      # at its end the words before it come back
        for answer in answers:
            part()
    for document in progress.each(documents, "near-duplicates"):
    @progress.doing("training the tokenizer")               # a whole function

Words of blocks inside each other are joined: "student_fg: step 12/90: validating". They go to the file
`.progress` of the run folder, which `nbkit run` reads; outside a run they go nowhere. They are for the eye
only: what cannot be written is lost, and no run fails for it.
"""

from __future__ import annotations

import contextlib
import importlib.abc
import importlib.machinery
import json
import os
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nbkit.run import files

FILE = ".progress"
CELL = ".cell"  # beside it: what the executor says of the cell that runs
VARIABLE = "NBKIT_PROGRESS"  # the file, for the training processes that a notebook starts
_EVERY = 1.0  # seconds between two writes, unless the words change
_SAY_RESUMED = 90.0  # seconds
_WINDOW = 60.0  # seconds of the past that the speed is taken from
_SLOW = {"datasets", "matplotlib", "nbkit", "pandas", "scipy", "sklearn", "torch", "transformers", "trl"}


class Speed:
    """How fast a count grew lately, and the time that is left at that speed."""

    def __init__(self, window: float = _WINDOW) -> None:
        self.window = window
        self.marks: deque[tuple[float, int]] = deque()

    def add(self, now: float, done: int) -> None:
        """Note that `done` are done at `now` (seconds); marks within a second of the last are left out."""
        if self.marks and now - self.marks[-1][0] < _EVERY:
            return
        self.marks.append((now, done))
        # Old marks go, but for one before the window: the speed covers the whole of it.
        while len(self.marks) > 3 and self.marks[1][0] <= now - self.window:
            self.marks.popleft()

    def left(self, now: float, total: int) -> float | None:
        """Seconds until `total` are done. None where nothing can be said: the count did not grow yet, all is
        done, or the time that was left is over."""
        if len(self.marks) < 2:
            return None
        # From the oldest mark to the newest, less the time since then.
        (start, first), (end, last) = self.marks[0], self.marks[-1]
        if last <= first or last >= total:
            return None
        rest = (total - last) * (end - start) / (last - first) - (now - end)
        return rest if rest >= 1 else None


@dataclass
class Part:
    """One thing that is going on, of `total` steps if it is counted. Call it after each step."""

    text: str
    total: int | None = None
    done: int = 0
    note: str = ""
    speed: Speed = field(default_factory=Speed)
    resumed: tuple[float, int] | None = None  # when this work went on, and how many steps were done before

    def __call__(self, steps: int = 1) -> None:
        """`steps` more are done; 0 only says that work goes on."""
        self.at(self.done + steps)

    def at(self, done: int) -> None:
        """So many are done, or this one is at work."""
        self.done = done
        self.speed.add(time.monotonic(), done)
        _show(now=False)

    def resume(self, done: int) -> None:
        """So many were done by an earlier run, which this one goes on from. The words say it for long enough
        to be seen in a log, which gets one line a minute; the speed counts from here."""
        self.done, self.resumed = done, (time.monotonic(), done)
        _show(now=True)

    def rename(self, text: str) -> None:
        """The same block now does something else."""
        self.text = text
        _show(now=True)

    def __str__(self) -> str:
        if self.total is None:
            return self.text
        if self.resumed is not None and time.monotonic() - self.resumed[0] < _SAY_RESUMED:
            return f"resumed at {self.text} {self.resumed[1]} of {self.total}, now {self.done}"
        return f"{self.text} {self.done}/{self.total}"


_parts: list[Part] = []
_state: dict[str, Any] = {"written": 0.0, "number": 0, "target": None}


def report_to(path: Path | None) -> None:
    """Write to this file from now on, here and in the processes started from here; None: to no file."""
    _state["target"] = path
    if path is None:
        os.environ.pop(VARIABLE, None)
        return
    os.environ[VARIABLE] = str(path)
    _watch_cells()
    clear()


def say(text: str) -> None:
    """Show `text` until something else is said or the notebook's cell ends; "" shows nothing."""
    if _is_main():
        _parts[:] = [Part(text)] if text else []
        _show(now=True)


def clear(*_: Any) -> None:
    """Nothing that was said holds any more."""
    say("")


def note(text: str) -> None:
    """Show `text` behind what goes on and the time left, such as tokens per second; "" for nothing."""
    if _parts and _is_main() and _parts[-1].note != text:
        starts = not (_parts[-1].note and text)
        _parts[-1].note = text
        _show(now=starts)


@contextlib.contextmanager
def doing(text: str, total: int | None = None) -> Iterator[Part]:
    """Show `text` while the block runs, with a count up to `total` and the time left, if it is counted.

    Also a decorator of a function. In other threads than the main one the words are not shown, but a step
    there still is news of what the main one does.
    """
    part = Part(text, total)
    if not _is_main():
        yield part
        return
    # A function that calls itself shows one block, not one inside the other.
    if _parts and _parts[-1].text == text and _parts[-1].total == total:  # a function that calls itself
        yield _parts[-1]
        return
    place = len(_parts)
    _parts.append(part)
    _show(now=True)
    try:
        yield part
    finally:
        if place < len(_parts) and _parts[place] is part:  # not cleared meanwhile
            del _parts[place:]
            _show(now=True)


def each(items: Iterable[Any], text: str, total: int | None = None) -> Iterator[Any]:
    """The items, while "text 3/40" shows which of them is at work."""
    if total is None and isinstance(items, Collection):
        total = len(items)
    with doing(text, total) as part:
        for number, item in enumerate(items, 1):
            part.at(number)
            yield item


def words_of(path: Path) -> str:
    """What another process says in its file, with the time it has left; "starting" before its first word."""
    try:
        said = files.read_json(path)
    except (OSError, ValueError):
        return "starting"
    left = said.get("left")
    return said["text"] + (f" ({left // 60}:{left % 60:02d} left)" if left else "")


def _is_main() -> bool:
    return threading.current_thread() is threading.main_thread()


def _show(now: bool) -> None:
    """Write what goes on: at once where the words changed, else at most once a second."""
    moment = time.monotonic()
    target = _state["target"] or os.environ.get(VARIABLE)
    if not target or (not now and moment - _state["written"] < _EVERY):
        return
    if os.environ.get("RANK", "0") != "0":  # of several training processes, one speaks
        return
    _state["written"], _state["number"] = moment, _state["number"] + 1
    text = " ".join(": ".join(map(str, _parts)).split())[:200]
    lefts = (part.speed.left(moment, part.total) for part in _parts if part.total)
    left = next((found for found in lefts if found is not None), None)  # the outermost covers the others
    note = next((part.note for part in reversed(_parts) if part.note), "")
    content = {"number": _state["number"], "text": text, "left": left and round(left), "note": note}
    with contextlib.suppress(OSError):
        files.replace_text(Path(target), json.dumps(content))


def _watch_cells() -> None:
    """In a notebook: a cell's words end with it, and slow imports are shown."""
    if "IPython" not in sys.modules or _state.get("watching"):
        return
    from IPython import get_ipython  # noqa: PLC0415 (a plain process has none)

    if (shell := get_ipython()) is not None:
        _state["watching"] = True
        shell.events.register("post_run_cell", clear)
        sys.meta_path.insert(0, _Imports())


class _Imports(importlib.abc.MetaPathFinder):
    """Shows "importing torch" while the outermost import of a slow package runs."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        package = name.partition(".")[0]
        if package not in _SLOW or any(p.text.startswith("importing ") for p in _parts):
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path, target)
        run: Callable[[Any], None] | None = getattr(spec and spec.loader, "exec_module", None)
        if run is None:
            return None

        # The import goes on as ever; only running the module is wrapped in words.
        def shown(module: Any) -> None:
            with doing(f"importing {name if package == 'nbkit' else package}"):
                run(module)

        spec.loader.exec_module = shown
        return spec
