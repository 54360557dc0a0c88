"""`nbkit params`: cells and files are written from the schemas and params/<profile>.yaml, and compared."""

from __future__ import annotations

import json

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from nbkit.cli import generate
from nbkit.cli.commands import main
from nbkit.run import params, yaml_text
from nbkit.run.schemas.base import Common, par

ABOUT = 'about: "for tests"\n'


@pytest.fixture
def synced(project):
    """The throwaway project with a file for each profile, and all that is generated up to date."""
    (project / "params/tiny.yaml").write_text(ABOUT + "01_make:\n  steps: 7\n  lr: 1e-2\n")
    (project / "params/other.yaml").write_text(
        ABOUT + 'mark_sources: true\n01_make:\n  steps: {value: 9, source: "report (table 3)"}\n'
    )
    generate.sync()
    return project


def test_the_repository_is_up_to_date(capsys):
    assert main(["params", "--check"]) == 0
    assert capsys.readouterr().out.startswith("parameters cells and params/<profile>/ agree with ")


def test_sync_writes_all_parameters_of_all_profiles(synced):
    assert (synced / "params/tiny/01_make.yaml").read_text() == (
        "# tiny / 01_make: for tests\n"
        "# Written by `nbkit params --sync`; change nbkit/run/schemas/ or params/tiny.yaml.\n"
        'profile: "tiny"  # which params/<profile>/ and outputs/<profile>/ this run belongs to\n'
        "seed: 0  # seed of python, numpy and torch\n"
        "steps: 7  # steps\n"
        "lr: 0.01  # learning rate\n"
        "shuffle: true  # shuffle the rows\n"
        'fail: "no"  # what goes wrong\n'
    )
    assert params.load_profile("other", "02_use") == {"profile": "other", "seed": 0, "factor": 2}
    assert generate.differences() == []
    assert generate.sync() == []


def test_what_stands_in_comments_is_one_line(synced):
    (synced / "params/tiny.yaml").write_text("about: |\n  for\n  tests\n")
    generate.sync()
    assert (synced / "params/tiny/01_make.yaml").read_text().startswith("# tiny / 01_make: for tests\n")


def test_a_lost_line_end_is_told(synced):
    path = synced / "params/tiny/02_use.yaml"
    path.write_text(path.read_text().rstrip())
    assert generate.differences() == ["params/tiny/02_use.yaml, line 6: has no such line, wanted ``"]


def test_marked_profiles_say_where_each_value_comes_from(synced):
    lines = (synced / "params/other/01_make.yaml").read_text().splitlines()
    assert "steps: 9  # report (table 3) | steps" in lines
    assert "lr: 0.001  # our choice | learning rate" in lines
    assert "seed: 0  # seed of python, numpy and torch" in lines


def test_sync_touches_only_the_parameters_cell(synced):
    path = synced / "notebooks/01_make.ipynb"
    before = json.loads(path.read_text())
    assert "".join(before["cells"][2]["source"]).startswith('profile: str = "small"  # which params/')
    assert params.parameters_cell(path)["steps"] == ("int", 4)
    before["cells"][2]["source"] = "steps: int = 5"
    path.write_text(json.dumps(before))
    assert generate.sync() == [path]
    after = json.loads(path.read_text())
    del before["cells"][2]["source"], after["cells"][2]["source"]
    assert after == before


@pytest.mark.parametrize(
    ("name", "old", "new", "told"),
    [
        (
            "params/tiny/01_make.yaml",
            "steps: 7",
            "steps: 8",
            "params/tiny/01_make.yaml, line 5: has `steps: 8  # steps`, wanted `steps: 7  # steps`",
        ),
        (
            "params/tiny/01_make.yaml",
            "steps: 7  # steps",
            "steps: 7  # stairs",
            "wanted `steps: 7  # steps`",
        ),
        (
            "params/tiny.yaml",
            "steps: 7",
            "steps: 8",
            "params/tiny/01_make.yaml, line 5: has `steps: 7  # steps`, wanted `steps: 8  # steps`",
        ),
        (
            "notebooks/02_use.ipynb",
            "factor: int = 2",
            "factor: int = 3",
            "notebooks/02_use.ipynb, parameters cell, line 3: has `factor: int = 3  # multiplier`, wanted "
            "`factor: int = 2  # multiplier`",
        ),
    ],
)
def test_check_says_what_differs_and_what_mends_it(synced, capsys, name, old, new, told):
    path = synced / name
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    assert main(["params", "--check"]) == 1
    out, err = capsys.readouterr()
    assert told in out
    assert len(out.splitlines()) == 1
    assert "`nbkit params --sync` writes them anew" in err
    assert main(["params", "--sync"]) == 0
    assert main(["params", "--check"]) == 0


