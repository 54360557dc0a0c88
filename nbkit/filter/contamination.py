"""Evaluation items leaked into a corpus: the documents that hold them go. Notebook 01.

A leak is a shared 13-gram (GPT-3, appendix C) or, for a shorter item, all its words in a row. Words are
compared after `words.normalise`, so case, width, spacing, punctuation, invisible characters and hyphens hide
nothing.

    texts, unavailable = evaluation_texts()              # every evaluation set of the registry and the world
    kept, leaks = decontaminate(docs, texts)             # a row: id, source, kind, set, item, match
    Decontaminator(texts).save("leaks"); Decontaminator.load("leaks").leak("some text")
"""

import json
import os
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from nbkit.run import files, progress
from nbkit.tasks import sources, world
from nbkit.text.words import check_documents, gram_hashes, gram_sweep, normalise, plain, word_hashes

Item = str | Sequence[str]
_N = 13
_MIN_WORDS = 4
_SHORT_WORDS = 8  # GPT-3's least n; shorter phrases ("the international space station") are common
_FILES = ("items.jsonl", "meta.json")
_WRAPPER = re.compile(r"^\s*(?:Question|Goal|Context):\s*|\s*\bAnswer:\s*$")
_PIECE, _OVERLAP = 2_000_000, 10_000  # characters: bounds the memory of a long document
_NO_MORE = r"(?!\w|[.:]\d| ?, ?\d| ?[-+*/%^] ?[\d(])"
_BLANK = re.compile(r"(?<!\w)_+(?!\w)")


class _Grams:
    """Where each n-gram hash was first seen: (row, start). A table of `_occupied` slots, some 16 times as
    many as hashes, passes over most of a document without a search."""

    def __init__(self, hashes: Sequence[np.ndarray], rows: Sequence[int]) -> None:
        sizes = [len(part) for part in hashes]
        # Each hash once, at its first place: that one item is enough to make a match.
        self._hashes_G, first_G = np.unique(np.concatenate(hashes), return_index=True)
        self._row_G = np.repeat(np.array(rows, np.int32), sizes)[first_G]
        begins = np.repeat(np.cumsum(sizes) - sizes, sizes)
        # A place within its own text, not in all texts joined.
        self._start_G = (first_G - begins[first_G]).astype(np.int32)
        # The leading bits of a hash are its slot; the table is 16 times as large and mostly empty.
        self._shift = np.uint64(64 - min(max((16 * len(first_G)).bit_length(), 10), 25))
        self._occupied = np.zeros(1 << (64 - int(self._shift)), bool)
        self._occupied[self._hashes_G >> self._shift] = True

    def find(self, grams: np.ndarray) -> Iterator[tuple[int, int, int]]:
        """(place in `grams`, row, start in it) of every n-gram that is known, in order."""
        # Three sieves: the table, the sorted hashes, and in `_first` the words themselves.
        places = np.flatnonzero(self._occupied[grams >> self._shift])
        entries = np.searchsorted(self._hashes_G, grams[places])
        hit = self._hashes_G.take(entries, mode="clip") == grams[places]
        yield from zip(places[hit], self._row_G[entries[hit]], self._start_G[entries[hit]], strict=True)


