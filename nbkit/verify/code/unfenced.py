"""Programs of answers without fences: between tags, or indented as Markdown's code (used by `blocks.py`).

tagged("Here: <code>def f(x): return x</code>")  # [Block("", "def f(x): return x")]
indented("Here:\n\n    def f(x):\n        return x\n\nDone.")  # [Block("", "def f(x):\n    return x")]
"""

import ast
import functools
import html
import re
import textwrap

from nbkit.verify.code.fences import Block
from nbkit.verify.code.pieces import parse

_NAMES = "code|pre|python|py|program|solution|answer|script"
_TAG = re.compile(
    rf"<(/?)(?:{_NAMES})(?: [^<>\n]{{0,80}}+)?>"  # <code>, <pre class="python">
    r"|\[(/?)(?:PYTHON|CODE)\]"
    r"|\\(begin|end)\{(?:verbatim|lstlisting|minted|python|code)\}(?:\[[^\]\n]{0,80}+\])?(?:\{python\})?",
    re.IGNORECASE,
)


def tagged(text: str) -> list[Block]:
    """What stands between an opening tag and the next tag of any such name, or the end of the text."""
    marks = list(_TAG.finditer(text))
    ends = [mark.start() for mark in marks[1:]] + [len(text)]
    found = []
    for mark, end in zip(marks, ends, strict=False):
        closes = "/" in (mark[1], mark[2]) or (mark[3] or "").lower() == "end"
        if not closes and (body := by_margin(text[mark.end() : end])):
            # &lt; stands for the sign, unless the block writes that as well
            found.append(Block("", body if "<" in body else html.unescape(body)))
    return found


def by_margin(text: str) -> str:
    """A text that may be indented as a whole, by four spaces or more, without that margin."""
    text = text.strip("\n")
    return (textwrap.dedent(text) if text.startswith(("    ", "\t")) else text).strip()


def indented(text: str) -> list[Block]:
    """Runs of lines that are indented by four spaces or a tab, behind a sentence and not behind code."""
    # Markdown: four spaces make code only after a blank line, and not within a list or code.
    found, run, before, begins = [], [], "", True
    for line in [*text.split("\n"), "end"]:
        if not line.strip():
            begins = True
            if run:
                run.append("")
        elif line.startswith(("    ", "\t")):
            if run or (begins and not _is_code(before)):
                run.append(line)
            begins = False
        else:
            if run:
                found.append(Block("", textwrap.dedent("\n".join(run)).strip("\n")))
            run, before, begins = [], line, line.rstrip().endswith(":")
    return found


@functools.lru_cache(maxsize=4)
def _is_code(line: str) -> bool:
    """Is a line at the margin a statement, or the head of one? A word, or several of them, is a heading."""
    line = line.strip()
    tree = parse(line) or parse(f"{line} pass")
    return tree is not None and not all(
        isinstance(node, ast.Expr) and isinstance(node.value, ast.Name | ast.Tuple | ast.Constant)
        for node in tree.body
    )
