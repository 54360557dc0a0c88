"""Runs of the throwaway project's three stages, made in this process within a second."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

STAGES = ("01_make", "02_use", "03_last")
_KEPT: list[Path] = []  # the outputs of the first run
LEDGER = [
    {"id": "a", "claim": "a beats b", "of": "report", "verdict": "trend"}
    | {"mean": 0.05, "low": 0.01, "high": 0.09, "ours": "+5.0 points [+1.0, +9.0]"},
    {"id": "c", "claim": "c < d & e", "of": "report", "verdict": "contradicted"}
    | {"mean": -0.05, "low": -0.09, "high": -0.01, "ours": "-5.0 points [-9.0, -1.0]"},
    {"id": "f", "claim": "f helps", "of": "report", "verdict": "inconclusive"}
    | {"mean": 0.0, "low": -0.1, "high": 0.1, "ours": "0.0 points [-10.0, +10.0]"},
    {"id": "g", "claim": "g scales", "of": "report", "verdict": "not measured here"}
    | {"mean": None, "low": None, "high": None, "ours": "needs a larger machine"},
    {"id": "h", "claim": "h is why", "of": "kit", "verdict": "trend"}
    | {"mean": 0.02, "low": 0.01, "high": 0.03, "ours": "+2.0 points [+1.0, +3.0]"},
]
LEDGER = [{"report": "undisclosed", "seeds": 1, "n": 300} | row for row in LEDGER]
EXAMPLE = {
    "question": "2 + 2?",
    "wanted": "4",
    "answers": {
        "base": {"text": "<script>alert('x')</script>5", "right": False},
        "SFT": {"text": "<think>2 and 2</think>4", "right": True},
    },
}
LAST = """
run.input("02_use", "out.json")
import matplotlib
from matplotlib import pyplot
figure, axis = pyplot.subplots(figsize=(2, 1))
axis.plot([1, 2])
run.figure(figure, "ladder")
run.figure(figure, "loss_curve")
pyplot.close(figure)
run.record(ledger={ledger!r}, example={example!r}, results={{"base": {{"overall": {{"mean": 0.25}}}}}})
run.publish({{"gain <x>": 0.123456, "base": "13.2% [10.2, 16.2]", "rows_read": 12345, "nothing": None}})
"""


def last_stage(project: Path, ledger: list[dict] = LEDGER, example: dict = EXAMPLE) -> None:
    """Let the last notebook record a ledger, an example and two figures."""
    path = project / "notebooks/03_last.ipynb"
    content = json.loads(path.read_text())
    content["cells"][-1]["source"] = LAST.format(ledger=ledger, example=example)
    path.write_text(json.dumps(content))


def play(project: Path, stage: str) -> None:
    """Run the cells of a notebook in this process, and leave its executed notebook as papermill would."""
    content = json.loads((project / f"notebooks/{stage}.ipynb").read_text())
    namespace: dict = {}
    for number, cell in enumerate(content["cells"]):
        if cell["cell_type"] == "code":
            exec(cell["source"], namespace)
        cell["metadata"]["papermill"] = {"duration": float(number), "status": "completed"}
    (project / f"outputs/tiny/{stage}/{stage}.ipynb").write_text(json.dumps(content))


@pytest.fixture
def ran(project: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project after a whole run. The stages run once; later tests get a copy of their outputs."""
    last_stage(project)
    if _KEPT:
        shutil.copytree(_KEPT[0], project / "outputs")
        return project
    for stage in STAGES:
        play(project, stage)
    _KEPT.append(Path(shutil.copytree(project / "outputs", tmp_path_factory.mktemp("ran") / "outputs")))
    return project


def fail(project: Path, stage: str) -> None:
    """Leave what a stage leaves whose cell raised: a failed notebook and nothing that was published."""
    folder = project / "outputs/tiny" / stage
    folder.mkdir(parents=True, exist_ok=True)
    content = json.loads((project / f"notebooks/{stage}.ipynb").read_text())
    error = {"output_type": "error", "ename": "RuntimeError", "evalue": "<b>why</b>"}
    content["cells"][-1]["outputs"] = [error | {"traceback": ["first", "RuntimeError: <b>why</b>"]}]
    (folder / f"{stage}.failed.ipynb").write_text(json.dumps(content))
    (folder / "_SUCCESS").unlink(missing_ok=True)