class Decontaminator:
    """Evaluation items, indexed by the hashes of their 13-grams.

    `eval_texts`: set name -> items, or only items (then the set is "evaluation"). An item is a text, or
    several (a question, a long option), each matched on its own. A text below `n` words counts only whole; no
    match has fewer than 4 words ("3 + 4" is no evidence). `items`: set -> how many there are;
    `unmatchable`: set -> how many of them have no text that counts. A hash only proposes: the words decide.
    (Two different n-grams of the sets with one 64-bit hash would hide the second; for 5 million n-grams the
    odds are 1 in a million.) Memory: 16 bytes per different n-gram, at most 32 MB for the table, the texts.
    """

    def __init__(self, eval_texts: Mapping[str, Sequence[Item]] | Sequence[Item], n: int = _N) -> None:
        if n < _MIN_WORDS:
            raise ValueError(f"n={n}: n-grams below {_MIN_WORDS} tokens match by chance; 13 is usual")
        sets = eval_texts if isinstance(eval_texts, Mapping) else {"evaluation": eval_texts}
        if single := [name for name, items in sets.items() if isinstance(items, str)]:
            raise ValueError(f"evaluation set {single[0]!r} is one string: want a list of texts")
        rows = [(name, number, normalise(text)) for name, number, text in _flat(sets)]
        self._index(n, {name: len(items) for name, items in sets.items()}, rows)

    def _index(self, n: int, items: Mapping[str, int], rows: Sequence[tuple[str, int, list[str]]]) -> None:
        self.n, self.items = n, dict(items)
        # Items too short or too common to be evidence are not indexed, but counted as unmatchable.
        self._rows = [row for row in rows if _specific(row[2])]
        matchable = Counter(name for name, _ in {(name, number) for name, number, _ in self._rows})
        left = {name: count - matchable[name] for name, count in self.items.items()}
        self.unmatchable = {name: count for name, count in left.items() if count}
        # Short items are indexed by their own length, since they count only whole.
        by_size: dict[int, list[tuple[np.ndarray, int]]] = defaultdict(list)
        for number, (_, _, words) in enumerate(self._rows):
            size = min(n, len(words))
            by_size[size].append((gram_hashes(word_hashes(words), size), number))
        self._grams = {size: _Grams(*zip(*found, strict=True)) for size, found in by_size.items()}

    def leak(self, text: str) -> dict | None:
        """None, or {"kind": "ngram" | "exact" (a whole short text), "set", "item" (its place), "match"}: the
        longest match, the first of these in the text, of the first item that holds it."""
        found = None
        # Pieces overlap by far more than a match: none is lost at a border.
        for start in range(0, max(len(text) - _OVERLAP, 1), _PIECE):
            here = self._longest(text[start : start + _PIECE + _OVERLAP])
            if here and (found is None or here["match"].count(" ") > found["match"].count(" ")):
                found = here
        return found

    def _longest(self, text: str) -> dict | None:
        words = normalise(text)
        # Longer matches come later and win: they say more about where the text is from.
        found = None
        for size, grams in gram_sweep(word_hashes(words), self.n):
            if size in self._grams:
                found = self._first(text, words, size, grams) or found
        return found

    def _first(self, text: str, words: list[str], size: int, grams: np.ndarray) -> dict | None:
        passed_over = set()
        for place, row, start in self._grams[size].find(grams):
            match = words[place : place + size]
            name, number, item = self._rows[row]
            if row in passed_over or item[start : start + size] != match or not _specific(match):
                continue
            # Words have lost their punctuation: a formula may go on where the item ends.
            if size < self.n and match[-1].isdigit() and not _ends_there(text, match):
                passed_over.add(row)
                continue
            kind = "ngram" if size == self.n else "exact"
            return {"kind": kind, "set": name, "item": number, "match": " ".join(match)}
        return None

    def save(self, folder: str | Path) -> None:
        """Write the items to `folder`, whole or not at all."""
        with files.atomic_dir(folder) as temp:
            lines = (json.dumps([name, number, " ".join(words)]) for name, number, words in self._rows)
            (temp / _FILES[0]).write_text("".join(line + "\n" for line in lines), encoding="utf-8")
            meta = {"n": self.n, "items": self.items, "sha256": files.sha256(temp / _FILES[0])}
            files.write_json(temp / _FILES[1], meta)

    @classmethod
    def load(cls, folder: str | Path) -> "Decontaminator":
        """What `save` wrote. Raises ValueError for a folder that is not whole."""
        items, meta = (Path(folder) / name for name in _FILES)
        if not items.is_file() or not meta.is_file():
            raise ValueError(
                f"{folder}: want {' and '.join(_FILES)} of a saved Decontaminator; save it again"
            )
        about = files.read_json(meta)
        if about.get("sha256") != files.sha256(items):
            raise ValueError(f"{items} is not the file that was saved: save the Decontaminator again")
        lines = map(json.loads, items.read_text(encoding="utf-8").splitlines())
        rows = [(name, number, text.split(" ")) for name, number, text in lines]
        loaded = cls({}, about["n"])
        loaded._index(about["n"], about["items"], rows)
        return loaded


def _specific(words: Sequence[str]) -> bool:
    """At least 4 words, 3 of them different: a row of zeros is no evidence."""
    alphanumeric = [word for word in words if word[0].isalnum()]
    return len(alphanumeric) >= _MIN_WORDS and len(set(alphanumeric)) >= 3


def _ends_there(text: str, match: Sequence[str]) -> bool:
    """Whether the text holds the words without going on with the formula: "sum([2, 9])" is not in
    "sum([2, 9, 1])", nor "2 + 2" in "2 + 2 * 3". Words alone cannot tell, as they have no commas."""
    return re.search(r"\W*".join(map(re.escape, match)) + _NO_MORE, plain(text)) is not None


def _flat(sets: Mapping[str, Sequence[Item]]) -> Iterator[tuple[str, int, str]]:
    for name, items in sets.items():
        for number, item in enumerate(items):
            for text in [item] if isinstance(item, str) else item:
                yield name, number, text


def decontaminate(
    docs: Sequence[Mapping], eval_texts: Mapping[str, Sequence[Item]] | Sequence[Item], n: int = _N
) -> tuple[list[Mapping], list[dict]]:
    """The documents without a leak (rules: `Decontaminator`), and a report row per removed one. Raises
    ValueError for ids given twice, documents without text, and n below 4."""
    check_documents(docs)
    with progress.doing("indexing the evaluation sets"):
        leaks = Decontaminator(eval_texts, n)
    kept, removed = [], []
    for doc in progress.each(docs, "leaks of evaluation sets, document"):
        match = leaks.leak(doc["text"])
        if match is None:
            kept.append(doc)
        else:
            removed.append({"id": doc["id"], "source": doc.get("source"), **match})
    return kept, removed


