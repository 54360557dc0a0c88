"""What a chat endpoint sends back, read: the answer, or the error that stands where one should be. Used by
endpoint.py; docs/formats.md says what is accepted.

Read from plain JSON, since openai's own models accept anything. Nothing here raises on a body.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from nbkit.text.conversations import reasoning_of, text_and_thought, tool_calls
from nbkit.text.tool_calls import tool_call

MALFORMED = "x-nbkit-malformed"  # header of our own: the status was made up for a body that is no answer
_FINISH = dict.fromkeys(
    ("stop", "eos", "eos_token", "end_turn", "stop_sequence", "tool_calls", "function_call"), "stop"
) | dict.fromkeys(("length", "max_tokens", "max_output_tokens", "model_length"), "length")
# Kinds of errors by their wording, where an answer names no status; the first that fits.
_WORDS = [
    (re.compile(r"rate.?limit|too many|overload|capacity|throttl|\bbusy\b|resource.?exhausted", re.I), 429),
    (
        re.compile(
            r"context.(?:length|window|size)|invalid|not.found|no such|does not exist|unsupported"
            r"|unrecogni[sz]ed|unauthori[sz]ed|authenticat|permission|forbidden|api.?key|credential|moderation"
            r"|policy|billing|credits|payment",
            re.I,
        ),
        400,
    ),
    (re.compile(""), 503),  # unknown: worth another try
]
_STATUS_KEYS = ("code", "status", "status_code", "statusCode", "error_code", "http_status")
_OPTIONAL = ("temperature", "top_p", "seed", "stop", "presence_penalty", "frequency_penalty")
_REFUSAL = re.compile(
    r"unsupported|n(?:o|')t support|unrecogni[sz]ed|unknown (?:parameter|argument|field|name)|unexpected"
    r"|not permitted|not allowed|extra_forbidden|cannot both|deprecated|not compatible",
    re.I,
)


@dataclass(frozen=True)
class Reply:
    """What the server said, before an engine makes a `Completion` of it. `finish_reason` is "stop", "length"
    where the limit of tokens cut it, or the server's own word; tokens are None where the server counts none.
    `reasoning` came beside the text."""

    text: str
    finish_reason: str | None
    prompt_tokens: int | None
    completion_tokens: int | None
    cached: bool = False
    reasoning: str = ""

    @property
    def finished(self) -> bool:
        """Is it an answer for good? One that broke off for another reason, or is empty, is asked for again
        by a later run."""
        return self.finish_reason in ("stop", "length") and bool(self.text or self.reasoning)


@dataclass(frozen=True)
class Failure:
    """A request without an answer after all retries. `reason` is a short class to count ("timeout",
    "connection", "HTTP 500", "malformed", "no text", "gave up"), `detail` what came back."""

    reason: str
    detail: str


def read(body: bytes) -> Reply | Failure:
    """The first choice of a chat completion."""
    # Servers differ in what they add or leave out: only a choice with a message is an answer.
    try:
        answer = json.loads(body)
        choice, usage = answer["choices"][0], answer.get("usage")
        message, reason = choice["message"], choice.get("finish_reason")
        tokens = [_count(usage, name) for name in ("prompt_tokens", "completion_tokens")]
        if "content" not in message and not set(message) - {"role"}:
            raise KeyError("content")
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError) as error:
        return Failure("malformed", f"no chat completion ({type(error).__name__}): {body[:200]!r}")
    # The text is read apart: what is no text is told apart from what is no answer.
    try:
        text, reasoning = _said(message)
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        return Failure("no text", f"{error}"[:300])
    finish = _FINISH.get(reason.lower(), reason) if isinstance(reason, str) else None
    # Empty and cut by the limit is an answer (all went into the thought); empty otherwise is none.
    if not text and not reasoning and message.get("content") is None and finish != "length":
        return Failure("no text", f"content is None, finish_reason {reason!r}")
    return Reply(text, finish, *tokens, reasoning=reasoning)


def _count(usage: Any, name: str) -> int | None:
    number = usage.get(name) if isinstance(usage, Mapping) else None
    return number if type(number) is int else None


def _said(message: Mapping) -> tuple[str, str]:
    """(text, reasoning) of a message; calls that the server parsed out of the text are put back into it."""
    content = message.get("content")
    text, inside = text_and_thought(content if content is not None else message.get("refusal"), "message")
    for call in tool_calls(message.get("tool_calls") or [], "message"):
        text += tool_call(call["function"]["name"], **call["function"]["arguments"])
    fields = ("reasoning_content", "reasoning", "thinking", "reasoning_details", "thinking_blocks")
    thoughts = (reasoning_of({field: message.get(field)}, "message") for field in fields)
    return text, next(filter(None, thoughts), inside)


def hidden_error(body: bytes) -> tuple[int, dict[str, str]] | None:
    """(HTTP status, headers) that a body of status 200 should have had, or None for a chat completion."""
    # Status 200 does not say much: some servers and proxies report errors inside such a body.
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        return 502, {MALFORMED: "1"}
    # Some servers (Google's) wrap an error in a list.
    if isinstance(answer, list) and answer:
        answer = answer[0]
    if not isinstance(answer, dict):
        return 502, {MALFORMED: "1"}
    choices = answer.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices else None
    # An error beside choices wins: the choice is then what was said before it broke off.
    if isinstance(choice, dict) and not answer.get("error"):
        if choice.get("error") or choice.get("finish_reason") == "error":
            return _status(choice.get("error") or {}, choice)
        return None if isinstance(choice.get("message"), dict) else (502, {MALFORMED: "1"})
    if not answer.get("error") and not {"detail", "message", "msg", "errors"} & set(answer):
        return 502, {MALFORMED: "1"}
    return _status(answer.get("error") or {}, answer)


def _status(error: Any, around: Mapping) -> tuple[int, dict[str, str]]:
    """The status that an error names in a number or in words, and the wait it asks for."""
    places = [place for place in (error, around) if isinstance(place, Mapping)]
    metadata = places[0].get("metadata")
    headers = metadata.get("headers") if isinstance(metadata, Mapping) else None
    # Servers hide the wait in the error, around it, or in its metadata.
    wait = next(
        (
            str(place[key])
            for place in (*places, metadata, headers)
            if isinstance(place, Mapping)
            for key in ("retry_after", "Retry-After", "retry-after")
            if isinstance(place.get(key), (int, float, str))
        ),
        "",
    )
    told = {"retry-after": wait} if wait.isascii() and wait.isprintable() and wait else {}
    # A number that is a status, else words that mean one.
    for value in (place.get(key) for place in places for key in _STATUS_KEYS):
        digits = str(value) if isinstance(value, (int, str)) else ""
        if re.fullmatch(r"[45][0-9][0-9]", digits):
            return int(digits), told
    words = json.dumps(error or {key: value for key, value in around.items() if key != "choices"})[:2000]
    return next(status for pattern, status in _WORDS if pattern.search(words)), told


def refused_parameter(failure: Failure, sent: Mapping[str, Any]) -> str | None:
    """The parameter of `sent` that the model does not take, by the wording of a refusal, or None."""
    # Only refusals: another 400 (a prompt too long) is not cured by renaming a parameter.
    if failure.reason not in ("HTTP 400", "HTTP 422") or not _REFUSAL.search(failure.detail):
        return None
    # The server's own word for it where it gives one, else the name that its text mentions ...
    names = [name for name in ("max_tokens", "max_completion_tokens", *_OPTIONAL) if name in sent]
    try:
        param = json.loads(failure.detail)["error"]["param"]
    except (ValueError, TypeError, KeyError, RecursionError):
        param = None
    if param in names:
        return param
    found = [(m.start(), name) for name in names if (m := re.search(rf"\b{name}\b", failure.detail))]
    # ... the last of two that "cannot both" be given, so that the first stays.
    both = re.search(r"cannot both", failure.detail, re.I)
    return max(found)[1] if found and both else min(found)[1] if found else None
