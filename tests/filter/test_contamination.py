"""Decontamination against brute force, on hand-made items, and on every evaluation set of the registry."""

import random

import pytest

from nbkit.filter import contamination
from nbkit.filter.contamination import Decontaminator, decontaminate
from nbkit.text.words import gram_hashes, word_hashes

WORDS = [f"w{i}" for i in range(400)]


def doc(name: str, text: str) -> dict:
    return {"id": name, "text": text, "source": "test"}


def test_thirteen_gram_boundary():
    item = " ".join(WORDS[:20])
    docs = [
        doc("twelve", "x " + " ".join(WORDS[3:15]) + " y"),
        doc("thirteen", "x " + " ".join(WORDS[3:16]).upper() + ", y"),
    ]
    kept, removed = decontaminate(docs, ["unrelated words here stand alone", item])
    assert [d["id"] for d in kept] == ["twelve"]
    row = {"id": "thirteen", "source": "test", "kind": "ngram", "set": "evaluation", "item": 1}
    assert removed == [{**row, "match": " ".join(WORDS[3:16])}]


def test_short_items_must_be_whole_and_at_least_four_words():
    item = "What is 17 plus 25?"
    docs = [
        doc("whole", "Q: what is 17 PLUS 25 ? A: 42"),
        doc("part", "what is 17 plus 26"),
        doc("glued", "what is 17 plus 251"),
        doc("tiny", "so 3 + 4 is 7"),
    ]
    kept, removed = decontaminate(docs, [item, "3 + 4", "is 7"])
    assert [d["id"] for d in kept] == ["part", "glued", "tiny"]
    assert (removed[0]["id"], removed[0]["kind"], removed[0]["item"]) == ("whole", "exact", 0)


def test_chinese_items_are_matched_by_character():
    kept, removed = decontaminate(
        [doc("a", "题目：芳芳还剩多少页没有看？答：9"), doc("b", "芳芳看书")], ["芳芳还剩多少页没有看？"]
    )
    assert [d["id"] for d in kept] == ["b"] and removed[0]["kind"] == "exact"


def test_decontamination_against_brute_force():
    rng = random.Random(0)
    small = WORDS[:6]  # few words, so that chance matches are frequent
    items = [" ".join(rng.choices(small, k=rng.randint(2, 9))) for _ in range(40)]
    docs = [doc(str(i), " ".join(rng.choices(small, k=30))) for i in range(120)]
    kept, removed = decontaminate(docs, items, n=6)

    def leaks(text: str, item: str) -> bool:
        padded, words = f" {text} ", item.split()
        size = min(6, len(words))
        grams = [words[i : i + size] for i in range(len(words) - size + 1)]
        grams = [gram for gram in grams if len(gram) >= 4 and len(set(gram)) >= 3]
        return any(f" {' '.join(gram)} " in padded for gram in grams)

    expected = {d["id"] for d in docs if any(leaks(d["text"], item) for item in items)}
    assert {row["id"] for row in removed} == expected
    assert 10 < len(expected) < 110
    assert len(kept) + len(removed) == len(docs)
    with pytest.raises(ValueError, match="n=3"):
        decontaminate(docs, items, n=3)


def test_hashes_by_hand():
    first, second, third = (int(h) for h in word_hashes(["one", "two", "three"]))
    prime = 0x9E3779B97F4A7C15
    assert gram_hashes(word_hashes(["one", "two", "three"]), 2).tolist() == [
        (first * prime + second) % 2**64,
        (second * prime + third) % 2**64,
    ]
    assert len(gram_hashes(word_hashes(["one"]), 2)) == 0


def test_a_hash_collision_is_no_leak(monkeypatch):
    """With every word hashed alike all n-grams collide, and only equal words may count."""
    monkeypatch.setattr(contamination, "word_hashes", lambda words: word_hashes(["same"] * len(words)))
    leaks = Decontaminator([" ".join(WORDS[:13])])
    assert leaks.leak(" ".join(WORDS[1:40])) is None
    assert leaks.leak(" ".join(WORDS[:40]))["item"] == 0


def test_signs_and_zeros_are_no_evidence():
    leaks = Decontaminator(["* " * 20 + "what is the sum of these", "0 0 0 0 0 0", "1 0 " * 12])
    assert leaks.leak("a line: " + "* " * 30) is None
    assert leaks.leak("a table: " + "0 " * 30 + "1 0 " * 20) is None
    assert leaks.unmatchable == {"evaluation": 2}


@pytest.mark.parametrize(
    "text, leaks",
    [
        ("Give the value of sum([2, 9]).", True),
        ("Give the value of sum([2, 9, 1]).", False),
        ("Give the value of sum([2, 9, 1]); then give the value of sum([2, 9])", True),
        ("give the value of SUM 2 9 + 3", False),
        ("give the value of sum 2, 9: 11", True),
        ("give the value of sum(2, 9) = 11", True),
        ("give the value of sum(2, 9.5)", False),
        ("give the value of sum(2, 9)? 11", True),
        ("- give the value of sum(2, 9\n- 3 apples", True),
        ("give the value of sum(2, 9), as before", True),
        ("give the value of sum(2, \uff19)", True),
    ],
)
def test_a_longer_formula_is_another_item(text, leaks):
    assert (Decontaminator(["Give the value of sum([2, 9])."]).leak(text) is not None) == leaks


