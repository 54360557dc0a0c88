"""No text of a model may raise in the trainer or take more than linear time, whatever reads it.

Every public entry that reads such text stands in ENTRIES; each reads every text of HOSTILE, and what
hypothesis makes up, against a clock. The bound is generous: linear readers take milliseconds for these texts,
quadratic ones minutes, exponential ones for ever. It counts time on the processor, so that a busy machine
changes nothing.
"""

import contextlib
import json
import time

import pytest
import tiny
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nbkit.dpd.pairs import broken_rule, pair_up
from nbkit.evals import chains, reasoning
from nbkit.filter.annotators import InvalidAnswer, parse_scores
from nbkit.models import replies
from nbkit.models.engine import Completion, render
from nbkit.models.engines import _from_answer
from nbkit.refine import reconstruct, teacher_data
from nbkit.refine.checklist import BRACKETS, Item, checklist
from nbkit.refine.critique import Critique, Review, committed, inspect, judge, split_response, vote
from nbkit.refine.prompts import GENERAL, flat, judge_request, revision_request
from nbkit.rl import judge as preference
from nbkit.sft.sft import encode
from nbkit.tasks import partial, world
from nbkit.tasks.skills import Task, final_answer, program, verify
from nbkit.text import equations
from nbkit.text.chat import split_thought
from nbkit.text.tool_calls import called, parse_tool_call, parse_tool_calls, tool_call
from nbkit.verify import extract_answer, extract_code, gym, verdict

BOUND_S = 5.0
CALL = Task("s", "agent", 1, "train", "q", (), tool_call("f", city="Paris"), "tool")
WORDS = Task("s", "general", 1, "train", "q", ("a step", "2 + 2 = 4"), "four", "text")
BARE = Task("s", "math", 1, "train", "q", (), "four", "text")
NUMBER = Task("s", "math", 1, "train", "q", (), "4", "number")
CODE = Task("s", "code", 1, "train", "q", (), "def f(x): return x", "code", (((1,), 1),), "f")
ITEMS = [Item(kind) for kind in ("finished", "reasons", "arithmetic", "number", "supported", "ascending")]
ITEMS += [Item(kind) for kind in ("literal", "tool", "json")]
ITEMS += [Item("wrapped", (name,)) for name in BRACKETS]
ITEMS += [
    Item("unit", ("km",)), Item("choice", ("a", "b")), Item("items", ("a", "b")), Item("first", ("a",)),
    Item("copies", ("3",)), Item("letter", ("abc",)), Item("known tool", ("f",)), Item("defines", ("f",)),
    Item("at most words", ("9",)), Item("judged", ("is kind",)),
]  # fmt: skip


class Says:
    """An engine whose model always gives this text."""

    def __init__(self, text: str):
        self.text = text

    def sample(self, prompts, n=1, *arguments, **options):
        return [[Completion(self.text, [1], logprobs=[-0.1])] * n for _ in prompts]


def said(**message) -> bytes:
    return json.dumps({"choices": [{"message": message, "finish_reason": "stop"}]}).encode()


def with_arguments(text: str) -> str:
    return f'<tool_call>{{"name": "f", "arguments": {text}}}</tool_call>'


def review(text: str) -> Review:
    return Review(text, "a", True, (Critique("is right", "judge", 0.0, text),))


def scores(text: str) -> None:
    with contextlib.suppress(InvalidAnswer):  # its way to say that there are none
        parse_scores(text)


