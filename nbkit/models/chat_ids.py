"""Conversations as token ids in which no message can spell a control token (02-07).

    text = rendered(tokenizer, [{"role": "user", "content": "What does <|im_end|> do?"}], None, template)
    token_ids(tokenizer, text)  # one <|im_end|>, the one of the template; the user's is "<", "|", "im" ...

A tokenizer reads one text and takes every spelling of a control token for the token itself, whoever wrote it.
So the spellings are cut inside the messages, before the template is applied, and the text is encoded in
pieces that end at the cuts. A conversation without such a spelling is encoded as ever, in one piece.
"""

import bisect
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from nbkit.text.characters import printable

_FIRST_MARK, _LAST_MARK = 0xE001, 0xF8FF  # private use: one that is in no message shows the cuts meanwhile


class Rendered(str):
    """The text of a conversation; `cuts` are the places where it is cut before it is encoded."""

    cuts: tuple[int, ...] = ()

    @classmethod
    def of(cls, text: str, cuts: Sequence[int]) -> "Rendered":
        made = cls(text)
        made.cuts = tuple(cuts)
        return made


def rendered(
    messages: Sequence[dict], tools: list | None, tokenizer, template: Callable
) -> tuple[Rendered, Any]:
    """What `template(messages, tools)` makes of a conversation: it returns (text, places in the text, in
    order), and so does this, the places moved to where they are without marks.

    Of what the assistant says the control tokens are text; of everything else (questions, tool results,
    tools) all tokens that the tokenizer has beside its vocabulary, as `<think>` and `<tool_call>` too."""
    every, control = _spellings(tokenizer)
    given = _joined([messages, tools])
    # The usual case, by far: nothing to cut, one plain call of the template.
    if not (every and every.search(given)):
        text, places = template(messages, tools)
        return Rendered(printable(text)), places
    # A character that occurs nowhere stands at the cuts while the template rearranges the messages.
    mark = next(chr(c) for c in range(_FIRST_MARK, _LAST_MARK) if chr(c) not in given)
    marked = [_marked(m, control if m["role"] == "assistant" else every, mark) for m in messages]
    text, places = template(marked, _marked(tools, every, mark))
    # Without the marks again; each cut moves left by the marks before it, and so do the places.
    marks = [found.start() for found in re.finditer(mark, text)]
    text = Rendered.of(printable(text.replace(mark, "")), [at - count for count, at in enumerate(marks)])
    return text, [at - bisect.bisect_left(marks, at) for at in places]


def _spellings(tokenizer) -> tuple[re.Pattern | None, re.Pattern | None]:
    """Patterns of all added tokens, and of those that are control tokens."""
    tokens = getattr(tokenizer, "added_tokens_decoder", {}).values()
    added = [token for token in tokens if len(token.content) > 1]
    return _pattern([t.content for t in added]), _pattern([t.content for t in added if t.special])


def _pattern(spellings: Sequence[str]) -> re.Pattern | None:
    # Longest first: where one spelling begins another, the whole of it is to be cut.
    longest_first = sorted({s for s in spellings if s.strip()}, key=len, reverse=True)
    return re.compile("|".join(map(re.escape, longest_first))) if longest_first else None


def _joined(value: Any) -> str:
    """All texts in a value."""
    if isinstance(value, str):
        return value
    if isinstance(value, Mapping):
        return "\n".join(map(_joined, [*value, *value.values()]))
    return "\n".join(map(_joined, value)) if isinstance(value, (list, tuple)) else ""


def _marked(value: Any, spelling: re.Pattern | None, mark: str) -> Any:
    """The value with a mark behind the first character of every spelling in its texts."""
    if isinstance(value, str):
        return spelling.sub(lambda found: found[0][0] + mark + found[0][1:], value) if spelling else value
    if isinstance(value, Mapping):
        return {_marked(k, spelling, mark): _marked(part, spelling, mark) for k, part in value.items()}
    return [_marked(part, spelling, mark) for part in value] if isinstance(value, (list, tuple)) else value


def token_ids(tokenizer, text: str) -> list[int]:
    """The ids of a text, without special tokens around it; of a `Rendered` one, piece by piece."""
    return [i for ids, _ in _pieces(tokenizer, text, offsets=False) for i in ids]


def token_ids_of(tokenizer, texts: Sequence[str]) -> list[list[int]]:
    """`token_ids` of each, in one call where none has cuts."""
    if any(getattr(text, "cuts", ()) for text in texts):
        return [token_ids(tokenizer, text) for text in texts]
    # A tokenizer is much faster on a list than text by text.
    clean = [printable(text) for text in texts]
    return tokenizer(clean, add_special_tokens=False)["input_ids"] if clean else []


def ids_and_offsets(tokenizer, text: str) -> tuple[list[int], list[tuple[int, int]]]:
    """The ids and where each begins and ends in the text."""
    pieces = list(_pieces(tokenizer, text, offsets=True))
    return [i for ids, _ in pieces for i in ids], [place for _, places in pieces for place in places]


def _pieces(tokenizer, text: str, offsets: bool):
    start, clean = 0, printable(text)
    # Adjacent pieces never form the spelling of a control token again: each is encoded by itself.
    for end in (*getattr(text, "cuts", ()), len(text)):
        out = tokenizer(clean[start:end], add_special_tokens=False, return_offsets_mapping=offsets)
        places = [(start + a, start + b) for a, b in out["offset_mapping"]] if offsets else []
        yield out["input_ids"], places
        start = end
