"""Documents of the embedded world: planted quality tiers, natural text from the standard library, chats
and prompts.

Used by 01 (raw corpus), 02 (base prompts), 03-06 (chats) and 07. Columns that start with `truth_` tell how
a document was made; they exist to *measure* the filter in 01 and no method may read them.

Tiers of `corpus` (share of documents). Clean text is scarce and the rest mostly bad, as on the web; that is
where an order of quality can pay (docs/pretraining.md):
    clean        worked solutions, correct, three quarters of them terse    12%
    bare         question and answer without a solution                     10%
    wrong        the right form with false content                          25%
    chatter      small talk                                                 23%
    boilerplate  menus, cookie banners, legal lines                         15%
    duplicate    exact or lightly edited copies of earlier ones             15%

Whole chains of steps are rare in web text. They stand in the synthetic documents, half of which the decay
reads, and in what fine-tuning teaches.
"""

import ast
import json
import random
import sysconfig
from functools import cache
from pathlib import Path

from nbkit.run import progress
from nbkit.tasks.skills import RARE_LEVEL, SPLITS, Task, sample
from nbkit.text.chat import split_thought

Conversation = list[dict] | dict  # messages, or {"messages", "tools"} where a task offers tools
TIERS = {"clean": 0.12, "bare": 0.10, "wrong": 0.25, "chatter": 0.23, "boilerplate": 0.15, "duplicate": 0.15}
TERSE = 0.75  # share of web documents whose solutions give the last step only
RARE = 0.01  # share of pre-training questions at a level above the common ones

CHATTER_PARTS = (
    ("lol", "omg", "well", "so yeah", "hmm", "haha", "anyway", "ok so", "btw", "honestly"),
    (
        "i was at the shop",
        "my cat woke me up",
        "we saw that film",
        "the bus was late",
        "nobody called me",
        "it rained all day",
    ),
    (
        "and then i went home",
        "and it was so funny",
        "but whatever",
        "you know what i mean",
        "and i forgot my keys",
        "no idea why",
    ),
    ("see you later!!", "thx for reading", "who else??", "what do u think", "cant wait :)", "brb"),
)
BOILERPLATE_LINES = (
    "Home | About | Contact | Login",
    "We use cookies to improve your experience. Accept all | Settings",
    "Copyright 2024. All rights reserved.",
    "Click here to subscribe to our newsletter!",
    "Share on: Facebook | Twitter | Email",
    "Terms of Service - Privacy Policy - Sitemap",
    "Page 1 of 12 >> Next >> Last",
    "Loading... Please enable JavaScript to continue.",
)


def base_prompt(question: str) -> str:
    """The form in which a base model is asked: it completes the solution of a worked document."""
    return f"Question: {question}\nSolution:"


def worked(task: Task, style: int = 0, terse: bool = False) -> str:
    """A clean document of one task, in one of two styles (style 0 is the one `base_prompt` opens). `terse`:
    the last step only."""
    steps = task.steps[-1:] if terse else task.steps
    # Style 1 differs in every word around the task: a filter must not learn one form by heart.
    if style == 0:
        return f"{base_prompt(task.question)} {'. '.join(steps)}.\nAnswer: {task.answer}"
    return f"Problem. {task.question}\nWe work it out. {'; '.join(steps)}. So the answer is {task.answer}"


def prompt_of(task: Task) -> Conversation:
    """What a model is asked in chat form: the question, and the tools where the task has some."""
    return _conversation(task)


def chat(task: Task) -> Conversation:
    """`prompt_of` and the answer. `reasoning_content` is rendered between <think> and </think>; a task
    without a chain is answered at once."""
    return _conversation(task, answer_turn(task))


def answer_turn(task: Task) -> dict:
    return {"role": "assistant", "reasoning_content": task.chain, "content": task.answer}


def responded(task: Task, response: str) -> Conversation:
    """The task with a model's raw response in place of its own answer."""
    return _conversation(task, response_turn(response))


def instruction(task: Task) -> str:
    """The task as one text, tools and all: what the refinement loop of 04 may see of it."""
    return "\n".join(["Tools:", *task.tools, task.question]) if task.tools else task.question


