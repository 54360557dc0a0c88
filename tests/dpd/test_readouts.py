"""Further read-outs of 05: which questions they ask, and what is counted."""

import pytest

from nbkit.dpd.readouts import gaps, question_sets, read_outs
from nbkit.models.engine import Completion
from nbkit.tasks.skills import Task


def test_questions_are_split_by_trained_domains():
    sets = question_sets(["embedded"], 60, {"math"})
    assert list(sets) == ["in domain", "other domains", "unseen wordings", "longer compositions"]
    assert len(sets["in domain"]) + len(sets["other domains"]) == 60
    assert {task.domain for task in sets["in domain"]} == {"math"}
    assert "math" not in {task.domain for task in sets["other domains"]}
    assert {task.split for task in sets["longer compositions"]} == {"composition"}
    assert {task.split for task in sets["unseen wordings"]} == {"template"}
    everything = question_sets(["embedded"], 20, {"math", "science", "code", "general", "agent"})
    assert "other domains" not in everything


def task(number: int) -> Task:
    return Task("add", "math", 1, "operands", f"What is {number} + 0?", (), str(number), "number")


class Sometimes:
    """Answers rightly when greedy to even numbers, when sampled once in every `n`."""

    def sample(self, prompts, n=1, max_new_tokens=64, **sampling):
        groups = []
        for (turn,) in prompts:
            number = int(turn["content"].split()[2])
            right = number % 2 == 0 if n == 1 else False
            texts = [str(number if right or (n > 1 and i == n - 1) else number + 1) for i in range(n)]
            groups.append([Completion(text, [1]) for text in texts])
        return groups


def test_pass_at_k_asks_whether_one_sample_is_right(jail):
    found = read_outs(Sometimes(), {"in domain": [task(1), task(2)], "other domains": [task(3)]}, jail, 4, 9)
    assert found["in domain"].tolist() == [[False], [True]]
    assert found["other domains"].tolist() == [[False]]
    assert found["pass@4"].tolist() == [[True], [True]]
    assert "pass@1" not in read_outs(Sometimes(), {"in domain": [task(1)]}, jail, 1, 9)


def test_gaps_are_paired_by_question(jail):
    sets = {"in domain": [task(1), task(2)]}
    one = read_outs(Sometimes(), sets, jail, 4, 9)
    found = gaps(one, {"in domain": one["pass@4"]})
    assert list(found) == ["in domain"] and found["in domain"].mean == pytest.approx(-0.5)
