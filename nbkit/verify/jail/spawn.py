"""Start the worker of a tier (used by `jail.py`)."""

from nbkit.verify.jail import link, tiers, wasm

Worker = link.ForkWorker | wasm.WasmWorker


def worker(tier: str, wall_s: float, memory_mb: int, math: bool, numpy: bool) -> tuple[Worker, list[str]]:
    """A started worker of `tier`, and the layers that confine its jobs.

    Args:
        tier: one of tiers.TIERS.
        wall_s: seconds that a job may take; its processor time is bounded a little above.
        memory_mb: MiB of address space that a job may add to the worker's.
        math: let jobs import sympy and Math-Verify.
        numpy: let jobs import numpy, where it is installed.

    Raises OSError when it does not start.
    """
    if tier == "wasmtime":
        return wasm.WasmWorker(memory_mb, math), ["wasmtime"]
    # What a job may import beyond the standard library has to be visible inside the confinement.
    math_folders = tiers.math_folders() if math else None
    numpy_folder = tiers.numpy_folder() if numpy else None
    folders = [*(math_folders or ()), *([numpy_folder] if numpy_folder else ())]
    settings = {
        "cpu_s": int(wall_s) + 2,
        "landlock": tier != "seccomp",
        "math": math_folders,
        "numpy": numpy_folder,
    }
    started = link.ForkWorker(tiers.python_command(tier, folders), settings, memory_mb)
    return started, [*(["bubblewrap"] if tier == "bubblewrap" else []), *started.layers]
