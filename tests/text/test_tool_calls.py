"""Tool calls in model text: what is read as one, and which are the same."""

import json

import pytest

from nbkit.tasks.partial import partial_credit
from nbkit.tasks.skills import Task, program, verify
from nbkit.text.tool_calls import called, parse_tool_call, parse_tool_calls, tool_call
from nbkit.verify.errors import GraderError


def task(answer: str) -> Task:
    return Task("s", "agent", 1, "test", "q", (), answer, "tool")


def raw(arguments: str, name: str = "f") -> str:
    """A call whose arguments are written just so."""
    return f'<tool_call>{{"name": "{name}", "arguments": {arguments}}}</tool_call>'


PARIS, LIMA = tool_call("w", city="Paris"), tool_call("w", city="Lima")
TRICKY = [
    "what's on",
    "Answer: A or B?",
    "</think>",
    "<think>",
    "a</tool_call>b",
    "<tool_call>{}</tool_call>",
    '{"a": {"b": "}"}}',
    "```",
    "\\",
    '"',
    "é 漢 \u2028",
    "😀",
    "\ud800",
    "\x00",
    "####",
    "",
]


@pytest.mark.parametrize("text", TRICKY)
@pytest.mark.parametrize(
    "form", ["{}", "<think>a tool</think>{}", "\n{}\n", "Steps.\nAnswer: {}", "hm</think>{}"]
)
def test_any_text_may_be_an_argument(text, form):
    wanted = tool_call("say", text=text, more=[{"deep": text}])
    assert verify(task(wanted), form.replace("{}", wanted, 1))
    assert parse_tool_call(wanted)["arguments"]["text"] == text
    assert not verify(task(wanted), tool_call("say", text=text + "!", more=[{"deep": text}]))


@pytest.mark.parametrize(
    ("wanted", "given"),
    [
        ('{"a": 1}', '{"a": 1.0}'),
        ('{"a": 100}', '{"a": 1e2}'),
        ('{"a": 0}', '{"a": -0.0}'),
        ('{"a": 1, "b": 2}', '{"b": 2, "a": 1}'),
        ('{"a": "é"}', r'{"a": "\u00e9"}'),
        ('{"a": "/"}', r'{"a": "\/"}'),
        ('{"a": {"b": [1, {"c": null}]}}', ' {  "a" :{"b":[1,{"c":null}]} } '),
        ('{"a": 1}', r'"{\"a\": 1}"'),  # arguments as a JSON string
        (r'"{\"a\": true}"', '{"a": true}'),
        ("{}", '"{}"'),
        ('{"n": 12345678901234567890123}', '{"n": 12345678901234567890123}'),
    ],
)
def test_the_same_arguments_in_other_words(wanted, given):
    assert verify(task(raw(wanted)), raw(given)) and verify(task(raw(given)), raw(wanted))


NO_ARGUMENTS = [
    '{"name": "f"}',
    ' {"name":"f"} ',
    '{"name": "f", "arguments": ""}',
    '{"name": "f", "arguments": " \\n"}',
    '{"arguments": "", "name": "f"}',
    '{"name": "f", "arguments": "{}"}',
    '{"name": "f", "arguments": {}}',
]


@pytest.mark.parametrize("body", NO_ARGUMENTS)
def test_a_call_without_arguments_has_none(body):
    text = f"<tool_call>{body}</tool_call>"
    assert called(text) == parse_tool_calls(f"so: {text}") == [{"name": "f", "arguments": {}}]
    assert parse_tool_call(text) == {"name": "f", "arguments": {}}
    assert verify(task(raw("{}")), text) and verify(task(text), raw("{}"))
    assert not verify(task(raw('{"a": 1}')), text) and not verify(task(raw("{}", "g")), text)


@pytest.mark.parametrize(
    "body",
    [
        "{}",
        '{"arguments": {}}',
        '{"name": ""}',
        '{"name": "f", "parameters": {}}',
        '{"name": "f", "arguments": {}, "id": 1}',
        '{"name": "f", "arguments": null}',
        '{"name": "f", "arguments": 0}',
        '{"name": "f", "arguments": false}',
        '{"name": "f", "arguments": "null"}',
        '{"name": null}',
        '["f"]',
        '"f"',
    ],
)
def test_what_is_still_no_call(body):
    assert parse_tool_calls(f"<tool_call>{body}</tool_call>") is None


@pytest.mark.parametrize(
    ("wanted", "given"),
    [
        ('{"a": 1}', '{"a": true}'),
        ('{"a": 0}', '{"a": false}'),
        ('{"a": [1, {"b": 0}]}', '{"a": [true, {"b": 0}]}'),
        ('{"a": {"b": [1]}}', '{"a": {"b": [true]}}'),
        ('{"a": 1}', '{"a": "1"}'),
        ('{"a": null}', "{}"),
        ('{"a": null}', '{"a": "null"}'),
        ('{"a": [1, 2]}', '{"a": [2, 1]}'),
        ('{"a": 1}', '{"A": 1}'),
        ('{"a": "x"}', '{"a": "x "}'),
        ('{"a": 1}', '{"a": 1, "b": 2}'),
        ('{"a": 1}', '{"a": 2, "a": 1}'),  # a key that occurs twice is no call
        ('{"a": 1}', '{"a": 1, "a": 1}'),
        ('{"a": 0.1}', '{"a": 0.10000000000000002}'),
        ("{}", "[]"),
        ("{}", '"[]"'),
        ("{}", "null"),
        ("{}", '"{} {}"'),
        ('{"n": 12345678901234567890123}', '{"n": 12345678901234567890124}'),
    ],
)
def test_other_arguments(wanted, given):
    assert verify(task(raw(wanted)), raw(wanted))
    assert not verify(task(raw(wanted)), raw(given))
    assert partial_credit(task(raw(wanted)), raw(given), None) in (0.0, 0.5)


