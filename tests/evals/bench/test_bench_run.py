"""A whole evaluation with tiny models: files, resuming, judges that fail, models that do not fit."""

import json

import numpy as np
import pyarrow.parquet as pq
import pytest
import tiny
from fake_endpoint import chat

from nbkit.evals.bench import run, target
from nbkit.evals.bench.results.journal import Journal
from nbkit.evals.bench.table import benchmark
from nbkit.models.load import Shape, new_model, save
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
def ifeval(tmp_path):
    rows = [
        {"key": i, "prompt": f"Say {i} < 5.", "instruction_id_list": ["punctuation:no_comma"], "kwargs": [{}]}
        for i in range(6)
    ]
    return write(tmp_path / "ifeval.jsonl", rows)


def test_the_files_of_a_generative_task(model, ifeval, tmp_path):
    result = run.run_benchmark(model, "ifeval", run.Options(data=ifeval, **SHORT), tmp_path / "out")
    found = files.read_json(tmp_path / "out" / "ifeval.json")
    assert found["overall"]["n"] == found["questions"] == 6
    assert found["overall"] == files.plain(result.overall.dict())
    assert found["status"] == "complete" and found["infra"] == 0
    assert found["decoding"] == {"temperature": 0.0, "top_p": 1.0, "max_new_tokens": 4, "k": 1}
    assert sum(found["stops"].values()) == 6
    assert found["tokens"]["all"]["n"] == 6 and found["tokens"]["all"]["most"] <= 4
    assert found["format"]["at the limit"]["mean"] == found["stops"].get("length", 0) / 6
    assert found["format"]["tokens"] == found["tokens"]["all"]
    assert found["revision"] == benchmark("ifeval").revision
    assert "torch" in json.dumps(found["versions"])
    for kind, digest in found["files"].items():
        assert files.sha256(tmp_path / "out" / f"ifeval.{kind}") == digest
    table = pq.read_table(tmp_path / "out" / "ifeval.parquet").to_pylist()
    assert [row["id"] for row in table] == [str(i) for i in range(6)]
    assert [row["verdicts"] for row in table] == [r.values for r in result.records]


def test_the_page_is_plain_and_escaped(model, ifeval, tmp_path):
    run.run_benchmark(model, "ifeval", run.Options(data=ifeval, **SHORT), tmp_path)
    page = (tmp_path / "ifeval.html").read_text(encoding="utf-8")
    assert "Say 3 &lt; 5." in page and "Say 3 < 5." not in page
    assert "<script" not in page and "http://" not in page and "https://" not in page
    assert page.count("<details") == 6
    assert "<th>ends by itself</th>" in page and "<th>final answer</th>" in page


def test_k_answers_are_clustered_by_question(model, ifeval, tmp_path):
    options = run.Options(data=ifeval, k=3, temperature=0.8, **SHORT)
    result = run.run_benchmark(model, "ifeval", options, tmp_path)
    assert result.correct_QK.shape == (6, 3)
    assert result.overall.n == 6
    assert result.summary()["metric"] == "avg@3"


def test_an_interrupted_evaluation_goes_on_to_the_same_answers(model, ifeval, tmp_path, monkeypatch):
    options = run.Options(data=ifeval, k=2, temperature=0.8, **SHORT)
    whole = run.run_benchmark(model, "ifeval", options, tmp_path / "whole")
    asked = []
    sample = model.engine.sample

    def stopping(prompts, *rest, **more):
        asked.append(len(prompts))
        if len(asked) == 2:
            raise KeyboardInterrupt
        return sample(prompts, *rest, **more)

    monkeypatch.setattr(model.engine, "sample", stopping)
    with pytest.raises(KeyboardInterrupt):
        run.run_benchmark(model, "ifeval", options, tmp_path / "cut")
    assert not (tmp_path / "cut" / "ifeval.json").exists()
    again = run.run_benchmark(model, "ifeval", options, tmp_path / "cut")
    assert asked == [2, 2, 2, 2]  # the first two were kept, of the others one failed
    assert again.texts == whole.texts


def test_a_question_without_room_for_an_answer_is_wrong(model, tmp_path):
    row = {"category": "irrelevance", "function": [{"name": "f", "parameters": {"type": "dict"}}]}
    rows = [row | {"id": "long", "question": [[{"role": "user", "content": "word " * 400}]]}]
    result = run.run_benchmark(
        model, "bfcl", run.Options(data=write(tmp_path / "b.jsonl", rows), k=1), tmp_path
    )
    assert result.summary()["stops"] == {"context": 1}
    assert result.overall.mean == 0.0
    assert "no room for an answer" in result.records[0].marks[0].detail


