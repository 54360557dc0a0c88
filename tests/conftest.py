"""Shared fixtures: a throwaway three-stage project, to test the machinery in seconds."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path

import hypothesis
import pytest
from fake_endpoint import FakeServer

# A busy machine makes drawing examples slow, which is no failure.
hypothesis.settings.register_profile(
    "kit", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("kit")
# A shell that starts the tests in the background has interrupts ignored, and children would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)
ROOT = Path(__file__).resolve().parent.parent
SCHEMAS = """
from nbkit.run.schemas.base import Common, par


class Make(Common):
    steps: int = par(4, "steps", lo=1, hi=100)
    lr: float = par(1e-3, "learning rate", lo=0.0, hi=1.0)
    shuffle: bool = par(True, "shuffle the rows")
    fail: str = par("no", "what goes wrong", choices=["no", "raise", "exit", "kill", "hang", "os_exit"])


class Use(Common):
    factor: int = par(2, "multiplier", lo=1)

    def upstream(self):
        return ("01_make",)


class Last(Use):
    def upstream(self):
        return ("02_use",)


SCHEMAS = {"01_make": Make, "02_use": Use, "03_last": Last}
"""
MAKE_WORK = """
import os, signal, sys, time
calls = run.dir / "calls.txt"
def build(folder):
    calls.open("a").write("x")
    (folder / "data.txt").write_text(",".join(str(i) for i in range(steps)))
pool = run.once("pool", build)
run.progress("half way")
if fail == "hang":
    (run.dir / ".tmp-999999999-dead-half").write_text("half")
    with run.artifact("half.txt") as temp:
        temp.write_text("half")
        (run.dir / "pid").write_text(str(os.getpid()))
        time.sleep(60)
if fail == "raise":
    raise RuntimeError("the marker of this failure")
if fail == "exit":
    sys.exit(0)
if fail == "kill":
    os.kill(os.getpid(), signal.SIGKILL)
if fail == "os_exit":
    os._exit(0)
"""
MAKE_END = """
with run.artifact("numbers.json") as temp:
    temp.write_text(json.dumps(list(range(steps))))
run.record(total=sum(range(steps)), lr=lr)
run.publish({"total": sum(range(steps))})
"""
USE_WORK = """
numbers = json.loads(run.input("{up}", "{name}").read_text())
total = sum(numbers) * factor
with run.artifact("out.json") as temp:
    temp.write_text(json.dumps([total]))
run.record(total=total, upstream=run.metrics_of("{up}"))
run.publish({{"total": total}})
"""
MAKE_PARAMETERS = (
    'profile: str = "tiny"\nseed: int = 0\nsteps: int = 4\nlr: float = 1e-3\nshuffle: bool = True\n'
    'fail: str = "no"'
)
USE_PARAMETERS = 'profile: str = "tiny"\nseed: int = 0\nfactor: int = 2'


def notebook(stage: str, parameters: str, *work: str) -> dict:
    """A notebook of the kit's shape, as nbformat 4.5 JSON."""
    sources = [f'import json\nimport nbkit\nrun = nbkit.begin(globals(), "{stage}")', parameters]
    sources += ["cfg = nbkit.end(globals())", *work]
    cells = [{"cell_type": "markdown", "id": "title", "metadata": {}, "source": f"# {stage}\n\n$x_1 < 2$"}]
    for i, source in enumerate(sources):
        tags = {"tags": ["parameters"]} if i == 1 else {}
        cell = {"cell_type": "code", "id": f"c{i}", "metadata": tags, "source": source.strip()}
        cells.append({**cell, "outputs": [], "execution_count": None})
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    return {"cells": cells, "metadata": kernel, "nbformat": 4, "nbformat_minor": 5}


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project root with stages 01_make -> 02_use -> 03_last and the profiles `tiny` and `other`."""
    root = tmp_path / "my project"  # with a space, as many a folder of a user has
    for folder in ("notebooks", "params/tiny", "params/other"):
        (root / folder).mkdir(parents=True)
    (root / "tiny_schemas.py").write_text(SCHEMAS)
    books = {
        "01_make": notebook("01_make", MAKE_PARAMETERS, MAKE_WORK, MAKE_END),
        "02_use": notebook("02_use", USE_PARAMETERS, USE_WORK.format(up="01_make", name="numbers.json")),
        "03_last": notebook("03_last", USE_PARAMETERS, USE_WORK.format(up="02_use", name="out.json")),
    }
    for stage, content in books.items():
        (root / "notebooks" / f"{stage}.ipynb").write_text(json.dumps(content))
        for profile in ("tiny", "other"):
            own = "steps: 4\n" if stage == "01_make" else "factor: 2\n"
            (root / "params" / profile / f"{stage}.yaml").write_text(f"profile: {profile}\nseed: 0\n{own}")
    sys.modules.pop("tiny_schemas", None)
    monkeypatch.syspath_prepend(str(root))
    monkeypatch.setenv("PYTHONPATH", f"{root}{os.pathsep}{ROOT}")
    monkeypatch.setenv("NBKIT_ROOT", str(root))
    monkeypatch.setenv("NBKIT_SCHEMAS", "tiny_schemas:SCHEMAS")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.delenv("NBKIT_OUTPUTS", raising=False)
    return root


@pytest.fixture
def outputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty outputs folder that nbkit writes to."""
    folder = tmp_path / "outputs"
    folder.mkdir()
    monkeypatch.setenv("NBKIT_OUTPUTS", str(folder))
    return folder


@pytest.fixture(scope="module")
def jail(request: pytest.FixtureRequest):
    """A warm jail of the strongest tier; a module may set its WALL_S."""
    from nbkit.verify import Jail, SandboxUnavailable, probe  # noqa: PLC0415 (most tests need none of it)

    try:
        probe()
    except SandboxUnavailable as reason:
        pytest.skip(f"no jail on this machine: {reason}")
    with Jail(wall_s=getattr(request.module, "WALL_S", 2.0)) as warm:
        yield warm


def with_math(jail):
    """The jail, where its jobs can import sympy; skips the test elsewhere."""
    from nbkit.verify import SandboxUnavailable  # noqa: PLC0415 (most tests need none of it)

    try:
        jail.sibling(math=True).start()
    except SandboxUnavailable as reason:
        pytest.skip(f"no math jail on this machine: {reason}")
    return jail


@pytest.fixture
def server():
    """A server that speaks the protocol of OpenAI's chat completions."""
    with FakeServer() as fake:
        yield fake


@pytest.fixture
def no_waiting(monkeypatch):
    """openai waits 0.5 s and more before a retry; the tests need the retries, not the waits."""
    monkeypatch.setattr("openai._base_client.INITIAL_RETRY_DELAY", 0.01)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The two runs of all notebooks first: they take longest, and the other process does the rest meanwhile.
    (A process is given its next file when two tests are left, which must not be these.)"""
    items.sort(
        key=lambda item: (
            item.path.name != "test_notebooks.py",
            "smoke" not in getattr(item, "fixturenames", ()),
        )
    )
