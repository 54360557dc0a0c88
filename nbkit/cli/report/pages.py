"""Writes the pages of the run report. Used by `nbkit run` and `nbkit report`.

outputs/<profile>/report/index.html      the run: first screen, stages, claims, timings, parameters
outputs/<profile>/report/<stage>.html    the executed notebook
outputs/compare/<A>_and_<B>.html         two runs (`nbkit report --compare A B`)
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jinja2

from nbkit.cli.report import gather, ledger, notebook, two_runs, values
from nbkit.run import files, params


def build(profile: str, play: bool = False) -> Path:
    """Write the report of a profile from what is on the disk, whatever its state; returns index.html.

    `play`: the caller goes on to write play.html beside it, so the page links to it.
    """
    folder = files.outputs_root() / profile / "report"
    # Whole or not at all: an old report stays until the new one is complete.
    with files.atomic_dir(folder) as temp:
        notebooks = {stage: notebook.write_page(profile, stage, temp) for stage in params.schemas()}
        (temp / "index.html").write_text(index(profile, notebooks, play), encoding="utf-8")
    return folder / "index.html"


def index(profile: str, notebooks: Mapping[str, str], play: bool = False) -> str:
    """The first page of a profile's report; `notebooks`: stage -> its page beside it, "" for none."""
    return render("run.html.j2", **gather.gathered(profile), notebooks=notebooks, play=play)


def compare(first: str, second: str) -> Path:
    """Write the page of two runs, named by profile or folder; returns its path. Raises ValueError where one
    of them is not there."""
    found = two_runs.gathered(first, second)
    names = [re.sub(r"[^A-Za-z0-9.-]+", "_", run["run"]) for run in found["runs"]]
    path = files.outputs_root() / "compare" / f"{names[0]}_and_{names[1]}.html"
    files.atomic_write(path, render("compare.html.j2", **found))
    return path


def render(template: str, **found: Any) -> str:
    """A page from its template and what was gathered for it; all text in it is escaped."""
    return _environment().get_template(template).render(found)


def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,  # a key that was not gathered is an error, not a gap in the page
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals.update(signs=ledger.SIGNS, missing=values.MISSING)
    return environment
