"""Training rows and prompts in every form that data sets use: what is accepted, what is refused by name."""

import json
import re

import pytest
import tiny

from nbkit.dpd.pairs import broken_rule
from nbkit.models.engine import parts, render
from nbkit.rl import judge
from nbkit.sft.sft import IGNORE, encode
from nbkit.tasks import adapters
from nbkit.tasks.sets import _glaive
from nbkit.text.conversations import conversation

Q = {"role": "user", "content": "q"}


def learned(*messages, **more) -> str:
    ((row,), _) = encode([{"messages": list(messages), **more}], tiny.tokenizer(), 9999)
    return tiny.tokenizer().decode([i for i in row["labels"] if i != IGNORE])


def read(*messages, **more) -> str:
    ((row,), _) = encode([{"messages": list(messages), **more}], tiny.tokenizer(), 9999)
    return tiny.tokenizer().decode(row["input_ids"])


def refused(pattern, *messages, **more) -> None:
    """Refused with row and message by name."""
    good = [Q, {"role": "assistant", "content": "a"}]
    with pytest.raises(ValueError, match=rf"^conversations\[1\]{pattern}"):
        encode([good, {"messages": list(messages), **more}], tiny.tokenizer(), 9999)


def call(name="f", arguments=None, **more) -> dict:
    return {"type": "function", "function": {"name": name, "arguments": arguments}, **more}


def calls(*items, content=None, **more) -> dict:
    return {"role": "assistant", "content": content, "tool_calls": list(items), **more}


WEATHER = '<tool_call>{"name": "f", "arguments": {"city": "Paris", "days": 2}}</tool_call>'
TWO = WEATHER + '<tool_call>{"name": "now", "arguments": {}}</tool_call>'
GIVEN = {"city": "Paris", "days": 2}


@pytest.mark.parametrize(
    "turn",
    [
        calls(call(arguments=GIVEN), call("now", {})),
        calls(call(arguments=json.dumps(GIVEN), id="c1"), call("now", "{}", id="c2")),
        calls(call(arguments=GIVEN), call("now")),  # no arguments at all
        calls({"name": "f", "arguments": GIVEN}, {"name": "now", "arguments": ""}, content=""),
        {"role": "assistant", "tool_calls": json.dumps([call(arguments=GIVEN), call("now", "{}")])},
        {"role": "assistant", "content": [], "tool_calls": [call(arguments=GIVEN), call("now", " ")]},
    ],
)
def test_calls_are_learned_in_one_form(turn):
    assert learned(Q, turn) == f"{TWO}<|im_end|>"


def test_a_call_of_the_old_kind_and_sharegpt_turns():
    old = {
        "role": "assistant",
        "content": None,
        "function_call": {"name": "f", "arguments": json.dumps(GIVEN)},
    }
    result = {"role": "function", "name": "f", "content": "sun"}
    assert (
        learned(Q, old, result, {"role": "assistant", "content": "ok"}) == f"{WEATHER}<|im_end|>ok<|im_end|>"
    )
    turns = [
        {"from": "human", "value": "q"},
        {"from": "function_call", "value": json.dumps({"name": "f", "arguments": GIVEN})},
        {"from": "observation", "value": "sun"},
        {"from": "gpt", "value": "ok"},
    ]
    tool = '[{"name": "f", "parameters": {}}]'
    ((row,), _) = encode([{"conversations": turns, "system": "s", "tools": tool}], tiny.tokenizer(), 9999)
    text = tiny.tokenizer().decode(row["input_ids"])
    assert text == (
        '<|im_start|>tools\n{"name": "f", "parameters": {}}\n<|im_end|>\n<|im_start|>system\ns<|im_end|>\n'
        f"<|im_start|>user\nq<|im_end|>\n<|im_start|>assistant\n{WEATHER}<|im_end|>\n"
        "<|im_start|>tool\nsun<|im_end|>\n<|im_start|>assistant\nok<|im_end|>\n"
    )


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ([{"type": "text", "text": "yo"}, {"type": "text", "text": " there"}], "yo there"),
        (["yo", " there"], "yo there"),
        ({"type": "text", "text": "yo"}, "yo"),
        ([{"text": "yo"}], "yo"),
        ([{"type": "output_text", "text": "yo", "annotations": []}], "yo"),
        ([{"type": "thinking", "thinking": "hm"}, {"type": "text", "text": "yo"}], "<think>hm</think>yo"),
        (
            [{"type": "reasoning", "summary": [{"text": "hm"}]}, {"type": "text", "text": "yo"}],
            "<think>hm</think>yo",
        ),
        ([], ""),
        ("half \ud800 a character", "half \ufffd a character"),
    ],
)
def test_content_as_parts(content, text):
    assert learned(Q, {"role": "assistant", "content": content}) == f"{text}<|im_end|>"
    if "<think>" not in text:
        assert f"user\n{text}<|im_end|>" in read(
            {"role": "user", "content": content}, {"role": "assistant", "content": "a"}
        )


