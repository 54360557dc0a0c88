"""Where a thought ends: at its first real closing tag, for every reader of a response alike."""

import pytest

from nbkit.evals.reasoning import chain
from nbkit.filter import annotators
from nbkit.refine.critique import split_response
from nbkit.tasks import skills, world
from nbkit.text.chat import split_thought
from nbkit.text.tool_calls import called, tool_call
from nbkit.verify import extract_code

F = "```"
THOUGHTS = {
    "none": ("", None),
    "plain": ("<think>cut it</think>\n", "cut it"),
    "opened by the prompt": ("cut it\n</think>\n", "cut it\n"),
    "speaks of the tag": (
        "<think>behind `</think>` or '</think>'</think>",
        "behind `</think>` or '</think>'",
    ),
    "an apostrophe": ("<think>I don't know</think>it's this:\n", "I don't know"),
    "code in it": (f"<think>{F}py\nx = '</think>'  # </think>\n{F}\n</think>", None),
    "an open fence": (f"<think>{F}py\nx = 1\nno, wait</think>\n", f"{F}py\nx = 1\nno, wait"),
    "a heading": ("# Plan\nSplit it # at\n# the end </think>", "# Plan\nSplit it # at\n# the end "),
    "two of them": ("<think>a</think>\n<think>b</think>", "a</think>\n<think>b"),
}
PROGRAMS = [
    "def f(s):\n    return s.split('</think>')[-1]",
    'def f(s):\n    """What follows "</think>"."""\n    return s',
    "def f(s):\n    # behind </think>\n    return s",
    "def f(s):\n    return s  # up to </think>, if there",
    'import re\n\ndef f(s):\n    return re.sub(r"<think>.*?</think>\\s*", "", s)',
    "def f(a, b):\n    return f'<think>{a}</think>{b}'",
    "TEXT = '''\n<think>\nhm\n</think>\n'''\n\ndef f():\n    return TEXT",
    "def f():\n    return 'it\\'s </think> here'",
]


@pytest.mark.parametrize("code", PROGRAMS)
@pytest.mark.parametrize("thought", THOUGHTS)
def test_a_program_that_holds_the_tag_stays_whole(thought, code):
    text = THOUGHTS[thought][0] + f"{F}python\n{code}\n{F}\nThat is it."
    for entry in ("f", None):
        assert extract_code(text, entry) == code
    assert extract_code(skills.program(text), "f") == code
    if thought in ("none", "plain", "opened by the prompt"):
        assert extract_code(THOUGHTS[thought][0] + code, "f") == code  # without a fence


@pytest.mark.parametrize(
    "answer", ["4", "the tag is </think> here", "so </think> ends it", "'</think>'", "a </think> b </think>"]
)
@pytest.mark.parametrize("name", [name for name in THOUGHTS if THOUGHTS[name][1]])
def test_every_reader_ends_the_thought_at_the_same_place(name, answer):
    head, thought = THOUGHTS[name]
    text = head + answer
    rest = text[text.index(thought) + len(thought) + len("</think>") :]
    assert split_thought(text) == (thought, rest)
    assert split_response(text) == (thought.strip(), rest.strip())
    assert world.response_turn(text)["reasoning_content"] == thought
    assert world.response_turn(text)["content"] == rest
    assert skills.final_answer(text) == rest.strip()
    assert chain(text) == (thought if "<think>" in head else "")


def test_no_thought_and_one_without_an_end():
    for text in ("", "4", "<think>never ends", "s.split('</think>')", f"{F}\n# </think>\n{F}"):
        assert split_thought(text) == (None, text)
    assert split_thought("<think>it says '</think>' and stops") == ("it says '", "' and stops")
    assert split_thought("<think>a</think></think> 5") == ("a</think>", " 5")


def test_calls_and_scores_follow_the_thought():
    call = tool_call("note", text="ends in </think>")
    wanted = [{"name": "note", "arguments": {"text": "ends in </think>"}}]
    assert called(f"<think>I write '</think>'</think>{call}") == wanted == called(call)
    scores = "{" + ", ".join(f'"{name}": 3' for name in annotators.NAMES) + "}"
    assert set(annotators.parse_scores(f'<think>{{}} "</think>" {{}}</think>{scores}').values()) == {3}


def test_a_number_that_is_too_long_to_be_written_is_no_reason_to_raise():
    from nbkit.refine.checklist import checklist
    from nbkit.refine.critique import committed

    items = checklist("Write a Python function f that adds.")
    assert committed(f"<think>x</think>def f(): return 0x{'f' * 5000}", items).startswith("def f")
