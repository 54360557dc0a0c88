"""Questions of reasoning-gym as tasks: which, from which side, and that each can be graded."""

import json
import re
import tomllib
from pathlib import Path

import pytest
from gym_library import needs_library

from nbkit.rl.rewards import verified
from nbkit.tasks import gym, skills
from nbkit.tasks.partial import partial_credit
from nbkit.tasks.sets import domains_of, evaluation_tasks, training_tasks
from nbkit.tasks.skills import Task, verify
from nbkit.tasks.world import chat
from nbkit.verify import gym as grading

ROOT = Path(__file__).resolve().parents[2]


def test_the_extra_is_the_package_that_messages_name():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["optional-dependencies"]["gym"] == [grading.PACKAGE]


def test_without_the_library_the_extra_is_named(monkeypatch):
    monkeypatch.setattr(grading, "installed", lambda: False)
    for draw in (
        lambda: training_tasks(["reasoning_gym:easy"], 4),
        lambda: domains_of(["reasoning_gym:gcd"]),
    ):
        with pytest.raises(ValueError, match=r"the extra `gym`\); run `.* -m pip install reasoning-gym=="):
            draw()


@needs_library
@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("reasoning_gym:chainsum", "has no task 'chainsum'; did you mean 'chain_sum'"),
        ("reasoning_gym:", "has no task ''"),
        ("reasoning_gym:countdown", "left out: its grader evaluates the answer as Python"),
        ("reasoning_gym:gcd@9", "got level 9, wanted 0 to 3"),
        ("reasoning_gym:acre@1", "got level 1, wanted 0 to 0"),
        ("reasoning_gym:gcd@hard", "got level 'hard', wanted a number"),
    ],
)
def test_names_that_are_none(name, message):
    with pytest.raises(ValueError, match=message):
        evaluation_tasks([name], 4)


@needs_library
def test_a_name_may_hold_levels_and_several():
    found = gym.kinds("reasoning_gym:gcd@2+spell_backward+gcd@2")
    assert [str(kind) for kind in found] == ["reasoning_gym:gcd@2", "reasoning_gym:spell_backward"]
    assert {kind.name for kind in gym.kinds("reasoning_gym:easy")} == set(gym.EASY)
    assert domains_of(["reasoning_gym:gcd+spell_backward"]) == {"math", "general"}


@needs_library
def test_every_task_is_known_or_left_out_for_a_reason():
    from reasoning_gym.factory import DATASETS  # noqa: PLC0415 (optional)

    assert set(gym.LEFT_OUT) <= set(DATASETS) and not set(gym.EASY) & set(gym.LEFT_OUT)
    assert all(reason for reason in gym.LEFT_OUT.values())


@needs_library
def test_no_grader_of_a_task_that_is_taken_can_execute_an_answer():
    import inspect  # noqa: PLC0415 (this test alone)

    from reasoning_gym.factory import DATASETS  # noqa: PLC0415 (optional)

    for name in sorted(set(DATASETS) - set(gym.LEFT_OUT)):
        source = inspect.getsource(DATASETS[name][0].score_answer)
        for word in ("eval(answer", "exec(", "parse_expr", "sympify", "subprocess"):
            assert word not in source, f"{name}: {word}"


@needs_library
@pytest.mark.parametrize("name", gym.EASY)
def test_right_and_wrong_answers_of_the_easy_tasks(name):
    tasks = gym.gym_tasks(f"reasoning_gym:{name}", "train", 5) + gym.gym_tasks(
        f"reasoning_gym:{name}", "test", 3
    )
    for task in tasks:
        assert verify(task, task.answer) and verify(task, f"<think>so\n</think>{task.answer}")
        assert verify(task, f"I think that it is <answer>{task.answer}</answer>")
        for wrong in ("", "no idea", "nan", "<answer></answer>", f"{task.answer}x"):
            assert not verify(task, wrong), (task.question, wrong)


