"""The live line never lies: what it names, when it falls silent, which times it shows. Clocks are fake."""

from __future__ import annotations

import ast
import io
import json
import sys
import threading
from pathlib import Path

import pytest
import torch

from nbkit.cli import calibrate, execute, live
from nbkit.models import training
from nbkit.pretrain import throughput
from nbkit.run import closure, files, progress, provenance

ROOT = Path(__file__).resolve().parents[2]


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


# --- silence --------------------------------------------------------------------------------------------


def said(text: str, left: float | None = None, note: str = "", number: int = 1) -> str:
    return json.dumps({"number": number, "text": text, "left": left, "note": note})


CELL = json.dumps({"text": "cell 7 of 26: Method"})


def test_the_step_is_shown_else_the_cell_else_that_it_starts():
    news = live.News()
    assert news.text(0, "", "", 0) == "starting"
    assert news.text(1, CELL, "", 0) == "cell 7 of 26: Method"
    assert news.text(2, CELL, said("grading 3/40"), 0) == "grading 3/40"
    assert news.text(3, CELL, said(""), 0) == "cell 7 of 26: Method"


@pytest.mark.parametrize("broken", ["{", "[]", "3", "null", '"text"', "\x00"])
def test_a_damaged_file_is_no_news_and_no_crash(broken):
    assert live.News().text(0, broken, broken, 0) == "starting"


def test_time_left_is_counted_down_and_never_zero():
    news = live.News()
    step = said("step 3/40", 5, "90 tok/s")
    assert news.text(10, CELL, step, 0) == "step 3/40, 00:05 left, 90 tok/s"
    assert news.text(12, CELL, step, 0) == "step 3/40, 00:03 left, 90 tok/s"
    assert news.text(14, CELL, step, 0) == "step 3/40, 00:01 left, 90 tok/s"
    assert news.text(14.5, CELL, step, 0) == "step 3/40, 90 tok/s"
    assert news.text(30, CELL, step, 0) == "step 3/40, 90 tok/s"


@pytest.mark.parametrize(
    ("cpu_per_s", "work"),
    [
        (0.98, "still using CPU 98%"),
        (1.9, "still using CPU 190%"),
        (0.0, "idle"),
        (0.04, "idle"),
        (-1, "idle"),
    ],
)
def test_after_a_minute_without_news_it_says_so_and_whether_work_goes_on(cpu_per_s, work):
    news, step = live.News(), said("step 3/40", 900)
    texts = [news.text(t, CELL, step, 500 + cpu_per_s * t) for t in range(0, 81)]
    assert texts[59] == "step 3/40, 14:01 left"
    assert texts[60] == f"no news for 01:00, {work}; last: step 3/40"
    assert texts[80] == f"no news for 01:20, {work}; last: step 3/40", "and no time left, which nobody knows"
    assert news.text(81, CELL, said("step 4/40", number=2), 500) == "step 4/40"


def test_the_same_words_said_again_are_news():
    news = live.News()
    news.text(0, CELL, said("grading", number=1), 0)
    assert news.text(70, CELL, said("grading", number=2), 0) == "grading"


def test_load_is_of_the_last_half_minute():
    load = live.Load()
    assert load.percent(0, 100.0) == 0
    assert load.percent(10, 110.0) == pytest.approx(100)
    for t in range(20, 101, 10):
        percent = load.percent(t, 110.0)
    assert percent == 0, "it worked for the first ten seconds only"


def test_a_scaled_estimate_is_marked():
    log, terminal = io.StringIO(), io.StringIO()
    terminal.isatty = lambda: True
    live.Line("02_pretrain", 700, log, origin="scaled from a faster machine")
    assert log.getvalue() == "02_pretrain  started, expected ~11:40, scaled from a faster machine\n"
    shown = live.Line("02_pretrain", 700, terminal, origin="scaled from a faster machine")
    shown.update(5, 2**30, "importing torch")
    assert terminal.getvalue() == "\r02_pretrain  00:05 / ~11:40 scaled  1.0 GiB  importing torch"
    shown = live.Line("02_pretrain", None, terminal, origin="as this machine's speed is not known")
    shown.update(5, 2**30, "x")
    assert terminal.getvalue().rstrip().endswith("00:05 / ?  1.0 GiB  x")


# --- cells ----------------------------------------------------------------------------------------------


