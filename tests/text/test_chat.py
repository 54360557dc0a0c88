"""Where a thought ends: at its first real closing tag, for every reader of a response alike."""

import pytest

from nbkit.evals.reasoning import chain
from nbkit.filter import annotators
from nbkit.refine import reconstruct
from nbkit.refine.checklist import checklist
from nbkit.refine.critique import committed, split_response
from nbkit.tasks import skills, world
from nbkit.text.chat import split_thought
from nbkit.text.tool_calls import called, tool_call
from nbkit.verify import extract_answer, extract_code

F = "```"
SCORES = "{" + ", ".join(f'"{name}": 3' for name in annotators.NAMES) + "}"
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
    assert set(annotators.parse_scores(f'<think>{{}} "</think>" {{}}</think>{SCORES}').values()) == {3}


def test_a_number_that_is_too_long_to_be_written_is_no_reason_to_raise():
    items = checklist("Write a Python function f that adds.")
    assert committed(f"<think>x</think>def f(): return 0x{'f' * 5000}", items).startswith("def f")


# Each reader, with an answer of the kind that it looks for and what it must find in that.
PROGRAM = "def f(s):\n    print('Answer:', '<think>')\n    return s.split('</think>')[-1]"
CALLS = [
    {"name": "note", "arguments": {"text": "</think> Answer: 3"}},
    {"name": "sum", "arguments": {"a": 1, "b": 2}},
]
CALL_TEXT = "\n".join(tool_call(call["name"], **call["arguments"]) for call in CALLS)
NUMBER = "The tag is '</think>', and the answer is 7."


def code_of(text):
    return extract_code(skills.program(text), "f")


READERS = {
    "code": (f"{F}python\n{PROGRAM}\n{F}\nDone.", code_of, PROGRAM),
    "bare code": (PROGRAM, code_of, PROGRAM),
    "number": (NUMBER, extract_answer, "7"),
    "words": ("blue", skills.final_answer, "blue"),
    "tool call": (CALL_TEXT, called, CALLS),
    "critique": (NUMBER, lambda text: split_response(text)[1], NUMBER),
    "vote": (NUMBER, lambda text: committed(text, checklist("How many are 3 + 4?")), "7"),
    "SFT row": (NUMBER, lambda text: world.response_turn(text)["content"], NUMBER),
    "annotator": (SCORES, lambda text: set(annotators.parse_scores(text).values()), {3}),
}
HOSTILE = {
    "none": "",
    "plain": "<think>3 + 4 = 7</think>",
    "opened by the prompt": "3 + 4 = 7\n</think>",
    "empty": "<think></think>",
    "nested": "<think>a<think>b</think>",
    "nested, closed twice": "<think>a<think>b</think></think>",
    "repeated": "<think>a</think><think>b</think>\n<think>c</think>",
    "closed three times": "<think>a</think></think> </think>",
    "spoken of in quotes": "<think>it ends at '</think>', \"</think>\" or `</think>`</think>",
    "spoken of in a program": f"<think>{F}python\nx = '</think>'  # </think>\n{F}\n</think>",
    "an apostrophe": "<think>I don't know</think>",
    "Answer: in its program": f"<think>{F}python\nprint('Answer:', 3)\n{F}\nAnswer: 3</think>",
    "a program of its own": f"<think>{F}python\ndef f(s):\n    return 0\n{F}</think>",
    "calls in it": f"<think>{tool_call('sum', a=0, b=0)}{tool_call('note', text='x')}</think>",
    "a call that opens in it": "<think>I write <tool_call></think>",
    "a number in it": "<think>\\boxed{8} The answer is 8.</think>",
    "scores in it": '<think>{"style": 9}</think>',
}


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("thought", HOSTILE)
def test_no_thought_hides_or_changes_what_a_reader_looks_for(thought, reader):
    answer, read, wanted = READERS[reader]
    assert read(HOSTILE[thought] + answer) == wanted


SPOKEN = "It is 7, and '</think>' is a tag"
# What is no thought and an answer: what each reader makes of it.
MALFORMED = {
    "opened and never closed": (
        f"<think>3 + 4 is 7 {tool_call('sum')}",
        {"number": "", "tool call": None, "SFT row": f"<think>3 + 4 is 7 {tool_call('sum')}"},
    ),
    "closed again in the answer": (
        "<think>3 + 4</think>7</think>8",  # learned whole; who wants a number takes the last
        {"critique": "7</think>8", "SFT row": "7</think>8", "number": "8", "vote": "8"},
    ),
    "nothing behind the thought": (
        f"{CALL_TEXT}\n7</think>",
        {"critique": "", "SFT row": "", "words": "", "number": "", "tool call": None},
    ),
    "only spoken of": (
        SPOKEN,
        {"critique": SPOKEN, "SFT row": SPOKEN, "words": SPOKEN, "number": "7"},
    ),
    "a call and a sentence": (f"<think>a</think>{CALL_TEXT} There.", {"tool call": None}),
    "a call that never closes": (f"<think>a</think>{CALL_TEXT[:-3]}", {"tool call": None}),
}


@pytest.mark.parametrize(
    ("text", "reader", "wanted"),
    [(text, reader, wanted) for text, found in MALFORMED.values() for reader, wanted in found.items()],
)
def test_a_malformed_response_is_read_alike(text, reader, wanted):
    assert READERS[reader][1](text) == wanted


@pytest.mark.parametrize("thought", [name for name in HOSTILE if HOSTILE[name].startswith("<think>")])
def test_what_is_reviewed_is_what_is_learned(thought):
    text = HOSTILE[thought] + NUMBER
    turn = world.response_turn(text)
    assert split_response(text) == (turn["reasoning_content"].strip(), turn["content"].strip())
    assert chain(text) == turn["reasoning_content"]
    assert f"<think>{turn['reasoning_content']}</think>{turn['content']}" == text


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Summary: s\n<think>a</think>", ("s", "a")),
        ("Summary: s\n<think>behind `</think>` it ends</think>\n", ("s", "behind `</think>` it ends")),
        ("Summary: s\n<think>a</think><think>b</think>", None),
        ("Summary: s\n<think>a</think></think>", None),
        ("Summary: s\n<think>a</think>7", None),
        ("Summary: s\n<think>a", None),
        ("Summary: s\na</think>", None),
    ],
)
def test_a_rebuilt_chain_ends_where_its_response_will_end_it(text, found):
    assert reconstruct.parse(text) == found
    if found:
        assert split_thought(f"<think>{found[1]}</think>7") == (found[1], "7")
