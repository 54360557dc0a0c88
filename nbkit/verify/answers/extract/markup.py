r"""Markup and typography that are no part of an answer (for `answer.py`, `statements.py`): code fences, HTML,
colours, empty boxes, emphasis, quotation marks.

tidy('**"42".**')  # "42"
plain("```math\n42\n```")  # "\n42\n"
plain("Answer: <b>7</b> ∎")  # "Answer: 7"
plain(r"Answer: \textcolor{red}{460}")  # "Answer: {460}"
"""

import html
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

_TAGS = (
    r"b|strong|i|em|u|a|output|big|small|mark|font|span|code|pre|center|div|p|h[1-6]|tt|kbd|samp|math|li|ul|ol"
    r"|td|tr|table"
)
_ELEMENT = re.compile(rf"<({_TAGS})(?:\s[^<>]{{0,80}})?>([^<>]{{0,1000}})</\1\s?>", re.IGNORECASE)
_STRUCK = re.compile(r"<(s|del|strike)>[^<>]{0,200}</\1>", re.IGNORECASE)
_STRUCK_OUT = re.compile(r"(?<![^\s*({:])~~(?=[^\s~\\])[^~\n]{1,200}~~(?![^\s.,;:!?)}*])")  # ~~6~~
# Signs that reject what stands before them on the line.
_REJECTING = re.compile(r"(?<=[^\s])([ \t*)$]{0,4})[❌✗✘✖❎🚫👎⛔]\ufe0f?(?=[\s.,;:)}\]$*]|$)")
_ENTITY = re.compile(r"&(?:nbsp|[lg]t|[lgn]e|times|minus|divide|frac1[24]|pi|radic|deg);")
_BREAK = re.compile(r"<(?:br|hr|p)\s?/?>|</p>", re.IGNORECASE)
_RAISED = re.compile(r"<(su[pb])>([^<>]{1,40})</\1>", re.IGNORECASE)
_COLOUR = re.compile(
    r"\\(?:text|math|f)?color(?:box)?(?![a-zA-Z])\s?(?:\[[^\[\]\n]{0,40}\])?(?:\s?\{[^{}\n]{0,40}\}){1,2}(?=\s?\{)"
    r"|\\(?:cssId|class|style|enclose)\s?\{[^{}\n]{0,40}\}(?=\s?\{)|\\bbox\s?(?:\[[^\[\]\n]{0,60}\])?(?=\s?\{)"
    r"|\\[hv]?phantom\s?\{[^{}\n]{0,40}\}|\\(?:tag\*?|label)\s?\{[^{}\n]{0,40}\}|\\(?:notag|nonumber)(?![a-zA-Z])"
    r"|\\color(?![a-zA-Z])\s?(?:\[[^\[\]\n]{0,40}\])?\s?\{[^{}\n]{0,40}\}"
)
_NOTHING = (
    r"(?:\s|~|\\[,;:! _]|\\q?quad(?![a-z])|\\text\s?\{[\s_~.?-]{0,9}\}|\\(?:[hv]?phantom"
    r"|hspace)\s?\{[^{}]{0,9}\}|[_?…]|\.{3}|(?:(?:your|the|final)\s){0,2}answer){0,20}"
)
_EMPTY_BOX = re.compile(rf"(\$\$?|\\[(\[])?\s?\\(?:boxed|fbox)\s?\{{{_NOTHING}\}}\s?(\$\$?|\\[)\]])?")
_SIGN_ALONE = re.compile(rf"\$\s?(?:{END_OF_PROOF}|[{PICTURES}])\s?\$|\\\(\s?{END_OF_PROOF}\s?\\\)")
_LAST_SIGNS = re.compile(
    rf"(?:(?:\s|\\[,;:! ]|\\q?quad(?![a-z])|~){{0,9}}(?:[{PICTURES}]"
    rf"|{END_OF_PROOF})){{1,20}}[\s.]{{0,3}}(\$?)$"
)
_FENCE = r"(?<![`~])(?:`{3,40}|~{3,40})(?![`~])[ \t]{0,9}"
_ONLY_FENCED = re.compile(rf"{_FENCE}([^\s`~][^\n`~]{{0,60}})\n[ \t>]{{0,20}}{_FENCE}$", re.MULTILINE)
# What opens a fence, with the language that it names, or closes one.
_FENCED = re.compile(
    rf"(?:^[ \t>]{{1,20}})?{_FENCE}(?:\{{?[ .]?[A-Za-z][\w+#.-]{{0,20}}(?:[ \t}}][^\n`~]{{0,60}})?)?$",
    re.MULTILINE,
)


def plain(text: str) -> str:
    """A completion without such markup."""
    text = without_fences(text.replace("\r\n", "\n"))
    if "<" in text:
        text = _RAISED.sub(lambda found: f"{'^' if found[1][-1] in 'pP' else '_'}{{{found[2]}}}", text)
        text = _STRUCK.sub("", text)
        for _ in range(3):  # elements nest
            text = _ELEMENT.sub(r"\2", text)
        text = _BREAK.sub("\n", text)
    if "&" in text:
        text = _ENTITY.sub(lambda found: html.unescape(found[0]), text)
    text = _REJECTING.sub(r"\1 is wrong ", _STRUCK_OUT.sub("", text)).replace("∴", "")
    return _EMPTY_BOX.sub(_unboxed, _COLOUR.sub("", text))


def _unboxed(box: re.Match) -> str:
    """Nothing for an empty box with both of its delimiters, or none; else the one that belongs to more."""
    return "" if bool(box[1]) == bool(box[2]) else f"{box[1] or ''} {box[2] or ''}"


def without_fences(text: str) -> str:
    """The lines of a text without the marks of Markdown's code blocks, and the languages they name."""
    return _FENCED.sub("", _ONLY_FENCED.sub(r"\1", text))


def without_signs(answer: str) -> str:
    """Without the pictures and the signs for the end of a proof at its end: `60 ∎` is 60."""
    return _LAST_SIGNS.sub(r"\1", _SIGN_ALONE.sub("", answer)).strip() or answer


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
