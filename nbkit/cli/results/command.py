"""`nbkit results`: the committed measurements as docs/results.md, a figure and the README's claim table."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from nbkit.run import files


def add(commands: Any) -> None:
    """Add the command to the parser's `commands`."""
    text = "write docs/results.md, its figures and the README's claim table from outputs/reference/"
    command = commands.add_parser("results", help=text, description=text)
    command.set_defaults(action=run)
    which = command.add_mutually_exclusive_group()
    which.add_argument(
        "--publish",
        metavar="PROFILE",
        help="first copy this finished run's metrics to outputs/reference/",
    )
    which.add_argument(
        "--check", action="store_true", help="write nothing; exit code 1 where they would change"
    )


def run(arguments: argparse.Namespace) -> int:
    """Write what changed, or with --check only say so; returns the exit code."""
    # What the pages need (scipy, pandas) would slow down every other command.
    from nbkit.cli.results import ladder  # noqa: PLC0415 (slow)
    from nbkit.cli.results.reference import Reference  # noqa: PLC0415 (slow)

    root = files.project_root()
    if arguments.publish:
        from nbkit.cli.results.publish import publish  # noqa: PLC0415 (with the others)

        print("published:", *publish(arguments.publish, root / "outputs" / "reference"))
    reference = Reference(root / "outputs" / "reference")
    changed = [path for path, text in pages(root, reference).items() if _text(path) != text]
    # --check writes nothing: a test asks in this way whether the page is up to date.
    if arguments.check:
        for path in changed:
            print(f"{path.relative_to(root)} is not what `nbkit results` makes")
        return 1 if changed else 0
    for path, text in pages(root, reference).items():
        files.replace_text(path, text)
    ladder.draw(reference, root / "docs" / "figures")
    print("written: docs/results.md docs/figures/ladder*.png README.md")
    return 0


def pages(root: Path, reference: Any) -> dict[Path, str]:
    """path -> the text it should hold. Raises ValueError outside a checkout, where there is no README."""
    from nbkit.cli.results import page  # noqa: PLC0415 (slow)

    readme = root / "README.md"
    if not readme.is_file():
        raise ValueError(f"results: {readme} is missing; this command works in a checkout of nbkit")
    return {
        root / "docs" / "results.md": page.results(reference),
        readme: page.readme(_text(readme), reference),
    }


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.is_file() else ""
