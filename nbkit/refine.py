"""Solution refinement: checklist -> candidates -> critique -> revision (report, "solution refinement").
Used by 04.

The loop never sees a gold answer. Its checks are made from the instruction alone, from tools (arithmetic,
Python in the jail) and from agreement among the candidates; the verifier of the world may only *measure*
the result, in the notebook.

    checklist("Write a Python function f ...")  ->  ("finished", "reasons first", "defines f", "runs")
"""

import ast
import random
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from nbkit.data.equations import equations
from nbkit.data.skills import InfraError, Task, final_answer, parse_tool_call
from nbkit.data.world import chat
from nbkit.generate import Completion, Generator, user_prompt
from nbkit.verify.code import extract_code
from nbkit.verify.jail import CallError
from nbkit.verify.math import extract_answer

EQUATION = re.compile(r"(-?\d+) ([-+*/]) (-?\d+) = (-?\d+)")
PROSE = {
    "to",
    "it",
    "return",
    "returns",
    "that",
    "which",
    "for",
    "of",
}  # words that follow "function" in prose
FUNCTION = re.compile(r"\bfunction (\w+)|\bDefine (\w+)\(|\bPython: (\w+)\b")


@dataclass(frozen=True)
class Review:
    """One draft against the checklist: which checks failed, in words a revision model can use."""

    draft: str
    failures: tuple[str, ...]
    checks: int

    @property
    def score(self) -> float:
        return 1 - len(self.failures) / self.checks


@dataclass(frozen=True)
class Refined:
    """The final solution of one instruction with its history: a review per round, the first being the
    teacher's first sample."""

    question: str
    history: tuple[Review, ...] = field(default=())

    @property
    def final(self) -> Review:
        return self.history[-1]


def checklist(question: str) -> tuple[str, ...]:
    """What a good answer to this instruction must satisfy, read off the instruction."""
    items = ["finished", "reasons first", "arithmetic holds", "agrees with the majority"]
    if _function_name(question):
        items += [f"defines {_function_name(question)}", "runs"]
    elif re.search(r"\btools?\b", question) and not re.search(
        r"which tool|choose|pick a tool|should i use|returned|says", question, re.I
    ):
        items.append("calls a tool")
    return tuple(items)


def _function_name(question: str) -> str | None:
    names = [name for groups in FUNCTION.findall(question) for name in groups if name and name not in PROSE]
    return names[-1] if names else None


def review(question: str, completion: Completion, majority: str, jail) -> Review:
    """Check one draft. `majority` is the most frequent answer among the candidates of this instruction."""
    text, items, failures = completion.text, checklist(question), []
    answer = final_answer(text)
    if not completion.stopped or not answer:
        failures.append("not finished")
    if not text.startswith("<think>") or text.count("</think>") != 1:
        failures.append("no reasoning")
    if wrong := [found.group() for found in EQUATION.finditer(text) if not all(equations(found.group()))]:
        failures.append(f"wrong: {wrong[0]}")
    if committed(text) != majority:
        failures.append(f"others say {majority}")
    name, code = _function_name(question), extract_code(answer)
    if name and not _defines(code, name):
        failures.append(f"must define {name}")
    elif name:
        # one input that it accepts will do: its type is unknown
        results = [jail.call(code, name, [[value]]) for value in (3, [2, 1], "ab")]
        if any(r.status == "infra" for r in results):
            raise InfraError(f"the jail could not run a draft: {results[0].detail}")
        if not any(r.status == "ok" and not isinstance(r.values[0], CallError) for r in results):
            failures.append("does not run")
    if "calls a tool" in items and parse_tool_call(answer) is None:
        failures.append("must call a tool")
    return Review(text, tuple(failures), len(items))


def committed(text: str) -> str:
    """What a draft counts as in the vote: its final answer, or the number that ends it when that is prose."""
    answer = final_answer(text)
    prose = len(answer.split()) > 12 and "def " not in answer and "<tool_call>" not in answer
    return extract_answer(answer) if prose else answer


def _defines(code: str, name: str) -> bool:
    try:
        return any(isinstance(node, ast.FunctionDef) and node.name == name for node in ast.parse(code).body)
    except (SyntaxError, ValueError):
        return False


def revision_request(question: str, draft: str, failures: Sequence[str]) -> str:
    plain = draft.replace("<think>", "").replace("</think>", " -> ")
    return f"{question}\nDraft: {plain}\nCritique: {'; '.join(failures)}\nRevise."


def refine(
    questions: Sequence[str],
    teacher: Generator,
    student: Generator,
    jail,
    candidates: int = 4,
    rounds: int = 2,
    max_new_tokens: int = 64,
    seed: int = 0,
) -> list[Refined]:
    """The loop over all questions at once. Teachers (and the current model) draft, every draft is
    reviewed, the best one is revised from its critique until no check fails or `rounds` are used; a
    revision is taken only when it fails fewer checks."""
    prompts = [user_prompt(teacher.tokenizer, q) for q in questions]
    drafts = teacher.sample(prompts, candidates, max_new_tokens, temperature=0.6, top_p=0.95, seed=seed)
    own = student.sample(prompts, 1, max_new_tokens, temperature=0.6, top_p=0.95, seed=seed + 1)
    majorities = [Counter(committed(c.text) for c in group).most_common(1)[0][0] for group in drafts]
    results = []
    for question, group, extra, majority in zip(questions, drafts, own, majorities, strict=True):
        reviews = [review(question, c, majority, jail) for c in [*group, *extra]]
        best = max(reviews, key=lambda r: r.score)
        results.append(Refined(question, (reviews[0], best)))
    for number in range(rounds):
        open_ = [i for i, r in enumerate(results) if r.final.failures]
        if not open_:
            break
        asks = [
            user_prompt(
                teacher.tokenizer,
                revision_request(results[i].question, results[i].final.draft, results[i].final.failures),
            )
            for i in open_
        ]
        revised = teacher.sample(asks, 1, max_new_tokens, temperature=0.6, top_p=0.95, seed=seed + 2 + number)
        for i, (completion,) in zip(open_, revised, strict=True):
            new = review(results[i].question, completion, majorities[i], jail)
            kept = new if new.score > results[i].final.score else results[i].final
            results[i] = replace(results[i], history=(*results[i].history, kept))
    return results


def revision_chats(tasks: Sequence[Task], seed: int) -> list[list[dict]]:
    """Training data of the revision model: a spoiled draft, the critique the checks would give, and the
    right solution."""
    rng = random.Random(f"revision/{seed}")
    by_skill: dict[str, list[Task]] = {}
    for task in tasks:
        by_skill.setdefault(task.skill, []).append(task)
    chats = []
    for task in tasks:
        others = by_skill[task.skill]
        other = others[rng.randrange(len(others))]
        draft, failures = f"{task.chain} -> {other.answer}", [f"others say {task.answer}"]
        if rng.random() < 0.3:
            draft, failures = task.answer, ["no reasoning"]
        elif found := EQUATION.search(task.chain):
            a, op, b, c = found.groups()
            wrong = f"{a} {op} {b} = {int(c) + rng.choice((-2, -1, 1, 2))}"
            draft, failures = (
                f"{task.chain.replace(found.group(), wrong)} -> {other.answer}",
                [f"wrong: {wrong}"],
            )
        request = revision_request(task.question, draft, failures)
        chats.append([{"role": "user", "content": request}, chat(task)[1]])
    return chats
