"""Where real data comes from: a registry of public sets, mirrors, files, the hub. Notebooks 01 and 03-07.

    load("gsm8k", limit=100)                   # mirror under NBKIT_DATA_DIR, else the hub
    load("gsm8k", split="test", purpose="eval")
    load("file:my/corpus.jsonl.gz")            # or .jsonl, .parquet; "file:" may be left out
    load("hub:openai/gsm8k@740312add88f781978c0658806c59bc2815b9866#main?train")

Row forms are in adapters.py. Evaluation sets, and held-out splits, refuse purpose="train".
"""

import difflib
import os
import random
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nbkit.run import progress
from nbkit.tasks import adapters
from nbkit.text.rows import SUFFIXES, read_rows

_PURPOSES = ("train", "eval")
_SHUFFLED = 10_000  # rows of a streamed set that are shuffled at a time
HELD_OUT = ("test", "validation", "dev")
_HUB = re.compile(r"hub:(?P<id>[^@#?]+)(?:@(?P<revision>[^#?]+))?(?:#(?P<config>[^?]+))?(?:\?(?P<split>.+))?")


@dataclass(frozen=True)
class Source:
    """One public set. `files`: split -> mirror files, relative to NBKIT_DATA_DIR/<name>. `hub` is an
    address as `load` takes it, without the split, given only where the hub's fields are the mirror's; its
    revision is a commit that public evaluation code pins or the hub's pages of the set name, or "main" where
    we know of none (then pin one before a run that counts).
    """

    kind: str  # "corpus" | "sft" | "rl" | "preference" | "eval"
    licence: str
    adapt: Callable[[Mapping, str, int], dict | list[dict]]
    files: Mapping[str, tuple[str, ...]]
    hub: str | None = None
    eval_only: bool = False
    keep: Callable[[Mapping, str], bool] | None = None  # the records of a split, if a file mixes splits


def _corpus(licence: str, *files: str, adapt: Callable = adapters.document) -> Source:
    return Source("corpus", licence, adapt, {"train": files})


def _eval(
    licence: str, adapt: Callable = adapters.open_question, hub: str | None = None, **files: str
) -> Source:
    splits = {split: (file,) for split, file in files.items()} or {"test": ("test.jsonl.gz",)}
    return Source("eval", licence, adapt, splits, hub, eval_only=True)


def _mbpp_split(record: Mapping, split: str) -> bool:
    first, last = {"train": (601, 974), "test": (11, 510)}[split]
    return first <= record["task_id"] <= last


_MBPP = {split: ("mbpp.jsonl.gz",) for split in ("train", "test")}
_GSM8K = {split: (f"{split}.jsonl.gz",) for split in ("train", "test")}
_BASE = {
    "copycolors": "copycolors",
    "csqa": "csqa_val",
    "hellaswag": "hellaswag_val1000",
    "lambada": "lambada_test",
    "openbookqa": "openbookqa_test",
    "piqa": "piqa_val",
    "socialiqa": "socialiqa_val",
    "winogrande": "winogrande_val",
}
_BASE_FILES = {split: f"{file}.jsonl.gz" for split, file in _BASE.items()}
_ARC_FILES = {
    "test": "challenge_test.jsonl.gz",
    "validation": "challenge_val.jsonl.gz",
    "easy_test": "easy_test.jsonl.gz",
    "easy_validation": "easy_val.jsonl.gz",
}

