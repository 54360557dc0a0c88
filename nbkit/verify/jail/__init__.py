"""Where code that a model wrote runs: confined, by value, or not at all."""

from nbkit.verify.jail.jail import CallError, Jail, JailResult, SandboxUnavailable, probe
from nbkit.verify.jail.pool import JailPool

__all__ = ["CallError", "Jail", "JailPool", "JailResult", "SandboxUnavailable", "probe"]
