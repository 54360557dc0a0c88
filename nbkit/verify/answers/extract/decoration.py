"""The typography around a value (for `statements.py`): emphasis, quotation marks, spaces in thousands.

tidy('**"42".**')  # "42"
join_groups("1 200 people")  # "1200 people"
"""

import re

BOLD = re.compile(r"(?<!\S)\*\*([^\s*][^*]*)\*\*(?![\w(])")
_CHEER = re.compile(r"(\*\*|\$)!(?=\s|$)")  # no factorial
_DECORATION = " \t\r\n*`\"'“”「」：:→➡✅☑✔🎉👉🏆💡🔹🟢•★☆\ufe0f"
_QUOTED = re.compile(r"^\s*\n[ \t]*(?:>[ \t]*)+")  # Markdown's sign of a quotation, not "greater than"
_SPACED = re.compile("(?<=[0-9])[\u2009\u202f\u00a0\u2007](?=[0-9]{3}(?![0-9]))")  # thin spaces in thousands
# Ordinary spaces in thousands: of several groups (1 234 567), or of one before a unit (1 200 people).
_GROUPED = re.compile(
    r"(?<![\w.,$\\^/])(?<![0-9] )[1-9][0-9]{0,2}"
    r"(?: [0-9]{3}(?:(?: [0-9]{3})+(?![0-9])|(?=\.[0-9]| [A-Za-z]{2})))"
    r"(?! [0-9]|/|,[0-9])"
)


def join_groups(text: str) -> str:
    """Numbers without the spaces between their thousands."""
    return _GROUPED.sub(lambda match: match[0].replace(" ", ""), _SPACED.sub("", text))


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
    return re.sub(r"(?<![.])[.。]$", "", text.strip(_DECORATION)).strip(_DECORATION).rstrip(">")
