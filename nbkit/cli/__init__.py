"""The command line: it starts, watches and reports runs. It changes no result and is never hashed."""

from typing import Any


def __getattr__(name: str) -> Any:
    """`main`, and the two that scripts call, without importing the command line into every kernel."""
    if name == "main":
        from nbkit.cli.commands import main  # noqa: PLC0415 (a kernel that runs a notebook needs none of it)

        return main
    if name in ("plan", "_overrides"):
        from nbkit.cli import planning  # noqa: PLC0415 (as above)

        return getattr(planning, name.removeprefix("_"))
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
