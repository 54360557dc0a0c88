"""No page of the report scrolls sideways at 1280 and 390 px (headless Chromium, where there is one)."""

from __future__ import annotations

import pytest
from chromium import program, widths
from tiny_runs import EXAMPLE, LEDGER, last_stage, play

from nbkit.cli import report

LONG = "unbroken" * 60
pytestmark = pytest.mark.skipif(
    program() is None, reason="no Chromium on this machine; `apt-get install -y chromium` brings one"
)


@pytest.mark.parametrize("opened", [False, True], ids=["closed", "details open"])
def test_pages_fit_a_desktop_and_a_phone(project, tmp_path, opened):
    # Text that cannot be broken at a space is what makes pages scroll.
    answers = {LONG: {"text": LONG, "right": True}, "b": {"text": f"<think>{LONG}</think>4", "right": False}}
    rows = [row | {"claim": LONG, "ours": LONG} for row in LEDGER]
    last_stage(project, rows, EXAMPLE | {"question": LONG, "wanted": LONG, "answers": answers})
    for stage in ("01_make", "02_use", "03_last"):
        play(project, stage)
    pages = [report.build("tiny"), report.compare("tiny", "tiny")]
    for number, page in enumerate(pages):
        folder = tmp_path / f"browser {number}"
        folder.mkdir()
        found = widths(page, [1280, 390], folder, opened)
        assert [window for window, _ in found] == [1280, 390]
        assert all(taken <= window for window, taken in found), f"{page.name} scrolls sideways: {found}"
