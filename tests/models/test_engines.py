"""The endpoint engine against a real HTTP server that misbehaves on demand; the vLLM engine against a
stand-in module; the choice among engines."""

import sys
import time
import types
from dataclasses import dataclass

import pytest
import tiny
from fake_endpoint import FakeServer, chat, killed

from nbkit.models.endpoint import Endpoint
from nbkit.models.engine import Completion, Generator, count_stops, sample_seed, user_prompt
from nbkit.models.engines import VLLM, EndpointEngine, engine
from nbkit.models.load import save
from nbkit.text.tokenizer import tokenizer_digest

pytestmark = pytest.mark.usefixtures("no_waiting")


def user(text: str) -> list[dict]:
    return [{"role": "user", "content": text}]


def asked(server: FakeServer) -> list[str]:
    return [request["messages"][-1]["content"] for request in server.requests]


def test_samples_are_requests_with_seeds_of_their_own(server):
    got = EndpointEngine(Endpoint(server.url, "tiny")).sample(
        [user("a"), user("b")], n=3, max_new_tokens=9, temperature=0.6, top_p=0.9, seed=5
    )
    assert [[c.text for c in group] for group in got] == [["echo a"] * 3, ["echo b"] * 3]
    seeds = [sample_seed(5, j) for j in range(3)]
    assert [c.seed for c in got[0]] == [c.seed for c in got[1]] == seeds and len(set(seeds)) == 3
    assert sorted((r["messages"][0]["content"], r["seed"]) for r in server.requests) == sorted(
        (text, s) for text in "ab" for s in seeds
    )
    for request in server.requests:
        assert (request["max_tokens"], request["temperature"], request["top_p"]) == (9, 0.6, 0.9)
        assert "continue_final_message" not in request
    assert all(c == Completion(c.text, [], "stop", None, c.seed, counted=5) for group in got for c in group)
    assert got[0][0].tokens == 5


def test_an_assistant_turn_is_continued(server):
    turn = [*user("2 + 2?"), {"role": "assistant", "content": "<think>x</think>"}]
    got = EndpointEngine(Endpoint(server.url, "tiny", concurrency=1)).sample([turn, user("b")])
    assert [group[0].text for group in got] == ["echo <think>x</think>", "echo b"]
    by_last = {request["messages"][-1]["role"]: request for request in server.requests}
    assert by_last["assistant"]["continue_final_message"] is True
    assert by_last["assistant"]["add_generation_prompt"] is False
    assert "add_generation_prompt" not in by_last["user"]


def test_passing_errors_are_retried_and_lasting_ones_lose_nothing_else(server, tmp_path):
    server.script = [503, 429]
    server.answer = lambda r: 500 if r["messages"][-1]["content"] == "bad" else chat("good")
    teacher = EndpointEngine(
        Endpoint(server.url, "tiny", retries=2, concurrency=1, cache=tmp_path / "c.sqlite")
    )
    prompts = [user("a"), user("bad"), user("b")]
    good, bad, also = (group[0] for group in teacher.sample(prompts))
    assert (good.text, also.text) == ("good", "good")
    assert (bad.stop, bad.text) == ("error", "") and bad.detail.startswith("HTTP 500") and not bad.stopped
    assert count_stops([[good, bad, also]]) == {"stop": 2, "error": 1}
    server.requests.clear()
    server.answer = lambda r: chat("well again")
    assert [group[0].text for group in teacher.sample(prompts)] == ["good", "well again", "good"]
    assert asked(server) == ["bad"]  # the two good answers came from the cache


CHILD = """
import sys
from nbkit.models.engines import engine
prompts = [[{"role": "user", "content": str(i)}] for i in range(20)]
engine(sys.argv[1], "tiny", concurrency=2, cache=sys.argv[2]).sample(prompts, n=2)
"""


def test_a_killed_call_is_resumed_from_the_cache(server, tmp_path):
    path = tmp_path / "cache.sqlite"
    server.answer = lambda r: time.sleep(0.02) or chat(f"{r['messages'][-1]['content']}/{r['seed']}")
    sent = killed(server, CHILD, path)
    resumed = engine(server.url, "tiny", cache=path)
    got = resumed.sample([user(str(i)) for i in range(20)], n=2)
    assert [[c.text for c in group] for group in got] == [
        [f"{i}/{sample_seed(0, j)}" for j in range(2)] for i in range(20)
    ]
    assert resumed.endpoint.report()["cached"] >= sent - 4  # at most two unanswered and two unwritten


