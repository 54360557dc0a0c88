"""The command line: init, run, submit, status, logs, verify, compare, report, plan, claims, filter and more.

    nbkit init my-run                         a folder with the notebooks and their parameters
    nbkit run --profile smoke                 all stages; what is up to date is skipped
    nbkit run --profile small --from 03       stages 03 to the last
    nbkit run --only 05 --force -p beta=0.3   one stage, anew, with another parameter; --only 03,04: two
    nbkit verify small                        are files and numbers of a run what its records say?
    nbkit compare small /other/run            what differs between two runs, and do they agree?
    nbkit plan --profile full --gpu h100      steps, rates, memory, time and cost of every stage; does it fit?
    nbkit submit --profile gpu --partition p  the stages as a chain of Slurm jobs; --dry-run only writes them
    nbkit logs 02 -f                          what a stage prints, here or in its job
    nbkit claims --seeds 0-4 --stages 01,02   the claims over seeds, with intervals and verdicts
    nbkit filter --help                       the filter of notebook 01 over a corpus of your own
    nbkit eval MODEL --tasks gsm8k,ifeval     any model on public benchmarks
    nbkit results                             the committed measurements as docs/results.md
    nbkit params --sync                       after a change of nbkit/run/schemas/ or params/<profile>.yaml

Exit codes: 0 done, 1 a stage failed, or something differs (verify, compare), 2 wrong usage or parameters or
an upstream stage is missing, 130 Ctrl-C, 141 nobody reads the output any more (`| head`), 143 SIGTERM.
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

from nbkit.cli import eval_command, filter_command, init_command, live, plan_command, planning
from nbkit.cli.check import compare_command, outputs, verify_command
from nbkit.cli.cluster import logs, queue, submit
from nbkit.cli.results import command as results_command
from nbkit.cli.study import command as claims_command
from nbkit.run import files, params, provenance


class Terminated(KeyboardInterrupt):
    """SIGTERM, to be cleaned up after as Ctrl-C is."""


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point of the console script; returns the exit code."""
    try:
        try:
            return _main(argv)
        finally:
            sys.stdout.flush()  # else the interpreter does, too late for us to hear of a reader that left
    except OSError as error:
        unread = isinstance(error, BrokenPipeError)
        if not unread:
            print(f"nbkit: the output cannot be written: {error.strerror}", file=sys.stderr)
        for stream in (sys.stdout, sys.stderr) if unread else (sys.stdout,):
            with contextlib.suppress(OSError, ValueError):  # the interpreter shall not try again at its end
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
        return 141 if unread else 1  # 141: as a shell says of a program that SIGPIPE ended


def _main(argv: Sequence[str] | None) -> int:
    """Parse and do the command; what a user can mend becomes one line and an exit code."""
    arguments = _parser().parse_args(argv)
    # Each kind of error has its exit code; only what is nbkit's own fault shows a traceback.
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
        if isinstance(error, BrokenPipeError) and (live.unread(sys.stdout) or live.unread(sys.stderr)):
            raise
        print(f"nbkit: {_with_remedy(error)}", file=sys.stderr)
        return 1
    except KeyboardInterrupt as stop:
        print("\nnbkit: stopped; what is saved is kept, the same command goes on from there", file=sys.stderr)
        return 143 if isinstance(stop, Terminated) else 130


def _with_remedy(error: OSError) -> str:
    """What failed, and what helps where it lies below the outputs (read-only, or a file in the way)."""
    text = str(error)
    if error.filename is None or "NBKIT_OUTPUTS" in text:
        return error.strerror or text
    root, place = files.outputs_root(), Path(os.fsdecode(error.filename)).absolute()
    if not (place.is_relative_to(root) or root.is_relative_to(place)):
        return text
    return files.cannot_write(place if place.is_dir() else place.parent, f"{error.strerror} ({place})")


def _parser() -> argparse.ArgumentParser:
    # The help is the module's docstring, so that the two cannot differ.
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

    init_command.add(commands)
    run = add("run", _run, "run the notebooks of a profile in order, skipping what is up to date")
    chosen = run.add_mutually_exclusive_group()
    chosen.add_argument(
        "--from", dest="first", metavar="NN", help="first stage, such as 03 or 03_sft_cold_start"
    )
    chosen.add_argument("--only", metavar="NN[,NN]", help="this stage alone, or these, such as 03,04")
    run.add_argument(
        "--force", action="store_true", help="run what is up to date too; equal trainings are kept"
    )
    planning.add_overrides(run)
    add("status", _status, "show each stage: complete, stale, missing or corrupt, and why; and its Slurm job")
    submit.add(add("submit", submit.run, submit.ABOUT))
    logs.add(commands)
    about = "hash every published file again, and compute the numbers anew from the logged records"
    verify_command.add(add("verify", verify_command.run, about))
    compare_command.add(commands)
    report = add("report", _report, "write outputs/<profile>/report/index.html")
    about = "instead, one page of two runs, each a profile's name or a run folder"
    report.add_argument("--compare", nargs=2, metavar="RUN", help=about)
    report.add_argument("--play", action="store_true", help="and play.html, a page that runs the checkpoints")
    about = "print steps, learning rates, memory, time and cost of a profile; refuse what cannot fit"
    plan_command.add(add("plan", plan_command.run, about))
    claims_command.add(add("claims", claims_command.run, claims_command.ABOUT))
    for command in (filter_command, eval_command, results_command):
        command.add(commands)
    about = "generate parameters cells and params/<profile>/ from the schemas and params/<profile>.yaml"
    generated = commands.add_parser("params", help=about, description=about)
    chosen = generated.add_mutually_exclusive_group(required=True)
    chosen.add_argument("--sync", action="store_true", help="write what differs")
    chosen.add_argument("--check", action="store_true", help="say what differs; exit code 1 if anything does")
    generated.set_defaults(action=_params)
    return parser


