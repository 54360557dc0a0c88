"""Sets of 04's studies: critiques that are read in training only, chains cut to their last step."""

import pytest

from nbkit.refine import arms
from nbkit.refine.critique import Critique, Review
from nbkit.refine.loop import Refined
from nbkit.tasks.skills import Task

TASK = Task("add", "math", 1, "train", "What is 3 + 4?", ("3 + 4 = 7",), "7", "number")
GOOD, OFF = "<think>3 + 4 = 7</think>7", "<think>3 + 4 = 8</think>8"
FALSE = Critique("every equation that it states holds", "tool", 0.0, "3 + 4 = 8 is false")
GIVEN_AWAY = Critique("is right", "judge", 0.0, "judged wrong: it is 7")


def refined(*drafts: Review) -> Refined:
    return Refined(TASK.question, (), GOOD, drafts, drafts[-1:])


def test_a_critique_stands_in_the_question_and_the_response_is_learned(jail):
    found = refined(Review(OFF, "teacher", True, (FALSE,)), Review(GOOD, "teacher", True, ()))
    asked, answered = arms.critique_chat(TASK, found, GOOD, jail=jail)
    assert asked["content"] == (
        "What is 3 + 4?\nDraft: 3 + 4 = 8 -> 8\nCritique: step 1 is false: 3 + 4 = 8\nRevise."
    )
    assert (answered["reasoning_content"], answered["content"]) == ("3 + 4 = 7", "7")


def test_without_a_faulty_draft_the_plain_question_is_asked(jail):
    found = refined(Review(GOOD, "teacher", True, ()))
    assert arms.critique_chat(TASK, found, GOOD, jail=jail)[0]["content"] == TASK.question
    # A faulty draft that is the response itself shows nothing but the answer.
    found = refined(Review(GOOD, "teacher", True, (FALSE,)))
    assert arms.critique_chat(TASK, found, GOOD, jail=jail)[0]["content"] == TASK.question


def test_words_that_give_the_answer_away_are_left_out(jail):
    faulty = Review("<think>3 + 4 = 8</think>8", "teacher", True, (FALSE, GIVEN_AWAY))
    assert arms.without_answer(("it is 7", "it is 8", "step 7.5"), GOOD, "3 4 8") == ("it is 8", "step 7.5")
    asked, _ = arms.critique_chat(TASK, refined(faulty), GOOD, evidence="judges", jail=jail)
    assert asked["content"] == TASK.question
    asked, _ = arms.critique_chat(TASK, refined(faulty), GOOD, evidence="both", jail=jail)
    assert "7" not in asked["content"]


def test_the_students_own_fault_comes_first():
    teacher, student = (Review(OFF + who, who, True, (FALSE,)) for who in ("teacher", "student"))
    assert arms.criticised(refined(teacher, student), GOOD) is student
    assert arms.criticised(refined(teacher), GOOD) is teacher
    assert arms.criticised(refined(Review(GOOD, "teacher", True, ())), GOOD) is None


def test_tools_stay_where_a_task_offers_them(jail):
    tool = '{"name": "calc", "parameters": {}}'
    task = Task("call", "agent", 1, "train", "Add 3 and 4.", (), "7", "tool", tools=(tool,))
    chat = arms.critique_chat(task, refined(Review(OFF, "student", True, (FALSE,))), GOOD, jail=jail)
    assert chat["tools"] == [{"name": "calc", "parameters": {}}]
    assert chat["messages"][0]["content"].startswith("Add 3 and 4.\nDraft: ")


@pytest.mark.parametrize(
    ("text", "cut"),
    [
        ("<think>2 * 4 = 8\n3 + 8 = 11</think>11", "<think>3 + 8 = 11</think>11"),
        ("<think>3 + 4 = 7</think>7", "<think>3 + 4 = 7</think>7"),
        ("7", "7"),
    ],
)
def test_a_terse_chain_is_its_last_step(text, cut):
    assert arms.terse(text) == cut


def test_the_share_that_differs():
    assert arms.differing([(0, "a"), (1, "b"), (0, "a")], [(0, "a"), (1, "c"), (0, "a")]) == pytest.approx(
        1 / 3
    )


def test_optional_arms_are_choices_of_the_notebook():
    from nbkit.run.schemas import SCHEMAS  # noqa: PLC0415 (pydantic: 0.1 s that no other test here needs)

    assert set(arms.OPTIONAL) <= set(SCHEMAS["04_sft_overall"].about("ablations")["choices"])
