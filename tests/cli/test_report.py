"""The HTML report: complete, partial and failed profiles; nothing fetched; text escaped."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from nbkit.cli import report
from nbkit.cli.commands import main
from nbkit.run import files


class Fetches(HTMLParser):
    """Collects what a browser would load, and checks that every row has as many cells as the head."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.loaded: list[str] = []
        self.tags: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        values = dict(attrs)
        if tag in ("script", "iframe"):
            self.loaded.append(f"{tag} {values}")
        self.loaded += [v for k, v in attrs if v and (k == "src" or (k == "href" and tag == "link"))]


def remote(text: str) -> list[str]:
    loaded = [v for v in Fetches(text).loaded if not v.startswith("data:")]
    return loaded + re.findall(r"(?:url\(|@import)\s*[\"']?(?:https?:)?//[^)\s]*", text)


@pytest.fixture
def last_with_ledger(project: Path) -> Path:
    """The last stage records a ledger and a figure, and prints what must be escaped."""
    path = project / "notebooks/03_last.ipynb"
    content = json.loads(path.read_text())
    content["cells"][-1]["source"] = """
import matplotlib
from matplotlib import pyplot
figure, axis = pyplot.subplots(figsize=(2, 1))
axis.plot([1, 2])
run.figure(figure, "loss_curve")
print("<b>not bold</b>")
row = {"id": "C1", "claim": "a < b & c", "report": 38.5, "ours": 0.123456, "n": 5, "mean": 0.1, "low": -0.05}
run.record(ledger=[row | {"high": 0.25, "verdict": "not reproduced"}])
run.publish({"gain <x>": 0.123456})
"""
    path.write_text(json.dumps(content))
    return project


def test_full_report_is_self_contained(last_with_ledger, capsys):
    assert main(["run", "--profile", "tiny"]) == 0
    folder = last_with_ledger / "outputs/tiny/report"
    assert sorted(p.name for p in folder.iterdir()) == [
        "01_make.html",
        "02_use.html",
        "03_last.html",
        "index.html",
    ]
    pages = {p.name: p.read_text() for p in folder.iterdir()}
    for name, text in pages.items():
        assert remote(text) == [], name
        assert "viewport" in text, "readable on a phone"
    index = pages["index.html"]
    assert index.count('class="complete"') == 3 and "GiB" in index
    assert "gain &lt;x&gt;: <b>0.123</b>" in index
    assert "<td>a &lt; b &amp; c</td><td>38.5</td><td>0.123</td><td>5</td>" in index
    assert '<span class="not-reproduced">not reproduced</span>' in index
    assert index.count('src="data:image/png;base64,') == 1 and "loss curve" in index
    assert "prefers-color-scheme: dark" in index
    assert "$x_1 &lt; 2$" in pages["01_make.html"], "formulas stay readable as text"
    assert (
        "&lt;b&gt;not bold&lt;/b&gt;" in pages["03_last.html"]
        and "back to the report" in pages["03_last.html"]
    )
    figure = last_with_ledger / "outputs/tiny/03_last/figures/loss_curve.png"
    assert figure.read_bytes()[:4] == b"\x89PNG"


def test_report_of_an_empty_profile_and_of_a_failed_stage(project):
    index = report.build("tiny").read_text()
    assert index.count('class="missing"') == 3 and "Claim ledger" not in index
    assert main(["run", "--profile", "tiny", "--only", "01", "-p", "fail=raise"]) == 1
    index = report.build("tiny").read_text()
    assert index.count('class="failed"') == 1 and index.count('class="missing"') == 2
    page = (project / "outputs/tiny/report/01_make.html").read_text()
    assert "the marker of this failure" in page and remote(page) == []


def test_report_survives_a_parameter_file_that_no_longer_fits(project):
    namespace: dict = {}
    for cell in json.loads((project / "notebooks/01_make.ipynb").read_text())["cells"][1:]:
        exec(cell["source"], namespace)
    (project / "params/tiny/01_make.yaml").write_text("profile: tiny\nstpes: 1\n")
    index = report.build("tiny").read_text()
    assert 'class="stale"' in index and "did you mean &#x27;steps&#x27;" in index


def test_an_unfinished_last_stage_shows_no_ledger(project):
    files.write_json(project / "outputs/tiny/03_last/metrics.json", {"ledger": [{"id": "C1"}]})
    assert "Claim ledger" not in report.build("tiny").read_text()


def test_offline_removes_what_would_be_fetched():
    head = '<SCRIPT src="https://a/x.js"></SCRIPT ><link rel=stylesheet href="//a/b.css">'
    page = head + "<p>kept</p><script>1\n</script>"
    assert report.offline(page) == "<p>kept</p>"


@pytest.mark.parametrize(
    ("value", "text"), [(0.123456, "0.123"), (None, "–"), (5, "5"), ("<a>", "&lt;a&gt;")]
)
def test_number(value, text):
    assert report.number(value) == text
