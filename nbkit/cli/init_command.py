"""`nbkit init FOLDER`: a folder with the notebooks and parameters of this nbkit, to run, read and change."""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
import tempfile
from pathlib import Path
from typing import Any

from nbkit.run import files, project
from nbkit.run.params import ACCELERATE

_PARTS = ("notebooks", "params", "outputs/reference/timings.json")
_SUFFIXES = (".ipynb", ".yaml", ".json")
_NEXT = """next:
{enter}    nbkit run --profile smoke    # all notebooks at toy size, some minutes; then a report
    nbkit run                    # the profile small, the sizes that the notebooks describe
    jupyter lab notebooks        # or read and run them one by one, 01 first
"""


def add(commands: Any) -> None:
    """Add the command to the parser's `commands`."""
    text = "make a folder with the notebooks and their parameters, to run and to change"
    command = commands.add_parser("init", help=text, description=text)
    command.add_argument("folder", metavar="FOLDER", help="new or empty; `.` is the current folder")
    command.set_defaults(action=run)


def run(arguments: argparse.Namespace) -> int:
    """Make the folder and say what to do next; returns the exit code."""
    folder = Path(arguments.folder).expanduser()
    fill(folder)
    notebooks = len(list(folder.glob("notebooks/*.ipynb")))
    profiles = sum(entry.is_dir() and entry.name != ACCELERATE for entry in folder.glob("params/*"))
    print(f"made {folder}: {notebooks} notebooks, {profiles} profiles in params/")
    enter = "" if folder.samefile(Path.cwd()) else f"    cd {shlex.quote(str(folder))}\n"
    print(_NEXT.format(enter=enter), end="")
    return 0


def source() -> Path:
    """The project that came with this nbkit: inside the wheel, or the checkout around the package."""
    return project.carried() if project.carried().is_dir() else Path(project.__file__).resolve().parents[2]


def fill(folder: Path) -> None:
    """Copy notebooks, parameters and reference times into `folder`, which is made where it is missing.

    Hidden files in it (.git, .venv) stay; any other content is refused. Nothing is left half-written: the
    copy is moved into place when it is complete. Raises ValueError for a folder that holds something or is a
    file, and for an nbkit that carries no project; OSError where nothing can be written.
    """
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"init: {folder} is a file; give the name of a new or an empty folder")
    if found := sorted(p.name for p in _entries(folder) if not p.name.startswith(".")):
        raise ValueError(
            f"init: {folder} is not empty, it holds {found[0]!r}; give the name of a new or an empty folder"
        )
    if not (source() / "notebooks").is_dir():
        raise ValueError(f"init: this nbkit carries no notebooks in {source()}; install its wheel again")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder, prefix=".nbkit-init-") as temp:
            for part in _PARTS:
                _copy(part, Path(temp))
            for made in Path(temp).iterdir():
                os.replace(made, folder / made.name)
    except OSError as error:
        why = error.strerror or error
        text = (
            f"init: cannot write in {folder}: {why}; free space, fix its permissions or give another folder"
        )
        raise OSError(error.errno, text) from error


def _entries(folder: Path) -> list[Path]:
    return list(folder.iterdir()) if folder.is_dir() else []


def _copy(part: str, target: Path) -> None:
    """The files of one part, without what editors leave behind; readable and writable for their new owner."""
    place = source() / part
    names = files.files_in(place) if place.is_dir() else {"": place}
    for name, file in names.items():
        if file.suffix in _SUFFIXES and file.is_file():
            copy = target / part / name
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, copy)
