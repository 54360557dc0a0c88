"""`nbkit compare RUN_A RUN_B`: what differs is listed, and the table of tolerances decides."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from published import BASE, COLD, change, tiny_run, vouch

from nbkit.cli.check import tolerances
from nbkit.cli.commands import main
from nbkit.run import files

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def runs(tmp_path):
    """Two equal runs; the folders of their 07."""
    first = tiny_run(tmp_path / "a")
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    return first, tmp_path / "b" / "07_eval"


def compare(runs, *more: str) -> int:
    return main(["compare", str(runs[0].parent), str(runs[1].parent), *more])


def test_equal_runs_agree(runs, capsys):
    assert compare(runs) == 0
    out = capsys.readouterr().out
    assert "Made with the same parameters, code, data, packages and kind of machine." in out
    assert "The runs agree" in out and " 0 within tolerance, 0 do not agree" in out


def test_what_they_were_made_with_is_listed_and_decides_nothing(runs, capsys, tmp_path):
    manifest = files.read_json(runs[1] / "manifest.json")
    code = manifest["code"] | {"evals/score.py": "other"}
    packages, values = {"torch": "2.14.0", "trl": "1.0"}, manifest["params"] | {"k": 8, "profile": "another"}
    git = {"commit": "abcdefabcdef", "dirty": True}
    vouch(
        runs[1],
        code=code,
        packages=packages,
        params=values,
        git=git,
        cpu="another",
        precision="fp32",
        threads=2,
    )
    assert compare(runs, "--json", str(tmp_path / "found.json")) == 0
    out = capsys.readouterr().out
    found = files.read_json(tmp_path / "found.json")
    differing = {row["what"]: (row["a"], row["b"]) for row in found["settings"]}
    assert differing == {
        "parameter k": ("absent", 8),
        "code: evals/score.py": ("012345678", "abcdefabc+dirty"),
        "package torch": ("2.13.0", "2.14.0"),
        "package trl": ("absent", "1.0"),
        "cpu": ("a CPU", "another"),
        "precision": ("bf16", "fp32"),
        "threads": (1, 2),
    }
    assert all(what in out for what in differing)
    assert found["agree"] is True and found["tolerances"] == tolerances.TOLERANCES


def test_numbers_within_and_beyond_their_tolerance(runs, capsys, tmp_path):
    def edit(metrics):
        metrics["results"][COLD]["overall"].update(mean=0.55)  # of four questions: far within
        metrics["results"][BASE]["infra"] = 1

    change(runs[1], "metrics.json", edit)
    assert compare(runs, "--json", str(tmp_path / "found.json")) == 1
    out = capsys.readouterr().out
    assert f"results.{BASE}.infra (count)" in out and "The runs do not agree" in out
    numbers = {
        tuple(row["path"]): row["agrees"] for row in files.read_json(tmp_path / "found.json")["numbers"]
    }
    assert numbers == {("results", COLD, "overall"): True, ("results", BASE, "infra"): False}


def test_other_data_does_not_agree(runs, capsys):
    inputs = files.read_json(runs[1] / "manifest.json")["inputs"]
    inputs["01_data_mix/pools"]["sha256"] = "q" * 64
    vouch(runs[1], inputs=inputs)
    assert compare(runs) == 1
    assert "input.01_data_mix/pools (data)" in capsys.readouterr().out


def test_other_losses_are_judged_on_one_kind_of_machine_only(runs):
    pretrained = runs[1].parent / "02_pretrain"
    change(pretrained, "metrics.json", lambda m: m["curve"][0].update(loss=1.51))
    assert compare(runs) == 1
    vouch(pretrained, device="cuda x1")
    assert compare(runs) == 0


def test_a_stage_that_one_run_lacks_does_not_agree(runs, capsys):
    shutil.rmtree(runs[1].parent / "02_pretrain")
    assert compare(runs) == 1
    assert "02_pretrain cannot be compared. A: published. B: missing, not run yet" in capsys.readouterr().out


def test_a_manifest_that_is_cut_and_changed_metrics_cannot_be_compared(runs, capsys):
    path = runs[0] / "manifest.json"
    path.write_text(path.read_text()[:100])
    (runs[1].parent / "02_pretrain/metrics.json").write_text("{}")
    assert compare(runs) == 1
    out = capsys.readouterr().out
    assert (
        "07_eval cannot be compared. A: corrupt, manifest.json differs from what _SUCCESS vouches for" in out
    )
    assert "02_pretrain cannot be compared. A: published. B: metrics.json is not what was published" in out


def test_wrong_usage_is_code_2(runs, capsys, tmp_path):
    a = str(runs[0].parent)
    assert main(["compare", a, str(tmp_path / "nowhere")]) == 2
    assert main(["compare", a, a]) == 2
    assert "give two different runs" in capsys.readouterr().err
    (tmp_path / "empty/07_eval").mkdir(parents=True)
    assert main(["compare", a, str(tmp_path / "empty")]) == 2
    assert "empty holds no published stage" in capsys.readouterr().err
    with pytest.raises(SystemExit) as stop:
        main(["compare", a])
    assert stop.value.code == 2


# --- the table of tolerances ----------------------------------------------------------------------------


def accuracy(mean: float, half: float = 0.098, n: int = 100) -> dict:
    """An estimate with a standard error of `half` / 1.96."""
    return {"mean": mean, "low": mean - half, "high": mean + half, "n": n}


@pytest.mark.parametrize(
    ("kind", "a", "b", "same", "agrees"),
    [
        ("count", 3, 3, True, True),
        ("count", 3, 4, True, False),
        ("verdict", "trend", "reproduced", False, False),
        # two standard errors of 0.05 each: 2 * sqrt(2) * 0.05 = 0.1414
        ("accuracy", accuracy(0.5), accuracy(0.641), False, True),
        ("accuracy", accuracy(0.5), accuracy(0.642), False, False),
        ("accuracy", accuracy(0.5), accuracy(0.5, n=99), False, False),
        ("accuracy", accuracy(0.5, half=0.0), accuracy(0.5001, half=0.0), False, False),
        ("accuracy", None, accuracy(0.5), False, False),
        ("loss", 1.0, 1.0009, True, True),
        ("loss", 1.0, 1.002, True, False),
        ("loss", 1.0, 2.0, False, None),
        ("loss", accuracy(1.0), accuracy(1.002), True, False),
        ("number", 0.5, 0.5004, True, True),
        ("number", 0.5, None, True, False),
        ("answer", "7", "8", True, None),
    ],
)
def test_what_a_kind_allows(kind, a, b, same, agrees):
    assert tolerances.agree(kind, a, b, same) is agrees


@pytest.mark.parametrize(
    ("path", "value", "kind"),
    [
        (("results", "dpd", "overall"), accuracy(0.5), "accuracy"),
        (("results", "student_fg", "solution_loss"), accuracy(1.5), "loss"),
        (("curve", "0", "loss"), 1.5, "loss"),
        (("curve", "0", "tokens"), 4096, "count"),
        (("threshold", "hq"), 5.8, "number"),
        (("ledger", "dpd", "verdict"), "trend", "verdict"),
        (("ledger", "dpd", "ours"), "+1.0 points", "answer"),
        (("example", "answers", "DPD", "right"), True, "answer"),
        (("human",), True, "verdict"),
    ],
)
def test_the_kind_of_a_number(path, value, kind):
    assert tolerances.kind_of(path, value) == kind


def test_an_interval_that_the_scale_cuts_counts_by_its_longer_side():
    cut = {"mean": 0.01, "low": 0.0, "high": 0.108, "n": 100}
    assert tolerances.agree("accuracy", cut, accuracy(0.15), True) is True  # 0.14 apart, 0.1414 allowed


def test_the_docs_show_the_table_of_tolerances():
    text = (ROOT / "docs/running.md").read_text(encoding="utf-8")
    for kind, told in tolerances.TOLERANCES.items():
        assert f"| {kind} | {told} |" in text, kind


def test_json_holds_only_plain_values(runs, tmp_path):
    shutil.rmtree(runs[1].parent / "02_pretrain")
    compare(runs, "--json", str(tmp_path / "found.json"))
    found = json.loads((tmp_path / "found.json").read_text())
    assert found["missing"] == [{"stage": "02_pretrain", "a": "published", "b": "missing, not run yet"}]
