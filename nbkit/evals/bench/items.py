"""The questions of a benchmark, from a mirror, the hub or a file, each one checked. Used by run.py.

questions = load(benchmark("gsm8k"), limit=50)
questions.items, questions.source, questions.left_out
"""

import os
import random
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nbkit.evals.bench import made
from nbkit.evals.bench.readers import READERS, Item
from nbkit.evals.bench.table import Benchmark
from nbkit.run import files, progress
from nbkit.tasks import sources
from nbkit.text.rows import read_rows


@dataclass(frozen=True)
class Questions:
    """`source` says where they came from, with the hash of a file or the revision of a hub set. `left_out`:
    rows that this kit cannot score; `total`: how many there are before the limit."""

    items: list[Item]
    source: dict[str, Any]
    left_out: int
    total: int


@progress.doing("reading the questions")
def load(bench: Benchmark, limit: int | None = None, data: str | None = None) -> Questions:
    """The questions, or `limit` of them: a fixed random sample, in the order of the file, of which a smaller
    one is part of a larger one.

    `data`: a file of your own in the same layout, in place of the mirror under NBKIT_DATA_DIR or the hub.
    Questions of reasoning-gym and of the embedded world are made here, 200 and 600 of them without a limit.
    Raises ValueError where no rows can be had, and for rows with a missing column, an absent answer key or
    an id that occurs twice (naming the row).
    """
    if limit is not None and limit < 1:
        raise ValueError(f"limit: got {limit}, wanted 1 question or more (leave --limit out for all)")
    if data and bench.reads in made.READERS:
        raise ValueError(f"data: {bench.name} makes its questions itself; leave --data {bench.name}=... out")
    rows, source = made.rows(bench.name, limit) if bench.reads in made.READERS else _rows(bench, data)
    found, left_out = _items(bench, rows, source["from"])
    if not found:
        raise ValueError(f"{bench.name}: {source['from']} holds no row that can be scored")
    total = len(found)
    if limit is not None and limit < total:
        places = random.Random(0).sample(range(total), total)[:limit]
        found = [found[i] for i in sorted(places)]
    return Questions(found, source, left_out, total)


def shots(bench: Benchmark, number: int | None = None) -> list[Item]:
    """The worked examples of a benchmark for models that complete documents: as many as the table says, or
    `number` of each group. Raises ValueError where they cannot be had; `number=0` asks for none."""
    plan = bench.shots
    if plan is None or number == 0:
        return []
    where = f"{bench.name}, its worked examples"
    rows, source = _found(where, plan.mirror, plan.hub)
    rows = [row for row in rows if _kept(row, plan.keep)]
    read = (READERS | made.READERS)[bench.reads]
    # BBH has one text with all examples of a task.
    if "{prompt}" in plan.text:
        return [
            Item(row["task"], {"prompt": _without_canary(row["prompt"])}, group=row["task"]) for row in rows
        ]
    items = [item for place, row in enumerate(rows) if (item := _read(read, row, place, source["from"]))]
    wanted, taken, count = plan.number if number is None else number, [], Counter()
    for item in items:
        count[item.group] += 1
        if count[item.group] <= wanted:
            taken.append(item)
    if short := [group for group, have in count.items() if have < wanted]:
        raise ValueError(
            f"shots: wanted {wanted} worked examples of each group, {bench.name} has {min(count.values())} "
            f"of {short[0] or 'its one group'}; give --shots {min(count.values())}"
        )
    return taken


def _without_canary(prompt: str) -> str:
    """BBH's prompts begin with a line that marks them as test data, which no model needs to read."""
    return prompt.partition("\n-----\n")[2] or prompt


def _kept(row: Mapping, keep: Mapping[str, Sequence[int]]) -> bool:
    return all(low <= row[column] <= high for column, (low, high) in keep.items())


def _rows(bench: Benchmark, data: str | None) -> tuple[list[Mapping], dict[str, Any]]:
    if data is not None:
        path = Path(data)
        if not path.is_file():
            raise ValueError(f"data: {path} is no file; give one in the layout of {bench.name}")
        return list(read_rows(path)), {"from": str(path), "sha256": files.sha256(path)}
    rows, source = _found(bench.name, bench.mirror, bench.hub)
    # The kit's mirror holds all of MBPP: its test part is chosen by number. The hub has splits.
    return [row for row in rows if "address" in source or _kept(row, bench.keep)], source


