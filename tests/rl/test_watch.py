"""The watch by hand-made answers: score, guard, probe, and what may be kept."""

import numpy as np
import pytest

from nbkit.models.engine import Completion
from nbkit.rl import watch
from nbkit.rl.watch import Bounds, Exam, Watch, moved, probe
from nbkit.tasks.skills import sample, verify
from nbkit.verify.errors import GraderError

TASKS = sample(10, "train", seed=1, names=["parity"])


class Policy:
    """Right on the first `right` of ten questions, in a text of its own making."""

    def __init__(self, right, text="<think>last digit</think>{}", stop="stop"):
        self.right, self.text, self.stop = right, text, stop

    def sample(self, prompts, n, limit, temperature, seed):
        assert temperature == 1.0
        groups = []
        for i, task in enumerate((TASKS * 3)[: len(prompts)]):
            other = "odd" if task.answer == "even" else "even"
            text = self.text.format(task.answer if i < self.right else other)
            groups.append([Completion(text, [1] * len(text.split()), self.stop) for _ in range(n)])
        return groups


def grade(tasks, groups):
    return [[float(verify(t, c.text)) for c in group] for t, group in zip(tasks, groups, strict=True)]


def failing(lost):
    """Grades like `grade`, and fails on the first `lost` completions."""

    def some(tasks, groups):
        rows, left = grade(tasks, groups), lost
        for row in rows:
            for place in range(len(row)):
                row[place], left = (None if left > 0 else row[place]), left - 1
        return rows

    return some


def looks(*policies):
    seen = Watch(Exam(TASKS, grade, 2), Exam(TASKS, grade, 2), every=1, max_new_tokens=8)
    rows = []
    for policy in policies:
        rows.append(seen(policy, list(rows)))
    return rows


def test_the_score_is_the_mean_reward():
    first, second = looks(Policy(6), Policy(8))
    assert (first["score"], second["score"]) == (0.6, 0.8)
    assert first["eligible"] and second["eligible"] and not second["stop"]


def test_a_completion_that_no_grader_graded_is_left_out():
    values = Exam(TASKS, failing(1), 2).ask(Policy(7), 8, 0)[1]
    assert values.tolist() == [1] * 7 + [0] * 3


@pytest.mark.parametrize(("lost", "share"), [(2, "10%"), (20, "100%")])
def test_a_look_without_grades_is_no_score(lost, share):
    with pytest.raises(GraderError, match=f"failed on {share} of 20 held-back answers, wanted 5% at most"):
        Exam(TASKS, failing(lost), 2).ask(Policy(7), 8, 0)


def test_a_question_without_any_grade_is_left_out_of_the_mean():
    values = Exam(TASKS * 3, failing(1), 1).ask(Policy(7), 8, 0)[1]
    assert np.isnan(values[0]) and np.isfinite(values[1:]).all()


def test_what_loses_the_guard_is_not_kept_and_more_stops():
    _, second = looks(Policy(9), Policy(1))
    assert not second["eligible"] and second["stop"] == "the guard lost 80.0 points"
    assert second["guard_change"]["mean"] == pytest.approx(-0.8) and second["guard_change"]["high"] < 0
    (row,) = looks(Policy(3))
    assert row["eligible"] and not row["stop"], "the start is compared with itself"


def test_a_loss_that_may_be_chance_is_borne():
    _, second = looks(Policy(9), Policy(8))
    assert second["guard_change"]["mean"] == pytest.approx(-0.1) and second["guard_change"]["high"] > 0
    assert second["eligible"] and not second["stop"]


def test_a_certain_loss_is_borne_within_the_bounds():
    def after(policy, guard):
        seen = Watch(Exam(TASKS, grade), Exam(TASKS, grade), 1, 8, bounds=Bounds(guard=guard))
        return seen(policy, [seen(Policy(9), [])])

    assert after(Policy(1), 0.85)["eligible"]
    assert not after(Policy(1), 0.5)["eligible"] and not after(Policy(1), 0.5)["stop"]
    assert after(Policy(1), 0.3)["stop"]


def test_a_question_without_a_grade_is_in_neither_look():
    seen = Watch(Exam(TASKS * 3, grade, 1), Exam(TASKS * 3, failing(1), 1), 1, 8)
    rows = [seen(Policy(9), [])]
    rows.append(seen(Policy(8), rows))
    assert rows[0][watch.VALUES][0] is None and rows[1]["guard_change"]["n"] == 29
    assert all(watch.VALUES not in row for row in watch.shown(rows)) and watch.shown(rows)[1]["score"]


@pytest.mark.parametrize(
    ("policy", "word"),
    [
        (Policy(8, "<think>the digit is it: the digit is it, a story</think>{}"), "times as long"),
        (Policy(8, "{}"), "0.5 times as long"),
        (Policy(8, "<think>last digit</think>{}", "length"), "finished 100% -> 0%"),
        (Policy(8, "last digit {}"), "thinks 100% -> 0%"),
        (Policy(8, "<think>x</think>{} see you later!!"), "chatter 0% -> 100%"),
        (Policy(8, "<think>the digit is it the digit is it the digit is it</think>{}"), "repetition"),
    ],
)
def test_each_mark_of_hacking_stops_the_stage(policy, word):
    _, second = looks(Policy(8), policy)
    assert word in second["stop"] and not second["eligible"]


def test_repetition_is_the_share_of_pieces_seen_before():
    assert watch.repetition("a b c d e") == 0
    assert watch.repetition("a b c d a b c d") == pytest.approx(1 / 5)
    assert watch.repetition("short") == 0


def test_the_probe_measures_what_it_says():
    found = probe(
        [[Completion("<think>a</think>my cat woke me up 7", [1] * 6), Completion("7", [1, 2], "length")]]
    )
    assert found == {"length": 4.0, "repetition": 0.0, "finished": 0.5, "thinks": 0.5, "chatter": 0.5}
    assert moved(found, found, Bounds()) == ([], "")


def test_longer_chains_and_more_of_them_may_be_an_improvement():
    _, second = looks(Policy(8), Policy(8, "<think>a long story about the last digit of it</think>{}"))
    assert second["eligible"] and not second["stop"]
    assert second["note"] == "completions are 4.5 times as long"
    _, second = looks(Policy(8, "last digit {}"), Policy(8))
    assert second["eligible"] and not second["stop"], "all think now, and none did"


def test_length_is_a_fault_where_answers_are_cut_off_more_often():
    at_first = {"length": 20.0, "repetition": 0.0, "finished": 0.99, "thinks": 1.0, "chatter": 0.0}
    assert moved(at_first, at_first | {"length": 40.0, "finished": 0.98}, Bounds())[0] == []
    found, note = moved(at_first, at_first | {"length": 40.0, "finished": 0.95}, Bounds())
    assert found == ["completions are 2.0 times as long"] and note == ""
