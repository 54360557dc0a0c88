"""Any OpenAI-compatible chat endpoint (vLLM, `transformers serve`, a hosted model), asked in bulk. Used by
the LLM annotator of 01.

    endpoint = Endpoint("http://localhost:8000/v1", model="Qwen/Qwen3-8B", cache="answers.sqlite")
    answers = endpoint.complete([[{"role": "user", "content": "2 + 2?"}]], temperature=0.0, max_tokens=8)
    endpoint.report()         # requests, cached, retried, failed by reason, tokens, cost, seconds

Every conversation gets either a `Reply` or a `Failure` with its reason; nothing is made up. Answers go
to an SQLite file as they come, so that a killed run asks again only what was in flight.
"""

import asyncio
import logging
import os
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from openai import APIConnectionError, APIError, AsyncOpenAI, DefaultAsyncHttpxClient, Timeout
from tqdm.auto import tqdm

from nbkit.models.endpoint_http import (
    Conversation,
    check_url,
    failure_of,
    requests_of,
    run,
    tell_hidden_errors,
    up_to,
)
from nbkit.models.json_cache import JsonCache
from nbkit.models.replies import Failure, Reply, read, refused_parameter
from nbkit.run import progress

_RENAMED = {"max_tokens": "max_completion_tokens", "max_completion_tokens": "max_tokens"}


