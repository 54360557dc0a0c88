"""Which preference pairs are worth training on: rules over scored pairs, and how many each one dropped. Used
by 05.

A pair is a dict with "prompt", "chosen" and "rejected" (text), and, where responses were scored,
"chosen_score" and "rejected_score". The first rule that a pair breaks is the one that counts:

    empty         no prompt, or a response without text
    equal         both responses say the same
    truncated     a response without its stop token: it ran into the generation limit
    long          prompt and response together have more than `max_length` tokens: training would cut them
    margin        the good response is not better by at least `min_margin`: the bad one is not clearly worse
    contaminated  the prompt is in the evaluation, as `contaminated` says

>>> pair = {"prompt": "2+2?", "chosen": "4<e>", "rejected": "5<e>"}
>>> filter_pairs([pair, pair | {"rejected": "4<e>"}, pair | {"rejected": "5"}], stop="<e>")[1]
Counter({'kept': 1, 'equal': 1, 'truncated': 1})
"""

from collections import Counter
from collections.abc import Callable, Sequence

SIDES = ("chosen", "rejected")


def broken_rule(
    pair: dict,
    *,
    stop: str = "",
    length: Callable[[str], int] | None = None,
    max_length: int = 0,
    min_margin: float | None = None,
    contaminated: Callable[[str], bool] | None = None,
) -> str | None:
    """The first rule `pair` breaks, or None. `stop`: the text every whole response ends with ("": not
    checked); `length`: tokens of a text."""
    texts = [pair[side].removesuffix(stop).strip() for side in SIDES]
    if not pair["prompt"] or not all(texts):
        return "empty"
    if texts[0] == texts[1]:
        return "equal"
    if not all(pair[side].endswith(stop) for side in SIDES):
        return "truncated"
    if length and any(length(pair["prompt"]) + length(pair[side]) > max_length for side in SIDES):
        return "long"
    if min_margin is not None:
        margin = pair["chosen_score"] - pair["rejected_score"]
        if not margin >= min_margin:  # a score that is NaN is no reason to keep a pair
            return "margin"
    if contaminated and contaminated(pair["prompt"]):
        return "contaminated"
    return None


def filter_pairs(pairs: Sequence[dict], **rules) -> tuple[list[dict], Counter]:
    """(pairs that break no rule, count by rule and of "kept"). `rules` as in `broken_rule`. Raises ValueError
    that says which rules dropped them when no pair is left."""
    found = [broken_rule(pair, **rules) or "kept" for pair in pairs]
    counts = Counter(found)
    if not counts["kept"]:
        why = ", ".join(f"{n} {rule}" for rule, n in counts.most_common() if n) or "there were none"
        raise ValueError(
            f"pairs: none of {len(pairs)} is left ({why}); sample more, or loosen that rule "
            "(rules: nbkit.train.pairs)"
        )
    return [pair for pair, rule in zip(pairs, found, strict=True) if rule == "kept"], counts
