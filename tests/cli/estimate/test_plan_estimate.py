"""The estimate of `nbkit plan`: published runs, every profile, what is refused and the change that helps."""

import re

import pytest

from nbkit.cli import main
from nbkit.cli.estimate import changes, check, report, stages
from nbkit.cli.estimate.cost import cost
from nbkit.cli.estimate.hardware import GPUS, device
from nbkit.cli.estimate.memory import How, held
from nbkit.cli.estimate.shapes import KNOWN, Shape
from nbkit.cli.estimate.work import Work
from nbkit.models import training
from nbkit.run import files

SMOLLM3 = KNOWN["HuggingFaceTB/SmolLM3-3B-Base"]
OLMO3 = {
    7.7e3: Shape(4096, 32, 32, 32, 11_008, 100_278, False),
    1.9e3: Shape(5120, 64, 40, 8, 27_648, 100_278, False),
}


def test_smollm3_took_as_long_as_the_estimate_says():
    found = check.published()
    assert found["planned_days"] == pytest.approx(24, rel=0.2)
    assert found["planned_days"] == 25.6  # by hand: 11.2e12 * 22.07e9 / (384 * 989e12 * 0.294) seconds


@pytest.mark.parametrize("published", OLMO3)
def test_olmo3_reached_an_mfu_above_the_default(published):
    """7,700 and 1,900 tokens/s and GPU at 8K context (muxup.com/2025q4/minipost-olmo3-training-cost)."""
    per_token = OLMO3[published].flops_per_token(8192)
    reached = published * per_token / GPUS["h100"].flops
    assert 0.4 < reached < 0.47 and GPUS["h100"].mfu < reached


def test_the_reports_run_on_512_h100():
    """The worked example of docs/scale.md: 3.93B parameters, 23T tokens, the last 4T at 64K."""
    found, weights = check.worked(), 3.5086  # billions that are multiplied with: all but the input table
    long, short = (12 * 32 * 2560 * length / 1e9 for length in (65_536, 4096))
    assert found["flops"] == pytest.approx((23 * 6 * weights + 19 * short + 4 * long) * 1e21, rel=1e-3)
    # 4/3: what is computed again.
    assert found["days"] == pytest.approx(found["flops"] * 4 / 3 / (512 * 989e12 * 0.3) / 86_400, abs=0.06)
    assert found["refused"] == [] and found["peak_bytes"] < 73e9


@pytest.mark.parametrize("profile", ["smoke", "small", "claims", "smollm2", "teacher", "gpu", "full"])
def test_every_profile_has_an_estimate(profile):
    found = report.estimate(profile)
    assert list(found.costs) == list(report.params.schemas())
    text = report.table(profile, found)
    assert text.count("\n") > 20 and "nan" not in text and max(map(len, text.splitlines())) < 200
    assert found.device.name == ("h100" if profile in ("gpu", "full") else "cpu")
    assert bool(found.refused) == (profile == "full")


def test_on_the_cpu_it_says_about_what_was_measured():
    """The rates were fitted to these times, so this is no prediction (docs/scale.md has one). 05 and 06 of
    `small` were timed with an arm and a loop that they do not have any more."""
    times, errors = files.read_json(files.of_project("outputs/reference/benchmarks/plan_times.json")), {}
    for profile in ("small", "smoke"):
        found = report.estimate(profile)
        for stage, costs in found.costs.items():
            seconds = report.seconds_of(costs, found.device)
            if (profile, stage[:2]) not in (("small", "05"), ("small", "06")):
                errors[profile, stage] = seconds / times[profile][stage] - 1
    within = [key for key, error in errors.items() if abs(error) <= 0.33]
    assert len([key for key in within if key[0] == "small"]) == 5
    assert max(map(abs, errors.values())) < 0.65, errors


