"""The order in which a plan reads its pools: a pure function of (seed, plan, pool sizes). Used by 02.

It does not know of ranks, workers, batches or resumes, so none of them can change it, and it computes any
part of the order directly: the 23T tokens of `full` take no more memory than those of `smoke`.

    order = SampleOrder(plan, {"hq": 3310, "mq": 3050, "synthetic": 1700}, row=256, seed=0)
    order.units(0, 2048)       # (n, 2): pool index and first row of the sequences in the first 2,048 tokens

Each pool is one endless stream: epoch after epoch, each a permutation of its chunks (consecutive rows, as
many as the longest sequence of the plan has). A stage continues every stream where the stage before left
off, so two plans that take the same tokens from each pool read the very same chunks. Inside a stage the
streams are mixed in windows of about a thousand rows, each with its exact share of every pool.
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache

import numpy as np

from nbkit.pretrain.plan import Stage, apportion, total_tokens

WINDOW_ROWS = 1024
MOST_WINDOWS = 4096  # windows grow in huge plans, so that the table of their shares stays small


class SampleOrder:
    """Pools are indexed in the order of their sorted names (`names`)."""

    def __init__(
        self, plan: Sequence[Stage], pool_rows: Mapping[str, int], row: int, seed: int, chunk: int = 0
    ):
        self.plan, self.row, self.seed = tuple(plan), row, seed
        self.names = sorted(pool_rows)
        self.chunk = chunk or max(stage.seq_len for stage in plan)
        # Rows at a pool's end that do not fill a chunk are never read.
        self.chunks = [pool_rows[name] * row // self.chunk for name in self.names]
        rows = max(WINDOW_ROWS, total_tokens(plan) // row // MOST_WINDOWS)
        # A window holds about WINDOW_ROWS rows, more only where the table would grow too long.
        self.window = max(1, rows * row // self.chunk)  # in chunks
        self.stage_end = np.cumsum([stage.total for stage in plan])
        # Streams go on over stage borders: where a stage starts in each pool is the sum of those before.
        counts = [[stage.tokens.get(name, 0) // self.chunk for name in self.names] for stage in plan]
        starts = np.cumsum([[0] * len(self.names), *counts], axis=0)
        # per stage, the (windows + 1, pools) positions of the streams at the window boundaries
        self.bounds = [starts[i] + _boundaries(counts[i], self.window) for i in range(len(plan))]
        # Few windows are kept: reads come in order, and neighbours lie in the same one.
        self._shuffled = lru_cache(maxsize=4)(self._window)

    def __len__(self) -> int:
        """Tokens of the plan."""
        return int(self.stage_end[-1])

    def units(self, start: int, n_tokens: int) -> np.ndarray:
        """(n, 2) of (pool index, first row) for the sequences in tokens [start, start + n_tokens), which must
        lie in one stage and hold whole sequences of it."""
        number = int(np.searchsorted(self.stage_end, start, side="right"))
        stage = self.plan[number]
        offset = start - (int(self.stage_end[number]) - stage.total)
        if offset % stage.seq_len or n_tokens % stage.seq_len or offset + n_tokens > stage.total:
            raise ValueError(
                f"tokens {start} to {start + n_tokens} cut stage {stage.name!r} ({stage.total} tokens in "
                f"sequences of {stage.seq_len}); take whole sequences of one stage"
            )
        # All in units of the stage's own sequences, which are the chunk or parts of it.
        per_window = self.window * self.chunk // stage.seq_len
        position, end, pieces = offset // stage.seq_len, (offset + n_tokens) // stage.seq_len, []
        while position < end:
            window, first = divmod(position, per_window)
            piece = self._shuffled(number, window)[first : first + end - position]
            pieces.append(piece)
            position += len(piece)
        return np.concatenate(pieces)

    def rows(self, start: int = 0, end: int | None = None) -> Iterator[tuple[int, int]]:
        """(pool index, row) of everything read in tokens [start, end), long sequences taken apart."""
        for stage, stop in zip(self.plan, self.stage_end.tolist(), strict=True):
            first, last = max(start, stop - stage.total), min(len(self) if end is None else end, stop)
            if first < last:
                for pool, row in self.units(first, last - first).tolist():
                    yield from ((pool, row + i) for i in range(stage.seq_len // self.row))

    def _window(self, number: int, window: int) -> np.ndarray:
        """All sequences of one window of stage `number`, shuffled: (n, 2)."""
        # Which chunks this window reads is fixed by the bounds; only their order is random.
        lows, highs = self.bounds[number][window], self.bounds[number][window + 1]
        pool = np.repeat(np.arange(len(self.names)), highs - lows)
        chunk = [
            self._chunk(p, np.arange(lo, hi)) for p, (lo, hi) in enumerate(zip(lows, highs, strict=True))
        ]
        # A stage with shorter sequences takes each chunk apart and shuffles the parts as well.
        parts, rows = self.chunk // self.plan[number].seq_len, self.plan[number].seq_len // self.row
        first = np.concatenate(chunk) * (self.chunk // self.row)
        first = (first[:, None] + np.arange(parts) * rows).ravel()
        units = np.stack([np.repeat(pool, parts), first], axis=1)
        return units[np.random.default_rng([self.seed, 1 + number, window]).permutation(len(units))]

    def _chunk(self, pool: int, position: np.ndarray) -> np.ndarray:
        """Chunk numbers at positions of a pool's endless stream."""
        out = np.empty(len(position), dtype=np.int64)
        # Each epoch has a permutation of its own: no chunk comes twice before all came once.
        epoch = position // max(1, self.chunks[pool])
        for e in np.unique(epoch):
            mine = epoch == e
            key = np.random.SeedSequence([self.seed, pool, int(e)]).generate_state(1, np.uint64)[0]
            out[mine] = permute(position[mine] - e * self.chunks[pool], self.chunks[pool], int(key))
        return out


def _boundaries(counts: Sequence[int], window: int) -> np.ndarray:
    """Split counts per pool over windows of `window` each (the last may be shorter), every window with its
    share of each: cumulative, shape (windows + 1, pools)."""
    left, rows = list(counts), [[0] * len(counts)]
    # Shares of what is left rather than of the total: rounding never runs out of a pool.
    while sum(left):
        taken = apportion(min(window, sum(left)), left)
        left = [have - take for have, take in zip(left, taken, strict=True)]
        rows.append([before + take for before, take in zip(rows[-1], taken, strict=True)])
    return np.array(rows, dtype=np.int64)


def permute(position: np.ndarray, size: int, key: int, rounds: int = 6) -> np.ndarray:
    """A pseudo-random permutation of range(size) at the given positions, without holding it: a Feistel
    network on the smallest 4^k >= size numbers; results outside the range go through it again."""
    # Half the bits of the smallest 4^k >= size: a Feistel network has two halves of equal width.
    half = np.uint64(max(1, -(-(size - 1).bit_length() // 2)))
    mask = (np.uint64(1) << half) - np.uint64(1)
    keys = np.random.SeedSequence(key).generate_state(rounds, np.uint64)
    out = np.asarray(position).astype(np.uint64)
    outside = np.arange(len(out))
    # Cycle walking: what lands outside range(size) is permuted again, so the result stays one-to-one.
    while len(outside):
        left, right = out[outside] >> half, out[outside] & mask
        for k in keys:
            left, right = right, left ^ (_hash(right + k) & mask)
        out[outside] = left << half | right
        outside = outside[out[outside] >= size]
    return out.astype(np.int64)


def _hash(x: np.ndarray) -> np.ndarray:
    """splitmix64's finaliser (Steele, Lea, Flood 2014): every input bit reaches every output bit."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))
