"""Speed of training and generation, each beside its plain alternative, of the jail, and of an evaluation.

.venv/bin/python benchmarks/speed.py  # the student of `small`, a laptop CPU
.venv/bin/python benchmarks/speed.py --hidden 256 --layers 6 --mlp 768 --vocab 2048 --batch 16 --compile
.venv/bin/python benchmarks/speed.py --hidden 1536 --layers 24 --context 2048 --batch 16 --compile  # GPU
.venv/bin/python benchmarks/speed.py --evaluate outputs/small/04_sft_overall/sft --out eval_speed.json
"""

import argparse
import copy
import os
import statistics
import tempfile
import time
from functools import partial
from pathlib import Path

import torch
from torch.utils.data import SequentialSampler
from transformers import Trainer, TrainerCallback, TrainingArguments

os.environ.setdefault("TQDM_DISABLE", "1")

from nbkit.evals.evaluate import evaluate
from nbkit.models.engine import Generator
from nbkit.models.load import Shape, load, new_model, parameters
from nbkit.models.training import run_training
from nbkit.pretrain import throughput
from nbkit.pretrain.job import Job, train
from nbkit.pretrain.order import SampleOrder
from nbkit.pretrain.plan import Stage, as_data
from nbkit.pretrain.trainer import MicroBatches
from nbkit.run import files
from nbkit.run.precision import has_bf16, precision
from nbkit.tasks import world
from nbkit.text.tokenizer import pack, save_pool, train_tokenizer


