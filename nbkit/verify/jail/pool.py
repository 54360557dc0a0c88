"""Several jails at once: a pool of warm workers for threads and for asyncio (06, 07, benchmarks).

    with JailPool(workers=2) as pool:
        pool.map(grade, [(code, "add", calls) for code in programs])  # verdicts, in order
        await pool.do(grade, code, "add", calls)  # the same inside an event loop, such as TRL's async rewards

A function gets a free Jail as its first argument. The pool itself has the methods of a Jail, for code that
knows only one.
"""

import asyncio
import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Self, TypeVar

from nbkit.verify.jail import keeper
from nbkit.verify.jail.jail import Jail
from nbkit.verify.jail.results import JailResult

Result = TypeVar("Result")


class JailPool:
    """`workers` jails (default: one per core), each with the settings of `Jail`. Raises ValueError for less
    than one."""

    def __init__(self, workers: int | None = None, **settings) -> None:
        workers = (os.cpu_count() or 1) if workers is None else workers
        if workers < 1:
            raise ValueError(f"JailPool workers={workers}: wanted 1 or more")
        self._jails = [Jail(**settings) for _ in range(workers)]
        self._closed = False
        self.forget()
        keeper.follow(self)

    def forget(self) -> None:
        """Nobody has borrowed a jail, no thread runs: at the start, and in a forked child."""
        self._free, self._change = deque(self._jails), threading.Condition()
        self._threads = ThreadPoolExecutor(len(self._jails), thread_name_prefix="jail")

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *exc: object) -> None:
        self.close()

    @property
    def tier(self) -> str:
        return self._jails[0].tier

    def start(self) -> Self:
        """Start every worker. Raises SandboxUnavailable."""
        self._refuse_if_closed()
        list(self._threads.map(Jail.start, self._jails))
        return self

    def close(self) -> None:
        """End the workers. What runs in the pool's own threads is finished; whoever waits for a jail, or
        wants another job of one, gets a RuntimeError. A closed pool stays closed."""
        with self._change:
            self._closed = True
            self._change.notify_all()
        try:
            self._threads.shutdown()
        finally:
            for jail in self._jails:
                jail.retire()

    def _refuse_if_closed(self) -> None:
        if self._closed:
            raise RuntimeError("this JailPool is closed; make another one")

    def lend(self, function: Callable[..., Result], *args) -> Result:
        """`function(jail, *args)` with a free jail, in this thread."""
        jail = None
        try:
            # A free jail is taken under the lock, and given back whatever happens to the function.
            with self._change:
                while not (self._free or self._closed):
                    self._change.wait()
                self._refuse_if_closed()
                jail = self._free[0]
                self._free.popleft()
            return function(jail, *args)
        finally:
            with self._change:
                if jail is not None and jail not in self._free:  # an interrupt may have come before it went
                    self._free.append(jail)
                    self._change.notify()

    def map(self, function: Callable[..., Result], rows: Iterable[Sequence]) -> list[Result]:
        """`function(jail, *row)` for every row, several at once; results in the order of the rows."""
        self._refuse_if_closed()
        return list(self._threads.map(lambda row: self.lend(function, *row), rows))

    async def do(self, function: Callable[..., Result], *args) -> Result:
        """`function(jail, *args)` without blocking the event loop."""
        self._refuse_if_closed()
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, self.lend, function, *args)

    def sibling(self, math: bool = False) -> Jail:
        """One jail of that kind, shared by all who ask here; what `lend`, `map` and `do` run has its own."""
        return self._jails[0].sibling(math)

    def call(
        self, code: str, entry: str, args_list: Sequence[Sequence | str], output_bytes: int = 0
    ) -> JailResult:
        return self.lend(Jail.call, code, entry, args_list, output_bytes)

    def run(self, code: str, stdin: str = "", output_bytes: int = 0) -> JailResult:
        return self.lend(Jail.run, code, stdin, output_bytes)

    def check(self, code: str, entry: str, test: str) -> JailResult:
        return self.lend(Jail.check, code, entry, test)

    def eval(self, expression: str) -> JailResult:
        return self.lend(Jail.eval, expression)
