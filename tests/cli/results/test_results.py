"""The committed pages are what `nbkit results` makes; links and imports in README and docs lead somewhere."""

import ast
import importlib
import json
import re
import runpy
import shutil
from pathlib import Path

import pytest

from nbkit.cli.commands import main
from nbkit.cli.results import claims_table, command, ladder, text
from nbkit.cli.results.reference import Reference
from nbkit.evals import claims

ROOT = Path(__file__).resolve().parents[3]
REFERENCE = Reference(ROOT / "outputs" / "reference")
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
LINK = re.compile(r"\]\(([^)\s]+)\)")
BLOCK = re.compile(r"```python\n(.*?)```", re.DOTALL)


@pytest.fixture
def copy(tmp_path, monkeypatch) -> Path:
    """A checkout of pages and results alone."""
    for name in ("notebooks", "params"):
        (tmp_path / name).mkdir()
    shutil.copytree(ROOT / "outputs" / "reference", tmp_path / "outputs" / "reference")
    shutil.copytree(ROOT / "docs", tmp_path / "docs")
    shutil.copy(ROOT / "README.md", tmp_path / "README.md")
    monkeypatch.setenv("NBKIT_ROOT", str(tmp_path))
    return tmp_path


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    heads = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head).strip().lower().replace(" ", "-") for head in heads}


def test_the_committed_pages_are_what_the_command_makes():
    for path, wanted in command.pages(ROOT, REFERENCE).items():
        assert path.read_text(encoding="utf-8") == wanted, f"run `nbkit results`: {path.name} is older"


def test_the_page_says_why_fg_wsd_has_several_numbers():
    text_of = (ROOT / "docs/results.md").read_text(encoding="utf-8")
    ladder_section = text_of.partition("## The ladder")[2].partition("\n## ")[0]
    assert "one greedy answer (02)" in ladder_section and "three sampled ones" in ladder_section


def test_the_command_writes_what_changed_and_check_only_says_so(copy, capsys):
    assert main(["results", "--check"]) == 0
    path = copy / "outputs/reference/small/07_eval.json"
    found = json.loads(path.read_text())
    found["results"]["RL: + preference"]["by_split"]["operands"] |= {"mean": 0.99, "high": 1.0}
    path.write_text(json.dumps(found))
    assert main(["results", "--check"]) == 1
    assert "docs/results.md" in capsys.readouterr().out
    assert main(["results"]) == 0
    assert "| RL: + preference | 99% " in (copy / "docs/results.md").read_text()
    assert re.search(r"\*\*The ladder .*\*\* .*RL: \+ preference 99%[.;]", (copy / "README.md").read_text())
    assert main(["results", "--check"]) == 0


def test_a_number_without_a_source_is_refused(copy, capsys):
    (copy / "outputs/reference/new.json").write_text("{}")
    assert main(["results"]) == 2
    assert "new.json: in outputs/reference/ or in its sources.json, wanted in both" in capsys.readouterr().err


def test_a_readme_without_marks_is_refused(copy, capsys):
    (copy / "README.md").write_text("# nbkit\n")
    assert main(["results"]) == 2
    assert "put the two marks back" in capsys.readouterr().err


def test_the_reports_claims_come_first_and_of_them_those_that_held():
    rows = claims_table.rows(REFERENCE)
    order = [([*claims.OWNERS].index(row.of), claims.VERDICTS.index(row.verdict)) for row in rows]
    assert order == sorted(order)
    assert len(rows) == len(claims.claims()) + 2, "planted pools and equal compute are not in it"
    found = {row.id: row for row in rows}
    assert set(claims_table.CHIEF) <= set(found)
    assert found["dpd"].ours == "+1.3 [+0.3, +2.3]"
    assert found["dpd"].verdict == "reproduced"
    for row in filter(lambda row: row.estimate, rows):
        above, below = row.estimate["low"] > 0, row.estimate["high"] < 0
        assert (row.verdict in ("reproduced", "trend")) == above, row.id
        assert (row.verdict == "contradicted") == below, row.id
        # Only a comparison that shows nothing says what it could have shown.
        assert (row.smallest != "-") == (not above and not below), row.id
    assert found["dpd-then-rl"].ours == "not measured"


