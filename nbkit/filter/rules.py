"""The twenty quality dimensions with their written criteria, and the rules that annotate a text on them, 0-9.

The report keeps 20 of over 60 candidate dimensions, in two groups, content and format; which 20 is
undisclosed, so these are our choice. An LLM annotates by `criteria` (annotators.py); the rules here are the
transparent offline annotator. They read the text alone, count what the criteria name, and answer NEUTRAL
where a criterion does not apply. Higher is better in every dimension.

>>> annotate("Question: What is 2 + 3?\\nSolution: 2 + 3 = 6.\\nAnswer: 6")["calculation_consistency"]
0
"""

import math
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
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


def _words(pattern: str) -> re.Pattern:
    return re.compile(rf"\b(?:{pattern})\b", re.I)


_REASON = re.compile(
    r"\b(?:because|since|therefore|thus|hence|so|then|if|although|however|whereas|while|despite|unless"
    r"|consequently"
    r"|implies|due to|as a result|in order to|first|next|finally|step)\b|\d ?= ?-?\d",
    re.I,
)
_TEACH = _words(
    r"is an?|are|is the|called|known as|defin\w+|refers? to|consists? of|such as|means|types? of"
    r"|for example|e\.g"
    r"|that is|i\.e|explain\w*|describe\w*|shows?|note that|recall|prov(?:e|en|ed)|proof|solution|example"
    r"|suppose|let"
    r"|results?|caused?|causes|used to|function|theory|process"
)
_LEARNED = re.compile(
    r"\b[a-z]{3,}(?:tion|sion|sis|ity|ism|ment|ance|ence|ology|graphy|ical|ous|ive|ate|ase|ide|ics|ular"
    r"|genic|morphism)s?\b"
    r"|\\[a-z]+|\w ?[=^] ?[\w\\{-]|\b\d+\.\d+|\b(?:def|return|import|while|theorem|lemma|equation)\b",
    re.I,
)
_ASK = re.compile(
    r"(?:^|(?<=[.!?\n]))[^.!?\n]*\?|^(?:question|problem|exercise|task|q)[.:][^\n]*?(?=\sa(?:nswer)?:|\n|$)",
    re.I | re.M,
)
_ANSWER = re.compile(r"\b(?:answer(?: is)?|result is|a|output)(?::| is)? +([^\n]+)", re.I)
_CHATTY = re.compile(
    r"\b(?:i|i'm|im|my|me|u|ur|omg|lol|haha|btw|honestly|anyway|whatever|hate|love|ok|stupid|crap|guys?"
    r"|gonna|wanna)\b"
    r"|!|\?{2,}",
    re.I,
)
_PROMOTION = re.compile(
    r"\b(?:buy|cheap|free|offers?|discount|click|subscribe|newsletter|sale|deals?|order now|sign up"
    r"|sponsor\w*"
    r"|promo\w*|limited time|best price|casino|winner|guarantee\w*|millions?|dollars|funds?|cash|profits?"
    r"|earn|invest\w*"
    r"|your (?:account|e?mail|business|order|name|money)|dear|urgent\w*|congratulations|beneficiary"
    r"|transfer|bank"
    r"|visit (?:us|our)|call (?:us|now)|contact (?:us|me)|reply|shop|price|our (?:company|products?"
    r"|services?|team|customers)"
    r"|opportunit(?:y|ies)|customers?|confidential|assistance|kindly)\b|[$£€]\d",
    re.I,
)
_BOILERPLATE = re.compile(
    r"\b(?:cookies?|privacy policy|terms of (?:service|use)|all rights reserved|copyright|log ?in|sign in"
    r"|sitemap"
    r"|newsletter|contact us|about us|subscribe|share (?:on|this)|javascript|accept all|loading|page \d+ of"
    r"|menu|home"
    r"|facebook|twitter|rss|unsubscribe|search|read more|related (?:articles|stories)|comments?|previous"
    r"|advertis\w+|follow us)\b"
    r"| \| |>>|»|^(?:from|to|subject|date|reply ?- ?to|sent):",
    re.I | re.M,
)
_MARKUP = re.compile(
    r"</?[a-z][^<>\n]{0,80}>|&[a-z]{2,6};|https?:|www\.|\{\{|\}\}|\[\[|\]\]|@@|^\W{3,}$", re.I | re.M
)
_ODD = re.compile(r"[^\w\s!-/:-@\[-`{-~£€‘’“”–—…°·×÷²³µ±§←-⋿]|�|Ã.|â€|([!?.*#~=_-])\1{3,}")
_ENDED = re.compile(r"(?:[.!?:;)\]}\"”’'$]|\d)\s*$")
_SENTENCE_END = re.compile(r"[.!?](?=[\s\"”')]|$)")
_HARD_WRAP = re.compile(r"(?<=[^\n]{50})(?<![.!?:])\n(?=\S)|\n(?=[a-z])")  # a line end inside a sentence
_NAME = re.compile(r"(?<=[a-z,;] )[A-Z][a-z]+")


