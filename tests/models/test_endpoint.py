"""The endpoint client against a real HTTP server that misbehaves on demand."""

import asyncio
import json
import os
import signal
import socket
import threading
import time

import pytest
from fake_endpoint import chat

from nbkit.models.endpoint import Endpoint
from nbkit.models.replies import Failure, Reply

pytestmark = pytest.mark.usefixtures("no_waiting")


def ask(*questions):
    return [[{"role": "user", "content": question}] for question in questions]


def texts(results):
    return [result.text for result in results]


def test_answers_in_order_under_concurrency(server):
    def slow_first(request):
        number = int(request["messages"][-1]["content"])
        time.sleep(0.002 * (30 - number))  # the first asked is the last answered
        return chat(f"answer {number}")

    server.answer = slow_first
    endpoint = Endpoint(server.url, "tiny", concurrency=8, prices=(2.0, 10.0))
    results = endpoint.complete(ask(*map(str, range(30))), temperature=0.5, max_tokens=7)
    assert texts(results) == [f"answer {i}" for i in range(30)]
    assert 1 < server.most_at_once <= 8
    assert all(r["temperature"] == 0.5 and r["max_tokens"] == 7 for r in server.requests)
    report = endpoint.report()
    assert (report["requests"], report["cached"], report["retried"], report["failed"]) == (30, 0, 0, {})
    assert (report["prompt_tokens"], report["completion_tokens"]) == (300, 150)  # 10 and 5 by the fake
    assert report["cost"] == pytest.approx((300 * 2 + 150 * 10) / 1e6)
    assert report["seconds"] > 0


def test_no_prices_no_cost_and_answers_without_usage_are_told(server):
    server.answer = lambda request: {"choices": [{"message": {"content": "x"}, "finish_reason": "stop"}]}
    endpoint = Endpoint(server.url, "tiny")
    assert endpoint.complete(ask("a")) == [Reply("x", "stop", None, None)]
    assert endpoint.report()["cost"] is None
    assert endpoint.report()["unmetered"] == 1


def test_works_inside_a_running_loop(server):
    async def notebook_cell():
        return Endpoint(server.url, "tiny").complete(ask("a", "b"))

    assert texts(asyncio.run(notebook_cell())) == ["echo a", "echo b"]


def test_nothing_to_ask_sends_nothing(server):
    assert Endpoint(server.url, "tiny").complete([]) == []
    assert not server.paths


@pytest.mark.parametrize("status", [408, 429, 500, 503])
def test_a_passing_error_is_retried(server, status):
    server.script = [status, status]
    endpoint = Endpoint(server.url, "tiny", retries=2)
    assert texts(endpoint.complete(ask("a"))) == ["echo a"]
    report = endpoint.report()
    assert (report["requests"], report["retried"], report["failed"]) == (1, 2, {})


def test_a_lasting_error_is_a_counted_failure(server):
    server.answer = lambda request: 500 if request["messages"][-1]["content"] == "bad" else chat("good")
    endpoint = Endpoint(server.url, "tiny", retries=2, concurrency=1)
    good, bad, also_good = endpoint.complete(ask("a", "bad", "b"))
    assert texts([good, also_good]) == ["good", "good"]
    assert isinstance(bad, Failure) and bad.reason == "HTTP 500"
    assert len(server.requests) == 5  # 1 + (1 + 2 retries) + 1
    assert endpoint.report()["failed"] == {"HTTP 500": 1}
    assert endpoint.report()["retried"] == 2


def test_a_refused_request_is_not_retried(server):
    server.answer = lambda request: 400
    (result,) = Endpoint(server.url, "tiny", retries=3).complete(ask("a"))
    assert result.reason == "HTTP 400" and "scripted" in result.detail
    assert len(server.requests) == 1


def test_timeouts_are_retried_then_told(server):
    server.answer = lambda request: time.sleep(0.6) or chat("late")
    endpoint = Endpoint(server.url, "tiny", timeout_s=0.15, retries=1)
    (result,) = endpoint.complete(ask("a"))
    assert result.reason == "timeout"
    assert len(server.requests) == 2
    assert endpoint.report()["retried"] == 1


def test_a_connection_cut_in_the_answer_is_retried_then_told(server):
    server.script = ["cut"]
    assert texts(Endpoint(server.url, "tiny", retries=1).complete(ask("a"))) == ["echo a"]
    server.answer = lambda request: "cut"
    (result,) = Endpoint(server.url, "tiny", retries=1).complete(ask("a"))
    assert result.reason == "connection"


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"<html>Welcome to the proxy</html>", "malformed"),
        (b"", "malformed"),
        (b"null", "malformed"),
        (b'{"choices": []}', "malformed"),
        (b'{"choices": [{"message": {}}]}', "malformed"),
        (b'{"choices": [{"message": "text"}]}', "malformed"),
        (b'{"choices": [{"message": {"content": null}}]}', "no text"),
        (b'{"choices": [{"message": {"content": 7}}]}', "no text"),
        (b"\xff\xfe\x00", "malformed"),
    ],
)
def test_an_answer_of_another_form_is_a_failure(server, body, reason):
    server.answer = lambda request: body
    (result,) = Endpoint(server.url, "tiny").complete(ask("a"))
    assert isinstance(result, Failure) and result.reason == reason