@pytest.mark.parametrize(
    ("changed", "advice"),
    [
        ({}, ""),
        ({"chunked_loss": False}, "-p chunked_loss=true"),
        (
            {"activation_checkpointing": "none", "chunked_loss": False},
            "-p chunked_loss=true -p activation_checkpointing=layers",
        ),
        ({"activation_checkpointing": "none"}, "-p activation_checkpointing=layers"),
    ],
)
def test_the_smallest_change_that_fits_is_named(changed, advice):
    options = report.Options(stages=("02_pretrain",), overrides=changed)
    found = report.estimate("full", options)
    lines = [line for line in found.refused if "student_fg" in line]
    assert [line.rpartition("smallest change: ")[2] for line in lines] == ([advice] if advice else [])
    if advice:
        # With the change that it names, it fits.
        asked = dict(re.findall(r"-p (\w+)=(\w+)", advice))
        values = {name: True if value == "true" else value for name, value in asked.items()}
        options = report.Options(stages=("02_pretrain",), overrides=changed | values)
        assert not [line for line in report.estimate("full", options).refused if "student_fg" in line]


def test_what_no_parameter_helps_is_said(capsys):
    assert main(["plan", "--profile", "full", "--only", "06"]) == 2
    said = capsys.readouterr()
    assert "06_rl: judge: " in said.err and "no parameter of this stage" in said.err
    assert "DOES NOT FIT" in said.out


def test_grpo_whose_step_is_too_large_is_told_to_take_passes(capsys):
    given = ["-p", "completions_per_pass=0", "-p", "launcher=inline", "-p", "processes=1", "-p", "nodes=1"]
    assert main(["plan", "--profile", "full", "--only", "06", *given, "-p", "sharding=ddp"]) == 2
    said = capsys.readouterr().err
    wanted = "-p completions_per_pass=1 -p launcher=torchrun -p processes=8 -p sharding=fsdp2"
    assert "stem: GRPO, code: GRPO, preference: GRPO: 15.4 TiB of 68.5 GiB on h100" in said and wanted in said


def test_a_profile_that_fits_ends_well(capsys):
    assert main(["plan", "--profile", "small"]) == 0
    out = capsys.readouterr().out
    assert "student_fg" in out and "in all:" in out and "first sequences of decay" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--gpu", "h10"], "unknown (did you mean 'h100'?); known: a100"),
        (["--gpus", "-1"], "wanted one GPU or more"),
        (["--mfu", "1.5"], "a share of the peak between 0 and 1"),
        (["--only", "08"], "unknown stage '08'"),
        (["-p", "batsch=3"], "did you mean 'batch'"),
        (
            ["--only", "03", "--gpus", "48"],
            "batch: got 64 rows a step for 8 x 6 processes, wanted a multiple of 48",
        ),
        (["--only", "02", "--gpus", "512"], "64 of the longest sequences, which 512 devices cannot share"),
    ],
)
def test_wrong_options_are_refused_in_words(arguments, message, capsys):
    assert main(["plan", "--profile", "full", *arguments]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(("batch", "devices"), [(1024, 64), (1024, 1), (1024, 32)])
def test_devices_that_divide_the_sequences_of_a_step_are_fine(batch, devices):
    assert changes.too_many_devices(batch, 16, devices, 4096) == ""


def test_devices_that_do_not_divide_them_are_not():
    said = changes.too_many_devices(1024, 16, 48, 4096)
    assert said.endswith("do not split evenly over 48 devices; smallest change: --gpus 32")


def test_what_is_sharded_and_what_is_not():
    shape = SMOLLM3
    ddp, fsdp = (sum(held(shape, How(4096, 8, kind)).values()) for kind in ("ddp", "fsdp2"))
    assert ddp == pytest.approx((16 + 2 + 4) * shape.parameters)
    assert fsdp == pytest.approx(16 * shape.parameters / 8 + 2 * (2 * shape.layer + shape.embeddings))


def test_decoding_is_bound_by_the_weights_it_reads():
    """One sequence at a time: every token reads all weights (Pope et al., arXiv 2211.05102)."""
    alone = Work("x", "generate", SMOLLM3, 1000.0, 10_000_000)  # one cache fills the card
    found = cost(alone, device("h100"))
    assert not found.fits and found.limit == "bandwidth"
    many = cost(Work("x", "generate", SMOLLM3, 1000.0, 1024), device("h100"))
    assert many.fits and many.seconds < found.seconds / 50


def test_a_model_whose_size_is_unknown_is_not_counted():
    options = report.Options(overrides={"teacher_model": "vllm:Qwen/Qwen3-8B"}, stages=("04_sft_overall",))
    found = report.estimate("small", options)
    text = report.table("small", found)
    assert "refinement            not counted" in text and not found.refused


def test_long_rows_are_those_of_the_trainers():
    assert stages.LONG == training.LONG
