"""The command line: `nbkit run | status | verify | report | plan | claims | filter`.

    nbkit run --profile smoke                 all stages; what is up to date is skipped
    nbkit run --profile small --from 03       stages 03 to the last
    nbkit run --only 05 --force -p steps=50   one stage, anew, with another parameter
    nbkit plan --profile full                 stages, steps, tokens and learning rates of 02, without training
    nbkit claims --seeds 0-4 --stages 01,02   the claims over seeds, with intervals and verdicts
    nbkit filter --help                       the filter of notebook 01 over a corpus of your own

Exit codes: 0 done, 1 a stage failed or an artifact differs, 2 wrong usage or parameters, 130 Ctrl-C, 143
SIGTERM.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from nbkit import files, params, provenance, yaml_text


class Terminated(KeyboardInterrupt):
    """SIGTERM, to be cleaned up after as Ctrl-C is."""


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point of the console script; returns the exit code."""
    arguments = _parser().parse_args(argv)
    try:
        with _terminate_as_interrupt():
            return arguments.action(arguments)
    except ValueError as error:
        print(f"nbkit: {error}", file=sys.stderr)
        return 2
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("nbkit"):
            raise
        print(
            f"nbkit: {sys.executable} lacks the package {error.name!r}; install all with `make`, or "
            "`python3 install.py` where there is no make, then use .venv/bin/nbkit",
            file=sys.stderr,
        )
        return 2
    except OSError as error:
        print(f"nbkit: {_with_remedy(error)}", file=sys.stderr)
        return 1
    except KeyboardInterrupt as stop:
        print(
            "\nnbkit: stopped; finished steps are kept, the same command goes on from there", file=sys.stderr
        )
        return 143 if isinstance(stop, Terminated) else 130


def _with_remedy(error: OSError) -> str:
    """What failed, and what helps where it lies below the outputs (read-only, or a file in the way)."""
    text = str(error)
    if error.filename is None or "NBKIT_OUTPUTS" in text:
        return text
    root, place = files.outputs_root(), Path(os.fsdecode(error.filename)).absolute()
    if not (place.is_relative_to(root) or root.is_relative_to(place)):
        return text
    return (
        f"cannot write in {place if place.is_dir() else place.parent}: {error.strerror} ({place}); fix its "
        "permissions, or set NBKIT_OUTPUTS to a folder that you can write in"
    )


def _parser() -> argparse.ArgumentParser:
    description, _, details = (__doc__ or "").partition("\n")
    parser = argparse.ArgumentParser(
        "nbkit", description=description, epilog=details, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(required=True, metavar="command")

    def add(name: str, action: Any, text: str) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=text, description=text)
        command.add_argument("--profile", default="small", help="a folder of params/ (default: %(default)s)")
        command.set_defaults(action=action)
        return command

    run = add("run", _run, "run the notebooks of a profile in order, skipping what is up to date")
    chosen = run.add_mutually_exclusive_group()
    chosen.add_argument(
        "--from", dest="first", metavar="NN", help="first stage, such as 03 or 03_sft_cold_start"
    )
    chosen.add_argument("--only", metavar="NN", help="this stage alone")
    run.add_argument("--force", action="store_true", help="run even what is up to date")
    _add_overrides(run)
    add("status", _status, "show each stage: complete, stale, missing or corrupt, and why")
    add("verify", _verify, "hash every published artifact again; exit code 1 if one differs")
    add("report", _report, "write outputs/<profile>/report/index.html")
    add("plan", _plan, "print the stage plan of 02 for a profile: steps, tokens, epochs, learning rates")
    _add_claims(add("claims", _claims, "run stages once per seed, then judge the claims over the seeds"))
    _add_filter(commands)
    return parser


def _add_overrides(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "-p",
        dest="overrides",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="set a parameter; repeatable",
    )


def _add_claims(command: argparse.ArgumentParser) -> None:
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
    command.add_argument("--publish", action="store_true", help="copy the results to outputs/reference/")
    _add_overrides(command)


def _add_filter(commands: Any) -> None:
    text = "split a corpus into the pools hq and mq with the filter that notebook 01 saved"
    details = (
        "Removes duplicates and documents that hold evaluation items, scores the rest, and keeps the best "
        "--hq-tokens and the next --mq-tokens. Every row of the input is a row of <out>/pools-*/provenance, "
        "with its scores and the reason it went. The same command goes on after a kill."
    )
    command = commands.add_parser("filter", help=text, description=f"{text}. {details}")
    command.set_defaults(action=_filter)
    command.add_argument(
        "--inputs", required=True, action="append", metavar="GLOB", help="quoted; repeatable"
    )
    command.add_argument("--filter", required=True, metavar="DIR", help="the saved filter, with tokenizer/")
    command.add_argument("--out", required=True, metavar="DIR")
    command.add_argument("--hq-tokens", required=True, type=int, metavar="N", help="budget of the upper pool")
    command.add_argument("--mq-tokens", required=True, type=int, metavar="N", help="budget of the lower pool")
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
    command.add_argument("--make-ids", action="store_true", help="name rows without id <file>-<row>")
    command.add_argument("--token-files", action="store_true", help="write the pools as token files too")
    command.add_argument("--no-decontamination", action="store_true", help="keep leaked evaluation items")


