"""The typography around a value (for `statements.py`): emphasis and quotation marks.

tidy('**"42".**')  # "42"
"""

import re

BOLD = re.compile(r"(?<!\S)\*\*([^\s*][^*]*)\*\*(?![\w(])")
_CHEER = re.compile(r"(\*\*|\$)!(?=\s|$)")  # no factorial
_DECORATION = " \t\r\n*`\"'“”「」：:→➡✅☑✔🎉👉🏆💡🔹🟢•★☆\ufe0f"
_FENCE = r"(?<![`~])(?:`{3,40}|~{3,40})(?![`~])[ \t]{0,9}"
_ONLY_FENCED = re.compile(rf"{_FENCE}([^\s`~][^\n`~]{{0,60}})\n[ \t>]{{0,20}}{_FENCE}$", re.MULTILINE)
# What opens a fence, with the language that it names, or closes one.
_FENCED = re.compile(
    rf"{_FENCE}(?:\{{?[ .]?[A-Za-z][\w+#.-]{{0,20}}(?:[ \t}}][^\n`~]{{0,60}})?)?$", re.MULTILINE
)
_QUOTED = re.compile(r"^\s*\n[ \t]*(?:>[ \t]*)+")  # Markdown's sign of a quotation, not "greater than"


def without_fences(text: str) -> str:
    """The lines of a text without the marks of Markdown's code blocks, and the languages they name."""
    return _FENCED.sub("", _ONLY_FENCED.sub(r"\1", text))


def undecorated(text: str) -> str:
    """Without the emphasis and the quotation signs that a text begins with."""
    text = _QUOTED.sub("\n", text)
    text = BOLD.sub(r"\1", _CHEER.sub(r"\1", text.lstrip()))
    return text.lstrip(_DECORATION)


def tidy(text: str) -> str:
    r"""Without emphasis, quotation marks and the full stop around it."""
    text = text.strip().strip(_DECORATION).removesuffix("\\")
    if "{" not in text:
        text = text.rstrip("}")  # of a JSON object
    return (
        re.sub(r"(?<![.])(?<!\\right)(?<!\\right )[.。]$", "", text.strip(_DECORATION))
        .strip(_DECORATION)
        .rstrip(">")
    )
