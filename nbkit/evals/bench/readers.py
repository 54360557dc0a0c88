"""From the rows of each public set to questions of one form, `Item`. Used by items.py.

A reader takes (row, its number) and returns an Item, or None for a row that this kit cannot score. It raises
KeyError for a column that is missing, ValueError for a value that cannot be used; items.py says where.
"""

import json
import random
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

_CALCULATOR = re.compile(r"<<[^<>\n]*>>")
LETTERS = "ABCDEFGHIJKLMNOP"
# BFCL: what one turn can be judged by. In the last three no call is wanted, or any call.
BFCL = ("simple_python", "multiple", "parallel", "parallel_multiple")
BFCL += ("live_simple", "live_multiple", "live_parallel", "live_parallel_multiple")
BFCL_NONE, BFCL_ANY = ("irrelevance", "live_irrelevance"), ("live_relevance",)


@dataclass(frozen=True)
class Item:
    """One question. `fields`: what the prompt templates may name. `answer`: the key, as the verifier wants
    it. `choices`, `gold`: the texts whose log-likelihoods compete, and the index of the right one. `group`:
    subject or category. `turns`: later questions of the same conversation; `before`: the messages in front
    of the question; `tools`: JSON schemas that the model may call."""

    id: str
    fields: Mapping[str, Any]
    answer: Any = None
    choices: tuple[str, ...] = ()
    gold: int = 0
    group: str = ""
    turns: tuple[str, ...] = ()
    before: tuple[Mapping[str, str], ...] = ()
    tools: tuple[Mapping[str, Any], ...] = ()
    extra: Mapping[str, Any] = field(default_factory=dict)

    @property
    def question(self) -> str:
        return str(self.fields.get("question", ""))


def first(row: Mapping, *names: str) -> Any:
    """The value of the first of these columns that is there. Raises KeyError with all the names."""
    for name in names:
        if row.get(name) is not None:
            return row[name]
    raise KeyError(" or ".join(names))


def _id(row: Mapping, number: int, *names: str) -> str:
    return str(next((row[name] for name in names if row.get(name) is not None), number))


def _text(value: Any, name: str) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"{name} is {value!r:.60}, wanted a text")
    return value


def _index(value: Any, options: Sequence[str], name: str) -> int:
    """The place of the right choice, from an index, or a letter."""
    if isinstance(value, str) and value.strip().upper() in [*LETTERS[: len(options)]]:
        return LETTERS.index(value.strip().upper())
    number = int(value) if str(value).lstrip("-").isdigit() else -1
    if isinstance(value, bool) or not 0 <= number < len(options):
        raise ValueError(f"{name} is {value!r:.40}, wanted the place or letter of one of {len(options)}")
    return number


def lettered(options: Sequence[str], form: str = "({}) {}") -> str:
    return "\n".join(form.format(letter, text) for letter, text in zip(LETTERS, options, strict=False))


def _multiple(
    row_id: str, question: str, options: Sequence[str], gold: int, group: str = "", **more: Any
) -> Item:
    """A question that is answered by a letter."""
    about = {"question": question, "options": lettered(options), "letter": LETTERS[gold], "group": group}
    about["plain_options"] = lettered(options, "{}. {}")
    return Item(row_id, about | more, LETTERS[gold], gold=gold, group=group)


def gsm8k(row: Mapping, number: int) -> Item:
    """The answer is what follows ####."""
    solution = _text(row["answer"], "answer")
    answer = solution.rpartition("####")[2].strip().replace(",", "")
    return Item(_id(row, number, "id"), {"question": row["question"], "solution": solution}, answer)


def problem(row: Mapping, number: int) -> Item:
    """AIME, MATH-500: a problem and its final answer."""
    question = _text(first(row, "problem", "question", "Problem"), "problem")
    answer = str(first(row, "answer", "expected_answer", "Answer"))
    group = str(row.get("subject") or "")
    return Item(
        _id(row, number, "unique_id", "id"), {"question": question}, _text(answer, "answer"), group=group
    )


def cmath(row: Mapping, number: int) -> Item:
    answer = str(first(row, "answer", "golden"))
    return Item(_id(row, number, "id"), {"question": row["question"]}, answer, group=f"grade {row['grade']}")