class _View:
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
        ends = [ask.start() for ask in asks[1:]] + [len(self.text)] * bool(asks)
        return [(ask[0], self.text[ask.end() : end]) for ask, end in zip(asks, ends, strict=True)]

    def per_word(self, pattern: re.Pattern) -> float:
        return len(pattern.findall(self.text)) / self.n_words


def _level(value: float, low: float, high: float) -> int:
    """`value` on the 0-9 scale: 0 at `low`, 9 at `high` (which may be the smaller one), clipped."""
    return round(9 * min(max((value - low) / (high - low), 0.0), 1.0))


def _share(hits: Sequence[float]) -> int:
    return round(9 * sum(hits) / len(hits)) if hits else NEUTRAL


def _content_words(text: str) -> set[str]:
    return {word for word in re.findall(r"\w+", text.lower()) if word not in _STOPWORDS}


def _knowledge_density(view: _View) -> int:
    opening = view.words[:200]  # the share of distinct words falls with length
    return _level(len(set(opening) - _STOPWORDS) / max(len(opening), 20), 0.15, 0.65)


def _specificity(view: _View) -> int:
    numbers = sum(word[0].isdigit() for word in view.words)
    return _level((numbers + len(_NAME.findall(view.text))) / max(view.n_words, 10), 0.0, 0.2)


def _calculation(view: _View) -> int:
    holds = equations(view.text)
    return _share(holds) if all(holds) else sum(holds) * 3 // len(holds)  # one false equation spoils the rest


def _relevance(view: _View) -> int:
    shares = []
    for question, reply in view.replies:
        asked, told = _content_words(question), set(re.findall(r"\w+", reply.lower()))
        shares.append(min(1.0, 2 * len(asked & told) / max(len(asked), 1)))
    return _share(shares)


def _step_completeness(view: _View) -> int:
    hits = []
    for _, reply in view.replies:
        answer = _ANSWER.search(reply)
        told = set(re.findall(r"\w+", answer[1].lower())) if answer else set()
        working = set(re.findall(r"\w+", reply[: answer.start()].lower())) if answer else set()
        hits.append(0.4 if len(working) < 2 or not told else len(told & working) / len(told))
    return _share(hits)


def _coherence(view: _View) -> int:
    stems = [{word[:5] for word in _content_words(sentence)} for sentence in view.sentences[:60]]
    stems = [stem for stem in stems if len(stem) > 1]
    if len(stems) < 2:
        return NEUTRAL
    linked = [bool(b & a) for a, b in zip(stems, stems[1:], strict=False)]
    return _level(sum(linked) / len(linked), 0.0, 0.8)


def _repetition(view: _View) -> int:
    grams = Counter(zip(view.words, view.words[1:], view.words[2:], strict=False))
    repeated = sum(count - 1 for count in grams.values()) / max(grams.total(), 1)
    return _level(repeated, 0.4, 0.0)


def _punctuation(view: _View) -> int:
    ends = len(_SENTENCE_END.findall(view.text)) + view.text.count("\n\n") / 2
    per_sentence = view.n_words / max(ends, 0.5)
    return min(_level(per_sentence, 2, 8), _level(per_sentence, 90, 40))


def _casing(view: _View) -> int:
    letters = sum(map(str.isalpha, view.text))
    upper = sum(map(str.isupper, view.text))
    lower_starts = sum(sentence.lstrip()[:1].islower() for sentence in view.sentences) / max(
        len(view.sentences), 1
    )
    return min(_level(upper / max(letters, 1), 0.4, 0.15), _level(lower_starts, 0.8, 0.2))


def _line_structure(view: _View) -> int:
    short = sum(len(line) for line in view.lines if len(line) < 30)
    return _level(short / view.n_chars, 0.6, 0.05)


