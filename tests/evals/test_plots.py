"""Evaluation forms with scripted models, and every figure with an axis label and no empty canvas."""

import matplotlib

matplotlib.use("agg")

from dataclasses import replace

import numpy as np
import pytest
import tiny
import torch

from nbkit.evals import plots
from nbkit.evals.evaluate import Evaluation, difference_by, evaluate, solution_loss
from nbkit.evals.score import Estimate
from nbkit.models.engine import Completion
from nbkit.pretrain.plan import Stage
from nbkit.pretrain.plan_figure import plan_figure
from nbkit.tasks.skills import Task, sample
from nbkit.tasks.world import base_prompt, worked

TASK = Task("add", "math", 1, "operands", "What is 3 + 4?", (), "7", "number")


class Says:
    tokenizer = tiny.tokenizer()

    def __init__(self, text, stopped=True):
        self.completion = Completion(text, [1], "stop" if stopped else "length")

    def sample(self, prompts, n=1, *args, **kwargs):
        return [[self.completion] * n for _ in prompts]


@pytest.mark.parametrize(
    ("text", "form", "stopped", "right"),
    [
        (" 3 + 4 = 7.\nAnswer: 7\nQuestion: What is 1 + 1?\nSolution: 2.\nAnswer: 2", "base", False, True),
        (" 3 + 4 = 7.\nAnswer: 7", "base", True, True),
        (" 3 + 4 = 8.\nAnswer: 8", "base", True, False),
        ("<think>3 + 4 = 7</think>7", "chat", True, True),
        ("<think>3 + 4 = 7</think>7", "chat", False, False),
    ],
)
def test_what_counts_as_an_answer(text, form, stopped, right):
    result = evaluate(Says(text, stopped), [TASK] * 3, form, None, k=2)
    assert (
        result.correct_QK.shape == (3, 2)
        and result.correct_QK.all() == right
        and result.correct_QK.any() == right
    )
    assert result.by("domain")["math"].mean == float(right) and result.stopped == float(stopped)


def test_unknown_form():
    with pytest.raises(ValueError, match="form: got 'completion'"):
        evaluate(Says(""), [TASK], "completion", None)


def test_every_figure_is_labelled():
    e = Estimate(0.5, 0.4, 0.6, 10)
    figures = [
        plan_figure([Stage("warmup", {"hq": 1}, 0.0, 1.0), Stage("decay", {"hq": 9}, 1.0, 0.1)]),
        plots.histograms({"a": [0, 1, 2], "b": [1]}, "score", {"hq": 1.0}),
        plots.curves({"a": ([1, 2, 3], [3, 2, 1])}, "step", "loss", smooth=2, log_y=True),
        plots.bars({"a": e, "b": e}, "share", reference="a"),
        plots.grouped_bars({"a": {"x": e}, "b": {"x": e, "y": e}}, "share"),
        plots.pass_rates({"stem": np.linspace(0, 1, 9)}, 0.1, 0.9),
        plots.token_heat(
            {"y": [("a", 0.0, "", False), ("$b$", 1.0, "c 9%", True)], "n": [("\n", 2.0, "", False)]}, "nats"
        ),
        plots.sensitivity(
            {"beta": {0.3: e, 0.1: e}, "w": {0.0: e}}, {"beta": 0.1, "w": 0.0}, "DPD minus SFT"
        ),
        plots.precision_recall({"a": (np.array([1, 0, 1]), np.array([3.0, 2.0, 1.0]))}, "clean documents"),
    ]
    for figure in figures:
        figure.canvas.draw()
        texts = [axis.get_xlabel() + axis.get_ylabel() for axis in figure.axes]
        assert any(texts) and figure.axes[0].has_data()


def test_precision_and_recall_are_drawn_as_counted_by_hand():
    wanted, score = np.array([1, 0, 1, 0]), np.array([4.0, 3.0, 2.0, 1.0])
    axis = plots.precision_recall(
        {"half": (wanted, score), "all": (wanted, wanted * 1.0)}, "clean text"
    ).axes[0]
    half, perfect, base = axis.get_lines()
    drawn = set(zip(half.get_xdata().tolist(), half.get_ydata().tolist(), strict=True))
    # Keep the best 1, 2, 3 and 4: precision 1/1, 1/2, 2/3, 2/4 at recall 1/2, 1/2, 1, 1.
    assert drawn - {(0.0, 1.0)} == {(0.5, 1.0), (0.5, 0.5), (1.0, 2 / 3), (1.0, 0.5)}
    assert half.get_label() == "half (average precision 0.83)"  # (1 + 2/3) / 2
    assert perfect.get_label() == "all (average precision 1.00)"
    assert set(base.get_ydata()) == {0.5}, "keeping documents at random: the share of wanted ones"
    assert "clean text" in axis.get_xlabel()


