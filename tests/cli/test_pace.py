"""Expected times that turn out wrong are corrected, and a resumed training says so. Clocks are fake."""

from __future__ import annotations

import io
import json
from types import SimpleNamespace

import pytest

from nbkit.cli import live, planning, runner
from nbkit.models.training import run_training
from nbkit.run import files, progress

BY_HALF = "times 1.5 as the finished stages took"

# --- a stage that takes longer --------------------------------------------------------------------------


def shown(seconds: float, expected: float | None, terminal: bool, origin: str = "") -> str:
    """What the line of a stage says after so many seconds."""
    stream = io.StringIO()
    stream.isatty = lambda: terminal
    line = live.Line("02_pretrain", expected, stream, origin=origin)
    stream.truncate(stream.seek(0))
    line.update(seconds, 2**30, "step 3/40")
    return stream.getvalue().strip()


@pytest.mark.parametrize(
    ("seconds", "expected", "times"),
    [
        (119, 120, "01:59 / ~02:00"),
        (120.9, 120.5, "02:00 / ~02:00"),
        (121, 120.5, "expected ~02:00, now 02:01: slower than expected"),
        (160, 120, "expected ~02:00, now 02:40: slower than expected"),
        (7200, 60, "expected ~01:00, now 2:00:00: slower than expected"),
        (90, 0, "expected ~00:00, now 01:30: slower than expected"),
        (7200, None, "2:00:00 / ?"),
    ],
)
def test_a_log_says_that_a_stage_is_slower_than_expected(seconds, expected, times):
    assert shown(max(seconds, 60), expected, False) == f"02_pretrain  {times}  1.0 GiB  step 3/40"


def test_a_terminal_says_it_shorter():
    assert shown(160, 120, True) == "02_pretrain  02:40 / ~02:00, slower than expected  1.0 GiB  step 3/40"
    scaled = shown(160, 120, True, "scaled from a faster machine")
    assert "02:40 / ~02:00 scaled, slower than expected  1.0 GiB" in scaled


# --- the stages that are left ---------------------------------------------------------------------------


def pace(*finished: tuple[float | None, float]) -> live.Pace:
    found = live.Pace()
    for expected, took in finished:
        found.add(expected, took)
    return found


@pytest.mark.parametrize(
    ("finished", "factor", "words"),
    [
        ([], 1.0, ""),
        ([(None, 500.0)], 1.0, ""),
        ([(0.0, 500.0)], 1.0, ""),
        ([(100.0, 105.0)], 1.05, ""),
        ([(100.0, 130.0)], 1.3, "times 1.3 as the finished stages took"),
        ([(50.0, 90.0), (950.0, 910.0)], 1.0, ""),  # a short stage weighs little
        ([(10.0, 90.0)], 1.0, ""),  # and a very short one nothing
        ([(100.0, 50.0), (100.0, 50.0)], 0.5, "times 0.5 as the finished stages took"),
        ([(None, 9.0), (60.0, 120.0)], 2.0, "times 2 as the finished stages took"),
    ],
)
def test_the_pace_is_that_of_all_finished_stages_together(finished, factor, words):
    assert pace(*finished).factor == pytest.approx(factor) and pace(*finished).words() == words


@pytest.mark.parametrize(
    ("expected", "finished", "text"),
    [
        ([60, 120, 300], [], "3 stages left, expected ~08:00 in all"),
        (
            [120, 300],
            [(60, 90)],
            f"2 stages left, expected ~10:30 in all, {BY_HALF}",
        ),
        ([120, None, 60], [], "3 stages left, expected ~03:00 in all without 1 of unknown length"),
        ([None, None], [(60, 90)], ""),
        ([300], [(60, 90)], ""),
        ([], [], ""),
    ],
)
def test_the_outlook_is_scaled_by_what_finished_stages_took(expected, finished, text):
    assert live.outlook(expected, pace(*finished)) == text


@pytest.fixture
def fake_stages(project, monkeypatch):
    """Stages that do nothing: each took what the list says; expected of each are 100 seconds."""
    took: list[float] = []

    class Process:
        returncode = 0

        def __init__(self, command, **_):
            self.folder = (project / "outputs/tiny" / command[4].rpartition("/")[2]).with_suffix("")
            (self.folder / "_SUCCESS").write_text("")

    monkeypatch.setattr(runner, "_watch", lambda process, folder, update: (took.pop(0), 2**20))
    monkeypatch.setattr(runner.subprocess, "Popen", Process)
    for stage in ("01_make", "02_use", "03_last"):
        files.write_json(project / "outputs/tiny" / stage / "resources.json", {"wall_s": 100.0})
    return took


def test_a_run_corrects_what_is_expected_of_the_next_stage(fake_stages, project):
    log, found = io.StringIO(), runner.Pace()
    fake_stages += [150.0, 250.0]
    assert runner.run_stage("tiny", "01_make", {}, log, found).ok
    assert runner.outlook("tiny", ["02_use", "03_last"], found, log).startswith(
        "2 stages left, expected ~05:00"
    )
    assert runner.run_stage("tiny", "02_use", {}, log, found).ok
    assert found.factor == pytest.approx(400 / 200), "of what was expected at first, uncorrected"
    assert log.getvalue().splitlines() == [
        "01_make  started, expected ~01:40",
        "01_make  done in 02:30, peak 0.0 GiB",
        f"02_use  started, expected ~02:30, {BY_HALF}",
        "02_use  done in 04:10, peak 0.0 GiB",
    ]


