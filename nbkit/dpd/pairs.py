"""Preference pairs: the best response of the teacher against the worst of the student, rules over such scored
pairs, and how many each rule dropped. Used by 05.

A pair is a dict with "prompt", "chosen" and "rejected" (text), and, where responses were scored,
"chosen_score" and "rejected_score". "chosen_ids" and "rejected_ids" are the very tokens that a model sampled,
which its text need not encode to again: where they are there, training reads them. The first rule that a
pair breaks is the one that counts:

    empty         no prompt, or a response without text
    equal         both responses say the same
    truncated     a response without its stop token: it ran into the generation limit
    long          prompt and response together have more than `max_length` tokens: training would cut them
    score         the good response does not score `min_score`: it is not good
    margin        the good response is not better by at least `min_margin`: the bad one is not clearly worse
    contaminated  the prompt is in the evaluation, as `contaminated` says

>>> pair = {"prompt": "2+2?", "chosen": "4<e>", "rejected": "5<e>"}
>>> filter_pairs([pair, pair | {"rejected": "4<e>"}, pair | {"rejected": "5"}], stop="<e>")[1]
Counter({'kept': 1, 'equal': 1, 'truncated': 1})
"""

from collections import Counter
from collections.abc import Callable, Sequence

from nbkit.evals.evaluate import verdicts
from nbkit.models.chat_ids import token_ids
from nbkit.models.engine import Completion, Engine, render
from nbkit.tasks.partial import partial_credit
from nbkit.tasks.skills import Task
from nbkit.tasks.world import prompt_of

SIDES = ("chosen", "rejected")


def pair_up(
    prompt: str,
    good: Sequence[Completion],
    bad: Sequence[Completion],
    good_scores: Sequence[float],
    bad_scores: Sequence[float],
    stop: str,
) -> dict:
    """The pair of one prompt: the best of the teacher's samples `good` and the worst of the student's `bad`,
    the first where scores are equal. Only responses that ended by themselves are chosen from, where there
    are any: a cut one is bad in a way that another limit would mend. `stop` ends the text of those."""
    pair = {"prompt": prompt}
    # -1 turns "the lowest wins" into "the best wins": one loop finds the best good and worst bad one.
    for side, samples, scores, sign in (("chosen", good, good_scores, -1), ("rejected", bad, bad_scores, 1)):
        best = min(range(len(samples)), key=lambda i: (not samples[i].stopped, sign * scores[i], i))
        pair[side] = samples[best].text + (stop if samples[best].stopped else "")
        pair[f"{side}_ids"] = samples[best].ids
        pair[f"{side}_score"] = float(scores[best])
    return pair


def sample_pairs(
    tasks: Sequence[Task],
    tokenizer,
    teacher: Engine,
    student: Engine,
    jail,
    *,
    counts: tuple[int, int],
    stop: str,
    seed: int,
    **sampling,
) -> list[dict]:
    """One pair of every task that can be graded, scored by its verifier (nbkit.tasks.partial): the best of
    counts[0] teacher samples, the worst of counts[1] samples of the *current* student. Raises GraderError
    where the jail fails on more than a hundredth of the tasks."""
    prompts = [render(tokenizer, prompt_of(task)) for task in tasks]
    # Two streams of random numbers: drawn from one, teacher and student would tend to agree.
    good = teacher.sample(prompts, counts[0], seed=2 * seed, **sampling)
    bad = student.sample(prompts, counts[1], seed=2 * seed + 1, **sampling)
    # One call grades both sides: the jail starts once. A response that was cut counts as wrong (None).
    texts = [[c.text if c.stopped else None for c in (*g, *b)] for g, b in zip(good, bad, strict=True)]
    scores_QK = verdicts(tasks, texts, jail, grade=partial_credit)
    pairs = []
    # A grader that failed on one sample says nothing about which is best or worst: the task is left out.
    for i, task in enumerate(tasks):
        if scores_QK.mask.any() and scores_QK.mask[i].any():
            continue
        of_good, of_bad = scores_QK.data[i, : counts[0]], scores_QK.data[i, counts[0] :]
        # Noted for the report of 05: how much better the teacher is on what was sampled.
        about = {"skill": task.skill, "domain": task.domain, "question": task.question}
        about |= {"teacher_mean": float(of_good.mean()), "student_mean": float(of_bad.mean())}
        if prompts[i].cuts:  # which a file would forget
            about["prompt_ids"] = token_ids(tokenizer, prompts[i])
        pairs.append(about | pair_up(prompts[i], good[i], bad[i], of_good, of_bad, stop))
    return pairs


