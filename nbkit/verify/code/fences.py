"""Fenced blocks of a model's answer, in one pass over its lines (used by `blocks.py`).

fences("Here:\n```python\nx = 1\n```")  # [Block("python", "x = 1")]

Model text is no clean Markdown: fences are indented in lists, opened behind a colon, closed at the end of a
line of code, by a shorter or another fence, or not at all. Time is linear in the length of the text.
"""

import re
import textwrap
from dataclasses import dataclass, field

PYTHON = ("python", "py", "python3", "python2", "ipython", "ipython3", "pycon", "sage", "pypy", "pypy3")

_RUN = re.compile(r"`{3,}|~{3,}")
_IN_A_LIST = re.compile(r"[\s>*+\-\d.)]*+")  # what may stand before the fence of any language
_LABEL = re.compile(r"[ \t]*+\{?\.?([A-Za-z][\w+#-]*+)?")
_CODE = re.compile(r"(?:def|class|import|from|async)[ \t]|@\w")
_STRING_OR_COMMENT = re.compile(r"\"\"\"|'''|#")
_PROMPT = re.compile(r"[ \t]*+(?:>>>|\.\.\.)(?: |$)")


@dataclass(frozen=True)
class Block:
    """language: the label in lower case, "" where there is none."""

    language: str
    body: str


@dataclass
class _Open:
    """A block whose end is still to come. `before` stands on the line of its fence; `string` is the triple
    quote of its code that is open now."""

    fence: str
    before: str
    language: str
    lines: list[str] = field(default_factory=list)
    string: str = ""

    def add(self, line: str) -> None:
        self.lines.append(line)
        for found in _STRING_OR_COMMENT.finditer(line):
            if found[0] == self.string:
                self.string = ""
            elif not self.string:
                if found[0] == "#":
                    break
                self.string = found[0]

    def block(self, count: int | None = None) -> Block:
        """The block of its first `count` lines, without the indentation or quote marks of its fence."""
        lines = self.lines[:count]
        if ">" in self.before:
            lines = [re.sub(r"^\s*+> ?", "", line) for line in lines]
        else:
            margin = len(self.before) if _IN_A_LIST.fullmatch(self.before) else 0
            lines = [line[min(margin, len(line) - len(line.lstrip())) :] for line in lines]
        code = (line.lstrip() for line in lines if line.strip() and not line.lstrip().startswith("#"))
        if next(code, "").startswith(">>> "):  # a session, rather than a docstring with examples
            lines = [line[found.end() :] for line in lines if (found := _PROMPT.match(line))]
        first = next((line for line in lines if line.strip()), "")
        body = "\n".join(lines)
        return Block(self.language, (textwrap.dedent(body) if first[:1].isspace() else body).strip("\n"))


def fences(text: str) -> list[Block]:
    """Every fenced block of the text, in order; an unclosed last one runs to the end."""
    lines, found = text.replace("\r\n", "\n").split("\n"), []
    again = _scan(lines, 0, found, strict=True)
    if again is not None:
        _scan(lines, again, found, strict=False)
    return found


def _scan(lines: list[str], start: int, found: list[Block], strict: bool) -> int | None:
    """Append the blocks of lines[start:]. Strictly, a block ends where Markdown and Python agree that it
    does; where one has no such end, it is cut at the first fence of any kind, and the number of the line is
    returned from which to go on less strictly."""
    block, maybe = None, None  # maybe: (lines of the block so far, line to go on from)
    for number in range(start, len(lines)):
        line = lines[number]
        # Outside a block: does one begin here?
        if block is None:
            block, maybe = _opening(line, found), None
            continue
        # Inside: does it end here, perhaps, or surely?
        end = _ending(block, line, strict)
        if end == "maybe" and maybe is None:
            labelled = bool(_LABEL.match(_RUN.split(line, maxsplit=1)[1])[1])
            maybe = (len(block.lines), number if labelled else number + 1)
        if end in ("", "maybe"):
            block.add(line)
            continue
        if end == "behind code":
            block.add(line[: _RUN.search(line).start()])
        found.append(block.block())
        block = _opening(line, found) if end == "next" else None
    if block is None:
        return None
    # The text ended inside a block: it is cut at the first doubtful end, if there was one.
    found.append(block.block(maybe[0] if maybe else None))
    return maybe[1] if maybe else None


def _opening(line: str, found: list[Block]) -> _Open | None:
    """The block that begins on this line; one that also ends there joins `found`."""
    run = _RUN.search(line)
    if run is None:
        return None
    # What stands before and behind the run of ticks: a label, or code at once.
    before, rest = line[: run.start()], line[run.end() :]
    label = _LABEL.match(rest)
    language, code = (label[1] or "").lower(), rest[label.end() :].strip()
    if _CODE.match(rest.strip()):
        language, code = "", rest.strip()
    if run[0][0] == "`" and "`" in rest:
        # Opened and closed on one line: code in line, or a block of one line.
        if "```" in rest and (language in PYTHON or _CODE.match(code)):
            found.append(Block(language, code.partition("```")[0].strip()))
        return None
    # In the middle of a line only behind a colon or with Python's name; else ticks are quoted text.
    anywhere = language in PYTHON or before.rstrip().endswith(":")
    if not anywhere and not _IN_A_LIST.fullmatch(before):
        return None
    block = _Open(run[0], before, language)
    if _CODE.match(code):
        block.add(code)
    return block


def _ending(block: _Open, line: str, strict: bool) -> str:
    """How the line ends the block: "" (not), "maybe", "end", "behind code", or "next" (it opens another)."""
    run = _RUN.search(line)
    if run is None:
        return ""
    # What stands before and behind the run decides: a fence alone on its line is the surest.
    before, rest = line[: run.start()], line[run.end() :].strip()
    if before.lstrip().startswith("#"):  # a comment about fences
        return ""
    alone, words = not before.strip(" \t>"), rest.split(maxsplit=1)
    kind = "next" if len(words) == 1 and _LABEL.match(rest)[1] else "end"
    same = run[0][0] == block.fence[0] and len(run[0]) >= len(block.fence)
    # In strict reading a fence inside a string, or a shorter one, is doubtful.
    if strict and (block.string or not same):
        return "maybe" if alone else ""
    if alone:
        return kind
    return "" if rest else "behind code"
