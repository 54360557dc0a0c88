"""Parameters that a server refuses are left out or renamed from then on."""

import pytest
from fake_endpoint import chat
from test_replies import sample

from nbkit.models.endpoint import Endpoint
from nbkit.models.engines import EndpointEngine

pytestmark = pytest.mark.usefixtures("no_waiting")

USER = [{"role": "user", "content": "a"}]


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
