"""`nbkit submit`, `logs` and the queue in `status`, where sbatch and squeue are scripts."""

import re
import signal
import subprocess
import time
from argparse import Namespace

import fake_slurm
import psutil
import pytest

from nbkit.cli import main
from nbkit.cli.cluster import queue, scripts, submit
from nbkit.run import files


@pytest.fixture
def slurm(tmp_path, monkeypatch):
    return fake_slurm.install(tmp_path / "fake", monkeypatch)


@pytest.fixture
def without_slurm(monkeypatch):
    monkeypatch.setattr("shutil.which", lambda name: None)


def directives(path) -> dict[str, str]:
    found = re.findall(r"^#SBATCH --([a-z-]+)=?(.*)$", path.read_text(), re.M)
    return dict(found)


def test_a_dry_run_writes_plain_files_and_submits_nothing(project, capsys, without_slurm):
    assert main(["submit", "--profile", "tiny", "--dry-run", "--partition", "main", "--time", "1:00:00"]) == 0
    folder = project / "outputs/tiny/slurm"
    names = ["01_make.sbatch", "02_use.sbatch", "03_last.sbatch", "report.sbatch", "submit.sh"]
    assert sorted(path.name for path in folder.iterdir()) == names
    asked = directives(folder / "01_make.sbatch")
    assert asked["partition"] == "main" and asked["time"] == "1:00:00" and asked["nodes"] == "1"
    assert "requeue" in asked and asked["open-mode"] == "append" and "gres" not in asked
    assert "submit it with `bash" in capsys.readouterr().out
    for path in folder.iterdir():
        subprocess.run(["bash", "-n", str(path)], check=True)


def test_each_job_waits_for_the_one_before_and_leaves_with_it(project, without_slurm):
    main(["submit", "--profile", "tiny", "--dry-run"])
    lines = (project / "outputs/tiny/slurm/submit.sh").read_text().splitlines()
    calls = [line for line in lines if "sbatch --parsable" in line]
    assert len(calls) == 4 and "--dependency" not in calls[0]
    assert all('afterok:"$job" --kill-on-invalid-dep=yes' in call for call in calls[1:])


@pytest.mark.slow
def test_the_chain_runs_every_stage_and_the_report(project, slurm, capsys):
    assert main(["submit", "--profile", "tiny", "-p", "steps=7"]) == 0
    said = capsys.readouterr().out
    assert "01_make              job 101" in said and "report               job 104" in said
    assert files.read_json(project / "outputs/tiny/03_last/metrics.json")["total"] == 84
    assert files.read_json(project / "outputs/tiny/slurm/jobs.json")["02_use"] == "102"
    assert (project / "outputs/tiny/report/index.html").is_file()
    # The log of a job says what the run said.
    assert main(["logs", "01", "--profile", "tiny", "-f"]) == 0
    said = capsys.readouterr().out
    assert "job 101 on n1, start 0" in said and "01_make  done" in said
    # All is there: with the same parameters there is nothing to submit.
    assert main(["submit", "--profile", "tiny", "-p", "steps=7"]) == 0
    assert "nothing to submit" in capsys.readouterr().out


@pytest.mark.slow
def test_after_a_failure_the_rest_does_not_run_and_a_second_submission_goes_on(project, slurm, capsys):
    assert main(["submit", "--profile", "tiny", "-p", "fail=raise"]) == 0
    assert not (project / "outputs/tiny/02_use/_SUCCESS").exists()
    assert [(slurm / f"rc.{job}").read_text().strip() for job in (101, 102)] == ["1", "killed"]
    assert main(["submit", "--profile", "tiny"]) == 0
    assert (project / "outputs/tiny/03_last/_SUCCESS").exists()


@pytest.mark.slow
@pytest.mark.parametrize(("before", "requeued"), [("0", True), (str(scripts.RESTARTS), False)])
def test_a_job_whose_time_is_nearly_up_stops_its_stage_and_is_queued_again(
    project, slurm, monkeypatch, before, requeued
):
    main(["submit", "--profile", "tiny", "--dry-run", "-p", "fail=hang"])
    for name, value in (("JOB_ID", "55"), ("JOB_NODELIST", "n1"), ("RESTART_COUNT", before)):
        monkeypatch.setenv(f"SLURM_{name}", value)
    job = subprocess.Popen(["bash", project / "outputs/tiny/slurm/01_make.sbatch"])
    pid, end = project / "outputs/tiny/01_make/pid", time.monotonic() + 120
    while not (pid.exists() and pid.read_text()) and time.monotonic() < end:
        time.sleep(0.1)
    kernel = psutil.Process(int(pid.read_text()))
    job.send_signal(signal.SIGUSR1)
    assert job.wait(60) == 1
    gone, alive = psutil.wait_procs([kernel], timeout=20)
    assert not alive, "the stage works on after its job"
    calls = (slurm / "calls").read_text() if (slurm / "calls").exists() else ""
    assert ("scontrol requeue 55" in calls) == requeued


