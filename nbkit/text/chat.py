"""Where a response stops thinking and begins to answer: one rule for every reader of a model's text (02-07).

    split_thought("<think>two of 2</think>4")  # ("two of 2", "4")
    split_thought("s.split('</think>')[1]")  # (None, "s.split('</think>')[1]"): a string of a program

The thought ends at the first `</think>` that really closes it: not one in quotes, backticks, a string or a
comment, where the tag is only spoken of. docs/formats.md states the rule. Nothing here raises, and all of it
is linear in the length of the text.
"""

import re

THINK, END_THINK = "<think>", "</think>"
_MARKS = re.compile(r"</think>|\"\"\"|'''|\\.|`{3,}|~{3,}|[\"'`#\n]", re.DOTALL)
_BEFORE_STRING = re.compile(r"(?<!\w)[rbfuRBFU]{0,2}\Z")  # unlike the apostrophe in "don't"
_BEFORE_COMMENT = re.compile(r"(?:^|\n)[ \t]+\Z|[ \t]{2}\Z")  # outside a fence "# Plan" is a heading
_MOST_THOUGHTS = 10


def split_thought(text: str) -> tuple[str | None, str]:
    """(the thought, what follows it), both as they are; the thought is None where none ends. Thoughts that
    follow each other are one."""
    end = _end(text)
    if end < 0:
        return None, text
    # Thoughts in a row are one; the number is bounded, as each is searched for anew.
    for _ in range(_MOST_THOUGHTS):
        rest = text[end:].lstrip()
        start = len(text) - len(rest)
        if rest.startswith(END_THINK):
            end = start + len(END_THINK)
        elif rest.startswith(THINK) and (more := _end(rest)) >= 0:
            end = start + more
        else:
            break
    head = text[: end - len(END_THINK)]
    return (head.lstrip().removeprefix(THINK) if _opens(text) else head), text[end:]


def _opens(text: str) -> bool:
    return text.lstrip().startswith(THINK)


def _end(text: str) -> int:
    """Where the first thought has ended, -1 for nowhere. One that was opened ends at a tag that is only
    spoken of if there is no other."""
    if END_THINK not in text:
        return -1
    at = _closing(text)
    if at < 0 and _opens(text):
        at = text.find(END_THINK)
    return at + len(END_THINK) if at >= 0 else -1


def _closing(text: str) -> int:
    """The first tag outside strings, comments and quotes; -1 for none. A quote that is not closed on its line
    (a triple one: in the text) quotes nothing."""
    fenced = comment = False
    quote, waiting = "", -1  # waiting: the first tag in a quote that is still open
    for found in _MARKS.finditer(text):
        mark, at = found[0], found.start()
        # A line end closes comments and one-line quotes; a tag in a quote that stayed open was no string.
        if mark == "\n":
            comment = False
            if len(quote) == 1:
                if waiting >= 0:
                    return waiting
                quote = ""
        elif comment or mark[0] == "\\":
            continue
        elif quote:
            # Inside a quote a tag is text, unless the quote turns out to be open to the end.
            if mark == quote:
                quote, waiting = "", -1
            elif mark == END_THINK and waiting < 0:
                waiting = at
        elif mark == END_THINK:
            return at
        # A # begins a comment in code only: in a fence, or where a line of code stands before it.
        elif mark == "#":
            comment = fenced or bool(_BEFORE_COMMENT.search(text[max(0, at - 80) : at]))
        elif mark[0] in "`~" and len(mark) > 2:
            fenced = not fenced
        elif _BEFORE_STRING.search(text[max(0, at - 3) : at]):
            quote = mark
    return waiting
