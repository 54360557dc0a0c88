"""`nbkit eval` after a kill, with a judge that is down or says nonsense, and with unusable files."""

import json
import re
import subprocess
import sys
import time
from collections import Counter

import pytest
import tiny
from fake_endpoint import chat, killed

from nbkit.cli.commands import main
from nbkit.evals.bench import run as bench
from nbkit.models.load import save
from nbkit.run import files

pytestmark = pytest.mark.usefixtures("no_waiting")
COUNT = 40


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A working folder with a model and questions of three kinds."""
    monkeypatch.chdir(tmp_path)
    save(tmp_path / "model", tiny.model(), tiny.tokenizer())
    kinds = {"instruction_id_list": ["punctuation:no_comma"], "kwargs": [{}]}
    write(tmp_path / "ifeval.jsonl", [{"key": i, "prompt": f"Say {i}!", **kinds} for i in range(COUNT)])
    pair = {"sentence_good": "It is a number.", "sentence_bad": "It are number a."}
    write(tmp_path / "blimp.jsonl", [{"UID": "p", "pairID": i, **pair} for i in range(COUNT)])
    write(tmp_path / "arena.jsonl", [{"uid": f"u{i}", "prompt": f"Write {i}."} for i in range(3)])
    write(tmp_path / "theirs.jsonl", [{"id": f"u{i}", "answer": "theirs"} for i in range(3)])
    return tmp_path


def command(model: str, task: str, *more: str) -> list[str]:
    return ["eval", model, "--tasks", task, "--data", f"{task}={task.partition('_')[0]}.jsonl", *more]


def asked_about(server) -> Counter:
    """How often each question was put."""
    return Counter(request["messages"][-1]["content"] for request in server.requests)


def test_after_a_kill_a_server_is_asked_only_what_it_has_not_answered(place, server):
    def slowly(request):
        time.sleep(0.2)
        return chat(f"about {request['messages'][-1]['content']}")

    server.answer = slowly
    line = command(server.url, "ifeval", "--name", "tiny", "--batch", "4", "--out", "out")
    script = f"import sys; from nbkit.cli.commands import main; main({line!r})"
    before = killed(server, script, place)
    assert not (place / "out/ifeval.json").exists()
    assert main(line) == 0
    found = files.read_json(place / "out/ifeval.json")
    assert (found["questions"], found["status"], found["stops"]) == (COUNT, "complete", {"stop": COUNT})
    # Each question once, and what was in flight at the kill, at most four of them, twice.
    times = asked_about(server)
    assert set(times) == {f"Say {i}!" for i in range(COUNT)}
    assert before < COUNT and max(times.values()) <= 2
    assert sum(times.values()) <= COUNT + 4


@pytest.mark.parametrize("task", ["blimp", "ifeval"])
def test_after_a_kill_a_model_answers_only_what_is_missing(place, task, monkeypatch):
    line = command("model", task, "--batch", "4", "--out", "out")
    line += ["--max-new-tokens", "3"] if task == "ifeval" else []
    journal = place / f"out/{task}.journal.jsonl"

    def lines() -> list[str]:
        return journal.read_text().splitlines() if journal.is_file() else []

    # A slow model, so that the kill comes between two records.
    slow = (
        "import time\n"
        "from nbkit.evals.bench.results import journal\n"
        "add = journal.Journal.add\n"
        "journal.Journal.add = lambda self, records: (add(self, records), time.sleep(0.3))\n"
        f"from nbkit.cli.commands import main\nmain({line!r})"
    )
    child = subprocess.Popen([sys.executable, "-c", slow], stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 180
    while len(lines()) < 6 and time.monotonic() < deadline and child.poll() is None:
        time.sleep(0.02)
    child.kill()
    child.wait()
    kept = len(lines()) - 1  # the first line holds the settings
    assert 5 <= kept < COUNT
    written = []
    add = bench.Journal.add
    monkeypatch.setattr(
        bench.Journal, "add", lambda self, records: (written.extend(records), add(self, records))
    )
    assert main(line) == 0
    assert len(written) == COUNT - kept
    found = files.read_json(place / f"out/{task}.json")
    assert (found["questions"], found["status"]) == (COUNT, "complete")
    # An evaluation that nobody interrupted says the same.
    whole = [*line[:-1], line[-1]]
    whole[whole.index("out")] = "whole"
    assert main(whole) == 0
    assert files.read_json(place / f"whole/{task}.json")["overall"] == found["overall"]


def judged(server) -> list[str]:
    return [
        *command("model", "arena_hard", "--k", "1", "--max-new-tokens", "3", "--out", "out"),
        *("--judge", server.url, "--judge-model", "tiny", "--opponent", "theirs.jsonl"),
    ]


def test_a_judge_that_is_down_leaves_the_answers_and_judges_later(place, server, capsys):
    line = judged(server)
    line[line.index(server.url)] = "http://127.0.0.1:9/v1"
    assert main(line) == 1
    said = capsys.readouterr().out
    assert "nothing could be marked" in said and "3 questions are not marked" in said
    found = files.read_json(place / "out/arena_hard.json")
    assert (found["status"], found["infra"], found["overall"]) == ("partial", 3, None)
    assert "no answer from http://127.0.0.1:9/v1" in found["first_reason"]
    journal = (place / "out/arena_hard.journal.jsonl").read_bytes()
    # The judge is back: nothing is answered anew, everything is judged.
    server.answer = lambda request: chat("[[A=B]]")
    assert main(judged(server)) == 0
    assert (place / "out/arena_hard.journal.jsonl").read_bytes() == journal
    found = files.read_json(place / "out/arena_hard.json")
    assert (found["status"], found["overall"]["mean"], len(server.requests)) == ("complete", 0.5, 6)


def test_verdicts_outlive_the_judge(place, server):
    """Two of three were judged; then the judge is gone, and then it is back."""
    server.answer = lambda request: 400 if "Write 2." in str(request["messages"]) else chat("[[A=B]]")
    assert main(judged(server)) == 1
    found = files.read_json(place / "out/arena_hard.json")
    assert (found["infra"], found["overall"]["n"]) == (1, 2)
    asked = len(server.requests)
    gone = judged(server)
    gone[gone.index(server.url)] = "http://127.0.0.1:9/v1"
    assert main(gone) == 1
    found = files.read_json(place / "out/arena_hard.json")
    assert (found["infra"], found["overall"]["n"]) == (1, 2), "the two verdicts are kept"
    assert "no judge" in found["first_reason"]
    server.answer = lambda request: chat("[[A=B]]")
    assert main(judged(server)) == 0
    assert len(server.requests) == asked + 2, "both orders of the third question, nothing else"


def test_nonsense_of_a_judge_is_asked_for_again(place, server):
    server.answer = lambda request: chat("[[A=B]]" if "Write 1." in str(request["messages"]) else "no idea")
    assert main(judged(server)) == 1
    found = files.read_json(place / "out/arena_hard.json")
    assert (found["infra"], found["overall"]["n"]) == (2, 1)
    assert "no verdict in its reply: 'no idea'" in found["first_reason"]
    server.requests.clear()
    server.answer = lambda request: chat("[[A>>B]]")
    assert main(judged(server)) == 0
    assert len(server.requests) == 4, "both orders of the two that had no verdict"
    assert "Write 1." not in str(server.requests)
    server.requests.clear()
    assert main(judged(server)) == 0
    assert server.requests == []


GOOD = {"key": 0, "prompt": "Hi.", "instruction_id_list": ["punctuation:no_comma"], "kwargs": [{}]}


@pytest.mark.parametrize(
    ("rows", "wanted"),
    [
        # key, what was given, what is wanted, the next step: a part of the message for each
        (
            [{("text" if name == "prompt" else name): value for name, value in GOOD.items()}],
            (
                "own.jsonl row 1: no column 'prompt'",
                r"it has \['instruction_id_list', 'key',",
                "Rename the column",
            ),
        ),
        ([GOOD, GOOD], ("own.jsonl rows 1 and 2", "the same id '0'", "make the ids of the file unique")),
        (
            [{**GOOD, "instruction_id_list": []}],
            ("own.jsonl row 1", "0 instructions and 1 kwargs", "wanted as many", "mend the row"),
        ),
        ([{**GOOD, "prompt": ""}], ("own.jsonl row 1", "prompt is ''", "wanted a text", "mend the row")),
    ],
)
def test_files_that_cannot_be_used_end_it_before_a_model_is_loaded(rows, wanted, place, capsys, monkeypatch):
    write(place / "own.jsonl", rows)
    monkeypatch.setattr(bench, "Target", None)  # calling it would be another error
    line = command("model", "blimp", "--out", "out")
    line[line.index("blimp")] = "blimp,ifeval"  # the file of the second task
    assert main([*line, "--data", "ifeval=own.jsonl"]) == 2
    told = capsys.readouterr().err
    for part in wanted:
        assert re.search(part, told), (part, told)
    assert told.count("nbkit: ") == 1 and "Traceback" not in told


def test_a_task_that_the_model_cannot_do_ends_it_before_the_first_is_asked(place, server, capsys):
    line = command(server.url, "ifeval", "--name", "tiny", "--out", "out", "--data", "blimp=blimp.jsonl")
    line[line.index("ifeval")] = "ifeval,blimp"
    assert main(line) == 2
    assert "blimp compares log-likelihoods" in capsys.readouterr().err
    assert not any("Say" in str(request) for request in server.requests)
