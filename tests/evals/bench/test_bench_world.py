"""The embedded world as a benchmark: the questions, prompts and verdicts of 07."""

import pytest

from nbkit.evals.bench import items
from nbkit.evals.bench.grading import mark
from nbkit.evals.bench.prompts import Asker
from nbkit.evals.bench.table import benchmark
from nbkit.tasks.skills import checkable
from nbkit.tasks.world import base_prompt, eval_tasks, prompt_of, worked
from nbkit.verify.jail.jail import Jail

N = 60


@pytest.fixture(scope="module")
def found():
    return items.load(benchmark("embedded"), N).items


def test_the_questions_are_those_of_07_asked_in_the_same_words(found):
    tasks = eval_tasks(N, "operands")
    assert [item.extra["task"] for item in found] == tasks and all(map(checkable, tasks))
    chat, base = (Asker(benchmark("embedded"), form, native_tools=True) for form in ("chat", "base"))
    assert [chat.prompt(item) for item in found] == [prompt_of(task) for task in tasks]
    assert [base.prompt(item) for item in found] == [base_prompt(task.question) for task in tasks]
    assert len({item.id for item in found}) == N and len(items.load(benchmark("embedded")).items) == 600


def test_worked_solutions_are_right_and_another_answer_is_not(found):
    bench = benchmark("embedded")
    with Jail() as jail:
        for item in found:
            task = item.extra["task"]
            document = worked(task).removeprefix(base_prompt(task.question))
            assert mark(bench, item, f"<think>{task.chain}</think>{task.answer}", "chat", jail).value == 1.0
            assert mark(bench, item, document, "base", jail).value == 1.0, item.id
            assert mark(bench, item, "no idea", "chat", jail).value == 0.0


def test_more_questions_than_there_are_and_a_file_of_ones_own_are_refused():
    with pytest.raises(ValueError, match="questions: got 1000000, but the split 'operands' has"):
        items.load(benchmark("embedded"), 1_000_000)
    with pytest.raises(ValueError, match="embedded makes its questions itself; leave --data"):
        items.load(benchmark("embedded"), 10, data="some.jsonl")
