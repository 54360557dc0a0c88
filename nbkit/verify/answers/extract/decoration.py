"""The typography around a value (for `statements.py`): emphasis and quotation marks.

tidy('**"42".**')  # "42"
"""

import re

BOLD = re.compile(r"(?<!\S)\*\*([^\s*][^*]*)\*\*(?![\w(])")
_CHEER = re.compile(r"(\*\*|\$)!{1,9}(?=\s|$)")  # no factorial
_DECORATION = " \t\r\n*`\"'“”「」：:→➡✅☑✔🎉👉🏆💡🔹🟢•★☆\ufe0f"
PICTURES = "\u2600-\u27bf\u2b00-\u2bff\ufe0f\u200d\U0001f000-\U0001faff∎■□▪▢◼◻●"  # of a character class
END_OF_PROOF = r"(?:\\(?:blacksquare|square|Box|qed|qedsymbol|checkmark)(?![a-zA-Z])|\b(?:QED|Q\.E\.D\.?)(?!\w))"
_SIGN_ALONE = re.compile(rf"\$\s?(?:{END_OF_PROOF}|[{PICTURES}])\s?\$|\\\(\s?{END_OF_PROOF}\s?\\\)")
_LAST_SIGNS = re.compile(
    rf"(?:(?:\s|\\[,;:! ]|\\q?quad(?![a-z])|~){{0,9}}(?:[{PICTURES}]|{END_OF_PROOF})){{1,20}}[\s.]{{0,3}}(\$?)$"
)
_FENCE = r"(?<![`~])(?:`{3,40}|~{3,40})(?![`~])[ \t]{0,9}"
_ONLY_FENCED = re.compile(rf"{_FENCE}([^\s`~][^\n`~]{{0,60}})\n[ \t>]{{0,20}}{_FENCE}$", re.MULTILINE)
# What opens a fence, with the language that it names, or closes one.
_FENCED = re.compile(
    rf"(?:^[ \t>]{{1,20}})?{_FENCE}(?:\{{?[ .]?[A-Za-z][\w+#.-]{{0,20}}(?:[ \t}}][^\n`~]{{0,60}})?)?$", re.MULTILINE
)
_QUOTED = re.compile(r"^\s*\n[ \t]*(?:>[ \t]*)+")  # Markdown's sign of a quotation, not "greater than"


def without_fences(text: str) -> str:
    """The lines of a text without the marks of Markdown's code blocks, and the languages they name."""
    return _FENCED.sub("", _ONLY_FENCED.sub(r"\1", text))


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


def without_signs(answer: str) -> str:
    """Without the pictures and the signs for the end of a proof at its end: `60 ∎` is 60."""
    return _LAST_SIGNS.sub(r"\1", _SIGN_ALONE.sub("", answer)).strip() or answer