@pytest.mark.parametrize(
    "fields",
    [
        {"reasoning_content": "hm"},
        {"reasoning": "hm"},
        {"thinking": "hm", "reasoning": None},
        {"reasoning": [{"type": "text", "text": "h"}, {"text": "m"}]},
        {
            "reasoning_details": [
                {"type": "reasoning.text", "text": "hm"},
                {"type": "reasoning.encrypted", "data": "x"},
            ]
        },
        {"reasoning": "hm", "reasoning_details": [{"text": "hm"}]},
        {"thinking_blocks": [{"type": "thinking", "thinking": "hm", "signature": "x"}]},
    ],
)
def test_reasoning_under_any_of_its_names(fields):
    assert learned(Q, {"role": "assistant", "content": "yo", **fields}) == "<think>hm</think>yo<|im_end|>"
    assert learned(Q, calls(call(arguments=GIVEN), **fields)) == f"<think>hm</think>{WEATHER}<|im_end|>"


def test_roles_of_other_makers():
    messages, tools = conversation(
        [
            {"role": "developer", "content": "d"},
            {"role": "User", "content": "u"},
            {"role": "model", "content": "m"},
            {"role": "tool_response", "content": "t", "tool_call_id": "c"},
        ],
        "row",
    )
    assert [m["role"] for m in messages] == ["system", "user", "assistant", "tool"] and tools is None
    assert messages[3]["tool_call_id"] == "c"


def test_turns_of_weight_0_are_read_not_learned():
    first = {"role": "assistant", "content": "no", "weight": 0}
    assert learned(Q, first, Q, {"role": "assistant", "content": "yes", "weight": 1}) == "yes<|im_end|>"
    assert learned(Q, first, Q, {"role": "assistant", "content": "yes"}) == "yes<|im_end|>"
    refused(": every assistant turn has weight 0", Q, first)
    refused(r": got weights \[0.5\]", Q, {**first, "weight": 0.5})


IMAGE = {"type": "image_url", "image_url": {"url": "data:"}}


@pytest.mark.parametrize(
    ("message", "pattern"),
    [
        (
            {"role": "user", "content": [IMAGE]},
            r".*messages\[1\].content\[0\]: got a part of type 'image_url'",
        ),
        ({"role": "user", "content": [{"type": "text", "text": None}]}, r".*\[1\].content\[0\]: got a part"),
        ({"role": "user", "content": 7}, r".*messages\[1\]: got content 7, wanted text"),
        ({"role": "user", "content": None}, r".*messages\[1\]: a user message has content None"),
        ({"role": "tool", "content": {"t": 1}}, r".*messages\[1\]: got content \{'t': 1\}"),
        ({"role": "user", "content": "q", "tool_calls": [call()]}, r".*a user message has reasoning or"),
        ({"role": "assistant", "content": None}, r".*messages\[1\]: an assistant message without content"),
        ({"role": "critic", "content": "x"}, r".*messages\[1\]: got role 'critic', wanted one of system"),
        ({"content": "x"}, r".*messages\[1\]: got role None"),
        ("text", r".*messages\[1\]: got 'text', wanted an object"),
        (calls(call(arguments="{not json")), r".*tool_calls\[0\].arguments: got '\{not json'"),
        (calls(call(arguments="[1]")), r".*tool_calls\[0\].arguments: got \[1\], wanted an object"),
        (calls(call(arguments={}), call(arguments='{"a": NaN}')), r".*tool_calls\[1\].arguments: .*NaN"),
        (calls(call(arguments='{"a": 1, "a": 2}')), r".*a key occurs twice"),
        (calls(call(arguments="9" * 5000)), r".*tool_calls\[0\].arguments"),
        (calls(call(arguments="[" * 100_000)), r".*nested too deeply"),
        *(
            (calls({"name": "f", key: {"x": 1}}), rf".*tool_calls\[0\].{key}: wanted the arguments")
            for key in ("parameters", "params", "input", "args", "kwargs")
        ),
        (calls(call(name="")), r".*tool_calls\[0\]: got"),
        (calls("f()"), r".*tool_calls\[0\]: got 'f\(\)'"),
        ({"from": "function_call", "value": "f(1)"}, r".*messages\[1\]: got 'f\(1\)', wanted a call as JSON"),
        ({"role": "assistant", "content": "x", "reasoning": "a", "thinking": "b"}, r".*different texts in"),
    ],
)
def test_rows_that_cannot_be_learned_are_refused_by_name(message, pattern):
    refused(pattern, Q, message)


