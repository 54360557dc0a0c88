"""The corpus pipeline: speed per core, memory at ten times the input, the filter beside datatrove's rules.

NBKIT_DATA_DIR=... .venv/bin/python benchmarks/corpus.py --docs 1000  # without it: the embedded world
.venv/bin/python benchmarks/corpus.py --filter outputs/small/01_data_mix/filter  # the filter of notebook 01

Without --filter one is fitted here on C4, stories, letters and Stack Exchange, none of which is in the
comparison. Megabytes are 10^6 bytes of UTF-8 text. Both sides of the comparison get the first MAX_CHARS
characters of a document, which is what ours reads. datatrove's Gopher and FineWeb filters split English with
spaCy: `pip install spacy` (no model is downloaded); without it their part of the comparison is left out.
"""

import argparse
import importlib.util
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

# One core: the figures are per core. Set before the libraries that read them are imported.
os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "RAYON_NUM_THREADS"), "1"))

import numpy as np
from datatrove.data import Document
from sklearn.metrics import roc_auc_score

from nbkit.filter import scorer
from nbkit.filter.corpus import executors, pipeline
from nbkit.filter.document_filter import DocumentFilter
from nbkit.tasks import sources, world
from nbkit.text.rows import read_documents
from nbkit.text.tokenizer import train_tokenizer

FIT = ("corpus_web_c4", "corpus_kids", "corpus_masc", "corpus_qa_stackexchange")
HIGH = ("corpus_textbook", "corpus_wiki", "corpus_tex", "pubmedqa")
BULK = ("corpus_textbook", "corpus_books", "corpus_web_c4", "corpus_qa_stackexchange", "corpus_tex")
PIECE = 4000  # characters of a document in the speed and memory parts
RUNS = 1000


def megabytes(texts):
    return sum(len(text.encode()) for text in texts) / 1e6


def real() -> bool:
    return bool(os.environ.get("NBKIT_DATA_DIR"))


def load(name, limit=None):
    purpose = "eval" if sources.SOURCES[name].eval_only else "train"
    split = "test" if purpose == "eval" else "train"
    docs = sources.load(name, split, purpose=purpose)
    if name == "pubmedqa":  # an evaluation set: its abstracts are scored here, never trained on
        docs = [{"text": doc["question"].removeprefix("Context: "), "domain": name} for doc in docs]
    docs = [doc for doc in docs if doc["text"].strip()]
    return docs if limit is None else random.Random(0).sample(docs, min(limit, len(docs)))


def fitted_filter(folder):
    """A filter fitted on 800 documents, with a tokenizer, saved to `folder`."""
    if real():
        sample = [doc["text"] for name in FIT for doc in load(name) if doc["domain"] != "spam"]
        sample = random.Random(1).sample(sample, 800)
        seeds = [doc["text"] for doc in load("corpus_qa_stackexchange", 50)]
    else:
        sample, seeds = [doc["text"] for doc in world.corpus(800, seed=9)], world.seeds(50)
    annotations = scorer.as_matrix([scorer.annotate(text) for text in sample])
    DocumentFilter.fit(sample, annotations, seeds).save(folder)
    train_tokenizer(sample, 4096).save_pretrained(folder / "tokenizer")


def bulk(n_megabytes):
    """Different texts of at most PIECE characters, in random order, of about `n_megabytes`."""
    if real():
        long = [doc["text"] for name in BULK for doc in load(name)]
        texts = [text[i : i + PIECE] for text in long for i in range(0, len(text), PIECE)]
    else:
        texts = [doc["text"] for doc in world.corpus(int(n_megabytes * 4000), seed=5)]
    random.Random(0).shuffle(texts)
    ends = np.cumsum([len(text.encode()) for text in texts])
    return texts[: int(np.searchsorted(ends, n_megabytes * 1e6)) + 1]


def write(path, texts):
    with path.open("w") as out:
        out.writelines(json.dumps({"id": str(i), "text": text}) + "\n" for i, text in enumerate(texts))


def one_run(inputs, folder, out):
    """In a process of its own (see `main`): prints the seconds and the peak memory of a whole pipeline."""
    stages, executor_of = {}, executors.executor_of

    def timed_executor(stage, *rest):
        executor = executor_of(stage, *rest)
        run = executor.run

        def timed_run():
            started = time.perf_counter()
            run()
            stages[stage.name] = time.perf_counter() - started

        executor.run = timed_run
        return executor

    executors.executor_of = timed_executor
    started = time.perf_counter()
    pipeline.filter_corpus(inputs, folder, out, pipeline.FilterSettings(hq_tokens=1000, mq_tokens=1000))
    seconds = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"seconds": seconds, "peak_mib": peak, "stages": stages}))


