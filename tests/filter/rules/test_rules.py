"""Twenty dimensions by rules: a better and a worse text for each."""

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from nbkit.filter import scorer as quality
from nbkit.filter.rules import dimensions
from nbkit.filter.rules.measures import NEUTRAL

RELATIONAL = [dimension.name for dimension in quality.DIMENSIONS if dimension.relational]


def test_twelve_content_and_eight_format_dimensions_with_written_ends():
    assert len(set(quality.NAMES)) == 20
    assert [d.group for d in quality.DIMENSIONS] == ["content"] * 12 + ["format"] * 8
    for dimension in quality.DIMENSIONS:
        assert "0: " in dimension.criteria and "9: " in dimension.criteria, dimension.name
    assert len({d.criteria for d in quality.DIMENSIONS}) == 20


@given(st.text(st.characters(codec=None), max_size=300))
@example("")
@example(" \n\t")
@example("日本語のテキスト。" * 50)
@example("Ã© â€™ \ufffd\ud800\x00")
@example("1 / 0 = 0, Q: a\nA:")
@example("?" * 500)
def test_annotations_are_whole_numbers_from_0_to_9(text):
    scores = quality.annotate(text)
    assert tuple(scores) == quality.NAMES
    assert all(type(score) is int and 0 <= score <= 9 for score in scores.values())
    assert quality.annotate(text) == scores
    assert dimensions.annotate_relational(text) == [scores[name] for name in RELATIONAL]


PROSE = (
    "A glacier is a mass of ice that moves under its own weight. The ice forms because snow falls faster "
    "than it melts. As the snow piles up, its weight presses the lower layers into ice.\n\n"
    "Moving ice carries stones with it. These stones scratch the rock below the ice."
)
MENU = "Home | About | Login\nAccept all cookies | Sitemap\nFollow us on Facebook | Privacy policy"
PAIRS = {
    "knowledge_density": (
        PROSE,
        "it was and then it was and so it was that it is what it is and that is it " * 3,
    ),
    "factual_specificity": (
        "In 1869 the chemist Dmitri Mendeleev of Saint Petersburg listed 63 elements.",
        "A long time ago somebody somewhere made a list of quite a lot of things.",
    ),
    "domain_terms": (
        "Photosynthesis in prokaryotic organisms involves oxidation of carbohydrate, hence respiration.",
        "We went to the shop and got some milk and bread for the kids and the dog.",
    ),
    "reasoning_depth": (
        "The road was wet because it rained. Therefore the car slid. If it had been dry, it would have held.",
        "The road was wet. The car was red. The man was tall. The day was long.",
    ),
    "step_completeness": (
        "Question: What is 12 + 30?\nSolution: Twelve and thirty make 42.\nAnswer: 42",
        "Question: What is 12 + 30?\nSolution: Twelve and thirty make fifty.\nAnswer: 42",
    ),
    "calculation_consistency": ("So 12 * 4 = 48 and 48 + 2 = 50.", "So 12 * 4 = 46 and 46 + 2 = 47."),
    "relevance": (
        "Question: Why do rivers carry sand to the sea?\nRivers carry sand since water moves it to the sea.",
        "Question: Why do rivers carry sand to the sea?\nMy favourite film came out last summer.",
    ),
    "educational_value": (
        "Osmosis is defined as the movement of water through a membrane. For example, a salted cell shrinks.",
        "Went down there again yesterday. Nobody around, so turned back home early.",
    ),
    "coherence": (
        PROSE,
        "Bananas grow in Ecuador. Tuesday seems long. My neighbour sold his bicycle. Copper conducts heat.",
    ),
    "elaboration": (PROSE * 3, "Nice one."),
    "objectivity": (PROSE, "omg i love my cat lol!! honestly i hate everybody else haha, whatever!!!"),
    "promotion_free": (
        PROSE,
        "Buy now! Free discount offers, click here to order now at the best price. Limited time!",
    ),
    "boilerplate_free": (PROSE, MENU),
    "markup_free": (
        PROSE,
        '<div class="x"><a href="http://a.b">{{cite}}</a></div> [[File:x.png]] &nbsp; www.a.b',
    ),
    "clean_characters": (PROSE, "The cafÃ© was â€œopenâ€\x9d \ufffd\ufffd\ufffd ##### ====="),
    "repetition_free": (PROSE, "This is the best day ever. " * 12),
    "complete_ending": (
        PROSE,
        "The three main causes of the war were the\nIn the year of\nand when they finally",
    ),
    "punctuation": (PROSE, "and then we went to the shop and he said that she was there " * 12),
    "casing": (PROSE, PROSE.upper()),
    "line_structure": (PROSE, "News\nSport\nWeather\nTravel\nMore\nShop\nMap\nHelp"),
}


def test_every_dimension_has_a_pair():
    assert set(PAIRS) == set(quality.NAMES)


@pytest.mark.parametrize("name", PAIRS)
def test_the_better_text_scores_higher_by_three_points(name):
    better, worse = (quality.annotate(text)[name] for text in PAIRS[name])
    assert better >= worse + 3, f"{better} and {worse}"


def test_annotation_by_hand():
    scores = quality.annotate("Question: What is 2 + 3?\nSolution: 2 + 3 = 5.\nAnswer: 5")
    assert scores["calculation_consistency"] == 9
    assert scores["step_completeness"] == 9  # the 5 occurs in the working
    assert scores["relevance"] == 9  # 2 and 3 of {question, 2, 3} come back
    assert scores["promotion_free"] == scores["boilerplate_free"] == 9
    plain = quality.annotate("Plain prose that asks for nothing.")
    assert [plain[name] for name in RELATIONAL] == [NEUTRAL] * 3
    assert quality.annotate("the cat sat on the mat")["casing"] == 0
    assert quality.annotate("Ends well.\nBreaks off in")["complete_ending"] == round(4.5)


@pytest.mark.parametrize("n_right", [0, 1, 3, 30])
def test_one_false_equation_spoils_the_calculation(n_right):
    right = " ".join(f"{n} + 1 = {n + 1}." for n in range(n_right))
    assert quality.annotate(f"{right} 7 * 8 = 55.")["calculation_consistency"] <= 3
    assert quality.annotate(f"{right} 7 * 8 = 56.")["calculation_consistency"] == 9


def test_only_the_beginning_of_a_document_is_read():
    beginning = (PROSE + "\n") * 90
    assert len(beginning) > quality.MAX_CHARS
    huge = beginning + "BUY NOW!!! " * 5_000_000
    assert quality.annotate(huge) == quality.annotate(beginning)
    assert np.array_equal(
        *(quality.text_features([text]).toarray() for text in (huge, beginning[: quality.MAX_CHARS]))
    )
