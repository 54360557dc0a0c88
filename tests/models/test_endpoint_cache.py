"""The cache of an endpoint: what is kept, what is asked again, after a kill too."""

import sqlite3
import time

import pytest
from fake_endpoint import chat, killed
from test_endpoint import ask, texts

from nbkit.models.endpoint import Endpoint

pytestmark = pytest.mark.usefixtures("no_waiting")


def test_cached_answers_need_no_server(server, tmp_path):
    path = tmp_path / "deep" / "cache.sqlite"
    first = Endpoint(server.url, "tiny", cache=path).complete(ask("a", "b"), temperature=0.0)
    server.close()
    endpoint = Endpoint(server.url, "tiny", cache=path, prices=(1.0, 1.0))
    again = endpoint.complete(ask("b", "a"), temperature=0.0)
    assert texts(again) == texts(first)[::-1]
    assert [r.cached for r in first + again] == [False, False, True, True]
    report = endpoint.report()
    assert (report["requests"], report["cached"], report["cost"]) == (0, 2, 0.0)


def test_only_the_same_request_hits_the_cache(server, tmp_path):
    server.answer = lambda request: chat(str(len(server.requests)))
    path = tmp_path / "cache.sqlite"
    endpoint = Endpoint(server.url, "tiny", cache=path, concurrency=1)
    calls = [
        {"temperature": 0.0},
        {"temperature": 1.0},
        {"temperature": 1.0, "seeds": [1]},
        {"temperature": 1.0, "seeds": [2]},
    ]
    first = [endpoint.complete(ask("a"), **call)[0].text for call in calls]
    assert first == ["1", "2", "3", "4"]
    assert [endpoint.complete(ask("a"), **call)[0].text for call in calls] == first
    server.models.append("other")
    assert Endpoint(server.url, "other", cache=path).complete(ask("a"), temperature=0.0)[0].text == "5"


def test_a_repeated_conversation_is_sampled_anew(server, tmp_path):
    server.answer = lambda request: chat(str(len(server.requests)))
    endpoint = Endpoint(server.url, "tiny", cache=tmp_path / "cache.sqlite", concurrency=1)
    assert texts(endpoint.complete(ask("a", "b", "a", "a"))) == ["1", "2", "3", "4"]
    assert texts(endpoint.complete(ask("a", "a", "b", "a"))) == ["1", "3", "2", "4"]


def test_failures_are_not_cached(server, tmp_path):
    server.script = [500]
    endpoint = Endpoint(server.url, "tiny", cache=tmp_path / "cache.sqlite", retries=0)
    assert endpoint.complete(ask("a"))[0].reason == "HTTP 500"
    assert texts(endpoint.complete(ask("a"))) == ["echo a"]


def test_replies_of_no_use_are_asked_for_again(server, tmp_path):
    endpoint = Endpoint(server.url, "tiny", cache=tmp_path / "cache.sqlite", concurrency=1)
    assert texts(endpoint.complete(ask("a", "b"), temperature=0.0)) == ["echo a", "echo b"]
    server.answer = lambda request: chat("better")

    def usable(place, reply):
        return (place, reply.text) != (1, "echo b")

    again = endpoint.complete(ask("a", "b"), usable=usable, temperature=0.0)
    assert texts(again) == ["echo a", "better"]
    assert [reply.cached for reply in again] == [True, False]
    # The new reply has taken the place of the old one.
    assert texts(endpoint.complete(ask("a", "b"), usable=usable, temperature=0.0)) == ["echo a", "better"]
    assert len(server.requests) == 3


def test_what_the_cache_holds_is_known_without_the_server(server, tmp_path):
    endpoint = Endpoint(server.url, "tiny", cache=tmp_path / "cache.sqlite")
    endpoint.complete(ask("a"), temperature=0.0)
    server.close()
    first, second = endpoint.known(ask("a", "b"), temperature=0.0)
    assert (first.text, first.cached, second) == ("echo a", True, None)
    assert endpoint.known(ask("a"), temperature=1.0) == [None]
    with pytest.raises(ValueError, match="sampling: unknown"):
        endpoint.known(ask("a"), temprature=1.0)


def test_a_damaged_cache_says_what_to_delete(server, tmp_path):
    path = tmp_path / "cache.sqlite"
    path.write_bytes(b"this is no database, whatever its name may say" * 50)
    with pytest.raises(ValueError, match=rf"{path} is damaged.*delete it"):
        Endpoint(server.url, "tiny", cache=path).complete(ask("a"))
    path.unlink()
    Endpoint(server.url, "tiny", cache=path).complete(ask("a"))
    with sqlite3.connect(path) as db:
        for damage in ("half of a rec", '{"text": 1, "another": "form"}'):
            db.execute("UPDATE entries SET value = ?", (damage,))
            db.commit()
            with pytest.raises(ValueError, match=rf"{path} is damaged.*delete it"):
                Endpoint(server.url, "tiny", cache=path).complete(ask("a"))
    db.close()


def test_a_cache_that_cannot_be_opened_is_no_damage(server, tmp_path):
    with pytest.raises(OSError, match="cannot use"):
        Endpoint(server.url, "tiny", cache=tmp_path).complete(ask("a"))


CHILD = """
import sys
from nbkit.models.endpoint import Endpoint
questions = [[{"role": "user", "content": str(i)}] for i in range(40)]
Endpoint(sys.argv[1], "tiny", concurrency=2, cache=sys.argv[2]).complete(questions)
"""


def test_a_killed_run_asks_again_only_what_was_in_flight(server, tmp_path):
    path = tmp_path / "cache.sqlite"
    server.answer = lambda request: time.sleep(0.02) or chat("echo " + request["messages"][-1]["content"])
    sent = killed(server, CHILD, path)
    endpoint = Endpoint(server.url, "tiny", cache=path)
    assert texts(endpoint.complete(ask(*map(str, range(40))))) == [f"echo {i}" for i in range(40)]
    report = endpoint.report()
    assert report["cached"] + report["requests"] == 40
    assert report["cached"] >= sent - 4  # at most two unanswered and two unwritten
