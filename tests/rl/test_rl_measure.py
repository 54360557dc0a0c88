"""Measures by hand-made answers."""

import numpy as np
import pytest

from nbkit.models.engine import Completion
from nbkit.rl.measure import Measured, changes, fresh_questions, measure, planted_preference, win_rates
from nbkit.tasks.skills import Task, sample
from nbkit.tasks.world import eval_tasks

SUM = Task("add", "math", 1, "train", "What is 3 + 4?", (), "7", "number")
SKY = Task("sky", "general", 1, "train", "What colour is the sky?", (), "blue")


def measured(hot, cool=None, greedy=None):
    tasks = [SUM, SKY, SUM]
    hot = np.ma.array(hot, dtype=bool)
    return Measured(tasks, hot, hot if cool is None else np.ma.array(cool, dtype=bool), hot[:, :1])


BEFORE = measured([[1, 0], [0, 0], [0, 0]])
AFTER = measured([[1, 1], [0, 0], [1, 0]])


def test_scores_are_over_the_domains_that_were_asked_for():
    scores = AFTER.scores(["math"])
    assert scores["avg T=1"].mean == 0.75 and scores["pass@k"].mean == 1.0 and scores["avg T=1"].n == 2
    assert AFTER.scores(["general"])["avg T=1"].mean == 0.0


def test_changes_are_taken_question_by_question():
    found = changes(AFTER, BEFORE, ["math"])
    assert found["avg T=1"].mean == 0.5 and found["pass@k"].mean == 0.5 and found["greedy"].mean == 0.5
    assert found["avg T=1"].n == 2
    assert changes(AFTER, BEFORE, ["general"])["avg T=1"].mean == 0.0


def test_a_question_with_ungraded_samples_is_wrong_for_pass_at_k_only_where_all_are_known():
    hot = np.ma.array([[1, 0], [0, 0], [0, 0]], mask=[[0, 1], [0, 0], [0, 1]], dtype=bool)
    found = measured(hot).marks()["pass@k"]
    assert found.tolist() == [[True], [False], [None]]


def test_fresh_questions_are_held_out_and_not_those_of_the_ladder():
    tasks = fresh_questions(["embedded"], 20)
    assert {t.split for t in tasks} == {"operands"} and len(tasks) == len({t.question for t in tasks}) == 100
    train = {t.question for t in sample(5000, "train", seed=0, levels=(1, 4))}
    assert not train & {t.question for t in tasks}
    assert len({t.question for t in tasks} & {t.question for t in eval_tasks(300, "operands")}) < 40
    assert tasks == fresh_questions(["embedded"], 20)


def test_measure_samples_at_two_temperatures_and_greedily():
    asked = []

    class Policy:
        def sample(self, prompts, n, limit, temperature, top_p, seed):
            asked.append((n, temperature, top_p))
            text = "7" if temperature else "8"
            return [[Completion(text, [1], "stop" if i else "length") for i in range(n)] for _ in prompts]

    found = measure(Policy(), [SUM], None, k=4, max_new_tokens=8)
    assert asked == [(4, 1.0, 1.0), (4, 0.6, 0.95), (1, 0.0, 1.0)]
    # the first of each group was cut off: no answer
    assert found.hot_QK.tolist() == [[False, True, True, True]] and found.greedy_Q1.tolist() == [[False]]


def test_raters_prefer_right_to_wrong_and_plain_to_small_talk():
    answers = ("7", "lol 7 see you later!!", "8", "lol 8 brb", "")
    assert [planted_preference(SUM, text, None) for text in answers] == [2, 1, 0, 0, 0]


def test_win_rates_are_against_the_references_by_judge_and_by_rule():
    class Longer:
        def prefer(self, triples):
            return np.array([float(len(a) > len(b)) for _, a, b in triples])

    groups = [[Completion("7"), Completion("seven, I think")], [Completion("blue"), Completion("red")]]
    nothing = win_rates([SUM, SKY], groups, lambda tasks: [["7"], []], Longer(), None)
    assert nothing["judge"].mean == pytest.approx((0.75 + 1) / 2), "an answer wins against none"
    cut = [[Completion("7", stop="length"), Completion("7", stop="length")], groups[1]]
    lost = win_rates([SUM, SKY], cut, lambda tasks: [["8"], ["red"]], Longer(), None)
    assert lost["rule"].mean == pytest.approx(0.375), "both first ones are right, and were cut off"
    found = win_rates([SUM, SKY], groups, lambda tasks: [["7"], ["red"]], Longer(), None)
    # judge: a tie and a win; a win and a tie. rule: a tie and a loss; a win and a tie
    assert found["judge"].mean == pytest.approx(0.75)
    assert found["rule"].mean == pytest.approx(0.5)
