"""A page in headless Chromium, for the tests: commands through its debugging pipe, which needs no package."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium: `apt-get install chromium`")
_FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --disable-dev-shm-usage --remote-debugging-pipe"
)


class Browser:
    """One Chromium with one tab and an empty profile in `home`. It reads commands at descriptor 3 and writes
    answers to 4, each a JSON text and a zero byte."""

    def __init__(self, home: Path) -> None:
        (its_end, commands), (answers, other_end) = os.pipe(), os.pipe()
        # A shell puts the two at the numbers that Chromium wants, and is replaced by it.
        start = f'exec "$0" "$@" 3<&{its_end} 4>&{other_end}'
        line = ["bash", "-c", start, CHROMIUM, *_FLAGS.split(), f"--user-data-dir={home}"]
        self.process = subprocess.Popen(line, pass_fds=(its_end, other_end), stderr=subprocess.DEVNULL)
        os.close(its_end)
        os.close(other_end)
        self._commands, self._answers = os.fdopen(commands, "wb", 0), os.fdopen(answers, "rb")
        self._buffer, self._count, self._session = b"", 0, ""
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]

    def __enter__(self) -> Browser:
        return self

    def __exit__(self, *_: object) -> None:
        # It ends when nobody holds the pipe any more.
        self._commands.close()
        self._answers.close()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def call(self, method: str, **values: Any) -> dict:
        """The result of one command of the DevTools protocol; events meanwhile are passed over."""
        self._count += 1
        message = {"id": self._count, "method": method, "params": values}
        message |= {"sessionId": self._session} if self._session else {}
        self._commands.write(json.dumps(message).encode() + b"\0")
        while True:
            while b"\0" not in self._buffer:
                more = self._answers.read1(1 << 20)
                assert more, "Chromium ended"
                self._buffer += more
            one, _, self._buffer = self._buffer.partition(b"\0")
            answer = json.loads(one)
            if answer.get("id") == self._count:
                assert "error" not in answer, answer
                return answer["result"]

    def js(self, expression: str) -> Any:
        """The value of an expression in the page."""
        got = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in got, got
        return got["result"].get("value")

    def open(self, page: Path, width: int = 1280, dark: bool = False) -> None:
        """Show a file in a window of `width` pixels."""
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setDeviceMetricsOverride", **size)
        self.call("Emulation.setEmulatedMedia", features=[scheme])
        self.call("Page.navigate", url=page.as_uri())

    def wait_for(self, expression: str, seconds: float = 60) -> None:
        """Until the expression is true in the page."""
        end = time.monotonic() + seconds
        while not self.js(expression):
            assert time.monotonic() < end, f"not within {seconds} s: {expression}"
            time.sleep(0.05)

    def screenshot(self, path: Path) -> None:
        """The whole page as PNG."""
        got = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(got["data"]))
