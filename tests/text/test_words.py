"""What counts as the same text: pairs written by hand, for duplicates and for leaks."""

from __future__ import annotations

import unicodedata

import pytest

from nbkit.filter import dedup
from nbkit.filter.contamination import Decontaminator
from nbkit.text.characters import folded, visible
from nbkit.text.words import exact_words, normalise

DIFFERENT = [
    ("What is 6 × 2?", "What is 6 ÷ 2?"),
    ("x ≤ 3", "x ≥ 3"),
    ("x < 3", "x > 3"),
    ("x = 3", "x ≠ 3"),
    ("x ≡ 3", "x ≈ 3"),
    ("x ∈ S", "x ∉ S"),
    ("a ∧ b", "a ∨ b"),
    ("A × B", "A · B"),
    ("5 ± 1", "5 ∓ 1"),
    ("√8", "∛8"),
    ("⌊x⌋", "⌈x⌉"),
    ("p → q", "p ← q"),
    ("a & b", "a | b"),
    ("a & b", "a && b"),
    ("~a", "a"),
    ("if !done", "if done"),
    ("a == b", "a != b"),
    ("5!", "5"),
    ("n! + 1", "n + 1"),
    ("f'(x)", "f(x)"),
    ("f′(2)", "f(2)"),
    ("(2 + 3) * 4", "2 + 3 * 4"),
    ("[1, 2)", "[1, 2]"),
    ("1.5", "1 5"),
    ("3:4", "3.4"),
    ("a.b", "a b"),
    ("1,000", "1 000"),
    ("€5", "£5"),
    ("$5", "5"),
    ("50 %", "50"),
    ("90°", "90"),
    ("2²", "22"),
    ("x²", "x2"),
    ("10⁻³", "103"),
    ("1½", "11/2"),
    ("101₂", "1012"),
    ("x̄", "x"),
    ("कि", "की"),
    ("กิน", "กัน"),
    ("👍", "👎"),
    ("✓ done", "✗ done"),
    ("8 - 3", "8 + 3"),
    ("8 − 3", "8 + 3"),
    ("x\\y", "x y"),
    ("C#", "C"),
    ("🙂", ""),
    ("x:=1", "x=1"),
    ("x := 1", "x = 1"),
    ("x =: 1", "x = 1"),
    ("x ?= 1", "x = 1"),
    ("std::map", "std map"),
    ("a[1:]", "a[:1]"),
    ("a[1:]", "a[1]"),
    ("a[:, 0]", "a[, 0]"),
    ("a[::2]", "a[2]"),
    ("x = .5", "x = 5"),
    ("f(x).y", "f(x) y"),
    (".gitignore", "gitignore"),
    ("cd ../a", "cd ./a"),
    ("cd ./a", "cd /a"),
    ("1..9", "1 9"),
    ("1..9", "1...9"),
    ("a?.b", "a.b"),
    ("a ?? b", "a b"),
    ("a?b:c", "a b:c"),
    ("(?:a)", "(:a)"),
    ("(?=a)", "(=a)"),
    ("f''(x)", "f'(x)"),
    ("n!!", "n!"),
    ("5!!", "5!"),
    ("[1;2]", "[1,2]"),
    ("<a>:<b>", "<a><b>"),
    ("A <: B", "A < B"),
    ("|x:x|", "|x x|"),
]
EQUAL = [
    ("8 − 3", "8 - 3"),
    ("8 – 3", "8 - 3"),
    ("8 － 3", "8 - 3"),
    ("x ≤ 3", "x <= 3"),
    ("x ⩾ 3", "x >= 3"),
    ("a ≠ b", "a != b"),
    ("a =\u0338 b", "a ≠ b"),
    ("x²", "x^2"),
    ("10⁻³", "10^-3"),
    ("½", "1/2"),
    ("1½", "1 1/2"),
    ("3⁄4", "3/4"),
    ("CO₂", "co2"),
    ("Hello, World!", "hello world"),
    ("“So,” he said…", '"So", he said'),
    ("don’t", "don't"),
    ("that — too", "that too"),
    ("ＡＢＣ １", "abc 1"),
    ("café", "cafe\u0301"),
    ("가", "\u1100\u1161"),
    ("Straße", "STRASSE"),
    ("ﬁne", "fine"),
    ("neigh\u00adbours", "neighbours"),
    ("neigh\u00ad\n  bours", "neighbours"),
    ("a\u200bb\u2060c\ufeffd", "abcd"),
    ("\u202eabc\u202c", "abc"),
    ("❤\ufe0f", "❤"),
    ("👍🏽", "👍"),
    ("a\x00b\x07", "ab"),
    ("one\u00a0two\u2003three\u3000four", "one two three four"),
    ("Note: this is it.", "Note this is it"),
    ("**Note:** this", "**Note** this"),
    ("Really?? Yes...", "Really? Yes"),
    ("He said: “no”; then he left...", "He said no, then he left"),
    ("wait...then", "wait … then"),
    ("What? (yes)", "What (yes)"),
    ("Quoi ? Oui : non !", "Quoi? Oui: non!"),
    ("the end.)", "the end)"),
    ("1. one, 2. two", "1 one 2 two"),
    ("one\r\ntwo\u2028three", "one two three"),
]


