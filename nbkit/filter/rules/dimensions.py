"""The twenty quality dimensions with their written criteria, and the rules that annotate a text on them, 0-9.

The report keeps 20 of over 60 candidate dimensions, in two groups, content and format; which 20 is
undisclosed, so these are our choice. An LLM annotates by `criteria` (annotators.py); the rules here are the
transparent offline annotator. They read the text alone, count what the criteria name, and answer NEUTRAL
where a criterion does not apply. Higher is better in every dimension.

>>> annotate("Question: What is 2 + 3?\\nSolution: 2 + 3 = 6.\\nAnswer: 6")["calculation_consistency"]
0
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

from nbkit.filter.rules import measures, wording
from nbkit.filter.rules.measures import View, level, share


@dataclass(frozen=True)
class Dimension:
    """One scored property: name, group ("content" or "format"), written criterion (what 0 and 9 mean) and the
    rule that applies it. `relational`: it compares parts of a document with each other, which no bag of words
    can; the rule itself then scores the whole corpus (scorer.py)."""

    name: str
    group: str
    criteria: str
    rule: Callable[[View], int]
    relational: bool = False


DIMENSIONS: tuple[Dimension, ...] = tuple(
    Dimension(*row)
    for row in (
        (
            "knowledge_density",
            "content",
            "0: filler; 9: most words carry distinct content.",
            measures.knowledge_density,
        ),
        (
            "factual_specificity",
            "content",
            "0: vague; 9: names, numbers and dates throughout.",
            measures.specificity,
        ),
        (
            "domain_terms",
            "content",
            "0: everyday words; 9: precise terms or formulas of a field throughout.",
            lambda v: level(v.per_word(wording.LEARNED), 0.0, 0.18),
        ),
        (
            "reasoning_depth",
            "content",
            "0: bare assertions; 9: every sentence gives a reason, condition or consequence.",
            lambda v: level(len(wording.REASON.findall(v.text)) / max(len(v.sentences), 1), 0.0, 1.0),
        ),
        (
            "step_completeness",
            "content",
            "0: the stated answer does not come out of the steps before it; 4: no steps; 9: it does. "
            "5: no question.",
            measures.step_completeness,
            True,
        ),
        (
            "calculation_consistency",
            "content",
            "0: the stated equations are false, up to 3: some are; 9: all hold. 5: none is stated.",
            measures.calculation,
            True,
        ),
        (
            "relevance",
            "content",
            "0: replies ignore what was asked; 9: they take it up. 5: nothing is asked.",
            measures.relevance,
            True,
        ),
        (
            "educational_value",
            "content",
            "0: teaches nothing; 9: defines, explains and gives examples throughout.",
            lambda v: level(v.per_word(wording.TEACH), 0.0, 0.07),
        ),
        (
            "coherence",
            "content",
            "0: unconnected sentences; 9: each takes up the one before.",
            measures.coherence,
        ),
        (
            "elaboration",
            "content",
            "0: a remark; 9: a point developed at length (150 words or more).",
            lambda v: level(math.log1p(v.n_words), math.log(6), math.log(150)),
        ),
        (
            "objectivity",
            "content",
            "0: chat, outbursts, talk about oneself; 9: sober and about its subject.",
            lambda v: level(v.per_word(wording.CHATTY), 0.1, 0.0),
        ),
        (
            "promotion_free",
            "content",
            "0: an advertisement, solicitation or fraud; 9: sells nothing.",
            lambda v: level(v.per_word(wording.PROMOTION), 0.04, 0.0),
        ),
        (
            "boilerplate_free",
            "format",
            "0: menus, banners, legal lines; 9: none.",
            lambda v: level(v.per_word(wording.BOILERPLATE), 0.06, 0.0),
        ),
        (
            "markup_free",
            "format",
            "0: littered with tags, addresses and templates; 9: clean text.",
            lambda v: level(v.per_word(wording.MARKUP), 0.03, 0.0),
        ),
        (
            "clean_characters",
            "format",
            "0: broken encoding, runs of symbols; 9: none.",
            lambda v: level(len(wording.ODD.findall(v.text)) / v.n_chars, 0.02, 0.0),
        ),
        (
            "repetition_free",
            "format",
            "0: the same phrases again and again; 9: none repeated.",
            measures.repetition,
        ),
        (
            "complete_ending",
            "format",
            "0: lines and the text break off; 9: all end where a sentence or formula ends.",
            lambda v: share([bool(wording.ENDED.search(line)) for line in v.lines]) if v.lines else 0,
        ),
        (
            "punctuation",
            "format",
            "0: none, or a mark after every word; 9: sentences of usual length.",
            measures.punctuation,
        ),
        ("casing", "format", "0: shouting or no capitals; 9: capitals as in edited text.", measures.casing),
        (
            "line_structure",
            "format",
            "0: scraps of lines; 9: running text or whole formulas.",
            measures.line_structure,
        ),
    )
)


def annotate(text: str) -> dict[str, int]:
    """Score one text on the twenty dimensions: name -> 0-9, by the rules (deterministic). Reads the
    first MAX_CHARS characters."""
    view = View(text)
    return {dimension.name: dimension.rule(view) for dimension in DIMENSIONS}


def annotate_relational(text: str) -> list[int]:
    """The relational dimensions only, in the order of DIMENSIONS."""
    view = View(text)
    return [dimension.rule(view) for dimension in DIMENSIONS if dimension.relational]
