"""The scalar reward model, and how judges are measured: by hand-computed cases and invariants."""

import math

import numpy as np
import pytest
import tiny
import torch

from nbkit.rl import reward_model
from nbkit.rl.judge import PairwiseJudge, held_back, judged
from nbkit.sft.sft import SFTSettings

PAIRS = [{"prompt": f"Say {n}.", "chosen": f"{n}", "rejected": f"well {n}"} for n in range(40)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("tiny")
    tiny.model().save_pretrained(path)
    tiny.tokenizer().save_pretrained(path)
    return path


class Fixed:
    """P(first) by the first answer: what a judge of these numbers says in one order, and in both."""

    def __init__(self, first, both):
        self.first, self.both = first, both

    def first_wins(self, triples):
        return np.array([self.first[a] for _, a, _ in triples])

    def prefer(self, triples):
        return np.array([self.both[a] for _, a, _ in triples])


def test_accuracy_position_and_calibration_by_hand():
    pairs = [{"prompt": "q", "chosen": c, "rejected": r} for c, r in ("ax", "by", "cz", "dw")]
    first = {"a": 0.9, "b": 0.7, "c": 0.4, "d": 0.6, "x": 0.3, "y": 0.5, "z": 0.8, "w": 0.6}
    found = judged(Fixed(first, {"a": 0.8, "b": 0.8, "c": 0.3, "d": 0.5}), pairs)
    # Right, right, wrong and a tie, which is half right.
    assert found.accuracy.mean == pytest.approx(2.5 / 4)
    assert found.first == pytest.approx(sum(first.values()) / 8)
    # Bins: 0.8 twice, sure 1.6 and right 2; 0.7 once, right 0; 0.5 once, right 0.5.
    assert found.calibration == pytest.approx((0.4 + 0.7 + 0.0) / 4)
    assert set(found.dict()) == {"accuracy", "first", "calibration"}  # no time: it differs between runs


def test_both_orders_take_away_a_preference_for_a_place(folder):
    judge = PairwiseJudge(*reward_model.load(folder))
    with torch.no_grad():
        judge.model.lm_head.weight[judge.ids[0]] += 1.0
    triples = [(pair["prompt"], pair["chosen"], pair["rejected"]) for pair in PAIRS]
    swapped = [(q, b, a) for q, a, b in triples]
    assert np.allclose(judge.prefer(triples) + judge.prefer(swapped), 1)


def test_an_untrained_reward_model_has_no_opinion(folder):
    judge = reward_model.ScalarJudge(*reward_model.with_scalar_head(folder, seed=0))
    assert judge.prefer([("q", "a", "b")]).tolist() == [0.5] and judge.prefer([]).tolist() == []


def test_a_score_depends_on_its_own_answer_only(folder):
    model, tokenizer = reward_model.with_scalar_head(folder, seed=0)
    torch.nn.init.normal_(model.score.weight)
    answers = [("Say 4.", "4"), ("Say much.", "four and four and four and four"), ("?", "")]
    together = reward_model.ScalarJudge(model, tokenizer).scores(answers)
    alone = reward_model.ScalarJudge(model, tokenizer, batch=1).scores(answers)
    assert np.allclose(together, alone, atol=1e-5) and len(set(together.round(4))) == 3
    # Bradley-Terry: the difference decides, so that the orders mirror each other.
    judge = reward_model.ScalarJudge(model, tokenizer)
    (one,) = judge.prefer([("Say 4.", "4", "")])
    a, b = judge.scores([("Say 4.", "4"), ("Say 4.", "")])
    assert one == pytest.approx(1 / (1 + math.exp(b - a)), abs=1e-6)
    assert judge.prefer([("Say 4.", "", "4")])[0] == pytest.approx(1 - one, abs=1e-6)


def test_it_learns_what_raters_prefer(folder, tmp_path):
    settings = SFTSettings(lr=1e-3, batch=8, max_length=64, seed=0, epochs=8.0)
    judge = reward_model.train_scalar(folder, PAIRS[:30], settings, tmp_path)
    assert judged(judge, PAIRS[30:]).accuracy.mean == 1.0 and judged(judge, PAIRS).first == 0.5


def test_pairs_that_are_too_long_are_an_error_when_none_is_left(folder, tmp_path):
    settings = SFTSettings(lr=1e-3, batch=8, max_length=3, seed=0)
    with pytest.raises(ValueError, match="max_length: got 3, but every one of 40 pairs"):
        reward_model.train_scalar(folder, PAIRS, settings, tmp_path)
    with pytest.raises(ValueError, match=r"pairs\[0\].chosen"):
        reward_model.train_scalar(folder, [{"prompt": "q", "chosen": 4, "rejected": "b"}], settings, tmp_path)


def test_no_question_is_both_learned_and_measured():
    pairs = [{"prompt": f"q{n % 7}", "chosen": f"{n}", "rejected": "x"} for n in range(70)]
    learned, held = held_back(pairs, seed=0)
    assert len(held) == 14 and len(learned) == 50  # two questions of ten pairs; six pairs are dropped
    assert not {pair["prompt"] for pair in learned} & {pair["prompt"] for pair in held}
    assert len(held_back(pairs, seed=0, most=5)[1]) == 5 and held_back(pairs, seed=0) == (learned, held)
    assert held_back(pairs, seed=1)[1] != held
    assert held_back([], seed=0) == ([], [])
