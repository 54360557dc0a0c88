"""How fast this machine is, so that expected times of another machine can be scaled. Used by runner.py.

Three rates, the best of many short tries each, because other work can only slow a try down: plain Python
(loops/s), matrix products (FLOP/s) and training of a tiny model (tokens/s), the latter two in the number
format that training uses here. About two seconds in all, once per machine: the result is kept in
`outputs/.calibration.json` under a fingerprint of processor, cores, threads, torch and number format.
The rates of the machine that made outputs/reference/timings.json stand there under "calibration".

    python -m nbkit.cli.calibrate                   # the rates of this machine as JSON
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from importlib import metadata
from pathlib import Path

from nbkit.run import files, provenance

KINDS = ("python", "matmul", "train")
# What the time of a stage follows. 01 trains no network; in the others generation and training weigh most.
FOLLOWS = {"01_data_mix": ("python",)}
_OTHERS = ("matmul", "train")
_SECONDS = 0.6  # of tries per rate
_PATIENCE_S = 60.0  # for all of it, the import of torch included
Rates = Mapping[str, float]


def slowdown(stage: str, here: Rates, there: Rates) -> float:
    """How many times longer a stage takes here than there: the geometric mean over the rates it follows.

    >>> slowdown("02_pretrain", {"matmul": 1e9, "train": 5e3}, {"matmul": 4e9, "train": 5e3})
    2.0
    """
    kinds = FOLLOWS.get(stage, _OTHERS)
    product = 1.0
    for kind in kinds:
        product *= there[kind] / here[kind]
    return product ** (1 / len(kinds))


def origin(factor: float) -> str:
    """Where an expectation comes from that was multiplied by `factor`, in words."""
    kind = "faster" if factor > 1.1 else "slower" if factor < 1 / 1.1 else "similar"
    return f"scaled from a {kind} machine"


def fingerprint() -> str:
    """What the rates depend on, without importing torch: two machines, or settings, never share rates."""
    try:
        torch = metadata.version("torch")
    except metadata.PackageNotFoundError:
        torch = None
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "NBKIT_PRECISION", "ONEDNN_MAX_CPU_ISA")
    settings = {name: os.environ[name] for name in names if os.environ.get(name)}
    about = {"cpu": provenance.cpu(), "cores": provenance.cores(), "torch": torch, **settings}
    return files.digest(about | {"gpus": os.environ.get("CUDA_VISIBLE_DEVICES")})[:16]


def here(measure: bool = True, say: Callable[[str], None] = lambda text: None) -> Rates | None:
    """The rates of this machine: those kept, else measured now in a process of its own and kept, which `say`
    is told. None where nothing is kept and they cannot, or (`measure` False) shall not be measured."""
    name, kept = fingerprint(), _kept()
    # Kept rates are of this very fingerprint: other threads or another torch measure anew.
    for known in kept.values():
        if _whole(known.get(name)):
            return known[name]
    if not measure:
        return None
    say("measuring how fast this machine is, once, for the expected times")
    if (found := _measured()) is None:
        return None
    # The first place that can be written; a read-only checkout keeps them with its outputs.
    for path, known in kept.items():
        with contextlib.suppress(OSError):
            files.write_json(path, known | {name: found})
            break
    return found


def _kept() -> dict[Path, dict]:
    """What earlier runs kept, by file: the checkout's own, which every outputs root shares, and that of this
    outputs root, for a checkout that is read-only."""
    kept = {}
    for root in (files.project_root() / "outputs", files.outputs_root()):
        path = root / ".calibration.json"
        kept[path] = {}
        with contextlib.suppress(OSError, ValueError):
            found = files.read_json(path)
            kept[path] = found if isinstance(found, dict) else {}
    return kept


def _whole(rates: object) -> bool:
    """Is this a positive rate of every kind?"""
    return isinstance(rates, Mapping) and all(
        isinstance(rates.get(kind), int | float) and rates[kind] > 0 for kind in KINDS
    )


def _measured() -> Rates | None:
    """In a process of its own: the command line does without torch. None if that fails; no run does."""
    home = str(Path(__file__).resolve().parents[2])
    path = os.pathsep.join(filter(None, [home, os.environ.get("PYTHONPATH")]))
    try:
        done = subprocess.run(
            [sys.executable, "-m", "nbkit.cli.calibrate"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_PATIENCE_S,
            env=os.environ | {"PYTHONPATH": path},
        )
        found = json.loads(done.stdout.splitlines()[-1])
    except (OSError, ValueError, IndexError, subprocess.TimeoutExpired):
        return None
    return found if _whole(found) else None


def reference_rates(timings: Mapping) -> Rates | None:
    """The rates of the machine that a timings.json is from; None where it does not say them."""
    found = timings.get("calibration")
    return found if _whole(found) else None


def best(
    work: Callable[[], float],
    clock: Callable[[], float],
    seconds: float = _SECONDS,
    now: Callable[[], float] = time.perf_counter,
) -> float:
    """The highest rate of amounts per second of `clock`; `work` does some and returns how much. One try
    warms up, at least two count, and all last about `seconds`."""
    # The first try loads and warms up; it does not count.
    work()
    rates, start = [], now()
    while len(rates) < 2 or now() - start < seconds:
        before = clock()
        amount = work()
        if (took := clock() - before) > 0:  # clocks tick
            rates.append(amount / took)
        elif now() - start > 10 * seconds:
            raise ValueError("the clock stands still")
    return max(rates)


def measure() -> dict[str, float]:
    """The three rates of this machine, to three significant digits.

    On a processor one thread works and its processor time counts, so that other programs hardly disturb;
    products are multiplied by the number of threads, as large ones use all. A tiny model gains little."""
    import torch  # noqa: PLC0415 (torch takes seconds, and only a measurement needs it)

    from nbkit.run import precision  # noqa: PLC0415 (with torch, which a project without models may lack)

    gpu, threads = torch.cuda.is_available(), torch.get_num_threads()
    device, clock = ("cuda", time.perf_counter) if gpu else ("cpu", time.process_time)
    torch.set_num_threads(1)
    rates = {"python": best(_loops, time.process_time, _SECONDS / 2)}
    rates["matmul"] = best(_products(device, precision.dtype()), clock) * (1 if gpu else threads)
    rates["train"] = best(_training(device, precision.dtype()), clock)
    return {kind: float(f"{rate:.3g}") for kind, rate in rates.items()}


def _loops(n: int = 20_000) -> float:
    words: dict[str, int] = {}
    for i in range(n):
        word = f"{i % 997}"
        words[word] = words.get(word, 0) + 1
    return n


def _products(device: str, dtype) -> Callable[[], float]:
    import torch  # noqa: PLC0415 (torch takes seconds, and only a measurement needs it)

    a_NN = torch.randn(512, 512, device=device).to(dtype)

    def work() -> float:
        float((a_NN @ a_NN)[0, 0])  # the number makes a GPU finish
        return 2 * 512**3

    return work


def _training(device: str, dtype) -> Callable[[], float]:
    """Steps of a two-layer transformer of width 96 on 4 rows of 64 tokens: the size of our students."""
    import torch  # noqa: PLC0415 (torch takes seconds, and only a measurement needs it)
    from torch import nn  # noqa: PLC0415 (torch takes seconds, and only a measurement needs it)

    # The model and one batch of random tokens; nothing is to be learned, only the time counts.
    layer = nn.TransformerEncoderLayer(96, 4, 256, dropout=0.0, batch_first=True)
    model = nn.Sequential(nn.Embedding(1024, 96), nn.TransformerEncoder(layer, 2), nn.Linear(96, 1024))
    model, ids_BS = model.to(device), torch.randint(1024, (4, 64), device=device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)

    def work() -> float:
        with torch.autocast(device, dtype, enabled=dtype != torch.float32):
            logits_BSV = model(ids_BS)
        loss = nn.functional.cross_entropy(logits_BSV.flatten(0, 1).float(), ids_BS.flatten())
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        # waits for the device: without it a GPU would only have been told what to do
        loss.item()
        return ids_BS.numel()

    return work


if __name__ == "__main__":
    print(json.dumps(measure()))
