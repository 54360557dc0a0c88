"""The thread that starts and ends the processes of all jails here, and what a fork has to forget.

    keeper.do(start_a_process)  # runs there; returns what it returns, raises what it raises
    keeper.follow(jail)         # jail.forget() is called in every forked child

A thread of its own, for two reasons. Linux ends a child together with the *thread* that started it (that is
what PR_SET_PDEATHSIG and bubblewrap's --die-with-parent mean by parent): this one lasts as long as the
process, so a jail outlives the thread that opened it and dies with the process. And an interrupt is raised
in the main thread alone: what runs here is never cut in half, so no process and no descriptor is lost.
"""

import os
import queue
import sys
import threading
import weakref
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

Result = TypeVar("Result")


class _Keeper:
    def __init__(self) -> None:
        self.todo: queue.SimpleQueue[tuple[Callable, Future]] = queue.SimpleQueue()
        self.thread = threading.Thread(target=self._work, name="jail-keeper", daemon=True)
        self.thread.start()

    def _work(self) -> None:
        while True:
            work, future = self.todo.get()
            try:
                future.set_result(work())
            except BaseException as error:
                future.set_exception(error)
            del work, future  # it may wait for hours, and must keep nothing alive meanwhile


_keepers: dict[int, _Keeper] = {}  # by process: a forked child needs one of its own
_followers: weakref.WeakSet = weakref.WeakSet()


def do(work: Callable[[], Result]) -> Result:
    """`work()`, run by the keeper. Interrupted while it waits, the caller leaves, but the work is done to its
    end; works follow one another in the order in which they were asked for."""
    if sys.is_finalizing():  # other threads no longer run
        return work()
    # No lock: an interrupt could leave it locked. At worst a second thread is made, and then waits for ever.
    keeper = _keepers.get(os.getpid()) or _keepers.setdefault(os.getpid(), _Keeper())
    if threading.current_thread() is keeper.thread:
        return work()
    future: Future = Future()
    keeper.todo.put((work, future))
    return future.result()


def follow(owner: object) -> None:
    """Have `owner.forget()` called in every forked child: it holds locks, threads or descriptors that belong
    to the parent."""
    _followers.add(owner)


def _forget() -> None:
    _keepers.clear()
    for owner in list(_followers):
        owner.forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