@pytest.mark.parametrize(("left", "right"), DIFFERENT)
def test_different_texts_are_no_duplicates(left, right):
    assert exact_words(left) != exact_words(right)
    docs = [{"id": str(i), "text": text} for i, text in enumerate((left, right))]
    assert len(dedup.deduplicate(docs)[0]) == 2


@pytest.mark.parametrize(("left", "right"), EQUAL)
def test_spellings_of_one_text_are_exact_duplicates(left, right):
    assert exact_words(left) == exact_words(right)
    docs = [{"id": str(i), "text": text} for i, text in enumerate((left, right))]
    assert [row["kind"] for row in dedup.deduplicate(docs)[1]] == ["exact"]


ITEM = "The farmer's well-known mill ground 37 sacks of rye in March, then 3 × 4 more for her co-workers"
WRAPPED = ITEM.replace("farmer", "far-\nmer").replace("ground", "gro-\r\n   und").replace("March", "Ma-\nrch")
HIDDEN = {
    "soft hyphens": ITEM.replace("r", "\u00adr"),
    "soft hyphens at line ends": ITEM.replace("mill", "mi\u00ad\nll").replace("more", "mo\u00ad \r\n re"),
    "typographic hyphens at line ends": ITEM.replace("ground", "gro\u2010\nund"),
    "hyphens at line ends": WRAPPED,
    "zero-width spaces": ITEM.replace("o", "\u200bo"),
    "word joiners": ITEM.replace("e", "e\u2060"),
    "byte order marks": ITEM.replace(" ", " \ufeff"),
    "marks of direction": ITEM.replace("m", "\u202em\u202c"),
    "isolates": ITEM.replace("s", "\u2066s\u2069"),
    "variation selectors": ITEM.replace("i", "i\ufe0e"),
    "tags": ITEM.replace("a", "a\U000e0061"),
    "Hangul fillers": ITEM.replace("e", "\u3164e"),
    "Mongolian separators": ITEM.replace("e", "\u180ee"),
    "NUL bytes": ITEM.replace("r", "\x00r"),
    "backspaces": ITEM.replace("r", "\x08r"),
    "full width": "".join(chr(ord(c) + 0xFEE0) if "!" <= c <= "~" else c for c in ITEM),
    "decomposed": unicodedata.normalize("NFD", ITEM.replace("e", "é")),
    "struck through": ITEM.replace("a", "a\u0336"),
    "no-break and wide spaces": ITEM.replace(" ", "\u00a0\u3000"),
    "bold letters": ITEM.replace("mill", "𝐦𝐢𝐥𝐥"),
    "hyphens left out": ITEM.replace("well-known", "wellknown").replace("co-workers", "coworkers"),
    "another sign of the product": ITEM.replace("×", "*"),
    "capitals": ITEM.upper(),
    "a quote": "\n> " + ITEM.replace(" mill", "\n> mill").replace(" in March", "\n>in March"),
    "a quote in a quote": "\n> > " + ITEM.replace(" rye", "\n> > rye"),
    "a list": "\n- " + ITEM.replace(" mill", "\n- mill"),
    "a list of stars": "\n  * " + ITEM.replace(" ground", "\n  * ground").replace(" co-", "\n\t+ co-"),
    "a formula broken at its sign": ITEM.replace(" × 4", "\n× 4"),
    "carriage returns": ITEM.replace(" ", "\r"),
}


