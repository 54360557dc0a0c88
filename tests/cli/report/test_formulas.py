"""Formulas of the notebooks as MathML in the report's pages, and what is no formula as text."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

from nbkit.cli.report import formulas, notebook
from nbkit.run import files

ROOT = Path(__file__).resolve().parents[3]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
FORMULA = re.compile(r"\$\$(.+?)\$\$|\$(.+?)\$", re.DOTALL)
ASIDE = re.compile(r"```.*?```|`[^`]*`", re.DOTALL)  # code


def html(source: str) -> str:
    return formulas.Exporter().markdown2html({}, source)


def markdown(path: Path) -> str:
    """The text of a notebook's markdown cells, without code."""
    texts = [notebook.text_of(c) for c in notebook.cells_of(path) if c["cell_type"] == "markdown"]
    return ASIDE.sub("", "\n\n".join(texts))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_every_formula_of_the_notebooks_is_read(path):
    wanted = [block or inline for block, inline in FORMULA.findall(markdown(path))]
    assert [tex for tex in wanted if not formulas.mathml(tex)] == []
    # All of them are drawn in the page, and no dollar of them is left.
    page = html(markdown(path))
    assert page.count("<math") == len(wanted) and "$" not in page


def test_the_notebooks_hold_formulas():
    assert sum(len(FORMULA.findall(markdown(path))) for path in NOTEBOOKS) > 40


@pytest.mark.parametrize(
    "text", ["costs $5 and $6", "from $5-$6 a day", "`$x$` and `$HOME`", r"a \$x\$ b", "5 $"]
)
def test_prices_and_code_are_no_formulas(text):
    page = html(text)
    assert "<math" not in page
    assert page.count("$") == text.count("$")


@pytest.mark.parametrize("text", ["```\necho $x$ $$\n```", "    $x$ in code"])
def test_blocks_of_code_keep_their_dollars(text):
    assert "<math" not in html(text) and "$x$" in html(text)


@pytest.mark.parametrize(
    "tex", ["x_", "{", r"\left( x", r"\foo x", r"\begin{foo}x", r"\text{<script>1</script>}"]
)
def test_what_cannot_be_read_stays_readable_as_text(tex):
    assert formulas.mathml(tex) == ""
    shown = tex.replace("<", "&lt;").replace(">", "&gt;")
    assert f"${shown}$" in html(f"Here ${tex}$ stands.")
    assert f"$${shown}$$" in html(f"$${tex}$$")


def test_a_formula_beside_a_price():
    page = html("For $5 you get $x_1 < 2$, and $y$.\n\n$$\\sum_i x_i$$\n\n| a |\n|---|\n| $z$ |")
    assert page.count("<math") == 4 and page.count('display="block"') == 1
    assert "For $5 you get <math" in page


def test_mathml_is_well_formed():
    assert "".join(ElementTree.fromstring(formulas.mathml(r"x_1 < 2")).itertext()) == "x1<2"
    assert "".join(ElementTree.fromstring(formulas.mathml(r"\frac{a}{b} > c")).itertext()) == "ab>c"


def test_a_page_of_a_run(tmp_path):
    """The whole way of a page, from a notebook with a formula."""
    cells = [{"cell_type": "markdown", "id": "a", "metadata": {}, "source": "# T\n\n$$\\frac{1}{2}$$\n\n$x$"}]
    book = {"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
    files.write_json(tmp_path / "01_make/01_make.ipynb", book)
    assert notebook.write_page(str(tmp_path), "01_make", tmp_path) == "01_make.html"
    page = (tmp_path / "01_make.html").read_text()
    assert page.count("<math") == 2 and "<mfrac>" in page and "$$" not in page.partition("</head>")[2]
