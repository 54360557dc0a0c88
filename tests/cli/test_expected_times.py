"""The rates of this machine and of the reference, and the times that follow from them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from nbkit.cli import calibrate
from nbkit.run import files, provenance

ROOT = Path(__file__).resolve().parents[2]
HERE = {"python": 4e6, "matmul": 1e11, "train": 10e3}
THERE = {"python": 8e6, "matmul": 4e11, "train": 10e3}


@pytest.mark.parametrize(
    ("stage", "here", "there", "factor"),
    [
        ("01_data_mix", HERE, THERE, 2.0),  # Python alone: 8 / 4
        ("02_pretrain", HERE, THERE, 2.0),  # sqrt(4 * 1)
        ("07_eval", HERE, THERE, 2.0),
        ("02_pretrain", HERE, HERE, 1.0),
        ("02_pretrain", THERE, HERE, 0.5),
        ("05_dpd", {**HERE, "train": 2.5e3}, THERE, 4.0),  # sqrt(4 * 4)
        ("01_data_mix", {**HERE, "matmul": 1.0}, THERE, 2.0),  # no network is trained there
    ],
)
def test_a_stage_slows_down_by_the_rates_it_follows(stage, here, there, factor):
    assert calibrate.slowdown(stage, here, there) == pytest.approx(factor)


@pytest.mark.parametrize(
    ("factor", "words"),
    [(2.0, "faster"), (1.2, "faster"), (1.0, "similar"), (1.05, "similar"), (0.5, "slower")],
)
def test_the_origin_is_said(factor, words):
    assert calibrate.origin(factor) == f"scaled from a {words} machine"


def test_the_best_try_counts_and_at_least_two():
    moment = iter([0, 1, 1, 3, 3, 4])  # clock: tries of 1, 2 and 1 seconds
    amounts = iter([99, 10, 10, 30])  # the first warms up
    walls = iter([0, 0.1, 5])
    rate = calibrate.best(lambda: next(amounts), lambda: next(moment), 1.0, lambda: next(walls))
    assert rate == 30


def test_rates_are_measured_once_per_machine_and_kept(project, monkeypatch):
    asked = []

    def measured():
        asked.append(1)
        return HERE

    monkeypatch.setattr(calibrate, "_measured", measured)
    assert calibrate.here(measure=False) is None and not asked
    assert calibrate.here() == HERE and calibrate.here() == HERE and calibrate.here(measure=False) == HERE
    assert len(asked) == 1
    monkeypatch.setenv("NBKIT_OUTPUTS", str(project / "elsewhere"))
    assert calibrate.here() == HERE and len(asked) == 1, "another outputs root, the same machine"
    monkeypatch.setattr(provenance, "cpu", lambda: "another processor")
    calibrate.here()
    assert len(asked) == 2
    kept = files.read_json(project / "outputs/.calibration.json")
    assert len(kept) == 2


@pytest.mark.parametrize(
    ("name", "value"),
    [("OMP_NUM_THREADS", "7"), ("NBKIT_PRECISION", "fp32"), ("ONEDNN_MAX_CPU_ISA", "AVX2")],
)
def test_a_setting_that_changes_the_speed_is_another_machine(monkeypatch, name, value):
    monkeypatch.delenv(name, raising=False)  # the tests themselves may run held to AVX2
    before = calibrate.fingerprint()
    monkeypatch.setenv(name, value)
    assert calibrate.fingerprint() != before


@pytest.mark.parametrize("content", ["{", "[]", "null", '{"x": {"python": 1}}'])
def test_damaged_calibrations_are_made_again(project, monkeypatch, content):
    (project / "outputs").mkdir()
    path = project / "outputs/.calibration.json"
    path.write_text(content.replace('"x"', json.dumps(calibrate.fingerprint())))
    monkeypatch.setattr(calibrate, "_measured", lambda: HERE)
    assert calibrate.here() == HERE
    assert files.read_json(path)[calibrate.fingerprint()] == HERE


@pytest.mark.parametrize(
    "printed",
    ["", "no json", '{"python": 1, "matmul": 0, "train": 1}', '{"python": 1}', '{"python": "x"}', "[1]"],
)
def test_a_measurement_that_fails_is_none(monkeypatch, printed):
    def run(*_, **__):
        return type("Done", (), {"stdout": f"a warning\n{printed}\n"})

    monkeypatch.setattr(calibrate.subprocess, "run", run)
    assert calibrate._measured() is None


def test_a_measurement_that_hangs_is_none(monkeypatch):
    def run(*_, **options):
        assert options["timeout"] <= 60
        raise calibrate.subprocess.TimeoutExpired("python", 60)

    monkeypatch.setattr(calibrate.subprocess, "run", run)
    assert calibrate._measured() is None


def test_the_reference_says_how_fast_its_machine_is():
    timings = files.read_json(ROOT / "outputs/reference/timings.json")
    rates = calibrate.reference_rates(timings)
    assert rates is not None and rates["machine"]
    assert calibrate.reference_rates({}) is None and calibrate.reference_rates({"calibration": {}}) is None


def test_three_rates_are_measured_here(monkeypatch):
    monkeypatch.setattr(calibrate, "_SECONDS", 0.0)
    threads = torch.get_num_threads()
    try:
        rates = calibrate.measure()
    finally:
        torch.set_num_threads(threads)
    assert set(rates) == set(calibrate.KINDS) and all(rate > 0 for rate in rates.values())