@pytest.mark.parametrize("how", HIDDEN)
def test_no_spelling_hides_a_leak(how):
    item = ITEM.replace("e", "é") if how == "decomposed" else ITEM
    assert Decontaminator([item]).leak(f"So it began. {HIDDEN[how]} and on.") is not None
    assert Decontaminator([HIDDEN[how]]).leak(f"So it began. {item} and on.") is not None


@pytest.mark.parametrize(
    "text",
    [
        "What does 17 ÷ 25 come to",
        "What does 17 - 25 come to",
        "What does 17 ≤ 25 come to",
        "What does 1725 come to",
        "What does 17 × 2 5 come to",
    ],
)
def test_another_sign_is_another_item(text):
    assert Decontaminator(["What does 17 × 25 come to"]).leak(text) is None


def test_a_sign_at_the_start_of_a_line_stays_a_sign():
    assert Decontaminator(["What is 170 - 25 now?"]).leak("What is 170\n- 25 now?") is not None
    assert Decontaminator(["What is 170 - 25 now?"]).leak("What is 170\n+ 25 now?") is None


def test_a_hidden_longer_formula_is_still_another_item():
    leaks = Decontaminator(["Give the value of sum([2, 9])."])
    assert leaks.leak("Give the va\u00adlue of sum(2, 9)") is not None
    assert leaks.leak("Give the va\u00adlue of sum(2, 9\u200b, 1)") is None
    assert leaks.leak("Give the va-\nlue of sum(2, 9.5)") is None


def test_words_by_hand():
    assert normalise("Neigh-\nbours' e-mail: x-y, 5−3 ≤ 4!") == [
        *("neighbours", "email", "x", "-", "y", "5", "-", "3", "<", "=", "4")
    ]
    assert exact_words("e-mail: f(a.b) = 1.5e3!") == [
        *("e", "-", "mail", "f", "(", "a", ".", "b", ")", "=", "1", ".", "5e3", "!")
    ]
    assert folded("Ｘ ≤ ½\u00ad") == "x <= 1/2"


def test_only_invisible_characters_go():
    assert visible("a\tb\n\x0b\x0c\r\x85\u2028c") == "a\tb\n\x0b\x0c\r\x85\u2028c"
    assert visible("\x00\x1f\x7f\x9f\u200d\U000e0fff") == "\x1f"  # \x1f separates, as str.split has it
    for code in (0x41, 0xE9, 0x4E00, 0x1F600, 0xD800):
        assert visible(chr(code)) == chr(code)


@pytest.mark.parametrize(
    "unit",
    [
        "-\n",
        "a-",
        "a-\n \t",
        "\u00ad \r",
        "!'",
        "²",
        "1½",
        "a\u0336",
        "((",
        ".",
        "≤",
        "\u200b",
        "\u0300\u0316",
    ],
)
def test_time_is_linear(unit):
    """No clock: 100,000 characters take a moment, or hours where a pattern backtracks."""
    text = unit * (100_000 // len(unit))
    assert len(normalise(text)) <= len(exact_words(text)) <= 3 * len(text)
