"""requirements.lock beside pyproject.toml."""

import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_the_lock_holds_the_version_that_the_project_asks_for():
    lock = (ROOT / "requirements.lock").read_text(encoding="utf-8").lower().splitlines()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    pinned = [one for one in project["dependencies"] if "==" in one and "*" not in one]
    assert [one for one in pinned if one not in lock] == []