def shape(options) -> dict:
    heads = max(2, options.hidden // 64) if options.hidden >= 256 else 4
    return dict(
        hidden=options.hidden,
        layers=options.layers,
        heads=heads,
        kv_heads=max(1, heads // 2),
        mlp=options.mlp or options.hidden * 8 // 3 // 16 * 16,
        context=options.context,
        tied=True,
    )


def build(options, tokenizer):
    return new_model(tokenizer, Shape(**shape(options)), seed=0)


def training(options, tokenizer) -> None:
    """Ours against transformers' defaults: same model, rows, order, batch, learning rate and optimizer
    settings; what differs is precision, compilation and the fused optimizer's arguments."""
    rates: dict[str, list[float]] = {"ours": [], "transformers default": []}
    with tempfile.TemporaryDirectory() as folder:
        pools = Path(folder, "pools")
        rows = pack(world.corpus(options.docs, 0), tokenizer, options.context)
        save_pool(pools / "hq.npy", rows)
        tokenizer.save_pretrained(pools / "tokenizer")
        tokens = options.steps * options.batch * options.context
        plan = [Stage("diversity", {"hq": tokens}, 1e-3, 1e-3, seq_len=options.context)]
        for i in range(options.repeats):
            job = Job(
                "ours",
                f"{folder}/ours{i}",
                str(pools),
                str(pools / "tokenizer"),
                as_data(plan),
                options.batch,
                model=shape(options),
                compile_steps=1 if options.compile else 0,
            )
            ours = train(job)
            rates["ours"].append(ours.tokens_per_s)
            theirs, rate, model = default_training(options, tokenizer, rows, plan, folder)
            rates["transformers default"].append(rate)
    mine, default = (statistics.median(values) for values in rates.values())
    # the sides log at different steps: compare the mean over the same last half of the steps
    last = [
        statistics.mean(row["loss"] for row in history if row["step"] > options.steps // 2)
        for history in (ours.history, theirs)
    ]
    print(
        f"training {parameters(model) / 1e6:.1f}M parameters, {options.steps} steps of {options.batch} x "
        f"{options.context} tokens, median of {options.repeats}, rates between log rows after the start:"
    )
    print(f"  ours {mine:,.0f} tokens/s, transformers default {default:,.0f}, ratio {mine / default:.2f}")
    print(f"  loss over the last half {last[0]:.4f} and {last[1]:.4f}, {last[0] / last[1] - 1:+.2%}")
    print(f"  MFU against the measured {precision()} matmul peak: {throughput.mfu(model, plan, mine):.1%}")


def default_training(options, tokenizer, rows, plan, folder):
    """(history, tokens/s, model) of transformers.Trainer with its own settings on the same rows in order."""
    order = SampleOrder(plan, {"hq": len(rows)}, options.context, 0)
    data = MicroBatches({"hq": rows}, order, options.context)  # an item of one row
    plain = TrainingArguments(
        folder,
        per_device_train_batch_size=options.batch,
        max_steps=options.steps,
        learning_rate=1e-3,
        lr_scheduler_type="constant",
        weight_decay=0.1,
        adam_beta2=0.95,
        logging_steps=max(1, options.steps // 20),
        report_to="none",
        save_strategy="no",
        disable_tqdm=True,
        use_cpu=not torch.cuda.is_available(),
    )
    model, clock = build(options, tokenizer), Clock(options.batch * options.context)
    trainer = Plain(
        model,
        plain,
        train_dataset=data,
        data_collator=lambda items: {k: torch.cat([item[k] for item in items]) for k in items[0]},
        callbacks=[clock],
    )
    history, _ = run_training(trainer, "plain Trainer")
    return history, clock.median(), model


class Plain(Trainer):
    def _get_train_sampler(self, *args, **kwargs):
        return SequentialSampler(self.train_dataset)  # the one override: both sides read the same rows


class Clock(TrainerCallback):
    def __init__(self, step_tokens: int):
        self.step_tokens, self.marks = step_tokens, []

    def on_log(self, args, state, control, **kwargs):
        self.marks.append((time.perf_counter(), state.global_step))

    def median(self) -> float:
        spans = zip(self.marks, self.marks[1:], strict=False)
        return statistics.median(
            (s1 - s0) * self.step_tokens / (t1 - t0) for (t0, s0), (t1, s1) in spans if s1 > s0
        )


def generation(options, tokenizer) -> None:
    """Ours against `model.generate`, 8 prompts of unequal length x 16 samples of at most 64 tokens at
    temperature 1: as it comes (float32 weights, top-k 50), over the whole vocabulary as ours, and so on a
    bf16 copy where the machine multiplies bf16. Once with every row to its end, once with rows that stop (one
    token in 32 ends them). The sides take turns; ratios of tokens/s are within one turn, after one to warm
    up."""
    model = build(options, tokenizer).eval()
    model = model.cuda() if torch.cuda.is_available() else model
    prompts = [world.base_prompt(t.question) for t in world.eval_tasks(8, "operands")]
    batch = tokenizer(prompts, return_tensors="pt", padding=True, padding_side="left").to(model.device)
    start, n, new = batch["input_ids"].shape[1], 16, 64
    print(f"generation, {parameters(model) / 1e6:.1f}M parameters, median of {options.repeats} turns:")

    def ours(generator, stops: list[int]) -> int:
        generator.stop = stops
        groups = generator.sample(prompts, n, new, temperature=1.0)
        return sum(len(completion.ids) for group in groups for completion in group)

    def generate(model, stops: list[int], **sampling) -> int:
        rows_BT = model.generate(
            input_ids=batch["input_ids"],
            attention_mask=batch["attention_mask"],
            max_new_tokens=new,
            num_return_sequences=n,
            do_sample=True,
            eos_token_id=stops or None,
            pad_token_id=0,
            **sampling,
        )[:, start:]
        stopped_BT = torch.isin(rows_BT, torch.tensor(stops, device=rows_BT.device))
        return int((stopped_BT.cumsum(1) - stopped_BT.int() == 0).sum())  # up to and with the first stop

    sides = {
        "ours": partial(ours, Generator(model, tokenizer)),
        "ours with log-probs": partial(ours, Generator(model, tokenizer, logprobs=True)),
        "generate": partial(generate, model),
        "generate, no top-k": partial(generate, model, top_k=0),
    }
    model.generation_config.eos_token_id = None
    if has_bf16():  # emulated, one turn would take minutes
        half = copy.deepcopy(model).to(torch.bfloat16)
        sides["generate, no top-k, bf16"] = partial(generate, half, top_k=0)
    for label, stops in (("to the end", []), ("with stops", list(range(31, len(tokenizer), 32)))):
        rates: dict[str, list[float]] = {name: [] for name in sides}
        for turn in range(options.repeats + 1):
            for name, run in sides.items():
                clock = time.perf_counter()
                tokens = run(stops=stops)
                if turn:
                    rates[name].append(tokens / (time.perf_counter() - clock))
        for name, values in rates.items():
            ratios = sorted(mine / rate for mine, rate in zip(rates["ours"], values, strict=True))
            print(
                f"  {label}: {name:<24} {statistics.median(values):>8,.0f} tokens/s, ours is "
                f"{statistics.median(ratios):.2f}x ({ratios[0]:.2f} to {ratios[-1]:.2f})"
            )


def jail() -> None:
    from nbkit.verify.jail.jail import Jail  # noqa: PLC0415 (this part only)
    from nbkit.verify.jail.tiers import SandboxUnavailable  # noqa: PLC0415 (this part only)

    try:
        with Jail() as opened:
            start = time.perf_counter()
            for i in range(300):
                assert opened.call("def f(x): return x + 1", "f", [[i]]).values == [i + 1]
            print(f"jail ({opened.tier}): {300 / (time.perf_counter() - start):.0f} jobs/s on one core, warm")
    except SandboxUnavailable as error:
        print(f"jail: not measured, {error}")


def evaluation(options) -> None:
    """A checkpoint answers --questions held-out questions --k times each, and is graded, as 07 does it."""
    from nbkit.verify.jail.jail import Jail  # noqa: PLC0415 (this part only)

    tasks = world.eval_tasks(options.questions, "operands")
    model, tokenizer = load(options.evaluate)
    # From here on everything counts: the weight copy, the jail's start, generating and grading.
    started, cpu = time.perf_counter(), time.process_time()
    with Jail() as jail:
        result = evaluate(Generator(model, tokenizer), tasks, "chat", jail, options.k, max_new_tokens=96)
    seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
    found = {
        "model": options.evaluate,
        "parameters": parameters(model),
        "questions": len(tasks),
        "k": options.k,
        "wall_s": seconds,
        "cpu_s": cpu,
        "answers_per_s": len(tasks) * options.k / seconds,
        "accuracy": result.overall.dict(),
        "stopped": result.stopped,
        "infra": result.infra,
        "precision": precision(),
        "threads": torch.get_num_threads(),
    }
    print(f"evaluation: {len(tasks)} questions x {options.k} in {seconds:.0f} s, {result.overall}")
    if options.out:
        files.write_json(options.out, files.plain(found))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    sizes = dict(hidden=96, layers=4, mlp=0, context=256, vocab=1024, batch=8)
    for name, default in (sizes | dict(steps=60, docs=2000, repeats=3)).items():
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--compile", action="store_true", help="torch.compile our side")
    parser.add_argument("--only-training", action="store_true")
    parser.add_argument("--only-generation", action="store_true")
    parser.add_argument(
        "--evaluate", default="", metavar="MODEL", help="time an evaluation of it, and no more"
    )
    parser.add_argument("--questions", type=int, default=2000, help="of that evaluation")
    parser.add_argument("--k", type=int, default=8, help="answers to each of them")
    parser.add_argument("--out", default="", help="where that evaluation's numbers go, as JSON")
    options = parser.parse_args()
    if options.evaluate:
        evaluation(options)
        return
    tokenizer = train_tokenizer([d["text"] for d in world.corpus(2000)], options.vocab)
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU"
    print(f"torch {torch.__version__}, {device}, {torch.get_num_threads()} threads")
    if not options.only_generation:
        training(options, tokenizer)
    if not options.only_training:
        generation(options, tokenizer)
    if not (options.only_training or options.only_generation):
        jail()


if __name__ == "__main__":
    main()
