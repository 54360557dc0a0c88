"""Scores of answers to the questions of reasoning-gym, by that library's own functions (notebooks 04-07).

    score(task.entry, "7")                        # Score(value=1.0, detail="")
    said("<answer>7</answer>", number=True)       # "7"

The library is trusted, an answer is hostile text. So its functions run in a process of their own
(`gym_worker.py`), with a limit of processor time and memory for each answer. An answer that makes them raise,
give no number from 0 to 1, run on or crash is worth 0, and `detail` says which. Tasks whose functions would
*execute* an answer are refused before (`nbkit.tasks.gym.LEFT_OUT`): no process of this kind confines code.
"""

import contextlib
import importlib.metadata
import importlib.util
import json
import os
import re
import signal
import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path

from nbkit.text.chat import behind_label, split_thought
from nbkit.verify.answers.extract.answer import extract_answer
from nbkit.verify.errors import GraderError
from nbkit.verify.gym_worker import resource
from nbkit.verify.jail import keeper

PACKAGE = "reasoning-gym==0.1.25"
MOST_CHARACTERS = 20_000  # of an answer; the longest that the library wants has some hundred
_WORKER = Path(__file__).with_name("gym_worker.py")
_TAG = re.compile(r"<(/?)answer>", re.IGNORECASE)
_NUMBER = re.compile(r"[-+]?[\d,]*\.?\d+")
_OUTSIDE = ("SIGKILL", "SIGTERM", "SIGINT", "SIGHUP")  # someone else ended it


@dataclass(frozen=True)
class Score:
    """What the library gives for an answer: 1 right, less for near misses. `detail`: why it is 0 although
    nothing was compared, "" otherwise."""

    value: float
    detail: str = ""


def installed() -> bool:
    return importlib.util.find_spec("reasoning_gym") is not None


def require() -> None:
    """Raises ValueError, with the command that installs it, where the library is missing or another version:
    which of its tasks are safe to grade was looked up in this one."""
    name, wanted = PACKAGE.split("==")
    found = importlib.metadata.version(name) if installed() else ""
    if found != wanted:
        state = f"version {found} of {name} is installed" if found else f"the package {name} is not installed"
        raise ValueError(
            f"reasoning_gym: {state}, wanted {wanted} (the extra `gym`); run "
            f"`{sys.executable} -m pip install {PACKAGE}`, which builds one of its packages with a C compiler"
        )


def is_number(answer: str) -> bool:
    return _NUMBER.fullmatch(answer.strip()) is not None


def said(response: str, number: bool) -> str:
    """The answer that a response commits to: after the thought, inside the last <answer> tag, else behind
    "Answer:", else all of it. `number`: the wanted answer is a number, which may also stand in a box or in
    prose (docs/answers.md)."""
    rest = split_thought(response)[1]
    tagged, opened = None, -1
    for tag in _TAG.finditer(rest):  # one pass: a pattern for both tags would search anew for each
        if tag[1] and opened >= 0:
            tagged, opened = rest[opened : tag.start()].strip(), -1
        elif not tag[1]:
            opened = tag.end()
    if tagged is not None:
        return tagged
    return extract_answer(response) if number else behind_label(rest).strip()


class Grader:
    """A process that grades, started when the first answer comes, and anew after one that it did not survive.

    Args:
        cpu_s: seconds of processor time for one answer.
        wall_s: seconds by the clock, after which the process is ended in any case.
        memory_mb: MiB of address space of the process.
    """

    def __init__(self, cpu_s: int = 5, wall_s: float = 120.0, memory_mb: int = 4096) -> None:
        self.cpu_s, self.wall_s, self.memory_mb = cpu_s, wall_s, memory_mb
        self.forget()
        keeper.follow(self)

    def forget(self) -> None:
        """In a forked child: the process belongs to the parent."""
        self._lock, self._process = threading.RLock(), None

    def score(self, key: str, answer: str) -> Score:
        """The score of `answer`. `key`: the entry of a task as JSON, with its name and level. Raises
        ValueError without the library, GraderError where its process fails for reasons of its own."""
        require()
        if len(answer) > MOST_CHARACTERS:
            return Score(0.0, f"the answer has {len(answer)} characters, more than {MOST_CHARACTERS}")
        request = json.dumps(json.loads(key) | {"said": answer})
        with self._lock:
            try:
                line, late = self._asked(request)
            except BaseException:  # an interrupt: what the process says next would answer this request
                self.close()
                raise
            if line:
                told = json.loads(line)
                return Score(told["score"]) if "score" in told else Score(0.0, f"grading it: {told['error']}")
            return self._lost(late)

    def close(self) -> None:
        """End the process. Safe to repeat; a later answer starts another one."""
        with self._lock:
            process, self._process = self._process, None
            if process is not None:
                process.kill()
                process.wait()
                for pipe in (process.stdin, process.stdout):
                    with contextlib.suppress(OSError):
                        pipe.close()

    def _asked(self, request: str) -> tuple[str, bool]:
        """(the line that came back, "" where the process has ended; did the clock end it?)"""
        if self._process is None or self._process.poll() is not None:
            self.close()
            self._process = self._started()
        process, late = self._process, threading.Event()
        clock = threading.Timer(self.wall_s, lambda: (late.set(), process.kill()))
        clock.start()
        try:
            process.stdin.write(request + "\n")
            process.stdin.flush()
            return process.stdout.readline(), late.is_set()
        except BrokenPipeError:
            return "", late.is_set()
        finally:
            clock.cancel()

    def _started(self) -> subprocess.Popen:
        # -P: the folder of the file holds names of the standard library ("code").
        command = [sys.executable, "-P", str(_WORKER), str(self.cpu_s), str(self.memory_mb)]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
        environment = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        return subprocess.Popen(command, env=environment, text=True, **pipes)

    def _lost(self, late: bool) -> Score:
        """The process has ended: was it the answer?"""
        code = self._process.wait()
        self.close()
        name = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        if name == "SIGXCPU" or (late and resource is None):
            return Score(0.0, f"grading it took more than {self.cpu_s} s of processor time")
        if code < 0 and not late and name not in _OUTSIDE:
            return Score(0.0, f"grading it ended the grader's process ({name})")
        ended = f"it gave no answer in {self.wall_s:g} s" if late else name
        raise GraderError(f"the process that grades with {PACKAGE} failed: {ended}")


_GRADER = Grader()
score = _GRADER.score
