"""Public texts whose quality somebody judged: what the filter of notebook 01 is learned from and measured on.

Weak labels: a tier 0-9 per *source* (a spam folder, a textbook). They are easy to beat by recognising the
source, so `tiered` keeps the source of every text and the notebook tests on sources left out of the fit.
Human labels: pairs of texts, one judged better, that no fit here has seen.

    texts = tiered(limit=150)                          # {"id", "text", "source", "tier", "half"}
    pairs = human_pairs("convincing_args")             # {"better", "worse", "group"}
"""

import random

from nbkit.run import progress
from nbkit.tasks import sources

# (registered set, domain or part, tier, half). Spam and page furniture, web, stories and books,
# encyclopaedia, then textbooks, mathematics and abstracts. PubMedQA is an evaluation set: only measured.
# The last column splits the sources in two halves that share none.
TIERS = (
    ("corpus_masc", "spam", 0, "A"),
    ("corpus_web_boilerplate", "raw", 0, "B"),
    ("corpus_web_c4", None, 3, "A"),
    ("corpus_web_boilerplate", "clean", 3, "B"),
    ("corpus_kids", None, 5, "A"),
    ("corpus_books", None, 5, "B"),
    ("corpus_wiki", None, 7, "A"),
    ("corpus_textbook", None, 9, "B"),
    ("corpus_tex", None, 9, "A"),
    ("pubmedqa", None, 9, "B"),
)
MEASURED_ONLY = ("pubmedqa",)
_CHARS = 3000  # of a long document, from a random paragraph: so that length does not give the source away


@progress.doing("reading documents of every tier")
def tiered(limit: int = 150, seed: int = 0) -> list[dict]:
    """Up to `limit` different texts of every source of TIERS, with its tier; each text once, none of 50
    characters or fewer (an excerpt may fall on the end of a book).

    Raises ValueError when a set is not at hand (see sources.load).
    """
    rng = random.Random(f"tiers/{seed}")
    rows, seen = [], set()
    for name, part, tier, half in TIERS:
        source = f"{name}/{part}" if part else name
        docs = _documents(name, part)
        # Equal numbers of each source, so that no source teaches the filter by its size.
        for doc in rng.sample(docs, min(limit, len(docs))):
            text = _excerpt(doc["text"], rng)
            if len(text.strip()) > 50 and text not in seen:
                seen.add(text)
                rows.append({"id": doc["id"], "text": text, "source": source, "tier": tier, "half": half})
    return rows


def _documents(name: str, part: str | None) -> list[dict]:
    if name == "pubmedqa":  # the abstract alone, without its question
        rows = sources.load(name, split="test", purpose="eval")
        return [
            {
                "id": f"{name}-{i}",
                "text": row["question"].partition("\nQuestion:")[0].removeprefix("Context: "),
            }
            for i, row in enumerate(rows)
        ]
    docs = [doc for doc in sources.load(name) if part in (None, doc["domain"], doc.get("truth_part"))]
    # A book is many documents' worth: it may be drawn several times, at other places.
    long = [{**doc, "id": f"{doc['id']}-{i}"} for doc in docs for i in range(len(doc["text"]) // 50_000)]
    return docs + long  # a book counts once per 50,000 characters


def _excerpt(text: str, rng: random.Random) -> str:
    if len(text) <= _CHARS:
        return text
    # From the beginning of a line: half a sentence would look like a damaged text.
    start = text.find("\n", rng.randrange(len(text) - _CHARS + 1)) + 1
    return text[start : start + _CHARS]


def human_pairs(name: str) -> list[dict]:
    """Pairs {"better", "worse", "group"} by human judgement.

    convincing_args: the more convincing of two arguments on a topic (crowd majority), grouped by topic.
    corpus_qa_stackexchange: the best and the worst voted answer of a question, where votes differ by 3 or
    more, grouped by site and question. onestop_english: advanced above elementary version of an article;
    a control, since simple is not worse.
    """
    # Two arguments, one of which a crowd found more convincing.
    if name == "convincing_args":
        rows = sources.load(name)
        return [{"better": r["chosen"], "worse": r["rejected"], "group": r["prompt"]} for r in rows]
    if name == "corpus_qa_stackexchange":
        return [
            {"better": best["text"], "worse": worst["text"], "group": doc["id"]}
            for doc in sources.load(name)
            # Answers are sorted by votes; a difference of 1 or 2 is mostly noise.
            if len(doc["answers"]) > 1
            and (best := doc["answers"][0])["votes"] - (worst := doc["answers"][-1])["votes"] >= 3
        ]
    if name == "onestop_english":
        levels: dict[str, dict[str, str]] = {}
        for doc in sources.load(name):
            # ids read onestop-<article>-<level>
            article = doc["id"].split("-", 1)[1].rpartition("-")[0]
            levels.setdefault(article, {})[doc["domain"]] = doc["text"]
        return [
            {"better": texts["advanced"], "worse": texts["elementary"], "group": article}
            for article, texts in levels.items()
            if {"advanced", "elementary"} <= set(texts)
        ]
    raise ValueError(f"no human pairs for {name!r}: want one of {', '.join(HUMAN)}")


HUMAN = ("convincing_args", "corpus_qa_stackexchange", "onestop_english")