@dataclass(eq=False)
class Endpoint:
    """One model at one server.

    `api_key_env` names the environment variable that holds the key (None: the server wants none).
    `concurrency` requests run at once. `timeout_s` is the longest silence of the server in seconds. Timeouts,
    lost connections, 408, 409, 429 and 5xx, also where they come inside an answer of status 200, and bodies
    that are no chat completion are retried `retries` times, after 0.5 to 8 s or the server's Retry-After of
    at most 2 minutes (openai's own backoff). A parameter that the model refuses is sent under its other name
    or left out from then on (docs/formats.md), and `report` says so under "adapted". After `give_up_after`
    failures in a row the rest of a call is not sent. `prices` are (prompt, completion) in any currency per
    million tokens. `cache` is an SQLite file, keyed by model, messages and sampling but not by server; it
    keeps finished answers alone. Raises ValueError for values out of range.
    """

    base_url: str
    model: str
    api_key_env: str | None = None
    concurrency: int = 8
    timeout_s: float = 600.0
    retries: int = 4
    cache: str | Path | None = None
    prices: tuple[float, float] | None = None
    give_up_after: int = 50

    def __post_init__(self) -> None:
        self._check_arguments()
        self._options = {
            "base_url": self.base_url,
            # openai refuses an empty key
            "api_key": os.environ[self.api_key_env] if self.api_key_env else "none",
            "timeout": Timeout(self.timeout_s, connect=min(self.timeout_s, 10.0)),
            "max_retries": self.retries,
        }
        self._counts: Counter[str] = Counter()
        self._failed: Counter[str] = Counter()
        self._seconds = 0.0
        self._checked = False
        self._adapted: dict[str, str] = {}  # refused parameter -> the name it is sent under, "" for none

    def _check_arguments(self) -> None:
        check_url(self.base_url)
        for name, low, high in (
            ("concurrency", 1, 1000),
            ("timeout_s", 0.001, 86400),
            ("retries", 0, 100),
            ("give_up_after", 1, 10**9),
        ):
            value = getattr(self, name)
            if not low <= value <= high:
                raise ValueError(f"{name}: got {value}, wanted {low} to {high}")
        if self.prices is not None and (len(self.prices) != 2 or min(self.prices) < 0):
            raise ValueError(
                f"prices: got {self.prices}, wanted (prompt, completion) per million tokens, 0 or more"
            )
        if self.api_key_env is not None and not os.environ.get(self.api_key_env):
            raise ValueError(
                f"api_key_env: {self.api_key_env} is not set; export it, or give None if no key is needed"
            )

    def complete(
        self,
        conversations: Sequence[Conversation],
        seeds: Sequence[int] | None = None,
        label: str = "asking",
        usable: Callable[[int, Reply], bool] = lambda place, reply: True,
        **sampling: Any,
    ) -> list[Reply | Failure]:
        """One answer per conversation, in their order; works inside a running event loop (Jupyter) too.

        `seeds` are one per conversation. `sampling` is what `chat.completions.create` takes (temperature,
        max_tokens, response_format, extra_body for what only your server knows). A conversation that occurs
        k times is asked k times, and each occurrence is cached by itself; a cached reply that is not `usable`
        is asked for anew. Raises ValueError for malformed arguments, a damaged cache, an unreachable server
        or an unknown model (both asked once, before the first request).
        """
        started = time.monotonic()
        requests = requests_of(self.model, conversations, seeds, sampling)
        results: list[Reply | Failure | None]
        try:
            with closing(JsonCache(self.cache)) as cache:
                # What the cache holds is not asked again.
                results = [_cached(cache, key) for key, _ in requests]
                results = [reply if reply and usable(i, reply) else None for i, reply in enumerate(results)]
                todo = [i for i, result in enumerate(results) if result is None]
                self._counts["cached"] += len(requests) - len(todo)
                with (
                    tqdm(total=len(requests), initial=len(requests) - len(todo), desc=label) as bar,
                    progress.doing(label or "asking the endpoint", len(requests)) as part,
                ):
                    part.at(len(requests) - len(todo))
                    if todo:
                        run(self._ask_all(requests, todo, results, cache, (bar.update, part)))
        finally:
            self._seconds += time.monotonic() - started
        return results

    def known(
        self, conversations: Sequence[Conversation], seeds: Sequence[int] | None = None, **sampling: Any
    ) -> list[Reply | None]:
        """What the cache holds for each conversation, as `complete` would ask it; nothing is asked. Raises
        ValueError for malformed arguments and a damaged cache."""
        with closing(JsonCache(self.cache)) as cache:
            requests = requests_of(self.model, conversations, seeds, sampling)
            return [_cached(cache, key) for key, _ in requests]

    def texts(self, requests: Sequence[str], **sampling: Any) -> list[str]:
        """The answer to every request, a user turn of its own; "" where there is none (see `report`)."""
        answers = self.complete([[{"role": "user", "content": text}] for text in requests], **sampling)
        return [answer.text if isinstance(answer, Reply) else "" for answer in answers]

    def report(self) -> dict[str, Any]:
        """What the calls so far used. Tokens and cost are of the requests answered by the server in this
        process: cached ones are free, and what a retried or failed request burnt is not known. `unmetered`
        answers came without a token count, so that tokens and cost are too low by theirs."""
        counts = self._counts
        cost = None
        if self.prices:
            cost = (
                counts["prompt_tokens"] * self.prices[0] + counts["completion_tokens"] * self.prices[1]
            ) / 1e6
        names = ("requests", "cached", "retried", "unmetered", "prompt_tokens", "completion_tokens")
        return {
            "base_url": self.base_url,
            "model": self.model,
            **{name: counts[name] for name in names},
            "failed": dict(self._failed),
            "adapted": {name: to or "left out" for name, to in self._adapted.items()},
            "cost": cost,
            "seconds": round(self._seconds, 3),
        }

    async def _ask_all(
        self, requests, todo: list[int], results: list, cache: JsonCache, told: Sequence
    ) -> None:
        waiting = iter(todo)  # shared: each worker takes the next one
        failed_in_a_row = 0

        async def work(client: AsyncOpenAI) -> None:
            nonlocal failed_in_a_row
            for i in waiting:
                key, request = requests[i]
                # A server that is gone would cost every retry of every request.
                if failed_in_a_row >= self.give_up_after:
                    result = Failure("gave up", f"not sent after {self.give_up_after} failures in a row")
                else:
                    result = await self._ask(client, request)
                if isinstance(result, Reply):
                    failed_in_a_row = 0
                    if result.finished:
                        cache.put(key, asdict(result))
                else:
                    failed_in_a_row += 1
                    self._failed[result.reason] += 1
                results[i] = result
                for tell in told:
                    tell()

        # One look at the server and the model, then all workers.
        http = DefaultAsyncHttpxClient(event_hooks={"response": [tell_hidden_errors]})
        async with AsyncOpenAI(**self._options, http_client=http) as client:
            if not self._checked:
                await self._check(client)
                self._checked = True
            await asyncio.gather(*(work(client) for _ in range(min(self.concurrency, len(todo)))))

    async def _ask(self, client: AsyncOpenAI, request: dict[str, Any]) -> Reply | Failure:
        self._counts["requests"] += 1
        result = await self._send(client, request)
        if isinstance(result, Reply):
            self._counts["unmetered"] += result.prompt_tokens is None or result.completion_tokens is None
            self._counts["prompt_tokens"] += result.prompt_tokens or 0
            self._counts["completion_tokens"] += result.completion_tokens or 0
        return result

    async def _send(self, client: AsyncOpenAI, request: dict[str, Any]) -> Reply | Failure:
        """One answer, asked again without what the model refuses: each time there is one name less."""
        while True:
            sent = {self._adapted.get(name, name): value for name, value in request.items()}
            sent.pop("", None)  # what is left out
            try:
                raw = await client.chat.completions.with_raw_response.create(**sent)
            except APIError as error:
                self._counts["retried"] += int(error.request.headers.get("x-stainless-retry-count", 0))
                failure = failure_of(error)
                if not self._adapt(failure, sent, request):
                    return failure
                self._counts["retried"] += 1
                continue
            self._counts["retried"] += raw.retries_taken
            stop = request.get("stop") if "stop" in self._adapted else None
            return up_to(read(raw.http_response.content), stop)

    def _adapt(self, failure: Failure, sent: Mapping, request: Mapping) -> bool:
        """Is there another form of the request, because the model refuses one of its parameters?"""
        name = refused_parameter(failure, sent)
        if name is None or (name in _RENAMED and name not in request):  # both names were refused
            return False
        if name not in self._adapted:
            self._adapted[name] = _RENAMED.get(name, "")
            to = self._adapted[name] or "left out"
            logging.getLogger(__name__).warning("%s refuses %s, from now on: %s", self.model, name, to)
        return True

    async def _check(self, client: AsyncOpenAI) -> None:
        """Ask the server for its models; where ours is not listed, ask for one token of it. The list alone
        settles nothing: `transformers serve` leaves out models in local folders, others have no list."""
        try:
            listed = [model.id for model in (await client.with_options(max_retries=1).models.list()).data]
        except APIConnectionError as error:
            raise ValueError(
                f"base_url: no answer from {self.base_url} ({error.__cause__ or error}); "
                "start the server, or correct base_url (mostly it ends in /v1)"
            ) from error
        except (APIError, AttributeError, TypeError, ValueError):  # no such route, or a body of another kind
            listed = []
        if self.model in listed:
            return
        # The one question that settles it: does the model answer?
        probe = {"model": self.model, "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 1}
        answer = await self._send(client, probe)
        if isinstance(answer, Failure) and answer.reason != "no text":
            known = f"it lists {', '.join(map(repr, listed[:10]))}" if listed else "it lists no models"
            raise ValueError(
                f"model: {self.base_url} gives no {self.model!r} ({answer.reason}: {answer.detail}) "
                f"and {known}; correct model, base_url (mostly it ends in /v1) or api_key_env"
            )


def _cached(cache: JsonCache, key: str) -> Reply | None:
    with cache.explained():
        found = cache.get(key)
        answer = found and replace(Reply(**found), cached=True)
        return answer if answer and answer.finished else None  # caches of old versions kept failures too