def test_the_readme_shows_the_chief_claims_that_were_measured(copy):
    # No study measured it.
    for file in ladder.STUDIES:
        path = copy / "outputs/reference" / file
        study = json.loads(path.read_text())
        others = [row for row in study["claims"] if row["id"] != "cold-start-own"]
        path.write_text(json.dumps(study | {"claims": others}))
    # A claim that the study did not measure, and then the same one measured.
    row = next(row for row in others if row["id"] == "cold-start") | {"id": "cold-start-own"}
    path.write_text(json.dumps(study | {"claims": [*others, row | {"mean": None}]}))
    shown = {row.id for row in claims_table.chief(Reference(copy / "outputs/reference"))}
    assert shown == set(claims_table.CHIEF) - {"cold-start-own"}
    row |= {"mean": 0.3, "low": 0.2, "high": 0.4, "seeds": 5}
    path.write_text(json.dumps(study | {"claims": [*others, row]}))
    shown = {row.id: row for row in claims_table.chief(Reference(copy / "outputs/reference"))}
    assert set(shown) == set(claims_table.CHIEF)
    assert shown["cold-start-own"].verdict == "reproduced"
    assert shown["cold-start-own"].commit == REFERENCE.commit(ladder.STUDY)
    # The README has room for it.
    assert main(["results"]) == 0
    readme = (copy / "README.md").read_text(encoding="utf-8")
    assert "the domains that it teaches (math, science, code) | +30.0 [+20.0, +40.0] | 5 |" in readme
    assert len(readme.split()) <= 1300


def test_the_readme_has_a_table_for_the_report_and_one_for_our_controls():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    report, own = readme.index("| claim of the report |"), readme.index("| our control |")
    assert report < readme.index("| overall SFT lifts the cold start |") < own
    assert own < readme.index("| DPD beats SFT continued on the same positives, in as many steps |")
    assert re.search(r"\| inconclusive \(\d+\.\d\) \|", readme), "with the smallest effect it could show"
    assert "docs/statistics.md" in readme


def test_our_controls_have_no_column_for_the_report():
    page = (ROOT / "docs" / "results.md").read_text(encoding="utf-8")
    report, own = page.index("### Claims of the report"), page.index("### Our own ablations and controls")
    assert report < page.index("| claim | the report |") < own < page.index("| claim | ours, points")


def test_the_ladder_rises_only_where_every_step_does(copy):
    path = copy / "outputs/reference" / ladder.STUDY
    found = json.loads(path.read_text())
    gains = {row["id"]: row for row in found["claims"]}
    gains["dpd"] |= dict.fromkeys(("mean", "low", "high"))
    gains["rl"] |= dict.fromkeys(("mean", "low", "high"))
    for first, second, way in (
        (0.01, 0.01, "**The ladder rises at every step up to overall SFT**"),
        (-0.01, 0.01, "**The ladder rises with overall SFT**"),
        (0.01, -0.01, "**The ladder rises with the cold start**"),
        (-0.01, -0.01, "**The ladder does not rise**"),
    ):
        gains["cold-start"]["low"], gains["overall-sft"]["low"] = first, second
        path.write_text(json.dumps(found))
        assert ladder.summary(Reference(copy / "outputs/reference")).startswith(way)


def test_the_ladder_is_in_the_order_of_training():
    steps, baseline = ladder.steps(REFERENCE)
    assert [step.name for step in steps][0] == "FG-WSD base"
    assert all(step.low <= step.mean <= step.high for step in steps)
    assert baseline is None or baseline.low <= baseline.mean <= baseline.high


