"""Where an answer begins: one rule for the label of a worked document, for every reader of a response."""

import pytest

from nbkit.refine.checklist import checklist
from nbkit.refine.critique import committed
from nbkit.tasks import skills, world
from nbkit.text.chat import behind_label, final_answer, split_thought
from nbkit.text.tool_calls import called, tool_call
from nbkit.verify import extract_code

F = "```"
SPOKEN_OF = [
    f"{F}python\nprint('Answer:', 3)\n{F}",
    f"{F}\nSolution\nAnswer: 3\n{F}\nThat is how it looks.",
    "~~~\nAnswer: 3\n~~~",
    "print('Answer:', 3)",
    'def f(x):\n    """\n    Answer: it\n    """\n    return x',
    "x = 3\n    # Answer: 3",
    "x = 3  # Answer: 3",
    f"{F}python\n# Answer: 3\nx = 3\n{F}",
    'f"Answer: {x}"',
    'Write "Answer: 3" at the end',
    "Write `Answer: 3` at the end",
    "Write Answer: before what you found",
    "no code, Answer: none",
    '{"Answer:": 3}',
    "answer: int = 0\nprint(answer)",
    "    answer: int\n    other: str",
    "answer: list[int] | None = None",
    tool_call("ask", text="Answer: A or B?"),
    tool_call("ask", text="so\nAnswer: 3"),
    "Answers: 3",
    "",
]
LABELLED = {
    "Answer: 3": "3",
    "Answer:3": "3",
    "\nAnswer:\n3\n": "3",
    "1 + 2 = 3.\nAnswer: 3": "3",
    "1 + 2 = 3. Answer: 3": "3",
    "1 + 2 = 3 Answer: 3": "3",
    "Answer: 2\nNo, wait.\nAnswer: 3": "3",
    "Final answer: 3": "3",
    "The final answer: 3": "3",
    "FINAL ANSWER: 3": "3",
    "**Answer:** 3": "3",
    "**Answer**: 3": "3",
    "**Answer: 3**": "3",
    "__Final answer:__ 3": "3",
    "### Answer: 3": "3",
    "> Answer: 3": "3",
    "- Answer: 3": "3",
    "Don't guess, it's easy.\nAnswer: Tom's": "Tom's",
    'It is 5" long.\nAnswer: 3': "3",
    "Answer: **3**": "**3**",
    "Answer: 'Answer: 3'": "'Answer: 3'",
    "Answer: a\nb": "a\nb",
    f"{F}python\nx = 3\n{F}\nAnswer: 3": "3",
    "answer:\n3": "3",
    "Answer:": "",
    "Said 'so\nAnswer: 3": "3",
}


@pytest.mark.parametrize("thought", ["", "<think>Answer: 9</think>", "2 + 2\nAnswer: 9\n</think>\n"])
@pytest.mark.parametrize("text", SPOKEN_OF)
def test_a_label_that_is_only_spoken_of_labels_nothing(text, thought):
    assert final_answer(thought + text) == skills.final_answer(thought + text) == text.strip()


@pytest.mark.parametrize("thought", ["", "<think>Answer: 9</think>", "2 + 2\nAnswer: 9\n</think>\n"])
@pytest.mark.parametrize("text", LABELLED)
def test_the_answer_follows_the_last_label(text, thought):
    assert final_answer(thought + text) == LABELLED[text]


@pytest.mark.parametrize("split", skills.SPLITS[:3])
@pytest.mark.parametrize("name", sorted(skills.skills()))
def test_what_the_embedded_world_writes_is_read_as_ever(name, split):
    """The plain rule that held before, the text behind the last "Answer:", over every skill."""
    for task in skills.sample(20, split, seed=1, names=[name]):
        document = world.worked(task).removeprefix(world.base_prompt(task.question))
        short = world.worked(task, terse=True)
        chat = f"<think>{task.chain}</think>{task.answer}"
        for text in (
            task.answer,
            document,
            short,
            chat,
            f"Answer: {task.answer}",
            f"{task.chain}\nAnswer: {task.answer}",
        ):
            plain = split_thought(text)[1].rsplit("Answer:", 1)[-1].strip()
            assert final_answer(text) == plain == task.answer.strip()


CODE = "def f(x):\n    print('Answer:', x)\n    return x"
CALL = tool_call("f", x="Answer: 3")


@pytest.mark.parametrize(
    "form",
    ["{}", "Steps.\nAnswer: {}", "<think>Answer: 3</think>{}", "**Answer:**\n{}", "It is so. Answer:\n{}"],
)
def test_every_reader_follows_the_same_label(form):
    assert extract_code(form.format(CODE), "f") == CODE
    assert extract_code(skills.program(form.format(CODE)), "f") == CODE
    assert called(form.replace("{}", CALL)) == [{"name": "f", "arguments": {"x": "Answer: 3"}}]
    assert final_answer(form.format("blue")) == "blue"
    assert committed(form.format("blue"), checklist("Which colour?")) == "blue"


def test_a_program_keeps_its_variables_and_comments():
    for code in (
        "def f(x):\n    answer: int = 0\n    return answer",
        "## Answer: it\n" + CODE,
        "Answer: int = 3\n" + CODE,
    ):
        assert skills.program(code) == code and extract_code(code, "f").endswith(code[code.index("def f") :])


@pytest.mark.parametrize(
    "unit", ["Answer: ", "Answer:\n", "'Answer:", "# Answer: ", "answer:", "**Answer", " \n> ", f"{F}\n"]
)
def test_reading_takes_linear_time(unit):
    """No clock: 200,000 characters take a moment, or hours where a pattern backtracks."""
    text = unit * (200_000 // len(unit))
    assert len(behind_label(text)) <= len(text) and len(final_answer(text)) <= len(text)
