"""In which number format the kit trains and generates: bf16 where the machine multiplies it faster, else
fp32.

One setting for the whole process, so that trainers, generators and the processes they start agree. The
parameter `precision` of notebooks 02-07 sets it; the environment variable NBKIT_PRECISION stands for it where
the parameter is "auto" (tests, benchmarks, a whole run).
"""

import functools
import os
import platform
import time
import warnings

import torch

CHOICES = ("auto", "bf16", "fp32")
VARIABLE = "NBKIT_PRECISION"
_GIVEN = os.environ.get(VARIABLE)  # what the user set, before a notebook's parameter replaced it
# Limits of oneDNN (its variable ONEDNN_MAX_CPU_ISA) that leave bf16 products to the hardware.
_ISA_WITH_BF16 = ("BF16", "FP16", "AMX", "AVX10", "DEFAULT", "ALL")


def cpu_has_bf16() -> bool:
    """Does this CPU multiply bf16 itself? x86 does with AMX or AVX512-BF16.

    oneDNN says yes to every CPU with AVX512 and emulates bf16 where the instructions are missing, at less
    than half the speed of fp32. With AVX2 alone the emulation is 30 to 100 times slower than fp32.
    """
    try:
        supported = bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    except (AttributeError, RuntimeError):  # a torch that was built without oneDNN, as on macOS
        return False
    # Elsewhere (ARM) oneDNN's answer is taken: the emulation spoken of above is that of x86.
    if platform.machine().lower() not in ("x86_64", "amd64"):
        return supported
    # A limit that the user set keeps oneDNN from instructions that the processor has.
    isa = os.environ.get("ONEDNN_MAX_CPU_ISA", "ALL").upper()
    limited = not any(name in isa for name in _ISA_WITH_BF16)
    native = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return supported and native and not limited


def has_bf16() -> bool:
    """Does the device that trains here multiply bf16 itself? A GPU before Ampere (T4, V100) emulates it."""
    if torch.cuda.is_available():
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return cpu_has_bf16()


@functools.cache
def bf16_pays() -> bool:
    """Is a product of bf16 matrices at least as fast as one of fp32 on this CPU? Measured once per process,
    in some 50 ms. A virtual machine may offer the instructions and run them at half the speed of fp32; where
    they are real they are about twice as fast, so a busy machine does not change the answer."""

    def best(kind: torch.dtype) -> float:
        a, seconds = torch.ones(384, 384, dtype=kind), []
        for _ in range(24):
            start = time.perf_counter()
            a @ a
            seconds.append(time.perf_counter() - start)
        return min(seconds)

    return best(torch.bfloat16) <= best(torch.float32)


def use(name: str) -> None:
    """Set the precision of this process and of those it starts; "auto" goes back to what the user's
    environment says. Raises ValueError for an unknown name."""
    value = _GIVEN if name == "auto" else _checked("precision", name)
    if value is None:
        os.environ.pop(VARIABLE, None)
    else:
        os.environ[VARIABLE] = value


def precision() -> str:
    """ "bf16" or "fp32": what to train and generate in. Raises ValueError where NBKIT_PRECISION is neither of
    these nor "auto"; warns where bf16 was asked for and the machine only emulates it."""
    # The variable, since it reaches the processes that are started from here as well.
    name = _checked(VARIABLE, os.environ.get(VARIABLE) or "auto")
    if name == "auto":
        return "bf16" if has_bf16() and (torch.cuda.is_available() or bf16_pays()) else "fp32"
    if name == "bf16" and not has_bf16():
        warnings.warn(
            "precision: bf16 was asked for, but this machine only emulates it, many times slower than fp32; "
            "use precision=auto or fp32",
            stacklevel=2,
        )
    return name


def dtype() -> torch.dtype:
    """`precision()` as a torch dtype."""
    return torch.bfloat16 if precision() == "bf16" else torch.float32


def training_flags() -> dict:
    """TrainingArguments: bf16 autocast or not, and the CPU named where there is no GPU."""
    return {"bf16": precision() == "bf16"} | ({} if torch.cuda.is_available() else {"use_cpu": True})


def _checked(key: str, name: str) -> str:
    if name not in CHOICES:
        raise ValueError(f"{key}: got {name!r}, wanted one of {', '.join(CHOICES)}")
    return name
