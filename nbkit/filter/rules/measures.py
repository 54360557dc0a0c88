"""What the rules measure of one text: counts that several share (`View`), and a level 0-9 for each dimension
that needs more than one pattern."""

import re
from collections import Counter
from collections.abc import Sequence
from functools import cached_property

from nbkit.text.equations import equations

NEUTRAL = 5  # a dimension that does not apply to a text
MAX_CHARS = 20_000  # what is read of a long document, by the annotators and by the distilled scorer
_STOPWORDS = frozenset(
    re.findall(
        r"\w+",
        "a about also an and any are as at be been but by can could did do does for from had has have he "
        "her his how i if in into is it its me more my no not of on one or other our out she so some such "
        "than that the their them then there these they this those to too up us was we were what when "
        "where which who will with would you your",
    )
)
_ASK = re.compile(
    r"(?:^|(?<=[.!?\n]))[^.!?\n]*\?|^(?:question|problem|exercise|task|q)[.:][^\n]*?(?=\sa(?:nswer)?:|\n|$)",
    re.I | re.M,
)
_ANSWER = re.compile(r"\b(?:answer(?: is)?|result is|a|output)(?::| is)? +([^\n]+)", re.I)
_SENTENCE_END = re.compile(r"[.!?](?=[\s\"”')]|$)")
_HARD_WRAP = re.compile(r"(?<=[^\n]{50})(?<![.!?:])\n(?=\S)|\n(?=[a-z])")  # a line end inside a sentence
_NAME = re.compile(r"(?<=[a-z,;] )[A-Z][a-z]+")


class View:
    """Counts that several rules share, for one text."""

    def __init__(self, text: str) -> None:
        self.text = _HARD_WRAP.sub(" ", text[:MAX_CHARS])
        self.n_chars = max(len(self.text), 1)

    @cached_property
    def words(self) -> list[str]:
        return re.findall(r"\w+", self.text.lower())

    @cached_property
    def n_words(self) -> int:
        return max(len(self.words), 1)

    @cached_property
    def lines(self) -> list[str]:
        return [line.strip() for line in self.text.splitlines() if line.strip()]

    @cached_property
    def sentences(self) -> list[str]:
        return [part for part in re.split(r"(?<=[.!?])\s+|\n+", self.text) if part.strip()]

    @cached_property
    def replies(self) -> list[tuple[str, str]]:
        """(question, text up to the next question) for every question asked."""
        asks = list(_ASK.finditer(self.text))
        # Each reply ends where the next question begins, the last at the end of the text.
        ends = [ask.start() for ask in asks[1:]] + [len(self.text)] * bool(asks)
        return [(ask[0], self.text[ask.end() : end]) for ask, end in zip(asks, ends, strict=True)]

    def per_word(self, pattern: re.Pattern) -> float:
        return len(pattern.findall(self.text)) / self.n_words


def level(value: float, low: float, high: float) -> int:
    """`value` on the 0-9 scale: 0 at `low`, 9 at `high` (which may be the smaller one), clipped."""
    return round(9 * min(max((value - low) / (high - low), 0.0), 1.0))


def share(hits: Sequence[float]) -> int:
    """The mean of shares 0-1 on the 0-9 scale; NEUTRAL where there is none."""
    return round(9 * sum(hits) / len(hits)) if hits else NEUTRAL


def _content_words(text: str) -> set[str]:
    return {word for word in re.findall(r"\w+", text.lower()) if word not in _STOPWORDS}


def knowledge_density(view: View) -> int:
    opening = view.words[:200]  # the share of distinct words falls with length
    return level(len(set(opening) - _STOPWORDS) / max(len(opening), 20), 0.15, 0.65)


def specificity(view: View) -> int:
    numbers = sum(word[0].isdigit() for word in view.words)
    # Names within a sentence only: a capital at its beginning says nothing.
    return level((numbers + len(_NAME.findall(view.text))) / max(view.n_words, 10), 0.0, 0.2)


def calculation(view: View) -> int:
    holds = equations(view.text)
    return share(holds) if all(holds) else sum(holds) * 3 // len(holds)  # one false equation spoils the rest


def relevance(view: View) -> int:
    shares = []
    for question, reply in view.replies:
        asked, told = _content_words(question), set(re.findall(r"\w+", reply.lower()))
        # Half of the question's words taken up count as fully relevant.
        shares.append(min(1.0, 2 * len(asked & told) / max(len(asked), 1)))
    return share(shares)


def step_completeness(view: View) -> int:
    hits = []
    for _, reply in view.replies:
        # The answer's words must come up in the working before it: one that does not is not derived.
        answer = _ANSWER.search(reply)
        told = set(re.findall(r"\w+", answer[1].lower())) if answer else set()
        working = set(re.findall(r"\w+", reply[: answer.start()].lower())) if answer else set()
        # No answer or no working is neither good nor bad: 4 of 9, as the criterion has it.
        hits.append(0.4 if len(working) < 2 or not told else len(told & working) / len(told))
    return share(hits)


def coherence(view: View) -> int:
    # The first five letters stand for the stem; 60 sentences are enough to judge by.
    stems = [{word[:5] for word in _content_words(sentence)} for sentence in view.sentences[:60]]
    stems = [stem for stem in stems if len(stem) > 1]
    if len(stems) < 2:
        return NEUTRAL
    linked = [bool(b & a) for a, b in zip(stems, stems[1:], strict=False)]
    return level(sum(linked) / len(linked), 0.0, 0.8)


def repetition(view: View) -> int:
    grams = Counter(zip(view.words, view.words[1:], view.words[2:], strict=False))
    repeated = sum(count - 1 for count in grams.values()) / max(grams.total(), 1)
    return level(repeated, 0.4, 0.0)


def punctuation(view: View) -> int:
    # A blank line ends a sentence too, but half as surely as a full stop.
    ends = len(_SENTENCE_END.findall(view.text)) + view.text.count("\n\n") / 2
    per_sentence = view.n_words / max(ends, 0.5)
    # Bad on both sides: a mark after every word, and none at all.
    return min(level(per_sentence, 2, 8), level(per_sentence, 90, 40))


def casing(view: View) -> int:
    letters = sum(map(str.isalpha, view.text))
    upper = sum(map(str.isupper, view.text))
    lower_starts = sum(sentence.lstrip()[:1].islower() for sentence in view.sentences) / max(
        len(view.sentences), 1
    )
    # Shouting and sentences without capitals are told apart, and the worse of the two counts.
    return min(level(upper / max(letters, 1), 0.4, 0.15), level(lower_starts, 0.8, 0.2))


def line_structure(view: View) -> int:
    # Short lines are menus and scraps, weighted by their share of the characters.
    short = sum(len(line) for line in view.lines if len(line) < 30)
    return level(short / view.n_chars, 0.6, 0.05)
