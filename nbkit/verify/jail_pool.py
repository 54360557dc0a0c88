"""Several jails at once: a pool of warm workers for threads and for asyncio (06, 07, benchmarks).

    with JailPool(workers=2) as pool:
        pool.map(grade, [(code, "add", calls) for code in programs])  # verdicts, in order
        await pool.do(grade, code, "add", calls)  # the same inside an event loop, such as TRL's async rewards

A function gets a free Jail as its first argument. The pool itself has the methods of a Jail, for code that
knows only one.
"""

import asyncio
import os
import queue
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Self, TypeVar

from .jail import Jail, JailResult

Result = TypeVar("Result")


class JailPool:
    """`workers` jails (default: one per core), each with the settings of `Jail`. Raises ValueError for less
    than one."""

    def __init__(self, workers: int | None = None, **settings) -> None:
        workers = (os.cpu_count() or 1) if workers is None else workers
        if workers < 1:
            raise ValueError(f"JailPool workers={workers}: wanted 1 or more")
        self._jails = [Jail(**settings) for _ in range(workers)]
        self._free: queue.SimpleQueue[Jail] = queue.SimpleQueue()
        for jail in self._jails:
            self._free.put(jail)
        self._threads = ThreadPoolExecutor(workers, thread_name_prefix="jail")
        self._closed = False

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *exc: object) -> None:
        self.close()

    @property
    def tier(self) -> str:
        return self._jails[0].tier

    def start(self) -> Self:
        """Start every worker. Raises SandboxUnavailable."""
        list(self._threads.map(Jail.start, self._jails))
        return self

    def close(self) -> None:
        """End the workers; jobs that wait are dropped. A closed pool stays closed."""
        self._closed = True
        self._threads.shutdown(cancel_futures=True)
        for jail in self._jails:
            jail.close()

    def lend(self, function: Callable[..., Result], *args) -> Result:
        """`function(jail, *args)` with a free jail, in this thread."""
        if self._closed:
            raise RuntimeError("this JailPool is closed; make another one")
        jail = self._free.get()
        try:
            return function(jail, *args)
        finally:
            self._free.put(jail)

    def map(self, function: Callable[..., Result], rows: Iterable[Sequence]) -> list[Result]:
        """`function(jail, *row)` for every row, several at once; results in the order of the rows."""
        return list(self._threads.map(lambda row: self.lend(function, *row), rows))

    async def do(self, function: Callable[..., Result], *args) -> Result:
        """`function(jail, *args)` without blocking the event loop."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, self.lend, function, *args)

    def sibling(self, math: bool = False) -> Jail:
        """One jail of that kind, shared by all who ask here; what `lend`, `map` and `do` run has its own."""
        return self._jails[0].sibling(math)

    def call(
        self, code: str, entry: str, args_list: Sequence[Sequence | str], output_bytes: int = 0
    ) -> JailResult:
        return self.lend(Jail.call, code, entry, args_list, output_bytes)

    def run(self, code: str, stdin: str = "") -> JailResult:
        return self.lend(Jail.run, code, stdin)

    def check(self, code: str, entry: str, test: str) -> JailResult:
        return self.lend(Jail.check, code, entry, test)

    def eval(self, expression: str) -> JailResult:
        return self.lend(Jail.eval, expression)