def test_cells_are_named_by_number_and_the_last_heading_above():
    cells = [
        {"id": "t", "cell_type": "markdown", "source": ["# 02 · Pre-training\n", "\n", "**Text** # no\n"]},
        {"id": "a", "cell_type": "code", "source": "x"},
        {"id": "m", "cell_type": "markdown", "source": "## Method 1: order\n\n### Rows ##"},
        {"id": "b", "cell_type": "code", "source": "y"},
        {"id": "n", "cell_type": "markdown", "source": "no heading, #1"},
        {"id": "c", "cell_type": "code", "source": "z"},
    ]
    assert execute.headings(cells) == {
        "a": "cell 1 of 3: 02 · Pre-training",
        "b": "cell 2 of 3: Rows",
        "c": "cell 3 of 3: Rows",
    }
    assert execute.headings([{"cell_type": "code", "source": ""}]) == {"": "cell 1 of 1"}


@pytest.mark.parametrize("path", sorted((ROOT / "notebooks").glob("*.ipynb")), ids=lambda p: p.stem)
def test_every_cell_of_the_notebooks_has_words_that_fit_the_line(path):
    texts = list(execute.headings(files.read_json(path)["cells"]).values())
    assert len(texts) == len(set(texts)) > 5 and all(": " in text for text in texts)


# --- which code reports ---------------------------------------------------------------------------------

REPORTS = {  # file: functions in which something takes seconds at `small`
    "filter/dedup.py": ["deduplicate"],
    "filter/contamination.py": ["decontaminate", "evaluation_texts"],
    "tasks/world.py": ["corpus", "natural_text", "eval_texts", "synthetic"],
    "text/tokenizer.py": ["train_tokenizer", "_ids"],
    "filter/document_filter.py": ["fit", "signals"],
    "filter/scorer.py": ["fit"],
    "filter/annotators.py": ["annotate_all"],
    "evals/evaluate.py": ["verdicts", "evaluate", "solution_loss"],
    "pretrain/long_context.py": ["token_losses", "passkey", "look_up"],
    "models/engine.py": ["sample_ids"],
    "models/endpoint.py": ["complete"],
    "refine/loop.py": ["refine", "_add"],
    "refine/reconstruct.py": ["reconstruct"],
    "run/stage.py": ["input", "once", "publish"],
    "models/training.py": ["run_training"],
    "models/load.py": ["load", "save"],
    "pretrain/job.py": ["resume_point", "publish", "main"],
    "pretrain/trainer.py": ["_save_checkpoint", "evaluate", "on_step_begin"],
    "pretrain/throughput.py": ["matmul_peak"],
    "dpd/teacher_cache.py": ["build"],
    "rl/judge.py": ["_first_wins"],
}


@pytest.mark.parametrize("file", REPORTS)
def test_what_takes_long_says_what_it_does(file):
    tree = ast.parse((ROOT / "nbkit" / file).read_text())
    reporting = {
        node.name
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and "progress." in ast.unparse(node)
    }
    assert set(REPORTS[file]) <= reporting


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

HERE = {"python": 4e6, "matmul": 1e11, "train": 10e3}
THERE = {"python": 8e6, "matmul": 4e11, "train": 10e3}


@pytest.mark.parametrize(
    ("stage", "here", "there", "factor"),
    [
        ("01_data_mix", HERE, THERE, 2.0),  # Python alone: 8 / 4
        ("02_pretrain", HERE, THERE, 2.0),  # sqrt(4 * 1)
        ("07_eval", HERE, THERE, 2.0),
        ("02_pretrain", HERE, HERE, 1.0),
        ("02_pretrain", THERE, HERE, 0.5),
        ("05_dpd", {**HERE, "train": 2.5e3}, THERE, 4.0),  # sqrt(4 * 4)
        ("01_data_mix", {**HERE, "matmul": 1.0}, THERE, 2.0),  # no network is trained there
    ],
)
def test_a_stage_slows_down_by_the_rates_it_follows(stage, here, there, factor):
    assert calibrate.slowdown(stage, here, there) == pytest.approx(factor)


@pytest.mark.parametrize(
    ("factor", "words"),
    [(2.0, "faster"), (1.2, "faster"), (1.0, "similar"), (1.05, "similar"), (0.5, "slower")],
)
def test_the_origin_is_said(factor, words):
    assert calibrate.origin(factor) == f"scaled from a {words} machine"


