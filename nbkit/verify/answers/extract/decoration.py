"""The typography around a value (for `statements.py`): emphasis and quotation marks.

tidy('**"42".**')  # "42"
"""

import re

BOLD = re.compile(r"(?<!\S)\*\*([^\s*][^*]*)\*\*(?![\w(])")
_CHEER = re.compile(r"(\*\*|\$)!(?=\s|$)")  # no factorial
_DECORATION = " \t\r\n*`\"'“”「」：:→➡✅☑✔🎉👉🏆💡🔹🟢•★☆\ufe0f"
_QUOTED = re.compile(r"^\s*\n[ \t]*(?:>[ \t]*)+")  # Markdown's sign of a quotation, not "greater than"


def undecorated(text: str) -> str:
    """Without the emphasis, the quotation signs and the fence that a text begins with."""
    text = _QUOTED.sub("\n", text)
    text = BOLD.sub(r"\1", _CHEER.sub(r"\1", text.lstrip()))
    return re.sub(r"^```[a-z]{0,9}\n\s*", "", text.lstrip(_DECORATION))


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