@pytest.mark.parametrize(
    ("reply", "text", "stop", "detail"),
    [
        (chat(""), "", "stop", ""),
        (chat("cut off", "length"), "cut off", "length", ""),
        (chat("half", "content_filter"), "half", "error", "content_filter"),
        (b'{"choices": [{"message": {"content": "\xff\xfe"}}]}', "", "error", "malformed"),
        (chat("a\ud800b"), "a\ufffdb", "stop", ""),  # half a surrogate pair, legal in JSON
        (b"", "", "error", "malformed"),
        (b"<html>busy</html>", "", "error", "malformed"),
        (400, "", "error", "HTTP 400"),
    ],
)
def test_what_comes_back_is_told_apart(server, tmp_path, reply, text, stop, detail):
    server.answer = lambda request: reply
    teacher = EndpointEngine(Endpoint(server.url, "tiny", retries=0, cache=tmp_path / "c.sqlite"))
    for _ in range(2):  # fresh, then from the cache
        (completion,) = teacher.sample([user("a")], max_new_tokens=5)[0]
        assert (completion.text, completion.stop) == (text, stop) and detail in completion.detail
        assert completion.text.encode() == text.encode()


def test_an_overflow_of_the_context_is_counted(server):
    told = "This model's maximum context length is 2048 tokens. However, your request has 4096 input tokens"
    refused = (400, {"error": {"message": told, "type": "BadRequestError", "code": 400}})  # as vLLM words it
    server.answer = lambda r: refused if r["messages"][-1]["content"] == "long" else chat("short", "length")
    teacher = EndpointEngine(Endpoint(server.url, "tiny", retries=0))
    long, cut = (group[0] for group in teacher.sample([user("long"), user("a")], max_new_tokens=64))
    assert (long.stop, long.text) == ("context", "") and "2048" in long.detail
    assert (cut.stop, cut.text) == ("context", "short")  # cut after 5 tokens (the fake's count) of 64


@pytest.mark.parametrize(
    ("prompt", "message"),
    [
        ("raw text", r"prompts\[1\].*conversations"),
        ({"messages": user("a"), "tools": [{"name": "f"}]}, "got tools"),
        ([], "without messages"),
    ],
)
def test_prompts_an_endpoint_cannot_take(server, prompt, message):
    with pytest.raises(ValueError, match=message):
        EndpointEngine(Endpoint(server.url, "tiny")).sample([user("a"), prompt])
    assert not server.requests


def test_nothing_to_ask(server):
    assert EndpointEngine(Endpoint(server.url, "tiny")).sample([]) == []
    assert not server.paths


def test_one_string_names_an_engine(server, tmp_path, monkeypatch):
    assert isinstance(engine(server.url, "tiny"), EndpointEngine)
    save(tmp_path / "model", tiny.model(), tiny.tokenizer())
    local = engine(str(tmp_path / "model"), batch=3)
    assert isinstance(local, Generator) and local.batch == 3
    with pytest.raises(ValueError, match="name of the model at that server"):
        engine(server.url)
    with pytest.raises(ValueError, match="source names the model"):
        engine(str(tmp_path), "tiny")
    with pytest.raises(ValueError, match="could not load"):
        engine(str(tmp_path / "absent"))
    monkeypatch.setitem(sys.modules, "vllm", None)  # as where it is not installed
    with pytest.raises(ValueError, match=r"vllm:Qwen/Qwen3-8B needs vLLM.*pip install vllm"):
        engine("vllm:Qwen/Qwen3-8B")


@dataclass
class Answer:  # vllm.outputs.CompletionOutput
    token_ids: tuple[int, ...]
    logprobs: list | None
    finish_reason: str | None