def _conversation(task: Task, *answer: dict) -> Conversation:
    messages = [{"role": "user", "content": task.question}, *answer]
    return {"messages": messages, "tools": [json.loads(t) for t in task.tools]} if task.tools else messages


def response_turn(response: str) -> dict:
    """A model's raw response (`<think>chain</think>answer`) as a turn; without a chain, the answer alone."""
    chain, answer = split_thought(response)
    turn = {"content": response} if chain is None else {"reasoning_content": chain, "content": answer}
    return {"role": "assistant", **turn}


def corpus(n_docs: int, seed: int = 0, tasks_per_doc: int = 2) -> list[dict]:
    """`n_docs` raw web documents in the shares of TIERS, shuffled: id, text, source and the planted truth
    columns."""
    if n_docs < 20:
        raise ValueError(f"n_docs: got {n_docs}, wanted at least 20, so that every tier occurs")
    # The tier of every document, and tasks enough for all of them.
    rng = random.Random(f"corpus/{seed}")
    tiers = rng.choices(list(TIERS), weights=list(TIERS.values()), k=n_docs)
    tasks = iter(_training_tasks(n_docs * tasks_per_doc, seed))
    docs: list[dict] = []
    for i, tier in enumerate(progress.each(tiers, "writing document")):
        # The first document has nothing to repeat.
        if tier == "duplicate" and not docs:
            tier = "clean"
        chosen = [next(tasks) for _ in range(tasks_per_doc)]
        if tier == "duplicate":
            # A near copy of an earlier one, or a document of its tier around its tasks.
            original = rng.choice(docs)
            text, skills = _edited(original["text"], rng), original["truth_skills"]
        else:
            text, skills = _render(tier, chosen, rng), " ".join(t.skill for t in chosen)
        docs.append(
            {
                "id": f"web-{seed}-{i}",
                "text": text,
                "source": "web",
                "truth_tier": tier,
                "truth_skills": skills,
            }
        )
    return docs


@progress.doing("writing synthetic documents")
def synthetic(n_docs: int, seed: int = 0, tasks_per_doc: int = 2) -> list[dict]:
    """Synthetic Q&A (the report's 15%): whole chains of every skill, in the form that is evaluated. Not the
    hard ones alone: decay reads them for half its tokens, and then the easy skills were forgotten."""
    tasks = iter(_training_tasks(n_docs * tasks_per_doc, seed + 1))
    return [
        {
            "id": f"synthetic-{seed}-{i}",
            "text": "\n".join(worked(next(tasks)) for _ in range(tasks_per_doc)),
            "source": "synthetic",
            "truth_tier": "clean",
        }
        for i in range(n_docs)
    ]


