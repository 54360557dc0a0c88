"""Formulas of markdown cells as MathML, which a browser draws without a script. Used by notebook.py.

    mathml("x_1 < 2")    -> '<math ...>...</math>'
    mathml("x_")         -> "": no formula; the page then shows its text, as it stands in the notebook

Imported by the function that writes a page, since nbconvert takes a second.
"""

from __future__ import annotations

from typing import Any
from xml.etree import ElementTree

from jinja2 import pass_context
from latex2mathml.converter import convert
from nbconvert.exporters import HTMLExporter
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath, MathInlineParser

_NAMESPACE = "{http://www.w3.org/1998/Math/MathML}m"  # each of its elements begins with an m: math, mi, mfrac
# As pandoc reads it: "$5 and $6" are two prices, since a formula ends neither in a space nor before a digit.
_INLINE = r"(?<![$\\])\$(?P<math_inline_tex>(?!\s)(?:[^$\\]|\\.)+?(?<!\s))\$(?![\d$])"


def mathml(tex: str, display: str = "inline") -> str:
    """The MathML of a formula without its dollars; "" where it cannot be read. `display`: inline or block."""
    try:
        found = convert(tex, display=display)
        parts = list(ElementTree.fromstring(found).iter())
    except Exception:  # each of its errors is a class of its own; IndexError and ParseError come too
        return ""
    # A command that the library does not know stays in it as text; HTML inside \text{} would be let through.
    known = all(part.tag.startswith(_NAMESPACE) and "\\" not in (part.text or "") for part in parts)
    return found if known else ""


class Exporter(HTMLExporter):
    """nbconvert's page, with formulas as MathML."""

    @pass_context
    def markdown2html(self, context: Any, source: str) -> str:
        """The HTML of a markdown cell or output; nbconvert's own but for the formulas."""
        path = context.get("resources", {}).get("metadata", {}).get("path", "")
        attachments = context.get("cell", {}).get("attachments", {})
        renderer = _Renderer(escape=False, attachments=attachments, embed_images=self.embed_images, path=path)
        return MarkdownWithMath(renderer, inline=_Inline(hard_wrap=False)).render(source)


class _Inline(MathInlineParser):
    SPECIFICATION = {**MathInlineParser.SPECIFICATION, "inline_math_tex": f"(?s:{_INLINE})"}


class _Renderer(IPythonRenderer):
    def block_math(self, body: str) -> str:
        return mathml(body, "block") or super().block_math(body)

    def inline_math(self, body: str) -> str:
        return mathml(body) or super().inline_math(body)
