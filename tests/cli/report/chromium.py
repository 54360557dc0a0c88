"""Headless Chromium, where it is installed: how wide a page is, at a given width of the window."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
from pathlib import Path

SECONDS = 40  # for one start, on a machine with much else to do
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]
FLAGS += ["--disable-background-networking", "--disable-component-update", "--disable-sync"]
# The measuring page reads the page it frames, which for files counts as another site.
FLAGS += ["--allow-file-access-from-files", "--virtual-time-budget=20000"]
# Chromium's own window is never narrower than 500 px; a frame is.
FRAMES = """<!DOCTYPE html><body>{frames}<pre id="widths"></pre><script>
onload = () => {{
  const frames = [...document.querySelectorAll("iframe")].map(frame => frame.contentWindow);
  const found = [];
  for (const opened of [false, true]) {{
    for (const frame of frames) {{
      for (const part of frame.document.querySelectorAll("details")) part.open = opened;
      found.push([frame.innerWidth, frame.document.scrollingElement.scrollWidth]);
    }}
  }}
  document.getElementById("widths").textContent = JSON.stringify(found);
}};
</script></body>"""


def program() -> str | None:
    """The path of a Chromium; None where there is none."""
    return next((found for name in NAMES if (found := shutil.which(name))), None)


def widths(pages: list[Path], at: list[int], folder: Path) -> list[tuple[int, int]]:
    """(width of the window, width that the page takes), both in px: for each page and each width of `at`
    with every <details> closed, then again with all of them open. `folder` takes the measuring page and the
    browser's profile. Raises subprocess.TimeoutExpired after SECONDS."""
    frames = "".join(
        f'<iframe src="{page.as_uri()}" style="border:0;width:{width}px;height:900px"></iframe>'
        for page in pages
        for width in at
    )
    measuring = folder / "measure.html"
    measuring.write_text(FRAMES.format(frames=frames))
    command = [program() or "", *FLAGS, f"--user-data-dir={folder / 'browser'}", "--dump-dom"]
    dom, log = folder / "dom.html", folder / "log.txt"
    # Into files: its helpers would hold a pipe open after it is gone. As a group: so that they end with it.
    with dom.open("wb") as out, log.open("wb") as err:
        process = subprocess.Popen(
            [*command, measuring.as_uri()], stdout=out, stderr=err, start_new_session=True
        )
        try:
            process.wait(timeout=SECONDS)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    found = re.search(r'<pre id="widths">(\[.*?\])</pre>', dom.read_text())
    assert found, f"Chromium measured nothing: {log.read_text()[-500:]}"
    return [(window, taken) for window, taken in json.loads(found[1])]