SOURCES: dict[str, Source] = {
    "corpus_books": _corpus("public domain (USA), CC0", "books.jsonl.gz"),
    "corpus_kids": _corpus("CC BY 4.0 or public domain, per story", "stories.jsonl.gz"),
    "corpus_masc": _corpus(
        "free for research and development", "masc.jsonl.gz", adapt=adapters.masked_document
    ),
    "corpus_qa_stackexchange": _corpus("CC BY-SA 3.0/4.0", "qa.jsonl.gz", adapt=adapters.stackexchange),
    "corpus_tex": _corpus("CC BY-SA 3.0, GFDL", "tex.jsonl.gz"),
    "corpus_textbook": _corpus("CC BY 3.0 (OpenStax)", "openstax.jsonl.gz"),
    "corpus_web_boilerplate": _corpus(
        "texts belong to publishers: tests only", "pages.jsonl.gz", adapt=adapters.web_page
    ),
    "corpus_web_c4": _corpus("ODC-BY 1.0", "c4.jsonl.gz"),
    "corpus_wiki": _corpus("CC BY-SA 3.0", "boolq_paragraphs.jsonl.gz", "wiki_demo.jsonl.gz"),
    "onestop_english": _corpus("CC BY-SA 4.0", "texts.jsonl.gz"),
    "gsm8k": Source(
        "sft", "MIT", adapters.gsm8k, _GSM8K, "hub:openai/gsm8k@740312add88f781978c0658806c59bc2815b9866#main"
    ),
    "mbpp": Source(
        "sft",
        "CC BY 4.0",
        adapters.mbpp,
        _MBPP,
        "hub:google-research-datasets/mbpp@4bb6404fdc6cacfda99d4ac4205087b89d32030c#full",
        keep=_mbpp_split,
    ),
    "self_instruct_seed": Source(
        "sft",
        "Apache-2.0",
        adapters.self_instruct,
        {"train": ("seed_tasks.jsonl.gz", "user_oriented_instructions.jsonl.gz")},
        # the 175 seed tasks only
        "hub:HuggingFaceH4/self-instruct-seed@853eb0af253a307ead4db0a80e03d86d3ec436e2",
    ),
    "dolly_hh_sft": Source("sft", "CC BY-SA 3.0", adapters.dolly, {"train": ("train_small.jsonl.gz",)}),
    "glaive_toolcall": Source(
        "sft",
        "Apache-2.0",
        adapters.glaive,
        {"train": ("en_demo.jsonl.gz", "reason_tool_use_demo_50.jsonl.gz")},
        # 1,000 chats in the layout of the first file; a commit of the hub's own parquet branch of the set
        "hub:llamafactory/glaive_toolcall_en@05139c02abdf9642219605fbbb6cb7b59ccc76f2",
    ),
    "math_train": Source("rl", "MIT", adapters.math_train, {"train": ("train.jsonl.gz",)}),
    "convincing_args": Source(
        "preference", "CC BY 4.0", adapters.argument_pair, {"train": ("pairs.jsonl.gz",)}
    ),
    "dpo_mix_demo": Source(
        "preference", "Apache-2.0", adapters.dpo_mix, {"train": ("en.jsonl.gz",), "zh": ("zh.jsonl.gz",)}
    ),
    "dpo_politeness": Source("preference", "Apache-2.0", adapters.politeness, {"train": ("pairs.jsonl.gz",)}),
    "aime24": _eval("problems (c) MAA: evaluation only"),
    "arc": _eval("CC BY-SA 4.0", adapters.choices, **_ARC_FILES),
    "arena_hard_v2": _eval("Apache-2.0", test="question.jsonl.gz"),
    "base_eval": _eval("permissive, per task", adapters.choices, **_BASE_FILES),
    "bbh": _eval("MIT; canary: never in training corpora"),
    "bfcl_v4": _eval("Apache-2.0", test="bfcl_v4.jsonl.gz"),
    "blimp": _eval("CC BY 4.0", adapters.blimp, test="sample.jsonl.gz"),
    "cmath": _eval("CC BY 4.0"),
    "cruxeval": _eval("MIT", adapters.cruxeval, "hub:cruxeval-org/cruxeval@main"),
    "humaneval": _eval("MIT", hub="hub:openai/openai_humaneval@main"),
    "ifeval": _eval("CC BY 4.0", test="input_data.jsonl.gz"),
    "math500": _eval("MIT", hub="hub:HuggingFaceH4/MATH-500@6e4ed1a2a79af7d8630a6b768ec859cb5af4d3be"),
    "mmlu": _eval(
        "MIT",
        adapters.choices,
        "hub:cais/mmlu@c30699e8356da336a370243923dbaf21066bb9fe#all",
        **{split: f"{split}.jsonl.gz" for split in ("test", "validation", "dev")},
    ),
    "mt_bench": _eval("Apache-2.0", test="question.jsonl.gz", vicuna="vicuna_question.jsonl.gz"),
    "pubmedqa": _eval("MIT", test="pubmed_qa_labeled.jsonl.gz"),
    "writingbench": _eval(
        "Apache-2.0", test="length_subset_head.jsonl.gz", v1="v1_style_format_length.jsonl.gz"
    ),
}


@progress.doing("reading a data set")
def load(
    name: str, split: str = "train", limit: int | None = None, seed: int = 0, purpose: str = "train"
) -> list[dict]:
    """Rows of a registered set, a local file or a hub set. With `limit`, a seeded sample that keeps file
    order.

    A registered name is read from NBKIT_DATA_DIR/<name>/ where that exists, else from its hub address. Rows
    of files and hub sets come as they are; a "text" column without "id" or "source" gets them. Registered
    sft and rl rows gain "question" under purpose="eval". Raises ValueError for unknown names and splits,
    evaluation data asked for training, absent data, and damaged files (naming file and row).
    """
    if purpose not in _PURPOSES:
        raise ValueError(f"purpose={purpose!r}: want one of {_PURPOSES}")
    if limit is not None and limit < 1:
        raise ValueError(f"limit={limit}: want at least 1 row, or None for all")
    if name.startswith("hub:"):
        rows = list(_named(_hub(name, split), name))
    elif name.startswith("file:") or name.endswith(SUFFIXES):
        path = Path(name.removeprefix("file:"))
        rows = list(_named(read_rows(path), path.name))
    else:
        rows = _registered(name, split, purpose)
    # Positions are drawn and sorted: the rows keep the order of their file.
    if limit is not None and limit < len(rows):
        rows = [rows[i] for i in sorted(random.Random(seed).sample(range(len(rows)), limit))]
    return rows


