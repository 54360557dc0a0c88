"""What `nbkit run` and `nbkit claims` are to do, checked whole before anything starts: the chosen stages,
their parameters, and the upstream stages that they read.

    planned = plan(chosen("03", None), "small", overrides(["steps=5"]))     # stage -> coerced parameters
    missing_upstream("small", planned)                                      # "" or one line with the command
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from nbkit.run import params, provenance, yaml_text

if TYPE_CHECKING:
    from nbkit.run.schemas.base import Common


def chosen(first: str | None, only: str | None) -> list[str]:
    """The stages from `first` on, those of the list `only` ("05" or "03,04"), or all; in pipeline order."""
    stages = list(params.schemas())
    if only:
        return sorted({params.resolve_stage(text.strip()) for text in only.split(",")}, key=stages.index)
    return stages[stages.index(params.resolve_stage(first)) :] if first else stages


def overrides(texts: Sequence[str]) -> dict[str, Any]:
    """["steps=5", "lr=1e-3"] -> values (rules: yaml_text.py), not yet coerced; `profile` has its own flag."""
    found = {}
    for name, text in pairs(texts, "-p"):
        if name == "profile":
            raise ValueError(f"-p profile={text}: use --profile NAME for the profile")
        try:
            found[name] = yaml_text.read_value(text, name)
        except ValueError as error:
            raise ValueError(f"-p {name}={text}: {error}") from None
    return found


def pairs(texts: Sequence[str], flag: str) -> Iterator[tuple[str, str]]:
    """KEY and VALUE of each text that stood behind `flag`; ValueError for one without, or given twice."""
    given = set()
    for whole in texts:
        name, equals, text = whole.partition("=")
        name = name.strip()
        if not equals or not name:
            raise ValueError(f"{flag} {whole}: write {flag} KEY=VALUE")
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
        if (wrong := _wrong_precision(schema)) and wrong not in problems:
            problems.append(wrong)
        # Of the overrides, those that this stage has.
        own = {k: v for k, v in overrides.items() if k in schema.model_fields}
        unused -= set(own)
        # Cell, profile and overrides are checked by one schema, and the cell must name every parameter.
        try:
            cell = params.parameters_cell(provenance.notebook_path(stage))
            params.coerce(schema, {name: value for name, (_, value) in cell.items()}, stage)
            values = params.load_profile(profile, stage) | own
            planned[stage] = vars(params.coerce(schema, values, stage))
            if absent := sorted(set(values) - set(cell)):
                raise ValueError(
                    f"{stage}: {absent[0]!r} is not in the notebook's parameters cell; add it there"
                )
        except ValueError as error:
            if str(error) not in problems:
                problems.append(str(error))
    for name in sorted(unused):
        problems.append(f"-p {name}: no chosen stage has this parameter{_where_instead(name, stages)}")
    if problems:
        raise ValueError("\n".join(problems))
    return planned


def _where_instead(name: str, stages: Sequence[str]) -> str:
    """The end of a line about an override that none of `stages` has: the stages that have it, else the
    nearest name that the chosen ones have; "" if there is neither."""
    schemas = params.schemas()
    if owners := [stage for stage, schema in schemas.items() if name in schema.model_fields]:
        have, chosen = ("has", "that stage") if len(owners) == 1 else ("have", "one of these")
        return f"; {', '.join(owners)} {have} it: choose {chosen} (now {', '.join(stages)}), or leave it out"
    known = sorted({field for stage in stages for field in schemas[stage].model_fields})
    return params.nearest(name, known)


def _wrong_precision(schema: type[Common]) -> str:
    """What is wrong with NBKIT_PRECISION for a stage that computes; "" if nothing. Said here, before the
    first stage runs."""
    given = os.environ.get("NBKIT_PRECISION") or "auto"
    if "precision" not in schema.model_fields or given in (choices := schema.about("precision")["choices"]):
        return ""
    return f"NBKIT_PRECISION: got {given!r}, wanted one of {', '.join(choices)}"


def missing_upstream(profile: str, planned: Mapping[str, Mapping[str, Any]]) -> str:
    """One line that names every stage outside `planned` which must be made (again) before `planned` can read
    what it needs, and the command that does it; "" if all is there.

    A stage is refused here as `Run.input` would refuse it in the notebook: missing, damaged, or resting on
    inputs that changed. Content is not hashed here; the notebook does that for what it reads. The parameters
    of a stage that is to be made are those of the profile.
    """
    wrong: dict[str, str] = {}
    readers: list[str] = []
    # Each chosen stage is asked what it reads, with the parameters it will have.
    for stage, values in planned.items():
        own = _unusable(profile, params.schemas()[stage](**values), planned)
        readers += [stage] if own else []
        wrong |= own
    if not wrong:
        return ""
    order = sorted(wrong, key=list(params.schemas()).index)
    numbers = ",".join(stage.partition("_")[0] for stage in order)
    return (
        f"{', '.join(readers)}: first make {', '.join(f'{stage} ({wrong[stage]})' for stage in order)} with "
        f"`nbkit run --profile {profile} --only {numbers}`"
    )


def _unusable(profile: str, config: Common, planned: Mapping[str, Any]) -> dict[str, str]:
    """What stands in the way of a stage with this config, all the way up: stage -> what is wrong with it."""
    wrong = {}
    # A stage that is about to be made is not in the way.
    for stage in config.upstream():
        if stage in planned:
            continue
        state, reason, manifest = provenance.load_manifest(profile, stage)
        if state == "complete":
            if not (reason := provenance.changed_inputs(profile, manifest)):
                continue
            state = "stale"
        schema = params.schemas()[stage]
        above = params.coerce(schema, params.load_profile(profile, stage), stage)
        wrong |= _unusable(profile, above, planned) | {stage: f"{state}: {reason}"}
    return wrong


def waiting(
    profile: str, planned: Mapping[str, Mapping[str, Any]], own: Mapping[str, Mapping], force: bool
) -> list[str]:
    """Which of the planned stages are likely to run: those not up to date, and those that read one of these.
    Content is not hashed for it. `own`: the parameters of each stage that differ from the profile's."""
    found: list[str] = []
    for stage, values in planned.items():
        # A stage runs again if it is not up to date, or if one that it reads will be made anew.
        above = params.schemas()[stage](**values).upstream()
        state, _ = provenance.status_of(stage, profile, own[stage], deep=False)
        if force or state != "complete" or set(above) & set(found):
            found.append(stage)
    return found


def add_overrides(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "-p",
        dest="overrides",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="set a parameter; repeatable",
    )


def resumed(profile: str, stage: str) -> bool:
    """Did an interrupted run of the stage leave finished parts or checkpoints, which this one goes on from?
    Nobody knows then how long the rest takes. (If parameters changed since, it begins anew all the same.)"""
    folder = provenance.run_dir(profile, stage)
    kept = ("*/_step.json", "*/*/_step.json", "training/*/*")
    return not (folder / "_SUCCESS").is_file() and any(any(folder.glob(pattern)) for pattern in kept)
