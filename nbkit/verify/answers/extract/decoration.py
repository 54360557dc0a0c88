"""The typography around a value (for `statements.py`): emphasis and quotation marks.

tidy('**"42".**')  # "42"
"""

import re

BOLD = re.compile(r"(?<!\S)\*\*([^\s*][^*]*)\*\*(?![\w(])")
_CHEER = re.compile(r"(\*\*|\$)!{1,9}(?=\s|$)")  # no factorial
_DECORATION = " \t\r\n*`\"'“”「」：:→➡✅☑✔🎉👉🏆💡🔹🟢•★☆\ufe0f"
PICTURES = (
    "\u2600-\u27bf\u2b00-\u2bff\ufe0f\u200d\U0001f000-\U0001faff∎▀-▟▮▯▰◆◇■□▪▢◼◻●"  # of a character class
)
END_OF_PROOF = (
    r"(?:\\(?:blacksquare|square|Box|qed|qedsymbol|checkmark)(?![a-zA-Z])|\b[Qq]\.?[Ee]\.?[Dd]\b\.?)"
)
_QUOTED = re.compile(r"^\s*\n[ \t]*(?:>[ \t]*)+")  # Markdown's sign of a quotation, not "greater than"


def undecorated(text: str) -> str:
    """Without the emphasis and the quotation signs that a text begins with."""
    text = _QUOTED.sub("\n", text)
    text = BOLD.sub(r"\1", _CHEER.sub(r"\1.", text.lstrip()))
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