def sample(name: str, limit: int, seed: int = 0) -> list[dict]:
    """`limit` training rows of a set that is too large to hold; memory is that of the sample.

    A file is read once, and every row is equally likely. A hub set is streamed, its files and then a buffer
    of rows shuffled, and read no further than needed: no exact draw, but good enough to fit a filter.
    Registered sets are small: `load` reads them. Rows and errors as of `load`.
    """
    if limit < 1:
        raise ValueError(f"limit={limit}: want at least 1 row")
    if name.startswith("hub:"):
        stream = _hub(name, "train", streaming=True)
        rows = stream.shuffle(seed=seed, buffer_size=min(limit, _SHUFFLED)).take(limit)
        return list(_named(rows, name))
    if not (name.startswith("file:") or name.endswith(SUFFIXES)):
        return load(name, limit=limit, seed=seed)
    path = Path(name.removeprefix("file:"))
    # Algorithm R (Vitter 1985): row n takes the place of one that was kept with probability limit / n.
    rng, kept = random.Random(seed), list[tuple[int, dict]]()
    for number, row in enumerate(_named(read_rows(path), path.name)):
        if number < limit:
            kept.append((number, row))
        elif (place := rng.randint(0, number)) < limit:
            kept[place] = (number, row)
    return [row for _, row in sorted(kept, key=lambda item: item[0])]


def _registered(name: str, split: str, purpose: str) -> list[dict]:
    # A typing error in a name is the usual cause: the nearest known one is offered.
    if name not in SOURCES:
        near = difflib.get_close_matches(name, SOURCES, n=1, cutoff=0.0)[0]
        raise ValueError(
            f"unknown data set {name!r}: did you mean {near!r}? Or give file:PATH or hub:OWNER/NAME"
        )
    # What is held out for evaluation never trains: refused here, at the only way in.
    source = SOURCES[name]
    if purpose == "train" and (source.eval_only or split in HELD_OUT):
        raise ValueError(
            f"{name} ({split}) is for evaluation only: purpose='eval' loads it, training must not"
        )
    if split not in source.files:
        raise ValueError(f"{name} has no split {split!r}; it has {sorted(source.files)}")
    # A record may hold several rows, or a shape that its adapter does not know.
    rows: list[dict] = []
    for number, record in enumerate(_records(name, source, split)):
        try:
            row = source.adapt(record, name, number)
        except (KeyError, IndexError, TypeError, ValueError, StopIteration) as error:
            raise ValueError(
                f"{name} ({split}) record {number + 1} has unexpected fields: {error!r}"
            ) from error
        rows.extend(row if isinstance(row, list) else [row])
    # For evaluation, questions have one name in all sets.
    if purpose == "eval":
        rows = [{**row, "question": row["prompt"]} if "prompt" in row else row for row in rows]
    return rows


def _records(name: str, source: Source, split: str) -> Iterator[Mapping]:
    # A mirror goes before the hub: its fields are the adapters', and it needs no network.
    root = os.environ.get("NBKIT_DATA_DIR")
    if root and (Path(root) / name).is_dir():
        folder = Path(root) / name
        records = (record for file in source.files[split] for record in read_rows(folder / file))
        if name == "convincing_args":
            records = _argument_pairs(records, folder / "arguments.jsonl.gz")
    elif source.hub:
        records = iter(_hub(source.hub, split))
    else:
        where = f"NBKIT_DATA_DIR={root} holds no folder {name!r}" if root else "NBKIT_DATA_DIR is not set"
        raise ValueError(f"no data for {name}: {where}; point it at a mirror or give hub:OWNER/NAME")
    return (record for record in records if source.keep is None or source.keep(record, split))


def _argument_pairs(pairs: Iterator[Mapping], arguments: Path) -> Iterator[dict]:
    # Pairs name arguments by id; their texts stand in a file of their own.
    texts = {record["id"]: record["text"] for record in read_rows(arguments)}
    for pair in pairs:
        chosen, rejected = (texts[pair[key]] for key in ("chosen_id", "rejected_id"))
        yield {"topic": pair["topic"], "chosen": chosen, "rejected": rejected}


def _hub(address: str, split: str, streaming: bool = False) -> Any:
    """The set behind an address, as `datasets` has it: to be read row by row."""
    match = _HUB.fullmatch(address)
    if match is None:
        raise ValueError(f"{address!r}: want hub:OWNER/NAME@REVISION#CONFIG?SPLIT, the last three optional")
    import datasets  # noqa: PLC0415 (slow import, needed by this path only)

    part = match.groupdict()
    try:
        return datasets.load_dataset(
            part["id"],
            part["config"],
            revision=part["revision"],
            split=part["split"] or split,
            streaming=streaming,
        )
    except (OSError, ValueError, RuntimeError) as error:
        raise ValueError(
            f"cannot load {address} ({type(error).__name__}: {error}); "
            "without network, set NBKIT_DATA_DIR to a mirror"
        ) from error


def _named(records: Iterable[Mapping], name: str) -> Iterator[dict]:
    stem = re.sub(r"\.(jsonl|jsonl\.gz|parquet)$", "", name)
    for number, record in enumerate(records):
        # Names of its own only where a row has none: columns of the file win.
        extra = {"id": f"{stem}-{number}", "source": stem} if "text" in record else {}
        yield {**extra, **record}
