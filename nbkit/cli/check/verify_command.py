"""`nbkit verify RUN`: are the files of a run what was published, and do its numbers follow from its records?

nbkit verify small                   outputs/small
nbkit verify /copied/run             a folder of stages from elsewhere
nbkit verify outputs/small/07_eval   one stage
nbkit verify small --hashes          the files alone, in a moment
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from nbkit.cli.check import outputs, places, trees
from nbkit.run import files, provenance

if TYPE_CHECKING:
    from nbkit.cli.check.places import Place, Stage
    from nbkit.cli.check.records import Derived


def add(command: argparse.ArgumentParser) -> None:
    """Give the command its options."""
    command.set_defaults(action=run)
    command.description += (
        ". Hashes every published file again, then computes from the logged records what metrics.json says: "
        "scores, intervals, differences, the verdicts of the ledger. One line for each; exit code 1 where "
        "anything differs or nothing could be checked."
    )
    command.add_argument(
        "run", nargs="?", metavar="RUN", help="a profile or the folder of a run (default: --profile)"
    )
    command.add_argument("--hashes", action="store_true", help="hash the files only")


def run(arguments: argparse.Namespace) -> int:
    """Check and print; returns the exit code."""
    place = _place(arguments)
    artifacts = numbers = problems = 0
    for name in place.stages:
        stage = place.read(name)
        count, wrong = _hashes(place, stage)
        problems, artifacts = problems + len(wrong), artifacts + count
        verdict = "DIFFERS: " + "; ".join(wrong) if wrong else stage.reason or f"ok, {count} artifacts"
        print(f"{name:<20} {verdict}", flush=True)
        # Where a file was changed, the numbers tell which of them changed with it.
        if stage.state != "complete" or arguments.hashes:
            continue
        for line, checked, differs in _numbers(place, stage):
            print(f"    {line}", flush=True)
            numbers, problems = numbers + checked, problems + differs
    print(f"{artifacts} artifacts checked, {problems} problems in {place.home}")
    if not arguments.hashes:
        print(f"{numbers} numbers and texts computed anew from records")
    return 1 if problems or not artifacts else 0


def _place(arguments: argparse.Namespace) -> Place:
    """The run that is meant. Of a profile, what is wrong with its outputs is told first."""
    if arguments.run is None:
        outputs.known_profile(arguments.profile)
    found = places.find(arguments.run or arguments.profile)
    if found.home == (files.outputs_root() / found.name).absolute():
        outputs.look_at_outputs(found.name)
        outputs.look_at_formats(found.name)
    return found


def _hashes(place: Place, stage: Stage) -> tuple[int, list[str]]:
    """How many artifacts were hashed, and what is wrong with them."""
    if stage.state == "corrupt":
        return 0, [stage.reason]
    if stage.state != "complete":
        return 0, []
    wrong = provenance.changed_outputs(str(place.home), stage.name, stage.manifest)
    return len(stage.manifest["outputs"]), wrong


def _numbers(place: Place, stage: Stage) -> Iterator[tuple[str, int, int]]:
    """(line, numbers checked, differences) for every part of the stage's metrics that its records hold."""
    from nbkit.cli.check import evaluation, training  # noqa: PLC0415 (with scipy, which takes a second)

    changed = changed_modules(stage)
    if changed:
        commit = (stage.manifest["git"]["commit"] or "no commit")[:9]
        yield f"made by other code ({commit}; {len(changed)} modules differ), checked by today's", 0, 0
    derive = {**training.DERIVE, evaluation.STAGE: evaluation.derive}.get(stage.name)
    if derive is None:
        return
    # A log that is gone or cut, or lacks what it should hold, is one line too.
    try:
        found, notes = derive(stage, place)
        metrics, seen = trees.by_id(stage.metrics), set()
    except (ValueError, OSError, KeyError, IndexError, TypeError, ArithmeticError) as error:
        told = f"no {error}" if isinstance(error, KeyError) else error
        yield f"records: DIFFERS: cannot be read: {told}", 0, 1
        return
    for part in found:
        outcome = _held_against(metrics, part, changed)
        seen |= {(*part.path, *path) for path, _ in trees.leaves(part.value)}
        yield outcome
    if stage.name == evaluation.STAGE:
        wanted = evaluation.headline(stage.manifest["headline"], found)
        yield _headline(stage.manifest["headline"], wanted, changed)
    for note in notes:
        yield f"not checked: {note}", 0, 0
    if left := _left(metrics, seen):
        yield f"cannot be computed anew, no records are kept of: {left}", 0, 0


def changed_modules(stage: Stage) -> set[str]:
    """The modules of nbkit that do something else today than when the stage ran, or are gone or new."""
    before, now = stage.manifest["code"], provenance.code_of(stage.name)
    return {name for name in {*before, *now} if before.get(name) != now.get(name)}


def _held_against(metrics: dict[str, Any], part: Derived, changed: set[str]) -> tuple[str, int, int]:
    """One part of metrics.json against its derived value: a line, how much was checked, how much differs."""
    label = " ".join(part.path)
    older = sorted(changed & set(part.modules))
    stored = trees.at(metrics, part.path)
    if stored is trees.ABSENT and changed:
        return f"{label}: not in metrics.json, which is of another version", 0, 0
    checked, wrong, excused = 0, [], []
    for path, derived in trees.leaves(part.value):
        there = trees.at(stored, path)
        if older and there is trees.ABSENT:
            continue  # a field that the older code did not write
        if trees.same(there, derived):
            checked += 1
            continue
        name = ".".join(path) or label
        told = f"{name} stored {trees.shown(there)}, derived {trees.shown(derived)}"
        # Where the computing code changed, only what follows from the records alone can be called wrong.
        firm = not older or bool(part.firm & set(path))
        (wrong if firm else excused).append(told)
    told = f"DIFFERS: {'; '.join(wrong)}" if wrong else f"ok, {checked} values from {part.source}"
    if excused:
        told += f"; not checked, {', '.join(older)} changed since: {'; '.join(excused)}"
    return f"{label}: {told}", checked + len(wrong), len(wrong)


def _headline(stored: dict[str, str], derived: dict[str, str], changed: set[str]) -> tuple[str, int, int]:
    """The headline of the manifest, which the command line and the run report print."""
    wrong = [
        f"{name} stored {stored[name]}, derived {text}"
        for name, text in derived.items()
        if stored[name] != text
    ]
    if wrong and "evals/score.py" in changed:
        return f"headline: not checked, evals/score.py changed since: {'; '.join(wrong)}", 0, 0
    told = f"DIFFERS: {'; '.join(wrong)}" if wrong else f"ok, {len(derived)} texts"
    return f"headline: {told}", len(derived), len(wrong)


def _left(metrics: dict[str, Any], seen: set[Sequence[str]]) -> str:
    """What no record is kept of: a whole part of metrics.json by its name, a part of one with its fields."""
    total, fields = Counter(), {}
    for path, _ in trees.leaves(metrics):
        total[path[0]] += 1
        if path not in seen:
            fields.setdefault(path[0], Counter())[_field(path)] += 1
    told = []
    for name, own in fields.items():
        whole = sum(own.values()) == total[name]
        told.append(name if whole else f"{name} ({', '.join(own)})")
    return ", ".join(told)


def _field(path: Sequence[str]) -> str:
    """The name of a value: its last part that is a word, with that before an estimate's own names."""
    words = [part for part in path[1:] if not part.isdigit()]
    if words and words[-1] in ("mean", "low", "high", "n") and len(words) > 1:
        words.pop()
    return words[-1] if words else path[0]
