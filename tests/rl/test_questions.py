"""The stream of questions: fresh, disjoint, inside the band, the same again after a resume."""

from collections import Counter

import numpy as np
import pytest

from nbkit.rl.questions import Cell, NothingInBand, Questions, set_cells, within_band, world_cells
from nbkit.tasks.skills import Task, sample
from nbkit.tasks.world import eval_tasks, instruction

STEM = {"math": 1.0, "science": 1.0}


def stream(**changed):
    return Questions(world_cells(list(STEM)), STEM, seed=3, **changed)


def test_the_band_is_strict_on_both_sides():
    rates = np.array([0.0, 0.1, 0.125, 0.5, 0.875, 0.9, 1.0, np.nan])
    assert within_band(rates).tolist() == [False, False, True, True, True, False, False, False]


def test_cells_are_the_levels_of_the_skills():
    names = [cell.name for cell in world_cells(["science"], (1, 4))]
    assert {"warming/1", "warming/2", "speed/1"} <= set(names) and "warming/3" not in names
    assert all(cell.domain == "science" for cell in world_cells(["science"]))


def test_no_question_twice_and_none_of_the_test():
    asked = [instruction(t) for _ in range(60) for t in stream_of_60().draw(8)]
    assert len(asked) == len(set(asked)) == 480
    assert not set(asked) & {t.question for t in eval_tasks(3000, "operands")}


def stream_of_60(made=[]):  # noqa: B006 (one stream for the whole test)
    made.append(stream()) if not made else None
    return made[0]


def test_questions_of_earlier_stages_are_not_asked():
    taught = {instruction(t) for t in sample(4000, "train", seed=8, weights=STEM)}
    questions = stream(avoid=taught)
    asked = {instruction(t) for _ in range(40) for t in questions.draw(8)}
    assert not asked & taught and questions.counts()["repeats"] == 0


def test_domains_stand_in_their_shares():
    questions = Questions(world_cells(["math", "science"]), {"math": 3.0, "science": 1.0}, seed=0)
    counts = Counter(t.domain for _ in range(50) for t in questions.draw(8))
    assert 0.68 < counts["math"] / 400 < 0.82


def by_cell(known):
    """Pass rates by skill level."""
    return lambda tasks: np.array([known.get(f"{t.skill}/{t.level}", 0.0) for t in tasks])


def test_the_survey_keeps_the_skill_levels_inside_the_band():
    questions = stream(explore=0.0)
    tasks, rates = questions.survey(
        120, by_cell({"add/3": 0.5, "multiply/4": 0.2, "add/1": 1.0, "add/2": 0.9})
    )
    assert len(tasks) == len(rates) and questions.counts()["asked"] == 0
    assert {f"{t.skill}/{t.level}" for _ in range(10) for t in questions.draw(8)} == {"add/3", "multiply/4"}


def test_some_questions_come_from_outside_the_band():
    questions = stream(explore=0.5)
    questions.survey(120, by_cell({"add/3": 0.5}))
    cells = Counter(f"{t.skill}/{t.level}" for _ in range(20) for t in questions.draw(8))
    assert 0.3 < cells["add/3"] / 160 < 0.7 and len(cells) > 10


def test_an_empty_band_says_the_histogram_and_what_to_change():
    with pytest.raises(NothingInBand, match=r"tenths: \[40, 0, 0, 0, 0, 0, 0, 0, 0, 0\]; widen the band"):
        stream().survey(40, lambda tasks: np.zeros(len(tasks)))
    with pytest.raises(ValueError, match=r"tenths: \[0, 0, 0, 0, 0, 0, 0, 0, 0, 39\]"):
        stream().survey(40, lambda tasks: np.array([np.nan] + [1.0] * (len(tasks) - 1)))


def test_groups_of_training_move_the_filter():
    questions = stream(explore=0.0, every=2)
    questions.survey(120, by_cell({"add/3": 0.5, "multiply/4": 0.2}))
    for _ in range(2):  # multiply/4 is learned meanwhile
        tasks = questions.draw(8)
        questions.told(tasks, [1.0 if t.skill == "multiply" else 0.5 for t in tasks])
    assert {t.skill for _ in range(2) for t in questions.draw(8)} == {"add"}
    assert [row["kept"] for row in questions.filtered][:2] == [2, 1]


def test_a_band_that_empties_during_training_does_not_end_it():
    questions = stream(explore=0.0, every=1)
    questions.survey(120, by_cell({"add/3": 0.5}))
    for _ in range(5):
        tasks = questions.draw(4)
        questions.told(tasks, [1.0] * 4)
    assert len(questions.draw(4)) == 4


def test_held_back_questions_are_never_asked():
    questions = stream()
    tasks, _ = questions.survey(80, lambda tasks: np.full(len(tasks), 0.5))
    questions.hold_back(tasks)
    asked = {instruction(t) for _ in range(60) for t in questions.draw(8)}
    assert not asked & {instruction(t) for t in tasks}


def one(name, *questions):
    tasks = [Task(name, "math", 1, "train", text, (), "1", "number") for text in questions]
    return Cell(name, "math", lambda rng: rng.choice(tasks))


def test_a_cell_without_a_fresh_question_is_exhausted_then_repeats_are_counted():
    questions = Questions([one("a", "q1", "q2"), one("b", "q3")], {"math": 1.0}, seed=0)
    first = [t.question for t in questions.draw(3)]
    assert sorted(first) == ["q1", "q2", "q3"]
    assert len(questions.draw(5)) == 5
    assert questions.counts() == {
        "asked": 8,
        "different": 3,
        "repeats": 5,
        "cells": 2,
        "kept": 2,
        "exhausted": 2,
    }


def test_where_all_questions_were_asked_by_earlier_stages_it_says_so():
    questions = Questions([one("a", "q1")], {"math": 1.0}, seed=0, avoid=["q1"])
    with pytest.raises(ValueError, match="every one belongs to earlier stages; add task sets or levels"):
        questions.draw(1)


def test_a_real_set_is_filtered_by_question_and_read_again():
    tasks = [Task("gsm8k", "math", 1, "train", f"q{i}", (), "1", "math") for i in range(6)]
    questions = Questions(set_cells(tasks), {"math": 1.0}, seed=0, explore=0.0)
    rates = {"q0": 0.5, "q1": 0.25}
    questions.survey(6, lambda asked: np.array([rates.get(t.question, 1.0) for t in asked]))
    assert {t.question for t in questions.draw(2)} == {"q0", "q1"}


def test_no_cell_at_all_is_refused():
    with pytest.raises(ValueError, match=r"no cell in the domains \['math'\]; add a task set"):
        Questions([], {"math": 1.0}, seed=0)


def test_a_restored_stream_goes_on_as_the_first_would():
    ours, theirs = stream(every=2), stream(every=2)
    for questions in (ours, theirs):
        questions.survey(60, by_cell({"add/3": 0.5, "multiply/4": 0.2}))
    for _ in range(3):
        tasks = ours.draw(4)
        ours.told(tasks, [0.5] * 4)
    theirs.restore(ours.state())
    after = []
    for questions in (ours, theirs):
        drawn = []
        for _ in range(4):
            tasks = questions.draw(4)
            questions.told(tasks, [0.3, 0.95, 0.5, 0.0])
            drawn += [t.question for t in tasks]
        after.append(drawn)
    assert after[0] == after[1] and ours.state() == theirs.state()
