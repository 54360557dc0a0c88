"""Every figure that a notebook saves has a caption in the run report."""

from __future__ import annotations

import ast
import json
from pathlib import Path

from nbkit.cli.report.captions import CAPTIONS, TIERS, caption

ROOT = Path(__file__).resolve().parents[3]
CURVES = ("reward", "signal", "length", "entropy")  # what the name of 06's f"{what}_curves" may begin with


def saved() -> set[str]:
    """The names in `run.figure(figure, NAME)` of all notebooks; an f-string's with * for what varies."""
    found = set()
    for path in (ROOT / "notebooks").glob("*.ipynb"):
        cells = [c for c in json.loads(path.read_text(encoding="utf-8"))["cells"] if c["cell_type"] == "code"]
        for node in ast.walk(ast.parse("\n".join("".join(cell["source"]) for cell in cells))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "run.figure":
                parts = getattr(node.args[1], "values", [node.args[1]])
                found.add("".join(p.value if isinstance(p, ast.Constant) else "*" for p in parts))
    return found


def test_every_figure_of_the_notebooks_has_a_caption_and_no_caption_is_left_over():
    names = saved()
    assert {"*_curves", f"{TIERS}*"} <= names
    plain = {name for name in names if "*" not in name} | {f"{what}_curves" for what in CURVES}
    assert plain == set(CAPTIONS)


def test_a_figure_of_ones_own_is_called_by_its_file():
    assert caption("my_own_plot") == "my own plot"
    assert caption("tiers_web_to_code") == "How well the scores follow the tiers of the sources, web to code"
