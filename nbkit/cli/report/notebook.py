"""The executed notebook of a stage: as a page, its title and idea, its longest cells. Used by stage_facts.py
and pages.py."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nbkit.run import files, provenance

LONGEST = 5  # cells that are listed per stage
_SCRIPT = re.compile(r"<script\b.*?</script\s*>", re.DOTALL | re.IGNORECASE)
_FETCHED = re.compile(r"""<link\b[^>]*href=["']?(?:https?:)?//[^>]*>""", re.IGNORECASE)
_HEADING = re.compile(r"^#{1,6}\s+(.+)$", re.MULTILINE)
_IDEA = re.compile(r"^\*\*(.+?)\*\*\s*$", re.MULTILINE)
_NO_WORK = ("import ", "from ", "#", "@", "%")  # lines that do not say what a cell does
# nbconvert's page, made for a wide screen: what is wider than a phone scrolls inside its own box.
_NARROW = """<style>
.back { margin: 1rem; font-family: system-ui, sans-serif }
body { overflow-wrap: anywhere } pre, table { overflow-wrap: normal }
.jp-OutputArea-output, .jp-RenderedHTMLCommon, .highlight { overflow-x: auto; max-width: 100% }
math { font-family: "Latin Modern Math", "STIX Two Math", "Cambria Math", "DejaVu Math TeX Gyre", math }
.jp-OutputArea-output img { max-width: 100%; height: auto }
@media (max-width: 700px) {
  .jp-Notebook { padding: 0 .5rem !important } .jp-InputPrompt, .jp-OutputPrompt { display: none !important }
  .jp-Cell, .jp-Cell-inputWrapper, .jp-InputArea, .jp-OutputArea-child, .jp-InputArea-editor,
  .jp-OutputArea-output { min-width: 0 !important; max-width: 100% !important }
}
</style>"""


def source_of(run: str, stage: str) -> Path | None:
    """The executed or, where there is one, the failed notebook of a stage; None where neither exists."""
    folder = provenance.run_dir(run, stage)
    # A failed notebook goes first: it is the newer of the two, and says what went wrong.
    candidates = [folder / f"{stage}.failed.ipynb", folder / f"{stage}.ipynb"]
    return next((path for path in candidates if path.is_file()), None)


def cells_of(path: Path | None) -> list[dict[str, Any]]:
    """The cells of a notebook file; [] where it is absent or broken, which must not hide other results."""
    try:
        found = files.read_json(path)["cells"] if path else []
        return [cell for cell in found if isinstance(cell, dict)]
    except (OSError, ValueError, KeyError, TypeError):
        return []


def title_and_idea(cells: list[dict[str, Any]], stage: str) -> tuple[str, str]:
    """The heading and the first bold paragraph of a notebook; (stage, "") where it has none."""
    first = next((text_of(cell) for cell in cells if cell.get("cell_type") == "markdown"), "")
    title, idea = _HEADING.search(first), _IDEA.search(first)
    return (title[1].strip() if title else stage), (idea[1].strip() if idea else "")


def longest_cells(cells: list[dict[str, Any]], most: int = LONGEST) -> list[dict[str, Any]]:
    """The code cells that took longest, by papermill's record: where (the heading above), does (the first
    line of work), seconds. [] for a notebook that was not run by papermill."""
    heading, found = "", []
    for cell in cells:
        if cell.get("cell_type") == "markdown":
            heads = _HEADING.findall(text_of(cell))
            heading = heads[-1].strip() if heads else heading
            continue
        seconds = (cell.get("metadata", {}).get("papermill") or {}).get("duration")
        if isinstance(seconds, int | float):
            found.append({"where": heading, "does": _does(text_of(cell)), "seconds": float(seconds)})
    return sorted(found, key=lambda cell: -cell["seconds"])[:most]


def text_of(cell: Mapping[str, Any]) -> str:
    """The source of a cell, which a notebook keeps as one text or as lines."""
    source = cell.get("source", "")
    return source if isinstance(source, str) else "".join(source)


def _does(code: str) -> str:
    """The first line of a cell that is neither an import nor a comment, shortened."""
    lines = [line.strip() for line in code.splitlines() if line.strip()]
    line = next((text for text in lines if not text.startswith(_NO_WORK)), lines[0] if lines else "")
    return line if len(line) <= 76 else line[:75] + "…"


def offline(page: str) -> str:
    """`page` without scripts and remote style sheets: it fetches nothing and still reads well."""
    return _FETCHED.sub("", _SCRIPT.sub("", page))


def write_page(run: str, stage: str, folder: Path) -> str:
    """Write `<stage>.html` from the executed (or failed) notebook; returns its name, "" without one."""
    source = source_of(run, stage)
    if source is None:
        return ""
    import nbformat  # noqa: PLC0415 (slow, needed for notebooks only)

    from nbkit.cli.report.formulas import Exporter  # noqa: PLC0415 (slow, needed for notebooks only)

    book = nbformat.read(source, as_version=4)
    book.metadata.pop("widgets", None)
    book.metadata["title"] = stage
    exporter = Exporter(template_name="lab", embed_images=True)
    # Scripts and remote sheets are taken out afterwards: nbconvert always adds them.
    page, _ = exporter.from_notebook_node(book, {"metadata": {"name": stage, "path": str(source.parent)}})
    back = f'{_NARROW}<p class="back"><a href="index.html">back to the report</a></p>'
    page = re.sub(r"(<body\b[^>]*>)", lambda match: match.group(1) + back, offline(page), count=1)
    (folder / f"{stage}.html").write_text(page, encoding="utf-8")
    return f"{stage}.html"
