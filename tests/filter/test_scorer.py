"""Rules are checked on hand-written texts, the distilled model on documents it has not seen."""

import random

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from nbkit.filter import scorer as quality
from nbkit.filter.rules import dimensions
from nbkit.filter.rules.measures import NEUTRAL
from nbkit.tasks import world
from nbkit.text import ngrams
from nbkit.text.equations import equations

RELATIONAL = [dimension.name for dimension in quality.DIMENSIONS if dimension.relational]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2 + 3 = 5", [True]),
        ("2 + 3 = 6", [False]),
        ("2 + 3 * 4 = 14, not 2 + 3 * 4 = 20", [True, False]),
        ("48/2 = <<48/2=24>>24", [True]),
        ("7 - 9 = -2 and -3 + 5 = 2", [True, True]),
        ("10 / 4 = 2.5; 10 / 3 = 3.33; 10 / 3 = 3", [True, True, False]),
        ("$5 * 3 = $15 and 1,000 + 2 = 1,002.", [True, True]),
        ("3 x 4 = 12, 3 × 4 = 13", [True, False]),
        ("5 / 0 = 0", [False]),
        ("2 + 3 = 4 + 1", []),  # the right side goes on
        ("(2 + 3) * 4 = 20", []),  # brackets are left alone
        ("2x + 3 = 7", []),
        ("y - 3 + 5 = 2", []),
        ("2^3 + 1 = 9", []),
        ("17 / 5 = 3 remainder 2", []),
        ("1.5 + 1.5 = 3.05", [False]),
        ("- 1 + 1 = 2\n- 1 + 1 = 3", [True, False]),  # bullets, not signs
        ("60 students x 2/3 = 40 students", []),
        ("no numbers = here", []),
    ],
)
def test_equations(text, expected):
    assert equations(text) == expected


def test_random_equations_against_python():
    rng = random.Random(0)
    for _ in range(300):
        terms = [str(rng.randint(1, 50)) for _ in range(rng.randint(2, 5))]
        expression = " ".join(x for term in terms for x in (term, rng.choice("+-*")))[:-2]
        value = eval(expression)  # noqa: S307 - built above from digits and + - *
        assert equations(f"so {expression} = {value}.") == [True]
        assert equations(f"so {expression} = {value + rng.choice([-1, 1, 10])}.") == [False]


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


@pytest.fixture(scope="module")
def sample():
    """Texts to fit on and others to test on, of the embedded world."""
    fit, test = ([doc["text"] for doc in world.corpus(300, seed)] for seed in (1, 2))
    return fit, [text for text in test if text not in set(fit)]


@pytest.fixture(scope="module")
def fitted(sample):
    return quality.Scorer().fit(sample[0], [quality.annotate(text) for text in sample[0]])


LEARNABLE = (
    "knowledge_density",
    "factual_specificity",
    "domain_terms",
    "reasoning_depth",
    "educational_value",
    "elaboration",
    "punctuation",
)


def test_distilled_model_agrees_on_unseen_texts(fitted, sample):
    annotations = [quality.annotate(text) for text in sample[1]]
    report = fitted.agreement(sample[1], annotations)
    assert tuple(report) == quality.NAMES
    for name in LEARNABLE:  # measured 0.84 to 0.95 on this sample
        assert report[name]["spearman"] > 0.75, name
        assert report[name]["mae"] < 1.2, name
    truth, guess = quality.as_matrix(annotations), fitted.predict(sample[1])
    column = quality.NAMES.index("elaboration")
    assert report["elaboration"]["mae"] == pytest.approx(np.abs(truth - guess)[:, column].mean())


def test_control_without_signal_there_is_no_agreement(sample):
    annotations = quality.as_matrix([quality.annotate(text) for text in sample[0]])
    mixed = np.random.default_rng(0).permutation(annotations)
    scorer = quality.Scorer().fit(sample[0], mixed)
    report = scorer.agreement(sample[1], [quality.annotate(text) for text in sample[1]])
    for name in LEARNABLE:
        assert abs(report[name]["spearman"]) < 0.35, name


