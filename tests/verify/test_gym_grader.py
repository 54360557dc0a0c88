"""Grades by reasoning-gym's own functions: what hostile answers cannot do, what is read as an answer."""

import json
import sys
import threading

import pytest
from gym_library import needs_library

from nbkit.verify import gym
from nbkit.verify.errors import GraderError
from nbkit.verify.gym_worker import dataset, graded, resource


def key(name: str, seed: int = 1) -> tuple[str, str]:
    """An entry as `Grader.score` wants it, and its answer."""
    entry = dataset(name, 0, seed)[0]
    return json.dumps({"name": name, "level": 0, "entry": entry}), entry["answer"]


@pytest.fixture
def grader():
    made = gym.Grader(cpu_s=1)
    yield made
    made.close()


@needs_library
def test_the_library_decides(grader):
    task, answer = key("chain_sum")
    assert grader.score(task, answer) == gym.Score(1.0)
    assert grader.score(task, f"+0{answer}.00") == gym.Score(1.0)  # its rule: the same number
    assert (
        grader.score(task, f"I say {answer}").value < 1.0
    )  # its part for an answer that holds the right one
    assert grader.score(task, "no idea") == gym.Score(0.0)


@needs_library
def test_an_exception_is_a_wrong_answer_and_named(grader):
    task, answer = key("prime_factorization")
    found = grader.score(task, "two × three")
    assert found.value == 0.0 and found.detail.startswith("grading it: ValueError: invalid literal for int()")
    assert grader.score(task, answer).value == 1.0


@needs_library
@pytest.mark.skipif(resource is None, reason="processor time cannot be limited on this system")
def test_an_answer_that_runs_on_is_wrong_and_the_next_one_is_graded(grader):
    task, answer = key("coin_flip")  # read as a fraction: a billion digits
    found = grader.score(task, "1e999999999")
    assert found == gym.Score(0.0, "grading it took more than 1 s of processor time")
    assert grader.score(task, answer) == gym.Score(1.0)


class Says:
    """A data set of the library whose function gives this."""

    def __init__(self, value):
        self.value = value

    def score_answer(self, answer, entry):
        return self.value


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -0.5, 1.5])
def test_a_score_that_is_none_is_an_error(value):
    assert graded(Says(value), "7", {}) == {"error": f"the score {value} is no number from 0 to 1"}


def test_a_score_that_is_no_number_is_an_error():
    assert graded(Says(None), "7", {})["error"].startswith("TypeError: ")
    assert graded(Says(True), "7", {}) == {"score": 1.0}


@needs_library
def test_odd_text_does_not_break_the_line(grader):
    task, answer = key("chain_sum")
    for text in ("\ud800", "\n\n", '"}\n{"score": 1.0}', "\x00", "7" * 19_000, ""):
        assert grader.score(task, text).value < 1.0
    assert "more than 20000" in grader.score(task, "7" * 20_001).detail
    assert grader.score(task, answer).value == 1.0


@needs_library
def test_many_threads_get_each_their_own_grade(grader):
    tasks, found = [key("chain_sum", seed) for seed in range(1, 9)], {}

    def ask(number):
        task, answer = tasks[number]
        found[number] = [grader.score(task, text).value for text in (answer, "x", answer)]

    threads = [threading.Thread(target=ask, args=(n,)) for n in range(len(tasks))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {n: [1.0, 0.0, 1.0] for n in range(len(tasks))}


@needs_library
def test_a_process_that_someone_ended_says_nothing_about_the_answer(grader, monkeypatch):
    task, answer = key("chain_sum")
    grader.score(task, answer)
    process = grader._process
    monkeypatch.setattr(process, "poll", lambda: None)  # it dies after it was looked at
    process.terminate()
    process.wait()
    with pytest.raises(GraderError, match="the process that grades with reasoning-gym.* failed: SIGTERM"):
        grader.score(task, answer)
    assert grader.score(task, answer).value == 1.0


def test_without_the_library_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "reasoning_gym", None)
    monkeypatch.setattr(gym, "installed", lambda: False)
    with pytest.raises(ValueError, match=r"not installed, wanted 0.1.25 \(the extra `gym`\).*pip install"):
        gym.Grader().score("{}", "7")


@pytest.mark.parametrize(
    ("response", "number", "wanted"),
    [
        ("<answer>7</answer>", True, "7"),
        ("<answer>6</answer> no: <answer> 7 </answer>", True, "7"),
        ("<think><answer>6</answer></think>7", True, "7"),
        ("<think>3 + 4 = 7</think>7", True, "7"),
        ("3 + 4 = 7, so the answer is 7.", True, "7"),
        (r"so it is \boxed{7}", True, "7"),
        ("mother", False, "mother"),
        ("They have a child.\nAnswer: mother", False, "mother"),
        ("<think>Answer: father</think><answer>mother</answer>", False, "mother"),
        ("1 2\n3 4", False, "1 2\n3 4"),
        ("<answer>1 2\n3 4\n</answer>", False, "1 2\n3 4"),
        ("<answer>write <answer>mother</answer> or </answer>", False, "mother"),
        ("<ANSWER>mother</Answer>", False, "mother"),
        ("</answer>mother", False, "</answer>mother"),
        ("", False, ""),
    ],
)
def test_what_is_read_as_the_answer(response, number, wanted):
    assert gym.said(response, number) == wanted


@pytest.mark.parametrize("answer", ["7", "-7", "1,000", "0.375", " 12 ", ".5"])
def test_what_a_number_is(answer):
    assert gym.is_number(answer)


@pytest.mark.parametrize("answer", ["", "7 apples", "3/8", "1 2", "B", "0x1f", "1:30"])
def test_what_is_no_number(answer):
    assert not gym.is_number(answer)
