"""Pools of any size: token rows over the shards that many nodes wrote, read where they lie. Used by 02.

    pools = load_pools(Path("outputs/full/01_data_mix/pools"), ["filtered"])
    pools["hq"].shape                  # (rows of all shards, tokens of a row); nothing is read yet
    np.asarray(pools["hq"][10:14])     # (4, S): these rows alone are read

A shard is a token file of datatrove's `DocumentTokenizer`, as `nbkit filter --token-files` writes them:
`<name>.ds` holds 2 or 4 bytes a token, `<name>.ds.index` where each document ends (uint64, in tokens). Shards
are memory maps, few of them open at a time, so memory does not grow with a pool. Shape legend: N rows of S
tokens.
"""

import copy
import os
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple, overload

import numpy as np

from nbkit.run import files
from nbkit.text.tokenizer import load_pool

SUFFIX = ".ds"
MANIFEST = "manifest.json"  # of `nbkit filter`, written last
_OPEN = 64  # shards mapped at a time
_DTYPES = {2: np.dtype("<u2"), 4: np.dtype("<u4")}


class Shard(NamedTuple):
    """One token file: its path, its number of tokens and their type."""

    path: Path
    tokens: int
    dtype: np.dtype


class TokenRows:
    """The rows of all shards in their order, as one read-only array (N, S) that is never held.

    An index gives a row (S,), a slice (of step 1) another TokenRows; `np.asarray` reads. The tokens at the
    end of a shard that fill no row are left out. Raises ValueError for shards of different token types.
    """

    def __init__(self, shards: Sequence[Shard], seq_len: int) -> None:
        self.shards, self.seq_len = tuple(shards), seq_len
        if len({shard.dtype for shard in shards}) != 1:
            found = {shard.dtype.itemsize: shard.path for shard in shards}
            raise ValueError(
                f"token shards of {sorted(found)} bytes a token in one pool: {[*map(str, found.values())]}; "
                "wanted at least one, all of one tokenizer"
            )
        self.dtype = shards[0].dtype
        # Where each shard's rows begin in the pool, and where the last ends.
        self.begins = np.cumsum([0, *(shard.tokens // seq_len for shard in shards)])
        self.start, self.stop = 0, int(self.begins[-1])

    def __len__(self) -> int:
        return self.stop - self.start

    @property
    def shape(self) -> tuple[int, int]:
        return len(self), self.seq_len

    @property
    def size(self) -> int:
        """Tokens of all rows."""
        return len(self) * self.seq_len

    @overload
    def __getitem__(self, where: int) -> np.ndarray: ...
    @overload
    def __getitem__(self, where: slice) -> "TokenRows": ...
    def __getitem__(self, where):
        if isinstance(where, slice):
            first, last, step = where.indices(len(self))
            if step != 1:
                raise ValueError(f"rows of token shards: got a slice of step {step}, wanted 1")
            part = copy.copy(self)
            part.start, part.stop = self.start + first, self.start + max(first, last)
            return part
        at = int(where) + (len(self) if where < 0 else 0)
        if not 0 <= at < len(self):
            raise IndexError(f"row {where} of {len(self)}")
        return np.asarray(self[at : at + 1])[0]

    def __iter__(self) -> Iterator[np.ndarray]:
        return (self[i] for i in range(len(self)))

    def __array__(self, dtype=None, copy=None) -> np.ndarray:
        """All rows of this part, read: (N, S)."""
        pieces = [np.zeros((0, self.seq_len), self.dtype)]
        at = self.start
        while at < self.stop:
            # The shard that holds row `at`; empty ones are passed over.
            number = int(np.searchsorted(self.begins, at, side="right")) - 1
            begin, end = int(self.begins[number]), min(self.stop, int(self.begins[number + 1]))
            rows = _mapped(self.shards[number], self.seq_len)
            pieces.append(rows[at - begin : end - begin])
            at = end
        rows_NS = np.concatenate(pieces)
        return rows_NS if dtype is None else rows_NS.astype(dtype)


@lru_cache(maxsize=_OPEN)
def _mapped(shard: Shard, seq_len: int) -> np.ndarray:
    """The whole rows of a shard as a memory map; the least recently read one is given up for a new one."""
    rows = shard.tokens // seq_len
    return np.memmap(shard.path, shard.dtype, "r", shape=(rows, seq_len))


def shard_of(path: Path) -> Shard:
    """A token file, known by its size and the last entry of its index. Raises ValueError for one that is cut
    short or has no index."""
    size, index = path.stat().st_size, path.with_name(f"{path.name}.index")
    try:
        with index.open("rb") as handle:
            entries = handle.seek(0, os.SEEK_END) // 8
            handle.seek(max(0, entries - 1) * 8)
            tokens = int.from_bytes(handle.read(8), "little") if entries else 0
    except FileNotFoundError:
        raise ValueError(f"{path} has no {index.name} beside it: write it with save_index=True") from None
    width = size // tokens if tokens else 2
    if width not in _DTYPES or tokens * width != size:
        raise ValueError(
            f"{path}: {size:,} bytes are no {tokens:,} tokens of 2 or 4 bytes, which its index names; it is "
            "cut short: run the same `nbkit filter` again, or copy it again"
        )
    return Shard(path, tokens, _DTYPES[width])


def token_folder(given: str | Path) -> Path:
    """The folder that holds `hq/`, `mq/` or `synthetic/` with token files, for a parameter that names it, the
    folder `tokens` above it, a folder pools-* of `nbkit filter`, or its --out. Relative paths begin at the
    project. Raises ValueError where it is not there, not finished, or not the only one."""
    folder = files.project_root() / Path(given).expanduser()
    if not folder.is_dir():
        raise ValueError(f"token_shards: {folder} is no folder; give the --out of `nbkit filter`")
    # The --out of `nbkit filter` may hold the pools of several budgets.
    if pools := sorted(folder.glob("pools-*")):
        done = [path for path in pools if (path / MANIFEST).is_file()]
        if len(done) != 1:
            state = "finished ones: " + (", ".join(path.name for path in done) or "none")
            raise ValueError(
                f"token_shards: {folder} has {len(pools)} pools-*, {state}; name the one to read"
            )
        folder = done[0]
    if (folder / MANIFEST).is_file() and not (folder / "tokens").is_dir():
        raise ValueError(f"token_shards: {folder} has no tokens/; run `nbkit filter` with --token-files")
    return folder / "tokens" if (folder / "tokens").is_dir() else folder


def load_pools(folder: Path, token_shards: Sequence[str] = ()) -> dict[str, np.ndarray | TokenRows]:
    """The pools that 01 published in `folder`, by name; those that folders of `token_shards` hold are read
    from there in their place, all shards in the order of folders and names. Nothing is read yet.

    Raises ValueError for a folder without pools, a pool that 01 does not have, and tokens of another
    tokenizer (known for what `nbkit filter` wrote).
    """
    own: dict[str, np.ndarray | TokenRows] = {p.stem: load_pool(p) for p in files.named(folder, "*.npy")}
    if not own:
        raise ValueError(f"pools: {folder} holds no *.npy; run 01_data_mix first")
    seq_len = next(iter(own.values())).shape[1]
    found: dict[str, list[Shard]] = {}
    for given in token_shards:
        root = token_folder(given)
        _check_tokenizer(root, folder)
        names = sorted({path.parent.name for path in root.glob(f"*/*{SUFFIX}")})
        if not names or not set(names) <= set(own):
            raise ValueError(
                f"token_shards: {root} holds token files in folders {names}, wanted some of {sorted(own)}"
            )
        for name in names:
            shards = [shard_of(path) for path in files.named(root / name, f"*{SUFFIX}")]
            found.setdefault(name, []).extend(shard for shard in shards if shard.tokens >= seq_len)
    if empty := [name for name, shards in found.items() if not shards]:
        raise ValueError(f"token_shards: no shard of pool {empty[0]!r} holds a row of {seq_len} tokens")
    return own | {name: TokenRows(shards, seq_len) for name, shards in found.items()}


def _check_tokenizer(root: Path, folder: Path) -> None:
    manifest, tokenizer = root.parent / MANIFEST, folder / "tokenizer" / "tokenizer.json"
    if manifest.is_file() and tokenizer.is_file():
        known = files.read_json(manifest).get("tokenizer")
        if known and known != files.sha256(tokenizer):
            raise ValueError(
                f"token_shards: {root} was tokenized with another tokenizer than {tokenizer}; run `nbkit "
                "filter` with the filter of this profile's 01_data_mix"
            )


def data_id(folder: Path, token_shards: Sequence[str] = ()) -> str:
    """What a run's checkpoints know its pools by: the sha256 of 01's folder; with shards, also the hashes in
    their manifests, or names and sizes where there is none, since to hash terabytes would take hours."""
    if not token_shards:
        return files.sha256(folder)
    known: list[object] = [files.sha256(folder)]
    for root in map(token_folder, token_shards):
        manifest = root.parent / MANIFEST
        if manifest.is_file():
            known.append(files.digest(files.read_json(manifest)["outputs"]))
        else:
            shards = sorted(root.glob(f"*/*{SUFFIX}"))
            known.append([[path.relative_to(root).as_posix(), path.stat().st_size] for path in shards])
    return files.digest(known)