def _found(name: str, mirror: str | None, hub: str | None) -> tuple[list[Mapping], dict[str, Any]]:
    """Rows of the mirror where it is there, else of the hub."""
    root = os.environ.get("NBKIT_DATA_DIR")
    if mirror and root and (Path(root) / mirror).is_file():
        path = Path(root) / mirror
        return list(read_rows(path)), {"from": f"mirror {mirror}", "sha256": files.sha256(path)}
    if hub:
        rows = list(hub_rows(hub))
        return rows, {"from": f"hub {hub}", "address": hub, "rows": files.digest(_plain(rows))}
    wanted = f"NBKIT_DATA_DIR/{mirror}" if mirror else "a hub address in benchmarks.yaml"
    raise ValueError(
        f"{name}: no data; wanted {wanted}, or a file of your own: --data {name.split(',')[0]}=FILE"
    )


def hub_rows(address: str) -> Iterator[Mapping]:
    """Rows of OWNER/NAME@REVISION#CONFIG?SPLIT. The config * stands for all; rows then say theirs as
    "config" where they have no such column."""
    if "#*" not in address:
        yield from sources.load(f"hub:{address}", purpose="eval")
        return
    import datasets  # noqa: PLC0415 (slow import, needed by this path only)

    name, _, revision = address.partition("#*")[0].partition("@")
    try:
        configs = datasets.get_dataset_config_names(name, revision=revision or None)
    except (OSError, ValueError, RuntimeError) as error:
        raise ValueError(
            f"cannot load {address} ({type(error).__name__}: {error}); without network, set NBKIT_DATA_DIR "
            "to a mirror"
        ) from error
    for config in progress.each(configs, "loading from the hub, part"):
        for row in sources.load(f"hub:{address.replace('#*', f'#{config}')}", purpose="eval"):
            yield {"config": config, **row}


def _plain(rows: Sequence[Mapping]) -> list:
    return [{key: repr(value) for key, value in row.items()} for row in rows]


def _items(bench: Benchmark, rows: Sequence[Mapping], where: str) -> tuple[list[Item], int]:
    read, found, seen = (READERS | made.READERS)[bench.reads], [], {}
    for number, row in enumerate(rows):
        item = _read(read, row, number, where)
        if item is None:
            continue
        # Equal ids would make one journal entry stand for two questions.
        if item.id in seen:
            raise ValueError(
                f"{bench.name}: {where} rows {seen[item.id] + 1} and {number + 1} have the same id "
                f"{item.id!r}; make the ids of the file unique"
            )
        seen[item.id] = number
        found.append(item)
    return found, len(rows) - len(found)


def _read(read: Any, row: Mapping, number: int, where: str) -> Item | None:
    try:
        item = read(row, number)
        return item and _usable(item, asked=read is not READERS["blimp"])
    except KeyError as error:
        name = str(error.args[0])
        if empty := [one for one in name.split(" or ") if one in row]:
            raise ValueError(
                f"{where} row {number + 1}: column {empty[0]!r} is empty; fill it, or leave the row out"
            ) from error
        raise ValueError(
            f"{where} row {number + 1}: no column {name!r}; it has {sorted(row)}. Rename the "
            "column, or use the revision that the table names"
        ) from error
    except (ValueError, TypeError, AttributeError, IndexError) as error:
        # Which columns have no value says more than what Python stumbled over.
        empty = sorted(name for name, value in row.items() if value is None or value in ("", [], {}))
        hint = f"; columns without a value: {', '.join(empty)}" if empty else ""
        told = f"{where} row {number + 1} cannot be used: {error}{hint}; mend the row, or leave it out"
        raise ValueError(told) from error


def _usable(item: Item, asked: bool) -> Item:
    """The item itself. Raises ValueError where a text that a model would read, or the key, is empty: a null
    would be asked as the word None. `asked`: it has a question (a minimal pair has none)."""
    texts = {f"choice {place}": text for place, text in enumerate(item.choices, 1)}
    texts |= {name: item.fields[name] for name in "ABCD" if name in item.fields}
    if asked:
        texts["question"] = item.fields["question"]
    if isinstance(item.answer, str):
        texts["answer"] = item.answer
    for name, text in texts.items():
        if text is None or not str(text).strip():
            raise ValueError(f"{name} is {text!r}, wanted a text")
    return item
