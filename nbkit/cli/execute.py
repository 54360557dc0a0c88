"""Run one notebook to its end: `python -m nbkit.cli.execute IN OUT PARAMS_JSON`. Started by `nbkit run`.

The file `.cell` beside OUT says what goes on: the kernel starts, "cell 7 of 26: Inputs". Writes
`OUT.part.ipynb` while running; renamed to OUT when the notebook finished, or to `<OUT>.failed.ipynb`
when a cell raised. Exit code 1 on a failed cell. Papermill alone would leave an output that looks finished
after a crash, and would take whatever kernel is called python3.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import sys
import tempfile
import threading
import time
from pathlib import Path

from nbkit.run.files import project_root, read_json, replace_text
from nbkit.run.progress import CELL


def own_kernel(folder: str) -> None:
    """Make "python3" mean this interpreter: JUPYTER_PATH is searched before any installed kernelspec."""
    spec = Path(folder, "kernels", "python3")
    spec.mkdir(parents=True)
    argv = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    (spec / "kernel.json").write_text(
        json.dumps({"argv": argv, "display_name": "Python 3", "language": "python"})
    )
    os.environ["JUPYTER_PATH"] = os.pathsep.join(filter(None, [folder, os.environ.get("JUPYTER_PATH")]))


def follow_parent(parent: int) -> None:
    """Leave when process `parent` is gone, even by SIGKILL; the kernel watches us in the same way."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(137)

    threading.Thread(target=watch, daemon=True).start()


def headings(cells: list[dict]) -> dict[str, str]:
    """What the live line says of each code cell, by its id: its number and the last heading above it.

    >>> headings([{"id": "a", "cell_type": "markdown", "source": "# 01 · Data\\n\\nText."},
    ...           {"id": "b", "cell_type": "code", "source": "x = 1"}])
    {'b': 'cell 1 of 1: 01 · Data'}
    """
    total, said, heading, number = sum(c["cell_type"] == "code" for c in cells), {}, "", 0
    for cell in cells:
        if cell["cell_type"] == "code":
            number += 1
            said[cell.get("id", "")] = f"cell {number} of {total}" + (f": {heading}" if heading else "")
        elif cell["cell_type"] == "markdown":
            found = re.findall(r"^#{1,6} +(.*?) *#* *$", "".join(cell["source"]), re.MULTILINE)
            heading = found[-1] if found else heading
    return said


def show(folder: Path, text: str) -> None:
    """What goes on, for the live line; lost where it cannot be written."""
    with contextlib.suppress(OSError):
        replace_text(folder / CELL, json.dumps({"text": text}))


def execute(source: Path, target: Path, parameters: dict[str, object]) -> Path:
    """Run `source` with `parameters` in the project root; returns `target`. Or leaves `.failed.ipynb`."""
    target.parent.mkdir(parents=True, exist_ok=True)
    import papermill  # noqa: PLC0415 (slow: the live line says so first)

    # Write under a name that nobody takes for a result; clear what an earlier run left there.
    part, failed = target.with_suffix(".part.ipynb"), target.with_suffix(".failed.ipynb")
    for stale in (part, failed):
        stale.unlink(missing_ok=True)
    try:
        with tempfile.TemporaryDirectory(prefix="nbkit-kernel-") as folder:
            # A kernel of this very Python, whatever kernels the user has installed.
            own_kernel(folder)
            said = headings(read_json(source)["cells"])

            def name_cell(cell: dict) -> None:
                if words := said.get(cell.get("id", "")):  # none for text, and for the injected parameters
                    show(target.parent, words)
                    print(f"-- {words}", flush=True)

            show(target.parent, "starting the kernel")
            papermill.execute_notebook(
                str(source),
                str(part),
                parameters,
                kernel_name="python3",
                progress_bar=False,
                coalesce_streams=True,
                cwd=str(project_root()),
                stdout_file=sys.stdout,  # what the cells print, for `nbkit logs`; it is in the notebook too
                stderr_file=sys.stderr,
                on_cell_start=lambda cell, cell_index: name_cell(cell),
            )
    except BaseException:
        # The notebook up to the cell that failed is kept, under a name that says so.
        if part.is_file():
            os.replace(part, failed)
        raise
    os.replace(part, target)
    return target


def main(argv: list[str] | None = None) -> int:
    """Command line of this module; see the module docstring."""
    arguments = sys.argv[1:] if argv is None else argv
    if len(arguments) != 3:
        print("usage: python -m nbkit.cli.execute IN.ipynb OUT.ipynb PARAMS_JSON", file=sys.stderr)
        return 2
    os.environ["TQDM_DISABLE"] = "1"  # every refresh of a bar would be stored in the notebook
    os.environ["PYDEVD_DISABLE_FILE_VALIDATION"] = "1"
    if parent := os.environ.pop("NBKIT_PARENT", None):
        follow_parent(int(parent))
    # Name the slow imports before they begin.
    show(Path(arguments[1]).parent, "importing papermill")
    from nbclient.exceptions import DeadKernelError  # noqa: PLC0415 (slow: the live line says so first)
    from papermill.exceptions import PapermillExecutionError  # noqa: PLC0415 (slow: the live line says so first)

    try:
        # A failed cell and a dead kernel are results to tell, not tracebacks of ours.
        execute(Path(arguments[0]), Path(arguments[1]), json.loads(arguments[2]))
    except PapermillExecutionError as error:
        print(error, file=sys.stderr)
        return 1
    except DeadKernelError:
        print("the kernel died: killed from outside, or out of memory", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
