"""`nbkit filter`: the filter that notebook 01 saved, over a corpus of any size. Used by commands.py."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from typing import Any

from nbkit.cli import planning


def add(commands: Any) -> None:
    """Add the command to the parser's `commands`."""
    text = "split a corpus into the pools hq and mq with the filter that notebook 01 saved"
    details = (
        "Removes duplicates and documents that hold evaluation items, scores the rest, and keeps the best "
        "--hq-tokens and the next --mq-tokens. Every row of the input is a row of <out>/pools-*/provenance, "
        "with its scores and the reason it went. The same command goes on after a kill."
    )
    # What goes in, where it comes out, how much is kept.
    command = commands.add_parser("filter", help=text, description=f"{text}. {details}")
    command.set_defaults(action=run)
    command.add_argument(
        "--inputs", required=True, action="append", metavar="GLOB", help="quoted; repeatable"
    )
    command.add_argument("--filter", required=True, metavar="DIR", help="the saved filter, with tokenizer/")
    command.add_argument("--out", required=True, metavar="DIR")
    command.add_argument("--hq-tokens", required=True, type=int, metavar="N", help="budget of the upper pool")
    command.add_argument("--mq-tokens", required=True, type=int, metavar="N", help="budget of the lower pool")
    # How the work is shared; none of it changes the result.
    command.add_argument("--tasks", type=int, default=1, metavar="N", help="shares of the files (default: 1)")
    command.add_argument("--workers", type=int, default=1, metavar="N", help="tasks at a time (default: 1)")
    command.add_argument("--executor", default="local", help="local (default), slurm or ray")
    command.add_argument(
        "-x",
        dest="options",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="an option of the executor, such as time=04:00:00 and partition=cpu for slurm; repeatable",
    )
    command.add_argument(
        "--on-bad", default="error", help="error (default): stop at a damaged row; skip: count it, go on"
    )
    # What is made of the rows.
    command.add_argument("--make-ids", action="store_true", help="name rows without id <file>-<row>")
    command.add_argument("--token-files", action="store_true", help="write the pools as token files too")
    command.add_argument("--no-decontamination", action="store_true", help="keep leaked evaluation items")


def _evaluation_texts() -> Mapping[str, Sequence]:
    """What must not leak into a corpus; says which sets cannot be had here."""
    from nbkit.filter import contamination  # noqa: PLC0415 (as in `run`)

    texts, unavailable = contamination.evaluation_texts()
    if unavailable:
        told = "they have no mirror under NBKIT_DATA_DIR (docs/usage.md)"
        print(f"not checked for leaks of {len(unavailable)} evaluation sets, because {told}:")
        print(f"    {', '.join(unavailable)}")
    return texts


def run(arguments: argparse.Namespace) -> int:
    """Filter the corpus and print what became of its documents; returns the exit code."""
    from nbkit.filter.corpus import executors, pipeline  # noqa: PLC0415 (datatrove takes seconds)

    # What decides the result, then how the work is shared.
    settings = pipeline.FilterSettings(
        hq_tokens=arguments.hq_tokens,
        mq_tokens=arguments.mq_tokens,
        on_bad=arguments.on_bad,
        make_ids=arguments.make_ids,
        token_files=arguments.token_files,
    )
    # Not YAML, which reads the time 10:00:00 as the number 36000.
    options = {
        name: int(text) if text.isdigit() else text for name, text in planning.pairs(arguments.options, "-x")
    }
    execution = executors.Execution(arguments.tasks, arguments.workers, arguments.executor, options)
    summary = pipeline.filter_corpus(
        arguments.inputs,
        arguments.filter,
        arguments.out,
        settings,
        execution,
        eval_texts=None if arguments.no_decontamination else _evaluation_texts,
    )
    # A submitted job has no counts yet.
    if "rows" not in summary:
        print(f"submitted; when the jobs are done, see {summary['folder']}/manifest.json")
        return 0
    # One line per decision, then why documents were removed.
    print(f"{'decision':<24} {'documents':>12} {'tokens':>16}")
    for name, count in [*summary["decisions"].items(), ("all", None)]:
        documents, tokens = count.values() if count else (summary["rows"], summary["tokens"])
        print(f"{name:<24} {documents:>12,} {tokens:>16,}")
    for reason, about in summary["reasons"].items():
        print(f"  {reason:<22} {about['rows']:>12,}   first: {about['examples'][0]}")
    print(f"pools and provenance: {summary['folder']}")
    return 0
