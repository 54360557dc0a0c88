"""06 on TRL by the launcher: two processes train what one does, a lost one ends all."""

import os
import signal
import threading
import time
from dataclasses import asdict, replace

import psutil
import pytest
import tiny
import torch
from kept_once import KeptOnce

from nbkit.models.distributed.sharding import Devices
from nbkit.models.engine import Generator
from nbkit.models.load import history_of, load, save
from nbkit.rl.loop.train import LoopSettings
from nbkit.rl.questions import Questions, set_cells
from nbkit.rl.stage import Plan, RLStage, about, run_stage
from nbkit.rl.trl import job, plain
from nbkit.rl.trl.grpo import TRLOptions
from nbkit.rl.watch import Exam
from nbkit.run import files
from nbkit.run.schemas.posttraining import Reinforce
from nbkit.sft.sft import SFTSettings, sft, with_markers
from nbkit.tasks import world
from nbkit.tasks.skills import Task, sample
from nbkit.verify import JailPool

# Short sums that are answered at once.
SUMS = sample(96, "train", seed=1, names=["add", "subtract", "multiply"])
SUMS = [replace(task, steps=()) for task in SUMS if len(task.answer) <= 2][:16]
SETTINGS = job.GRPOSettings(steps=4, prompts_per_step=4, group=4, lr=1e-3, max_new_tokens=8, seed=0)


@pytest.fixture(scope="module")
def policy(tmp_path_factory):
    """A policy that answers each of SUMS right some of the time: its groups have signal."""
    folder = tmp_path_factory.mktemp("policy")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NBKIT_PRECISION", "fp32")
        model, tokenizer = tiny.model(), with_markers(tiny.tokenizer())
        chats = [world.chat(task) for task in SUMS] * 2
        sft(model, tokenizer, chats, SFTSettings(1e-2, 2, 96, 0, steps=60), out=folder / "trainer")
    save(folder / "model", model, tokenizer)
    return folder / "model"


class Run(KeptOnce):
    def made_from(self, **key):
        return files.digest(files.plain(key))


def stage(devices, **changed):
    """A stage whose reward is plain data."""
    questions = Questions(set_cells(SUMS), {"math": 1.0}, seed=0, band=(0.0, 1.0), every=0)
    reward, settings = plain.Verified(), LoopSettings(**(asdict(SETTINGS) | changed))
    grade = reward.made(JailPool(1))
    exam = Exam(SUMS[:2], grade, 2)
    on = plain.OnTRL(devices)
    return RLStage("stem", questions, grade, exam, settings, Plan(16, 8, 2, 2, 4), "trl", on, reward)