@contextlib.contextmanager
def _terminate_as_interrupt() -> Iterator[None]:
    def handler(*_: Any) -> None:
        raise Terminated

    before = signal.signal(signal.SIGTERM, handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _select(first: str | None, only: str | None) -> list[str]:
    stages = list(params.schemas())
    if only:
        return [params.resolve_stage(only)]
    return stages[stages.index(params.resolve_stage(first)) :] if first else stages


def _overrides(pairs: Sequence[str]) -> dict[str, Any]:
    """["steps=5", "lr=1e-3"] -> values (rules: yaml_text.py), not yet coerced; `profile` has its own flag."""
    found = {}
    for name, text in _pairs(pairs, "-p"):
        if name == "profile":
            raise ValueError(f"-p profile={text}: use --profile NAME for the profile")
        try:
            found[name] = yaml_text.read_value(text)
        except ValueError as error:
            raise ValueError(f"-p {name}={text}: {error}") from None
    return found


def _pairs(pairs: Sequence[str], flag: str) -> Iterator[tuple[str, str]]:
    given = set()
    for pair in pairs:
        name, equals, text = pair.partition("=")
        name = name.strip()
        if not equals or not name:
            raise ValueError(f"{flag} {pair}: write {flag} KEY=VALUE")
        if name in given:
            raise ValueError(f"{flag} {name}: given twice; keep one")
        given.add(name)
        yield name, text


def plan(stages: Sequence[str], profile: str, overrides: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Check everything before anything runs: stage -> coerced parameters.

    An override goes to every chosen stage that has it. Raises ValueError listing all that is wrong.
    """
    planned, problems, unused = {}, [], set(overrides)
    for stage in stages:
        schema = params.schemas()[stage]
        own = {k: v for k, v in overrides.items() if k in schema.__dataclass_fields__}
        unused -= set(own)
        try:
            cell = params.parameters_cell(provenance.notebook_path(stage))
            params.coerce(schema, {name: value for name, (_, value) in cell.items()})
            values = params.load_profile(profile, stage) | own
            planned[stage] = vars(params.coerce(schema, values))
            if absent := sorted(set(values) - set(cell)):
                raise ValueError(
                    f"{stage}: {absent[0]!r} is not in the notebook's parameters cell; add it there"
                )
        except ValueError as error:
            if str(error) not in problems:
                problems.append(str(error))
    for name in sorted(unused):
        known = sorted({f for stage in stages for f in params.schemas()[stage].__dataclass_fields__})
        problems.append(f"-p {name}: no chosen stage has this parameter{params.nearest(name, known)}")
    if problems:
        raise ValueError("\n".join(problems))
    return planned


def _run(arguments: argparse.Namespace) -> int:
    from nbkit import runner

    profile, overrides = arguments.profile, _overrides(arguments.overrides)
    planned = plan(_select(arguments.first, arguments.only), profile, overrides)
    with runner.lock(profile):
        for stage, values in planned.items():
            own = {name: values[name] for name in overrides if name in values}
            state, reason = provenance.status_of(stage, profile, own)
            if state == "complete" and not arguments.force:
                print(f"{stage}  up to date")
                continue
            if state in ("stale", "corrupt"):
                print(f"{stage}  {state}: {reason}")
            outcome = runner.run_stage(profile, stage, values, sys.stdout)
            if not outcome.ok:
                print(f"nbkit: {stage} failed\n{outcome.trouble}", file=sys.stderr)
                return 1
            _print_headline(profile, stage)
    if not arguments.only and not arguments.first:
        return _report(arguments)
    return 0


def _print_headline(profile: str, stage: str) -> None:
    for name, value in provenance.load_manifest(profile, stage)[2]["headline"].items():
        print(f"    {name}: {value:.3g}" if isinstance(value, float) else f"    {name}: {value}")


def _known_profile(profile: str) -> None:
    params.load_profile(profile, next(iter(params.schemas())))


def _status(arguments: argparse.Namespace) -> int:
    from nbkit import runner

    _known_profile(arguments.profile)
    for stage in params.schemas():
        state, reason = provenance.status_of(stage, arguments.profile)
        seconds, _ = runner.expected(arguments.profile, stage)
        took = runner.clock(seconds) if seconds is not None and state != "missing" else "-"
        print(f"{stage:<20} {state:<9} {took:>8}  {reason}".rstrip())
    return 0


def _verify(arguments: argparse.Namespace) -> int:
    _known_profile(arguments.profile)
    differs = checked = 0
    for stage in params.schemas():
        state, reason, manifest = provenance.load_manifest(arguments.profile, stage)
        wrong = [reason] if state == "corrupt" else []
        if state == "complete":
            wrong = provenance.changed_outputs(arguments.profile, stage, manifest)
            checked += len(manifest["outputs"])
        differs += len(wrong)
        verdict = (
            "DIFFERS: " + "; ".join(wrong) if wrong else reason or f"ok, {len(manifest['outputs'])} artifacts"
        )
        print(f"{stage:<20} {verdict}")
    print(f"{checked} artifacts checked, {differs} problems in {files.outputs_root() / arguments.profile}")
    return 1 if differs or not checked else 0


def _report(arguments: argparse.Namespace) -> int:
    from nbkit import report

    _known_profile(arguments.profile)
    print(f"report: {report.build(arguments.profile)}")
    return 0


def _plan(arguments: argparse.Namespace) -> int:
    from nbkit.train import dry_run

    print(dry_run.table(arguments.profile))
    return 0


def _claims(arguments: argparse.Namespace) -> int:
    from nbkit import seed_report, seeds

    study = _study(arguments)
    if not arguments.no_run and (failed := seeds.run(study, arguments.jobs, _print_now)):
        print(f"nbkit: {', '.join(failed)} failed; the same command goes on from there", file=sys.stderr)
        return 1
    result = seed_report.build(study)
    print(seed_report.summary(result))
    paths = seed_report.write(result, study.home)
    print("results:", *paths)
    if arguments.publish:
        print(f"published: {seed_report.publish(study, paths)}")
    return 0


def _study(arguments: argparse.Namespace) -> Any:
    """What `nbkit claims` is to do, a seeds.Study; all that is wrong is found before anything runs."""
    from nbkit import seeds

    known, overrides = list(params.schemas()), _overrides(arguments.overrides)
    if "seed" in overrides:
        raise ValueError(f"-p seed={overrides['seed']}: use --seeds LIST for the seeds")
    texts = arguments.stages.split(",") if arguments.stages is not None else known
    stages = tuple(sorted({params.resolve_stage(text.strip()) for text in texts}, key=known.index))
    chosen = seeds.parse(arguments.seeds)
    plan(stages, arguments.profile, overrides | {"seed": max(chosen)})
    own = {
        stage: {k: v for k, v in overrides.items() if k in params.schemas()[stage].__dataclass_fields__}
        for stage in stages
    }
    return seeds.Study(arguments.profile, chosen, stages, own, arguments.fresh_data)


def _print_now(line: str) -> None:
    print(line, flush=True)


def _filter(arguments: argparse.Namespace) -> int:
    from nbkit.data import contamination, pipeline

    texts = None
    if not arguments.no_decontamination:
        texts, unavailable = contamination.evaluation_texts()
        for name, reason in unavailable.items():
            print(f"not checked for leaks of {name}: {reason}")
    summary = pipeline.filter_corpus(
        arguments.inputs,
        arguments.filter,
        arguments.out,
        hq_tokens=arguments.hq_tokens,
        mq_tokens=arguments.mq_tokens,
        eval_texts=texts,
        on_bad=arguments.on_bad,
        make_ids=arguments.make_ids,
        token_files=arguments.token_files,
        tasks=arguments.tasks,
        workers=arguments.workers,
        executor=arguments.executor,
        # Not YAML, which reads the time 10:00:00 as the number 36000.
        executor_options={
            name: int(text) if text.isdigit() else text for name, text in _pairs(arguments.options, "-x")
        },
    )
    if "rows" not in summary:
        print(f"submitted; when the jobs are done, see {summary['folder']}/manifest.json")
        return 0
    print(f"{'decision':<24} {'documents':>12} {'tokens':>16}")
    for name, count in [*summary["decisions"].items(), ("all", None)]:
        documents, tokens = count.values() if count else (summary["rows"], summary["tokens"])
        print(f"{name:<24} {documents:>12,} {tokens:>16,}")
    for reason, about in summary["reasons"].items():
        print(f"  {reason:<22} {about['rows']:>12,}   first: {about['examples'][0]}")
    print(f"pools and provenance: {summary['folder']}")
    return 0
