"""From the fields of each public set to the few row forms the notebooks read. Used through `sources.load`.

    corpus      {"id", "text", "source", "domain"}                       one or more documents per record
    sft, rl     {"prompt", "response"?, "answer"?, "domain"} or {"messages", "tools", "domain"}; code adds
    "tests" preference  {"prompt", "chosen", "rejected"} eval        {"question", "answer" (None where there
    is no single one), ...}

Each adapter takes (record, set name, its number) and returns one row or a list of rows.
"""

import re
from collections.abc import Mapping

from nbkit.text.conversations import conversation

Row = dict
_QUESTIONS = ("problem", "question", "prompt", "input", "query", "context", "turns")
_ANSWERS = ("answer", "expected_answer", "target", "canonical_solution", "continuation", "ground_truth")
_MASK = re.compile(r"<? ?<(?:email|num)> ?>?")
_CALCULATOR = re.compile(r"<<[^<>\n]*>>")


def document(record: Mapping, name: str, number: int) -> Row:
    """Any record with "text". A human reading level or genre becomes the domain."""
    # Mirrors name things differently: the first field that is there counts.
    own = next((record[key] for key in ("id", "path", "file", "article") if key in record), number)
    domain = next((record[key] for key in ("genre", "book", "level", "author") if key in record), name)
    return {"id": f"{name}-{own}-{number}", "text": record["text"], "source": name, "domain": str(domain)}


def masked_document(record: Mapping, name: str, number: int) -> Row:
    """As `document`, without the masks ("<email>") that the mirror put in: they would tell the source."""
    return document({**record, "text": _MASK.sub("", record["text"])}, name, number)


def web_page(record: Mapping, name: str, number: int) -> list[Row]:
    """Two documents: the whole page and the article that a person marked in it."""
    shared = {"source": name, "domain": "web"}
    return [
        {"id": f"{name}-{record['id']}-{part}", "text": record[part], **shared, "truth_part": part}
        for part in ("raw", "clean")
    ]


def stackexchange(record: Mapping, name: str, number: int) -> Row:
    """Question, then answers from the highest human vote down; `answers` keeps the votes."""
    answers = sorted(record["answers"], key=lambda answer: -answer["score"])
    text = "\n\n".join([record["title"], record["body"], *(answer["body"] for answer in answers)])
    return {
        "id": f"{name}-{record['site']}-{record['id']}",
        "text": text,
        "source": name,
        "domain": record["site"],
        "answers": [{"votes": answer["score"], "text": answer["body"]} for answer in answers],
    }


def gsm8k(record: Mapping, name: str, number: int) -> Row:
    """The worked solution without its <<calculator>> marks; the answer is what follows ####."""
    solution = _CALCULATOR.sub("", record["answer"])
    # Thousands separators would make the same number another text.
    answer = solution.rpartition("####")[2].strip().replace(",", "")
    return {"prompt": record["question"], "response": solution, "answer": answer, "domain": "math"}


def mbpp(record: Mapping, name: str, number: int) -> Row:
    """Task, reference code and its asserts; `id` is MBPP's task number."""
    return {
        "id": record["task_id"],
        "prompt": record["text"],
        "response": record["code"].replace("\r\n", "\n"),
        "tests": list(record["test_list"]),
        "setup": record.get("test_setup_code", ""),
        "domain": "code",
    }


def math_train(record: Mapping, name: str, number: int) -> Row:
    return {
        "prompt": record["problem"],
        "answer": record["answer"],
        "difficulty": record["difficulty"],
        "domain": "math",
    }


def self_instruct(record: Mapping, name: str, number: int) -> Row:
    """The first instance of a human-written instruction."""
    first = record["instances"][0]
    prompt = "\n\n".join(part for part in (record["instruction"], first["input"]) if part)
    return {"prompt": prompt, "response": first["output"], "domain": "general"}


def dolly(record: Mapping, name: str, number: int) -> Row:
    """The instruction without its Alpaca wrapper."""
    prompt = record["prompt"].partition("### Instruction:\n")[2].rpartition("\n\n### Response:")[0]
    return {"prompt": prompt, "response": record["response"], "domain": "general"}


