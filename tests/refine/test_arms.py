"""Sets of 04: critiques read in training only, chains cut to their last step, answers without one."""

from collections import Counter

import pytest

from nbkit.refine import arms
from nbkit.refine.critique import Critique, Review
from nbkit.refine.loop import Refined
from nbkit.run import params
from nbkit.run.schemas import SCHEMAS
from nbkit.tasks.skills import Task, sample, verify
from nbkit.tasks.world import responded

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
    assert set(arms.OPTIONAL) <= set(SCHEMAS["04_sft_overall"].about("ablations")["choices"])


@pytest.mark.parametrize(
    ("text", "alone"),
    [
        ("<think>2 * 4 = 8\n3 + 8 = 11</think>11", "11"),
        ("<think>a</think>\ndef f(x):\n    return x", "def f(x):\n    return x"),
        ("<think></think>7", "<think></think>7"),
        ("7", "7"),
        ("<think>3 + 4 = 7</think>", "<think>3 + 4 = 7</think>"),  # nothing would be left
        ("<think>it was cut", "<think>it was cut"),
    ],
)
def test_an_answer_without_its_chain(text, alone):
    assert arms.direct(text) == alone


def test_without_its_chain_an_answer_is_as_right_as_before(jail):
    for task in sample(60, "train", seed=3, weights=dict.fromkeys(arms.REASONING, 1.0)):
        whole = f"<think>{task.chain}</think>{task.answer}"
        assert task.chain and verify(task, arms.direct(whole), jail) is verify(task, whole, jail) is True
        (turn,) = [m for m in responded(task, arms.direct(whole)) if m["role"] == "assistant"]
        assert turn == {"role": "assistant", "content": task.answer.strip()}


def test_a_share_of_each_reasoning_domain_is_drawn_by_the_seed_alone():
    domains = ["math", "science", "general", "code", "agent"] * 20
    few, more = (arms.drawn_direct(domains, share, seed=1) for share in (0.3, 0.5))
    drawn = Counter(domains[i] for i in few)
    assert drawn == {"math": 6, "science": 6, "code": 6} and few < more
    assert few == arms.drawn_direct(domains, 0.3, seed=1) != arms.drawn_direct(domains, 0.3, seed=2)
    assert not arms.drawn_direct(domains, 0.0, seed=1)


def test_the_same_instructions_lose_their_chain_in_every_set():
    first, second = ([(i, f"<think>{word}</think>{i}") for i in (0, 1, 0, 2)] for word in ("a", "b"))
    wanted = ["0", "<think>{}</think>1", "0", "2"]
    for samples, word in ((first, "a"), (second, "b")):
        cut = arms.without_chains(samples, frozenset({0, 2}))
        assert cut == [(i, text.format(word)) for i, text in zip((0, 1, 0, 2), wanted, strict=True)]
        assert arms.without_chains(cut, frozenset({0, 2})) == cut
        assert arms.without_chains(samples, frozenset()) == samples


def test_a_draft_with_the_answer_of_a_response_without_a_chain_is_not_shown():
    same, other = Review(GOOD, "student", True, (FALSE,)), Review(OFF, "teacher", True, (FALSE,))
    assert arms.criticised(refined(same, other), "7") is other
    assert arms.criticised(refined(same), "7") is None


def test_the_share_without_chains_stays_below_one():
    schema = SCHEMAS["04_sft_overall"]
    assert schema().direct_share == 0.0 and params.coerce(schema, {"direct_share": 0.3}).direct_share == 0.3
    for share in (-0.1, 1.0):
        with pytest.raises(ValueError, match="direct_share"):
            params.coerce(schema, {"direct_share": share})