def test_log_likelihood_tasks(model, tmp_path):
    pairs = [
        {
            "UID": f"p{i % 2}",
            "pairID": i,
            "sentence_good": f"{i} is a number.",
            "sentence_bad": f"{i} are number a.",
        }
        for i in range(8)
    ]
    data = write(tmp_path / "blimp.jsonl", pairs)
    result = run.run_benchmark(model, "blimp", run.Options(data=data), tmp_path)
    found = files.read_json(tmp_path / "blimp.json")
    assert found["metric"] == "acc" and found["decoding"] is None and found["format"] is None
    assert set(found["by_group"]) == {"p0", "p1"}
    picks = [np.argmax(record.scores.loglik) == 0 for record in result.records]
    assert found["overall"]["mean"] == pytest.approx(np.mean(picks))
    assert found["also"]["acc"] == {"mean": pytest.approx(np.mean(picks)), "n": 8}
    assert run.run_benchmark(model, "blimp", run.Options(data=data), tmp_path).overall == result.overall


def test_other_settings_are_refused_or_replaced(model, ifeval, tmp_path):
    run.run_benchmark(model, "ifeval", run.Options(data=ifeval, limit=3, **SHORT), tmp_path)
    other = run.Options(data=ifeval, limit=3, max_new_tokens=5)
    with pytest.raises(ValueError, match="other settings .decoding: .*; give another --out, or delete"):
        run.run_benchmark(model, "ifeval", other, tmp_path)
    assert run.run_benchmark(model, "ifeval", other, tmp_path, anew=True).overall.n == 3


def test_too_few_answers_are_an_error(model, ifeval, tmp_path, monkeypatch):
    sample = model.engine.sample
    monkeypatch.setattr(model.engine, "sample", lambda p, n, **more: [g[:1] for g in sample(p, n, **more)])
    with pytest.raises(ValueError, match="k: wanted 2 answers to each question, .* gave 1"):
        run.run_benchmark(model, "ifeval", run.Options(data=ifeval, k=2, temperature=0.5, **SHORT), tmp_path)


def test_a_tokenizer_of_another_model_is_refused(tmp_path):
    shape = Shape(hidden=32, layers=1, heads=4, kv_heads=2, mlp=64, context=64, tied=True)
    small = new_model(_Fake(), shape, 0)
    save(tmp_path, small, tiny.tokenizer())
    with pytest.raises(ValueError, match="tokenizer: .* has ids up to 319, the model's embedding 100 rows"):
        run.Target(tmp_path)


class _Fake:
    """A tokenizer of 100 ids."""

    pad_token_id, eos_token_id = 0, 1

    def __len__(self):
        return 100


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: run.Target("shipped", batch=0), "batch: got 0"),
        (lambda: run.Target("shipped", name="x"), "name: got 'x' for shipped"),
        (lambda: run.Target("http://localhost:1/v1"), "wanted the name of the model at that server"),
    ],
)
def test_targets_that_cannot_be(make, told):
    with pytest.raises(ValueError, match=told):
        make()


def test_an_endpoint_answers_and_cannot_be_scored_by_choices(server, ifeval, tmp_path):
    remote = run.Target(server.url, "tiny", batch=4)
    result = run.run_benchmark(remote, "ifeval", run.Options(data=ifeval, **SHORT), tmp_path)
    assert result.texts[2] == "echo Say 2 < 5."
    assert result.overall.mean == 1.0
    with pytest.raises(ValueError, match="blimp compares log-likelihoods"):
        run.run_benchmark(remote, "blimp", run.Options(), tmp_path)


def test_what_a_server_failed_on_is_marked_and_asked_again(server, ifeval, tmp_path):
    server.answer = lambda request: 400 if "Say 2" in str(request["messages"]) else chat("fine")
    remote = run.Target(server.url, "tiny", batch=4)
    first = run.run_benchmark(remote, "ifeval", run.Options(data=ifeval, **SHORT), tmp_path)
    found = files.read_json(tmp_path / "ifeval.json")
    assert (found["status"], found["infra"], found["overall"]["n"]) == ("partial", 1, 5)
    assert "HTTP 400" in found["first_reason"] and first.correct_QK.mask[2].all()
    server.answer = lambda request: chat("fine")
    again = run.run_benchmark(remote, "ifeval", run.Options(data=ifeval, **SHORT), tmp_path)
    assert (again.overall.n, again.summary()["status"]) == (6, "complete")


def test_a_journal_drops_the_line_that_a_kill_cut(tmp_path):
    path = tmp_path / "x.jsonl"
    with Journal(path, {"task": "x"}) as journal:
        journal.add([{"id": "1", "v": "é\ud800"}, {"id": "2"}])
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"id": "3", "v')
    with Journal(path, {"task": "x"}) as journal:
        assert set(journal.records) == {"1", "2"} and journal.records["1"]["v"] == "é\ud800"
        journal.add([{"id": "2", "v": 1}])
    assert path.read_bytes().startswith(whole)
    assert Journal(path, {"task": "x"}).records["2"] == {"id": "2", "v": 1}
    with pytest.raises(ValueError, match="task: 'x' there, 'y' now"):
        Journal(path, {"task": "y"})


def test_a_form_follows_from_the_chat_template():
    class Plain:
        chat_template = None

    made = run.Target.__new__(run.Target)
    made.remote, made.tokenizer = False, Plain()
    assert (made.form, made.native_tools) == ("base", False)
    Plain.chat_template = "{{ tools }}"
    assert (made.form, made.native_tools) == ("chat", True)
    assert target.Target is run.Target
