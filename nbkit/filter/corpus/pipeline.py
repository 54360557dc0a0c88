"""A saved `DocumentFilter` over a corpus of any size: datatrove runs the kit's own functions. Notebook 01
trains the filter, `nbkit filter` calls this.

    summary = filter_corpus("crawl/*.jsonl.gz", "outputs/small/01_data_mix/filter", "filtered",
                            FilterSettings(hq_tokens=6_500_000, mq_tokens=6_000_000),
                            Execution(tasks=64, workers=8))

    <out>/scores-<fingerprint>/  signatures/ sketches/ pairs/ duplicates/ scores/ logs/  for any budgets
    <out>/pools-<fingerprint>/   hq/ mq/ provenance/ tokens/ logs/ manifest.json (last)  summary["folder"]

A fingerprint covers the filter, the inputs (path, size, time of change), the settings and the code of
this folder: whatever changes, nothing older is reused. Tasks and workers change no result. The same call goes
on after a kill. Memory is that of one batch of documents and the filter, per worker; only `FindDuplicates`
and equal scores at a cut (dedup.py, pools.py) need more.
"""

import glob
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from datatrove.pipeline.tokens import DocumentTokenizer

from nbkit.filter import dedup
from nbkit.filter.contamination import Decontaminator
from nbkit.filter.corpus.dedup import FindDuplicates, Sketch, buckets
from nbkit.filter.corpus.executors import ONE_TASK, Execution, Stage, run_stages
from nbkit.filter.corpus.inputs import Corpus, ReadRows
from nbkit.filter.corpus.pools import POOLS, FindCuts, ReadPool, WriteManifest, WritePools
from nbkit.filter.corpus.score import MarkDuplicates, MarkLeaks, Score, WriteScores
from nbkit.run import files
from nbkit.run.moved import once_separate
from nbkit.text.rows import ON_BAD, SUFFIXES

_SUFFIX = re.compile("|".join(map(re.escape, sorted(SUFFIXES, key=len, reverse=True))) + "$")


@dataclass(frozen=True)
class FilterSettings:
    """What decides the result, beside the documents and the filter.

    `hq_tokens`, `mq_tokens`: budgets of the pools, in tokens of the filter's tokenizer. `threshold` (Jaccard
    similarity above which documents are duplicates), `seed`: see `deduplicate`. `on_bad`, `make_ids`,
    `max_chars`: see nbkit.text.rows; a longer document is a bad row. `token_files`: write the pools as
    datatrove token files too. Raises ValueError for negative budgets and an unknown `on_bad`.
    """

    hq_tokens: int
    mq_tokens: int
    threshold: float = 0.8
    seed: int = 0
    on_bad: str = "error"
    make_ids: bool = False
    max_chars: int | None = 20_000_000
    token_files: bool = False

    def __post_init__(self) -> None:
        if self.hq_tokens < 0 or self.mq_tokens < 0:
            budgets = f"hq_tokens={self.hq_tokens}, mq_tokens={self.mq_tokens}"
            raise ValueError(f"negative token budgets: {budgets}")
        if self.on_bad not in ON_BAD:
            raise ValueError(f"on_bad={self.on_bad!r}: want one of {ON_BAD}")


