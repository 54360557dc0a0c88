"""The live line never lies: what it names, when it falls silent, which times it shows. Clocks are fake."""

from __future__ import annotations

import json
import sys
import threading

import pytest

from nbkit.models import training
from nbkit.pretrain import throughput
from nbkit.run import closure, progress


class Clock:
    """time.monotonic that moves by hand."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch) -> Clock:
    found = Clock()
    monkeypatch.setattr(progress.time, "monotonic", found)
    return found


@pytest.fixture
def line(tmp_path, monkeypatch, clock):
    """Reads the words, time left and note that the live line would see now."""
    monkeypatch.setenv(progress.VARIABLE, "")
    monkeypatch.setitem(progress._state, "target", None)
    monkeypatch.setitem(progress._state, "written", 0.0)
    path = tmp_path / ".progress"
    progress.report_to(path)

    def read() -> tuple[str, float | None, str]:
        said = json.loads(path.read_text())
        return said["text"], said["left"], said["note"]

    yield read
    progress.report_to(None)
    progress._parts.clear()


# --- the words ------------------------------------------------------------------------------------------


def test_words_of_nested_blocks_are_joined_and_go_with_their_block(line):
    assert line() == ("", None, "")
    with progress.doing("student_fg"):
        assert line()[0] == "student_fg"
        with progress.doing("saving the model"):
            assert line()[0] == "student_fg: saving the model"
        assert line()[0] == "student_fg", "a finished step clears its words at once"
    assert line()[0] == ""


def test_a_block_that_raises_clears_its_words(line):
    with pytest.raises(ZeroDivisionError), progress.doing("outer"), progress.doing("inner"):
        1 / 0  # noqa: B018
    assert line()[0] == ""


def test_each_names_the_item_at_work_and_an_early_end_clears_it(line, clock):
    for item in progress.each("abc", "grading"):
        clock.now += 1
        progress.note("")
        if item == "b":
            break
    assert line()[0] == ""
    shown = []
    for _ in progress.each(iter("ab"), "loading", 2):
        clock.now += 2
        progress._show(now=True)
        shown.append(line()[0])
    assert shown == ["loading 1/2", "loading 2/2"]


def test_a_decorated_function_and_one_that_calls_itself(line):
    depths = []

    @progress.doing("validating")
    def validate(depth: int) -> None:
        depths.append(line()[0])
        if depth:
            validate(depth - 1)

    validate(2)
    assert depths == ["validating"] * 3 and line()[0] == ""


def test_words_replace_each_other_and_a_cell_ends_them(line):
    progress.say("evaluating sft")
    with progress.doing("generating", 10):
        assert line()[0] == "evaluating sft: generating 0/10"
    assert line()[0] == "evaluating sft"
    progress.say("evaluating dpd")
    assert line()[0] == "evaluating dpd"
    progress.clear()  # what IPython calls after each cell
    assert line()[0] == ""


def test_counts_are_written_once_a_second_but_new_words_at_once(line, clock):
    with progress.doing("generating", 100) as part:
        for _ in range(50):
            part()
        assert line()[0] == "generating 0/100", "50 steps within one second: not written"
        clock.now += 1
        part()
        assert line()[0] == "generating 51/100"
        with progress.doing("saving"):
            assert line()[0] == "generating 51/100: saving"


def test_a_thread_shows_no_words_of_its_own_but_its_steps_are_news(line, clock, tmp_path):
    before = (tmp_path / ".progress").read_text()

    def work() -> None:
        with progress.doing("hidden", 3) as part:
            clock.now += 2
            part()

    with progress.doing("asking the endpoint", 3):
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        assert line()[0] == "asking the endpoint 0/3"
        assert (tmp_path / ".progress").read_text() != before


def test_of_several_training_processes_one_speaks(line, monkeypatch):
    monkeypatch.setenv("RANK", "1")
    with progress.doing("step", 3):
        assert line()[0] == ""
    monkeypatch.setenv("RANK", "0")
    with progress.doing("step", 3):
        assert line()[0] == "step 0/3"


@pytest.mark.parametrize("place", ["gone/.progress", "file/.progress"])
def test_words_that_cannot_be_written_stop_nothing(tmp_path, monkeypatch, place):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv(progress.VARIABLE, str(tmp_path / place))
    with progress.doing("saving"):
        pass
    progress.say("")


def test_outside_a_run_nothing_is_written(tmp_path, monkeypatch):
    monkeypatch.delenv(progress.VARIABLE, raising=False)
    monkeypatch.setitem(progress._state, "target", None)
    monkeypatch.chdir(tmp_path)
    for _ in progress.each([1], "loading"):
        pass
    assert not list(tmp_path.iterdir())


def test_slow_imports_are_named_and_only_the_outermost(line, tmp_path, monkeypatch):
    package = tmp_path / "nbkit_slow_example"
    package.mkdir()
    seen = "from nbkit.run import progress\nseen = [str(p) for p in progress._parts]\n"
    (package / "inner.py").write_text(seen)
    (package / "__init__.py").write_text(seen + "from . import inner\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(progress, "_SLOW", {"nbkit_slow_example"})
    monkeypatch.setattr(sys, "meta_path", [progress._Imports(), *sys.meta_path])
    import nbkit_slow_example  # noqa: PLC0415 (made by this test)

    assert nbkit_slow_example.seen == nbkit_slow_example.inner.seen == ["importing nbkit_slow_example"]
    assert line()[0] == ""


# --- time left ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("marks", "now", "total", "left"),
    [
        ([], 0, 10, None),
        ([(0, 1)], 5, 10, None),  # one mark is no speed
        ([(0, 0), (10, 5)], 10, 20, 30),  # 15 left at 0.5 a second
        ([(0, 0), (10, 5)], 22, 20, 18),  # of these 12 seconds went by since
        ([(0, 0), (10, 5)], 40, 20, None),  # over: nothing is known any more
        ([(0, 0), (10, 5)], 39.5, 20, None),  # half a second is not "0:00 left"
        ([(0, 0), (10, 10)], 10, 10, None),  # all done, whatever goes on now
        ([(0, 3), (50, 3)], 50, 10, None),  # it did not grow
        ([(0, 0), (10, 10), (70, 16), (100, 19), (130, 22)], 130, 28, 60),  # the recent minute counts
        ([(0, 0), (300, 1), (600, 2)], 600, 4, 600),  # three marks are kept, however slow
    ],
)
def test_time_left_follows_the_recent_speed(marks, now, total, left):
    speed = progress.Speed()
    for mark in marks:
        speed.add(*mark)
    assert speed.left(now, total) == (left if left is None else pytest.approx(left))


def test_the_outer_count_covers_what_is_inside(line, clock):
    with progress.doing("step", 10) as outer:
        for number in (1, 2, 3):
            clock.now += 10
            outer.at(number)
        progress.note("1,200 tok/s")
        assert line() == ("step 3/10", 70, "1,200 tok/s")
        with progress.doing("generating", 4) as inner:
            for number in (1, 2):
                clock.now += 2
                inner.at(number)
            assert line() == ("step 3/10: generating 2/4", 66, "1,200 tok/s"), "4 of the 70 seconds went by"
    assert line() == ("", None, "")


# --- which code reports ---------------------------------------------------------------------------------


def test_no_trainer_shows_a_finished_count_while_it_does_something_else(line, clock):
    """What the issue saw: "student_fg 1465/1465 0:00:00 left" while the peak was measured."""

    class Stopped(Exception):
        pass

    class Trainer:
        class args:  # noqa: N801
            max_steps = 3

        class state:  # noqa: N801
            log_history: list = []
            global_step = 0

        def remove_callback(self, kind):
            pass

        def add_callback(self, callback):
            self.callback = callback

        def train(self):
            for step in range(3):
                self.state.global_step = step
                clock.now += 5
                self.callback.on_step_begin(self.args, self.state, None)
            seen.append(line())

    seen: list = []
    with progress.doing("student_fg"):
        training.run_training(Trainer(), "student_fg")
        seen.append(line())

        def product(*_):
            seen.append(line())
            raise Stopped

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(throughput, "_product_seconds", product)
            with pytest.raises(Stopped):
                throughput.matmul_peak("cpu", "no dtype")
    assert seen[0] == ("student_fg: step 3/3", None, "")
    assert seen[1:] == [
        ("student_fg", None, ""),
        ("student_fg: measuring the machine's matrix products", None, ""),
    ]


# --- expected times -------------------------------------------------------------------------------------


def test_nothing_of_the_live_line_changes_a_fingerprint():
    assert closure.DISPLAY == ("run/progress.py",)
