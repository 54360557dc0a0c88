"""reasoning-gym as a benchmark: questions, marks, files, the command line."""

import json

import pyarrow.parquet as pq
import pytest
import tiny
from gym_library import needs_library

from nbkit.cli.commands import main
from nbkit.evals.bench import items, run
from nbkit.evals.bench.grading import mark
from nbkit.evals.bench.prompts import Asker
from nbkit.evals.bench.table import benchmark
from nbkit.models.load import Shape, new_model, save
from nbkit.run import files
from nbkit.tasks.sets import evaluation_tasks
from nbkit.verify import gym

pytestmark = needs_library


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    found = tmp_path_factory.mktemp("model")
    # The library's system prompt alone takes some hundred of these tokens.
    shape = Shape(hidden=32, layers=2, heads=4, kv_heads=2, mlp=64, context=2048, tied=True)
    save(found, new_model(tiny.tokenizer(), shape, 0), tiny.tokenizer())
    return found


def test_questions_are_those_of_the_test_side_and_a_smaller_set_begins_a_larger_one():
    name = "reasoning_gym:gcd+spell_backward"
    found = items.load(benchmark(name), 10)
    assert [item.question for item in found.items] == [task.question for task in evaluation_tasks([name], 10)]
    assert [item.id for item in found.items[:3]] == ["gcd-1", "spell_backward-1", "gcd-2"]
    assert items.load(benchmark(name), 4).items == found.items[:4]
    assert found.source["from"] == gym.PACKAGE and found.total == 10 and found.left_out == 0
    assert len(items.load(benchmark("reasoning_gym:gcd")).items) == 200


def test_the_name_alone_means_the_easy_tasks():
    groups = {item.group for item in items.load(benchmark("reasoning_gym"), 24).items}
    assert groups == {item.group for item in items.load(benchmark("reasoning_gym:easy"), 24).items}
    assert len(groups) == 12


def test_it_is_asked_as_the_library_asks():
    bench = benchmark("reasoning_gym:gcd")
    (item,) = items.load(bench, 1).items
    system, user = Asker(bench, "chat").prompt(item)
    assert system["role"] == "system" and "<answer>answer here</answer>" in system["content"]
    assert user == {"role": "user", "content": item.question}
    assert Asker(bench, "base").document(item) == f"Question: {item.question}\nAnswer:"


def test_marks():
    bench = benchmark("reasoning_gym:spell_backward@1")
    (item,) = items.load(bench, 1).items
    right = mark(bench, item, f"So: <answer>{item.answer}</answer>", "chat")
    assert (right.value, right.also, right.detail) == (1.0, {"mean score": [1.0]}, "")
    near = mark(bench, item, f"<answer>{item.answer[:-1]}</answer>", "chat")
    (part,) = near.also["mean score"]
    assert near.value == 0.0 and 0 < part < 1 and near.detail == f"the library scores it {part:.3g}"
    cut = mark(bench, item, f"<think>{item.answer}", "chat")
    assert cut.value == 0.0 and cut.also == {"mean score": [0.0]}


def test_a_grader_that_raised_is_named_beside_the_mark():
    bench = benchmark("reasoning_gym:prime_factorization")
    (item,) = items.load(bench, 1).items
    found = mark(bench, item, "<answer>two</answer>", "chat")
    assert found.value == 0.0 and found.detail.startswith("grading it: ValueError")


def test_the_files(folder, tmp_path):
    name = "reasoning_gym:gcd+leg_counting"
    options = run.Options(limit=6, max_new_tokens=4)
    result = run.run_benchmark(run.Target(folder, batch=4), name, options, tmp_path)
    stem = "reasoning_gym.gcd+leg_counting"
    assert {path.name for path in tmp_path.iterdir()} == {
        f"{stem}{end}" for end in (".json", ".parquet", ".html", ".journal.jsonl")
    }
    found = files.read_json(tmp_path / f"{stem}.json")
    assert found["task"] == name and found["questions"] == found["overall"]["n"] == 6
    assert found["also"]["mean score"]["n"] == 6 and set(found["by_group"]) == {"gcd", "leg_counting"}
    assert found["settings"]["source"]["from"] == gym.PACKAGE
    table = pq.read_table(tmp_path / f"{stem}.parquet").to_pylist()
    assert [row["answer"] for row in table] == [item.answer for item in result.tasks]


def test_a_question_without_room_counts_in_the_mean_score(tmp_path):
    save(tmp_path / "model", tiny.model(), tiny.tokenizer())
    name, options = "reasoning_gym:gcd", run.Options(limit=2, max_new_tokens=4)
    result = run.run_benchmark(run.Target(tmp_path / "model"), name, options, tmp_path / "out")
    assert result.summary()["stops"] == {"context": 2}
    assert result.also() == {"mean score": {"mean": 0.0, "n": 2}}


def test_the_command(folder, tmp_path, capsys):
    tasks = "reasoning_gym:gcd,reasoning_gym:syllogism"
    arguments = ["--limit", "2", "--max-new-tokens", "3", "--out", str(tmp_path / "out")]
    assert main(["eval", str(folder), "--tasks", tasks, *arguments]) == 0
    said = capsys.readouterr().out
    assert "reasoning-gym: gcd" in said and "reasoning_gym.syllogism.json" in said
    assert json.loads((tmp_path / "out" / "reasoning_gym.gcd.json").read_text())["questions"] == 2


def test_a_file_of_ones_own_is_refused(tmp_path):
    with pytest.raises(ValueError, match="data: reasoning_gym:gcd makes its questions itself"):
        items.load(benchmark("reasoning_gym:gcd"), 2, str(tmp_path / "rows.jsonl"))


def test_a_name_that_is_none_stops_before_the_model_is_loaded(tmp_path, capsys):
    assert main(["eval", "no-such-model", "--tasks", "reasoning_gym:gdc", "--out", str(tmp_path)]) == 2
    assert "did you mean 'gcd'" in capsys.readouterr().err