def test_a_stage_that_reused_steps_says_nothing_of_the_pace(fake_stages, project, monkeypatch):
    monkeypatch.setattr(runner.provenance, "load_manifest", lambda *_: ("complete", "", {"reused": ["pool"]}))
    fake_stages.append(3.0)
    found = runner.Pace()
    assert runner.run_stage("tiny", "01_make", {}, io.StringIO(), found).ok
    assert found.factor == 1.0
    assert files.read_json(project / "outputs/tiny/01_make/resources.json")["expected_s"] == 100.0


@pytest.mark.parametrize(
    "left", ["pool/_step.json", "sampled/0000500/_step.json", "training/student_fg/checkpoint-3"]
)
def test_an_interrupted_stage_gets_no_forecast(fake_stages, project, left):
    """A forecast is of a whole run: it would count the finished part again."""
    part = project / "outputs/tiny/02_use" / left
    part.parent.mkdir(parents=True)
    part.write_text("{}")
    log, found = io.StringIO(), runner.Pace()
    fake_stages.append(3.0)
    assert runner.outlook("tiny", ["02_use", "03_last"], found, log) == (
        "2 stages left, expected ~01:40 in all without 1 of unknown length"
    )
    assert runner.run_stage("tiny", "02_use", {}, log, found).ok
    first = "02_use  started, expected ?, resumed: an interrupted run left finished parts"
    assert log.getvalue().splitlines()[0] == first
    assert shown(5, None, True, live.RESUMED).startswith("02_pretrain  00:05 / ? resumed  1.0 GiB")
    # It ended well, so the next one, which begins anew, is expected to take what a whole one takes.
    assert not planning.resumed("tiny", "02_use")
    log = io.StringIO()
    fake_stages.append(3.0)
    runner.run_stage("tiny", "02_use", {}, log, runner.Pace())
    assert "started, expected ~" in log.getvalue()


# --- a training that goes on ----------------------------------------------------------------------------


@pytest.fixture
def clock(monkeypatch, tmp_path):
    """time.monotonic that moves by hand; `.said()` is the text and the time left on the live line."""
    found = SimpleNamespace(now=1000.0, said=lambda: None)
    monkeypatch.setattr(progress.time, "monotonic", lambda: found.now)
    monkeypatch.setenv(progress.VARIABLE, "")
    monkeypatch.setitem(progress._state, "target", None)
    monkeypatch.setitem(progress._state, "written", 0.0)
    path = tmp_path / ".progress"
    progress.report_to(path)
    found.said = lambda: tuple(json.loads(path.read_text())[name] for name in ("text", "left"))
    yield found
    progress.report_to(None)
    progress._parts.clear()


class Trainer:
    """What run_training needs of a trainer: steps of ten seconds, from `start` on."""

    def __init__(self, folder, start: int, clock, steps: int = 15, total: int = 1465) -> None:
        self.args = SimpleNamespace(max_steps=total, output_dir=str(folder))
        self.state = SimpleNamespace(log_history=[], global_step=start)
        self.steps, self.clock, self.seen = steps, clock, []

    def remove_callback(self, kind) -> None:
        pass

    def add_callback(self, callback) -> None:
        self.callback = callback

    def train(self, **_) -> None:
        self.callback.on_train_begin(self.args, self.state, None)
        self.seen.append(self.clock.said())
        for _ in range(self.steps):
            self.callback.on_step_begin(self.args, self.state, None)
            self.seen.append(self.clock.said())
            self.clock.now += 10
            self.state.global_step += 1


def test_a_resumed_training_says_so_and_counts_only_its_own_steps(clock, tmp_path):
    trainer = Trainer(tmp_path, 1200, clock)
    clock.now += 300  # loading and compiling: no step
    run_training(trainer, "student_fg", resume_from_checkpoint=str(tmp_path / "checkpoint-1200"))
    texts, lefts = zip(*trainer.seen, strict=True)
    assert texts[0] == "student_fg: resumed at step 1200 of 1465, now 1200"
    assert texts[3] == "student_fg: resumed at step 1200 of 1465, now 1203"
    assert lefts[:2] == (None, None) and lefts[3] == (1465 - 1203) * 10, "ten seconds a step, of 3 steps"
    assert texts[9].startswith("student_fg: resumed at") and texts[10] == "student_fg: step 1210/1465"


@pytest.mark.parametrize("checkpoint", [None, "another run/checkpoint-1200"])
def test_a_new_training_says_no_such_thing(clock, tmp_path, checkpoint):
    """A branch starts from a checkpoint of another training, which nothing interrupted."""
    trainer = Trainer(tmp_path / "own", 1200 if checkpoint else 0, clock, steps=3)
    given = {"resume_from_checkpoint": checkpoint and str(tmp_path / checkpoint)}
    run_training(trainer, "student_fg", **given)
    assert not [text for text, _ in trainer.seen if "resumed" in text]
    assert trainer.seen[-1][0] == ("student_fg: step 1203/1465" if checkpoint else "student_fg: step 3/1465")


@pytest.mark.parametrize(("total", "done"), [(10, 4), (2, 1), (100_000, 99_999), (7, 0)])
def test_the_words_of_a_resume(clock, total, done):
    with progress.doing("step", total) as part:
        part.resume(done)
        assert clock.said() == (f"resumed at step {done} of {total}, now {done}", None)
        clock.now += 91
        part.at(done + 1)
        assert clock.said()[0] == f"step {done + 1}/{total}"
