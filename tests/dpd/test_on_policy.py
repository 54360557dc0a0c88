"""Fresh negatives: which sample takes the place of the old one, its log-probability under the reference, and
that an arm without any is the static arm."""

import pytest
import tiny
import tiny_dpd
import torch

from nbkit.dpd import on_policy
from nbkit.dpd.on_policy import Fresh, Refresh, Rows, log_probs, worst
from nbkit.dpd.tiles import Divergence
from nbkit.dpd.trainer import DPDSettings, Weights, dpd
from nbkit.models.engine import Completion
from nbkit.run import files
from nbkit.sft.sft import with_markers
from nbkit.tasks.skills import sample

END = "<|im_end|>"
PAIRS = tiny_dpd.pairs(8)
PAIR = {"prompt": "2 + 2?", "chosen": "4" + END, "rejected": "9" + END}


def fresh(count=8, **changes) -> Fresh:
    return Fresh(**({"tasks": [None] * count, "samples": 2, "min_margin": 0.6, "sampling": {}} | changes))


def said(text: str, ids=(5, 6), stop: str = "stop") -> Completion:
    return Completion(text, list(ids), stop)


@pytest.mark.parametrize(
    ("samples", "scores", "taken"),
    [
        ([said("5"), said("6")], [0.0, 0.0], "5"),  # the first where scores are equal
        ([said("5"), said("6")], [0.3, 0.0], "6"),
        ([said("5", stop="length"), said("6")], [0.0, 0.3], "6"),  # a cut one is not chosen
        ([said("5", stop="length")], [0.0], None),
        ([said("5")], [0.5], None),  # not clearly worse than 1
        ([said("4")], [0.0], None),  # what the positive says
        ([said(" ")], [0.0], None),  # nothing
        ([said("5", ids=range(9))], [0.0], None),  # longer than the room
    ],
)
def test_the_worst_clear_failure_takes_the_place(samples, scores, taken):
    new = worst(PAIR, samples, scores, fresh(1), END, room=8)
    assert (new and new["rejected"]) == (taken and taken + END)
    if new:
        assert new["rejected_ids"] == [5, 6]


def test_the_score_is_that_of_the_sample_taken():
    new = worst(PAIR, [said("5", stop="length"), said("6")], [0.0, 0.3], fresh(1), END, room=8)
    assert new["rejected_score"] == 0.3


def test_log_probs_are_those_that_trl_computes_for_the_reference(tmp_path):
    trainer = tiny_dpd.trainer(tmp_path)
    rows = list(trainer.train_dataset)
    ours = log_probs(tiny.model(), tiny.tokenizer().pad_token_id, rows, batch=5)
    assert ours == pytest.approx([row["ref_rejected_logps"] for row in rows], abs=1e-3)


def settings(epochs=3.0) -> DPDSettings:
    return DPDSettings(epochs, 1e-3, 4, 128, 0.1, Weights(0.5, 1.0, 0.5), Divergence(), 0, END)


def flat(model) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in model.parameters()])


def trained(tmp_path, new=None, monkeypatch=None, **changes):
    """(weights, what was noted) after `on_policy`; `new`: what stands in for sampling."""
    if new is not None:
        monkeypatch.setattr(on_policy, "negatives", lambda engine, own, rows, *a, **k: new(rows))
    student, tokenizer = tiny.model(), with_markers(tiny.tokenizer())
    teacher = tiny.model(seed=tiny_dpd.TEACHER)
    on_policy.on_policy(student, tokenizer, teacher, PAIRS, fresh(**changes), settings(), out=tmp_path)
    return flat(student), files.read_json(tmp_path / on_policy.NOTE)


def test_without_fresh_negatives_it_is_the_static_arm(tmp_path):
    student = tiny.model()
    teacher = tiny.model(seed=tiny_dpd.TEACHER)
    dpd(student, with_markers(tiny.tokenizer()), teacher, PAIRS, settings(), out=tmp_path / "static")
    (tmp_path / "fresh").mkdir()
    found, note = trained(tmp_path / "fresh")
    assert torch.equal(found, flat(student))
    assert note == [{"pass": 2, "fresh": 0, "pairs": 8}, {"pass": 3, "fresh": 0, "pairs": 8}]


def test_fresh_negatives_change_what_is_learned(tmp_path, monkeypatch):
    for name in ("none", "some"):
        (tmp_path / name).mkdir()
    ids = tiny.tokenizer()("certainly not" + END, add_special_tokens=False)["input_ids"]
    one = {"rejected": "certainly not" + END, "rejected_ids": ids, "rejected_score": 0.0}
    static, _ = trained(tmp_path / "none", lambda rows: [None] * len(rows), monkeypatch)
    other, note = trained(tmp_path / "some", lambda rows: [one, *[None] * (len(rows) - 1)], monkeypatch)
    assert not torch.equal(static, other) and [row["fresh"] for row in note] == [1, 1]


def test_the_first_pass_keeps_the_negatives_and_later_ones_bring_their_reference():
    model, pad = tiny.model(), tiny.tokenizer().pad_token_id
    old = {"prompt_ids": [4, 5], "chosen_ids": [6], "rejected_ids": [7], "ref_rejected_logps": 0.0}
    rows = Rows([old, old])
    refresh = Refresh(lambda number: [None, {"rejected_ids": [8, 9]}], model, rows, pad)
    refresh.on_epoch_begin(None, None, None)
    assert rows[1] == old
    refresh.on_epoch_begin(None, None, None)
    assert rows[0] == old and rows[1]["rejected_ids"] == [8, 9]
    assert rows[1]["ref_rejected_logps"] == pytest.approx(log_probs(model, pad, [rows[1]])[0])
    assert rows[1]["ref_rejected_logps"] < 0


def test_the_current_student_is_sampled_and_scored(jail):
    """A task that the student answers rightly keeps its old negative."""
    tasks = [task for task in sample(60, "train", 1) if task.kind == "number"][:2]
    rows = Rows([{"prompt_ids": [4, 5]}, {"prompt_ids": [4, 6]}])
    pairs = [PAIR | {"chosen_score": 1.0}, PAIR | {"chosen_score": 1.0}]

    class Knows:
        def sample_ids(self, ids, n, **sampling):
            assert ids == [[4, 5], [4, 6]] and sampling["seed"] == 7 and sampling["temperature"] == 1.0
            return [[said(tasks[0].answer)] * n, [said("no idea")] * n]

    found = on_policy.negatives(Knows(), pairs, rows, fresh(tasks=tasks, jail=jail), settings(), seed=7)
    assert found[0] is None and found[1]["rejected"] == "no idea" + END


def test_every_pair_has_a_task_or_none(tmp_path):
    with pytest.raises(ValueError, match="tasks: got 3 for 8 pairs, wanted one for each"):
        trained(tmp_path, count=3)
