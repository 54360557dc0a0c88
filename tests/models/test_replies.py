"""What chat endpoints send in the wild: errors inside answers, reasoning, refused parameters, odd bodies."""

import json
import sqlite3

import pytest
from fake_endpoint import FakeServer, chat

from nbkit.models import replies
from nbkit.models.endpoint import Endpoint
from nbkit.models.engines import EndpointEngine, as_sent
from nbkit.models.replies import Failure, Reply

USER = [{"role": "user", "content": "a"}]


@pytest.fixture
def server():
    with FakeServer() as fake:
        yield fake


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch):
    """openai waits 0.5 s and more before a retry; the tests need the retries, not the waits."""
    monkeypatch.setattr("openai._base_client.INITIAL_RETRY_DELAY", 0.01)


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


def refuses(name: str, message: str, status: int = 400, **more):
    """A server that does not take `name`."""

    def answer(request):
        if name in request:
            return status, {"error": {"message": message, **more}}
        return chat("hi")

    return answer


@pytest.mark.parametrize(
    ("name", "message", "more"),
    [
        (
            "max_tokens",
            "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens'.",
            {"code": "unsupported_parameter"},
        ),
        (
            "max_tokens",
            "Unsupported parameter: 'max_tokens' is not supported. Use 'max_completion_tokens' instead.",
            {"param": "max_tokens"},
        ),
        ("max_tokens", "max_tokens is deprecated, please use max_completion_tokens", {}),
        (
            "temperature",
            "Unsupported value: 'temperature' does not support 0.0. Only the default (1) value is supported.",
            {"param": "temperature", "code": "unsupported_value"},
        ),
        ("top_p", "`temperature` and `top_p` cannot both be specified for this model.", {}),
        ("seed", "Unrecognized request argument supplied: seed", {}),
        (
            "seed",
            "[{'type': 'extra_forbidden', 'loc': ('body', 'seed'), 'msg': 'Extra inputs are not permitted'}]",
            {"status": 422},
        ),
        ("top_p", "Unknown parameter: 'top_p'.", {}),
    ],
)
def test_a_refused_parameter_is_left_out_or_renamed_from_then_on(server, name, message, more):
    server.answer = refuses(name, message, more.pop("status", 400), **more)
    endpoint = Endpoint(server.url, "tiny", retries=0, concurrency=1)
    for _ in range(2):
        found = EndpointEngine(endpoint).sample([USER], 2, 64, 0.6, 0.9)[0]
        assert [c.text for c in found] == ["hi", "hi"]
    assert len(server.requests) == 5 and [name in r for r in server.requests] == [True] + [False] * 4
    renamed = {"max_tokens": "max_completion_tokens"}.get(name)
    assert endpoint.report()["adapted"] == {name: renamed or "left out"}
    assert renamed is None or server.requests[-1][renamed] == 64


def test_several_parameters_may_be_refused(server):
    def answer(request):
        for name in ("max_tokens", "temperature", "top_p", "seed"):
            if name in request:
                return 400, {"error": {"message": f"'{name}' is not supported"}}
        return chat("hi")

    server.answer = answer
    assert [c.text for c in sample(server, 3, concurrency=3)] == ["hi"] * 3


def test_a_stop_text_that_the_server_refuses_is_looked_for_here(server):
    server.answer = lambda r: (
        (400, {"error": {"message": "'stop' is not supported"}}) if "stop" in r else chat("a\nQ: b")
    )
    endpoint = Endpoint(server.url, "tiny")
    assert [c.text for c in endpoint.complete([USER], stop=["\nQ:", "zz"])] == ["a"]
    assert [c.text for c in endpoint.complete([USER], stop="b")] == ["a\nQ: "]
    assert [c.text for c in endpoint.complete([USER])] == ["a\nQ: b"]


@pytest.mark.parametrize(
    ("message", "status"),
    [
        ("max_tokens is too large: 64. This model supports at most 16 completion tokens", 400),
        ("'max_tokens' is not supported", 500),
        ("'logit_bias' is not supported", 400),
        ("this feature is not supported", 400),
    ],
)
def test_other_refusals_are_failures(server, message, status):
    server.answer = lambda request: (status, {"error": {"message": message}})
    (found,) = sample(server, retries=0)
    assert found.stop == "error" and len(server.requests) == 1


def test_a_model_that_refuses_both_names_of_the_limit(server):
    server.answer = lambda r: (
        400,
        {"error": {"message": "max_tokens, max_completion_tokens: not supported"}},
    )
    (found,) = sample(server, retries=0)
    assert found.stop == "error" and len(server.requests) == 2


def test_a_model_off_the_list_may_refuse_the_limit(server):
    server.listed = 500
    server.answer = refuses("max_tokens", "Unsupported parameter: 'max_tokens'")
    assert Endpoint(server.url, "tiny").complete([USER])[0].text == "hi"
    assert "max_completion_tokens" in server.requests[1]


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
