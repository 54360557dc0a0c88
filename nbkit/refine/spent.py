"""What the models of a refinement did: generated tokens by role, how completions ended, seconds. Used by 04.

spent = Spent()
spent.metered("draft", engine).sample(prompts)  # counted under its role
spent.close(start)  # the time; an error when too many requests got no answer
"""

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from nbkit.models.engine import Completion, Engine, count_stops

LOST = 0.01  # share of drafts or requests that may get lost, counted, before a call fails


class Unanswered(RuntimeError):
    """An endpoint left too many requests without an answer."""


@dataclass
class Spent:
    """What the models did: generated tokens by role, how their completions ended, and the seconds it took."""

    tokens: Counter = field(default_factory=Counter)
    stops: Counter = field(default_factory=Counter)
    seconds: float = 0.0

    def __add__(self, other: "Spent") -> "Spent":
        return Spent(self.tokens + other.tokens, self.stops + other.stops, self.seconds + other.seconds)

    def close(self, start: float) -> None:
        """Note the time since `start`. Raises Unanswered when over 1% of the requests failed: results made
        without them would be taken for the models'."""
        # Over all requests of the call: one dead endpoint among several must show, a lost request must not.
        self.seconds = time.perf_counter() - start
        failed = sum(count for name, count in self.stops.items() if name.endswith(": error"))
        if failed > LOST * self.stops.total():
            raise Unanswered(
                f"{failed} of {self.stops.total()} requests got no answer; mend the endpoint, then run "
                "again: what it answered comes from the cache"
            )

    def metered(self, role: str, engine: Engine) -> "Metered":
        return Metered(role, engine, self)


@dataclass
class Metered:
    """An engine whose completions are counted under a role."""

    role: str
    engine: Engine
    spent: Spent

    def sample(self, prompts: Sequence, *arguments, **options) -> list[list[Completion]]:
        groups = self.engine.sample(prompts, *arguments, **options)
        self.spent.tokens[self.role] += sum(completion.tokens for group in groups for completion in group)
        self.spent.stops.update({f"{self.role}: {stop}": n for stop, n in count_stops(groups).items()})
        return groups
