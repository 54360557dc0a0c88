"""Files that are either whole or absent, and their hashes. Used by every notebook.

A write goes to a temporary name in the same folder, is fsynced, then renamed over the target; a kill or a
full disk leaves the old file or none, never half of one.

>>> import tempfile; folder = Path(tempfile.mkdtemp())
>>> write_json(folder / "a.json", {"x": 1}); read_json(folder / "a.json")
{'x': 1}
>>> with atomic_dir(folder / "model") as temp:
...     _ = (temp / "weights.bin").write_bytes(b"123")
>>> sorted(p.name for p in (folder / "model").iterdir())
['weights.bin']
"""

from __future__ import annotations

import contextlib
import errno
import fnmatch
import hashlib
import json
import os
import shutil
import sys
import uuid
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from nbkit.run.project import of_project as of_project
from nbkit.run.project import outputs_root as outputs_root
from nbkit.run.project import project_root as project_root

_TEMP = (
    ".tmp-"  # .tmp-<pid>-<random>-<name>: the name comes last so that the suffix survives (np.save needs it)
)

# What file browsers, editors and Jupyter leave behind, by lower-case name: no part of an artifact. No name
# the kit writes may match (a test looks); docs/data_conventions.md says where each comes from.
_CLUTTER_FILES = (".ds_store", "._*", ".localized", "thumbs.db", "ehthumbs.db", "desktop.ini", ".directory")
_CLUTTER_FILES += (".nfs*", ".fuse_hidden*", "*~", ".*.sw[a-p]", ".#*", "#*#")
_CLUTTER_FILES += (".*.kate-swp", ".~lock.*#", "~$*", ".goutputstream-*", ".smbdelete*", ".afpdeleted*")
# A Mac's icon of a folder: its name ends in a carriage return, which network drives show as U+F00D.
_CLUTTER_FILES += ("icon\r", "icon\uf00d", ".volumeicon.icns", ".apdisk", "ehthumbs_vista.db")
_CLUTTER_FILES += (".jupyter_ystore.db", ".dropbox", ".dropbox.attr")
_CLUTTER_FOLDERS = (".ipynb_checkpoints", "__pycache__", "__macosx", ".appledouble", ".spotlight-v100")
_CLUTTER_FOLDERS += (".trashes", ".trash-*", ".fseventsd", ".temporaryitems", "@eadir", "$recycle.bin")
_CLUTTER_FOLDERS += (".documentrevisions-v100", ".appledb", ".appledesktop", "network trash folder")
_CLUTTER_FOLDERS += ("temporary items", "system volume information", "lost+found", "#recycle")
_CLUTTER_FOLDERS += (".virtual_documents", ".pytest_cache", ".ruff_cache", ".mypy_cache", ".dropbox.cache")
_CLUTTER_FOLDERS += (".idea", ".vscode", ".vs", ".spyproject", ".ropeproject")


def is_clutter(name: str) -> bool:
    """Whether the relative path `name` is, or lies in, what a system or an editor left behind."""
    parts = name.lower().split("/")
    return _matches(parts[-1], _CLUTTER_FILES) or any(_matches(part, _CLUTTER_FOLDERS) for part in parts)


def _matches(name: str, patterns: Collection[str]) -> bool:
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)


def files_in(folder: Path, listed: Collection[str] = ()) -> dict[str, Path]:
    """Every file below `folder` by its relative name with `/`, sorted; without clutter, unless `listed`."""
    found = {p.relative_to(folder).as_posix(): p for p in folder.rglob("*") if p.is_file()}
    return {name: found[name] for name in sorted(found) if name in listed or not is_clutter(name)}


def named(folder: Path, pattern: str) -> list[Path]:
    """What in `folder` matches the glob `pattern`, sorted, without clutter: no `._hq.npy` for `*.npy`."""
    return sorted(p for p in folder.glob(pattern) if not is_clutter(p.name))


def _temp_for(path: Path) -> Path:
    return path.parent / f"{_TEMP}{os.getpid()}-{uuid.uuid4().hex[:8]}-{path.name}"


def _fsync(path: Path) -> None:
    windows = sys.platform == "win32"  # which opens no folder, and flushes only what may be written
    if windows and path.is_dir():
        return
    handle = os.open(path, os.O_RDWR if windows else os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _fsync_tree(folder: Path) -> None:
    for parent, _, names in os.walk(folder):
        for name in names:
            _fsync(Path(parent, name))
        _fsync(Path(parent))


def cannot_write(folder: str | Path, reason: object) -> str:
    """The one wording of "nothing can be written there", with what helps."""
    return (
        f"cannot write in {folder}: {reason}; free space or fix its permissions, or set NBKIT_OUTPUTS to a "
        "writable folder"
    )


def unwritable(folder: Path) -> str:
    """Why nothing can be written in `folder`, which need not exist yet, in that wording; "" if it can."""
    place = folder
    # The folder need not exist: its nearest parent that does decides.
    while not os.path.lexists(place):
        place = place.parent
    if not os.path.isdir(place):
        return cannot_write(folder, f"{place} is no folder")
    if not os.access(place, os.W_OK | os.X_OK):
        return cannot_write(folder, f"{place} is not writable")
    return ""


_DISK = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO}


@contextlib.contextmanager
def explained(folder: Path, only: Collection[int] = ()) -> Iterator[None]:
    """Let OSErrors of the block name the folder and what to do next; `only`: these errnos, where the block
    runs a caller's own code."""
    try:
        yield
    except OSError as error:
        if "cannot write in" in str(error) or (only and error.errno not in only):
            raise
        raise type(error)(error.errno, cannot_write(folder, error.strerror or error)) from error


