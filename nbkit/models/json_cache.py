"""JSON values by key in one SQLite file, each committed when put: a kill loses at most the one in flight.
Used by endpoint.py.

    with closing(JsonCache("answers.sqlite")) as cache:
        cache.put("key", {"x": 1})
        cache.get("key")          # {"x": 1}, or None
"""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


class JsonCache:
    """In memory where `path` is None. Raises ValueError for a damaged file (it says what to delete), OSError
    for one that cannot be used (locked, full, not writable)."""

    def __init__(self, path: str | Path | None) -> None:
        self.path = path
        if path is not None:
            Path(path).parent.mkdir(parents=True, exist_ok=True)
        with self.explained():
            # callers may put from a loop's thread while their own waits: one thread at a time
            self._db = sqlite3.connect(
                path or ":memory:", timeout=60, isolation_level=None, check_same_thread=False
            )
            self._db.execute("CREATE TABLE IF NOT EXISTS entries (key TEXT PRIMARY KEY, value TEXT NOT NULL)")

    def get(self, key: str) -> Any:
        """The value, or None where the key is absent."""
        with self.explained():
            row = self._db.execute("SELECT value FROM entries WHERE key = ?", (key,)).fetchone()
            return row and json.loads(row[0])

    def put(self, key: str, value: Any) -> None:
        """Store, or replace, on disk when this returns."""
        with self.explained():
            self._db.execute("INSERT OR REPLACE INTO entries VALUES (?, ?)", (key, json.dumps(value)))

    def close(self) -> None:
        self._db.close()

    @contextmanager
    def explained(self) -> Iterator[None]:
        """Turn the errors of reading an entry, also into a type of the caller's, into one that names the
        file."""
        try:
            yield
        except sqlite3.OperationalError as error:  # the file itself may be sound
            raise OSError(f"cache: cannot use {self.path} ({error}); free it or take another") from error
        except (sqlite3.DatabaseError, ValueError, TypeError) as error:
            raise ValueError(
                f"cache: {self.path} is damaged or of another program ({error}); delete it, "
                "and what it held is asked for again"
            ) from error
