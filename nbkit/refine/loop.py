"""Solution refinement: checklist -> candidates -> critique -> revision, until nothing is left to criticise or
the budget ends (report, "solution refinement"). Used by 04.

    (found,), spent = refine(["What is 30 + 20?"], {"teacher": teacher}, student, [teacher], jail)
    found.final.text        # the solution; found.history holds the best draft after every round

The loop takes instructions as plain text and never sees a reference answer: it is steered by the form that an
instruction asks for, by tools, by agreement among drafts and by models that judge. A verifier may *measure*
the results afterwards, in the notebook. Modules of the loop import neither tasks nor their verifier, and a
test holds them to that.
"""

import json
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path

from nbkit.models.engine import Completion, Engine, user_turn
from nbkit.refine.checklist import Item, checklist
from nbkit.refine.critique import Critique, Review, committed, inspect, judge, mean_opinion, sound, vote
from nbkit.refine.findings import evidence_of
from nbkit.refine.prompts import TRAINED, Prompts, judge_request, revision_request
from nbkit.refine.spent import LOST, Metered, Spent, Unanswered
from nbkit.run import progress
from nbkit.text.characters import printable
from nbkit.verify.errors import GraderError

__all__ = ["LOST", "Spent", "Unanswered"]  # they come back from here, or are raised
SAMPLING = {"temperature": 0.6, "top_p": 0.95}  # the report's


@dataclass(frozen=True)
class Refined:
    """One instruction: `first` is the teacher's first sample as it came (None: it never came), `drafts` all
    that were reviewed, revisions last, and `history` the best one after every round (round 0: of the
    candidates)."""

    question: str
    checklist: tuple[str, ...]
    first: str | None
    drafts: tuple[Review, ...]
    history: tuple[Review, ...]

    @property
    def final(self) -> Review:
        return self.history[-1]

    def best_of(self, author: str) -> Review:
        """What rejection sampling takes: the best draft of one author by the same critiques (the final one,
        should the author have none)."""
        own = [review for review in self.drafts if review.author == author]
        return max(own, key=lambda review: review.rank, default=self.final)

    def row(self) -> dict:
        return asdict(self)

    @classmethod
    def from_row(cls, row: Mapping) -> "Refined":
        """The inverse of `row`, after a trip through JSON."""

        def review(data: Mapping) -> Review:
            return Review(**{**data, "critiques": tuple(Critique(**c) for c in data["critiques"])})

        lists = {name: tuple(map(review, row[name])) for name in ("drafts", "history")}
        return cls(**{**row, "checklist": tuple(row["checklist"]), **lists})


@dataclass
class _Pool:
    """The drafts of one instruction so far, with what does not depend on the other drafts."""

    question: str
    items: tuple[Item, ...]
    first: str | None = None
    candidates: int = 0
    drafts: list[tuple[Completion, str, list[Critique]]] = field(default_factory=list)
    history: list[Review] = field(default_factory=list)

    def choose(self) -> None:
        """Put the best draft so far on the history."""
        # Where every draft was lost, an empty review that fails keeps the question in the results.
        nothing = Critique("has a draft", "form", 0.0, "no draft could be reviewed")
        reviews = self.reviews() if self.drafts else [Review("", "nobody", False, (nothing,))]
        self.history.append(max(reviews, key=lambda review: review.rank))

    def result(self) -> Refined:
        drafts = self.reviews() if self.drafts else ()
        return Refined(
            self.question, tuple(map(str, self.items)), self.first, tuple(drafts), tuple(self.history)
        )

    def reviews(self) -> list[Review]:
        """Every draft with the vote over all of them. One that fails a check by form or tools has no vote."""
        # A judge's opinion scales a sound draft's vote; an unsound one has none whatever judges say.
        weights = [mean_opinion(critiques) * sound(critiques) for _, _, critiques in self.drafts]
        answers = [committed(completion.text, self.items) for completion, _, _ in self.drafts]
        votes = vote(answers, weights, self.candidates)
        return [
            Review(completion.text, author, completion.stopped, (*critiques, voted), agreement)
            for (completion, author, critiques), (voted, agreement) in zip(self.drafts, votes, strict=True)
        ]