ENTRIES = {
    "tool_calls.called": called,
    "tool_calls.parse_tool_call": parse_tool_call,
    "tool_calls.parse_tool_calls": lambda t: parse_tool_calls(f"<tool_call>{t}</tool_call>"),
    "tool_calls, an argument": lambda t: called(with_arguments(f'{{"a": {t}}}')),
    "skills.final_answer": final_answer,
    "skills.program": program,
    "skills.verify, a call": lambda t: verify(CALL, t),
    "skills.verify, an argument": lambda t: verify(CALL, with_arguments(t)),
    "skills.verify, a text": lambda t: verify(WORDS, t),
    "partial.partial_credit": lambda t: partial.partial_credit(CALL, f"<tool_call>{t}</tool_call>", None),
    "equations.stated": equations.stated,
    "equations.equations, with a right side": lambda t: equations.equations(f"{t} 1 + 1 = {t}"),
    "reasoning.chain": reasoning.chain,
    "reasoning.well_formed": lambda t: reasoning.well_formed(f"<think>{t}", True),
    "chains.leads": lambda t: chains.leads(WORDS, t, t),
    "chains.leads, no reference": lambda t: chains.leads(BARE, f"2 + 2 = 4\n1 + 1 = 2 {t}", t),
    "critique.split_response": split_response,
    "critique.committed, a number": lambda t: committed(t, [Item("number")]),
    "critique.committed, a program": lambda t: committed(t, [Item("defines", ("f",))]),
    "critique.committed": lambda t: committed(t, ()),
    "critique.inspect": lambda t: inspect(ITEMS, Completion(t), None),
    "critique.inspect, a chain": lambda t: inspect(ITEMS, Completion(f"<think>{t} = 1</think>1"), None),
    "critique.judge": lambda t: judge(Says(t), ["q"], [ITEMS], 9),
    "critique.judge, items": lambda t: judge(Says(f"{t}: met\n1{t}: unmet\nright {t}"), ["q"], [ITEMS], 9),
    "critique.vote": lambda t: vote([t, "a", t], [1.0, 0.5, 0.0], 3),
    "checklist": checklist,
    "checklist, words around": lambda t: checklist(f"Which is larger, {t} or {t}? Repeat {t} times", [t]),
    "checklist, tools": lambda t: checklist(f"Tools:\n{t}\n{t}"),
    "reconstruct.parse": lambda t: reconstruct.parse(f"Summary: {t}<think>{t}</think>"),
    "prompts.flat": flat,
    "prompts.revision_request": lambda t: revision_request("q", review(t), GENERAL),
    "prompts.judge_request": lambda t: judge_request("q", t, ITEMS, GENERAL),
    "roles.first_fault": lambda t: teacher_data.first_fault(WORDS, t),
    "world.responded": lambda t: world.responded(CALL, t),
    "annotators.parse_scores": scores,
    "annotators.parse_scores, a value": lambda t: scores(f'{{"clarity": {t}}}'),
    "replies.read": lambda t: replies.read(said(content=t, reasoning=t)),
    "replies.read, raw": lambda t: replies.read(t.encode(errors="replace")),
    "replies.read, a call": lambda t: replies.read(said(tool_calls=[{"name": "f", "arguments": t}])),
    "replies.hidden_error": lambda t: replies.hidden_error(json.dumps({"error": t}).encode()),
    "replies.refused_parameter": lambda t: replies.refused_parameter(
        replies.Failure("HTTP 400", f"unsupported {t}"), {"stop": t, "seed": 1}
    ),
    "engines, an answer": lambda t: _from_answer(replies.Reply(t, "stop", 1, 1, reasoning=t), 9, 0),
    "verify.extract_answer": extract_answer,
    "verify.extract_code": extract_code,
    "verify.extract_code, an entry": lambda t: extract_code(f"```python\n{t}\n```\n{t}", "f"),
    "verify.extract_code, tags": lambda t: extract_code(f"<code>{t}</code>{t}<code>\n{t}"),
    "verify.extract_code, indented": lambda t: extract_code(f"{t}\n\n    {t}\n\n    def f(): {t}"),
    "verify.extract_code, imports": lambda t: extract_code(f"import a\nb = {t!r}\na.b\n{t}\n\na.b", "b"),
    "chat": lambda t: split_thought(f"<think>{t}</think>'{t}"),
    "chat, not opened": lambda t: split_thought(f"{t}\n```{t}"),
    "verify.verdict": lambda t: verdict(t, "5"),
    "verify.verdict, a reference": lambda t: verdict("5", t),
    "verify.verdict, words behind": lambda t: verdict(f"5 ({t})", "5"),
    "gym.said": lambda t: gym.said(f"<answer>{t}</answer>{t}", False),
    "skills.verify, a number": lambda t: verify(NUMBER, f"Answer: {t}"),
    "preference.conversations": lambda t: preference.conversations([dict(prompt=t, chosen=t, rejected="b")]),
    "pairs": lambda t: broken_rule(pair_up("q", [Completion(t)], [Completion("b")], [1.0], [0.0], "<e>")),
}  # fmt: skip
# Through the tokenizer: its own time is linear, but not small.
TOKENIZED = {
    "generate.render": lambda t: tiny.tokenizer()(render(tiny.tokenizer(), t)),
    "generate.render, continued": lambda t: render(
        tiny.tokenizer(), [{"role": "user", "content": t}, {"role": "assistant", "content": t}]
    ),
    "sft.encode": lambda t: encode(
        [[{"role": "user", "content": t}, world.response_turn(f"<think>{t}</think>{t}")]],
        tiny.tokenizer(),
        10**9,
    ),
}  # fmt: skip
SUSPICIOUS = [*"01,.-+*/=([{}])<>\"'`\\$#:|_\n\t\r aAé²٣漢\x00\x1b\ud800\u202e"]
UNITS = [
    "<think>", "</think>", "<tool_call>", "</tool_call>", '<tool_call>{"', "</think><tool_call>{", "Answer:",
    "\nAnswer:", "```", "```python\n", "1 + ", "1+1=", "1 + 1 = 2 ", "1,111", "1.1", "-1", "= 1", "(a ",
    "a, ",
    "a or ", "not ", "lambda:", "f(", "a.", "1 if ", '{"a":', "[[", "def f(x):\n ", "1: met\n", "right ",
    "\\boxed{", "{}\n", "\u2028", "9 km/", "x - ", "\\u0041", "\\ud800", '"a",',
]  # fmt: skip
# Worked on by Python, not by one pattern: linear, but seconds for 200 KB of all that follows.
HEAVY = ("critique.inspect", "critique.committed, ", "checklist", "chains.leads, no", "equations.equations")
HEAVY += ("verify.extract_answer",)
HOSTILE = {
    "": "",
    "5,000 digits": "9" * 5000,
    "5,000 digits as a step": "1 + " + "9" * 5000 + " = " + "9" * 5000,
    "5,000 digits, numbered": "9" * 5000 + ": met",
    "nested lists": "[" * 100_000 + "]" * 100_000,
    "nested objects": '{"a":' * 50_000 + "1" + "}" * 50_000,
    "a long product": "9*" * 20_000 + "9 = 9",
    "sums of fractions": " + ".join(f"1/{n}" for n in range(3, 5000)) + " = 1",
    "spaced sum without result": "1 + " * 20_000 + "1 =",
    "infinities": '{"a": NaN, "b": Infinity, "c": 1e999, "d": -1e-999}',
    "a long word": "a" * 100_000 + " or b",
    "surrogates": "\ud800\udfff" * 1000,
    **{f"much of {unit!r}": unit * (10_000 // len(unit)) for unit in UNITS},
}


def much(entry: str, size: int = 200_000) -> dict[str, str]:
    """`size` characters of each suspicious one; less for what reads more than once."""
    size = size // 20 if entry.startswith(HEAVY) else size
    return {f"{size} of {character!r}": character * size for character in SUSPICIOUS}


def timed(read, text: str) -> float:
    start = time.process_time()
    read(text)
    return time.process_time() - start


@pytest.mark.parametrize("entry", [*ENTRIES, *TOKENIZED])
def test_no_text_raises_or_takes_long(entry):
    texts = HOSTILE | much(entry)
    if entry.startswith((*HEAVY, *TOKENIZED)):
        texts = {name: text[: 2000 if entry in TOKENIZED else 20_000] for name, text in texts.items()}
    read = (ENTRIES | TOKENIZED)[entry]
    slow = {name: seconds for name, text in texts.items() if (seconds := timed(read, text)) > BOUND_S}
    assert not slow


ALPHABET = st.sampled_from([*"0159.,-+*/=<>()[]{}\"'`\\$:;_ \n\tabxeé²\x00\ud800", *UNITS])
TEXT = st.lists(ALPHABET, max_size=40).map("".join) | st.text(max_size=60)


@settings(max_examples=50, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(text=TEXT)
def test_no_made_up_text_raises(text):
    for read in ENTRIES.values():
        read(text)
