"""Two runs beside each other: numbers, differences, parameters, claims; what cannot be compared."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from page_checks import Page, remote
from tiny_runs import LEDGER, STAGES, last_stage, play, ran

from nbkit.cli.commands import main
from nbkit.cli.report import parameters, two_runs, values

__all__ = ["ran"]
LATER = [LEDGER[0] | {"verdict": "inconclusive", "ours": "+1.0 points [-3.0, +5.0]"}, *LEDGER[1:-1]]


@pytest.fixture
def two(ran: Path) -> Path:
    """The run, a copy of it in a folder elsewhere, and then another run with other parameters."""
    shutil.copytree(ran / "outputs/tiny", ran / "kept run")
    (ran / "params/tiny/01_make.yaml").write_text("profile: tiny\nsteps: 5\n")
    cells = (ran / "notebooks/01_make.ipynb").read_text().replace("steps: int = 4", "steps: int = 5")
    (ran / "notebooks/01_make.ipynb").write_text(cells)
    last_stage(ran, LATER)
    for stage in STAGES:
        play(ran, stage)
    return ran


def test_two_runs(two):
    found = two_runs.gathered(str(two / "kept run"), "tiny")
    assert [run["run"] for run in found["runs"]] == ["kept run", "tiny"]
    assert found["runs"][1]["folder"] == str(two / "outputs/tiny")
    assert found["params"] == [
        {"stage": "01_make", "rows": [{"name": "steps", "doc": "steps", "first": "4", "second": "5"}]}
    ]
    rows = {row["name"]: row for row in found["headlines"][0]["rows"]}
    assert rows["total"] == {"name": "total", "first": "6", "second": "10", "difference": "+4"}
    last = {row["name"]: row for row in found["headlines"][2]["rows"]}
    assert last["base"]["first"] == "13.2% [10.2%, 16.2%]" and last["base"]["difference"] == "same"


def test_the_ledgers_meet_row_by_row(two):
    rows = two_runs.gathered(str(two / "kept run"), "tiny")["ledger"]
    assert [(row["claim"], row["same"]) for row in rows] == [
        ("a beats b", False),
        ("c < d & e", True),
        ("f helps", True),
        ("g scales", True),
        ("h is why", False),
    ]
    assert (rows[0]["first"]["verdict"], rows[0]["second"]["verdict"]) == ("trend", "inconclusive")
    assert rows[4]["second"] is None, "the later run does not know this claim"
    assert [row["measured"] for row in rows] == [True, True, True, False, True]


def test_claims_that_neither_run_measured_are_folded(two):
    assert main(["report", "--compare", str(two / "kept run"), "tiny"]) == 0
    text = (two / "outputs/compare/kept_run_and_tiny.html").read_text()
    shown, folded = text.split("<summary>Measured in neither run (1)</summary>")
    assert "a beats b" in shown and "a beats b" not in folded
    assert "g scales" in folded and "g scales" not in shown


def test_the_page_of_two_runs(two, capsys):
    assert main(["report", "--compare", str(two / "kept run"), "tiny"]) == 0
    path = two / "outputs/compare/kept_run_and_tiny.html"
    assert str(path) in capsys.readouterr().out
    text = path.read_text()
    page = Page(text)
    assert page.wrong == [] and remote(text) == [] and "script" not in page.tags
    assert "c &lt; d &amp; e" in text and "+4" in page.text and "kept run" in page.text


def test_a_run_beside_itself_has_no_difference(ran):
    found = two_runs.gathered("tiny", "tiny")
    assert found["params"] == [] and all(row["same"] for row in [*found["facts"], *found["ledger"]])


def test_a_run_with_missing_stages(two):
    shutil.rmtree(two / "kept run/03_last")
    found = two_runs.gathered(str(two / "kept run"), "tiny")
    assert [stage["stage"] for stage in found["headlines"]] == ["01_make", "02_use", "03_last"]
    assert found["headlines"][2]["rows"][1]["first"] == "–"
    assert found["ledger"][0]["first"] is None and not found["ledger"][0]["same"]
    assert found["runs"][0]["ladder"] is None


@pytest.mark.parametrize("run", ["tinny", "/nowhere/tiny", "."])
def test_a_run_that_is_not_there(ran, capsys, run):
    assert main(["report", "--compare", "tiny", run]) == 2
    told = capsys.readouterr().err
    assert f"no run '{run}'" in told and "(tiny)" in told and "01_make/" in told


@pytest.mark.parametrize(
    ("first", "second", "text", "apart"),
    [
        ("13.2% [10.2, 16.2]", "16.0% [13.0, 19.0]", "+2.8 points", False),
        ("13.2% [10.2, 16.2]", "20.0% [17.0, 23.0]", "+6.8 points", True),
        ("20.0% [17.0, 23.0]", "13.2% [10.2, 16.2]", "-6.8 points", True),
        (16758, 5078, "-11,680", False),
        (0.5, 0.25, "-0.25", False),
        (1, 0.5, "-0.5", False),
        ("4.6x", "2.2x", "differs", False),
        (True, 2, "differs", False),
        (3, 3, "same", False),
        (None, 3, "", False),
        (3, None, "", False),
    ],
)
def test_difference(first, second, text, apart):
    assert values.difference(first, second) == (text, apart)


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.123456, "0.123"), (None, "–"), (5, "5"), (12345, "12,345"), (True, "yes"), ("<a>", "<a>")],
)
def test_number(value, text):
    assert values.number(value) == text


@pytest.mark.parametrize(
    ("value", "text"), [([], "–"), (["a", 1], "a, 1"), ("", "–"), (True, "true"), (1e-3, "0.001"), ("x", "x")]
)
def test_setting(value, text):
    assert values.setting(value) == text


def test_parameters_once_and_what_differs(project):
    used = {
        stage: {"profile": "tiny", "seed": 0} | own
        for stage, own in [
            ("01_make", {"steps": 7, "lr": 1e-3, "shuffle": True, "gone": 3}),
            ("02_use", {"factor": 2}),
            ("03_last", {"factor": 2}),
        ]
    }
    found = parameters.gathered("tiny", used)
    shared, make, use, last = found["tables"]
    assert [(row["name"], row["value"], row["stages"]) for row in shared["rows"]] == [
        ("profile", "tiny", ["01", "02", "03"]),
        ("seed", "0", ["01", "02", "03"]),
    ]
    assert [(row["name"], row["value"], row["wanted"]) for row in make["rows"]] == [
        ("steps", "7", "4"),
        ("gone", "3", "– (no such parameter)"),
        ("fail", "– (no such parameter)", "no"),
        ("lr", "0.001", None),
        ("shuffle", "true", None),
    ]
    assert make["rows"][0]["doc"] == "steps" and found["differing"] == 3
    assert [row["name"] for row in use["rows"]] == [row["name"] for row in last["rows"]] == ["factor"]


def test_a_profile_that_no_longer_fits_marks_nothing(project):
    (project / "params/tiny/02_use.yaml").write_text("profile: tiny\nfactr: 2\n")
    found = parameters.gathered("tiny", {"02_use": {"profile": "tiny", "seed": 0, "factor": 9}})
    assert found["differing"] == 0
    assert "02_use cannot be compared with its profile" in found["notes"][0]
    assert "did you mean 'factor'" in found["notes"][0]
