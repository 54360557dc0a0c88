"""What an evaluation has done so far, on disk line by line, so that the same command goes on after a kill.
Used by run.py.

    with Journal("gsm8k.journal.jsonl", {"model": "...", "task": "gsm8k"}) as journal:
        if "7" not in journal.records:
            journal.add([{"id": "7", "completions": [...]}])

The first line holds the settings; each further one is a record, and a later one replaces an earlier one of
the same id. Lines are fsynced before `add` returns; a line that a kill cut is dropped.
"""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from nbkit.run import files


class Journal:
    """Raises ValueError where the file is of an evaluation with other settings, naming what differs; with
    `anew` that file is replaced."""

    def __init__(self, path: str | Path, settings: Mapping[str, Any], anew: bool = False) -> None:
        self.path, self.records = Path(path), {}
        plain = json.loads(json.dumps(dict(settings)))
        lines = self._read()
        if lines and anew and lines[0].get("settings") != plain:
            self.path.unlink()
            lines = []
        if lines:
            _same(plain, lines[0].get("settings", {}), self.path)
            self.records = {line["id"]: line for line in lines[1:]}
        with files.explained(self.path.parent):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._handle = self.path.open("a", encoding="utf-8")
        if not lines:
            self._write([{"settings": plain}])

    def __enter__(self) -> "Journal":
        return self

    def __exit__(self, *_: object) -> None:
        self._handle.close()

    def add(self, records: Sequence[Mapping[str, Any]]) -> None:
        """Append; on disk when this returns."""
        self._write(records)
        self.records |= {record["id"]: dict(record) for record in records}

    def _write(self, rows: Sequence[Mapping[str, Any]]) -> None:
        with files.explained(self.path.parent):
            self._handle.write("".join(json.dumps(row) + "\n" for row in rows))
            self._handle.flush()
            os.fsync(self._handle.fileno())

    def _read(self) -> list[dict]:
        """The whole lines; what follows the last of them is cut off the file."""
        if not self.path.is_file():
            return []
        data, lines, end = self.path.read_bytes(), [], 0
        for raw in data.splitlines(keepends=True):
            try:
                if not raw.endswith(b"\n"):
                    break
                lines.append(json.loads(raw))
            except ValueError:
                break
            end += len(raw)
        if end < len(data):
            with self.path.open("r+b") as handle:
                handle.truncate(end)
        return lines


def _same(ours: Mapping, theirs: Mapping, path: Path) -> None:
    """Raise ValueError unless the settings are the same."""
    if ours == theirs:
        return
    names = sorted(name for name in {*ours, *theirs} if ours.get(name) != theirs.get(name))
    told = "; ".join(f"{name}: {theirs.get(name)!r:.80} there, {ours.get(name)!r:.80} now" for name in names)
    raise ValueError(
        f"{path.name} is of an evaluation with other settings ({told}); give another --out, or delete {path}"
    )
