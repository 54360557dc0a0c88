"""The embedded world's skills: small, graded tasks in five domains, each a function (rng, level) -> Draft.

The last template of every skill is never used for training (split "template"), and level 5 exists only in the
"composition" split. Many small skills instead of one hard one: a phase transition in a single skill drowns
every comparison between training recipes, the average over many moves smoothly. Importing this package
registers them all.
"""

from nbkit.tasks.bank import agent, code, general, math, science

__all__ = ["agent", "code", "general", "math", "science"]
