"""What the command line says, on stderr, of outputs that are absent, not writable or of another nbkit."""

from __future__ import annotations

import contextlib
import sys

from nbkit.run import files, params, provenance


def known_profile(profile: str) -> None:
    """Raises ValueError where the project has no such profile."""
    params.load_profile(profile, next(iter(params.schemas())))


def look_at_outputs(profile: str) -> None:
    """One line, on stderr, where the outputs of a profile are absent or cannot be written."""
    folder = files.outputs_root() / profile
    if trouble := files.unwritable(folder):
        print(f"nbkit: {trouble}", file=sys.stderr)
    elif not folder.is_dir():
        say = f"no outputs yet in {folder}; `nbkit run --profile {profile}` makes them"
        if others := with_outputs():
            say += f"; there are outputs of {', '.join(others)} (`{others[0]}` as the profile)"
        print(f"nbkit: {say}", file=sys.stderr)
    elif not any((folder / stage).is_dir() for stage in params.schemas()):
        # `nbkit submit --dry-run` leaves such a folder.
        script = folder / "slurm" / "submit.sh"
        say = f"no stage has run yet in {folder}; `nbkit run --profile {profile}` runs them here"
        if script.is_file():
            say += f"; the Slurm jobs are written, `bash {script}` submits them"
        print(f"nbkit: {say}", file=sys.stderr)


def with_outputs() -> list[str]:
    """The profiles that have outputs."""
    return [name for name in params.profiles() if (files.outputs_root() / name).is_dir()]


def look_at_formats(profile: str) -> None:
    """One line, on stderr, that names the stages another nbkit made, which this one does not read."""
    unread = []
    for stage in params.schemas():
        with contextlib.suppress(ValueError):  # a manifest that is no JSON: told with its stage
            unread += [stage] if provenance.load_manifest(profile, stage)[0] == "stale" else []
    if unread:
        numbers = ",".join(stage.partition("_")[0] for stage in unread)
        told = f"another nbkit made {', '.join(unread)}, which cannot be read"
        print(
            f"nbkit: {told}; `nbkit run --profile {profile} --only {numbers}` makes it anew", file=sys.stderr
        )
