"""Answers that another model judges: both orders, nonsense, a judge that is down."""

import json

import pyarrow.parquet as pq
import pytest
import tiny
from fake_endpoint import chat

from nbkit.evals.bench import judge as judging
from nbkit.evals.bench import run
from nbkit.models.endpoint import Endpoint
from nbkit.models.load import save
from nbkit.run import files

pytestmark = pytest.mark.usefixtures("no_waiting")
SHORT = dict(max_new_tokens=4)


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    save(folder, tiny.model(), tiny.tokenizer())
    return run.Target(folder, batch=4)


@pytest.fixture
def arena(tmp_path):
    return write(tmp_path / "arena.jsonl", [{"uid": f"u{i}", "prompt": f"Write {i}."} for i in range(3)])


def judge_of(server, opponent=()):
    return judging.Judge(Endpoint(server.url, "tiny", retries=0, prices=(1.0, 2.0)), dict(opponent))


def test_pairs_are_judged_in_both_orders(server, arena, model, tmp_path):
    server.answer = lambda request: chat("Thinking. [[A>B]]")  # always the first place
    opponent = {f"u{i}": "theirs" for i in range(3)}
    result = run.run_benchmark(
        model, "arena_hard", run.Options(data=arena, k=1, **SHORT), tmp_path, judge_of(server, opponent)
    )
    assert result.overall.mean == 0.5
    assert len(server.requests) == 6
    assert "6 requests" in result.bill and "60 tokens read, 30 written, cost 0.00" in result.bill


def test_a_judge_that_says_nonsense_is_marked(server, arena, model, tmp_path):
    server.answer = lambda request: chat("[[A>B]]" if "Write 1" in str(request["messages"]) else "no idea")
    opponent = {f"u{i}": "theirs" for i in range(3)}
    result = run.run_benchmark(
        model, "arena_hard", run.Options(data=arena, k=1, **SHORT), tmp_path, judge_of(server, opponent)
    )
    found = result.summary()
    assert (found["infra"], found["status"], result.overall.n) == (2, "partial", 1)
    assert "no verdict in its reply: 'no idea'" in found["first_reason"]


def test_a_judge_that_is_down_loses_no_answer(arena, model, tmp_path):
    down = judging.Judge(
        Endpoint("http://127.0.0.1:9/v1", "tiny", retries=0), {f"u{i}": "b" for i in range(3)}
    )
    result = run.run_benchmark(model, "arena_hard", run.Options(data=arena, k=1, **SHORT), tmp_path, down)
    found = files.read_json(tmp_path / "arena_hard.json")
    assert found["overall"] is None and found["infra"] == 3
    assert "judge: no judge: base_url: no answer" in found["first_reason"]
    assert len(pq.read_table(tmp_path / "arena_hard.parquet")) == 3 and len(result.texts) == 3


def test_a_judge_and_an_opponent_are_wanted(arena, model, server, tmp_path):
    with pytest.raises(ValueError, match="judge: arena_hard needs one"):
        run.run_benchmark(model, "arena_hard", run.Options(data=arena), tmp_path)
    with pytest.raises(ValueError, match="opponent: no answer for 'u0'"):
        run.run_benchmark(
            model, "arena_hard", run.Options(data=arena, k=1, **SHORT), tmp_path, judge_of(server)
        )


@pytest.mark.parametrize(
    ("name", "row", "said", "mean"),
    [
        ("mt_bench", {"question_id": 1, "category": "math", "turns": ["One?", "Two?"]}, "good [[7]]", 0.7),
        ("mt_bench", {"question_id": 1, "category": "math", "turns": ["One?", "Two?"]}, "good [[70]]", None),
        (
            "writingbench",
            {
                "index": 1,
                "domain1": "Law",
                "query": "Write.",
                "checklist": [
                    {"name": "Tone", "criteria_description": "Formal.", "1-2": "no", "9-10": "yes"}
                ],
            },
            "[[4]]",
            0.4,
        ),
        (
            "multi_challenge",
            {
                "QUESTION_ID": "q",
                "AXIS": "a",
                "TARGET_QUESTION": "In verse?",
                "PASS_CRITERIA": "NO",
                "CONVERSATION": [{"role": "user", "content": "Prose."}],
            },
            "[[no]]",
            1.0,
        ),
    ],
)
def test_the_other_judges(name, row, said, mean, server, model, tmp_path):
    server.answer = lambda request: chat(said)
    data = write(tmp_path / "rows.jsonl", [row])
    options = run.Options(data=data, k=1, **SHORT)
    result = run.run_benchmark(model, name, options, tmp_path, judge_of(server))
    assert (result.overall.mean if result.graded else None) == (mean if mean is None else pytest.approx(mean))
    if name == "mt_bench":  # each turn is judged, the second with the first before it
        asked = [request["messages"][0]["content"] for request in server.requests]
        assert sorted(text.count("## User") for text in asked) == [1, 2]


def test_opponents_in_both_layouts(tmp_path):
    theirs = {
        "uid": "b",
        "messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": {"answer": "B"}}],
    }
    path = write(tmp_path / "base.jsonl", [{"id": "a", "answer": "A"}, theirs])
    assert judging.opponent_answers(path) == {"a": "A", "b": "B"}
    with pytest.raises(ValueError, match="line 1 has .*, wanted 'id' and 'answer'"):
        judging.opponent_answers(write(tmp_path / "bad.jsonl", [{"id": "a"}]))
