"""Rules across the parameters of one stage."""

import pytest

from nbkit.run import params
from nbkit.run.schemas import SCHEMAS

URL = "http://localhost:8000/v1"


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"teacher_model": URL, "teacher_samples": 0}, "teacher_name: got ''"),
        ({"teacher_name": "qwen"}, "teacher_name: got 'qwen'"),
        ({"teacher_key": "KEY"}, "teacher_key 'KEY'"),
        (
            {"teacher_model": URL, "teacher_name": "qwen", "teacher_samples": 9},
            "teacher_samples: got 9, but http",
        ),
        ({"teacher_model": "vllm:qwen", "teacher_samples": 9}, "teacher_samples: got 9, but vllm:qwen"),
        ({"shares": [0.4, 0.3, 0.3]}, "shares: got"),
    ],
)
def test_teachers_of_04_that_cannot_be(values, message):
    with pytest.raises(ValueError, match=message):
        params.coerce(SCHEMAS["04_sft_overall"], values)


def test_an_endpoint_may_be_the_teacher_of_04():
    values = {"teacher_model": URL, "teacher_name": "qwen"}
    assert params.coerce(SCHEMAS["04_sft_overall"], values).teacher_name == "qwen"


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"top_k": 8, "against": ["on_policy"]}, "top_k: got 8, but on_policy samples what no teacher"),
        ({"few": [8], "batch": 16}, r"few: got \[8\], wanted at least one batch of 16"),
        ({"against": ["ppo"]}, "against='ppo' is not one of"),
    ],
)
def test_comparisons_of_05_that_cannot_be(values, message):
    with pytest.raises(ValueError, match=message):
        params.coerce(SCHEMAS["05_dpd"], values)


def test_evidence_of_04_is_named():
    with pytest.raises(ValueError, match="evidence='gold' is not one of"):
        params.coerce(SCHEMAS["04_sft_overall"], {"evidence": "gold"})
