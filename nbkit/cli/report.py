"""One folder of HTML about a profile's runs, readable offline. Used by `nbkit run` and `nbkit report`.

    outputs/<profile>/report/index.html      status, headline numbers, figures, claim ledger
    outputs/<profile>/report/<stage>.html    the executed notebook

Nothing is fetched: every script is removed, figures are embedded, and formulas stay as their TeX text.
"""

from __future__ import annotations

import base64
import contextlib
import html
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from nbkit.cli import runner
from nbkit.run import files, params, provenance

_SCRIPT = re.compile(r"<script\b.*?</script\s*>", re.DOTALL | re.IGNORECASE)
_FETCHED = re.compile(r"""<link\b[^>]*href=["']?(?:https?:)?//[^>]*>""", re.IGNORECASE)
_LEDGER = ("id", "claim", "report", "ours", "n", "mean", "low", "high", "verdict")
_CSS = """
:root { color-scheme: light dark; --line: #8884; --soft: #8882;
  --good: #1a7f37; --bad: #cf222e; --warn: #9a6700 }
@media (prefers-color-scheme: dark) { :root { --good: #3fb950; --bad: #f85149; --warn: #d29922 } }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 0 auto; padding: 1rem }
h1 { font-size: 1.5rem } h2 { font-size: 1.2rem; margin-top: 2rem }
.wide { overflow-x: auto }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums }
th, td { text-align: left; vertical-align: top; padding: .35rem .6rem; border-bottom: 1px solid var(--line) }
th { background: var(--soft) } figure { margin: 1rem 0 }
img { max-width: 100%; height: auto; background: #fff; border-radius: 4px } figcaption { opacity: .75 }
.complete, .reproduced { color: var(--good) } .failed, .corrupt, .not-reproduced { color: var(--bad) }
.stale, .missing, .trend { color: var(--warn) } .reason { opacity: .75; font-size: .9em }
"""


def build(profile: str) -> Path:
    """Write the report of a profile from what is on the disk, whatever its state; returns index.html."""
    stages = list(params.schemas())
    folder = files.outputs_root() / profile / "report"
    # Whole or not at all: an old report stays until the new one is complete.
    with files.atomic_dir(folder) as temp:
        rows, sections = [], []
        for stage in stages:
            page = _notebook_page(profile, stage, temp)
            rows.append(_stage_row(profile, stage, page))
            sections.append(_figures(profile, stage))
        body = [
            f"<h1>Run report: profile {html.escape(profile)}</h1>",
            _table(("stage", "status", "time", "peak memory", "headline"), rows),
            _ledger(profile, stages),
            *sections,
        ]
        (temp / "index.html").write_text(_page(f"nbkit: {profile}", "\n".join(body)), encoding="utf-8")
    return folder / "index.html"


def offline(page: str) -> str:
    """`page` without scripts and remote style sheets: it fetches nothing and still reads well."""
    return _FETCHED.sub("", _SCRIPT.sub("", page))


def _notebook_page(profile: str, stage: str, folder: Path) -> str:
    """Write `<stage>.html` from the executed (or failed) notebook; returns its name, "" without one."""
    run_dir = provenance.run_dir(profile, stage)
    # A failed notebook goes first: it is the newer of the two, and says what went wrong.
    candidates = [run_dir / f"{stage}.failed.ipynb", run_dir / f"{stage}.ipynb"]
    source = next((path for path in candidates if path.is_file()), None)
    if source is None:
        return ""
    import nbformat  # noqa: PLC0415 (slow, needed for notebooks only)
    from nbconvert.exporters import HTMLExporter  # noqa: PLC0415 (slow, needed for notebooks only)

    book = nbformat.read(source, as_version=4)
    book.metadata.pop("widgets", None)
    book.metadata["title"] = stage
    exporter = HTMLExporter(template_name="lab", embed_images=True)
    # Scripts and remote sheets are taken out afterwards: nbconvert always adds them.
    page, _ = exporter.from_notebook_node(book, {"metadata": {"name": stage, "path": str(run_dir)}})
    back = '<p style="margin:1rem"><a href="index.html">back to the report</a></p>'
    page = re.sub(r"(<body\b[^>]*>)", lambda match: match.group(1) + back, offline(page), count=1)
    (folder / f"{stage}.html").write_text(page, encoding="utf-8")
    return f"{stage}.html"