@pytest.fixture
def vllm(monkeypatch):
    """The part of vLLM's API that the engine uses, by its source of 2026 (llm.py, sampling_params.py,
    outputs.py). The real one was not run: it needs a GPU."""
    fake = types.ModuleType("vllm")
    fake.config = types.SimpleNamespace()

    @dataclass
    class SamplingParams:
        temperature: float
        top_p: float
        max_tokens: int
        seed: int
        logprobs: int
        stop_token_ids: list[int]
        detokenize: bool

    class LLM:
        def __init__(self, *, model, logprobs_mode, max_model_len):
            fake.made = {"model": model, "logprobs_mode": logprobs_mode}
            config = types.SimpleNamespace(max_model_len=max_model_len, hf_config=fake.config)
            self.llm_engine = types.SimpleNamespace(model_config=config)

        def get_tokenizer(self):
            return tiny.tokenizer()

        def generate(self, prompts, sampling_params):
            fake.prompts, fake.sampling = prompts, sampling_params
            assert len(prompts) == len(sampling_params) == len(fake.answers)
            return [types.SimpleNamespace(outputs=[answer]) for answer in fake.answers]

    fake.LLM, fake.SamplingParams = LLM, SamplingParams
    fake.TokensPrompt = lambda *, prompt_token_ids: {"prompt_token_ids": prompt_token_ids}
    monkeypatch.setitem(sys.modules, "vllm", fake)
    return fake


def answer(ids, finish_reason):
    others = types.SimpleNamespace(logprob=-9.0)  # vLLM may add the most likely token beside the sampled one
    positions = [{t: types.SimpleNamespace(logprob=-0.5 * k), 319: others} for k, t in enumerate(ids)]
    return Answer(tuple(ids), positions, finish_reason)


def test_vllm_refuses_another_tokenizer_than_the_model_names(vllm):
    vllm.config.tokenizer_sha256 = "0" * 64
    with pytest.raises(
        ValueError, match="tokenizer: some/model has one with digest .*, wanted .* 000000000000;"
    ):
        engine("vllm:some/model", max_model_len=64)
    vllm.config.tokenizer_sha256 = tokenizer_digest(tiny.tokenizer())
    assert engine("vllm:some/model", max_model_len=64).context == 64


def test_vllm_gets_our_settings_and_its_answers_become_completions(vllm):
    tokenizer = tiny.tokenizer()
    end = tokenizer.convert_tokens_to_ids("<|im_end|>")
    word = tokenizer("hello", add_special_tokens=False)["input_ids"]
    room = len(tokenizer(user_prompt(tokenizer, "a"))["input_ids"]) + 4
    sampler = engine("vllm:some/model", max_model_len=room)
    assert isinstance(sampler, VLLM) and sampler.context == room
    assert vllm.made == {"model": "some/model", "logprobs_mode": "raw_logprobs"}
    vllm.answers = [answer([*word, end], "stop"), answer([5], "stop"), answer(word[:1] * 4, "length")]
    vllm.answers.append(answer([], "abort"))
    got = sampler.sample(
        ["<eos>" * (room - 9), user("a" * 500), user("a")],
        n=2,
        max_new_tokens=9,
        temperature=0.6,
        top_p=0.9,
        seed=3,
    )
    (ended, own), (over, _), (cut, failed) = got
    assert (ended.text, ended.ids, ended.stop) == ("hello", [*word, end], "stop")
    assert ended.logprobs == [-0.5 * k for k in range(len(word) + 1)]
    assert (own.text, own.stop) == ("", "stop")  # a stop token that only vLLM knew (generation_config)
    assert (over.stop, over.text, over.ids) == ("context", "", [])
    assert (cut.stop, len(cut.ids)) == ("context", 4)  # the context left 4 tokens of the 9 asked for
    assert (failed.stop, failed.text) == ("error", "") and "abort" in failed.detail
    first, _, third, _ = vllm.sampling
    assert (first.temperature, first.top_p, first.max_tokens, first.logprobs) == (0.6, 0.9, 9, 0)
    assert third.max_tokens == 4 and first.detokenize is False and end in first.stop_token_ids
    assert [s.seed for s in vllm.sampling] == [sample_seed(3, i, j) for i in (0, 2) for j in (0, 1)]
    assert [c.seed for g in got for c in g] == [sample_seed(3, i, j) for i in range(3) for j in range(2)]
    rendered = tokenizer(user_prompt(tokenizer, "a"))["input_ids"]
    assert vllm.prompts[2] == {"prompt_token_ids": rendered}
    assert sampler.sample([]) == []
