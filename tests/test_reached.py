"""Every module is reached from a notebook or from the command line; what nothing reaches is deleted."""

from __future__ import annotations

from pathlib import Path

from nbkit.run import closure, files

ROOT = Path(__file__).resolve().parents[1]
SCHEMAS = "run/schemas"  # loaded by the name in NBKIT_SCHEMAS; their values are in every manifest
# Reached in ways that imports do not show.
OTHERWISE = {
    "__main__.py",  # python -m nbkit
    "refine/ship.py",  # make teacher
    "cli/estimate/check.py",  # python -m nbkit.cli.estimate.check
    *closure.DISPLAY,
}


def test_every_module_is_reached(tmp_path):
    cell = {"cell_type": "code", "source": "from nbkit.cli import commands, execute"}
    files.write_json(tmp_path / "command_line.ipynb", {"cells": [cell]})
    starts = [*(ROOT / "notebooks").glob("*.ipynb"), tmp_path / "command_line.ipynb"]
    reached = set().union(*map(closure.module_hashes, starts))
    every = {name for name in files.files_in(ROOT / "nbkit") if name.endswith(".py")}
    left = {name for name in every - reached if not name.startswith(SCHEMAS)}
    assert left == OTHERWISE
