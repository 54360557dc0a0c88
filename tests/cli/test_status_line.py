"""The line that `nbkit run` shows: what a stage last said, silence, load, cells."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from nbkit.cli import execute, live
from nbkit.run import files

ROOT = Path(__file__).resolve().parents[2]


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


def test_a_full_line_fits_a_terminal_of_a_hundred_columns():
    text = live.News().text(0, "", said("student_vanilla: step 1465/1465", 3700, "12,300 tok/s"), 0)
    terminal = io.StringIO()
    terminal.isatty = lambda: True
    live.Line("02_pretrain", 700, terminal).update(192, 2**30, text)
    assert terminal.getvalue()[1:].endswith("left, 12,300 tok/s") and len(terminal.getvalue()) <= 101


STEP = "student_vanilla: step 1465/1465, 01:05 left, 12,300 tok/s"


@pytest.mark.parametrize(
    "start", ["02_pretrain  03:12 / ~11:40", "03_sft_cold_start  1:03:12 / ~1:11:40 scaled"]
)
@pytest.mark.parametrize("slow", ["", ", slower than expected"])
def test_eighty_columns_show_the_stage_the_times_and_the_time_left(start, slow):
    line = live.fitted(start, slow, "1.3 GiB", STEP, 79)
    assert len(line) <= 79 and line.startswith(start) and line.endswith("01:05 left")
    assert not slow or ", slower" in line


def test_what_goes_on_is_shortened_in_its_middle():
    start = "02_pretrain  03:12 / ~11:40"
    for width, wanted in (
        (98, f"  1.3 GiB  {STEP}"),
        (90, "  1.3 GiB  student_vani…tep 1465/1465, 01:05 left, 12,300 tok/s"),
        (79, "  1.3 GiB  student_vanill…step 1465/1465, 01:05 left"),
        (62, "  student_va… 1465/1465, 01:05 left"),
        (50, "  stud…1465, 01:05 left"),
    ):
        line = live.fitted(start, "", "1.3 GiB", STEP, width)
        assert line == start + wanted and len(line) <= width, width


def test_a_quiet_stage_in_eighty_columns_says_that_it_is_quiet():
    text = "no news for 01:20, still using CPU 98%; last: student_vanilla: step 1465/1465"
    line = live.fitted("02_pretrain  03:12 / ~11:40", "", "1.3 GiB", text, 79)
    assert "no news for 01:20, still using CPU 98%" in line and len(line) <= 79


def test_a_short_line_is_left_whole():
    assert live.fitted("01  00:05 / ?", "", "1.0 GiB", "starting", 79) == "01  00:05 / ?  1.0 GiB  starting"
    assert live.fitted("01  00:05 / ?", "", "1.0 GiB", "", 79) == "01  00:05 / ?  1.0 GiB"
    note = "step 3/40, 90 tok/s"  # without a time left
    assert live.fitted("01  00:05 / ?", "", "1.0 GiB", note, 79).endswith(note)