def seeds(n: int, seed: int = 0, tasks_per_doc: int = 2) -> list[str]:
    """Curated high-quality documents: what the filter looks for. Drawn apart from the corpus; training split
    only."""
    tasks = iter(_training_tasks(n * tasks_per_doc, seed + 7919))
    texts = []
    for i in range(n):
        terse = i % 4 < 4 * TERSE  # i // 4: both styles in both lengths
        texts.append("\n".join(worked(next(tasks), i // 4 % 2, terse) for _ in range(tasks_per_doc)))
    return texts


def _training_tasks(n: int, seed: int) -> list[Task]:
    """What pre-training reads: the common levels, and a few questions one level above them."""
    rare = int(n * RARE)
    tasks = sample(n - rare, "train", seed) + sample(rare, "train", seed, levels=(RARE_LEVEL, RARE_LEVEL))
    random.Random(f"order/{seed}").shuffle(tasks)
    return tasks


@cache
def _eval_list(split: str) -> tuple[Task, ...]:
    # One fixed seed: every run, whatever its own, is measured on the same questions.
    by_question = {task.question: task for task in sample(12_000, split, seed=271828)}
    return tuple(by_question.values())


def eval_tasks(n: int, split: str) -> list[Task]:
    """The first `n` different questions of a held-out split: the same list for every seed, model and
    stage, so that a smaller evaluation is the beginning of a larger one. Raises ValueError when the split
    has fewer."""
    if split not in SPLITS[1:]:
        raise ValueError(f"split: got {split!r}, wanted a held-out one of {SPLITS[1:]}")
    known = _eval_list(split)
    if n > len(known):
        raise ValueError(f"questions: got {n}, but the split {split!r} has {len(known)} different ones")
    return list(known[:n])


@progress.doing("drawing held-out questions")
def eval_texts() -> list[str]:
    """Every held-out question that any evaluation of the embedded world can ask, for decontamination in
    01."""
    return sorted({task.question for split in SPLITS[1:] for task in _eval_list(split)})


@progress.doing("reading the standard library")
def natural_text(max_chars: int, seed: int = 0, chunk: int = 800) -> list[dict]:
    """Real prose and code that every Python carries: docstrings and sources of the standard library, in
    pieces of about `chunk` characters."""
    # Modules of moderate size, from the top and from a few packages.
    root = Path(sysconfig.get_paths()["stdlib"])
    files = sorted(f for f in root.glob("*.py") if f.stat().st_size < 200_000)
    files += sorted(
        f
        for package in ("json", "email", "http", "asyncio", "logging")
        for f in (root / package).glob("*.py")
    )
    random.Random(f"natural/{seed}").shuffle(files)
    docs, used = [], 0
    for file in files:
        # With its package: several have an __init__.
        module = ".".join(file.relative_to(root).with_suffix("").parts)
        source = file.read_text(encoding="utf-8", errors="replace")
        for kind, text in (("doc", _docstrings(source)), ("code", source)):
            for start in range(0, len(text), chunk):
                # Scraps say nothing; and the budget ends it.
                piece = text[start : start + chunk].strip()
                if len(piece) < 200:
                    continue
                if used >= max_chars:
                    return docs
                used += len(piece)
                docs.append(
                    {
                        "id": f"stdlib-{module}-{kind}-{start}",
                        "text": piece,
                        "source": "stdlib",
                        "truth_tier": "natural",
                    }
                )
                if kind == "code" and start > 4 * chunk:
                    break  # a few pages of every module, not all of one
    return docs


def _docstrings(source: str) -> str:
    try:
        tree = ast.parse(source)
    except SyntaxError:  # a few stdlib files are templates
        return ""
    nodes = (n for n in ast.walk(tree) if isinstance(n, (ast.Module, ast.ClassDef, ast.FunctionDef)))
    return "\n\n".join(text for n in nodes if (text := ast.get_docstring(n)))


def _render(tier: str, tasks: list[Task], rng: random.Random) -> str:
    if tier == "clean":
        style, terse = int(rng.random() < 0.3), rng.random() < TERSE
        return "\n".join(worked(t, style, terse) for t in tasks)
    if tier == "bare":
        return "\n".join(f"Q: {t.question} A: {t.answer}" for t in tasks)
    if tier == "wrong":
        style, terse = int(rng.random() < 0.3), rng.random() < TERSE
        return "\n".join(worked(_falsified(t, rng), style, terse) for t in tasks)
    if tier == "chatter":
        return " ".join(
            " ".join(rng.choice(part) for part in CHATTER_PARTS) for _ in range(rng.randint(2, 4))
        )
    return "\n".join(rng.sample(BOILERPLATE_LINES, rng.randint(3, 5)))


def _falsified(task: Task, rng: random.Random) -> Task:
    """The task with a wrong answer in the right form; arithmetic steps state the wrong value too, as real
    errors do."""
    # Arithmetic stays plausible: off by at most 3, in the last step and in the answer.
    if task.kind == "number":
        wrong = str(int(task.answer) + rng.choice((-3, -2, -1, 1, 2, 3)))
        steps = (*task.steps[:-1], task.steps[-1].replace(task.answer, wrong))
        return Task(**{**task.__dict__, "steps": steps, "answer": wrong})
    # Other skills borrow steps and answer from another task of the same skill.
    other = sample(1, "train", rng.randrange(10**9), names=[task.skill])[0]
    return Task(**{**task.__dict__, "steps": other.steps, "answer": other.answer})


def _edited(text: str, rng: random.Random) -> str:
    """A copy as the web makes them: unchanged, with other spacing, or with a line around it."""
    choice = rng.randrange(3)
    if choice == 0:
        return text
    if choice == 1:
        return text.replace("\n", "\n\n")
    return f"{text}\n{rng.choice(('(repost)', 'Source: forum', 'Shared by a reader'))}"