@dataclass(frozen=True)
class RefineSettings:
    """How `refine` works. `prompts`: the wording that the models know. `candidates`: drafts of each teacher
    per question. `rounds`: most rounds of revision of a question, with `revisions` samples each. `evidence`:
    what a reviser is told (nbkit.refine.findings). `max_new_tokens`: of a draft, a revision and an opinion
    each."""

    prompts: Prompts = TRAINED
    candidates: int = 4
    rounds: int = 2
    revisions: int = 1
    evidence: str = "critique"
    max_new_tokens: int = 64
    seed: int = 0


DEFAULT = RefineSettings()


def refine(
    questions: Sequence[str],
    teachers: Mapping[str, Engine],
    student: Engine | None,
    judges: Sequence[Engine],
    jail,
    settings: RefineSettings = DEFAULT,
) -> tuple[list[Refined], Spent]:
    """The loop over all questions at once. Each teacher drafts several times and the current model once;
    every draft is inspected, judged and voted on; the first teacher revises the best one from its critique.
    A revision joins the drafts, so it replaces the best one only if it is better. Drafts that the jail fails
    on are dropped and counted. Raises ValueError without questions or teachers, GraderError or Unanswered
    when over 1% got lost."""
    if not questions or not teachers:
        raise ValueError(f"got {len(questions)} questions and {len(teachers)} teachers, wanted at least one")
    # Every engine is metered under its role.
    start, spent, prompts = time.perf_counter(), Spent(), settings.prompts
    judges = [spent.metered("judge", engine) for engine in judges]
    reviser = spent.metered("revise", next(iter(teachers.values())))
    # A checklist and a pool of drafts per question.
    lists = _checklists(questions, judges, prompts)
    pools = [_Pool(question, items) for question, items in zip(questions, lists, strict=True)]
    asks = [prompts.draft.format(question=question) for question in questions]
    # Drafts: each teacher several, the current model one.
    authors = [(name, engine, settings.candidates) for name, engine in teachers.items()]
    if student is not None:
        authors.append(("student", student, 1))
    add = partial(_add, judges=judges, jail=jail, settings=settings)
    dropped = 0
    for number, (name, engine, n) in enumerate(authors):
        with progress.doing(f"{name} drafts"):
            groups = _ask(spent.metered("draft", engine), asks, n, settings, number)
        # The first teacher's first sample, as it came: what no refinement would have given.
        if number == 0:
            for pool, group in zip(pools, groups, strict=True):
                pool.first = None if group[0].stop == "error" else group[0].text
        dropped += add(pools, groups, name)
    for pool in pools:
        pool.candidates = len(pool.drafts)
    # Rounds: put the best draft on the history, revise what is not yet good enough.
    for number in range(settings.rounds + 1):
        for pool in pools:
            pool.choose()
        requests = [] if number == settings.rounds else _revisions(pools, settings, jail)
        if not requests:
            break
        unfinished, asks = zip(*requests, strict=True)
        with progress.doing(f"revision {number + 1} of {settings.rounds}"):
            revised = _ask(reviser, asks, settings.revisions, settings, 1000 + number)
        dropped += add(unfinished, revised, f"revision {number + 1}")
    # A few lost drafts are counted; many are a broken jail.
    if dropped:
        spent.stops["dropped: the jail failed"] = dropped
    if dropped > LOST * sum(len(pool.drafts) for pool in pools):
        raise GraderError(f"the jail failed on {dropped} drafts, over 1% of all: mend it, then run again")
    spent.close(start)
    return [pool.result() for pool in pools], spent


def _revisions(pools: Sequence[_Pool], settings: RefineSettings, jail) -> list[tuple[_Pool, str]]:
    """Whose best draft is not yet good enough, and how its revision is asked for. Where the chosen evidence
    has nothing to say about a draft, it stays."""
    requests = []
    for pool in pools:
        best = pool.history[-1]
        if not pool.drafts or best.passed:
            continue
        if told := evidence_of(best, pool.question, settings.evidence, jail):
            requests.append((pool, revision_request(pool.question, best, settings.prompts, told)))
    return requests


