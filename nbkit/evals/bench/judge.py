"""Answers that another model judges: any OpenAI-compatible endpoint, through nbkit.models.endpoint.

    judge = Judge(Endpoint("http://localhost:8000/v1", "Qwen/Qwen3-8B", cache="judge.sqlite"))
    marks = judge.marks(benchmark("mt_bench"), [(item, ["first answer", "second"])])
    judge.bill()                     # requests, tokens and cost, in one line

Pairs are asked in both orders and averaged, so that a preference for a place cancels. A judge that fails, or
says nothing that can be read, gives a mark without a value.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from nbkit.evals.bench.grading import Mark
from nbkit.evals.bench.readers import Item
from nbkit.evals.bench.table import Benchmark
from nbkit.models.endpoint import Endpoint, Failure, Reply
from nbkit.text.chat import split_thought
from nbkit.text.rows import read_rows

_PAIR = """Two assistants answered a request. Judge which answer serves the user better: correct, helpful, \
relevant and no longer than it needs to be. The order in which they stand must not matter. Think first, then \
end with exactly one of [[A>>B]] (A is much better), [[A>B]], [[A=B]], [[B>A]], [[B>>A]].

## Request
{question}

## Assistant A
{first}

## Assistant B
{second}"""
_GRADE = """Grade the assistant's last answer for helpfulness, relevance, accuracy, depth and detail. \
Think first, then end with a grade from 1 to 10 in the form [[5]].

{talk}{reference}"""
_RUBRIC = """Score the response by one criterion, from 1 to 10. Be strict: high scores are for what is hard \
to improve. Think first, then end with the score in the form [[5]].

## Request
{question}

## Response
{answer}

## Criterion: {name}
{description}

{scale}"""
_YES_NO = """Here is the last reply of a conversation, and a question about it. Answer the question about \
the reply as it stands. Think first, then end with [[YES]] or [[NO]].

## Reply
{answer}