def test_relational_columns_are_those_of_the_rules(fitted, sample):
    scores = fitted.predict(sample[1][:50])
    columns = [quality.NAMES.index(name) for name in RELATIONAL]
    by_rule = [[quality.annotate(text)[name] for name in RELATIONAL] for text in sample[1][:50]]
    assert np.array_equal(scores[:, columns], by_rule)
    assert {"calculation_consistency", "relevance"} <= set(RELATIONAL)


def test_predictions_are_bounded_batch_independent_and_deterministic(fitted, sample):
    texts = [*sample[1][:20], "", "x" * 3000, "漢字 \ud800"]
    scores = fitted.predict(texts)
    assert scores.shape == (23, 20) and scores.min() >= 0 and scores.max() <= 9
    assert np.array_equal(scores, np.concatenate([fitted.predict([text]) for text in texts]))
    assert np.array_equal(scores[::-1], fitted.predict(texts[::-1]))
    assert np.array_equal(scores, fitted.predict(texts, ngrams.word_ids(texts)))
    assert fitted.predict([]).shape == (0, 20)
    again = quality.Scorer().fit(sample[0], [quality.annotate(text) for text in sample[0]])
    assert np.array_equal(again.predict(texts), scores)


def test_annotations_as_rows_and_as_a_matrix_are_the_same(sample):
    rows = [quality.annotate(text) for text in sample[0][:5]]
    shuffled = [dict(reversed(row.items())) for row in rows]
    assert np.array_equal(quality.as_matrix(rows), quality.as_matrix(shuffled))
    assert np.array_equal(
        quality.as_matrix(rows), quality.as_matrix(np.array([[*row.values()] for row in rows]))
    )


def test_constant_dimension_has_no_correlation(fitted):
    report = fitted.agreement(["a b c"] * 3, np.full((3, 20), 4.0))
    assert report["elaboration"]["spearman"] is None


def test_saved_scorer_is_the_same(fitted, sample, tmp_path):
    path = tmp_path / "scorer.npz"
    fitted.save(path)
    again = quality.Scorer.load(path)
    assert np.array_equal(again.predict(sample[1][:20]), fitted.predict(sample[1][:20]))


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty", "text", "array", "absent", "no weights"])
def test_damaged_scorer_is_refused(fitted, tmp_path, damage):
    path = tmp_path / "scorer.npz"
    fitted.save(path)
    data = path.read_bytes()
    if damage == "cut":
        path.write_bytes(data[: len(data) // 2])
    elif damage == "flipped":
        middle = len(data) // 2
        path.write_bytes(data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :])
    elif damage == "array":
        with path.open("wb") as file:
            np.save(file, np.zeros(3))
    elif damage == "absent":
        path.unlink()
    elif damage == "no weights":
        np.savez(path, names=np.array(quality.NAMES))
    else:
        path.write_bytes({"empty": b"", "text": b"hello"}[damage])
    with pytest.raises(ValueError, match="scorer.npz is no complete saved Scorer"):
        quality.Scorer.load(path)


def test_scorer_refuses_bad_input(tmp_path):
    for use in (lambda s: s.predict(["a"]), lambda s: s.save(tmp_path / "x.npz")):
        with pytest.raises(ValueError, match="not fitted"):
            use(quality.Scorer())
    assert not list(tmp_path.iterdir())
    with pytest.raises(ValueError, match="2 texts, 1 annotations"):
        quality.Scorer().fit(["a", "b"], [quality.annotate("a")])
    with pytest.raises(ValueError, match="at least 2"):
        quality.Scorer().fit(["a"], [quality.annotate("a")])
    with pytest.raises(ValueError, match=r"lacks the dimensions \['coherence'\]"):
        quality.as_matrix([{name: 1 for name in quality.NAMES if name != "coherence"}])
    for bad in (10.0, -1.0, np.nan):
        with pytest.raises(ValueError, match="from 0 to 9"):
            quality.as_matrix(np.full((2, 20), bad))
    with pytest.raises(ValueError, match=r"shape \(2, 19\)"):
        quality.as_matrix(np.zeros((2, 19)))
    path = tmp_path / "other.npz"
    np.savez(path, weights=np.zeros((4, 20)), bias=np.zeros(20), names=np.array(quality.NAMES[::-1]))
    with pytest.raises(ValueError, match="other dimensions"):
        quality.Scorer.load(path)