@pytest.mark.parametrize(
    "given",
    [
        "nonsense",
        "<tool_call>nonsense</tool_call>",
        "<tool_call></tool_call>",
        "",
        PARIS,
        LIMA,
        PARIS + PARIS,
        LIMA + LIMA,
        PARIS + LIMA + LIMA,
        PARIS + LIMA + tool_call("x"),
        tool_call("w", city="Oslo") + tool_call("w", city="Rome"),
        PARIS + "<tool_call>" + LIMA,
        PARIS + LIMA.replace("</tool_call>", ""),
        PARIS + "and" + LIMA,
        PARIS + LIMA + " done",
        "I call: " + PARIS + LIMA,
        "<think>" + PARIS + LIMA,
        f"[{PARIS}, {LIMA}]",
        raw('{"city": NaN}', "w") + LIMA,
        PARIS.replace('"', "'") + LIMA,
    ],
)
def test_two_calls_are_wanted_and_something_else_given(given):
    assert not verify(task(PARIS + LIMA), given)


@pytest.mark.parametrize(
    "given", [PARIS + LIMA, LIMA + PARIS, f"{LIMA}\n{PARIS}\n", f"<think>x</think>{PARIS} {LIMA}"]
)
def test_calls_of_one_turn_count_in_any_order(given):
    assert verify(task(PARIS + LIMA), given)
    assert verify(task(PARIS + LIMA + PARIS), given + PARIS) and not verify(task(PARIS), given)


@pytest.mark.parametrize(
    "arguments",
    [
        '{"a": NaN}',
        '{"a": Infinity}',
        '{"a": -Infinity}',
        '{"a": 1e999}',
        '{"a": ' + "9" * 5000 + "}",
        '{"a":' * 50_000 + "1" + "}" * 50_000,
        "[" * 100_000,
        '{"a": "\n"}',
        '{"a": 01}',
        '{"a": 1,}',
        "{a: 1}",
        '"' + "[" * 100_000 + '"',
        "{'a': 1}",
        '{"a": "' + "b" * 99,
    ],
    ids=range(14),
)
def test_what_is_no_strict_json_is_no_call(arguments):
    text = raw(arguments)
    assert called(text) is parse_tool_call(text) is parse_tool_calls(text) is None
    assert not verify(task(PARIS), text) and partial_credit(task(PARIS), text, None) == 0.0


@pytest.mark.parametrize(
    "answer", ["nonsense", "<tool_call>nonsense</tool_call>", "", raw("[]"), PARIS + "!"]
)
def test_an_answer_of_the_set_that_is_no_call_pays_nobody(answer):
    for given in (answer, PARIS, "nonsense"):
        with pytest.raises(GraderError, match="of the set is no tool call"):
            verify(task(answer), given)


def test_calls_among_prose():
    assert parse_tool_calls("no call") == []
    assert [c["arguments"]["city"] for c in parse_tool_calls(f"a {PARIS} b {LIMA} c")] == ["Paris", "Lima"]
    assert parse_tool_call(f"a {PARIS} b") == {"name": "w", "arguments": {"city": "Paris"}}
    assert parse_tool_call(PARIS + LIMA) is None and parse_tool_calls(f"{PARIS} <tool_call>") is None
    assert json.loads(json.dumps(called(PARIS + LIMA))) == called(PARIS + LIMA)


def test_near_misses_of_several_calls():
    two = task(PARIS + tool_call("alarm", hour=7))
    assert partial_credit(two, tool_call("alarm", hour=8) + PARIS, None) == 0.5
    assert partial_credit(two, PARIS, None) == partial_credit(two, PARIS + PARIS, None) == 0.0
    assert partial_credit(two, tool_call("alarm", hour=7) + PARIS, None) == 1.0


CODE = 'def f(x):\n    """\n    Answer: it\n    """\n    print("Answer:", x)'


@pytest.mark.parametrize(
    ("response", "code"),
    [
        (CODE, CODE),
        (f"<think>Answer: no</think>{CODE}", CODE),
        (f"Steps.\nAnswer: {CODE}", CODE),
        (f"Answer:\n```python\n{CODE}\n```", f"Answer:\n```python\n{CODE}\n```"),  # for extract_code
        (f"```python\n{CODE}\n```\nAnswer: as above", f"```python\n{CODE}\n```\nAnswer: as above"),
        ("no code, Answer: none", "no code, Answer: none"),
    ],
)
def test_a_program_may_say_answer(response, code):
    assert program(response) == code
