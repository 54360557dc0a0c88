"""Headline names are words, in the notebooks' last cells and wherever a headline is shown."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from nbkit.cli import runner
from nbkit.cli.report import stage_facts
from nbkit.evals.words import WORDS, headline_name, named
from nbkit.run import files

NOTEBOOKS = sorted((Path(__file__).resolve().parents[2] / "notebooks").glob("*.ipynb"))


def test_no_word_is_an_identifier():
    assert not [word for word in WORDS.values() if "_" in word]
    assert len(set(WORDS.values())) == len(WORDS), "two numbers of one name would be one"
    assert named({"student_no_abf": 1, "vanilla_1.5x": 2, "pairs": 3}) == {
        "FG-WSD base, old rotary base": 1,
        "vanilla 1.5x": 2,
        "pairs": 3,
    }
    assert headline_name("DPD minus SFT continued") == "DPD minus SFT continued"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_the_last_cell_of_a_notebook_publishes_words(path):
    cells = ["".join(cell["source"]) for cell in files.read_json(path)["cells"]]
    (last,) = [text for text in cells if "run.publish(" in text]
    names = re.findall(r'^ *"([^"]+)":|headline\["([^"]+)"\]', last, re.MULTILINE)
    # Short names are no fault where they go through `named`.
    assert "named(" in last or not [name for pair in names for name in pair if "_" in name]


def test_what_is_shown_of_an_older_run_is_headline_name_too(monkeypatch, capsys):
    manifest = {"headline": {"final_minus_baseline": "0.9%", "auc_clean_vs_rest": 0.97532}}
    monkeypatch.setattr(runner.provenance, "load_manifest", lambda profile, stage: ("complete", "", manifest))
    runner.print_headline("small", "07_eval")
    told = capsys.readouterr().out
    assert told.splitlines()[1] == "    AUC, clean documents against the rest: 0.975" and "_" not in told
    assert stage_facts.headline("student_short", "1%")["name"] == "FG-WSD base, short rows"