def gpqa(row: Mapping, number: int) -> Item:
    """The four answers in an order of the question's own: the set names the right one first."""
    right = _text(row["Correct Answer"], "Correct Answer").strip()
    wrong = [f"Incorrect Answer {i}" for i in (1, 2, 3)]
    options = [right, *(_text(row[name], name).strip() for name in wrong)]
    random.Random(f"gpqa/{row['Question']}").shuffle(options)
    group = str(row.get("High-level domain") or "")
    return _multiple(
        _id(row, number, "Record ID"), row["Question"].strip(), options, options.index(right), group
    )


def options(row: Mapping, number: int) -> Item:
    """SuperGPQA and MMLU-Pro: up to ten options and a letter."""
    if None in row["options"]:
        raise ValueError("options has an empty one, wanted texts")
    given = [str(option).strip() for option in row["options"]]
    gold = _index(first(row, "answer_letter", "answer_index", "answer"), given, "answer")
    group = str(row.get("category") or row.get("discipline") or "")
    steps = str(row.get("cot_content") or "").removeprefix("A: Let's think step by step. ")
    return _multiple(
        _id(row, number, "question_id", "uuid"), row["question"], given, gold, group, steps=steps
    )


def bbh(row: Mapping, number: int) -> Item:
    group = str(first(row, "task", "config"))
    name = f"{group}-{row.get('idx', number)}"
    return Item(name, {"question": row["input"]}, _text(row["target"], "target"), group=group)


def _four(row_id: str, question: str, given: Sequence[str], gold: int, group: str) -> Item:
    """Four choices, of which the letter is scored."""
    about = {"question": question.strip(), "letter": LETTERS[gold], "group": group.replace("_", " ")}
    about |= dict(zip("ABCD", given, strict=True))
    return Item(row_id, about, LETTERS[gold], tuple("ABCD"), gold, group)


def mmlu(row: Mapping, number: int) -> Item:
    given = list(row["choices"])
    gold = _index(row["answer"], given, "answer")
    return _four(_id(row, number, "id"), row["question"], given, gold, row["subject"])


def cmmlu(row: Mapping, number: int) -> Item:
    given = [row[letter] for letter in "ABCD"]
    group = str(row.get("config") or "")
    return _four(f"{group}-{number}", row["Question"], given, _index(row["Answer"], given, "Answer"), group)


def arc(row: Mapping, number: int) -> Item:
    """The hub's layout, or the mirror's, whose query holds the template already."""
    if "query" in row:
        question = row["query"].removeprefix("Question: ").removesuffix("\nAnswer:")
        given, gold = list(row["choices"]), row["gold"]
    else:
        question, given = row["question"], list(row["choices"]["text"])
        gold = list(row["choices"]["label"]).index(row["answerKey"])
    gold = _index(gold, given, "gold")
    return Item(_id(row, number, "id"), {"question": question}, given[gold], tuple(given), gold)


def hellaswag(row: Mapping, number: int) -> Item:
    """The hub's layout, cleaned as lm-evaluation-harness does, or the mirror's, which is clean."""
    if "query" in row:
        question, given, gold = row["query"], list(row["choices"]), row["gold"]
    else:
        label, context = _text(row["activity_label"], "activity_label"), _text(row["ctx_a"], "ctx_a")
        question = _wikihow(f"{label}: {context} {row['ctx_b'].capitalize()}")  # ctx_b may be empty
        given, gold = [_wikihow(ending) for ending in row["endings"]], int(row["label"])
    gold = _index(gold, given, "gold")
    return Item(_id(row, number, "ind", "id"), {"question": question}, given[gold], tuple(given), gold)


def _wikihow(text: str) -> str:
    text = text.strip().replace(" [title]", ". ")
    return re.sub(r"\[.*?\]", "", text).replace("  ", " ")


def blimp(row: Mapping, number: int) -> Item:
    """A minimal pair: the acceptable sentence, then the other."""
    pair = (row["sentence_good"], row["sentence_bad"])
    group = str(row["UID"])
    return Item(f"{group}-{first(row, 'pairID', 'pair_id')}", {"question": ""}, pair[0], pair, 0, group)


def humaneval(row: Mapping, number: int) -> Item:
    tests = {key: _text(row[key], key) for key in ("prompt", "test", "entry_point")}
    return Item(row["task_id"], {"question": row["prompt"]}, tests)


def mbpp(row: Mapping, number: int) -> Item:
    tests = [_text(test, "test_list") for test in row["test_list"]]
    if not tests:
        raise ValueError("test_list is empty, wanted at least one assert")
    about = {"question": first(row, "text", "prompt"), "tests": "\n".join(tests), "code": row.get("code", "")}
    key = {"test_list": tests, "test_setup_code": row.get("test_setup_code") or ""}
    return Item(str(row["task_id"]), about, key)


