"""Code questions that synthetic tests decide, the tests made once for each program. Used by 06.

suites = Suites(jails, SynthesisSettings(private=8))
suites.make(tasks)          # side by side, one jail each
suites(task)                # the task with its tests; itself where it asks for no program; None without tests
"""

from collections import Counter
from collections.abc import Sequence

from nbkit.rl.rewards import with_suite
from nbkit.tasks.skills import Task
from nbkit.verify import JailPool
from nbkit.verify.code.synthesis import Rejected, Suite, SynthesisSettings, synthesize


class Suites:
    """Tests by reverse generation (nbkit.verify.code.synthesis) for the programs that questions ask for."""

    def __init__(self, jails: JailPool, settings: SynthesisSettings):
        self.jails, self.settings = jails, settings
        self.made: dict[tuple[str, str], tuple[Task, Suite | Rejected]] = {}

    def make(self, tasks: Sequence[Task]) -> None:
        """Make those that are missing, several at once."""
        missing = {(task.entry, task.answer): task for task in tasks if task.calls}
        missing = {key: task for key, task in missing.items() if key not in self.made}
        made = self.jails.map(self._synthesize, [(task,) for task in missing.values()])
        for (key, task), suite in zip(missing.items(), made, strict=True):
            self.made[key] = task, suite

    def __call__(self, task: Task) -> Task | None:
        """The task as its tests decide it; None where its program got none."""
        if not task.calls:
            return task
        self.make([task])
        suite = self.made[task.entry, task.answer][1]
        return with_suite(task, suite) if isinstance(suite, Suite) else None

    def _synthesize(self, jail, task: Task) -> Suite | Rejected:
        examples = [list(arguments) for arguments, _ in task.calls]
        return synthesize(jail, task.answer, task.entry, examples, self.settings)

    def suites(self) -> list[tuple[Task, Suite]]:
        """The questions whose program got tests, first of its kind, with these."""
        return [(task, suite) for task, suite in self.made.values() if isinstance(suite, Suite)]

    def dropped(self) -> dict[str, int]:
        """Why programs got no tests, and how many."""
        return dict(Counter(s.reason for _, s in self.made.values() if isinstance(s, Rejected)))
