"""How the passes over a corpus are run: what is refused, Slurm, the command line."""

import os

import pytest
from test_pipeline import docs, inputs, run, saved  # noqa: F401 (fixtures)

from nbkit.cli import commands
from nbkit.filter.corpus import executors, pipeline

N = 240


def test_refusals(inputs, saved, tmp_path):
    out = tmp_path / "out"
    for settings, message in (
        ({"tasks": 0}, "tasks=0"),
        ({"hq_tokens": -1}, "negative token budgets"),
        ({"executor": "cloud"}, "executor='cloud': want one of"),
        ({"on_bad": "keep"}, "on_bad='keep'"),
        ({"executor": "slurm"}, "needs executor_options time .* not given: partition, time"),
        ({"executor_options": {"speed": 9}}, "executor_options do not fit executor='local'.*speed"),
    ):
        with pytest.raises(ValueError, match=message):
            run(inputs, saved, out, **settings)
    with pytest.raises(ValueError, match="matches no file"):
        run(str(tmp_path / "absent-*"), saved, out)
    with pytest.raises(ValueError, match=r"is none of \.jsonl"):
        run(str(saved / "combination.json"), saved, out)
    with pytest.raises(ValueError, match="holds no saved filter with a tokenizer/ folder: run 01"):
        run(inputs, tmp_path, out)


@pytest.mark.skipif(
    bool(executors.importlib.util.find_spec("ray")), reason="ray is installed: its absence cannot be tested"
)
def test_ray_asks_to_be_installed(inputs, saved, tmp_path):
    with pytest.raises(ValueError, match="executor='ray' needs ray: `pip install ray`"):
        run(inputs, saved, tmp_path / "out", executor="ray")


def test_slurm_submits_a_chain_of_jobs(inputs, saved, tmp_path, monkeypatch):
    """A stand-in for sbatch that keeps what it was given."""
    sbatch = tmp_path / "bin" / "sbatch"
    sbatch.parent.mkdir()
    sbatch.write_text(
        f'#!/bin/sh\necho "$@" >> {tmp_path}/calls\necho "Submitted batch job $(wc -l < {tmp_path}/calls)"\n'
    )
    sbatch.chmod(0o755)
    monkeypatch.setenv("PATH", f"{sbatch.parent}{os.pathsep}{os.environ['PATH']}")
    options = {"time": "01:00:00", "partition": "cpu", "mem_per_cpu_gb": 4}
    summary = run(inputs, saved, tmp_path / "out", tasks=3, executor="slurm", executor_options=options)
    assert list(summary) == ["folder"]
    script = next((tmp_path / "out").glob("scores-*/logs/score-3/launch_script.slurm")).read_text()
    for wanted in ("--partition=cpu", "--time=01:00:00", "--mem-per-cpu=4G", "--array=0-2", "nbkit_score"):
        assert wanted in script
    jobs = [line for line in (tmp_path / "calls").read_text().splitlines() if "RUN_OFFSET" in line]
    assert len(jobs) == 7 and sum("--dependency=afterok" in line for line in jobs) == 6


def test_command_line(inputs, saved, tmp_path, capsys, monkeypatch):
    monkeypatch.delenv("NBKIT_DATA_DIR", raising=False)
    common = ["filter", "--filter", str(saved), "--out", str(tmp_path / "out"), "--no-decontamination"]
    budgets = ["--hq-tokens", "4000", "--mq-tokens", "5000"]
    assert commands.main([*common, "--inputs", inputs, *budgets, "--tasks", "2"]) == 0
    shown = capsys.readouterr().out
    assert "duplicate_near" in shown and "pools-" in shown and f"{N}" in shown
    assert commands.main([*common, "--inputs", str(tmp_path / "no*"), *budgets]) == 2
    assert "matches no file" in capsys.readouterr().err
    assert commands.main([*common, "--inputs", inputs, *budgets, "-x", "time"]) == 2
    assert "write -x KEY=VALUE" in capsys.readouterr().err
    options = ["--executor", "slurm", "-x", "time=10:00:00", "-x", "partition=cpu", "-x", "mem_per_cpu_gb=4"]
    given = {}
    monkeypatch.setattr(
        pipeline, "filter_corpus", lambda *a, **_: given.update(execution=a[4]) or {"folder": "x"}
    )
    assert commands.main([*common, "--inputs", inputs, *budgets, *options]) == 0
    wanted = {"time": "10:00:00", "partition": "cpu", "mem_per_cpu_gb": 4}
    assert given["execution"].executor_options == wanted
    assert "submitted" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        commands.main(["filter", "--help"])
    assert "--on-bad" in capsys.readouterr().out
