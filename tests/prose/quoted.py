"""Numbers that the prose quotes as results, and the numbers that were measured. Used by
test_quoted_numbers.py, whose failures say what to do.

A result is a number with a unit of UNITS: "31%", "+11.9 points [+8.7, +15.1]", "74 to 95 s", "4.9 GiB", or a
number in a column of a table whose heading is such a unit. It is supported when a file of outputs/reference/
holds it, rounded as it is printed, or when LOG.md says it with the same unit.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import NamedTuple

from nbkit.cli.check import trees

# unit -> spellings in prose
UNITS = {
    "share": r"%|percent|points?",
    "s": r"seconds?|s",
    "ms": r"milliseconds?|ms",
    "min": r"minutes?|min",
    "h": r"hours?|h",
    "GiB": r"GiB",
    "MiB": r"MiB",
    "GB": r"GB",
    "MB": r"MB",
    "jobs/s": r"jobs/s|jobs a second",
    "tokens/s": r"tokens/s|tok/s|tokens a second",
    "MB/s": r"MB/s",
    "times": r"x faster|times faster|times slower|times as fast|times as slow|times as long",
}
# unit -> (where it stands in a reference file, what one of that number is in the unit)
STORED = {
    "share": [(r".", 100.0)],  # of numbers from -1 to 1
    "s": [(r"(_s|seconds|s_per_1000)\b|timings", 1.0)],
    "ms": [(r"_ms\b", 1.0), (r"(_s|seconds)\b", 1000.0)],
    "min": [(r"seconds\b|timings", 1 / 60), (r"minutes", 1.0)],
    "h": [(r"seconds\b|timings", 1 / 3600)],
    "GiB": [(r"mib\b", 1 / 1024), (r"gib\b", 1.0), (r"_mb\b", 1e6 / 2**30), (r"bytes", 2**-30)],
    "MiB": [(r"mib\b", 1.0), (r"bytes", 2**-20)],
    "GB": [(r"_mb\b", 1e-3), (r"mib\b", 2**20 / 1e9), (r"bytes", 1e-9)],
    "MB": [(r"_mb\b", 1.0), (r"mib\b", 2**20 / 1e6), (r"bytes", 1e-6)],
    "jobs/s": [(r"jobs_per_s|speed", 1.0)],
    "tokens/s": [(r"speed|per_s\b", 1.0)],
    "MB/s": [(r"mb_per_s|mb_s", 1.0)],
    "times": [(r"ratio|speed|times", 1.0)],
}
# page -> the reference files whose numbers it tells of; other pages may quote all of them
FILES = {
    "README.md": r"^(timings|claims|small/)",
    "docs/code_grading.md": r"^benchmarks/(jail|graders)",
    "docs/verifiers.md": r"^benchmarks/(jail|graders|answers)",
    "docs/dpd.md": r"^(benchmarks/dpd|claims/dpd|claims-ladder|small/05)",
    "docs/filter.md": r"/01_",
    "docs/pretraining.md": r"^(small/02|claims/f|claims-fresh|benchmarks/(speed|kill))",
    "docs/refinement.md": r"^(small/0[34]|claims/sft|claims-(fresh|ladder)|benchmarks/(teacher|rl_direct))",
    "docs/rl.md": r"^(small/06|claims-ladder|benchmarks/rl_)",
    "docs/running.md": r"^timings",
    "docs/usage.md": r"^(small|smollm2|timings)",
    "notebooks/01_data_mix.ipynb": r"/01_|^timings",
    "notebooks/02_pretrain.ipynb": r"/02_|^claims|^timings",
    "notebooks/03_sft_cold_start.ipynb": r"/03_|^claims|^timings",
    "notebooks/04_sft_overall.ipynb": r"/04_|^claims|teacher|^timings",
    "notebooks/05_dpd.ipynb": r"/05_|dpd|^timings",
    "notebooks/06_rl.ipynb": r"/06_|^timings",
    "notebooks/07_eval.ipynb": r"/07_|^timings",
}
NUMBER = r"[+\-−]?\d[\d,]*(?:\.\d+)?"
UNIT = "|".join(f"(?P<u{i}>{spelt})" for i, spelt in enumerate(UNITS.values()))
# An interval stands before the unit or behind it; a range is "74 to 95 s".
BEFORE, BEHIND = (rf"(?:\s*\[(?P<low{i}>{NUMBER})%?, (?P<high{i}>{NUMBER})%?\])?" for i in (1, 2))
RANGE = rf"(?:(?P<first>{NUMBER}) ?%?(?: to |–))?"
QUOTED = re.compile(
    rf"(?<![\w.,/^$-]){RANGE}(?P<number>{NUMBER}){BEFORE}[ \u00a0-]?(?:{UNIT})(?![\w/]){BEHIND}"
)


class Quote(NamedTuple):
    """A number with a unit in a text: its line, as it is printed, and its unit of UNITS."""

    line: int
    number: str
    unit: str


def prose(text: str) -> str:
    """The text without what others check: generated blocks, code blocks and inline code. Lines stay."""

    def blank(match: re.Match) -> str:
        return "\n" * match[0].count("\n")

    text = re.sub(r"<!-- nbkit.*?<!-- end -->", blank, text, flags=re.DOTALL)
    text = re.sub(r"^```.*?^```", blank, text, flags=re.DOTALL | re.MULTILINE)
    return re.sub(r"`[^`\n]*`", "`code`", text)


def quotes(text: str) -> list[Quote]:
    """Every number that a text quotes with a unit, in order."""
    found = []
    for number, line in enumerate(prose(text).splitlines(), 1):
        for match in QUOTED.finditer(line):
            named = match.groupdict()
            unit = next(unit for i, unit in enumerate(UNITS) if named[f"u{i}"])
            parts = ("first", "number", "low1", "high1", "low2", "high2")
            found += [Quote(number, named[part], unit) for part in parts if named[part]]
    return found + list(_in_columns(prose(text)))


def _in_columns(text: str) -> Iterator[Quote]:
    """Bare numbers in a column of a table whose heading is a unit."""
    units: dict[int, str] = {}
    for number, line in enumerate(text.splitlines(), 1):
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")] if line.startswith("|") else []
        if not cells:
            units = {}
        elif not units:
            headings = {i: _unit_named(cell) for i, cell in enumerate(cells)}
            units = {i: unit for i, unit in headings.items() if unit} or {-1: ""}
        for i, unit in units.items():
            if 0 <= i < len(cells) and re.fullmatch(NUMBER, cells[i]):
                yield Quote(number, cells[i], unit)


def _unit_named(heading: str) -> str:
    return next((unit for unit, spelt in UNITS.items() if re.fullmatch(spelt, heading)), "")


class Measured:
    """All numbers below outputs/reference/, by their path, and the quotes of LOG.md."""

    def __init__(self, reference: Path, log: str) -> None:
        self.numbers: list[tuple[str, float]] = []
        for file in sorted(reference.rglob("*.json")):
            content = json.loads(file.read_text(encoding="utf-8"))
            # Of times also the sum, as a run takes all of its stages.
            if file.name.startswith("timings"):
                profiles = [n for n, v in content.items() if isinstance(v, dict) and n != "calibration"]
                sums = {n: sum(v.values()) for n, v in content.items() if n in profiles}
                content = {**content, "sums": sums}
            name = file.relative_to(reference).as_posix()
            for path, value in trees.leaves(content):
                if trees.is_number(value):
                    self.numbers.append((" ".join((name, *path)).lower(), float(value)))
        self.log = {(quote.number.lstrip("+"), quote.unit) for quote in quotes(log)}

    def holds(self, quote: Quote, page: str = "") -> bool:
        """Was this number measured, as it is printed? `page`: the file that quotes it."""
        if (quote.number.lstrip("+"), quote.unit) in self.log:
            return True
        low, high = _rounds_to(quote.number)
        return any(low <= value <= high for value in self._in_unit(page, quote.unit))

    @functools.cache  # noqa: B019 (one object for all pages of a test)
    def _in_unit(self, page: str, unit: str) -> list[float]:
        """The numbers of a page's files, in a unit."""
        found = []
        own = [one for one in self.numbers if re.search(FILES.get(page, "."), one[0])]
        for where, factor in STORED[unit]:
            there = [value for path, value in own if re.search(where, path)]
            found += [value * factor for value in there if unit != "share" or abs(value) <= 1]
        return found


def _rounds_to(printed: str) -> tuple[float, float]:
    """The numbers that print as this one, rounded to as many places as it is printed with: from, to."""
    wanted = Decimal(printed.replace(",", "").replace("−", "-"))
    half = 0.5 * 10.0 ** -max(0, -wanted.as_tuple().exponent) * (1 + 1e-9)
    return float(wanted) - half, float(wanted) + half
