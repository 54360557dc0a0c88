"""What chat endpoints send in the wild: errors inside answers, reasoning, refused parameters, odd bodies."""

import json
import sqlite3

import pytest
from fake_endpoint import chat

from nbkit.models import replies
from nbkit.models.endpoint import Endpoint
from nbkit.models.engines import EndpointEngine, as_sent
from nbkit.models.replies import Failure, Reply

pytestmark = pytest.mark.usefixtures("no_waiting")

USER = [{"role": "user", "content": "a"}]


def reply(finish="stop", tokens=5, **message) -> dict:
    choice = {"message": {"role": "assistant", **message}, "finish_reason": finish}
    return {"choices": [choice], "usage": {"prompt_tokens": 1, "completion_tokens": tokens}}


def sample(server, n=1, **options):
    engine = EndpointEngine(Endpoint(server.url, "tiny", **{"retries": 2, "concurrency": 1, **options}))
    return engine.sample([USER], n, 64)[0]


def broken(**choice) -> dict:
    return {"choices": [{"message": {"role": "assistant", "content": ""}, **choice}]}


@pytest.mark.parametrize(
    "error",
    [
        {"error": {"message": "Rate limit exceeded", "code": 429}},
        {"error": {"message": "slow down", "code": "429"}},
        {"error": {"message": "Overloaded", "type": "overloaded_error"}},
        {"error": "Too many requests, please try again"},
        {"error": {"message": "Provider returned error", "code": None}},
        {"error": {"message": "x", "status": 503}, "choices": []},
        {"object": "error", "message": "internal", "code": 500},
        {"detail": "the engine is busy"},
        {"message": "Service Unavailable", "statusCode": 503},
        [{"error": {"code": 429, "status": "RESOURCE_EXHAUSTED"}}],
        {"error": {"code": 529, "message": "x", "metadata": {"headers": {"Retry-After": 0.01}}}},
        broken(finish_reason="error", error={"code": 502, "message": "upstream"}),
        broken(finish_reason="error"),
        broken(finish_reason=None, error={"message": "upstream connect error"}),
        broken(finish_reason="stop", error="timed out"),
        {"choices": []},
        {"choices": None},
        {},
        [],
        "cut",
        b"",
        b"  \n",
        b"<html><body>502 Bad Gateway</body></html>",
        b"null",
        b'{"choices": [{"message": {"conte',
        b"[" * 100_000,
        b"\xff\xfe\x00",
    ],
    ids=range(27),
)
def test_what_may_pass_is_asked_again(server, tmp_path, error):
    server.script = [error] if isinstance(error, (dict, bytes, str)) else [json.dumps(error).encode()]
    (found,) = sample(server, cache=tmp_path / "c.sqlite")
    assert (found.text, found.stop, len(server.requests)) == ("echo a", "stop", 2)
    server.script = [error] * 3 if isinstance(error, (dict, bytes, str)) else [json.dumps(error).encode()] * 3
    (found,) = sample(server, cache=tmp_path / "d.sqlite")  # longer than the retries: told, not kept
    assert (found.text, found.stop, len(server.requests)) == ("", "error", 5) and found.detail
    (found,) = sample(server, cache=tmp_path / "d.sqlite")
    assert (found.text, len(server.requests)) == ("echo a", 6)


@pytest.mark.parametrize(
    "error",
    [
        {"error": {"message": "invalid request", "code": 400}},
        {"error": {"message": "The model `x` does not exist"}},
        {"error": {"message": "No auth credentials found", "code": 401}},
        {"error": "Incorrect API key provided"},
        {"error": {"message": "flagged by moderation", "code": "403"}},
        {"detail": "Not Found"},
    ],
)
def test_what_will_not_pass_is_told_at_once(server, error):
    server.answer = lambda request: error
    (found,) = sample(server)
    assert found.stop == "error" and found.detail.startswith("HTTP 4") and len(server.requests) == 1


def test_a_context_overflow_inside_an_answer(server):
    server.answer = lambda r: {"error": {"message": "This model's maximum context length is 9 tokens"}}
    assert sample(server)[0].stop == "context"


def test_the_wait_that_an_error_asks_for_is_passed_on():
    status, headers = replies.hidden_error(b'{"error": {"code": 429, "metadata": {"retry_after": 3}}}')
    assert (status, headers) == (429, {"retry-after": "3"})
    assert replies.hidden_error(b'{"error": {"code": 429}, "retry_after": "2"}')[1] == {"retry-after": "2"}
    assert replies.hidden_error('{"error": {"code": 429, "retry_after": "\u2028\\n"}}'.encode())[1] == {}
    assert replies.hidden_error(json.dumps(chat("x")).encode()) is None
    assert replies.hidden_error(json.dumps({**chat("x"), "error": None}).encode()) is None


THOUGHT = "<think>6*7</think>42"


