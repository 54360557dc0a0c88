"""Instructions that a program can check, as IFEval publishes them (notebook 07, `nbkit eval`).

from nbkit.verify.instructions.checks import strict, loose
strict("no commas here", ["punctuation:no_comma"], [{}])  # [True]
"""