@contextlib.contextmanager
def _terminate_as_interrupt() -> Iterator[None]:
    def handler(*_: Any) -> None:
        raise Terminated

    before = signal.signal(signal.SIGTERM, handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _run(arguments: argparse.Namespace) -> int:
    from nbkit.cli import runner  # noqa: PLC0415 (each command loads what it needs)

    profile, overrides = arguments.profile, planning.overrides(arguments.overrides)
    # All parameters of all stages are checked before the first one starts.
    planned = planning.plan(planning.chosen(arguments.first, arguments.only), profile, overrides)
    own = {s: {name: values[name] for name in overrides if name in values} for s, values in planned.items()}
    pace = runner.Pace()
    with runner.lock(profile):
        if missing := planning.missing_upstream(profile, planned):
            raise ValueError(missing)
        waiting = planning.waiting(profile, planned, own, arguments.force)
        for stage, values in planned.items():
            # Checked again at each stage: the one before may just have made it stale.
            state, reason = provenance.status_of(stage, profile, own[stage])
            if state == "complete" and not arguments.force:
                print(f"{stage}  up to date")
                continue
            if state in ("stale", "corrupt"):
                print(f"{stage}  {state}: {reason}")
            left = [s for s in list(planned)[list(planned).index(stage) :] if s in waiting or s == stage]
            if text := runner.outlook(profile, left, pace, sys.stdout):
                print(text, flush=True)
            outcome = runner.run_stage(profile, stage, values, sys.stdout, pace)
            if not outcome.ok:
                print(f"nbkit: {stage} failed\n{outcome.trouble}", file=sys.stderr)
                return 1
            runner.print_headline(profile, stage)
    # A page from before this run would show other numbers than the outputs.
    return _report(arguments)


def _status(arguments: argparse.Namespace) -> int:
    from nbkit.cli import runner  # noqa: PLC0415 (each command loads what it needs)

    outputs.known_profile(arguments.profile)
    outputs.look_at_outputs(arguments.profile)
    outputs.look_at_formats(arguments.profile)
    queued = queue.states(queue.jobs_of(arguments.profile))
    for stage in params.schemas():
        state, reason = provenance.status_of(stage, arguments.profile)
        # What the queue says of its job, after what is there.
        reason = "; ".join(filter(None, [reason, f"Slurm: {queued[stage]}" if stage in queued else ""]))
        manifest = provenance.load_manifest(arguments.profile, stage)[2]
        seconds, _ = runner.measured(arguments.profile, stage, manifest)
        took = runner.clock(seconds) if seconds is not None and state != "missing" else "-"
        print(f"{stage:<20} {state:<9} {took:>8}  {reason}".rstrip())
    return 0


def _report(arguments: argparse.Namespace) -> int:
    from nbkit.cli import report  # noqa: PLC0415 (each command loads what it needs)

    if getattr(arguments, "compare", None):
        print(f"report: {report.compare(*arguments.compare)}")
        return 0
    outputs.known_profile(arguments.profile)
    if arguments.profile not in outputs.with_outputs():
        outputs.look_at_outputs(arguments.profile)
        return 2
    outputs.look_at_formats(arguments.profile)
    play = getattr(arguments, "play", False)  # `nbkit run`, which ends here too, has no such option
    print(f"report: {report.build(arguments.profile, play)}")
    if play:
        from nbkit.cli.play import page  # noqa: PLC0415 (imports torch)

        print(f"play: {page.build(arguments.profile)}")
    return 0


def _params(arguments: argparse.Namespace) -> int:
    from nbkit.cli import generate  # noqa: PLC0415 (with pydantic, which takes 0.1 s)

    if arguments.sync:
        written = generate.sync()
        print(*(f"wrote {path}" for path in written), f"{len(written)} files written", sep="\n")
        return 0
    if not (differing := generate.differences()):
        print(
            "parameters cells and params/<profile>/ agree with nbkit/run/schemas/ and params/<profile>.yaml"
        )
        return 0
    print(*differing, sep="\n")
    told = f"{len(differing)} generated texts differ from nbkit/run/schemas/ and params/<profile>.yaml"
    print(f"nbkit: {told}; `nbkit params --sync` writes them anew", file=sys.stderr)
    return 1