def speed_and_memory(options, temp, folder):
    small, large = bulk(options.megabytes / 10), bulk(options.megabytes)
    write(temp / "small.jsonl", small)
    write(temp / "large.jsonl", large)
    document_filter = DocumentFilter.load(folder)
    document_filter.score(small[:64])
    started, batch = time.process_time(), []
    for doc in read_documents(temp / "large.jsonl"):
        batch.append(doc["text"])
        if len(batch) == 256:
            document_filter.score(batch)
            batch = []
    document_filter.score(batch)
    seconds = time.process_time() - started
    size = megabytes(large)
    print(f"reading and scoring: {size / seconds:.2f} MB/s per core ({len(large)} documents, {size:.1f} MB)")
    runs = {}
    for name, texts in (("small", small), ("large", large)):
        command = [sys.executable, __file__, "--one-run", str(temp / f"{name}.jsonl"), str(folder)]
        done = subprocess.run([*command, str(temp / f"out-{name}")], check=True, stdout=subprocess.PIPE)
        runs[name] = json.loads(done.stdout)
        size, about = megabytes(texts), runs[name]
        print(
            f"whole pipeline, {size:.1f} MB: {size / about['seconds']:.2f} MB/s of wall clock on one core, "
            f"peak memory {about['peak_mib']:.0f} MiB"
        )
    for part, seconds in runs["large"]["stages"].items():
        print(f"    {part:<12} {seconds:>6.1f} s  {megabytes(large) / seconds:>8.2f} MB/s")
    growth = runs["large"]["peak_mib"] / runs["small"]["peak_mib"]
    print(f"peak memory at {megabytes(large) / megabytes(small):.1f} times the input: {growth:.3f} times")


def tiers(limit):
    """(texts, label): 0 for spam and whole web pages, 1 for textbooks, Wikipedia, TeX and abstracts."""
    low = [doc["text"] for doc in load("corpus_masc") if doc["domain"] == "spam"]
    pages = load("corpus_web_boilerplate")
    low += [doc["text"] for doc in pages if doc["truth_part"] == "raw"][:limit]
    high = [doc["text"] for name in HIGH for doc in load(name, limit // len(HIGH))]
    return low + high, np.array([0] * len(low) + [1] * len(high))


def timed(decide, texts):
    """What `decide` says of each text, and its megabytes and documents per second of CPU time."""
    decide(texts[:8])
    started = time.process_time()
    found = np.asarray(decide(texts), float)
    seconds = time.process_time() - started
    return found, megabytes(texts) / seconds, len(texts) / seconds


def auc_interval(label, found):
    """AUC with its 95% bootstrap interval over documents."""
    rng, values = np.random.default_rng(0), []
    for _ in range(RUNS):
        chosen = rng.integers(len(label), size=len(label))
        values.append(roc_auc_score(label[chosen], found[chosen]))
    low, high = np.quantile(values, [0.025, 0.975])
    return f"{roc_auc_score(label, found):.3f} [{low:.3f}, {high:.3f}]"


def datatrove_rules():
    from datatrove.pipeline.filters import FineWebQualityFilter, GopherQualityFilter, GopherRepetitionFilter  # noqa: PLC0415 (this part only)

    filters = [GopherRepetitionFilter(), GopherQualityFilter(), FineWebQualityFilter()]

    def keeps(texts):
        return [all(one.filter(Document(text=text, id="")) is True for one in filters) for text in texts]

    return keeps


def beside_datatrove(options, folder):
    if not real():
        print("beside datatrove: left out, NBKIT_DATA_DIR is not set (the labels are real corpora)")
        return
    texts, label = tiers(options.docs)
    texts = [text[: scorer.MAX_CHARS] for text in texts]
    document_filter = DocumentFilter.load(folder)
    score, rate, per_second = timed(lambda texts: document_filter.score(texts)["score"], texts)
    share, size = label.mean(), megabytes(texts)
    print(f"beside datatrove: {len(texts)} documents, {share:.0%} of the high tier, {size:.1f} MB")
    print(f"{'':<32} {'MB/s':>6} {'docs/s':>7} {'kept':>5}  AUC")
    print(f"{'nbkit score':<32} {rate:>6.2f} {per_second:>7.0f} {'':>5}  {auc_interval(label, score)}")
    if importlib.util.find_spec("spacy") is None:
        print("Gopher + FineWeb: left out, spaCy is absent: pip install spacy")
        return
    kept, rate, per_second = timed(datatrove_rules(), texts)
    name = "Gopher + FineWeb, all three"
    print(f"{name:<32} {rate:>6.2f} {per_second:>7.0f} {kept.mean():>5.0%}  {auc_interval(label, kept)}")
    best = np.zeros(len(texts))
    best[np.argsort(-score, kind="stable")[: int(kept.sum())]] = 1
    name = "nbkit score, as many kept"
    print(f"{name:<32} {'':>6} {'':>7} {best.mean():>5.0%}  {auc_interval(label, best)}")


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--docs", type=int, default=400, help="documents per tier in the comparison, at most")
    parser.add_argument("--megabytes", type=float, default=10.0, help="text of the speed and memory parts")
    parser.add_argument("--filter", help="a saved DocumentFilter with its tokenizer/")
    parser.add_argument("--one-run", nargs=3, metavar=("INPUTS", "FILTER", "OUT"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one_run:
        return one_run(*options.one_run)
    with tempfile.TemporaryDirectory() as name:
        temp = Path(name)
        folder = Path(options.filter) if options.filter else temp / "filter"
        if not options.filter:
            fitted_filter(folder)
        speed_and_memory(options, temp, folder)
        beside_datatrove(options, folder)


if __name__ == "__main__":
    main()
