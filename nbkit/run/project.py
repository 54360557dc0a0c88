"""Where notebooks, parameters and outputs lie: a project folder, or the copy inside an installed wheel.

project_root()               the checkout, a folder made by `nbkit init`, or the current folder
of_project("params/smoke")   the project's own; the wheel's where the project has none
outputs_root()               where run folders are written; never inside the wheel
"""

from __future__ import annotations

import os
from pathlib import Path


def project_root() -> Path:
    """The folder that holds `notebooks/` and `params/`: NBKIT_ROOT, else above the cwd or above this package.

    Where there is none, as for a notebook opened alone, it is the current folder, if this is a wheel that
    carries what the project lacks. Raises ValueError for a wrong NBKIT_ROOT, and where nothing is carried.
    """
    if given := os.environ.get("NBKIT_ROOT"):
        root = Path(given).resolve()
        if not root.is_dir():
            raise ValueError(
                f"NBKIT_ROOT={given!r} is not a folder; unset it or point it at the project root"
            )
        return root
    # From where the user stands first, then from where this package lies.
    for start in (Path.cwd(), Path(__file__).resolve().parents[1]):
        for folder in (start, *start.parents):
            if (folder / "notebooks").is_dir() and (folder / "params").is_dir():
                return folder
    if carried().is_dir():
        return Path.cwd()
    raise ValueError(
        f"no project root: neither {Path.cwd()} nor a parent holds notebooks/ and params/; "
        "change into the checkout or set NBKIT_ROOT"
    )


def carried() -> Path:
    """The project inside the package: setup.py puts it into the wheel, a checkout has none."""
    return Path(__file__).resolve().parents[1] / "project"


def of_project(name: str) -> Path:
    """The file or folder `name` of the project, or of the wheel where the root holds no project.

    The two are never mixed: a notebook deleted from a project is missing, not replaced by the wheel's.
    """
    root = project_root()
    is_project = (root / "notebooks").exists() or (root / "params").exists()
    return (root if is_project or not carried().is_dir() else carried()) / name


def outputs_root() -> Path:
    """Where run folders live: NBKIT_OUTPUTS, else `<project root>/outputs`."""
    given = os.environ.get("NBKIT_OUTPUTS")
    return Path(given).resolve() if given else project_root() / "outputs"