def _commit(temp: Path, path: Path) -> None:
    """Move a finished temp file or folder over `path` (a folder in the way is moved aside first)."""
    old = None
    # A folder cannot be renamed over another: the old one moves aside, for an instant.
    if path.is_dir() and not path.is_symlink():
        old = _temp_for(path)
        os.replace(path, old)
    os.replace(temp, path)
    # The rename itself must be on disk, or a power cut brings the old name back.
    _fsync(path.parent)
    if old is not None:
        shutil.rmtree(old, ignore_errors=True)


def _discard(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


@contextlib.contextmanager
def atomic_file(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path to write; on a clean exit it is fsynced and renamed to `path`.

    Raises ValueError if the block wrote nothing there, OSError naming the folder if it cannot be written.
    """
    path = Path(path)
    with explained(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
    temp = _temp_for(path)
    try:
        with explained(path.parent, _DISK):
            yield temp
        if not temp.is_file():
            raise ValueError(
                f"nothing was written for {path.name}: write the file at the path the block gives"
            )
        with explained(path.parent):
            _fsync(temp)
            _commit(temp, path)
    finally:
        _discard(temp)


@contextlib.contextmanager
def atomic_dir(path: str | Path) -> Iterator[Path]:
    """Yield a temporary folder; on a clean exit it is fsynced and renamed to `path`, replacing an old one."""
    path = Path(path)
    temp = _temp_for(path)
    with explained(path.parent):
        temp.mkdir(parents=True)
    try:
        with explained(path.parent, _DISK):
            yield temp
        with explained(path.parent):
            _fsync_tree(temp)
            _commit(temp, path)
    finally:
        _discard(temp)


def atomic_write(path: str | Path, data: bytes | str) -> None:
    """Write `data` (str as UTF-8) to `path`, whole or not at all."""
    payload = data.encode() if isinstance(data, str) else data
    with atomic_file(path) as temp:
        temp.write_bytes(payload)


def replace_text(path: Path, text: str) -> None:
    """Write a line that may be lost but is never read half-written: renamed, not fsynced."""
    temp = _temp_for(path)
    temp.write_text(text)
    os.replace(temp, path)


def sweep(folder: Path) -> int:
    """Remove what killed processes left half-written under `folder`; returns how many entries went."""
    # Files of a process that still runs are not leftovers.
    orphans = [p for p in folder.rglob(f"{_TEMP}*") if not _alive(p.name)]
    for orphan in orphans:
        _discard(orphan)
    return len(orphans)


def _alive(temp_name: str) -> bool:
    pid = temp_name.removeprefix(_TEMP).split("-")[0]
    if not pid.isdigit():
        return False
    if sys.platform == "win32":  # where os.kill(pid, 0) would send Ctrl-C instead of asking
        import psutil  # noqa: PLC0415 (the lowest floor needs no package elsewhere)

        return psutil.pid_exists(int(pid))
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def sha256(path: str | Path, skip: Collection[str] = ()) -> str:
    """Hex digest of a file, or of a folder: its sorted relative names (but `skip` and clutter, see
    `files_in`) with their file hashes."""
    path = Path(path)
    if not path.is_dir():
        with path.open("rb") as handle:
            return hashlib.file_digest(handle, "sha256").hexdigest()
    # Names and contents alike: a renamed file is a changed folder.
    digest = hashlib.sha256()
    for name, file in files_in(path).items():
        if name not in skip:
            digest.update(f"{name}\0{sha256(file)}\n".encode())
    return digest.hexdigest()


def size_of(path: Path) -> int:
    """Bytes of a file, or of all files under a folder but clutter."""
    return sum(p.stat().st_size for p in (files_in(path).values() if path.is_dir() else [path]))


def digest(obj: Any) -> str:
    """Hash of plain data by its canonical JSON."""
    return hashlib.sha256(json.dumps(obj, sort_keys=True, allow_nan=False).encode()).hexdigest()


def plain(value: Any, name: str = "value") -> Any:
    """Numpy and torch numbers to Python's, throughout nested dicts and lists. An object with a method `dict`,
    such as an Estimate, becomes what that returns.

    NaN, infinity, paths and whatever else is not JSON raise ValueError naming the key.
    """
    if isinstance(value, Mapping):
        return {str(k): plain(v, f"{name}.{k}") for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [plain(v, f"{name}[{i}]") for i, v in enumerate(value)]
    # Numpy and torch numbers have `tolist`; anything else that is not plain falls through to the error.
    if not isinstance(value, str | int | float | bool | type(None)) and hasattr(value, "tolist"):
        return plain(value.tolist(), name)
    if hasattr(value, "dict"):  # an Estimate
        return plain(value.dict(), name)
    # NaN and infinity are the only floats for which x - x is not 0.
    if isinstance(value, float) and value - value != 0.0:
        raise ValueError(f"{name} is {value}; record a finite number, or leave the key out and say why")
    if not isinstance(value, str | int | float | bool | type(None)):
        raise ValueError(f"{name} is a {type(value).__name__}; record numbers, text, lists or dicts")
    return float(value) if isinstance(value, float) else value


def write_json(path: str | Path, obj: Any) -> None:
    """Write plain data as JSON, atomically. NaN and infinity raise ValueError: they are not JSON."""
    try:
        text = json.dumps(obj, indent=1, allow_nan=False, ensure_ascii=False)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{Path(path).name} cannot be written as JSON: {error}") from error
    # half a surrogate pair has no UTF-8; its backslash is how JSON escapes it
    atomic_write(path, f"{text}\n".encode("utf-8", "backslashreplace"))


def read_json(path: str | Path) -> Any:
    """Parse a JSON file; a broken one is a ValueError naming it, a missing one a FileNotFoundError."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not valid JSON ({error}); delete it and make it again") from error