def test_thresholds_close_together_have_labels_at_different_heights():
    axis = plots.histograms({"a": [0, 1, 2]}, "score", {"hq": 1.0, "decay": 1.01}).axes[0]
    first, second = axis.texts
    assert (first.get_text(), second.get_text()) == ("hq", "decay")
    assert second.get_position()[1] >= first.get_position()[1] + 0.05


def test_difference_by_is_paired_inside_each_group():
    tasks = [replace(TASK, domain=name) for name in ("math", "math", "code", "code")]
    before = Evaluation(tasks, np.ma.array([[1], [0], [0], [0]], dtype=bool), 1.0, [""] * 4)
    after = Evaluation(
        tasks, np.ma.array([[1], [1], [0], [1]], dtype=bool, mask=[[0], [0], [1], [0]]), 1.0, [""] * 4
    )
    found = difference_by(after, before, "domain")
    assert {name: (e.mean, e.n) for name, e in found.items()} == {"code": (1.0, 1), "math": (0.5, 2)}


def test_solution_loss_is_the_mean_over_the_solutions_own_tokens():
    tasks = sample(5, "train", seed=4)
    model, tokenizer = tiny.model().eval(), tiny.tokenizer()
    by_hand = []
    for task in tasks:
        prompt, whole = base_prompt(task.question), worked(task)
        ids = torch.tensor([tokenizer(whole).input_ids])
        with torch.no_grad():
            logp = model(ids).logits[0, :-1].log_softmax(-1)
        own = range(len(tokenizer(prompt).input_ids), ids.shape[1])
        by_hand.append(float(np.mean([-logp[i - 1, ids[0, i]].item() for i in own])))
    found = solution_loss(model, tokenizer, tasks, batch=2)
    assert found.mean == pytest.approx(np.mean(by_hand), abs=1e-4) and found.n == 5


def test_the_scaling_figure_shows_every_repeat_and_the_control_beside_the_largest():
    e = Estimate(0.5, 0.4, 0.6, 10)
    points = {size: (e, [0.4, 0.6]) for size in (10, 20, 40, 1600)}
    control = Estimate(0.3, 0.2, 0.4, 10), [0.3, 0.35, 0.25]
    figure = plots.scaling(points, control, 0.7, "+1.0 points per doubling")
    figure.canvas.draw()
    axis = figure.axes[0]
    dots = [line for line in axis.get_lines() if line.get_marker() == "o"]
    assert [len(line.get_ydata()) for line in dots] == [2, 2, 2, 2, 3]
    assert all(line.get_xdata()[0] < 40 for line in dots[:3]) and dots[4].get_xdata()[0] > 1600
    assert [label.get_text() for label in axis.get_xticklabels()] == ["10", "20", "40", "1,600"]
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert "10 conversations, as many steps as 1,600" in labels and axis.get_xscale() == "log"
    assert [70.0, 70.0] in [list(line.get_ydata()) for line in axis.get_lines()], "the base before"


def test_grouped_bars_keep_the_order_of_the_categories():
    e = Estimate(0.5, 0.4, 0.6, 10)
    axis = plots.grouped_bars({"a": {"science": e, "level 1": e}, "b": {"code": e}}, "share").axes[0]
    assert [label.get_text() for label in axis.get_xticklabels()] == ["science", "level 1", "code"]


def test_the_ladder_names_a_stage_that_changed_nothing():
    steps = {"DPD": Estimate(0.5, 0.4, 0.6, 9), "RL: + code (start kept)": Estimate(0.5, 0.4, 0.6, 9)}
    labels = plots.ladder(steps, None, "title").axes[0].get_xticklabels()
    assert [label.get_text() for label in labels] == ["DPD", "RL:\n+ code\n(start kept)"]