def test_a_dead_server_is_given_up(server):
    server.answer = lambda request: 500
    endpoint = Endpoint(server.url, "tiny", retries=0, concurrency=2, give_up_after=5)
    results = endpoint.complete(ask(*map(str, range(40))))
    reasons = [result.reason for result in results]
    assert set(reasons) == {"HTTP 500", "gave up"}
    assert 5 <= len(server.requests) <= 6  # one more may be in flight
    assert sum(endpoint.report()["failed"].values()) == 40
    server.answer = lambda request: chat("back")
    assert texts(endpoint.complete(ask("a"))) == ["back"]  # a new call tries again


def test_scattered_failures_are_no_reason_to_give_up(server):
    server.answer = lambda request: 500 if int(request["messages"][-1]["content"]) % 3 else chat("x")
    endpoint = Endpoint(server.url, "tiny", retries=0, concurrency=1, give_up_after=3)
    endpoint.complete(ask(*map(str, range(30))))
    assert endpoint.report()["failed"] == {"HTTP 500": 20}


def test_an_unreachable_server_is_refused_early():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/v1"
    with pytest.raises(ValueError, match=rf"base_url: no answer from {url}.*start the server"):
        Endpoint(url, "tiny").complete(ask("a"))


def test_an_unknown_model_is_refused_early(server):
    with pytest.raises(ValueError, match=r"model: .* gives no 'huge' \(HTTP 404.*lists 'tiny'"):
        Endpoint(server.url, "huge").complete(ask("a"))
    assert len(server.requests) == 1  # the question itself was not sent


def test_a_wrong_key_is_refused_early(server):
    server.listed, server.script = 401, [401]
    with pytest.raises(ValueError, match="HTTP 401: .*scripted.*correct .*api_key_env"):
        Endpoint(server.url, "tiny").complete(ask("a"))


def test_a_model_that_the_list_leaves_out_is_asked_for_one_token(server):
    server.listed = 500
    assert texts(Endpoint(server.url, "tiny").complete(ask("a"))) == ["echo a"]
    assert [r.get("max_tokens") for r in server.requests] == [1, None]


def test_a_wrong_path_is_refused_early(server):
    with pytest.raises(ValueError, match=r"model: .*HTTP 404.*ends in /v1"):
        Endpoint(server.url.removesuffix("/v1") + "/v2", "tiny").complete(ask("a"))


def test_the_key_comes_from_the_named_variable(server, monkeypatch):
    monkeypatch.setenv("MY_KEY", "s3cret")
    Endpoint(server.url, "tiny", api_key_env="MY_KEY").complete(ask("a"))
    assert set(server.keys) == {"Bearer s3cret"}
    monkeypatch.setenv("OPENAI_API_KEY", "of another server")
    server.keys.clear()
    Endpoint(server.url, "tiny").complete(ask("a"))
    assert set(server.keys) == {"Bearer none"}  # a key goes only where it was named
    monkeypatch.delenv("MY_KEY")
    with pytest.raises(ValueError, match="MY_KEY is not set"):
        Endpoint(server.url, "tiny", api_key_env="MY_KEY")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"base_url": "localhost:8000"}, "base_url: got 'localhost:8000'"),
        ({"base_url": "http://"}, "base_url: got 'http://'"),
        ({"base_url": "http://localhost:99999/v1"}, "base_url: got .*:99999"),
        ({"base_url": "http://[bad/v1"}, "base_url: got"),
        ({"concurrency": 0}, "concurrency: got 0"),
        ({"timeout_s": 0}, "timeout_s: got 0"),
        ({"retries": -1}, "retries: got -1"),
        ({"prices": (1.0, -1.0)}, "prices: got"),
    ],
)
def test_arguments_out_of_range(arguments, message):
    with pytest.raises(ValueError, match=message):
        Endpoint(**{"base_url": "http://x/v1", "model": "m", **arguments})


@pytest.mark.parametrize(
    ("conversations", "keywords", "message"),
    [
        (ask("a"), {"temprature": 1.0}, r"unknown \['temprature'\]"),
        (ask("a"), {"n": 2}, "repeat the conversation"),
        (ask("a"), {"seeds": [1, 2]}, "seeds: got 2 for 1"),
        ([[]], {}, r"conversations\[0\]"),
        (["text"], {}, r"conversations\[0\]"),
        ([*ask("a"), [{"role": "user"}]], {}, r"conversations\[1\]"),
        (ask("\ud800"), {}, r"conversations\[0\] cannot be sent"),
    ],
)
def test_malformed_calls_send_nothing(server, conversations, keywords, message):
    with pytest.raises(ValueError, match=message):
        Endpoint(server.url, "tiny").complete(conversations, **keywords)
    assert not server.paths


def test_an_interrupt_stops_the_requests(server):
    server.answer = lambda request: time.sleep(0.05) or chat("x")
    stop = threading.Timer(0.4, os.kill, (os.getpid(), signal.SIGINT))
    stop.start()
    with pytest.raises(KeyboardInterrupt):
        Endpoint(server.url, "tiny", concurrency=1).complete(ask(*map(str, range(1000))))
    stop.join()
    sent = len(server.requests)
    time.sleep(0.2)
    assert 0 < sent < 1000 and len(server.requests) == sent


def test_report_is_plain_json(server):
    endpoint = Endpoint(server.url, "tiny", prices=(1, 2))
    endpoint.complete(ask("a"))
    assert json.loads(json.dumps(endpoint.report())) == endpoint.report()


def test_texts_are_empty_where_there_is_no_answer(server):
    server.script = [404]
    endpoint = Endpoint(server.url, "tiny", concurrency=1, retries=0)
    assert endpoint.texts(["a", "b"], max_tokens=9) == ["", "echo b"]
    assert [request["max_tokens"] for request in server.requests] == [9, 9]