@once_separate("settings", FilterSettings)
def filter_corpus(
    inputs: str | Sequence[str],
    filter_folder: str | Path,
    out: str | Path,
    settings: FilterSettings,
    execution: Execution = ONE_TASK,
    *,
    eval_texts: Mapping[str, Sequence] | Callable[[], Mapping[str, Sequence]] | None = None,
) -> dict:
    """Deduplicate, decontaminate, score and split the documents of `inputs` into the pools "hq" and "mq".

    `inputs`: paths or globs of .jsonl, .jsonl.gz, .parquet (an existing path goes before a glob); their
    sorted order is the order of the corpus.
    `filter_folder`: a saved DocumentFilter with its `tokenizer/`, which counts tokens. `eval_texts`: see
    `Decontaminator`, or what returns them, called once inputs and filter are found; None removes no leaks.
    `execution` changes no result. All folders must be on a disk that every worker sees.

    Returns the summary that manifest.json keeps: rows, tokens, decisions (bad, removed, drop, mq, hq:
    documents and tokens), reasons (rows, examples), cuts, folder; with "slurm" only the folder, since the
    jobs have just been submitted. Raises ValueError for bad rows unless on_bad="skip", and for budgets above
    what the documents hold.
    """
    # What is there: the filter, the files, the evaluation sets.
    filter_folder, out = Path(filter_folder).resolve(), Path(out).resolve()
    if not (filter_folder / "tokenizer").is_dir():
        raise ValueError(f"{filter_folder} holds no saved filter with a tokenizer/ folder: run 01 first")
    corpus = _corpus(inputs, settings.on_bad, settings.make_ids, settings.max_chars)
    if callable(eval_texts):
        eval_texts = eval_texts()
    # Where the results go: a folder named by everything they depend on.
    about = _about(corpus, filter_folder, settings, eval_texts)
    scores = out / f"scores-{files.digest(about)[:16]}"
    about |= {name: getattr(settings, name) for name in ("hq_tokens", "mq_tokens", "token_files")}
    about["tokenizer"] = files.sha256(filter_folder / "tokenizer" / "tokenizer.json")  # token_shards.py asks
    pools = out / f"pools-{files.digest(about)[:16]}"
    if (pools / "manifest.json").is_file():
        return files.read_json(pools / "manifest.json")["summary"]
    leaks = scores / "decontaminator"
    if eval_texts is not None and not leaks.is_dir():
        Decontaminator(eval_texts).save(leaks)
    # The passes over the corpus.
    tasks = min(execution.tasks, len(corpus.files))
    stages = _score_stages(corpus, filter_folder, scores, settings, eval_texts is not None, tasks)
    stages += _pool_stages(corpus, filter_folder, scores, pools, about, tasks)
    if execution.executor == "local":  # elsewhere, another machine's process may still be writing
        files.sweep(scores)
        files.sweep(pools)
    run_stages(stages, execution)
    if execution.executor == "slurm":
        return {"folder": str(pools)}
    return files.read_json(pools / "manifest.json")["summary"]


def _corpus(inputs: str | Sequence[str], on_bad: str, make_ids: bool, max_chars: int | None) -> Corpus:
    found = set()
    # Files by their absolute paths: the same file by two patterns counts once.
    for pattern in [inputs] if isinstance(inputs, str) else inputs:
        matches = {str(Path(path).resolve()) for path in _matches(pattern)}
        if not matches:
            raise ValueError(f"inputs={pattern!r} matches no file; quote the pattern, or correct the path")
        found |= matches
    if wrong := [path for path in sorted(found) if not path.endswith(SUFFIXES)]:
        raise ValueError(f"inputs: {wrong[0]} is none of {', '.join(SUFFIXES)}; narrow the pattern")
    paths = tuple(sorted(found))
    # Labels name the sources and make ids: they must not depend on where the corpus lies.
    root = os.path.commonpath([os.path.dirname(path) for path in paths])
    labels = tuple(_SUFFIX.sub("", os.path.relpath(path, root)) for path in paths)
    return Corpus(paths, labels, on_bad, make_ids, max_chars)


def _matches(pattern: str) -> list[str]:
    """The paths a pattern stands for. What exists under its very name is taken by it, so a folder called
    "data [v2]" may stand before "/*.jsonl"; `~` is the home folder, as a shell reads it outside quotes."""
    if not os.path.exists(pattern):
        pattern = os.path.expanduser(pattern)
    # As much of the pattern as exists is taken by its name; the rest may hold wildcards.
    parts = Path(pattern).parts
    literal = max(n for n in range(len(parts) + 1) if os.path.exists(os.path.join("", *parts[:n]) or "."))
    wild = parts[literal:]
    for rest in (wild, [part.replace("[", "[[]") for part in wild]):
        if found := glob.glob(os.path.join("", *map(glob.escape, parts[:literal]), *rest), recursive=True):
            return found
    return []


