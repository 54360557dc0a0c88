"""The report's pages: well formed, self-contained, escaped, whatever the state of the run."""

from __future__ import annotations

import json

import pytest
from page_checks import Page, remote
from tiny_runs import EXAMPLE, LEDGER, STAGES, fail, last_stage, play, ran

from nbkit.cli import report
from nbkit.cli.commands import main
from nbkit.cli.report import notebook, pages

__all__ = ["ran"]
HOSTILE = "</td></p><script>alert(1)</script><img src=http://evil.example/x onerror=alert(2)>\"'&{{ 1 }}"


def index(play: bool = False) -> str:
    """The first page, without those of the notebooks, which take seconds."""
    return pages.index("tiny", dict.fromkeys(STAGES, ""), play)


def checked(text: str) -> Page:
    """The page, after what holds for every one of them."""
    page = Page(text)
    assert page.wrong == []
    assert remote(text) == []
    assert 'name="viewport"' in text and "prefers-color-scheme: dark" in text
    assert not set(page.tags) & {"script", "iframe", "link", "form", "input"}
    assert len(page.ids) == len(set(page.ids))
    assert [link for link in page.links if link.startswith("#") and link[1:] not in page.ids] == []
    return page


@pytest.mark.slow  # three kernels; the smoke test of the notebooks asks the same of a real run
def test_a_whole_run_ends_with_its_report(project, capsys):
    last_stage(project)
    content = json.loads((project / "notebooks/03_last.ipynb").read_text())
    content["cells"][-1]["source"] = 'print("<b>not bold</b>")\n' + content["cells"][-1]["source"]
    (project / "notebooks/03_last.ipynb").write_text(json.dumps(content))
    assert main(["run", "--profile", "tiny"]) == 0
    folder = project / "outputs/tiny/report"
    assert str(folder / "index.html") in capsys.readouterr().out
    written = {p.name: p.read_text() for p in folder.iterdir()}
    assert sorted(written) == ["01_make.html", "02_use.html", "03_last.html", "index.html"]
    page = checked(written["index.html"])
    assert [link for link in page.links if not link.startswith("#")] == [f"{s}.html" for s in STAGES]
    for name in (f"{stage}.html" for stage in STAGES):
        assert remote(written[name]) == [] and "back to the report" in written[name]
    assert "<msub>" in written["01_make.html"] and "$x_1" not in written["01_make.html"], "formulas are drawn"
    assert "&lt;b&gt;not bold&lt;/b&gt;" in written["03_last.html"]
    figure = project / "outputs/tiny/03_last/figures/loss_curve.png"
    assert figure.read_bytes()[:4] == b"\x89PNG"
    # Papermill timed the cells.
    assert "the cell does" in page.text and 'with run.artifact("numbers.json") as temp:' in page.text


def test_what_the_page_shows(ran):
    text = index()
    page = checked(text)
    assert text.count('class="badge complete"') == 3
    assert "gain &lt;x&gt;" in text and "<b>0.123</b>" in text
    assert '<b>13.2%</b> <span class="quiet small">[10.2%, 16.2%]</span>' in text
    assert "c &lt; d &amp; e" in text and '<td class="word against">✗ contradicted</td>' in text
    assert text.count('src="data:image/png;base64,') == 2, "the ladder stands once, on the first screen"
    assert 'class="reply wrong"' in text and 'class="reply right"' in text
    assert page.text.index("What held.") < page.text.index("One question") < page.text.index("Stages\n")
    assert page.text.index("Claims of the report") < page.text.index("Our own ablations")
    assert "play.html" not in page.links


def test_hostile_text_stays_text(project):
    rows = [row | {"claim": HOSTILE, "report": HOSTILE, "ours": HOSTILE} for row in LEDGER]
    rows[0]["verdict"] = HOSTILE
    answers = {HOSTILE: {"text": HOSTILE, "right": False}, "b": {"text": f"<think>{HOSTILE}", "right": True}}
    last_stage(project, rows, EXAMPLE | {"question": HOSTILE, "wanted": HOSTILE, "answers": answers})
    for stage in STAGES:
        play(project, stage)
    page = checked(index())
    assert page.text.count(HOSTILE) >= 12


def test_a_link_to_the_page_that_talks_where_it_will_be_written(ran):
    assert "play.html" in Page(index(play=True)).links


def test_an_empty_profile(project):
    text = index()
    page = checked(text)
    assert text.count('class="badge missing"') == 3 and "No claim has been judged yet" in text
    assert "nbkit run --profile tiny" in text and [p for p in page.links if p.endswith(".html")] == []


def test_a_failed_stage(ran):
    fail(ran, "01_make")
    text = report.build("tiny").read_text()
    page = checked(text)
    assert text.count('class="badge failed"') == 1 and "RuntimeError: &lt;b&gt;why&lt;/b&gt;" in text
    assert "01_make.html" in page.links
    failed = (ran / "outputs/tiny/report/01_make.html").read_text()
    assert "RuntimeError" in failed and remote(failed) == []


def test_a_parameter_file_that_no_longer_fits(ran):
    (ran / "params/tiny/01_make.yaml").write_text("profile: tiny\nstpes: 1\n")
    text = index()
    checked(text)
    assert 'class="badge stale"' in text and "did you mean &#39;steps&#39;" in text


def test_other_parameters_than_the_profiles_are_marked(ran):
    (ran / "params/tiny/01_make.yaml").write_text("profile: tiny\nsteps: 9\n")
    text = index()
    assert text.count('<tr class="differs">') == 1 and "(profile: 9)" in text
    assert "1 differs from params/tiny/ of today" in text


def test_an_old_report_stays_until_the_new_one_is_whole(ran, monkeypatch):
    before = ran / "outputs/tiny/report/index.html"
    before.parent.mkdir()
    before.write_text("the old one")

    def broken(*_, **__):
        raise OSError("no space")

    monkeypatch.setattr(notebook, "write_page", lambda *_: "")
    monkeypatch.setattr(pages, "render", broken)
    with pytest.raises(OSError, match="no space"):
        report.build("tiny")
    assert before.read_text() == "the old one"


def test_offline_removes_what_would_be_fetched():
    head = '<SCRIPT src="https://a/x.js"></SCRIPT ><link rel=stylesheet href="//a/b.css">'
    page = head + "<p>kept</p><script>1\n</script>"
    assert notebook.offline(page) == "<p>kept</p>"