def revise_best(
    results: Sequence[Refined], teacher: Engine, jail, settings: RefineSettings = DEFAULT
) -> dict[int, list[Completion]]:
    """Number of a result -> `settings.revisions` fresh revisions of its best draft before any revision, told
    `settings.evidence` about it; only of drafts that do not pass and that the evidence has something to say
    about. Nothing is chosen among them: a study of the words alone. Raises as `refine` does."""
    asked = {}
    for number, found in enumerate(results):
        best = found.history[0]
        told = () if best.passed else evidence_of(best, found.question, settings.evidence, jail)
        if told and found.drafts:
            asked[number] = revision_request(found.question, best, settings.prompts, told)
    if not asked:
        return {}
    start, spent = time.perf_counter(), Spent()
    groups = _ask(spent.metered("revise", teacher), [*asked.values()], settings.revisions, settings, 2000)
    spent.close(start)
    return dict(zip(asked, groups, strict=True))


def _ask(engine: Metered, requests: Sequence[str], n: int, settings: RefineSettings, number: int):
    """`n` answers to each request; `number` tells the calls of one loop apart, which must not share seeds."""
    # Sampling as the report has it; seeds 0, 1, ... for authors, 1000 on for revisions.
    turns = [user_turn(request) for request in requests]
    return engine.sample(turns, n, settings.max_new_tokens, seed=settings.seed + number, **SAMPLING)


def _checklists(
    questions: Sequence[str], judges: Sequence[Metered], prompts: Prompts
) -> list[tuple[Item, ...]]:
    if not (prompts.checklist and judges):
        return [checklist(question) for question in questions]
    turns = [user_turn(prompts.checklist.format(question=q)) for q in questions]
    # At most five items of a model: each is a line that every judge has to read for every draft.
    answers = judges[0].sample(turns, 1, 200)
    written = [
        [x[2:].strip() for x in answer.text.splitlines() if x.startswith("- ")][:5] for (answer,) in answers
    ]
    return [checklist(question, items) for question, items in zip(questions, written, strict=True)]


def _add(pools, groups, author: str, *, judges, jail, settings: RefineSettings) -> int:
    """Inspect and judge new drafts and put them into their pools; returns how many the jail failed on."""
    # Tools and form first.
    new, dropped = [], 0
    drafts = list(zip(pools, groups, strict=True))
    for pool, group in progress.each(drafts, "checking drafts of instruction"):
        for completion in group:
            try:
                new.append((pool, completion, inspect(pool.items, completion, jail)))
            except GraderError:
                dropped += 1
    requests = [
        judge_request(pool.question, draft.text, pool.items, settings.prompts) for pool, draft, _ in new
    ]
    # Then every judge over all of them at once.
    lists = [pool.items for pool, _, _ in new]
    for engine in judges:
        with progress.doing("judging drafts"):
            opinions = judge(engine, requests, lists, settings.max_new_tokens)
        for (_, _, critiques), opinion in zip(new, opinions, strict=True):
            critiques += opinion
    # Into the pools last: where a judge fails, no draft is left half reviewed.
    for pool, completion, critiques in new:
        pool.drafts.append((completion, author, critiques))
    return dropped


def save(folder: Path, results: Sequence[Refined], spent: Spent) -> None:
    """Every artifact of a call as JSON lines, one instruction each, and what it spent. Half a surrogate pair
    in a model's text becomes U+FFFD."""
    lines = [printable(json.dumps(found.row(), ensure_ascii=False)) + "\n" for found in results]
    (folder / "refined.jsonl").write_text("".join(lines), encoding="utf-8")
    (folder / "spent.json").write_text(json.dumps(vars(spent)))


def read(folder: Path) -> tuple[list[Refined], Spent]:
    """The inverse of `save`."""
    lines = (folder / "refined.jsonl").read_text(encoding="utf-8").split("\n")[:-1]
    spent = json.loads((folder / "spent.json").read_text())
    counts = {name: Counter(spent[name]) for name in ("tokens", "stops")}
    return [Refined.from_row(json.loads(line)) for line in lines], Spent(**{**spent, **counts})
