"""Labels by answering: a capable model answers the questions of a document itself, and the document is good
where it works its answers out and both agree. Used by notebook 01 (label_source="teacher").

The report has a strong LLM judge a sample and distils a small model from it that can judge the whole corpus.
A false answer in good form is what a small filter overlooks; a model that can solve the question sees it.

    answered_questions("Question: 2 + 3?\\nAnswer: 6")   # [("2 + 3?", "6", False)]
    labels_by_answering(texts, engine("shipped"))        # 9: all right; 0: one is not; NaN: none given
"""

import re
from collections.abc import Sequence

import numpy as np

from nbkit.filter.rules.measures import MAX_CHARS
from nbkit.models.engine import Completion, Engine, user_turn
from nbkit.run import progress
from nbkit.text.chat import split_thought
from nbkit.verify.answers.compare import equivalent
from nbkit.verify.answers.extract.answer import extract_answer
from nbkit.verify.errors import GraderError

FEWEST = 50  # labels; fewer say too little about the weights of 21 numbers

# Stricter than `View.replies` of the rules, which takes any sentence with a question mark: what is put to a
# model must be the whole question, and the answer all of its line.
# A labelled question up to the end of its line, or to an answer on the same line.
_QUESTION = re.compile(
    r"^(?:question|problem|exercise|task|q)[.:](?P<text>[^\n]+?)(?=\sa(?:nswer)?:|\n|\Z)", re.I | re.M
)
_ANSWER = re.compile(r"\b(?:answer is|a(?:nswer)?:)(?P<text>[^\n]+)", re.I)


def answered_questions(text: str) -> list[tuple[str, str, bool]]:
    """(question, answer, worked) of every labelled question that an answer follows before the next question;
    worked: two words or more stand between them."""
    text = text[:MAX_CHARS]
    asks = list(_QUESTION.finditer(text))
    ends = [*(ask.start() for ask in asks[1:]), len(text)]
    found = []
    for ask, end in zip(asks, ends, strict=False):
        answer = _ANSWER.search(text, ask.end(), end)
        if answer and answer["text"].strip() and ask["text"].strip():
            worked = len(text[ask.end() : answer.start()].split()) > 1
            found.append((ask["text"].strip(), answer["text"].strip(), worked))
    return found


@progress.doing("answering the questions of the sample")
def labels_by_answering(texts: Sequence[str], engine: Engine, max_new_tokens: int = 96) -> np.ndarray:
    """Labels (D,) of texts: 9.0 where every answer is worked out and is the model's own (greedy, one per
    question), 0.0 where one is not, NaN where nothing is asked and answered or the model gave no answer.
    A question that several documents ask is answered once. Raises ValueError where FEWEST labels or more are
    all alike: nothing would tell good from bad."""
    found_D = [answered_questions(text) for text in texts]
    asked = list(dict.fromkeys(question for found in found_D for question, *_ in found))
    groups = engine.sample([user_turn(question) for question in asked], 1, max_new_tokens, 0.0)
    own = {question: group[0] for question, group in zip(asked, groups, strict=True)}
    label_D = np.full(len(texts), np.nan)
    for number, found in enumerate(found_D):
        # One that is not worked out needs no second opinion.
        verdicts = [worked and _agree(own[question], answer) for question, answer, worked in found]
        # A fault decides, whatever could not be answered beside it.
        if False in verdicts:
            label_D[number] = 0.0
        elif verdicts and None not in verdicts:
            label_D[number] = 9.0
    given = label_D[~np.isnan(label_D)]
    if len(given) >= FEWEST and not np.ptp(given):
        raise ValueError(
            f"teacher_model: it {'confirms' if given[0] else 'refutes'} all {len(given)} documents that ask "
            "and answer, so its labels tell nothing apart; take another model, or label_source: seeds"
        )
    return label_D


def _agree(own: Completion, answer: str) -> bool | None:
    """Is the model's answer the document's? None where it gave none."""
    ours = split_thought(own.text)[1]
    if not own.stopped or not _plain(ours):
        return None
    if _plain(ours) == _plain(answer):
        return True
    try:
        return equivalent(extract_answer(own.text), answer)
    except GraderError:  # the document's answer cannot be read, and the texts differ
        return False


def _plain(text: str) -> str:
    return " ".join(text.split()).rstrip(".").casefold()