def glaive(record: Mapping, name: str, number: int) -> Row:
    """A conversation with tool calls as chat messages, from either of the two layouts of the set. One that
    cannot be read becomes a row without messages that says why in "left_out"."""
    # Two layouts of the set: turns as they are, or messages made of typed parts.
    turns = record.get("conversations") or [_glaive_turn(turn) for turn in record.get("messages") or ()]
    try:
        messages, tools = conversation({"messages": turns, "tools": record.get("tools")}, f"{name}[{number}]")
    except ValueError as error:
        return {"messages": [], "tools": [], "domain": "agent", "left_out": str(error)}
    return {"messages": messages, "tools": tools or [], "domain": "agent"}


def _glaive_turn(turn: Mapping) -> Row:
    """A message from parts {"type": text, reasoning or tool_call, "value"}."""
    if not isinstance(turn.get("content"), list):
        return dict(turn)
    parts: dict[str, list[str]] = {"text": [], "reasoning": [], "tool_call": []}
    for part in turn["content"]:
        parts.setdefault(part["type"], []).append(part["value"])
    # A part of an unknown kind is handed on, so that `conversation` refuses it with its place.
    if unknown := set(parts) - {"text", "reasoning", "tool_call"}:
        return {"role": turn["role"], "content": [{"type": kind} for kind in sorted(unknown)]}
    message = {"role": turn["role"], "content": "\n".join(parts["text"])}
    if parts["reasoning"]:
        message["reasoning_content"] = "\n".join(parts["reasoning"])
    if parts["tool_call"]:
        message["tool_calls"] = f"[{','.join(parts['tool_call'])}]"  # each is JSON
    return message


def dpo_mix(record: Mapping, name: str, number: int) -> Row:
    """`prompt` joins all turns before the answers; `messages` keeps them apart with their roles."""
    messages, _ = conversation(record["conversations"], f"{name}[{number}]")
    prompt = "\n\n".join(message["content"] for message in messages)
    pair = {"chosen": record["chosen"]["value"], "rejected": record["rejected"]["value"]}
    return {"prompt": prompt, **pair, "messages": messages}


def politeness(record: Mapping, name: str, number: int) -> Row:
    prompt = "\n\n".join(part for part in (record["instruction"], record["input"]) if part)
    return {"prompt": prompt, "chosen": record["chosen"], "rejected": record["rejected"]}


def argument_pair(record: Mapping, name: str, number: int) -> Row:
    """A human-labelled pair, joined with the texts of both arguments by sources._argument_pairs."""
    topic = record["topic"].replace("-", " ").replace("_", ": ")
    prompt = f"Argue your side convincingly. {topic}"
    return {"prompt": prompt, "chosen": record["chosen"], "rejected": record["rejected"]}


def choices(record: Mapping, name: str, number: int) -> Row:
    """Multiple choice: `answer` is the text of the right choice, `gold` its index."""
    options = list(record.get("choices") or (record["option1"], record["option2"]))
    gold = record["gold"] if "gold" in record else record["answer"]
    if isinstance(gold, list):  # LAMBADA: the word itself
        gold = options.index(gold[0])
    question = next(record[key] for key in ("query", "question", "sentence") if key in record)
    extra = {"domain": record["subject"]} if "subject" in record else {}
    return {"question": question, "answer": options[gold], "choices": options, "gold": gold, **extra}


def blimp(record: Mapping, name: str, number: int) -> Row:
    """A minimal pair: the acceptable sentence, then the other."""
    pair = [record["sentence_good"], record["sentence_bad"]]
    row = {"question": "Which sentence is acceptable?", "answer": pair[0], "choices": pair, "gold": 0}
    return {**row, "domain": record["UID"]}


def open_question(record: Mapping, name: str, number: int) -> Row:
    """An evaluation record with one question and at most one answer, whatever their names; the rest stays."""
    fields = dict(record)
    # A question's name differs from set to set; the order here is that of preference.
    question = fields.pop(next(key for key in _QUESTIONS if key in fields))
    key = next((key for key in _ANSWERS if key in fields), None)
    answer = fields.pop(key) if key else None
    if isinstance(question, list):  # several turns: the first is the question
        fields["turns"], first = question, question[0]
        question = first[0]["content"] if isinstance(first, list) else first
    return {**fields, "question": question, "answer": answer}


def cruxeval(record: Mapping, name: str, number: int) -> Row:
    question = f"{record['code']}\n\nWhat does f({record['input']}) return?"
    return {"question": question, "answer": record["output"], "id": record["id"], "domain": "code"}