@dataclass(frozen=True)
class Dimension:
    """One scored property: name, group ("content" or "format"), written criterion (what 0 and 9 mean) and the
    rule that applies it. `relational`: it compares parts of a document with each other, which no bag of words
    can; the rule itself then scores the whole corpus (scorer.py)."""

    name: str
    group: str
    criteria: str
    rule: Callable[[_View], int]
    relational: bool = False


DIMENSIONS: tuple[Dimension, ...] = tuple(
    Dimension(*row)
    for row in (
        (
            "knowledge_density",
            "content",
            "0: filler; 9: most words carry distinct content.",
            _knowledge_density,
        ),
        ("factual_specificity", "content", "0: vague; 9: names, numbers and dates throughout.", _specificity),
        (
            "domain_terms",
            "content",
            "0: everyday words; 9: precise terms or formulas of a field throughout.",
            lambda v: _level(v.per_word(_LEARNED), 0.0, 0.18),
        ),
        (
            "reasoning_depth",
            "content",
            "0: bare assertions; 9: every sentence gives a reason, condition or consequence.",
            lambda v: _level(len(_REASON.findall(v.text)) / max(len(v.sentences), 1), 0.0, 1.0),
        ),
        (
            "step_completeness",
            "content",
            "0: the stated answer does not come out of the steps before it; 4: no steps; 9: it does. "
            "5: no question.",
            _step_completeness,
            True,
        ),
        (
            "calculation_consistency",
            "content",
            "0: the stated equations are false, up to 3: some are; 9: all hold. 5: none is stated.",
            _calculation,
            True,
        ),
        (
            "relevance",
            "content",
            "0: replies ignore what was asked; 9: they take it up. 5: nothing is asked.",
            _relevance,
            True,
        ),
        (
            "educational_value",
            "content",
            "0: teaches nothing; 9: defines, explains and gives examples throughout.",
            lambda v: _level(v.per_word(_TEACH), 0.0, 0.07),
        ),
        ("coherence", "content", "0: unconnected sentences; 9: each takes up the one before.", _coherence),
        (
            "elaboration",
            "content",
            "0: a remark; 9: a point developed at length (150 words or more).",
            lambda v: _level(math.log1p(v.n_words), math.log(6), math.log(150)),
        ),
        (
            "objectivity",
            "content",
            "0: chat, outbursts, talk about oneself; 9: sober and about its subject.",
            lambda v: _level(v.per_word(_CHATTY), 0.1, 0.0),
        ),
        (
            "promotion_free",
            "content",
            "0: an advertisement, solicitation or fraud; 9: sells nothing.",
            lambda v: _level(v.per_word(_PROMOTION), 0.04, 0.0),
        ),
        (
            "boilerplate_free",
            "format",
            "0: menus, banners, legal lines; 9: none.",
            lambda v: _level(v.per_word(_BOILERPLATE), 0.06, 0.0),
        ),
        (
            "markup_free",
            "format",
            "0: littered with tags, addresses and templates; 9: clean text.",
            lambda v: _level(v.per_word(_MARKUP), 0.03, 0.0),
        ),
        (
            "clean_characters",
            "format",
            "0: broken encoding, runs of symbols; 9: none.",
            lambda v: _level(len(_ODD.findall(v.text)) / v.n_chars, 0.02, 0.0),
        ),
        ("repetition_free", "format", "0: the same phrases again and again; 9: none repeated.", _repetition),
        (
            "complete_ending",
            "format",
            "0: lines and the text break off; 9: all end where a sentence or formula ends.",
            lambda v: _share([bool(_ENDED.search(line)) for line in v.lines]) if v.lines else 0,
        ),
        (
            "punctuation",
            "format",
            "0: none, or a mark after every word; 9: sentences of usual length.",
            _punctuation,
        ),
        ("casing", "format", "0: shouting or no capitals; 9: capitals as in edited text.", _casing),
        (
            "line_structure",
            "format",
            "0: scraps of lines; 9: running text or whole formulas.",
            _line_structure,
        ),
    )
)


def annotate(text: str) -> dict[str, int]:
    """Score one text on the twenty dimensions: name -> 0-9, by the rules above (deterministic). Reads the
    first MAX_CHARS characters."""
    view = _View(text)
    return {dimension.name: dimension.rule(view) for dimension in DIMENSIONS}


def annotate_relational(text: str) -> list[int]:
    """The relational dimensions only, in the order of DIMENSIONS."""
    view = _View(text)
    return [dimension.rule(view) for dimension in DIMENSIONS if dimension.relational]
