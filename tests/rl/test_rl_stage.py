"""One RL stage whole, on a tiny policy: filter, training, checkpoint, in both engines."""

import json
from dataclasses import replace

import numpy as np
import pytest
import tiny
import torch

from nbkit.rl.loop.train import LoopSettings, Trained
from nbkit.rl.questions import Questions, world_cells
from nbkit.rl.stage import ABOUT, Plan, RLStage, about, in_words, run_stage, trained_stage
from nbkit.rl.suites import Suites
from nbkit.rl.trl import grpo as trl_engine
from nbkit.rl.watch import Exam
from nbkit.run import files
from nbkit.tasks.skills import sample
from nbkit.verify.code.synthesis import SynthesisSettings


def short(tasks, groups):
    """Pays for even lengths: passes about half of the time, whatever the policy."""
    return [[float(c.tokens % 2 == 0) for c in group] for group in groups]


def never(tasks, groups):
    return [[0.0 for _ in group] for group in groups]


def stage(grade=short, engine="loop", **changed):
    questions = Questions(world_cells(["math"]), {"math": 1.0}, seed=0, band=(0.0, 1.0), every=2)
    settings = LoopSettings(3, 2, 4, 1e-5, 16, **changed)
    guard = Exam(sample(4, "train", seed=1), never, 1)
    return RLStage("stem", questions, grade, guard, settings, Plan(12, 6, 6, 2, 2), engine)


@pytest.fixture
def policy(monkeypatch):
    """A third of the vocabulary ends a turn: an untrained model ends, too."""
    stops = list(range(0, 320, 3))
    monkeypatch.setattr("nbkit.models.engine.stop_tokens", lambda tokenizer, stop=(): stops)
    monkeypatch.setattr("nbkit.rl.trl.job.stop_ids", lambda tokenizer: stops)
    return tiny.model()


@pytest.mark.parametrize("engine", ["loop", "trl"])
def test_a_stage_leaves_all_that_the_notebook_shows(tmp_path, policy, engine):
    trained, found = trained_stage(policy, tiny.tokenizer(), stage(engine=engine), tmp_path)
    assert len(trained.history) == 3
    assert {"reward", "signal", "length", "cut", "entropy", "graded", "step"} <= set(trained.history[0])
    assert len(found["rates"]) == 12 and found["skipped"] == ""
    assert found["counts"]["different"] == 6 and found["counts"]["repeats"] == 0
    assert [row["step"] for row in found["watched"]] == ([0, 2, 3] if engine == "loop" else [0, 3])
    assert found["kept_step"] in [row["step"] for row in found["watched"]]
    files.write_json(tmp_path / ABOUT, files.plain(found))
    assert about(tmp_path) == json.loads(json.dumps(files.plain(found)))
    assert in_words("stem", found).startswith("stem: 6 different questions, 0 repeats")


def test_trl_is_told_all_settings_and_rings_the_alarms(tmp_path, policy, monkeypatch):
    made, real = [], trl_engine.GRPOConfig
    monkeypatch.setattr(trl_engine, "GRPOConfig", lambda **options: made.append(options) or real(**options))

    def flat(tasks, groups):
        return short(tasks, groups) if len(tasks) != 2 else [[1.0 for _ in group] for group in groups]

    changed = {"updates": 2, "clip": 0.1, "advantage": "std", "normalise": "sequence"}
    trained, _ = trained_stage(policy, tiny.tokenizer(), stage(flat, "trl", **changed), tmp_path)
    wanted = {"num_iterations": 2, "epsilon": 0.1, "scale_rewards": "group", "loss_type": "grpo"}
    assert wanted.items() <= made[0].items() and made[0]["max_steps"] == 6
    assert [row["step"] for row in trained.history] == [1, 2, 3]
    assert "step 3: every reward was 1 for 3 steps: nothing can be learned" in trained.alarms


