"""Outputs of tiny checkpoints in a folder of the test."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture
def outputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty outputs folder that nbkit writes to."""
    folder = tmp_path / "outputs"
    folder.mkdir()
    monkeypatch.setenv("NBKIT_OUTPUTS", str(folder))
    return folder
