"""`nbkit plan`: the report's own plan, every profile's, and profiles whose plan cannot be followed."""

import re

import pytest

from nbkit.cli import plan_command
from nbkit.pretrain.fg_wsd import fg_wsd, for_model
from nbkit.pretrain.plan import learning_rate, total_tokens
from nbkit.run import params


def test_the_plan_of_full_holds_the_reports_figures():
    arms, _, planned = plan_command.plans("full")
    fg = arms["FG-WSD"]
    wanted = [0.1e12, 12.4e12, 6.5e12, 4e12]
    assert [s.total for s in fg] == pytest.approx(wanted, rel=1e-4)
    assert [(s.lr_from, s.lr_to) for s in fg] == [
        (0, 4.5e-4), (4.5e-4, 4.5e-4), (4.5e-4, 4.5e-4), (4.5e-4, 1.5e-6),
    ]  # fmt: skip
    assert fg[-1].seq_len == 65_536 and set(fg[2].tokens.values()) == {0, fg[2].total}
    assert learning_rate(total_tokens(fg), fg) == 1.5e-6
    assert (planned.seq_len, planned.step_tokens) == (4096, 1024 * 4096)
    assert [s.total for s in arms["vanilla WSD"]] == [s.total for s in fg]


@pytest.mark.parametrize("profile", ["smoke", "small", "claims", "smollm2", "gpu", "full"])
def test_every_profile_has_a_plan(profile):
    text = plan_command.table(profile)
    assert len(re.findall(r"^  (?:warmup|diversity|high_quality|decay) ", text, re.M)) == 8
    assert "FG-WSD:" in text and "vanilla WSD:" in text


@pytest.mark.parametrize(
    ("stage", "change", "message"),
    [
        (
            "02_pretrain",
            {"batch": 3},
            r"batch: 3 rows .* steps of 768 tokens.* set batch to 4 in 02_pretrain",
        ),
        ("01_data_mix", {"step_tokens": 2560}, "step_tokens: got 2560 with decay_seq_len=1024"),
        ("01_data_mix", {"total_tokens": 10_000, "validation_rows": 4}, "lower decay_seq_len"),
        ("01_data_mix", {"max_epochs": 2.0}, "pool 'hq': .* over 2; enlarge the pool"),
    ],
)
def test_a_profile_whose_plan_cannot_be_followed_is_refused(monkeypatch, stage, change, message):
    original = params.load_profile
    monkeypatch.setattr(params, "load_profile", lambda *a: original(*a) | (change if a[1] == stage else {}))
    with pytest.raises(ValueError, match=message):
        plan_command.plans("small")


def test_the_plan_is_the_one_that_01_would_publish_for_such_pools():
    arms, pools, planned = plan_command.plans("small")
    stages = fg_wsd(2_400_000, 1024, pools, 256, 1024, 0.15)
    assert planned.stages == stages
    assert arms["FG-WSD"] == for_model(stages, 2e-3, 6.7e-6, rope_base=10_000.0, decay_rope_base=100_000.0)
