"""The form of an answer: does it think first, state equations that hold, and stop? Used by 03.

form(result, tokenizer)["right form"]    # Estimate over the answers, e.g. 98.3% [96.1, 99.4]
"""

import numpy as np

from nbkit.evals.evaluate import Evaluation
from nbkit.evals.score import Estimate, avg_at_k, estimate
from nbkit.models.chat_ids import token_ids_of
from nbkit.text.chat import END_THINK, THINK, split_thought
from nbkit.text.equations import equations


def chain(text: str) -> str:
    """What stands between <think> and </think>; up to the end where thinking does not end, "" without any."""
    _, opened, rest = text.partition(THINK)
    thought = split_thought(opened + rest)[0]
    return rest if thought is None else thought


def well_formed(text: str, ended: bool) -> bool:
    """Begins with the one chain of thought, closes it once, and stops by itself."""
    return ended and text.startswith(THINK) and text.count(THINK) == text.count(END_THINK) == 1


def form(result: Evaluation, tokenizer) -> dict[str, Estimate]:
    """Over the first answer to each question, with 95% intervals:

    right form            share that is `well_formed`
    tokens of thought     mean length of `chain`, 0 where there is none
    states an equation    share whose text, chain or not, holds one such as 3 + 4 = 7
    its equations hold    share of true ones among them, mean over those answers; absent where none has any
    """
    shaped = [well_formed(t, e) for t, e in zip(result.texts, result.ended, strict=True)]
    lengths = [len(ids) for ids in token_ids_of(tokenizer, [chain(text) for text in result.texts])]
    stated = [equations(text) for text in result.texts]
    found = {
        "right form": avg_at_k(np.array(shaped)),
        # A number of tokens has no upper bound, a share has.
        "tokens of thought": estimate(lengths, (0.0, np.inf)),
        "states an equation": avg_at_k(np.array([bool(s) for s in stated])),
    }
    if any(stated):
        # Only answers that state some: an answer without equations has none that are false.
        found["its equations hold"] = estimate([np.mean(s) for s in stated if s], (0.0, 1.0))
    return found
