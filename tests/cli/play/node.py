"""decoder.js under node, for the tests."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from nbkit.cli.play import page

NODE = shutil.which("node")
needs_node = pytest.mark.skipif(NODE is None, reason="node is not installed: decoder.js runs in it")
_START = """
const {Tokenizer, Model, generate, choose, upTo, randoms} = require(%s);
const input = JSON.parse(require("fs").readFileSync(0, "utf8"));
const result = (() => {%s})();
process.stdout.write(JSON.stringify(result));
"""


def run_node(code: str, data: Any) -> Any:
    """What `code`, the body of a function, returns for `input`, which is `data`; both travel as JSON."""
    script = _START % (json.dumps(str(page.HERE / "decoder.js")), code)
    done = subprocess.run(
        [NODE, "-e", script], input=json.dumps(data).encode(), capture_output=True, timeout=60
    )
    assert done.returncode == 0, done.stderr.decode()
    return json.loads(done.stdout)


def saved(folder: Path, model, tokenizer) -> Path:
    """The model and the tokenizer, saved as a stage publishes them."""
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