def test_a_run_in_the_queue_is_not_submitted_twice(project, slurm, capsys):
    folder = scripts.folder_of("tiny")
    folder.mkdir(parents=True)
    files.write_json(folder / queue.JOBS, {"01_make": "7", "02_use": "8"})
    (slurm / "queue").write_text("7|RUNNING|1:02|n1\n8|PENDING|0:00|(Dependency)\n9|RUNNING|3:00|n2\n")
    assert main(["submit", "--profile", "tiny"]) == 2
    said = capsys.readouterr().err
    assert "01_make (RUNNING 1:02 n1), 02_use (PENDING (Dependency))" in said and "`scancel 7 8`" in said
    assert main(["status", "--profile", "tiny"]) == 0
    rows = capsys.readouterr().out.splitlines()
    assert rows[0].endswith("Slurm: RUNNING 1:02 n1") and "Slurm" not in rows[2]


def test_tasks_of_an_array_are_told_together(slurm):
    (slurm / "queue").write_text("7|RUNNING|1:02|n1\n7|PENDING|0:00|(Resources)\n")
    assert queue.states({"02_use": "7"}) == {"02_use": "RUNNING 1:02 n1; PENDING (Resources)"}
    assert queue.states({}) == {}


def test_seeds_are_arrays_whose_tasks_wait_for_their_own(project, without_slurm):
    assert main(["submit", "--profile", "tiny", "--dry-run", "--seeds", "1-3,7"]) == 0
    folder = project / "outputs/tiny/slurm"
    text = (folder / "02_use.sbatch").read_text()
    assert directives(folder / "02_use.sbatch")["array"] == "1,2,3,7"
    assert '/fresh\'/seed-"$SLURM_ARRAY_TASK_ID"' in text and '-p seed="$SLURM_ARRAY_TASK_ID"' in text
    assert 'aftercorr:"$job"' in (folder / "submit.sh").read_text()
    assert not (folder / "report.sbatch").exists()


def test_training_stages_get_nodes_and_the_parameters_to_use_them(outputs, without_slurm):
    arguments = ["submit", "--profile", "full", "--dry-run", "--nodes", "4", "--gpus-per-node", "8"]
    assert main([*arguments, "--from", "02", "-p", "save_every=50"]) == 2  # 01 is missing
    assert main([*arguments, "--option", "account=ours", "-p", "save_every=50"]) == 0
    script = outputs / "full/slurm/02_pretrain.sbatch"
    asked = directives(script)
    assert asked["nodes"] == "4" and asked["gres"] == "gpu:8" and asked["account"] == "ours"
    assert "--only 02 -p nodes=4 -p save_every=50" in script.read_text()
    first = directives(outputs / "full/slurm/01_data_mix.sbatch")
    assert first["nodes"] == "1" and "gres" not in first


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--seeds", "1-"], "--seeds 1-: write numbers and ranges"),
        (["--seeds", "1,1"], "wanted up to 1,000 different seeds"),
        (["--seeds", "1-3", "--only", "02"], "every seed runs all stages"),
        (["--nodes", "-1"], "wanted whole numbers"),
        (["-p", "stpes=3"], "no chosen stage has this parameter (did you mean 'steps'?)"),
        (["-p", "steps=0"], "steps=0 is out of range"),
        (["--from", "02"], "first make 01_make (missing"),
        (["--option", "account"], "--option account: write --option KEY=VALUE"),
        ([], "sbatch: not found on this machine"),
    ],
)
def test_what_cannot_be_submitted_is_refused_before_a_file_is_written(
    project, without_slurm, arguments, message, capsys
):
    assert main(["submit", "--profile", "tiny", *arguments]) == 2
    assert message in capsys.readouterr().err
    assert not (project / "outputs/tiny/slurm").exists()