def test_missing_files_are_told_and_made(synced):
    (synced / "params/tiny/02_use.yaml").unlink()
    assert generate.differences() == ["params/tiny/02_use.yaml: is missing"]
    (synced / "params/new.yaml").write_text(ABOUT)
    generate.sync()
    assert params.load_profile("new", "02_use")["factor"] == 2
    assert params.load_profile("tiny", "02_use")["factor"] == 2


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("01_make:\n  stpes: 7\n", "tiny.yaml: 01_make: unknown parameter 'stpes' (did you mean 'steps'?)"),
        ("01_make:\n  steps: 0\n", "tiny.yaml: 01_make: steps=0 is out of range [1, 100]: steps"),
        ("01_make:\n  steps: 010\n", "tiny.yaml: 01_make: steps=010 is 8 to YAML 1.1"),
        ("01_make:\n  steps: 1\n  steps: 2\n", "tiny.yaml: key 'steps' stands twice"),
        ("01_make:\n  fail: a #b\n", "tiny.yaml: fail: the value ends at 'a'"),
        ("01_mkae:\n  x: 7\n", "tiny.yaml: unknown stage '01_mkae' (did you mean '01_make'?); stages: "),
        ("01_make: 7\n", "tiny.yaml: 01_make: got 7, wanted `name: value` lines below it"),
        ("01_make:\n", "tiny.yaml: 01_make: got None"),
        ("01_make:\n  steps: {value: 7}\n", "tiny.yaml: steps: got {'value': 7}, wanted a value, or {"),
        ("01_make:\n  steps: {value: 7, source: talk}\n", "begins with our choice, report, released config"),
        ("mark_sources: 1\n", "mark_sources=1"),
        ("about: 5\n", "key 'about' stands twice"),
    ],
)  # fmt: skip
def test_mistakes_in_a_profile_are_told_with_the_file(synced, capsys, text, told):
    (synced / "params/tiny.yaml").write_text(ABOUT + text)
    assert main(["params", "--check"]) == 2
    error = capsys.readouterr().err
    assert told in error
    assert str(synced / "params") in error


def test_a_profile_without_an_about_or_without_its_file_is_told(synced):
    (synced / "params/tiny.yaml").write_text("01_make:\n  steps: 7\n")
    with pytest.raises(ValueError, match="tiny.yaml: got about=None"):
        generate.sync()
    (synced / "params/tiny.yaml").unlink()
    with pytest.raises(ValueError, match="params/tiny has no tiny.yaml beside it.*write one with what"):
        generate.sync()


class Wide(Common):
    names: list[str] = par(["a" * 20, "b" * 20, "c" * 20, "d" * 20, "e" * 20], "of " + "many " * 30)
    rows: int | None = par(None, "rows, or null for all", source="report")
    big: int = par(1_234_567, "a number")


def test_lines_of_a_cell_are_as_wide_as_ruff_wants():
    lines = generate.cell(Wide).splitlines()
    assert max(map(len, lines)) <= generate.WIDTH
    assert lines[2].startswith("# of many many")
    assert lines[lines.index("names: list[str] = [") + 1] == f'    "{"a" * 20}",'
    assert lines[-2:] == [
        "rows: int | None = None  # rows, or null for all [report]",
        "big: int = 1_234_567  # a number",
    ]


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda items: st.lists(items, max_size=3),
    max_leaves=4,
)


@given(VALUES)
def test_any_value_is_read_back_as_it_was(value):
    written = f"key: {generate.yaml_value(value)}  # comment"
    assert yaml.safe_load(written) == {"key": value}  # papermill
    assert yaml_text.read_mapping(written) == {"key": value}
    assert eval(generate.python_text(value)) == value
