"""An interrupt at any moment of a job leaves a usable jail, and nothing behind."""

import os
import sys

import pytest
from jail_scripts import VERIFY, wait
from test_jail_processes import ADD, FIVE, HANG, LINUX, TIERS, add, descriptors, family, nothing_left

from nbkit.verify import Jail
from nbkit.verify.jail import canary, link, wasm


@pytest.fixture
def quick(monkeypatch):
    """No self-tests: these tests start many workers."""
    monkeypatch.setattr(canary, "jobs", lambda *_: [])


class Interrupts:
    """A KeyboardInterrupt before the `number`-th line that the jail's own modules run in this thread."""

    def __init__(self, number):
        self.left, self.folder = number, str(VERIFY)

    def __call__(self, frame, event, _):
        if not frame.f_code.co_filename.startswith(f"{self.folder}{os.sep}jail"):
            return None
        if event == "line":
            self.left -= 1
            if self.left == 0:
                raise KeyboardInterrupt
        return self

    def __enter__(self):
        sys.settrace(self)
        return self

    def __exit__(self, *exc):
        sys.settrace(None)


def test_fifty_interrupts_leave_no_descriptor_and_no_process(quick):
    """One in each part of a job with standard input and output, or of the start of the next worker."""
    with nothing_left(), Jail(tier=LINUX[-1]) as jail:
        with Interrupts(10**9) as trace:
            assert jail.run("print(input())", "x").values == ["x\n"]
        lines = 10**9 - trace.left
        processes, fds, hit = len(family()), descriptors(), 0
        for number in range(50):
            try:
                with Interrupts(1 + number * lines // 50):
                    jail.run("print(input())", "x")
            except KeyboardInterrupt:
                hit += 1
        assert hit >= 45
        assert jail.run("print(input())", "x").values == ["x\n"]
        wait(lambda: len(family()) <= processes)
        assert descriptors() == fds


def interrupt(*_):
    raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("tier", "place"), [*((tier, "receive") for tier in TIERS), (LINUX[-1], "begin"), (LINUX[-1], "end")]
)
def test_an_interrupt_in_any_part_of_a_job_is_followed_by_right_answers(tier, place, quick, monkeypatch):
    jobs = (wasm.WasmJob, link.ForkJob)
    with nothing_left(), Jail(tier=tier) as jail:
        for use in (lambda j: j.run("print(5)"), lambda j: j.check(ADD, "add", "def check(c): c(1, 2)")):
            with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
                for job in jobs:
                    patch.setattr(job, place, interrupt)
                use(jail)
        assert add(jail) == FIVE


def test_an_interrupt_of_the_clean_up_is_made_good(quick, monkeypatch):
    """A second Ctrl-C, while the first one's is being handled: the worker stays, in the middle of a job."""
    with nothing_left(), Jail(tier=LINUX[-1]) as jail:
        add(jail)
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(link.ForkJob, "receive", interrupt)
            patch.setattr(Jail, "_stop", interrupt)
            jail.call(HANG, "f", [[]])
        assert [add(jail) for _ in range(3)] == [FIVE] * 3
