"""The texts of every evaluation set, and documents that hold or do not hold them."""

import gzip
import json
import os
import random
import re

import pytest

from nbkit.filter import contamination
from nbkit.filter.contamination import Decontaminator, evaluation_texts, item_texts
from nbkit.tasks import sources, world
from nbkit.text.words import normalise

WORDS = [f"w{i}" for i in range(400)]
SHARED = "all of the others that are listed here"
needs_data = pytest.mark.skipif(not os.environ.get("NBKIT_DATA_DIR"), reason="NBKIT_DATA_DIR is not set")


def test_texts_of_an_item():
    long = " ".join(WORDS[:13])
    stem, other = "Which of these is true?", "Which of these is false?"
    rows = [
        {"question": "Question: What did the fox with nine lives do?\nAnswer:", "choices": ["ran", long]},
        {"question": stem, "choices": ["the sky is blue over the whole of London", SHARED]},
        {"question": stem, "choices": ["two and two make 4", SHARED]},
        {"question": other, "choices": ["only this one is so"]},
        {"question": "The fox saw that _ was late for 8 days.", "choices": ["Ann", "Bob"]},
        {
            "question": "Write a poem about the sea, in 3 lines.",
            "turns": ["-", "Now write it as one sentence, please do."],
        },
        {
            "question": "Call it for 5 cities.",
            "turns": [[], [{"role": "user", "content": "And now for 6 more."}]],
        },
    ]
    assert item_texts(rows) == [
        (
            "What did the fox with nine lives do?",
            long,
            f"What did the fox with nine lives do?\nran\n{long}",
        ),
        (
            "the sky is blue over the whole of London",
            f"{stem}\nthe sky is blue over the whole of London\n{SHARED}",
        ),
        ("two and two make 4", f"{stem}\ntwo and two make 4\n{SHARED}"),
        (f"{other}\nonly this one is so",),
        (
            rows[4]["question"],
            "The fox saw that Ann was late for 8 days.",
            "The fox saw that Bob was late for 8 days.",
            f"{rows[4]['question']}\nAnn\nBob",
        ),
        (rows[5]["question"], "Now write it as one sentence, please do."),
        (rows[6]["question"], "And now for 6 more."),
    ]


def every_split() -> set[str]:
    held_out = ("test", "validation", "dev")
    return {
        f"{name}/{split}"
        for name, source in sources.SOURCES.items()
        for split in source.files
        if source.eval_only or split in held_out
    }


def test_absent_sets_are_named(tmp_path, monkeypatch):
    monkeypatch.delenv("NBKIT_DATA_DIR", raising=False)
    texts, unavailable = evaluation_texts()
    assert set(texts) == {"embedded"} and set(unavailable) == every_split()
    assert unavailable["gsm8k/test"] == "no mirror under NBKIT_DATA_DIR; hub=True fetches it"
    assert unavailable["bbh/test"] == "no mirror under NBKIT_DATA_DIR"
    folder = tmp_path / "cmath"
    folder.mkdir()
    (tmp_path / "gsm8k").mkdir()
    row = {"question": "What is 17 plus 25 here?", "answer": "42"}
    with gzip.open(folder / "test.jsonl.gz", "wt") as out:
        out.write(json.dumps(row))
    monkeypatch.setenv("NBKIT_DATA_DIR", str(tmp_path))
    texts, unavailable = evaluation_texts()
    assert texts["cmath/test"] == [("What is 17 plus 25 here?",)]
    assert unavailable["gsm8k/test"].endswith("gsm8k lacks test.jsonl.gz")
    assert set(texts) | set(unavailable) == {"embedded"} | every_split()
    (folder / "test.jsonl.gz").write_bytes(b"damaged")
    with pytest.raises(ValueError, match="cmath/test.jsonl.gz"):
        evaluation_texts()


def test_the_hub_is_asked_only_on_request(monkeypatch):
    monkeypatch.delenv("NBKIT_DATA_DIR", raising=False)
    asked = []

    def hub(address, split):
        asked.append(address)
        if "gsm8k" in address:
            return [{"question": "What is 17 plus 25 here?", "answer": "#### 42"}]
        raise ValueError(f"cannot load {address}")

    monkeypatch.setattr(sources, "_hub", hub)
    assert "gsm8k/test" in evaluation_texts()[1] and not asked
    texts, unavailable = evaluation_texts(hub=True)
    assert texts["gsm8k/test"] == [("What is 17 plus 25 here?",)]
    assert unavailable["humaneval/test"].startswith("cannot load")


def test_embedded_questions_are_found_in_a_document_and_training_text_is_clean():
    leaks = Decontaminator({"embedded": world.eval_texts()})
    rng = random.Random(0)
    filler = world.seeds(50, seed=3)
    sampled = rng.sample(world.eval_texts(), 1500)
    counted = [text for text in sampled if contamination._specific(normalise(text))]
    assert len(counted) > 1450
    for text in counted:
        found = leaks.leak(f"{rng.choice(filler)}\n{text.upper()}\n{rng.choice(filler)}")
        assert found is not None and found["set"] == "embedded"
    # What is found in training text is the beginning of a longer question ("Evaluate true or false" in
    # "Evaluate true or false or true."), never the question itself, and in few documents.
    texts = world.seeds(1000, seed=11)
    found = [(leak, text) for text in texts if (leak := leaks.leak(text))]
    whole = [(leak, text) for leak, text in found if leak["kind"] == "exact"]
    assert len(whole) < 0.02 * len(texts)
    for leak, text in whole:
        asked = re.findall(r"^(?:Question:|Problem\.) (.*)$", text, re.MULTILINE)
        assert len(asked) == 2 and leak["match"] not in map(normalise, asked)
    assert len(found) - len(whole) <= 5, "long templates may share 13 words by chance"


@pytest.fixture(scope="module")
def everything():
    texts, unavailable = evaluation_texts()
    return texts, unavailable, Decontaminator(texts)


@pytest.mark.slow
@needs_data
def test_planted_items_of_every_real_set_are_found(everything):
    texts, unavailable, leaks = everything
    assert set(texts) | set(unavailable) == {"embedded"} | every_split()
    rng = random.Random(0)
    filler = [row["text"][:2000] for row in sources.load("corpus_textbook", limit=40)]
    filler = [text for text in filler if leaks.leak(text) is None]
    for name, items in texts.items():
        counted = [item for item in items if any(contamination._specific(normalise(text)) for text in item)]
        assert len(items) - len(counted) == leaks.unmatchable.get(name, 0)
        assert len(counted) >= 0.85 * len(items)
        for item in rng.sample(counted, min(100, len(counted))):
            for text in item:
                if contamination._specific(normalise(text)):
                    planted = f"{rng.choice(filler)}\n{text.upper()}\n{rng.choice(filler)}"
                    assert leaks.leak(planted) is not None, (name, text)


@pytest.mark.slow
@needs_data
def test_clean_real_documents_pass(everything):
    """Read by eye: the one leak in these 900 is no accident but the same quotation on both sides."""
    _, _, leaks = everything
    for name in ("corpus_textbook", "corpus_wiki", "corpus_kids"):
        found = [leaks.leak(row["text"]) for row in sources.load(name, limit=300)]
        assert sum(leak is not None for leak in found) <= 2, (name, found)