def broken_rule(
    pair: dict,
    *,
    stop: str = "",
    length: Callable[[str], int] | None = None,
    max_length: int = 0,
    min_score: float | None = None,
    min_margin: float | None = None,
    contaminated: Callable[[str], bool] | None = None,
) -> str | None:
    """The first rule `pair` breaks, or None. `stop`: the text every whole response ends with ("": not
    checked); `length`: tokens of a text."""
    # Text first: a list of messages would break every rule below in a way that says nothing.
    for key in ("prompt", *SIDES):
        if not isinstance(pair[key], str):
            raise ValueError(
                f"pairs: {key} is {pair[key]!r:.80}, wanted text; render messages with the chat template "
                "first (nbkit.models.engine.render)"
            )
    # Rules that need the text alone.
    texts = [pair[side].removesuffix(stop).strip() for side in SIDES]
    if not pair["prompt"] or not all(texts):
        return "empty"
    if texts[0] == texts[1]:
        return "equal"
    if not all(pair[side].endswith(stop) for side in SIDES):
        return "truncated"
    if length and length(pair["prompt"]) + max(_size(pair, side, length) for side in SIDES) > max_length:
        return "long"
    # Rules on scores need scores.
    if (min_score, min_margin) != (None, None) and not {f"{side}_score" for side in SIDES} <= pair.keys():
        raise ValueError(
            f"pairs: the one with prompt {pair['prompt'][-80:]!r} has no chosen_score and rejected_score; "
            "score it, or leave min_score and min_margin out"
        )
    # `not x >= y`: a score that is NaN is no reason to keep a pair
    if min_score is not None and not pair["chosen_score"] >= min_score:
        return "score"
    if min_margin is not None and not pair["chosen_score"] - pair["rejected_score"] >= min_margin:
        return "margin"
    if contaminated and contaminated(pair["prompt"]):
        return "contaminated"
    return None


def _size(pair: dict, side: str, length: Callable[[str], int]) -> int:
    # Tokens as sampled, where they are known: text may encode to a different number of them.
    return len(pair[f"{side}_ids"]) if pair.get(f"{side}_ids") else length(pair[side])


def filter_pairs(pairs: Sequence[dict], **rules) -> tuple[list[dict], Counter]:
    """(pairs that break no rule, count by rule and of "kept"). `rules` as in `broken_rule`. Raises ValueError
    that says which rules dropped them when no pair is left."""
    found = [broken_rule(pair, **rules) or "kept" for pair in pairs]
    counts = Counter(found)
    if not counts["kept"]:
        why = ", ".join(f"{n} {rule}" for rule, n in counts.most_common() if n) or "there were none"
        raise ValueError(
            f"pairs: none of {len(pairs)} is left ({why}); sample more, or loosen that rule "
            "(rules: nbkit.dpd.pairs)"
        )
    return [pair for pair, rule in zip(pairs, found, strict=True) if rule == "kept"], counts


def kept_when(min_score: float, min_margin: float) -> str:
    """Which pairs the rules on scores keep, as a sentence: a toy run asks for less than the method does.

    >>> kept_when(1.0, 0.6)
    'a pair is kept when its good response is right and its bad one scores at least 0.6 less'
    """
    good = "is right" if min_score >= 1 else f"scores at least {min_score:g}"
    good = good if min_score > 0 else "has any score, right or wrong,"
    bad = f"scores at least {min_margin:g} less" if min_margin > 0 else "scores no more"
    return f"a pair is kept when its good response {good} and its bad one {bad}"
