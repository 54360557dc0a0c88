"""No result in README.md, docs/ or the notebooks' text without a measurement (quoted.py has the rule).

docs/results.md and the blocks between `<!-- nbkit results` and `<!-- end -->` are generated: test_results.py
checks those. A number that by chance equals another measurement of the same files passes: this finds what
nothing supports, it does not prove the rest.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from quoted import FILES, Measured, Quote, quotes

ROOT = Path(__file__).resolve().parents[2]
LISTS = ("tests/quoted_numbers.txt", "tests/report_numbers.txt")


def pages() -> Iterator[tuple[str, str, str]]:
    """(page, place in it, text): a file of Markdown, or a cell of a notebook."""
    documents = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
    for path in documents:
        if path.name != "results.md":
            yield path.relative_to(ROOT).as_posix(), "", path.read_text(encoding="utf-8")
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        for number, cell in enumerate(json.loads(path.read_text(encoding="utf-8"))["cells"]):
            if cell["cell_type"] == "markdown":
                yield path.relative_to(ROOT).as_posix(), f"cell {number}, ", "".join(cell["source"])


@functools.cache
def listed() -> list[tuple[str, str, str, str]]:
    """(list, page, words, reason) of every line of the two lists; the words may hold a | of a table."""
    found = []
    for name in LISTS:
        for line in (ROOT / name).read_text(encoding="utf-8").splitlines():
            if line and not line.startswith("#"):
                page, *words, reason = line.split(" | ")
                found.append((name, page, " | ".join(words), reason))
    return found


def is_listed(page: str, line: str, quote: Quote) -> bool:
    """Does a list hold this number, with words that stand in this line?"""
    allowed = [words for _, name, words, _ in listed() if name == page and words in line]
    return any(quote[1:] == one[1:] for words in allowed for one in quotes(words))


def unsupported(page: str, place: str, text: str, measured: Measured) -> list[str]:
    """A line for each number that nothing supports: where it stands and what to do."""
    told, lines = [], text.splitlines()
    for quote in quotes(text):
        if not is_listed(page, lines[quote.line - 1], quote) and not measured.holds(quote, page):
            told.append(
                f"{page}, {place}line {quote.line}: {quote.number} ({quote.unit}) is in no file of "
                f"outputs/reference/ that this page tells of ({FILES.get(page, 'all')}) and not in LOG.md. "
                "Correct or remove it; or publish the measurement (`nbkit results --publish`) or write it "
                f"into LOG.md; a setting goes into {LISTS[0]}, a figure of the report into {LISTS[1]}"
            )
    return told


@pytest.fixture(scope="module")
def measured() -> Measured:
    return Measured(ROOT / "outputs/reference", (ROOT / "LOG.md").read_text(encoding="utf-8"))


def test_every_quoted_result_was_measured(measured):
    wrong = [line for page, place, text in pages() for line in unsupported(page, place, text, measured)]
    assert not wrong, "\n".join(["", *wrong])


def test_no_listed_number_outlives_its_sentence():
    lines = {(page, line) for page, _, text in pages() for line in text.splitlines()}
    for name, page, words, reason in listed():
        assert reason.strip(), f"{name}: {words!r} has no reason"
        assert quotes(words), f"{name}: {words!r} holds no number with a unit; remove the line"
        here = [line for at, line in lines if at == page and words in line]
        assert here, f"{name}: {words!r} stands in no line of {page}; remove it or quote the sentence anew"


def test_the_pages_with_files_of_their_own_exist():
    assert all((ROOT / page).is_file() for page in FILES)


@pytest.fixture
def tiny(tmp_path) -> Measured:
    """0.314 as a share, 90 s of stage 01 and 30 s of stage 02, and a LOG with 2.5 GiB."""
    (tmp_path / "small").mkdir()
    (tmp_path / "small/07_eval.json").write_text('{"dpd": {"mean": 0.314, "n": 300}, "wall_s": 7.26}')
    times = {"calibration": {"python": 1.0}, "small": {"01_data_mix": 90, "02_pretrain": 30}}
    (tmp_path / "timings.json").write_text(json.dumps(times))
    return Measured(tmp_path, "02 peaks at 2.5 GiB.")


@pytest.mark.parametrize(
    ("text", "supported"),
    [
        ("right on 31%", True),
        ("right on 31.4%", True),
        ("right on 31.5%", False),
        ("right on 314 points", False),  # a share of 3.14 is none
        ("300%", False),  # a count is no share
        ("takes 7.3 s", True),
        ("takes 7.2 s", False),
        ("01 takes 1.5 minutes", True),
        ("all take 2 minutes", True),  # 90 s + 30 s
        ("all take 3 minutes", False),
        ("2.5 GiB", True),
        ("2.5 GB", False),  # said in LOG.md with another unit
    ],
)
def test_a_number_is_supported_as_it_is_printed(tiny, text, supported):
    (quote,) = quotes(text)
    assert tiny.holds(quote) == supported


def test_a_page_is_held_against_its_own_files(tiny):
    (quote,) = quotes("31%")
    assert tiny.holds(quote, "README.md")
    assert not tiny.holds(quote, "docs/rl.md")


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("rises by +11.9 points [+8.7, +15.1] over seeds", ["+11.9", "+8.7", "+15.1"]),
        ("rises by +11.9 [+8.7, +15.1] points", ["+11.9", "+8.7", "+15.1"]),
        ("takes 74 to 95 s", ["74", "95"]),
        ("94.8% of 249 and 93.7% of 205", ["94.8", "93.7"]),
        ("2,300 jobs/s and 1.3 times as long", ["2,300", "1.3"]),
        ("commit 7752b94, arXiv 2512.06266, SHA 3s5", []),
        ("`nbkit run` takes `5 s`", []),
        ("55 small skills, 3 of 4, 2 cores", []),
        ("```\n5 s\n```\n<!-- nbkit results: x -->\n31%\n<!-- end -->\n", []),
        (
            "| stage | minutes |\n|---|---|\n| 01 | 0.7 |\n| 02 | 10 |\n\n| n | k |\n|---|---|\n| 3 | 4 |",
            ["0.7", "10"],
        ),
    ],
)
def test_numbers_with_a_unit_are_found(text, numbers):
    assert [quote.number for quote in quotes(text)] == numbers


def test_a_failure_says_where_and_what_to_do(tiny):
    (line,) = unsupported("docs/filter.md", "", "\nIt runs at\n9.9 MB/s.", tiny)
    assert line.startswith("docs/filter.md, line 3: 9.9 (MB/s) is in no file")
    assert "LOG.md" in line and "tests/quoted_numbers.txt" in line
