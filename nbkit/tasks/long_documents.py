"""Documents whose end needs their beginning: what decay's long sequences are for. Used by 01 and 02.

A register of who keeps what comes first; worked questions of every skill and look-ups in the register follow
in turn, so that the last look-ups read back over most of the document. The report's decay stage has "more
math, code, synthetic QA and long CoT"; this is our miniature of the long part. About 800 tokens under the
tokenizer of `small`.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass

from nbkit.tasks.skills import sample
from nbkit.tasks.world import worked

SYLLABLES = ("ka", "lo", "mi", "ru", "se", "ta", "vo", "ne", "pi", "da")
THINGS = ("lamps", "books", "chairs", "plates", "ropes", "coins", "boxes", "seeds")


@dataclass(frozen=True)
class Entry:
    """One line of a register."""

    name: str
    thing: str
    count: int

    @property
    def line(self) -> str:
        return f"{self.name} keeps {self.count} {self.thing}."

    @property
    def question(self) -> str:
        """The look-up, as a document writes it, up to the number that has to be found."""
        return (
            f"Question: How many {self.thing} does {self.name} keep?\n"
            f"Solution: The register says that {self.name} keeps"
        )

    @property
    def answer(self) -> str:
        return f" {self.count} {self.thing}.\nAnswer: {self.count}"


def register(rng: random.Random, entries: int) -> list[Entry]:
    """`entries` different names, each with a thing and a count of two digits."""
    names = rng.sample([a + b for a in SYLLABLES for b in SYLLABLES if a != b], entries)
    return [Entry(name.capitalize(), rng.choice(THINGS), rng.randint(10, 99)) for name in names]


def opening(entries: Sequence[Entry]) -> str:
    return "Register.\n" + "\n".join(entry.line for entry in entries)


def long_documents(n: int, seed: int = 0, entries: int = 16, look_ups: int = 9) -> list[dict]:
    """`n` documents in the form of `world.corpus`; between two look-ups stands one worked question of the
    training split."""
    rng, docs = random.Random(f"long/{seed}"), []
    tasks = iter(sample(max(1, n * look_ups), "train", seed + 31_337))
    for i in range(n):
        lines = register(rng, entries)
        parts = [opening(lines)]
        # Worked questions between the look-ups push the register further and further back.
        for entry in rng.sample(lines, look_ups):
            parts += [worked(next(tasks)), entry.question + entry.answer]
        text = "\n".join(parts)
        docs.append({"id": f"long-{seed}-{i}", "text": text, "source": "synthetic", "truth_tier": "clean"})
    return docs