def fullstack(row: Mapping, number: int) -> Item | None:
    """The Python rows: asserts that follow the program."""
    labels, tests = _object(row["labels"]), _object(row["test"])
    if str(labels.get("programming_language", "")).lower() != "python":
        return None
    key = {
        "test": _text(tests.get("code"), "test.code"),
        "solution": _text(row["canonical_solution"], "solution"),
    }
    return Item(
        _id(row, number, "id"), {"question": row["content"]}, key, group=str(labels.get("category", ""))
    )


def _object(value: Any) -> Mapping:
    return json.loads(value) if isinstance(value, str) else value


def bfcl(row: Mapping, number: int) -> Item | None:
    """One turn with tools. The key: {"calls": accepted calls, "parallel": several in any order}, or whether
    any call is wanted at all."""
    category = row["category"]
    if category in BFCL_NONE or category in BFCL_ANY:
        key: dict = {"any": category in BFCL_ANY}
    elif category in BFCL:
        calls = row["ground_truth"]
        if not calls:
            raise ValueError("ground_truth is empty, wanted at least one call")
        key = {"calls": calls, "functions": row["function"]}
    else:
        return None
    turns = row["question"][0]
    before = tuple({"role": m["role"], "content": m["content"]} for m in turns[:-1])
    about = {"question": turns[-1]["content"]}
    return Item(row["id"], about, key, group=category, before=before, tools=tuple(row["function"]))


def ifeval(row: Mapping, number: int) -> Item:
    ids, kwargs = list(row["instruction_id_list"]), [dict(k or {}) for k in row["kwargs"]]
    if len(ids) != len(kwargs) or not ids:
        raise ValueError(
            f"{len(ids)} instructions and {len(kwargs)} kwargs, wanted as many of each, one at least"
        )
    key = {"instructions": ids, "kwargs": kwargs, "prompt": row["prompt"]}
    return Item(_id(row, number, "key"), {"question": _text(row["prompt"], "prompt")}, key, group=ids[0])


def open(row: Mapping, number: int) -> Item:
    """A question without a key: a judge compares answers."""
    question = _text(first(row, "prompt", "question"), "prompt")
    return Item(_id(row, number, "uid", "id"), {"question": question}, group=str(row.get("category") or ""))


def mt_bench(row: Mapping, number: int) -> Item:
    turns = list(first(row, "turns", "prompt"))
    reference = row.get("reference") or []
    about = {"question": _text(turns[0], "turns")}
    return Item(
        _id(row, number, "question_id", "prompt_id"),
        about,
        group=str(row["category"]),
        turns=tuple(turns[1:]),
        extra={"reference": list(reference)},
    )


def multi_challenge(row: Mapping, number: int) -> Item:
    """A conversation, a yes/no question about the last reply, and the answer that passes."""
    talk = _object(first(row, "CONVERSATION", "conversation"))
    wanted = str(first(row, "PASS_CRITERIA", "pass_criteria")).strip().upper()
    if wanted not in ("YES", "NO"):
        raise ValueError(f"PASS_CRITERIA is {wanted!r:.40}, wanted YES or NO")
    key = {
        "asked": _text(first(row, "TARGET_QUESTION", "target_question"), "TARGET_QUESTION"),
        "wanted": wanted,
    }
    before = tuple({"role": m["role"], "content": m["content"]} for m in talk[:-1])
    group = str(row.get("AXIS") or row.get("axis") or "")
    name = _id(row, number, "QUESTION_ID", "question_id")
    return Item(name, {"question": talk[-1]["content"]}, key, group=group, before=before)


def writingbench(row: Mapping, number: int) -> Item:
    """A request and its criteria: {"name", "criteria_description", "1-2": ..., "9-10": ...} each."""
    criteria = [dict(one) for one in _object(first(row, "checklist", "criteria"))]
    if not criteria:
        raise ValueError("checklist is empty, wanted the criteria of the request")
    return Item(str(row["index"]), {"question": row["query"]}, criteria, group=str(row["domain1"]))


_ALL = (gsm8k, problem, cmath, gpqa, options, bbh, mmlu, cmmlu, arc, hellaswag, blimp, humaneval, mbpp)
_ALL += (fullstack, bfcl, ifeval, open, mt_bench, multi_challenge, writingbench)
READERS: dict[str, Callable[[Mapping, int], Item | None]] = {reader.__name__: reader for reader in _ALL}
