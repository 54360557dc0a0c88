"""Conversations in the forms that data sets and servers use, brought to one form. Used by 03-07.

    messages, tools = conversation(row, "conversations[3]")

The one form: messages {"role", "content"} with role system, user, assistant or tool; the assistant's may have
"reasoning_content" and "tool_calls" ({"type", "function": {"name", "arguments"}}, arguments an object). What
is accepted beside it, and what becomes of it, stands in docs/formats.md. Whatever cannot be learned as text
is a ValueError that names the row: str() of a list of parts or of None would be learned without a word.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from nbkit.text.characters import printable
from nbkit.text.tool_calls import blank, whole

ROLES = {
    "system": "system", "developer": "system", "user": "user", "human": "user", "assistant": "assistant",
    "gpt": "assistant", "model": "assistant", "bot": "assistant", "tool": "tool", "function": "tool",
    "observation": "tool", "tool_response": "tool", "function_response": "tool",
    "function_call": "call", "tool_call": "call",
}  # fmt: skip
_REASONING = ("reasoning_content", "reasoning", "thinking")
_BLOCKS = ("reasoning_details", "thinking_blocks")
_TEXT_PARTS = ("text", "input_text", "output_text", "refusal")
_THOUGHT_PARTS = ("thinking", "reasoning", "reasoning_text", "redacted_thinking")


def conversation(row: Sequence | Mapping, name: str, prompt: bool = False) -> tuple[list[dict], list | None]:
    """(messages, tools) of a list of messages, or of an object that holds one as "messages" (or
    "conversations") and, where tools are offered, "tools". The last turn of a `prompt` may be an empty one of
    the assistant. Raises ValueError that names the row, what was given and what is wanted."""
    # A plain list of messages, or an object that holds one under either usual name.
    chat = row if isinstance(row, Mapping) else {"messages": row}
    turns = chat.get("messages") if chat.get("messages") is not None else chat.get("conversations")
    if not isinstance(turns, (list, tuple)):
        given = sorted(map(str, chat)) if isinstance(row, Mapping) else row
        raise ValueError(
            f"{name}: got {given!r:.100}, wanted a list of messages {{'role', 'content'}}, or an object with "
            "'messages' and, where tools are offered, 'tools'"
        )
    if not turns:
        raise ValueError(f"{name}: got a conversation without messages, wanted at least one")
    messages = [
        _message(turn, f"{name}.messages[{i}]", prompt and i == len(turns) - 1)
        for i, turn in enumerate(turns)
    ]
    # Some sets keep the system prompt beside the messages.
    if chat.get("system") and messages[0]["role"] != "system":
        messages.insert(0, {"role": "system", "content": text_of(chat["system"], f"{name}.system")})
    return messages, tools_of(chat.get("tools"), f"{name}.tools")


def tools_of(tools: Any, name: str) -> list | None:
    """Tool definitions, given as a list of objects or of their JSON, or the whole as JSON."""
    # Tools come as objects, as JSON of each, or as one JSON text of all.
    if isinstance(tools, str) and tools.strip():
        tools = _read(tools, name, "a list of tools as JSON")
    if not tools:
        return None
    if not isinstance(tools, (list, tuple)):
        raise ValueError(f"{name}: got {tools!r:.80}, wanted a list of JSON schemas")
    found = [_read(t, f"{name}[{i}]", "a tool") if isinstance(t, str) else t for i, t in enumerate(tools)]
    for i, tool in enumerate(found):
        if not isinstance(tool, Mapping):
            raise ValueError(f"{name}[{i}]: got {tool!r:.80}, wanted an object (a JSON schema)")
    return found


def _message(turn: Any, name: str, may_be_empty: bool) -> dict:
    if not isinstance(turn, Mapping):
        raise ValueError(f"{name}: got {turn!r:.80}, wanted an object {{'role', 'content'}}")
    # Who speaks: several formats, one set of roles.
    given = turn.get("role", turn.get("from"))
    role = ROLES.get(given.lower() if isinstance(given, str) else "")
    if role is None:
        raise ValueError(f"{name}: got role {given!r:.60}, wanted one of {', '.join(ROLES)}")
    content = turn.get("content", turn.get("value"))
    if role == "call":  # a turn of its own whose text is the call as JSON
        calls = content if isinstance(content, (list, Mapping)) else _read(content, name, "a call as JSON")
        calls = list(calls) if isinstance(calls, list) else [calls]
        return {"role": "assistant", "content": "", "tool_calls": tool_calls(calls, name)}
    # What is said, thought and called; fields of its own stay.
    kept = {k: v for k, v in turn.items() if k not in _CONSUMED}
    text, thought = text_and_thought(content if content is not None else turn.get("refusal"), name)
    message = {**kept, "role": role, "content": text}
    thought = reasoning_of(turn, name) or thought
    calls = _given_calls(turn, name)
    # Only an assistant thinks and calls.
    if role != "assistant":
        if thought or calls:
            raise ValueError(f"{name}: a {role} message has reasoning or tool_calls; only an assistant's may")
        if content is None:
            raise ValueError(f"{name}: a {role} message has content None, wanted text ('' if it has none)")
        return message
    if content is None and not (text or thought or calls or may_be_empty):
        raise ValueError(f"{name}: an assistant message without content, reasoning and tool_calls; drop it")
    if thought:
        message["reasoning_content"] = thought
    if calls:
        message["tool_calls"] = calls
    return message


# What others call the arguments of a call: read as none, they would be lost without a word.
_OTHER_NAMES = {"parameters", "params", "input", "args", "kwargs"}
_CONSUMED = {*_REASONING, *_BLOCKS, "from", "value", "function_call", "tool_calls", "refusal"}


def text_of(content: Any, name: str) -> str:
    """Text given as text or as a list of text parts, which are joined as they are."""
    text, thought = text_and_thought(content, name)
    if thought:
        raise ValueError(f"{name}: got a part of reasoning, wanted text")
    return text


def text_and_thought(content: Any, name: str) -> tuple[str, str]:
    """(text, reasoning) of a content: None, text, or parts. Raises ValueError for a part that is no text."""
    if content is None or isinstance(content, str):
        return printable(content or ""), ""
    # One part alone counts as a list of one.
    if isinstance(content, Mapping) and "type" in content:
        content = [content]
    if not isinstance(content, (list, tuple)):
        raise ValueError(f"{name}: got content {content!r:.80}, wanted text or a list of text parts")
    said, thought = [], []
    for i, part in enumerate(content):
        # Thoughts apart from what is said; anything but text is refused, since nothing here can learn it.
        kind = part.get("type", "text") if isinstance(part, Mapping) else "text"
        if kind in _THOUGHT_PARTS:
            thought.append(_block(part))
            continue
        text = part
        if isinstance(part, Mapping) and kind in _TEXT_PARTS:
            text = part.get("refusal" if kind == "refusal" else "text")
        if not isinstance(text, str):
            raise ValueError(
                f"{name}.content[{i}]: got a part of type {kind!r:.40}, wanted {{'type': 'text', 'text': "
                "...}: only text can be learned; leave the row out, or describe the part in words"
            )
        said.append(text)
    return printable("".join(said)), printable("".join(thought))


def reasoning_of(message: Mapping, name: str) -> str:
    """What a message holds as reasoning, under any of the names in use. Raises ValueError where two of them
    hold different texts."""
    found = {key: _block(message[key]) for key in _REASONING if message.get(key)}
    texts = {text for text in found.values() if text}
    if len(texts) > 1:
        raise ValueError(f"{name}: different texts in {' and '.join(found)}; keep one")
    # Blocks only where no plain field has the text: servers send the same thought in both.
    if not texts:
        texts = {text for key in _BLOCKS if (text := _block(message.get(key)))}
    return printable(next(iter(texts), ""))


def _block(value: Any, depth: int = 0) -> str:
    """The text of a block of reasoning, or of a list of them; encrypted ones have none."""
    if isinstance(value, str):
        return value
    if depth > 4:
        return ""
    if isinstance(value, (list, tuple)):
        return "".join(_block(part, depth + 1) for part in value)
    if isinstance(value, Mapping):
        keys = ("text", "thinking", "summary", "reasoning", "content")
        return next((text for key in keys if (text := _block(value.get(key), depth + 1))), "")
    return ""


def _given_calls(turn: Mapping, name: str) -> list[dict]:
    calls = turn.get("tool_calls") or []
    if isinstance(calls, str):
        calls = _read(calls, f"{name}.tool_calls", "a list of calls")
    if isinstance(calls, Mapping) or not isinstance(calls, (list, tuple)):
        raise ValueError(f"{name}.tool_calls: got {calls!r:.80}, wanted a list")
    return tool_calls([*calls, *([turn["function_call"]] if turn.get("function_call") else [])], name)


def tool_calls(calls: Sequence, name: str) -> list[dict]:
    """Calls in the one form, from {"function": {"name", "arguments"}} or the inner object alone, arguments as
    an object or as its JSON. Raises ValueError that says which call and why."""
    found = []
    for i, call in enumerate(calls):
        where = f"{name}.tool_calls[{i}]"
        # With or without the wrapper of the OpenAI format.
        inner = call.get("function", call) if isinstance(call, Mapping) else call
        if not isinstance(inner, Mapping) or not isinstance(inner.get("name"), str) or not inner["name"]:
            raise ValueError(f"{where}: got {call!r:.80}, wanted {{'function': {{'name', 'arguments'}}}}")
        if "arguments" not in inner and (other := sorted(_OTHER_NAMES & inner.keys())):
            raise ValueError(
                f"{where}.{other[0]}: wanted the arguments of the call under 'arguments'; rename it"
            )
        # Arguments come as an object, as JSON, or not at all.
        arguments = inner.get("arguments")
        if arguments is None or blank(arguments):
            arguments = {}  # a tool without parameters
        if isinstance(arguments, str):
            arguments = _read(arguments, f"{where}.arguments", "an object as JSON")
        if not isinstance(arguments, Mapping):
            raise ValueError(
                f"{where}.arguments: got {arguments!r:.80}, wanted an object, or an object as JSON"
            )
        function = {"name": inner["name"], "arguments": dict(arguments)}
        own = {"id": call["id"]} if call.get("id") else {}
        found.append({**own, "type": "function", "function": function})
    return found


def _read(text: Any, name: str, wanted: str) -> Any:
    try:
        return whole(text)
    except (ValueError, AttributeError) as error:
        raise ValueError(f"{name}: got {text!r:.80}, wanted {wanted} ({error})") from error