def leaked_items(items: Sequence[Item], texts: Sequence[str], n: int = _N) -> dict[int, str]:
    """The items of one evaluation set that leak into `texts`: place -> the words they share (rules:
    `Decontaminator`)."""
    found: dict[int, str] = {}
    left = [place for place, item in enumerate(items) if item]
    while left and texts:
        # One leak is told per text, so those that hold any are searched again for the other items.
        leaks = Decontaminator([items[place] for place in left], n)
        pairs = [(text, leaks.leak(text)) for text in progress.each(texts, "leaks, training text")]
        texts = [text for text, leak in pairs if leak]
        found |= {left[leak["item"]]: leak["match"] for _, leak in pairs if leak}
        left = [place for place in left if place not in found]
    return found


@progress.doing("reading the evaluation sets")
def evaluation_texts(hub: bool = False) -> tuple[dict[str, list[tuple[str, ...]]], dict[str, str]]:
    """Items of every evaluation set the kit knows: "set/split" -> items for a `Decontaminator`; and
    "set/split" -> reason for each one that is not here: show these, as nothing was checked against them.

    The sets: `world.eval_texts()` as "embedded", and every split of the registry that training is refused
    (mirrors under NBKIT_DATA_DIR; with `hub`, the hub where there is no mirror). Texts of an item: see
    `item_texts`. Raises ValueError for a damaged mirror.
    """
    texts = {"embedded": [(text,) for text in world.eval_texts()]}
    unavailable = {}
    for name, source in sources.SOURCES.items():
        for split in source.files:
            # Exactly the splits that training is refused.
            if not (source.eval_only or split in sources.HELD_OUT):
                continue
            rows = _rows(name, split, hub)
            if isinstance(rows, str):
                unavailable[f"{name}/{split}"] = rows
            else:
                texts[f"{name}/{split}"] = item_texts(rows)
    return texts, unavailable


def _rows(name: str, split: str, hub: bool) -> list[dict] | str:
    """The rows of a set, or why they are not here."""
    source, root = sources.SOURCES[name], os.environ.get("NBKIT_DATA_DIR")
    folder = Path(root) / name if root else None
    if folder and folder.is_dir():
        missing = [file for file in source.files[split] if not (folder / file).is_file()]
        return f"{folder} lacks {missing[0]}" if missing else sources.load(name, split, purpose="eval")
    if not (hub and source.hub):
        return "no mirror under NBKIT_DATA_DIR" + ("; hub=True fetches it" if source.hub else "")
    try:
        return sources.load(name, split, purpose="eval")
    except ValueError as error:
        return str(error)


def item_texts(rows: Sequence[Mapping]) -> list[tuple[str, ...]]:
    """The texts of each evaluation row that would give it away in a corpus.

    The question with its context, without the "Question: ... Answer:" around it; a question with a blank also
    filled in by each choice; the question followed by its choices; each choice of 13 words or more; what the
    user says in later turns. A question that rows with other choices share ("Which sentence is acceptable?")
    gives nothing away alone: then choices that no other row has count too. Less than 8 words without a
    number are a common phrase and left out. Answers and solutions do not count: text may hold them by right.
    """
    # How many rows share a question, and how many rows offer a choice.
    stems, owners = defaultdict(set), Counter()
    for row in rows:
        stems[row["question"]].add(_choices(row))
        owners.update(set(_choices(row)))
    items = []
    for row in rows:
        question, choices = _WRAPPER.sub("", row["question"]), _choices(row)
        # A question many rows share gives nothing away; then a choice of this row alone may.
        if len(stems[row["question"]]) > 1:
            parts = [choice for choice in choices if owners[choice] == 1]
        else:
            parts = [question, *(_BLANK.sub(lambda _, c=choice: c, question) for choice in choices)]
            parts += [choice for choice in choices if len(normalise(choice)) >= _N]
        parts += ["\n".join((question, *choices)), *_later_turns(row)]
        items.append(tuple(part for part in dict.fromkeys(parts) if _uncommon(normalise(part))))
    return items


def _uncommon(words: Sequence[str]) -> bool:
    return len(words) >= _SHORT_WORDS or any(word[0].isdigit() for word in words)


def _choices(row: Mapping) -> tuple[str, ...]:
    return tuple(map(str, row.get("choices", ())))


def _later_turns(row: Mapping) -> Iterator[str]:
    """MT-Bench's turns are texts, BFCL's are lists of messages."""
    for turn in row.get("turns", ())[1:]:
        if isinstance(turn, str):
            yield turn
        else:
            yield from (message["content"] for message in turn if message["role"] == "user")
