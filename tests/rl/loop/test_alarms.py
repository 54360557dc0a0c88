"""Each alarm, provoked."""

import pytest
import tiny

from nbkit.rl.loop.alarms import Alarms, refuse_bad_start, refuse_leaks
from nbkit.tasks.skills import Task, sample
from nbkit.verify.errors import GraderError

GOOD = {"graded": 1.0, "reward_min": 0.0, "reward_max": 1.0, "gap": 0.001, "cut": 0.0, "held": 0.0}
GOOD |= {"length": 40.0, "entropy": 0.5}


def told(*changes, start=3):
    """The alarms of the last of some rows: `start` good ones, then one for each of `changes`."""
    alarms, said = Alarms(), []
    for change in [{}] * start + list(changes):
        said = alarms(GOOD | change)
    return said


def test_nothing_is_said_of_a_good_step():
    assert told({}, {}, {}) == []


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_equal_rewards_are_told_after_three_steps(value):
    flat = {"reward_min": value, "reward_max": value}
    assert told(flat, flat) == []
    (said,) = told(flat, flat, flat)
    assert said == f"every reward was {value:g} for 3 steps: nothing can be learned"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"graded": 0.9}, "the grader failed on 10% of the completions"),
        ({"graded": 0.0}, "no completion got a reward: this step changes no weight"),
        ({"gap": 0.2}, "sampler and trainer differ by 0.200 nats a token"),
        ({"cut": 0.3}, "30% of the completions ran into max_new_tokens"),
        ({"held": 0.5}, "the clip holds back 50% of the tokens"),
    ],
)
def test_each_alarm_rings(change, words):
    (said,) = told(change)
    assert said.startswith(words)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"length": 90.0}, "completions are 2.2 times as long as at the start"),
        ({"length": 10.0}, "completions are 0.2 times as long as at the start"),
        ({"entropy": 0.1}, "entropy fell from 0.500 to 0.100 nats a token"),
    ],
)
def test_a_drift_rings_once_it_lasts(change, words):
    assert told(change) == []
    (said,) = told(change, change, change)
    assert said.startswith(words)


def test_steps_without_any_reward_end_the_stage():
    with pytest.raises(GraderError, match="no completion got a reward for 3 steps in a row; mend the grader"):
        told({"graded": 0.0}, {"graded": 0.0}, {"graded": 0.0})


def test_a_tokenizer_without_a_template_is_refused():
    class Bare:
        chat_template = None

    with pytest.raises(ValueError, match="without a chat template, wanted the one that fine-tuning saved"):
        refuse_bad_start(Bare())
    refuse_bad_start(tiny.tokenizer())


TASK = Task("add", "math", 1, "train", "What is 30 + 12?", ("30 + 10 = 40", "40 + 2 = 42"), "42", "number")


@pytest.mark.parametrize(
    "prompt",
    [
        "<|im_start|>system\nIt is 42.<|im_end|>What is 30 + 12?",
        "What is 30 + 12? The answer is 42",
        "What is 30 + 12?\n30 + 10 = 40\n40 + 2 = 42",
    ],
)
def test_a_prompt_with_its_answer_is_refused(prompt):
    with pytest.raises(ValueError, match="the reference answer '42' of a add question stands in its prompt"):
        refuse_leaks([TASK], [prompt])


def test_a_question_may_hold_its_reference():
    choice = Task("choice", "general", 1, "train", "Which is blue, sky or grass? Answer A or B.", (), "A")
    refuse_leaks([choice], [f"<|im_start|>user\n{choice.question}<|im_end|>\n<|im_start|>assistant\n"])
    with pytest.raises(
        ValueError, match="the reference answer 'A' of a choice question stands in its prompt"
    ):
        refuse_leaks([choice], [f"{choice.question} The answer is A"])


def test_no_question_of_the_world_gives_its_answer_away():
    tasks = sample(800, "train", seed=4, levels=(1, 4))
    refuse_leaks(tasks, [f"<|im_start|>user\n{t.question}<|im_end|>\n<|im_start|>assistant\n" for t in tasks])