@pytest.mark.parametrize(
    ("sent", "text", "stop"),
    [
        (reply(content="42", reasoning_content="6*7"), THOUGHT, "stop"),
        (reply(content="42", reasoning="6*7"), THOUGHT, "stop"),
        (reply(content="42", reasoning="6*7", reasoning_content="6*7"), THOUGHT, "stop"),
        (reply(content="42", reasoning_details=[{"type": "reasoning.text", "text": "6*7"}]), THOUGHT, "stop"),
        (reply(content="42", reasoning=[{"text": "6*"}, {"text": "7"}]), THOUGHT, "stop"),
        (reply(content="42", thinking_blocks=[{"type": "thinking", "thinking": "6*7"}]), THOUGHT, "stop"),
        (
            reply(
                content=[
                    {"type": "thinking", "thinking": [{"type": "text", "text": "6*7"}]},
                    {"type": "text", "text": "42"},
                ]
            ),
            THOUGHT,
            "stop",
        ),
        (reply(content=THOUGHT, reasoning_content="6*7"), THOUGHT, "stop"),  # it is there already
        (reply(content="42", reasoning_content="4"), "<think>4</think>42", "stop"),
        (reply(content="'</think>' ends it", reasoning="hm"), "<think>hm</think>'</think>' ends it", "stop"),
        (reply(content="42", reasoning_content=None, reasoning=""), "42", "stop"),
        (reply("length", content=None, reasoning_content="hm"), "<think>hm", "length"),
        (reply("length", content="", reasoning="hm"), "<think>hm", "length"),
        (reply("max_tokens", content=None, reasoning="hm"), "<think>hm", "length"),
        (reply("length", 64, content=None), "", "length"),  # the thought is hidden
        (reply("length", content="4", reasoning="hm"), "<think>hm</think>4", "length"),
        (reply(content=None, reasoning="hm"), "<think>hm</think>", "stop"),
        (reply(content=[{"type": "text", "text": "4"}, {"type": "text", "text": "2"}]), "42", "stop"),
        (reply(content=[{"type": "output_text", "text": "42"}]), "42", "stop"),
        (reply(content=["42"]), "42", "stop"),
        (reply("STOP", content="42"), "42", "stop"),
        (reply("end_turn", content="42"), "42", "stop"),
        (reply(content=None, refusal="I will not."), "I will not.", "stop"),
        (
            reply(
                "tool_calls", content=None, tool_calls=[{"function": {"name": "f", "arguments": '{"a": 1}'}}]
            ),
            '<tool_call>{"name": "f", "arguments": {"a": 1}}</tool_call>',
            "stop",
        ),
    ],
    ids=range(24),
)
def test_answers_in_every_form(server, tmp_path, sent, text, stop):
    server.answer = lambda request: sent
    for _ in range(2):  # fresh, then from the cache
        (found,) = sample(server, cache=tmp_path / "c.sqlite")
        assert (found.text, found.stop) == (text, stop)
    assert len(server.requests) == (1 if text else 2)


@pytest.mark.parametrize(
    "message",
    [
        {"content": None},
        {"content": 7},
        {"content": [{"type": "image_url", "image_url": {}}]},
        {"content": None, "tool_calls": [{"function": {"name": "f", "arguments": "{no"}}]},
        {"content": None, "tool_calls": "f"},
        {"content": {"a": 1}},
    ],
)
def test_answers_without_text_are_failures(server, message):
    server.answer = lambda request: reply(**message)
    (found,) = Endpoint(server.url, "tiny").complete([USER])
    assert isinstance(found, Failure) and found.reason == "no text"


@pytest.mark.parametrize("finish", ["content_filter", "error?", None, "abort", ""])
def test_an_answer_that_broke_off_is_asked_for_again(server, tmp_path, finish):
    server.script = [chat("half", finish)]
    assert sample(server, cache=tmp_path / "c.sqlite")[0].stop == "error"
    assert sample(server, cache=tmp_path / "c.sqlite")[0].text == "echo a"


def test_failures_that_an_old_cache_kept_are_asked_for_again(server, tmp_path):
    path = tmp_path / "c.sqlite"
    sample(server, cache=path)
    with sqlite3.connect(path) as db:
        old = {"text": "", "finish_reason": "error", "prompt_tokens": None, "completion_tokens": None}
        db.execute("UPDATE entries SET value = ?", (json.dumps({**old, "cached": False}),))
    assert sample(server, cache=path)[0].text == "echo a" and len(server.requests) == 2
    with sqlite3.connect(path) as db:  # a good one of before there was `reasoning`
        old |= {"text": "kept", "finish_reason": "stop"}
        db.execute("UPDATE entries SET value = ?", (json.dumps({**old, "cached": False}),))
    assert sample(server, cache=path)[0].text == "kept" and len(server.requests) == 2
    db.close()


def test_a_prompt_with_calls_is_sent_as_servers_want_it(server):
    call = {"name": "f", "arguments": {"a": 1}}
    turns = [
        *USER,
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "function", "content": "2"},
    ]
    EndpointEngine(Endpoint(server.url, "tiny")).sample([turns])
    sent = server.requests[-1]["messages"]
    assert sent[1]["tool_calls"] == [
        {"id": "call_1_0", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}
    ]
    assert sent[2] == {"role": "tool", "content": "2"} and as_sent(USER) == USER


def test_reasoning_is_no_part_of_the_text_for_other_callers(server):
    server.answer = lambda request: reply(content="42", reasoning_content="6*7")
    (found,) = Endpoint(server.url, "tiny").complete([USER])
    assert found == Reply("42", "stop", 1, 5, reasoning="6*7")
    assert Endpoint(server.url, "tiny").texts(["a"]) == ["42"]
