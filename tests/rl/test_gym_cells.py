"""Cells of sets that are not the world's: questions of reasoning-gym without end, other sets one by one."""

import random

import pytest
from gym_library import needs_library

from nbkit.rl.questions import Questions, real_cells, set_cells
from nbkit.tasks.sets import evaluation_tasks, training_tasks
from nbkit.tasks.world import instruction

GYM = "reasoning_gym:gcd+basic_arithmetic+spell_backward"


def same(task):
    return task


def test_other_sets_are_a_pool_of_questions():
    cells = real_cells(["embedded"], {"math": 1.0}, 6, 3, same)
    wanted = set_cells(training_tasks(["embedded"], 6, {"math": 1.0}, 3))
    assert [cell.name for cell in cells] == [cell.name for cell in wanted]
    assert [cell.make(None) for cell in cells] == [cell.make(None) for cell in wanted]


@needs_library
def test_a_task_of_the_library_is_one_cell_and_its_questions_do_not_end():
    cells = real_cells([GYM], {"math": 1.0}, 6, 3, same)
    assert [cell.name for cell in cells] == ["reasoning_gym:gcd", "reasoning_gym:basic_arithmetic"]
    questions = Questions(cells, {"math": 1.0}, seed=0)
    asked = [instruction(task) for _ in range(30) for task in questions.draw(8)]
    assert len(set(asked)) == 240 and questions.counts()["repeats"] == 0
    assert not set(asked) & {instruction(task) for task in evaluation_tasks([GYM], 300)}


@needs_library
def test_what_a_cell_asks_follows_from_its_random_numbers():
    (cell,) = real_cells(["reasoning_gym:gcd"], {"math": 1.0}, 6, 3, same)
    assert cell.make(random.Random(5)) == cell.make(random.Random(5)) != cell.make(random.Random(6))


@needs_library
def test_it_stands_beside_other_sets():
    both = real_cells(["embedded", GYM], {"math": 1.0, "science": 1.0}, 8, 3, same)
    assert len(both) == 2 + 8 and {cell.domain for cell in both} == {"math", "science"}
    only_code = real_cells(["embedded", GYM], {"code": 1.0}, 4, 3, same)
    assert len(only_code) == 4 and {cell.domain for cell in only_code} == {"code"}
    with pytest.raises(ValueError, match="hold no code question"):
        real_cells([GYM], {"code": 1.0}, 4, 3, same)


@needs_library
def test_a_question_without_use_is_left_out():
    (cell,) = real_cells(["reasoning_gym:gcd"], {"math": 1.0}, 6, 3, lambda task: None)
    assert cell.make(random.Random(5)) is None


@needs_library
def test_what_was_taught_is_not_asked():
    (cell,) = real_cells(["reasoning_gym:gcd"], {"math": 1.0}, 6, 3, same)
    first = cell.make(random.Random(5))
    (other,) = real_cells(["reasoning_gym:gcd"], {"math": 1.0}, 6, 3, same, {instruction(first)})
    assert other.make(random.Random(5)) is None and other.make(random.Random(6)) is not None
