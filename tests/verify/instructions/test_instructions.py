"""IFEval's instructions, each followed and not, with the quirks of the published program."""

import pytest

from nbkit.verify.instructions.checks import CHECKS, loose, strict
from nbkit.verify.instructions.sentences import capital_words, count_sentences

CASES = [
    ("keywords:existence", {"keywords": ["Tea", "cup"]}, "a cup of tea", "a cup"),
    ("keywords:frequency", {"keyword": "tea", "relation": "at least", "frequency": 2}, "tea, teapot", "tea"),
    ("keywords:frequency", {"keyword": "tea", "relation": "less than", "frequency": 2}, "tea", "Tea tea"),
    ("keywords:forbidden_words", {"forbidden_words": ["tea"]}, "a teapot", "Tea!"),
    ("keywords:letter_frequency", {"letter": "A", "let_relation": "at least", "let_frequency": 2}, "aA", "a"),
    (
        "length_constraints:number_sentences",
        {"relation": "less than", "num_sentences": 2},
        "One.",
        "One. Two.",
    ),
    ("length_constraints:number_words", {"relation": "at least", "num_words": 3}, "it's me", "its me"),
    ("length_constraints:number_paragraphs", {"num_paragraphs": 2}, "a\n***\nb\n***", "a\n***\n***\nb"),
    (
        "length_constraints:nth_paragraph_first_word",
        {"num_paragraphs": 2, "nth_paragraph": 2, "first_word": "two"},
        "one\n\n'Two, three",
        "one two\n\nthree",
    ),
    ("detectable_content:number_placeholders", {"num_placeholders": 2}, "[a] [b]", "[a]"),
    ("detectable_content:postscript", {"postscript_marker": "P.S."}, "x\nP. S. y", "x PS y"),
    ("detectable_content:postscript", {"postscript_marker": "P.P.S"}, "x\nP.P.S y", "x P.S. y"),
    ("detectable_format:number_bullet_lists", {"num_bullets": 2}, "* a\n- b", "* a\n- b\n* c"),
    ("detectable_format:constrained_response", {}, "So: My answer is yes.", "yes"),
    ("detectable_format:number_highlighted_sections", {"num_highlights": 2}, "*a* and *b*", "*a* and **"),
    (
        "detectable_format:multiple_sections",
        {"section_spliter": "Section", "num_sections": 2},
        "Section 1 a Section 2 b",
        "Section 1",
    ),
    ("detectable_format:json_format", {}, '```json\n{"a": 1}\n```', "{a: 1}"),
    ("detectable_format:title", {}, "<<Tea>>\ntext", "<< >>"),
    ("combination:two_responses", {}, "a\n******\nb", "a\n******\na"),
    ("combination:repeat_prompt", {"prompt_to_repeat": "Do it."}, "DO IT. Done", "Done. Do it."),
    ("startend:end_checker", {"end_phrase": "Bye."}, 'So. bye."', "Bye. So"),
    ("startend:quotation", {}, ' "a" ', '"'),
    (
        "change_case:capital_word_frequency",
        {"capital_relation": "at least", "capital_frequency": 2},
        "NASA IS",
        "NASA is",
    ),
    ("punctuation:no_comma", {}, "none", "a, b"),
]


@pytest.mark.parametrize(("name", "kwargs", "right", "wrong"), CASES)
def test_each_instruction(name, kwargs, right, wrong):
    # Tables fill the values of other instructions with None.
    padded = {"capital_frequency": None, "language": None} | kwargs
    assert strict(right, [name], [padded]) == [True]
    assert strict(wrong, [name], [padded]) == [False]


def test_every_instruction_has_a_case():
    spoken = {"language:response_language", "change_case:english_capital", "change_case:english_lowercase"}
    assert {case[0] for case in CASES} | spoken == set(CHECKS)


def test_languages():
    pytest.importorskip("langdetect", reason="the package langdetect is not installed (nbkit[ifeval])")
    german = "Das ist ein deutscher Satz über das Wetter und den Regen im Herbst."
    english = "This is a sentence about the weather and the rain in autumn."
    assert strict(german, ["language:response_language"], [{"language": "de"}]) == [True]
    assert strict(english, ["language:response_language"], [{"language": "de"}]) == [False]
    assert strict(english.upper(), ["change_case:english_capital"], [{}]) == [True]
    assert strict(english.lower(), ["change_case:english_lowercase"], [{}]) == [True]
    assert strict(german.lower(), ["change_case:english_lowercase"], [{}]) == [False]
    # A text without any feature of a language follows, as published.
    assert strict("12 + 3", ["language:response_language"], [{"language": "de"}]) == [True]


def test_an_empty_response_follows_nothing():
    assert strict(" \n", ["punctuation:no_comma"], [{}]) == [False]
    assert loose("", ["punctuation:no_comma"], [{}]) == [False]


def test_loose_forgives_the_first_and_last_line_and_asterisks():
    said = 'Sure, here it is:\n"no commas"\nHope, that helps'
    assert strict(said, ["startend:quotation"], [{}]) == [False]
    assert loose(said, ["startend:quotation", "punctuation:no_comma"], [{}, {}]) == [True, True]
    assert loose("**Bye.**", ["startend:end_checker"], [{"end_phrase": "Bye."}]) == [True]


@pytest.mark.parametrize(
    ("name", "kwargs", "told"),
    [
        ("keywords:rhyme", {}, "got 'keywords:rhyme', which is none of IFEval's 25"),
        ("keywords:existence", {}, "kwargs of keywords:existence: got {}"),
        ("length_constraints:number_words", {"relation": "about", "num_words": 3}, "relation 'about'"),
    ],
)
def test_unusable_instructions(name, kwargs, told):
    with pytest.raises(ValueError, match=told):
        strict("x", [name], [kwargs])


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("One. Two! Three?", 3),
        ("Dr. Smith paid 3.50 dollars. He left.", 2),
        ("It is 5 p.m. now", 1),
        ("J. Smith and others came.", 1),
        ("A title, e.g. <<this>>, etc. please.", 3),  # Punkt does not know these two
        ("J.K. Rowling wrote it. A P.S. follows.", 3),
        ("A value of n. However, it is small.", 1),
        ('He said "Stop." Then he left.', 2),
        ("He said “Stop.” Then he left.", 2),
        ("Wait... what is it?", 1),
        ("Wait... The end.", 2),
        ("no end", 1),
        ("", 0),
        ("1. First item\n2. Second item", 3),  # Punkt takes the number of a list for a sentence
    ],
)
def test_sentences(text, count):
    assert count_sentences(text) == count


@pytest.mark.parametrize(
    ("text", "count"),
    [("NASA said it DIDN'T", 3), ("A.B. and C", 2), ("x-Y 3D", 1), ("AT&T CANNOT", 4), ("", 0)],
)
def test_capital_words(text, count):
    assert capital_words(text) == count