@pytest.mark.slow
def test_two_processes_train_what_one_does(policy, tmp_path, monkeypatch):
    """The whole stage: each process samples what one would for its prompts, so that losses and rewards are
    the same ones and not only alike."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("NBKIT_PRECISION", "fp32")
    found = {}
    for processes in (1, 2):
        run = Run(tmp_path / str(processes), "06_rl")
        wanted = stage(Devices("torchrun", processes))
        found[processes] = run_stage(run, "rl_stem", policy, wanted)
        assert run.seconds["rl_stem_s"] > 0
        assert [row["step"] for row in about(found[processes])["watched"]] == [0, 4]
    one, two = (history_of(found[n]) for n in (1, 2))
    assert [row["step"] for row in one] == [1, 2, 3, 4]
    assert any(row["signal"] > 0 for row in one) and len({row["reward"] for row in one}) > 1
    for name in ("loss", "reward", "entropy", "length", "signal", "cut", "graded"):
        values = [[row[name] for row in rows] for rows in (one, two)]
        assert values[1] == pytest.approx(values[0], rel=1e-3, abs=1e-5), name
    weights, first, second = (load(path)[0].state_dict() for path in (policy, found[1], found[2]))
    assert all(torch.allclose(first[name], second[name], atol=1e-4) for name in first)
    kept = about(found[1])["kept_step"]
    assert any(not torch.equal(weights[name], first[name]) for name in first) == (kept > 0)


def kill_one_when_training(folder, killed):
    """SIGKILL for one process of the job in `folder`, once its trainer is there."""
    until = time.monotonic() + 120
    while not killed and time.monotonic() < until:
        time.sleep(0.05)
        if not (folder / "trainer").exists():  # made by the trainer
            continue
        for process in psutil.process_iter(["cmdline"]):
            words = process.info["cmdline"] or []
            ours = str(folder / "job.json") in words and "torch.distributed.run" not in words
            if ours and process.environ().get("RANK") == "1":
                killed.append(process.pid)
                os.kill(process.pid, signal.SIGKILL)
                return


@pytest.mark.slow
def test_a_lost_process_ends_all_and_the_next_run_starts_anew(policy, tmp_path, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("NBKIT_PRECISION", "fp32")
    given = job.Launch(policy, plain.Verified(), plain.OnTRL(Devices("torchrun", 2)))
    folder, killed = tmp_path / "job", []
    long = replace(SETTINGS, steps=2000)
    watcher = threading.Thread(target=kill_one_when_training, args=(folder, killed), daemon=True)
    watcher.start()
    with pytest.raises(RuntimeError, match=r"(?s)training failed .*Signal 9 \(SIGKILL\)"):
        job.launched(load(policy)[0], given, SUMS * 500, long, folder=folder)
    watcher.join()
    assert killed and not (folder / "model").exists() and not (folder / "result.json").exists()
    ends = []
    for name in ("job", "other"):
        model = load(policy)[0]
        history, _ = job.launched(model, given, SUMS, SETTINGS, folder=tmp_path / name)
        ends.append(([row["loss"] for row in history], [float(p.detach().sum()) for p in model.parameters()]))
    assert ends[0] == ends[1] and len(ends[0][0]) == 4


@pytest.mark.slow
def test_what_a_process_says_when_it_fails_is_in_the_error(policy, tmp_path, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    reward = plain.Preferred(str(tmp_path / "none"), str(policy), 1, 8, 0)
    given = job.Launch(policy, reward, plain.OnTRL(Devices("torchrun", 2)))
    with pytest.raises(RuntimeError, match="model: could not load"):
        job.launched(load(policy)[0], given, SUMS, SETTINGS, folder=tmp_path / "job")


def test_questions_and_rewards_come_back_from_plain_data(tmp_path):
    calls = (((1, (2, 3)), {4: (5,)}),)
    code = Task("f", "code", 1, "train", "q", ("a", "b"), "def f(x): return x", "code", calls, "f")
    tool = replace(SUMS[0], kind="tool", tools=('{"type": "function"}',))
    files.write_json(tmp_path / "t.json", plain.told_tasks([code, *SUMS, tool]))
    assert plain.tasks_of(files.read_json(tmp_path / "t.json")) == [code, *SUMS, tool]
    for reward in (plain.Verified("string", 0.2), plain.Preferred("judge", "start", 2, 8, 1)):
        files.write_json(tmp_path / "r.json", plain.told(reward))
        assert plain.reward_of(files.read_json(tmp_path / "r.json")) == reward
    on = plain.OnTRL(Devices("srun", 2, 3, "fsdp2"))
    files.write_json(tmp_path / "on.json", asdict(on))
    assert plain.on_of(files.read_json(tmp_path / "on.json")) == on
    with pytest.raises(ValueError, match="verifier: got 'none', wanted one of string, exact, agentic"):
        plain.Verified("none").made(None)


def test_the_judge_of_another_process_grades_alike(policy, tmp_path):
    """Made twice from the same data, the preference reward gives the same."""
    reward = plain.Preferred(str(policy), str(policy), 1, 8, 0)
    model, tokenizer = load(policy)
    groups = job_groups(model, tokenizer)
    first, second = (reward.made(None)(SUMS[:2], groups) for _ in range(2))
    assert first == second and all(0 <= r <= 1 for group in first for r in group)
    assert len(reward.models()) == 2 and reward.models()[0] == reward.models()[1]


def job_groups(model, tokenizer):
    return Generator(model, tokenizer).sample([world.prompt_of(t) for t in SUMS[:2]], 3, 8, 1.0, seed=1)


def test_a_step_in_passes_is_the_same_step(policy, tmp_path, monkeypatch):
    monkeypatch.setenv("NBKIT_PRECISION", "fp32")
    found, short = [], replace(SETTINGS, steps=2, updates=2)
    for at_once in (0, 2):
        model, tokenizer = load(policy)
        how = {"out": tmp_path / str(at_once), "options": TRLOptions(completions_per_pass=at_once)}
        grade = plain.Verified().made(JailPool(1))
        history, _ = job.trained(model, tokenizer, SUMS, grade, short, **how)
        found.append((history, model.state_dict()))
    (one, whole), (two, parts) = found
    assert len(one) == len(two) == 2 and any(row["loss"] for row in one)
    for name in ("loss", "reward", "graded"):
        values = [[row[name] for row in rows] for rows in (one, two)]
        assert values[1] == pytest.approx(values[0], rel=1e-3, abs=1e-5), name
    assert all(torch.allclose(whole[name], parts[name], atol=1e-4) for name in whole)
    wrong = TRLOptions(completions_per_pass=3)
    with pytest.raises(ValueError, match="completions_per_pass: got 3, but a step has 16 completions"):
        job.trained(*load(policy), SUMS, None, SETTINGS, out=tmp_path, options=wrong)


def test_what_does_not_go_together_is_refused(policy, tmp_path, monkeypatch):
    two = Devices("torchrun", 2)
    with pytest.raises(ValueError, match="engine: 'loop' trains in this process alone"):
        replace(stage(two), engine="loop")
    with pytest.raises(ValueError, match="reward: got a function alone"):
        replace(stage(two), reward=None)
    launched = {"launcher": "torchrun", "processes": 2}
    with pytest.raises(ValueError, match="launcher: got 'torchrun', but engine=loop .* take engine=trl"):
        Reinforce.coerced(launched)
    with pytest.raises(ValueError, match="prompts_per_step: got 3 questions a step for 2 x 1 processes"):
        Reinforce.coerced(launched | {"engine": "trl", "prompts_per_step": 3})
    assert Reinforce.coerced(launched | {"engine": "trl", "batch": 1}).processes == 2  # batch: the judge's
    monkeypatch.setenv("WORLD_SIZE", "3")
    with pytest.raises(ValueError, match="prompts_per_step: 4 questions do not split over 3 processes"):
        job.trained(*load(policy), SUMS, None, SETTINGS, out=tmp_path)
