"""Where a response stops thinking and begins to answer: one rule for every reader of a model's text (02-07).

    split_thought("<think>two of 2</think>4")  # ("two of 2", "4")
    split_thought("s.split('</think>')[1]")  # (None, "s.split('</think>')[1]"): a string of a program
    final_answer("2 + 2 = 4.\\nAnswer: 4")  # "4"
    final_answer("print('Answer:', 4)")  # the whole: a string of a program

The thought ends at the first `</think>` that really closes it, and the answer of a worked document begins
behind the last "Answer:" that really labels it: not one in quotes, backticks, a string or a comment, where it
is only spoken of. docs/formats.md states the rules. Nothing here raises, and all of it is linear in the
length of the text.
"""

import re
from collections.abc import Iterator

THINK, END_THINK = "<think>", "</think>"
CALL = "<tool_call>"  # what follows is JSON
# In small letters alone a label may also be a variable of a program: `answer: int = 0`.
_LABEL = r"(?:(?:The |the )?[Ff]inal )?(?:Answer|ANSWER)|(?:[Tt]he )?[Ff]inal answer|FINAL ANSWER"
_LABEL = rf"(?:{_LABEL})[ \t*_]{{0,8}}:|answer:(?![ \t]*[\w.\[\], |]{{1,80}}(?:=|\n|\Z))"
_MARKS = re.compile(
    rf"</think>|(?P<label>(?<![^\W_])(?:{_LABEL}))|" r"\"\"\"|'''|\\.|`{3,}|~{3,}|[\"'`#\n]", re.DOTALL
)
_BEFORE_STRING = re.compile(r"(?<!\w)[rbfuRBFU]{0,2}\Z")  # unlike the apostrophe in "don't"
_BEFORE_COMMENT = re.compile(r"(?:^|\n)[ \t]+\Z|[ \t]{2}\Z")  # outside a fence "# Plan" is a heading
_BEFORE_LABEL = re.compile(  # a line begins, or a sentence or a number has ended: not "write Answer: and ..."
    r"(?:(?:\A|\n)[ \t>]*(?:#{2,6}[ \t]+)?|(?:[^\w\s,]|\d)[ \t]+)(?P<bold>[*_]{0,3})\Z"
)
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


def final_answer(response: str) -> str:
    """What a response commits to: the text after the thought, or behind the label of a worked document."""
    return behind_label(split_thought(response)[1]).strip()


def behind_label(text: str) -> str:
    """What follows the last "Answer:", the text itself where nothing is labelled so. A label inside a string,
    a comment, a fence or a tool call belongs to these."""
    head = text.partition(CALL)[0]
    for found in reversed([mark for mark in _said(head, fenced_too=False) if mark["label"]]):
        # Only the end of what stands before it counts: decoration of one line, or one character.
        before = _BEFORE_LABEL.search(head, max(0, found.start() - 80), found.start())
        if before:
            rest, bold = text[found.end() :], before["bold"]
            # **Answer:** 4 or **Answer: 4**: the marks around it are no part of the answer.
            if bold and (rest.startswith(bold) or rest.rstrip().endswith(bold)):
                rest = rest.removeprefix(bold) if rest.startswith(bold) else rest.rstrip()[: -len(bold)]
            return rest
    return text


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
    """The first tag outside strings, comments and quotes; -1 for none."""
    return next((found.start() for found in _said(text) if found[0] == END_THINK), -1)


def _said(text: str, fenced_too: bool = True) -> Iterator[re.Match]:
    """The tags and labels outside strings, comments and quotes, in order; with `fenced_too` those in fences
    as well. A quote that is not closed on its line (a triple one: in the text) quotes nothing."""
    fenced = comment = False
    quote, waiting = "", []  # waiting: what stands in a quote that is still open
    for found in _MARKS.finditer(text):
        mark, at = found[0], found.start()
        # A line end closes comments and one-line quotes; a tag in a quote that stayed open was no string.
        if mark == "\n":
            comment = False
            if len(quote) == 1:
                yield from waiting
                quote, waiting = "", []
        elif comment or mark[0] == "\\":
            continue
        elif quote:
            # Inside a quote a tag is text, unless the quote turns out to be open to the end.
            if mark == quote:
                quote, waiting = "", []
            elif (mark == END_THINK or found["label"]) and (fenced_too or not fenced):
                waiting.append(found)
        elif mark == END_THINK or found["label"]:
            if fenced_too or not fenced:
                yield found
        # A # begins a comment in code only: in a fence, or where a line of code stands before it.
        elif mark == "#":
            comment = fenced or bool(_BEFORE_COMMENT.search(text[max(0, at - 80) : at]))
        elif mark[0] in "`~" and len(mark) > 2:
            fenced = not fenced
        elif _BEFORE_STRING.search(text[max(0, at - 3) : at]):
            quote = mark
    yield from waiting
