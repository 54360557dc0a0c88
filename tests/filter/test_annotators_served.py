"""Annotations by a real server of transformers."""

import os
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest
from tiny import tokenizer

from nbkit.filter.annotators import (
    LLMAnnotator,
)
from nbkit.models.endpoint import Endpoint
from nbkit.models.load import Shape, new_model


@pytest.mark.slow
def test_transformers_serve_with_random_weights(tmp_path):
    """A model that knows nothing, at the real server: all documents unscored, all counted, tokens metered."""
    pytest.importorskip("fastapi", reason="transformers serve needs fastapi")
    pytest.importorskip("uvicorn", reason="transformers serve needs uvicorn")
    shape = Shape(hidden=32, layers=2, heads=4, kv_heads=2, mlp=64, context=16384, tied=True)
    model = new_model(tokenizer(), shape, seed=0)
    folder = tmp_path / "random"
    model.save_pretrained(folder)
    tokenizer().save_pretrained(folder)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [str(Path(sys.executable).with_name("transformers")), "serve", str(folder)]
    log = (tmp_path / "serve.log").open("w")
    serve = subprocess.Popen(
        [*command, "--host", "127.0.0.1", "--port", str(port), "--device", "cpu"],
        env={**os.environ, "HF_HUB_OFFLINE": "1"},
        stdout=log,
        stderr=log,
    )
    try:
        _wait_for(f"http://127.0.0.1:{port}/health", serve, tmp_path / "serve.log")
        url = f"http://127.0.0.1:{port}/v1"
        with pytest.raises(ValueError, match="gives no 'another'.*pinned"):
            Endpoint(url, "another", retries=0).complete([[{"role": "user", "content": "x"}]])
        endpoint = Endpoint(url, str(folder), cache=tmp_path / "grades.sqlite", prices=(1.0, 2.0))
        annotate_with = LLMAnnotator(endpoint, attempts=2, max_tokens=24)
        texts = ["A sound text about rivers.", "BUY NOW", "Third."]
        assert annotate_with.annotate_all(texts) == [None] * 3
        report = annotate_with.report()
        assert (report["scored"], report["asked_again"]) == (0, 3)
        assert sum(report["unscored"].values()) == 3
        assert all(reason.startswith("invalid answer") for reason in report["unscored"])
        usage = report["endpoint"]
        assert (usage["requests"], usage["failed"], usage["unmetered"]) == (6, {}, 0)
        assert usage["prompt_tokens"] > 6 * 200 and 0 < usage["completion_tokens"] <= 6 * 24
        assert usage["cost"] == pytest.approx((usage["prompt_tokens"] + 2 * usage["completion_tokens"]) / 1e6)
    finally:
        serve.terminate()
        serve.wait(30)
        log.close()


def _wait_for(url: str, process: subprocess.Popen, log: Path) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        try:
            urllib.request.urlopen(url, timeout=5).close()
            return
        except OSError:
            time.sleep(0.3)
    pytest.fail(f"transformers serve did not start:\n{log.read_text()[-2000:]}")