@needs_library
def test_training_and_test_never_meet():
    name = "reasoning_gym:chain_sum+basic_arithmetic+gcd"
    test = evaluation_tasks([name], 150)
    asked = {" ".join(task.question.casefold().split()) for task in test}
    assert len(asked) == len(test) == 150
    for seed in range(3):
        trained = training_tasks([name], 200, seed=seed)
        assert len({task.question for task in trained}) == 200 and {task.split for task in trained} == {
            "train"
        }
        assert not asked & {" ".join(task.question.casefold().split()) for task in trained}
    # Neither does another level of the same task.
    harder = training_tasks(["reasoning_gym:chain_sum@1"], 200)
    assert not asked & {" ".join(task.question.casefold().split()) for task in harder}


@needs_library
def test_draws_are_the_same_again_and_a_smaller_one_begins_a_larger_one():
    name = "reasoning_gym:chain_sum+leg_counting+spell_backward"
    assert evaluation_tasks([name], 12) == evaluation_tasks([name], 40)[:12]
    assert gym.gym_tasks(name, "train", 10, seed=4) == gym.gym_tasks(name, "train", 25, seed=4)[:10]
    assert gym.gym_tasks(name, "train", 10, seed=4) != gym.gym_tasks(name, "train", 10, seed=5)


@needs_library
def test_a_task_with_few_questions_ends_and_one_without_is_an_error():
    few = gym.gym_tasks("reasoning_gym:tower_of_hanoi", "train", 50)
    assert 0 < len(few) < 10 and len({task.question for task in few}) == len(few)
    with pytest.raises(ValueError, match="task_sets: reasoning_gym:tower_of_hanoi has 5 usable train rows"):
        training_tasks(["reasoning_gym:tower_of_hanoi"], 50)


@needs_library
def test_shares_of_domains_hold_and_it_mixes_with_the_embedded_world():
    tasks = training_tasks(["embedded", "reasoning_gym:easy"], 40, {"math": 0.5, "general": 0.5}, seed=1)
    gyms = [task for task in tasks if task.kind == "gym"]
    assert len(tasks) == 40 and len(gyms) == 20 and {task.domain for task in gyms} == {"math", "general"}
    assert chat(gyms[0])[-1]["content"] == gyms[0].answer


@needs_library
def test_near_misses_get_a_part_in_05_and_nothing_in_06():
    (task,) = gym.gym_tasks("reasoning_gym:spell_backward@1", "train", 1)
    near = task.answer[:-1] + ("x" if task.answer[-1] != "x" else "y")
    assert 0 < partial_credit(task, near, None) < 1 == partial_credit(task, task.answer, None)
    assert not verify(task, near)
    rewards = verified(None)([task], [[said(near), said(task.answer), said(task.answer, ended=False)]])
    assert rewards == [[0.0, 1.0, 0.0]]


class said:
    """A completion."""

    def __init__(self, text: str, ended: bool = True):
        self.text, self.stopped = text, ended


@needs_library
def test_why_an_answer_could_not_be_graded_is_logged_once(caplog, monkeypatch):
    monkeypatch.setattr(skills, "_TOLD", set())
    (task,) = gym.gym_tasks("reasoning_gym:prime_factorization", "train", 1)
    assert not verify(task, "two × three") and not verify(task, "five × six")
    (record,) = [r for r in caplog.records if "prime_factorization" in r.getMessage()]
    assert "counts as wrong" in record.getMessage() and "ValueError" in record.getMessage()


@needs_library
def test_a_task_is_plain_data():
    (task,) = gym.gym_tasks("reasoning_gym:gsm_symbolic", "train", 1)  # its metadata holds fractions
    assert isinstance(task, Task) and hash(task)
    kept = json.loads(task.entry)
    assert (kept["name"], kept["level"], kept["entry"]["answer"]) == ("gsm_symbolic", 0, task.answer)


def test_the_docs_name_what_is_left_out():
    page = (ROOT / "docs/evaluation.md").read_text(encoding="utf-8")
    rows = page.partition("| tasks | why |")[2].partition("\n\n")[0].split("\n")[2:]
    named = [name for row in rows for name in re.findall(r"`(\w+)`", row.split("|")[1])]
    assert sorted(named) == sorted(gym.LEFT_OUT)