def test_what_slurm_refuses_is_told_in_its_words(project, slurm, capsys):
    assert main(["submit", "--profile", "tiny", "--partition", "nowhere"]) == 2
    assert "sbatch: sbatch: error: invalid partition specified: nowhere" in capsys.readouterr().err


def test_an_unwritable_folder_is_told_with_what_helps(project, without_slurm, capsys, monkeypatch):
    (project / "outputs").write_text("a file in the way")
    assert main(["submit", "--profile", "tiny", "--dry-run"]) in (1, 2)
    assert "outputs" in capsys.readouterr().err


def test_logs_of_a_stage_that_never_ran_are_refused(project, capsys):
    assert main(["logs", "02", "--profile", "tiny"]) == 2
    assert "02_use: no log in" in capsys.readouterr().err


def test_what_cannot_fit_is_not_submitted(outputs, slurm, capsys):
    assert main(["submit", "--profile", "full"]) == 2
    said = capsys.readouterr().err
    assert "cannot run as planned" in said and "smallest change" in said and "--unchecked" in said
    assert not (slurm / "calls").exists() and not scripts.folder_of("full").exists()


def test_a_dry_run_of_what_cannot_fit_says_so_and_writes(outputs, without_slurm, capsys):
    assert main(["submit", "--profile", "full", "--dry-run"]) == 0
    assert "cannot run as planned" in capsys.readouterr().err
    assert (scripts.folder_of("full") / scripts.SUBMIT).is_file()


def test_what_cannot_fit_is_submitted_where_it_is_asked_for(outputs, without_slurm, capsys):
    assert main(["submit", "--profile", "full", "--unchecked"]) == 2
    said = capsys.readouterr().err
    assert "cannot run as planned" in said and "sbatch: not found" in said  # it came as far as Slurm


def test_what_fits_is_not_complained_of(outputs, without_slurm, capsys):
    asked = ["--only", "01,02", "--nodes", "8", "--gpus-per-node", "8"]
    assert main(["submit", "--profile", "full", "--dry-run", *asked, "-p", "token_shards=[]"]) == 0
    assert capsys.readouterr().err == ""
    # The devices that the jobs ask for are those of the check: on smaller GPUs 02 does not fit.
    assert main(["submit", "--profile", "full", "--dry-run", *asked, "--gpu", "rtx4090"]) == 0
    assert "02_pretrain" in capsys.readouterr().err


def test_status_of_a_run_that_was_only_written_says_how_to_submit_it(project, without_slurm, capsys):
    main(["submit", "--profile", "tiny", "--dry-run"])
    capsys.readouterr()
    assert main(["status", "--profile", "tiny"]) == 0
    said = capsys.readouterr().err
    assert "no stage has run yet" in said and "submit.sh` submits them" in said


@pytest.mark.slow
def test_the_log_of_a_local_run_names_its_cells(project, capsys):
    assert main(["run", "--profile", "tiny", "--only", "01"]) == 0
    capsys.readouterr()
    assert main(["logs", "01", "--profile", "tiny"]) == 0
    said = capsys.readouterr().out
    assert "-- cell 1 of 5: 01_make" in said and "total: 6" in said


def test_shards_that_the_filter_has_not_written_are_refused(outputs, slurm, monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)
    fits = ["--only", "01,02", "--nodes", "8", "--gpus-per-node", "8"]
    assert main(["submit", "--profile", "full", *fits]) == 2
    assert "token_shards" in capsys.readouterr().err and not (slurm / "calls").exists()
    asked = ["submit", "--profile", "full", "--dry-run", *fits]
    assert main(asked) == 0
    said = capsys.readouterr().err
    assert "token_shards: data/filtered, data/synthetic not there yet" in said and "nbkit filter" in said
    for name in ("filtered", "synthetic"):
        (tmp_path / "data" / name).mkdir(parents=True)
    assert main(asked) == 0
    assert "token_shards" not in capsys.readouterr().err


def test_the_engine_of_06_is_what_p_says():
    given = dict(profile="small", nodes=2, gpus_per_node=8, cpus_per_node=0, option=[], partition="", time="")
    ask, own = submit._ask("06_rl", Namespace(**given, overrides=["engine=trl"]))
    assert ask.nodes == 2 and own["launcher"] == "srun"
    ask, own = submit._ask("06_rl", Namespace(**given, overrides=[]))
    assert ask.nodes == 1 and own == {}
