r"""Sentences that only speak about an answer: denials of a whole statement, suppositions, questions.

denied("It is not true that the answer is 5", 25)  # True: what is said from the word "answer" on
supposed("If the answer is 5, we get a contradiction.", 7)  # True
asked("Is the answer 5?", 14, 15)  # True: nobody states the 5
"""

import re

_NEAR = 90  # characters before a statement in which such words are looked for
_SENTENCE = re.compile(r"[.!?;:\n]\s")
# Words between a denial and what it denies; with one of these a new clause begins.
_SAME_CLAUSE = (
    r"(?:(?!\b(?:but|so|then|thus|hence|therefore|and|because|since|however|while|is|are)\b)[^,;:]){0,40}"
)
_DENIES = re.compile(
    r"\b(?:(?:not|n['’]t)\s(?:\w{2,10}ly\s)?(?:true|the\scase|correct|right|certain|possible|say|saying|think|believe"
    r"|claim|mean|agree|accept)|false|untrue|incorrect|impossible|doubt(?:s|ed|ful)?|unlikely|nobody|no\sone"
    rf"|den(?:y|ies|ied)|refutes?d?|disproves?d?|rejects?|rejected|disbelieves?|disagrees?)\b{_SAME_CLAUSE}$",
    re.IGNORECASE,
)
_SUPPOSES = re.compile(
    r"\b(?:if|suppos(?:e|ing)|assum(?:e|ing)|imagine|pretend|whether|unless|let(?:['’]?s|\sus)\ssay|thought)"
    r"[\s,]{1,3}(?:(?:that|now|instead|first|for\s(?:a|the|now|contradiction)|moment|sake\sof\s\w{2,14})[\s,]{1,3}){0,3}"
    r"(?:the|our|my|your|this)\s(?:\w{2,10}\s)?$",
    re.IGNORECASE,
)
_ASKS = re.compile(
    r"\s{0,3}(?:(?:so|and|but|then|or|now|well|hm{1,3})[\s,]{1,3}){0,2}"
    r"(?:is|are|was|were|could|can|would|should|might|may|does|did|do|will|what\sif|how\sabout)\b",
    re.IGNORECASE,
)
_QUESTION = re.compile(
    r"[\s$*)}\]]{0,4}(?:[a-z]{1,12}\s?){0,2}\?(?!\s{0,3}(?:yes|yeah|yep|right|correct|indeed|sure|it\sis\b))",
    re.IGNORECASE,
)


def denied(text: str, at: int) -> bool:
    """Does the sentence say that what begins at `at` is not so?"""
    return bool(_DENIES.search(_sentence(text, at)))


def supposed(text: str, at: int) -> bool:
    """Is what begins at `at` only supposed: "Suppose the", "If the"?"""
    return bool(_SUPPOSES.search(_sentence(text, at)))


def asked(text: str, start: int, end: int) -> bool:
    """Does a question end behind the value from `start` to `end`, which nobody says yes to?"""
    return bool(_QUESTION.match(text, end, end + 60) and _ASKS.match(_sentence(text, start)))


def behind_sentence(text: str, at: int) -> str:
    """What follows the sentence that goes on at `at`."""
    end = _SENTENCE.search(text, at)
    return text[end.end() :] if end else ""


def _sentence(text: str, at: int) -> str:
    """The sentence before `at`, as far as it is looked at."""
    return _SENTENCE.split(text[max(0, at - _NEAR) : at])[-1]