def test_trl_gets_no_prompt_with_its_answer(tmp_path, policy, monkeypatch):
    monkeypatch.setattr(
        "nbkit.rl.trl.job.render", lambda tokenizer, chat: f"{chat[0]['content']} The answer is here"
    )
    leaking = stage(engine="trl")
    real = leaking.questions.draw
    leaking.questions.draw = lambda n: [replace(task, answer="here") for task in real(n)]
    with pytest.raises(ValueError, match="the reference answer 'here' of a .* stands in its prompt"):
        trained_stage(policy, tiny.tokenizer(), leaking, tmp_path)


def test_a_stage_without_a_question_in_the_band_keeps_its_start(tmp_path, policy):
    before = [p.detach().clone() for p in policy.parameters()]
    trained, found = trained_stage(policy, tiny.tokenizer(), stage(never), tmp_path)
    assert trained.history == [] and "tenths: [12, 0, 0, 0, 0, 0, 0, 0, 0, 0]" in found["skipped"]
    assert all(torch.equal(a, b) for a, b in zip(before, policy.parameters(), strict=True))
    assert in_words("stem", found).startswith("stem: SKIPPED, the policy is unchanged; questions: none of 12")


def test_what_is_measured_on_is_not_asked(tmp_path, policy):
    asked = []

    def noting(tasks, groups):
        asked.append([task.question for task in tasks])
        return short(tasks, groups)

    trained_stage(policy, tiny.tokenizer(), stage(noting), tmp_path)
    exam = set(asked[1])  # the first look, after the survey
    trained_on = {q for batch in asked if len(batch) == 2 for q in batch}
    assert len(exam) == 6 and len(trained_on) == 6 and not exam & trained_on


def test_the_state_of_a_stage_is_gone_on_from_only_where_all_is_equal(tmp_path, monkeypatch):
    class Run:
        dir, cfg, inputs = tmp_path, None, "a"

        def made_from(self, **key):
            return files.digest(files.plain({"inputs": self.inputs, **key}))

    folders = []

    def once(run, name, source, build, **key):
        build(None, None, tmp_path)
        return tmp_path

    def trained(model, tokenizer, stage, folder, source):
        folders.append(folder)
        return Trained(), {"skipped": "none", "rates": []}

    monkeypatch.setattr("nbkit.rl.stage.train_once", once)
    monkeypatch.setattr("nbkit.rl.stage.trained_stage", trained)
    monkeypatch.setattr("nbkit.rl.stage.workshop", lambda run: tmp_path / "training")
    run, again = Run(), Run()
    again.inputs = "b"
    for of, key in ((run, {}), (run, {}), (run, {"judge": "j"}), (again, {})):
        run_stage(of, "rl", "model", stage(), **key)
    assert folders[0] == folders[1] and len(set(folders)) == 3


def test_an_unknown_engine_is_refused():
    with pytest.raises(ValueError, match="engine: got 'ppo', wanted one of loop, trl"):
        stage(engine="ppo")


def test_tests_are_made_once_for_a_program(jail):
    class Pool:
        made = 0

        def map(self, function, rows):
            self.made += len(rows)
            return [function(jail, *row) for row in rows]

    pool = Pool()
    suites = Suites(pool, SynthesisSettings(private=4))
    tasks = sample(12, "train", seed=2, names=["write_arithmetic"])
    suites.make([*tasks, *tasks])
    programs = {(t.entry, t.answer) for t in tasks}
    assert pool.made == len(programs) == len(suites.suites()) + sum(suites.dropped().values())
    changed = [suites(task) for task in tasks]
    assert pool.made == len(programs)
    assert all(t is None or t.calls != old.calls for t, old in zip(changed, tasks, strict=True))
    (sum_task,) = sample(1, "train", seed=2, names=["add"])
    assert suites(sum_task) is sum_task


def test_the_same_stage_is_the_same_again(tmp_path, policy):
    ends = []
    for name in ("a", "b"):
        model = tiny.model()
        model.load_state_dict(policy.state_dict())
        trained, _ = trained_stage(model, tiny.tokenizer(), stage(), tmp_path / name)
        ends.append((trained.history, [float(p.detach().sum()) for p in model.parameters()]))
    assert ends[0] == ends[1] and np.isfinite(ends[0][1]).all()