def _status(profile: str, stage: str) -> tuple[str, str]:
    if (provenance.run_dir(profile, stage) / f"{stage}.failed.ipynb").is_file():
        return "failed", "a cell raised; open the notebook for the error"
    try:
        return provenance.status_of(stage, profile)
    except ValueError as error:  # a parameter file that no longer fits must not hide the results
        return "stale", str(error)


def _stage_row(profile: str, stage: str, page: str) -> list[str]:
    status, reason = _status(profile, stage)
    manifest: Mapping[str, Any] = provenance.load_manifest(profile, stage)[2]
    link = f'<a href="{page}">{stage}</a>' if page else stage
    state = f'<span class="{status}">{status}</span>'
    if reason:
        state += f'<br><span class="reason">{html.escape(reason)}</span>'
    memory = manifest["peak_rss_mb"] * 1e6 if manifest else None
    with contextlib.suppress(OSError, ValueError, KeyError):  # run without the command line
        memory = float(files.read_json(provenance.run_dir(profile, stage) / "resources.json")["peak_bytes"])
    headline = "<br>".join(
        f"{html.escape(name)}: <b>{number(value)}</b>" for name, value in manifest.get("headline", {}).items()
    )
    took = runner.clock(manifest["wall_s"]) if manifest else "-"
    return [link, state, took, runner.gib(memory) if manifest and memory else "-", headline or "-"]


def number(value: Any) -> str:
    """A figure for reading: floats to three significant digits, None as a dash, text escaped."""
    if isinstance(value, float):
        return f"{value:.3g}"
    return "–" if value is None else html.escape(str(value))


def _ledger(profile: str, stages: list[str]) -> str:
    """The claim ledger that the last stage recorded; "" when it has none."""
    state, _, _ = provenance.load_manifest(profile, stages[-1])
    try:
        metrics = files.read_json(provenance.run_dir(profile, stages[-1]) / "metrics.json")
    except (OSError, ValueError):
        return ""
    rows = metrics.get("ledger", []) if state == "complete" else []
    if not rows:
        return ""
    cells = []
    for row in rows:
        verdict = str(row.get("verdict", ""))
        mark = re.sub(r"[^a-z]+", "-", verdict.lower())
        values = [number(row.get(name)) for name in _LEDGER[:-1]]
        cells.append([*values, f'<span class="{mark}">{html.escape(verdict)}</span>'])
    return "<h2>Claim ledger</h2>\n" + _table(_LEDGER, cells)


def _figures(profile: str, stage: str) -> str:
    """The published figures of a stage, embedded."""
    run_dir, shown = provenance.run_dir(profile, stage), []
    for name in provenance.load_manifest(profile, stage)[2].get("outputs", {}):
        path = run_dir / name
        if name.startswith("figures/") and name.endswith(".png") and path.is_file():
            data = base64.b64encode(path.read_bytes()).decode()
            title = html.escape(path.stem.replace("_", " "))
            image = f'<img alt="{title}" src="data:image/png;base64,{data}">'
            shown.append(f"<figure>{image}<figcaption>{title}</figcaption></figure>")
    return f"<h2>{stage}</h2>\n" + "\n".join(shown) if shown else ""


def _table(heads: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A table that scrolls sideways on a phone; `rows` hold ready HTML."""
    head = "".join(f"<th>{html.escape(name)}</th>" for name in heads)
    body = "\n".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead>\n<tbody>{body}</tbody></table></div>'


def _page(title: str, body: str) -> str:
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{html.escape(title)}</title><style>{_CSS}</style></head>\n<body>\n{body}\n</body></html>\n"
    )