def test_the_best_try_counts_and_at_least_two():
    moment = iter([0, 1, 1, 3, 3, 4])  # clock: tries of 1, 2 and 1 seconds
    amounts = iter([99, 10, 10, 30])  # the first warms up
    walls = iter([0, 0.1, 5])
    rate = calibrate.best(lambda: next(amounts), lambda: next(moment), 1.0, lambda: next(walls))
    assert rate == 30


def test_rates_are_measured_once_per_machine_and_kept(project, monkeypatch):
    asked = []

    def measured():
        asked.append(1)
        return HERE

    monkeypatch.setattr(calibrate, "_measured", measured)
    assert calibrate.here(measure=False) is None and not asked
    assert calibrate.here() == HERE and calibrate.here() == HERE and calibrate.here(measure=False) == HERE
    assert len(asked) == 1
    monkeypatch.setenv("NBKIT_OUTPUTS", str(project / "elsewhere"))
    assert calibrate.here() == HERE and len(asked) == 1, "another outputs root, the same machine"
    monkeypatch.setattr(provenance, "cpu", lambda: "another processor")
    calibrate.here()
    assert len(asked) == 2
    kept = files.read_json(project / "outputs/.calibration.json")
    assert len(kept) == 2


@pytest.mark.parametrize(
    ("name", "value"),
    [("OMP_NUM_THREADS", "7"), ("NBKIT_PRECISION", "fp32"), ("ONEDNN_MAX_CPU_ISA", "AVX2")],
)
def test_a_setting_that_changes_the_speed_is_another_machine(monkeypatch, name, value):
    before = calibrate.fingerprint()
    monkeypatch.setenv(name, value)
    assert calibrate.fingerprint() != before


@pytest.mark.parametrize("content", ["{", "[]", "null", '{"x": {"python": 1}}'])
def test_damaged_calibrations_are_made_again(project, monkeypatch, content):
    (project / "outputs").mkdir()
    path = project / "outputs/.calibration.json"
    path.write_text(content.replace('"x"', json.dumps(calibrate.fingerprint())))
    monkeypatch.setattr(calibrate, "_measured", lambda: HERE)
    assert calibrate.here() == HERE
    assert files.read_json(path)[calibrate.fingerprint()] == HERE


@pytest.mark.parametrize(
    "printed",
    ["", "no json", '{"python": 1, "matmul": 0, "train": 1}', '{"python": 1}', '{"python": "x"}', "[1]"],
)
def test_a_measurement_that_fails_is_none(monkeypatch, printed):
    def run(*_, **__):
        return type("Done", (), {"stdout": f"a warning\n{printed}\n"})

    monkeypatch.setattr(calibrate.subprocess, "run", run)
    assert calibrate._measured() is None


def test_a_measurement_that_hangs_is_none(monkeypatch):
    def run(*_, **options):
        assert options["timeout"] <= 60
        raise calibrate.subprocess.TimeoutExpired("python", 60)

    monkeypatch.setattr(calibrate.subprocess, "run", run)
    assert calibrate._measured() is None


def test_the_reference_says_how_fast_its_machine_is():
    timings = files.read_json(ROOT / "outputs/reference/timings.json")
    rates = calibrate.reference_rates(timings)
    assert rates is not None and rates["machine"]
    assert calibrate.reference_rates({}) is None and calibrate.reference_rates({"calibration": {}}) is None


def test_three_rates_are_measured_here(monkeypatch):
    monkeypatch.setattr(calibrate, "_SECONDS", 0.0)
    threads = torch.get_num_threads()
    try:
        rates = calibrate.measure()
    finally:
        torch.set_num_threads(threads)
    assert set(rates) == set(calibrate.KINDS) and all(rate > 0 for rate in rates.values())


def test_a_full_line_fits_a_terminal_of_a_hundred_columns():
    text = live.News().text(0, "", said("student_vanilla: step 1465/1465", 3700, "12,300 tok/s"), 0)
    terminal = io.StringIO()
    terminal.isatty = lambda: True
    live.Line("02_pretrain", 700, terminal).update(192, 2**30, text)
    assert terminal.getvalue()[1:].endswith("left, 12,300 tok/s") and len(terminal.getvalue()) <= 101


def test_nothing_of_the_live_line_changes_a_fingerprint():
    assert closure.DISPLAY == ("run/progress.py",)