## Question
{asked}"""
_VERDICT = re.compile(r"\[\[(A>>B|A>B|A=B|B>A|B>>A|A|B|C)\]\]")
_NUMBER = re.compile(r"\[\[(\d+(?:\.\d+)?)\]\]")
_WORD = re.compile(r"\[\[(YES|NO)\]\]", re.IGNORECASE)
_WORTH = {"A>>B": 1.0, "A>B": 1.0, "A": 1.0, "A=B": 0.5, "C": 0.5, "B>A": 0.0, "B>>A": 0.0, "B": 0.0}


@dataclass(frozen=True)
class _Plan:
    """What to ask about one answer, and how to read a reply: a number from 0 to 1, None for nonsense. The
    mark is the mean over all replies, and there is none where one is missing."""

    asked: list[str]
    read: Callable[[int, str], float | None]


@dataclass(eq=False)
class Judge:
    """`opponent`: id -> answer, of the model that ours is compared with. `max_tokens`: the most that the
    judge may write."""

    endpoint: Endpoint
    opponent: Mapping[str, str] = field(default_factory=dict)
    max_tokens: int = 2048

    def check(self, bench: Benchmark, items: Sequence[Item]) -> None:
        """Raise ValueError where a pair would have no second answer."""
        missing = [item.id for item in items if bench.verifier == "pairwise" and item.id not in self.opponent]
        if missing:
            raise ValueError(
                f"opponent: no answer for {missing[0]!r} and {len(missing) - 1} more of {len(items)}; "
                'give --opponent FILE with one line {"id": ..., "answer": ...} for each'
            )

    def marks(self, bench: Benchmark, answers: Sequence[tuple[Item, Sequence[str]]]) -> list[Mark]:
        """One mark for each (question, its answers, one per turn). A judge that cannot be reached gives marks
        without a value, but where the cache holds its reply."""
        plans = [_PLANS[bench.verifier](item, texts, self.opponent) for item, texts in answers]
        places = [(plan, place) for plan in plans for place in range(len(plan.asked))]
        asked = [[{"role": "user", "content": plan.asked[place]}] for plan, place in places]

        def usable(number: int, reply: Reply) -> bool:
            plan, place = places[number]
            return _value(plan, place, reply) is not None

        sampling = {"temperature": 0.0, "max_tokens": self.max_tokens}
        try:
            # Nonsense in the cache is no verdict for good.
            label = f"{bench.title}: judging"
            replies = self.endpoint.complete(asked, label=label, usable=usable, **sampling)
        except ValueError as error:  # no server, or it has no such model: what was judged before is kept
            down = Failure("no judge", str(error))
            replies = [reply or down for reply in self._known(asked, sampling)]
        marks, place = [], 0
        for plan in plans:
            marks.append(_mark(plan, replies[place : place + len(plan.asked)]))
            place += len(plan.asked)
        return marks

    def _known(self, asked: Sequence, sampling: Mapping) -> list[Reply | None]:
        try:
            return self.endpoint.known(asked, **sampling)
        except ValueError:  # the cache itself is damaged, or an answer cannot be sent
            return [None] * len(asked)

    def bill(self) -> str:
        """Requests, tokens and cost so far, in one line."""
        used = self.endpoint.report()
        cost = f", cost {used['cost']:.2f}" if used["cost"] is not None else ", no prices given"
        failed = f", {sum(used['failed'].values())} failed" if used["failed"] else ""
        return (
            f"judge {used['model']}: {used['requests']} requests ({used['cached']} more from its cache), "
            f"{used['prompt_tokens']:,} tokens read, {used['completion_tokens']:,} written{cost}{failed}"
        )


def _mark(plan: _Plan, replies: Sequence) -> Mark:
    values = []
    for place, reply in enumerate(replies):
        if not isinstance(reply, Reply):
            return Mark(None, {}, f"judge: {reply.reason}: {reply.detail:.200}")
        value = _value(plan, place, reply)
        if value is None:
            return Mark(None, {}, f"judge: no verdict in its reply: {reply.text[-200:]!r}")
        values.append(value)
    return Mark(float(np.mean(values)))


def _value(plan: _Plan, place: int, reply: Reply) -> float | None:
    """The verdict of a reply, behind its thought where there is one; None where none can be read."""
    return plan.read(place, split_thought(reply.text)[1] or reply.text)


def _last(pattern: re.Pattern, text: str) -> str | None:
    found = pattern.findall(text)
    return found[-1] if found else None


def _pairwise(item: Item, texts: Sequence[str], opponent: Mapping[str, str]) -> _Plan:
    pair = (texts[-1], opponent[item.id])
    orders = [pair, pair[::-1]]
    asked = [_PAIR.format(question=item.question, first=a, second=b) for a, b in orders]

    def read(place: int, text: str) -> float | None:
        said = _last(_VERDICT, text)
        # In the second order ours is B.
        return None if said is None else _WORTH[said] if place == 0 else 1 - _WORTH[said]

    return _Plan(asked, read)


def _grade(item: Item, texts: Sequence[str], _: Mapping) -> _Plan:
    """MT-Bench: each turn by itself, with what was said before it, and the reference where there is one."""
    questions, asked = [item.question, *item.turns], []
    references = item.extra.get("reference") or []
    for last in range(len(texts)):
        talk = "".join(
            f"## User\n{question}\n\n## Assistant\n{answer}\n\n"
            for question, answer in zip(questions[: last + 1], texts, strict=False)
        )
        known = f"## Reference answer\n{references[last]}" if last < len(references) else ""
        asked.append(_GRADE.format(talk=talk, reference=known))
    return _Plan(asked, lambda _, text: _tenth(text))


def _rubric(item: Item, texts: Sequence[str], _: Mapping) -> _Plan:
    asked = [
        _RUBRIC.format(
            question=item.question,
            answer=texts[-1],
            name=criterion["name"],
            description=criterion["criteria_description"],
            scale="\n".join(f"{key}: {value}" for key, value in criterion.items() if key[:1].isdigit()),
        )
        for criterion in item.answer
    ]
    return _Plan(asked, lambda _, text: _tenth(text))


def _tenth(text: str) -> float | None:
    said = _last(_NUMBER, text)
    return float(said) / 10 if said and 1 <= float(said) <= 10 else None


def _yes_no(item: Item, texts: Sequence[str], _: Mapping) -> _Plan:
    asked = [_YES_NO.format(answer=texts[-1], asked=item.answer["asked"])]

    def read(_: int, text: str) -> float | None:
        said = _last(_WORD, text)
        return None if said is None else float(said.upper() == item.answer["wanted"])

    return _Plan(asked, read)


_PLANS = {"pairwise": _pairwise, "grade": _grade, "rubric": _rubric, "yes_no": _yes_no}


def opponent_answers(path: str | Path) -> dict[str, str]:
    """id -> answer, from lines {"id" or "uid", "answer"}, or Arena-Hard's own model_answer files. Raises
    ValueError for a line without either."""
    found = {}
    for number, row in enumerate(read_rows(Path(path)), 1):
        name = row.get("uid", row.get("id"))
        answer = row.get("answer")
        if answer is None and row.get("messages"):
            said = row["messages"][-1]["content"]
            answer = said.get("answer") if isinstance(said, Mapping) else said
        if name is None or not isinstance(answer, str):
            raise ValueError(f"opponent: {path} line {number} has {sorted(row)}, wanted 'id' and 'answer'")
        found[str(name)] = answer
    return found
