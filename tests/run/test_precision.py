"""Which number format is chosen on which machine, who may override it, and the fast tests in fp32."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import tiny
import torch

from nbkit.cli import planning
from nbkit.models.engine import Generator
from nbkit.models.training import shared_arguments
from nbkit.run import params, precision
from nbkit.run.schemas import SCHEMAS, Computing

ROOT = Path(__file__).resolve().parents[2]
# The files that train and generate; together they take seconds.
FAST = [
    "models/test_engine.py",
    "sft/test_sft.py",
    "rl/test_grpo.py",
    "pretrain/test_throughput.py",
    "pretrain/test_rope.py",
]


@pytest.fixture
def machine(monkeypatch):
    """Sets what the CPU says of itself: (oneDNN takes bf16, AVX512-BF16, AMX, architecture)."""

    def make(onednn, avx512_bf16, amx, architecture="x86_64"):
        monkeypatch.delenv(precision.VARIABLE, raising=False)
        monkeypatch.delenv("ONEDNN_MAX_CPU_ISA", raising=False)
        monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
        monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: onednn, raising=False)
        monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: avx512_bf16)
        monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx)
        monkeypatch.setattr(precision.platform, "machine", lambda: architecture)
        monkeypatch.setattr(precision, "bf16_pays", lambda: True)

    return make


@pytest.mark.parametrize(
    ("onednn", "avx512_bf16", "amx", "architecture", "wanted"),
    [
        (True, True, False, "x86_64", "bf16"),  # Zen 4, Cooper Lake
        (True, False, True, "AMD64", "bf16"),  # AMX alone, and Windows' name for x86-64
        (True, False, False, "x86_64", "fp32"),  # AVX512 without bf16 units: oneDNN emulates
        (False, False, False, "x86_64", "fp32"),  # AVX2
        (False, True, True, "x86_64", "fp32"),  # oneDNN is limited to AVX2
        (True, False, False, "aarch64", "bf16"),  # Graviton 3: oneDNN asks the CPU itself
        (False, False, False, "arm64", "fp32"),
    ],
)
def test_auto_is_bf16_only_where_the_cpu_multiplies_it(
    machine, onednn, avx512_bf16, amx, architecture, wanted
):
    machine(onednn, avx512_bf16, amx, architecture)
    assert precision.precision() == wanted


@pytest.mark.parametrize("isa", ["AVX2", "avx512_core", "AVX512_CORE_VNNI", "SSE41"])
def test_a_limit_set_for_onednn_is_heeded(machine, monkeypatch, isa):
    machine(True, True, True)
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", isa)
    assert precision.precision() == "fp32"


@pytest.mark.parametrize("isa", ["ALL", "AVX512_CORE_BF16", "AVX10_1_512_AMX", "default"])
def test_a_limit_that_leaves_bf16_changes_nothing(machine, monkeypatch, isa):
    machine(True, True, True)
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", isa)
    assert precision.precision() == "bf16"


def test_auto_is_fp32_where_bf16_is_slower_but_bf16_may_be_asked_for(machine, monkeypatch, recwarn):
    machine(True, True, False)
    monkeypatch.setattr(precision, "bf16_pays", lambda: False)
    assert precision.precision() == "fp32"
    monkeypatch.setenv(precision.VARIABLE, "bf16")
    assert precision.precision() == "bf16" and not recwarn.list


def test_products_are_timed_in_both_formats(monkeypatch):
    ticks = {torch.bfloat16: 3.0, torch.float32: 1.0}
    clock = [0.0]

    class Matrix:
        def __init__(self, kind):
            self.kind = kind

        def __matmul__(self, other):
            clock[0] += ticks[self.kind]

    monkeypatch.setattr(precision.torch, "ones", lambda *size, dtype: Matrix(dtype))
    monkeypatch.setattr(precision.time, "perf_counter", lambda: clock[0])
    assert not precision.bf16_pays.__wrapped__()
    ticks[torch.bfloat16] = 0.5
    assert precision.bf16_pays.__wrapped__()


def test_a_torch_without_onednn_trains_in_fp32(machine, monkeypatch):
    machine(True, True, True)

    def missing():
        raise AttributeError("no such operator")

    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", missing)
    assert precision.precision() == "fp32"


def test_a_gpu_that_only_emulates_bf16_trains_in_fp32(machine, monkeypatch):
    machine(True, True, True)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: including_emulation)
    assert precision.precision() == "fp32"
    assert precision.training_flags() == {"bf16": False}


def test_the_environment_switches_it_and_the_parameter_comes_first(machine, monkeypatch):
    machine(True, True, False)
    monkeypatch.setattr(precision, "_GIVEN", "fp32")
    monkeypatch.setenv(precision.VARIABLE, "fp32")
    assert precision.precision() == "fp32"
    precision.use("bf16")
    assert precision.precision() == "bf16"
    precision.use("auto")
    assert precision.precision() == "fp32", "auto goes back to what the user's environment says"


def test_auto_forgets_an_earlier_parameter(machine, monkeypatch):
    machine(True, True, False)
    monkeypatch.setattr(precision, "_GIVEN", None)
    monkeypatch.setenv(precision.VARIABLE, "auto")
    precision.use("fp32")
    assert precision.precision() == "fp32"
    precision.use("auto")
    assert precision.precision() == "bf16" and precision.VARIABLE not in os.environ


def test_unknown_names_are_refused(monkeypatch):
    monkeypatch.setenv(precision.VARIABLE, "fp16")
    with pytest.raises(ValueError, match="NBKIT_PRECISION: got 'fp16', wanted one of auto, bf16, fp32"):
        precision.precision()
    with pytest.raises(ValueError, match="precision: got 'half', wanted one of auto, bf16, fp32"):
        precision.use("half")


def test_an_unknown_name_in_the_environment_is_refused_before_anything_runs(monkeypatch):
    monkeypatch.setenv(precision.VARIABLE, "fp16")
    with pytest.raises(ValueError, match="NBKIT_PRECISION: got 'fp16', wanted one of auto, bf16, fp32"):
        planning.plan(list(SCHEMAS), "smoke", {})


def test_bf16_where_it_is_emulated_is_a_warning(machine, monkeypatch):
    machine(False, False, False)
    monkeypatch.setenv(precision.VARIABLE, "bf16")
    with pytest.warns(UserWarning, match="only emulates it"):
        assert precision.precision() == "bf16"


@pytest.mark.parametrize("name", ["fp32", "bf16"])
def test_trainers_and_generators_follow_it(machine, monkeypatch, tmp_path, name):
    machine(True, True, False)
    monkeypatch.setenv(precision.VARIABLE, name)
    assert shared_arguments(tmp_path, 0)["bf16"] is (name == "bf16")
    generator = Generator(tiny.model(), tiny.tokenizer())
    assert next(generator.model.parameters()).dtype == precision.dtype()
    assert precision.dtype() == {"fp32": torch.float32, "bf16": torch.bfloat16}[name]


def test_every_stage_that_runs_a_model_has_the_parameter():
    assert [stage for stage, schema in SCHEMAS.items() if issubclass(schema, Computing)] == list(SCHEMAS)[1:]
    with pytest.raises(ValueError, match="precision='fp16' is not one of"):
        params.coerce(SCHEMAS["05_dpd"], {"precision": "fp16"})
    assert Computing.about("precision")["choices"] == list(precision.CHOICES)


@pytest.mark.skipif(not precision.cpu_has_bf16(), reason="all tests run in fp32 on this machine")
def test_the_fast_tests_pass_where_bf16_is_switched_off():
    """As on a CPU with AVX2 alone: oneDNN would emulate bf16 there, so nothing may ask for it."""
    environment = os.environ | {
        "ONEDNN_MAX_CPU_ISA": "AVX2",
        "ATEN_CPU_CAPABILITY": "avx2",
        precision.VARIABLE: "auto",
        "OMP_NUM_THREADS": "1",
    }
    files = [str(ROOT / "tests" / name) for name in FAST]
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *files]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3000:]