def _about(corpus: Corpus, filter_folder: Path, settings: FilterSettings, eval_texts: Mapping | None) -> dict:
    """Everything that the scores depend on."""
    code = files.files_in(Path(__file__).parent)
    stats = [(path, os.stat(path)) for path in corpus.files]
    texts = None if eval_texts is None else {name: list(items) for name, items in eval_texts.items()}
    return {
        "inputs": [[path, stat.st_size, stat.st_mtime_ns] for path, stat in stats],
        "reading": [corpus.on_bad, corpus.make_ids, corpus.max_chars],
        "filter": files.sha256(filter_folder),
        "deduplication": [settings.threshold, settings.seed],
        "eval_texts": files.digest(texts),
        "code": files.digest({name: files.sha256(code[name]) for name in code if name.endswith(".py")}),
    }


def _score_stages(
    corpus: Corpus, filter_folder: Path, out: Path, settings: FilterSettings, leaks: bool, tasks: int
) -> list[Stage]:
    threshold, seed = settings.threshold, settings.seed
    bands, _ = dedup.lsh_bands(threshold)
    # Marks come before scores: what must go is not scored.
    mark = [MarkDuplicates(out / "duplicates")] + [MarkLeaks(out / "decontaminator")] * leaks
    score = [
        ReadRows(corpus, out / "scores"),
        *mark,
        Score(filter_folder),
        WriteScores(corpus, out / "scores"),
    ]
    sketch = [ReadRows(corpus, out / "sketches"), Sketch(corpus, out, threshold, seed)]
    return [
        Stage("sketch", sketch, tasks, out / f"logs/sketch-{tasks}"),
        Stage("pairs", [buckets(out, threshold)], bands, out / "logs/pairs"),
        Stage("duplicates", [FindDuplicates(corpus, out, threshold)], 1, out / "logs/duplicates"),
        Stage("score", score, tasks, out / f"logs/score-{tasks}"),
    ]


def _pool_stages(
    corpus: Corpus, filter_folder: Path, scores: Path, out: Path, about: dict, tasks: int
) -> list[Stage]:
    cuts = FindCuts(corpus, scores / "scores", out / "cuts.json", about["hq_tokens"], about["mq_tokens"])
    stages = [
        Stage("cuts", [cuts], 1, out / "logs/cuts"),
        Stage("pools", [WritePools(corpus, scores / "scores", out)], tasks, out / f"logs/pools-{tasks}"),
    ]
    if about["token_files"]:
        for pool in POOLS:
            steps = [
                ReadPool(out / pool),
                _tokenizer_step(filter_folder / "tokenizer", out / "tokens" / pool),
            ]
            # One task per file: datatrove names a token file after its task.
            stages.append(Stage(f"tokens_{pool}", steps, len(corpus.files), out / f"logs/tokens_{pool}"))
    return [*stages, Stage("manifest", [WriteManifest(corpus, out, about)], 1, out / "logs/manifest")]


def _tokenizer_step(folder: Path, out: Path) -> DocumentTokenizer:
    eos = files.read_json(folder / "tokenizer_config.json")["eos_token"]
    return _PlainTokenizer(
        str(out), str(folder / "tokenizer.json"), eos_token=eos, shuffle_documents=False, batch_size=256
    )


class _PlainTokenizer(DocumentTokenizer):
    """datatrove's step, for which the "<eos>" that a document spells is text, as for tokens.encode."""

    @cached_property
    def tokenizer(self):
        found = super().tokenizer
        found.encode_special_tokens = True
        return found
