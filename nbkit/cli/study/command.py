"""`nbkit claims`: stages once per seed, then the claims over the seeds. Used by commands.py."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from nbkit.cli import planning
from nbkit.run import params

ABOUT = "run stages once per seed, then judge the claims over the seeds"


def add(command: argparse.ArgumentParser) -> None:
    """Give the command its options."""
    command.set_defaults(profile="claims")
    command.description += (
        ". What is up to date is skipped, and the same command goes on after a kill. Writes claims.json, "
        "claims.csv and figures into outputs/<profile>/; an interval there is over seeds. Two seeds are the "
        "least, five are needed for the verdict 'reproduced'."
    )
    command.add_argument("--seeds", default="0-4", metavar="LIST", help="such as 0-4 (default) or 0,1,5-7")
    command.add_argument("--stages", metavar="NN,NN", help="such as 01,02,03 (default: all)")
    command.add_argument("--jobs", type=int, default=1, metavar="N", help="seeds at a time (default: 1)")
    command.add_argument(
        "--fresh-data", action="store_true", help="each seed makes its own data (default: all share one set)"
    )
    command.add_argument(
        "--no-run", action="store_true", help="only judge what is there, even where code changed since"
    )
    command.add_argument(
        "--publish",
        nargs="?",
        const="",
        metavar="NAME",
        help="copy the results to outputs/reference/NAME (default: the profile, with -fresh for fresh data)",
    )
    planning.add_overrides(command)


def run(arguments: argparse.Namespace) -> int:
    """Run what is not up to date, judge the claims, write the results; returns the exit code."""
    from nbkit.cli.study import seed_report, seeds  # noqa: PLC0415 (slow, and the parser needs none of it)

    # Everything is run before anything is judged: a claim needs all of its seeds.
    study = _study(arguments)
    if not arguments.no_run and (failed := seeds.run(study, arguments.jobs, _print_now)):
        print(f"nbkit: {', '.join(failed)} failed; the same command goes on from there", file=sys.stderr)
        return 1
    result = seed_report.build(study)
    print(seed_report.summary(result))
    paths = seed_report.write(result, study.home)
    print("results:", *paths)
    if arguments.publish is not None:
        folder = seed_report.publish(study, paths, arguments.publish)
        print(f"published: {folder}; say in outputs/reference/sources.json where its files come from")
    return 0


def _study(arguments: argparse.Namespace) -> Any:
    """What `nbkit claims` is to do, a seeds.Study; all that is wrong is found before anything runs."""
    from nbkit.cli.study import seeds  # noqa: PLC0415 (slow, and the parser needs none of it)

    known, overrides = list(params.schemas()), planning.overrides(arguments.overrides)
    name = arguments.publish
    if name and (Path(name).name != name or name.startswith(".")):
        raise ValueError(f"--publish {name}: wanted the name of one folder in outputs/reference/")
    if "seed" in overrides:
        # `--seeds` decides which seeds run; an override would make them all the same.
        raise ValueError(f"-p seed={overrides['seed']}: use --seeds LIST for the seeds")
    texts = arguments.stages.split(",") if arguments.stages is not None else known
    stages = tuple(sorted({params.resolve_stage(text.strip()) for text in texts}, key=known.index))
    chosen = seeds.parse(arguments.seeds)
    # Planned with the highest seed, so that a wrong parameter shows before hours of work.
    planning.plan(stages, arguments.profile, overrides | {"seed": max(chosen)})
    own = {
        stage: {k: v for k, v in overrides.items() if k in params.schemas()[stage].model_fields}
        for stage in stages
    }
    return seeds.Study(arguments.profile, chosen, stages, own, arguments.fresh_data)


def _print_now(line: str) -> None:
    print(line, flush=True)
