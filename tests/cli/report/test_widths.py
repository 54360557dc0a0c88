"""No page of the report scrolls sideways at 1280 and 390 px (headless Chromium, where there is one)."""

from __future__ import annotations

import pytest
from chromium import program, widths
from tiny_runs import EXAMPLE, LEDGER, STAGES, last_stage, play

from nbkit.cli import report
from nbkit.cli.report import notebook

LONG = "unbroken" * 60
pytestmark = pytest.mark.skipif(
    program() is None, reason="no Chromium on this machine; `apt-get install -y chromium` brings one"
)


def test_pages_fit_a_desktop_and_a_phone(project, tmp_path, monkeypatch):
    # Text that cannot be broken at a space is what makes pages scroll.
    answers = {LONG: {"text": LONG, "right": True}, "b": {"text": f"<think>{LONG}</think>4", "right": False}}
    rows = [row | {"claim": LONG, "ours": LONG} for row in LEDGER]
    last_stage(project, rows, EXAMPLE | {"question": LONG, "wanted": LONG, "answers": answers})
    for stage in STAGES:
        play(project, stage)
    monkeypatch.setattr(notebook, "write_page", lambda _, stage, __: f"{stage}.html")
    pages = [report.build("tiny"), report.compare("tiny", "tiny")]
    found = widths(pages, [1280, 390], tmp_path)
    # Both pages at both widths, with every <details> closed, then open.
    assert [window for window, _ in found] == [1280, 390] * 4
    assert [f"{taken} in {window} px" for window, taken in found if taken > window] == []
