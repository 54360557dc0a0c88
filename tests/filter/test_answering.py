"""Labels of documents by a model that answers their questions itself (nbkit/filter/answering.py)."""

import time

import numpy as np
import pytest

from nbkit.filter.answering import FEWEST, answered_questions, labels_by_answering
from nbkit.models.engine import Completion


class Answers:
    """An engine that gives the answers it was made with, and says how it was asked."""

    def __init__(self, answers):
        self.answers, self.asked = answers, []

    def sample(self, prompts, n=1, max_new_tokens=64, temperature=0.0, top_p=1.0, seed=0):
        assert n == 1 and temperature == 0.0
        self.asked += [prompt[0]["content"] for prompt in prompts]
        return [[self.answers[prompt[0]["content"]]] for prompt in prompts]


def says(text, stop="stop"):
    return Completion(text, stop=stop)


@pytest.mark.parametrize(
    "text, pairs",
    [
        ("Question: 2 + 3?\nSolution: 2 + 3 = 5.\nAnswer: 5", [("2 + 3?", "5", True)]),
        ("Q: Name it. A: Bo", [("Name it.", "Bo", False)]),
        # A word problem keeps all its sentences, an answer ends with its line.
        (
            "Problem. Eva has 3. She gets 4. How many?\nWe work it out. 3 + 4 = 7. So the answer is 7\n"
            "Problem. Say hi.\nWe work it out. So the answer is hi",
            [("Eva has 3. She gets 4. How many?", "7", True), ("Say hi.", "hi", True)],
        ),
        ("Question: first?\nQuestion: second?\nAnswer: 2", [("second?", "2", False)]),
        ("Question: unanswered?\nSolution: no idea.", []),
        ("Answer: 5", []),
        ("i was at the shop and then i went home", []),
        ("Question:\nAnswer: 5", []),
        ("", []),
    ],
)
def test_answered_questions(text, pairs):
    assert answered_questions(text) == pairs


def worked(question, answer):
    return f"Question: {question}\nSolution: thus and so.\nAnswer: {answer}"


def test_a_document_is_good_where_every_answer_agrees():
    engine = Answers(
        {"2 + 3?": says("<think>2 + 3 = 5</think>5"), "Say hi.": says("Hi."), "half?": says("0.5")}
    )
    texts = [
        worked("2 + 3?", "5") + "\n" + worked("Say hi.", "hi"),  # both agree, but for form
        worked("2 + 3?", "5") + "\n" + worked("Say hi.", "bye"),  # one does not
        worked("2 + 3?", "6"),
        worked("half?", "1/2"),  # equal as a value
        "Q: 2 + 3? A: 5",  # right, but not worked out
        "a page that asks nothing",
    ]
    np.testing.assert_equal(labels_by_answering(texts, engine), [9.0, 0.0, 0.0, 9.0, 0.0, np.nan])
    assert engine.asked == ["2 + 3?", "Say hi.", "half?"]  # each once


def test_no_answer_is_no_label_but_a_difference_is_one():
    cut, failed = says("<think>so on and so", "length"), says("", "error")
    engine = Answers({"a?": cut, "b?": failed, "c?": says("3"), "d?": says(" ")})
    texts = [worked(f"{name}?", 3) for name in "abcd"]
    texts += [worked("a?", 3) + "\n" + worked("c?", 4), worked("a?", 3) + "\n" + worked("c?", 3)]
    labels = labels_by_answering(texts, engine)
    np.testing.assert_equal(labels, [np.nan, np.nan, 9.0, np.nan, 0.0, np.nan])


def test_an_answer_that_nobody_can_read_differs():
    engine = Answers({"a?": says("5")})
    np.testing.assert_equal(labels_by_answering([worked("a?", "\\frac{1}{")], engine), [0.0])


@pytest.mark.parametrize(("answer", "word"), [("5", "confirms"), ("6", "refutes")])
def test_labels_that_are_all_alike_are_refused(answer, word):
    engine = Answers({"2 + 3?": says("5")})
    few = [worked("2 + 3?", answer)] * (FEWEST - 1)
    assert len(set(labels_by_answering(few, engine))) == 1
    with pytest.raises(
        ValueError, match=rf"teacher_model: it {word} all 50 documents .* label_source: seeds"
    ):
        labels_by_answering([*few, few[0]], engine)


def test_nothing_to_ask():
    assert labels_by_answering([], Answers({})).shape == (0,)


def test_hostile_text_takes_no_time():
    start = time.process_time()
    for text in (
        "Q: " + " " * 50_000,
        "Question:" * 20_000,
        "Q: a A:" * 10_000,
        "\n" * 50_000,
        "answer is" * 20_000,
    ):
        answered_questions(text)
    assert time.process_time() - start < 5