def test_rows_of_another_form_are_refused_by_name():
    tokenizer = tiny.tokenizer()
    for row in ("text", None, {"prompt": "q", "response": "a"}, {"messages": "text"}, {"messages": None}):
        with pytest.raises(ValueError, match=r"conversations\[0\]: got .*wanted a list of messages"):
            encode([row], tokenizer, 99)
    for tools in ("no json", 7, ["no json"], [7]):
        with pytest.raises(ValueError, match=r"conversations\[0\].tools"):
            encode([{"messages": [Q], "tools": tools}], tokenizer, 99)


@pytest.mark.parametrize(
    "end", ["", "end", "<|im", "so ", "a\n", "\n", " x", "<think>hm</think>", "assistant\n", "é"]
)
def test_a_turn_is_continued_where_it_ends(end):
    start = "<|im_start|>user\nq<|im_end|>\n<|im_start|>assistant\n"
    assert render(tiny.tokenizer(), [Q, {"role": "assistant", "content": end}]) == start + end
    assert (
        render(tiny.tokenizer(), [Q, {"role": "assistant", "content": [{"type": "text", "text": end}]}])
        == start + end
    )


def test_an_empty_turn_is_continued_and_one_of_calls_is_not():
    start = "<|im_start|>user\nq<|im_end|>\n<|im_start|>assistant\n"
    for turn in ({"role": "assistant"}, {"role": "assistant", "content": None}, {"from": "gpt", "value": ""}):
        assert render(tiny.tokenizer(), [Q, turn]) == start
    assert (
        render(tiny.tokenizer(), [Q, {"role": "assistant", "reasoning": "hm"}]) == f"{start}<think>hm</think>"
    )
    with pytest.raises(ValueError, match="ends in tool_calls cannot be continued"):
        render(tiny.tokenizer(), [Q, calls(call(arguments={}))])
    assert parts([Q])[2] is False


def test_a_template_that_hides_the_turn_is_refused():
    class Hiding:
        def apply_chat_template(self, messages, **options):
            return "nothing of it"

    with pytest.raises(ValueError, match="does not show the assistant turn"):
        render(Hiding(), [Q, {"role": "assistant", "content": "x"}])


def glaive(value: str, tools: str | None = '[{"name": "f", "parameters": {}}]'):
    turns = [{"from": "human", "value": "q"}, {"from": "function_call", "value": value}]
    row = adapters.glaive({"conversations": turns, "tools": tools}, "glaive_toolcall", 3)
    return row, _glaive("glaive_toolcall", "train", row)


@pytest.mark.parametrize(
    ("value", "answer"),
    [
        (
            '{"name": "f", "arguments": "{\\"a\\": 1}"}',
            '<tool_call>{"name": "f", "arguments": {"a": 1}}</tool_call>',
        ),
        (
            '{"name": "f", "arguments": {"a": 1}}',
            '<tool_call>{"name": "f", "arguments": {"a": 1}}</tool_call>',
        ),
        ('{"name": "f"}', '<tool_call>{"name": "f", "arguments": {}}</tool_call>'),
        ('[{"name": "f"}, {"name": "f"}]', None),  # several calls: documented as no task
    ],
)
def test_a_glaive_row_is_a_task_or_none(value, answer):
    row, task = glaive(value)
    assert "left_out" not in row and (task.answer if task else None) == answer


@pytest.mark.parametrize(
    ("value", "tools", "reason"),
    [
        ("{'name': 'f'}", "[]", r"glaive_toolcall\[3\].messages\[1\]: got"),
        ('{"name": "f", "arguments": "x"}', "[]", r"arguments: got 'x'"),
        ("[" * 100_000, "[]", "nested too deeply"),
        ('{"name": "f"}', "{", r"glaive_toolcall\[3\].tools"),
        ('"f"', "[]", r"tool_calls\[0\]: got 'f'"),
    ],
)
def test_a_malformed_glaive_row_is_left_out_with_a_reason(value, tools, reason):
    row, task = glaive(value, tools)
    assert task is None and row["messages"] == [] and re.search(reason, row["left_out"])


def test_preference_rows_of_parts_and_of_messages():
    part = [{"type": "text", "text": "good"}]
    ((user, _),) = judge.conversations([{"prompt": "q", "chosen": part, "rejected": "bad"}])
    assert user["content"] in (judge.render("q", "good", "bad"), judge.render("q", "bad", "good"))
    for bad in ([{"role": "assistant", "content": "x"}], 7):
        with pytest.raises(ValueError, match=r"pairs\[0\].chosen"):
            judge.conversations([{"prompt": "q", "chosen": bad, "rejected": "b"}])
    with pytest.raises(ValueError, match="pairs: chosen is .*wanted text"):
        broken_rule({"prompt": "q", "chosen": [{"role": "assistant", "content": "x"}], "rejected": "b"})
