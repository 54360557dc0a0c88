"""`nbkit eval` from the command line."""

import json
import re

import numpy as np
import pytest
import tiny

from nbkit.cli import eval_command
from nbkit.cli.commands import main
from nbkit.models.load import save
from nbkit.run import files
from nbkit.text.tokenizer import encode

QUESTIONS = [
    f"Write about the {word} that the old sailor found one day on a beach far away."
    for word in ("shell", "bottle", "coin", "rope")
]


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A working folder with a model and four questions."""
    monkeypatch.chdir(tmp_path)
    save(tmp_path / "model", tiny.model(), tiny.tokenizer())
    rows = [
        {"key": i, "prompt": text, "instruction_id_list": ["punctuation:no_comma"], "kwargs": [{}]}
        for i, text in enumerate(QUESTIONS)
    ]
    (tmp_path / "own.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return tmp_path


ARGUMENTS = ["eval", "./model", "--tasks", "ifeval", "--data", "ifeval=own.jsonl", "--max-new-tokens", "3"]


def test_scores_are_printed_and_written(place, capsys):
    assert main([*ARGUMENTS, "--out", "out"]) == 0
    said = capsys.readouterr().out
    found = files.read_json(place / "out" / "ifeval.json")
    assert found["questions"] == 4
    assert "IFEval" in said and "n=4" in said and "accuracy" in said
    head, line = said.split("\n")[-3:-1]
    assert head.split("  ")[-1] == "final answer"
    assert line.split()[:3] == ["ifeval", f"{found['tokens']['all']['median']:.0f}", "3"]
    assert not (place / "out" / ".progress").exists()


def test_the_list_shows_every_benchmark(capsys):
    assert main(["eval", "--list"]) == 0
    said = capsys.readouterr().out
    assert "aime24" in said and "T 0.6, top-p 0.95, 65,536 tokens, k 8" in said and "log-likelihood" in said


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ([*ARGUMENTS, "--tasks", "gsm9k"], "did you mean 'gsm8k'"),
        ([*ARGUMENTS, "--k", "3"], "k: got 3 answers per question at temperature 0"),
        ([*ARGUMENTS, "--limit", "0"], "limit: got 0"),
        ([*ARGUMENTS, "--data", "gsm8k=own.jsonl"], "data: got 'gsm8k'"),
        ([*ARGUMENTS, "--against", "nowhere"], "against: .* is missing"),
        (["eval", "./model", "--tasks", "mt_bench"], "judge: these tasks need one"),
        (["eval", "./model"], "no --tasks"),
    ],
)
def test_wrong_use_is_one_line_and_exit_code_2(given, told, place, capsys):
    assert main(given) == 2
    said = capsys.readouterr().err
    assert re.search(told, said)
    assert said.count("nbkit: ") == 1
    assert "Traceback" not in said


def test_questions_that_a_run_trained_on_are_flagged(place, capsys):
    pools = place / "run" / "01_data_mix" / "pools"
    pools.mkdir(parents=True)
    tokenizer = tiny.tokenizer()
    tokenizer.save_pretrained(pools / "tokenizer")
    texts = ["Nothing of interest stands in this text.", f"Homework. {QUESTIONS[1]} Good luck!"]
    np.save(pools / "hq.npy", encode(texts, tokenizer))
    logs = place / "run" / "05_dpd" / "logs"
    logs.mkdir(parents=True)
    (logs / "pairs.jsonl").write_text(json.dumps({"prompt": QUESTIONS[3], "chosen": "yes"}) + "\n")
    assert main([*ARGUMENTS, "--out", "out", "--against", "run"]) == 0
    found = files.read_json(place / "out" / "ifeval.leaks.json")
    assert found["flagged"] == {"01 pools": 1, "05 pairs": 1}
    assert [row["id"] for row in found["rows"]] == ["1", "3"]
    assert found["without_flagged"]["n"] == 2 and found["overall"]["n"] == 4
    assert "2 of 4 questions stand" in capsys.readouterr().out


def test_documents_come_back_from_token_rows(place):
    pools = place / "pools"
    pools.mkdir()
    tokenizer = tiny.tokenizer()
    tokenizer.save_pretrained(pools / "tokenizer")
    np.save(pools / "hq.npy", encode(["one text", "two texts"], tokenizer))
    assert eval_command._documents(pools) == ["one text", "two texts"]