def test_an_item_of_several_texts_is_named_by_its_set_and_place():
    sets = {"first": [("alpha beta gamma delta epsilon",), ("one two three four five", " ".join(WORDS[:14]))]}
    sets["second"] = ["one two three four five six"]
    leaks = Decontaminator(sets)
    assert leaks.leak("so " + " ".join(WORDS[:13])) == {
        "kind": "ngram",
        "set": "first",
        "item": 1,
        "match": " ".join(WORDS[:13]),
    }
    assert leaks.leak("One, two, three, four, five!")["item"] == 1
    assert leaks.leak("one two three four five six")["set"] == "second"  # the longer match
    assert leaks.items == {"first": 2, "second": 1} and leaks.unmatchable == {}
    with pytest.raises(ValueError, match="'first' is one string"):
        Decontaminator({"first": "not a list"})


def test_odd_input():
    leaks = Decontaminator(["", "\ud800 broken but five words", "数学数学数学" * 3])
    assert leaks.unmatchable == {"evaluation": 2}  # one empty, one with two different characters
    for text in ("", "word", "\udfff", "数学" * 20, "\x00"):
        assert leaks.leak(text) is None
    assert leaks.leak("\ud800 BROKEN but five words")["item"] == 1
    assert Decontaminator([]).leak("any text at all, of some length") is None
    assert decontaminate([], {}) == ([], [])


def test_leaks_depend_on_neither_order_nor_company():
    rng = random.Random(3)
    items = [" ".join(rng.choices(WORDS[:30], k=rng.randint(4, 20))) for _ in range(60)]
    docs = [doc(str(i), " ".join(rng.choices(WORDS[:30], k=40))) for i in range(60)]
    docs += [doc(f"leak{i}", f"so {item} then") for i, item in enumerate(items[:20])]
    rows = {row["id"]: row for row in decontaminate(docs, items)[1]}
    assert {f"leak{i}" for i in range(20)} <= set(rows)
    shuffled = rng.sample(docs, len(docs))
    assert {row["id"]: row for row in decontaminate(shuffled, items)[1]} == rows
    for one in docs[::7]:
        assert decontaminate([one], items)[1] == ([rows[one["id"]]] if one["id"] in rows else [])


def test_a_long_document_is_read_in_pieces(monkeypatch):
    rng = random.Random(4)
    items = [" ".join(rng.choices(WORDS, k=rng.randint(5, 20))) for _ in range(50)]
    leaks = Decontaminator(items)
    texts = []
    for item in items:
        parts = [" ".join(rng.choices(WORDS, k=rng.randint(0, 200))) for _ in range(2)]
        texts += [f"{parts[0]} {item} {parts[1]}", " ".join(parts)]
    whole = [leaks.leak(text) for text in texts]
    assert sum(leak is not None for leak in whole) >= 50
    monkeypatch.setattr(contamination, "_PIECE", 101)
    monkeypatch.setattr(contamination, "_OVERLAP", 120)
    assert [leaks.leak(text) for text in texts] == whole


def test_round_trip_and_damage(tmp_path):
    sets = {
        "a": ["what is 17 plus 25 here", "tiny"],
        "b": [(" ".join(WORDS[:30]), "数学数学 是 什么东西 呢")],
    }
    leaks = Decontaminator(sets)
    leaks.save(tmp_path / "leaks")
    loaded = Decontaminator.load(tmp_path / "leaks")
    assert (loaded.n, loaded.items, loaded.unmatchable) == (13, {"a": 2, "b": 1}, {"a": 1})
    texts = [
        "What is 17 plus 25 here?",
        " ".join(WORDS[9:40]),
        "数学数学是什么东西呢",
        "clean text of some words",
    ]
    assert [loaded.leak(text) for text in texts] == [leaks.leak(text) for text in texts]
    assert [leaks.leak(text) is None for text in texts] == [False, False, False, True]
    for name in ("items.jsonl", "meta.json"):
        leaks.save(tmp_path / "leaks")
        file = tmp_path / "leaks" / name
        file.write_bytes(file.read_bytes()[:-9])
        with pytest.raises(ValueError, match="again"):
            Decontaminator.load(tmp_path / "leaks")
        file.unlink()
        with pytest.raises(ValueError, match="again"):
            Decontaminator.load(tmp_path / "leaks")


def test_every_item_that_leaks_is_named_not_one_per_text():
    items = [(" ".join(WORDS[i : i + 15]),) for i in range(0, 90, 15)]
    # Items 0 to 2 in one text, item 4 in another; an item without any text is never named.
    texts = [" ".join(WORDS[:45]), "nothing at all", " ".join(WORDS[60:75])]
    found = contamination.leaked_items([*items, ()], texts)
    assert set(found) == {0, 1, 2, 4}
    assert found[4] == " ".join(WORDS[60:73])
    # Two items with the same words are both named.
    assert set(contamination.leaked_items([items[0], items[0]], texts)) == {0, 1}
    assert contamination.leaked_items(items, []) == {}
