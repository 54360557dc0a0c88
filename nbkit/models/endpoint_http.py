"""The way to a chat endpoint: its address, the requests, the errors on the way, and the event loop. Used by
endpoint.py."""

import asyncio
import inspect
import json
from collections import Counter
from collections.abc import Coroutine, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

from openai import APIConnectionError, APIError, APIStatusError, APITimeoutError
from openai.resources.chat import AsyncCompletions

from nbkit.models.replies import MALFORMED, Failure, Reply, hidden_error
from nbkit.run.files import digest

Conversation = Sequence[Mapping[str, Any]]  # messages: {"role": ..., "content": ...}
_SAMPLING = frozenset(inspect.signature(AsyncCompletions.create).parameters) - {
    "self", "model", "messages", "n", "seed", "stream", "stream_options", "timeout"
}  # fmt: skip


def check_url(url: str) -> None:
    try:
        parts = urlsplit(url)
        valid = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:  # a port that is no port, an unclosed bracket
        valid = False
    if not valid:
        raise ValueError(f"base_url: got {url!r}, wanted http(s)://host[:port]/..., mostly ending in /v1")


def requests_of(
    model: str,
    conversations: Sequence[Conversation],
    seeds: Sequence[int] | None,
    sampling: Mapping[str, Any],
) -> list[tuple[str, dict[str, Any]]]:
    """(cache key, request) for every conversation. Raises ValueError for what cannot be sent."""
    if unknown := set(sampling) - _SAMPLING:
        raise ValueError(
            f"sampling: unknown {sorted(unknown)}; what only your server knows goes in extra_body, "
            "and for n answers repeat the conversation with other seeds"
        )
    if seeds is not None and len(seeds) != len(conversations):
        raise ValueError(f"seeds: got {len(seeds)} for {len(conversations)} conversations")
    requests, seen = [], Counter()
    for i, messages in enumerate(conversations):
        if not messages or not all(
            isinstance(message, Mapping) and {"role", "content"} <= set(message) for message in messages
        ):
            raise ValueError(
                f"conversations[{i}]: wanted a list of {{'role', 'content'}}, got {messages!r:.100}"
            )
        # The request as it will be sent; its digest is the key, so other sampling is another answer.
        request = {"model": model, "messages": [dict(m) for m in messages], **sampling}
        if seeds is not None:
            request["seed"] = seeds[i]
        try:
            json.dumps(request, ensure_ascii=False).encode()
        except (TypeError, ValueError) as error:  # a lone surrogate, an object
            raise ValueError(f"conversations[{i}] cannot be sent as JSON: {error}") from error
        # The k-th occurrence of a conversation has a key of its own.
        key = digest(request)
        seen[key] += 1
        requests.append((key if seen[key] == 1 else f"{key}-{seen[key]}", request))
    return requests


async def tell_hidden_errors(response) -> None:
    """Give an answer of status 200 that is none the status of the error inside, so that openai's client
    retries it like any other."""
    if response.status_code != 200 or response.request.method != "POST":
        return
    if found := hidden_error(await response.aread()):
        response.status_code, headers = found
        response.headers.update(headers)


def up_to(answer: Reply | Failure, stop: str | Sequence[str] | None) -> Reply | Failure:
    """The answer up to the first of `stop`, which the server would not look for."""
    if isinstance(answer, Failure) or not stop:
        return answer
    marks = [stop] if isinstance(stop, str) else stop
    ends = [at for mark in marks if mark and (at := answer.text.find(mark)) >= 0]
    return replace(answer, text=answer.text[: min(ends)], finish_reason="stop") if ends else answer


def failure_of(error: APIError) -> Failure:
    if isinstance(error, APIStatusError):  # the whole body: openai's message knows only its own form
        if error.response.headers.get(MALFORMED):
            return Failure("malformed", f"no chat completion: {error.response.content[:200]!r}")
        return Failure(f"HTTP {error.status_code}", error.response.text[:1000])
    if isinstance(error, APIConnectionError):
        reason = "timeout" if isinstance(error, APITimeoutError) else "connection"
        return Failure(reason, f"{error.__cause__ or error}"[:300])
    return Failure(type(error).__name__, f"{error}"[:300])


def run(coroutine: Coroutine) -> Any:
    """Run in a loop of its own thread: Jupyter's thread has a running loop already. An interrupt cancels."""
    # The task is kept, since only its own loop's thread may cancel it.
    tasks = []

    async def main():
        tasks.append(asyncio.current_task())
        return await coroutine

    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(asyncio.run, main())
        try:
            return future.result()
        except KeyboardInterrupt:
            for task in tasks:
                task.get_loop().call_soon_threadsafe(task.cancel)
            raise
