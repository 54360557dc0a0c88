"""`nbkit verify RUN` on tiny published runs: numbers from records, and what is said when they differ."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest
from published import BASE, BASELINE, COLD, QUESTIONS, change, tiny_run, vouch

from nbkit.cli.check import evaluation, places
from nbkit.cli.commands import main
from nbkit.evals.score import Estimate
from nbkit.run import files


@pytest.fixture
def seven(tmp_path):
    """The folder of 07 of a whole tiny run."""
    return tiny_run(tmp_path / "run")


def verify(folder, *more: str) -> int:
    return main(["verify", str(folder), *more])


def test_a_whole_run_is_computed_anew(seven, capsys):
    assert verify(seven.parent) == 0
    out = capsys.readouterr().out
    for line in (
        "results FG-WSD base: ok, 25 values from 4 questions x 2 samples",
        "results 10x baseline + SFT: ok",
        "stage_gain cold start: ok, 4 values",
        "stage_p cold start: ok, 2 values",
        "format cold start ends by itself: ok, 4 values from the logged stop reasons and lengths",
        "format cold start tokens: ok, 5 values",
        "final_minus_baseline: ok, 4 values",
        "ledger cold-start: ok",
        "example: ok",
        "headline: ok, 5 texts",
        "no records are kept of: results (stopped)",
        "curve 1: ok, 1 values from loss_student_vanilla.jsonl, 2 rows",
        "no records are kept of: fg_minus_vanilla, curve (arm, loss)",
        "7 artifacts checked, 0 problems",
    ):
        assert line in out, line
    assert "DIFFERS" not in out and "other code" not in out


def test_derived_numbers_by_hand(seven):
    place = places.find(str(seven.parent))
    found, notes = evaluation.derive(place.read("07_eval"), place)
    values = {part.path: part.value for part in found}
    assert not notes
    assert values["results", COLD]["overall"]["mean"] == 0.5  # (1 + 1/2 + 0 + 1/2) / 4
    assert values["results", COLD]["by_domain"]["math"]["mean"] == 0.75
    assert values["results", BASELINE]["infra"] == 1
    assert values["results", BASELINE]["overall"]["n"] == 3
    assert values["stage_gain", COLD]["mean"] == pytest.approx(1 / 3)  # +1, 0, 0 on unseen operands
    assert values["final_minus_baseline",]["mean"] == pytest.approx(
        1 / 3
    )  # +1/2, +1/2, 0: general is left out
    assert values["pipeline_minus_baseline",]["n"] == 3
    assert values["ledger", "cold-start"]["verdict"] == "inconclusive"  # three questions, an interval with 0
    assert values["ledger", "fg-wsd-base"]["mean"] == -0.004


@pytest.mark.parametrize(
    ("edit", "line"),
    [
        (
            lambda m: m["results"][COLD]["overall"].update(mean=0.6),
            "results cold start: DIFFERS: overall.mean stored 0.6, derived 0.5",
        ),
        (
            lambda m: m["stage_gain"][COLD].update(n=4),
            "stage_gain cold start: DIFFERS: n stored 4, derived 3",
        ),
        (
            lambda m: next(r for r in m["ledger"] if r["id"] == "cold-start").update(verdict="reproduced"),
            "ledger cold-start: DIFFERS: verdict stored 'reproduced', derived 'inconclusive'",
        ),
        (lambda m: m["example"].update(wanted="8"), "example: DIFFERS: wanted stored '8', derived '7'"),
        (
            lambda m: m["format"][COLD]["tokens"].update(p90=90.0),
            "format cold start tokens: DIFFERS: p90 stored 90, derived 96",
        ),
        (lambda m: m["stage_gain"].clear(), "stage_gain cold start: DIFFERS: mean stored nothing"),
    ],
)
def test_a_number_that_does_not_follow_is_told(seven, capsys, edit, line):
    change(seven, "metrics.json", edit)
    assert verify(seven) == 1
    assert line in capsys.readouterr().out


def test_a_headline_that_does_not_follow_is_told(seven, capsys):
    headline = files.read_json(seven / "manifest.json")["headline"] | {COLD: "99.0% [98.0, 100.0]"}
    vouch(seven, headline=headline)
    assert verify(seven) == 1
    assert (
        "headline: DIFFERS: cold start stored 99.0% [98.0, 100.0], derived 50.0%" in capsys.readouterr().out
    )


def test_a_headline_over_all_splits_of_an_older_version_is_held_against_these(seven, capsys):
    results = files.read_json(seven / "metrics.json")["results"]
    older = {name: str(Estimate(**result["overall"])) for name, result in results.items()}
    headline = files.read_json(seven / "manifest.json")["headline"] | older
    vouch(seven, headline=headline)
    assert verify(seven) == 1, "the headline of today is on unseen operands, and says so"
    del headline["asked"]
    capsys.readouterr()
    vouch(seven, headline=headline)
    assert verify(seven) == 0
    assert "headline: ok, 5 texts" in capsys.readouterr().out
    # One that follows from neither is told still.
    vouch(seven, headline=headline | {COLD: "99.0% [98.0, 100.0]"})
    assert verify(seven) == 1
    assert "headline: DIFFERS: cold start stored 99.0% [98.0, 100.0]" in capsys.readouterr().out


def test_a_headline_under_the_short_names_of_an_older_version_is_checked_too(seven, capsys):
    headline = files.read_json(seven / "manifest.json")["headline"]
    vouch(seven, headline=headline | {"final_minus_baseline": "99.0% [98.0, 100.0]"})
    assert verify(seven) == 1
    assert "final_minus_baseline stored 99.0% [98.0, 100.0], derived" in capsys.readouterr().out


def test_another_record_changes_every_number_that_rests_on_it(seven, capsys):
    path = seven / "logs/answers_cold_start.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    rows[1]["right"] = [False, False]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    vouch(seven)
    assert verify(seven) == 1
    out = capsys.readouterr().out
    assert "overall.mean stored 0.5, derived 0.375" in out
    assert "stage_gain cold start: DIFFERS" in out and "ledger cold-start: DIFFERS" in out
    assert "results FG-WSD base: ok" in out


def test_a_file_changed_by_hand_is_told_by_its_hash_too(seven, capsys):
    content = files.read_json(seven / "metrics.json")
    content["results"][COLD]["overall"]["mean"] = 0.9
    files.write_json(seven / "metrics.json", content)
    assert verify(seven) == 1
    out = capsys.readouterr().out
    assert "DIFFERS: metrics.json was changed after it was published" in out
    assert "overall.mean stored 0.9, derived 0.5" in out
    assert verify(seven, "--hashes") == 1
    assert "derived" not in capsys.readouterr().out


def test_a_log_that_is_cut_is_told_by_its_line(seven, capsys):
    path = seven / "logs/answers_cold_start.jsonl"
    path.write_text(path.read_text()[:-20])
    vouch(seven)
    assert verify(seven) == 1
    assert "records: DIFFERS: cannot be read: answers_cold_start.jsonl, line 4" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("vouched", "told"), [(False, "differs from what _SUCCESS"), (True, "not valid JSON")]
)
def test_a_manifest_that_is_cut_is_told(seven, capsys, vouched, told):
    path = seven / "manifest.json"
    path.write_text(path.read_text()[:100])
    if vouched:
        files.atomic_write(seven / "_SUCCESS", files.sha256(path) + "\n")
    assert verify(seven) == 1
    assert (
        f"07_eval              DIFFERS: manifest.json {'is ' if vouched else ''}{told}"
        in capsys.readouterr().out
    )


def test_a_run_without_07_is_checked_as_far_as_it_goes(seven, capsys):
    assert verify(seven.parent / "02_pretrain") == 0
    assert "07_eval" not in capsys.readouterr().out, "one stage alone"
    for path in sorted(seven.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    seven.rmdir()
    assert verify(seven.parent) == 0
    assert "07_eval              not run yet" in capsys.readouterr().out


def test_a_run_that_is_not_there_is_wrong_usage(tmp_path, capsys):
    assert verify(tmp_path / "nowhere") == 2
    assert "wanted a profile or the folder of a run" in capsys.readouterr().err
    assert verify("smal") == 2
    assert "did you mean 'small'?" in capsys.readouterr().err
    assert verify(tmp_path) == 2
    assert "holds no folder of a stage" in capsys.readouterr().err
    (tmp_path / "05_dpd.json").write_text("{}")
    assert verify(tmp_path) == 2
    assert "holds published metrics (01_data_mix.json, ...), not a run" in capsys.readouterr().err


def test_ledger_is_left_out_where_its_metrics_were_made_anew(seven, capsys):
    change(seven.parent / "02_pretrain", "metrics.json", lambda m: m["fg_minus_vanilla"].update(mean=0.2))
    assert verify(seven) == 0
    out = capsys.readouterr().out
    assert "not checked: ledger: the metrics of 02_pretrain that it was computed from are not here" in out
    assert "ledger cold-start" not in out and "stage_gain cold start: ok" in out


# --- runs of another version of the code ----------------------------------------------------------------


def test_intervals_of_other_code_are_told_and_do_not_count(seven, capsys):
    code = files.read_json(seven / "manifest.json")["code"] | {"evals/score.py": "older"}
    vouch(seven, code=code)
    change(seven, "metrics.json", lambda m: m["results"][COLD]["overall"].update(low=0.1))
    assert verify(seven) == 0
    out = capsys.readouterr().out
    assert "made by other code (012345678; 1 modules differ), checked by today's" in out
    assert "not checked, evals/score.py changed since: overall.low stored 0.1" in out
    change(seven, "metrics.json", lambda m: m["results"][COLD]["overall"].update(mean=0.6))
    assert verify(seven) == 1, "a mean follows from the marks, whatever the code"
    assert "DIFFERS: overall.mean stored 0.6, derived 0.5" in capsys.readouterr().out


def without_domains(folder) -> None:
    """Logs as an older 07 wrote them."""
    for path in folder.glob("logs/*.jsonl"):
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        kept = [{k: v for k, v in row.items() if k not in ("domain", "split")} for row in rows]
        path.write_text("".join(json.dumps(row) + "\n" for row in kept))
    vouch(folder)


@pytest.mark.parametrize("same", [True, False])
def test_older_records_get_their_domains_from_the_same_questions(seven, capsys, monkeypatch, same):
    without_domains(seven)

    def drawn(names, count, split="operands"):
        rows = [q for q in QUESTIONS if q["split"] == split]
        return [SimpleNamespace(level=1, **q) for q in (rows if same else rows[1:])]

    monkeypatch.setattr("nbkit.tasks.sets.evaluation_tasks", drawn)
    assert verify(seven) == 0
    out = capsys.readouterr().out
    assert ("stage_gain cold start: ok" in out) == same
    assert ("this nbkit draws other questions than the run was asked" in out) == (not same)
    assert f"results {BASE}: ok, {25 if same else 5} values" in out
