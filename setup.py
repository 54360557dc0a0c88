"""Builds the wheel whole: notebooks, parameters and reference times go in as nbkit/project/. All else is in
pyproject.toml."""

from pathlib import Path
from shutil import copyfile, rmtree

from setuptools import setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).resolve().parent
# The one committed copy of each stays at the top level; nbkit/run/project.py says who reads them.
CARRIED = ("notebooks/*.ipynb", "params/**/*.yaml", "outputs/reference/timings.json")


class BuildWithProject(build_py):
    """The usual build, then the files of CARRIED. Raises FileNotFoundError where the source has none."""

    def run(self) -> None:
        super().run()
        if self.editable_mode:  # an editable install reads the checkout's own
            return
        target = Path(self.build_lib, "nbkit", "project")
        rmtree(target, ignore_errors=True)  # build/ may be an old one, with files deleted since
        for pattern in CARRIED:
            found = [file.relative_to(ROOT) for file in sorted(ROOT.glob(pattern))]
            if not found:
                raise FileNotFoundError(f"no {pattern} in {ROOT}: build from a whole checkout or sdist")
            for name in found:
                if not any(
                    part.startswith(".") for part in name.parts
                ):  # editors keep copies in such folders
                    (target / name).parent.mkdir(parents=True, exist_ok=True)
                    copyfile(ROOT / name, target / name)


setup(cmdclass={"build_py": BuildWithProject})
