"""The committed measurements: files below outputs/reference/, with the commit and machine that made each."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from nbkit.run import files


class Source(NamedTuple):
    """Where the numbers of one file come from. `commit`: that of the code which made them where the run
    recorded it (`recorded`), else the one that added the file. `note`: what a reader must know."""

    file: str
    commit: str
    recorded: bool
    machine: str
    note: str


class Reference:
    """The files below `folder`, read when they are asked for."""

    def __init__(self, folder: Path):
        self.folder = folder

    def read(self, name: str) -> Any:
        """The content of a file such as "small/07_eval.json". Raises ValueError where it is missing."""
        path = self.folder / name
        if not path.is_file():
            raise ValueError(f"results: {path} is missing; it is committed: git checkout -- {path}")
        return files.read_json(path)

    def sources(self) -> list[Source]:
        """One row per JSON file, in order of name. Raises ValueError for a file without a source, or a source
        without a file: a number that nobody can place is not published."""
        listed = self.read("sources.json")
        found = {p.relative_to(self.folder).as_posix() for p in self.folder.rglob("*.json")} - {
            "sources.json"
        }
        if wrong := sorted(found ^ set(listed)):
            raise ValueError(
                f"results: {', '.join(wrong)}: in outputs/reference/ or in its sources.json, wanted in both; "
                "add file, commit, machine and note there"
            )
        return [Source(name, **about) for name, about in sorted(listed.items())]

    def commit(self, name: str) -> str:
        """The commit of one file."""
        return self.read("sources.json")[name]["commit"]