def test_numbers_as_text():
    estimate = {"mean": 0.0286, "low": -0.024, "high": 0.0812}
    assert text.points(estimate) == "+2.9 [-2.4, +8.1]"
    assert text.points({"mean": -1e-19, "low": -0.01, "high": 0.01}) == "0.0 [-1.0, +1.0]"
    near = {"mean": -0.053, "low": -0.106, "high": -0.0003}
    assert text.points(near) == "-5.3 [-10.6, -0.03]", "its sign decides the verdict"
    assert text.points({"mean": 0.0, "low": 1e-6, "high": 0.01}) == "0.0 [0.0, +1.0]"
    assert text.share({"mean": 0.418, "low": 0.37, "high": 0.466}) == "42% [37, 47]"
    assert text.clock(1332) == "22:12"
    assert text.table(["a", "b"], [[1, "x"]]) == "| a | b |\n|---|---|\n| 1 | x |"


def test_the_minutes_of_the_readme_are_the_measured_ones():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    times = REFERENCE.read("timings.json")["small"]
    for stage, seconds in times.items():
        (row,) = [line for line in readme.splitlines() if line.startswith(f"| [{stage}]")]
        assert float(row.split("|")[3]) == pytest.approx(seconds / 60, abs=0.5), stage
    assert f"takes {sum(times.values()) / 60:.0f} minutes" in readme


def test_the_readme_stays_short():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(readme.splitlines()) <= 150
    assert len(readme.split()) <= 1300


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    for link in LINK.findall(page.read_text(encoding="utf-8")):
        if link.startswith("http"):
            continue
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_python_in_pages_imports_what_there_is(page):
    for block in BLOCK.findall(page.read_text(encoding="utf-8")):
        for node in ast.walk(ast.parse(block)):
            if isinstance(node, ast.ImportFrom) and node.module.startswith("nbkit"):
                module = importlib.import_module(node.module)
                for alias in node.names:
                    if not hasattr(module, alias.name):
                        importlib.import_module(f"{node.module}.{alias.name}")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_files_and_modules_named_in_pages_exist(page):
    text = page.read_text(encoding="utf-8")
    for name in re.findall(r"`((?:nbkit|tests|benchmarks|params|notebooks)/[\w./-]*)`", text):
        assert (ROOT / name).exists(), name
    for module in re.findall(r"`(nbkit(?:\.\w+)+)`", text):
        parts = module.split(".")
        assert any(
            (ROOT / "/".join(parts[:end])).with_suffix(suffix).exists()
            for end in (len(parts), len(parts) - 1)
            for suffix in ("", ".py")
            if end > 1
        ), module


def test_the_lead_of_fg_wsd_follows_from_the_rows_beside_it():
    effects = runpy.run_path(str(ROOT / "benchmarks" / "fg_wsd.py"))["effects"]
    kept = REFERENCE.read("claims/fg_wsd.json")
    assert effects(kept["rows"], kept["questions"]) == kept["effects"]


def test_the_ten_times_larger_baseline_stands_with_its_compute(copy):
    path = copy / "outputs/reference" / ladder.TEN_TIMES
    found = json.loads(path.read_text())
    for run in found["runs"]:
        run["student"] |= {"parameters": 1000, "flops": 4e12}
        run["compute"] |= {"parameters": 20000, "flops": 4e12, "share of its tokens": 0.25}
    over = {"mean": 0.1, "low": 0.05, "high": 0.15, "n": 600, "seeds": 5, "per_seed": {"0": 0.1, "1": 0.1}}
    found["rows"] = [
        {"key": {"set": "operands"} | more, "value": {"mean": mean}}
        for more, mean in (({}, 0.6), ({}, 0.8), ({"baseline": "compute"}, 0.1))
    ]
    found["effects"] = {"compute, operands": {"over runs": over}}
    path.write_text(json.dumps(found))
    said = ladder.ten_times(Reference(copy / "outputs/reference"))
    assert "(1,000 parameters" in said and "a model of 20,000" in said
    assert "| operands | 25% | 4e+12 / 4e+12 | 70% / 10% | +10.0 [+5.0, +15.0] | +10.0, +10.0 |" in said
    row = next(r for r in claims_table.rows(Reference(copy / "outputs/reference")) if r.id == "equal-compute")
    assert (row.verdict, row.of, row.ours) == ("reproduced", "kit", "+10.0 [+5.0, +15.0]")
