"""Is an answer right? The verifiers of the table, each a function of (question, text, form, jail). Used by
run.py; answers that another model judges: judge.py.

    with Jail() as jail:
        mark(benchmark("gsm8k"), item, "so 6 * 3 = \\\\boxed{18}", "chat", jail)    # Mark(value=1.0, ...)
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from nbkit.evals.bench.readers import Item
from nbkit.evals.bench.table import Benchmark
from nbkit.tasks.skills import program, verify
from nbkit.text.chat import END_THINK, THINK, split_thought
from nbkit.text.tool_calls import called
from nbkit.verify import gym
from nbkit.verify.answers.compare import equivalent
from nbkit.verify.answers.extract.answer import extract_answer
from nbkit.verify.code.blocks import extract_code
from nbkit.verify.code.grade import grade_check
from nbkit.verify.code.pieces import parse
from nbkit.verify.code.suites import grade_humaneval, grade_mbpp, mbpp_calls
from nbkit.verify.errors import GraderError, settled
from nbkit.verify.instructions import checks
from nbkit.verify.tool_answers import calls_match

# Verifiers that run code, or formulas.
WITH_JAIL = ("answer", "letter", "world", "humaneval", "mbpp", "check")
# What lm-evaluation-harness leaves out before it compares two numbers.
_IGNORED = (re.compile(","), re.compile(r"\$"), re.compile("(?s).*#### "), re.compile(r"\.$"))


@dataclass(frozen=True)
class Mark:
    """What an answer is worth: 1 right, 0 wrong, between them where a judge grades; None where nobody could
    say, and `detail` tells why. `also`: marks by other rules."""

    value: float | None
    also: Mapping[str, list[float]] = field(default_factory=dict)
    detail: str = ""


def mark(bench: Benchmark, item: Item, text: str, form: str, jail=None) -> Mark:
    """The mark of one answer. Never raises on a text of a model; a grader that failed gives a Mark without a
    value. Raises ValueError where the question itself cannot be used (such as an unknown instruction)."""
    also = {name: [_by_pattern(item, text, **how)] for name, how in bench.also.items()}
    # A thought that was cut off has committed to nothing yet.
    if text.lstrip().startswith(THINK) and END_THINK not in text:
        return Mark(0.0, also | NOTHING.get(bench.verifier, {}), "the chain of thought did not end")
    try:
        value, more, *detail = VERIFIERS[bench.verifier](item, text, form, jail)
    except GraderError as error:
        return Mark(None, {}, str(error))
    return Mark(float(value), also | more, "".join(detail))


def _by_pattern(item: Item, text: str, regex: str, pick: int) -> float:
    """Exact match of what a regular expression finds, as lm-evaluation-harness scores it."""
    found = re.findall(regex, text)
    chosen = found[pick] if found else "[invalid]"
    if isinstance(chosen, tuple):
        chosen = next((part for part in chosen if part), "[invalid]")
    return float(_compared(chosen.strip()) == _compared(str(item.answer)))


def _compared(text: str) -> str:
    for pattern in _IGNORED:
        text = pattern.sub("", text)
    return text.lower()


def _answer(item: Item, text: str, form: str, jail) -> tuple[bool, dict]:
    return equivalent(extract_answer(text), str(item.answer), jail), {}


def _stated(item: Item, text: str, form: str, jail) -> tuple[bool, dict]:
    """BBH: what follows the first "the answer is", without the point at its end."""
    found = re.search(r"the answer is (.*)", split_thought(text)[1])
    said = found[1].strip().removesuffix(".").strip() if found else ""
    return said == str(item.answer).strip(), {}


def _humaneval(item: Item, text: str, form: str, jail) -> tuple[bool, dict]:
    """A base model continues the function; a chat writes it anew."""
    code = text if form == "base" else extract_code(program(text), item.answer["entry_point"])
    return settled(grade_humaneval(jail, code, item.answer), "grade HumanEval").status == "pass", {}


def _mbpp(item: Item, text: str, form: str, jail) -> tuple[bool, dict]:
    parsed = mbpp_calls(item.answer["test_list"])
    code = text if form == "base" else extract_code(program(text), parsed[0] if parsed else "")
    return settled(grade_mbpp(jail, code, item.answer), "grade MBPP").status == "pass", {}


def _check(item: Item, text: str, form: str, jail) -> tuple[bool, dict]:
    """Asserts about the first function that the set's own solution defines."""
    tree = parse(item.answer["solution"])
    names = [node.name for node in (tree.body if tree else ()) if hasattr(node, "name")]
    if not names:
        raise GraderError("the set's solution defines no function that its test could call")
    lines = "\n    ".join(item.answer["test"].strip().split("\n"))
    test = f"def check(candidate):\n    {names[0]} = candidate\n    {lines}"
    code = extract_code(program(text), names[0])
    return settled(grade_check(jail, code, names[0], test), "grade Fullstack-Bench").status == "pass", {}


def _tools(item: Item, text: str, form: str, jail) -> tuple[bool, dict]:
    calls = called(text) or []
    if "any" in item.answer:
        return bool(calls) == item.answer["any"], {}
    return calls_match(calls, item.answer["calls"], item.answer["functions"]), {}


def _gym(item: Item, text: str, form: str, jail) -> tuple[bool, dict, str]:
    """Right at full marks only; what the library gives for near misses stands beside it."""
    found = gym.score(item.extra["entry"], gym.said(text, gym.is_number(item.answer)))
    part = f"the library scores it {found.value:.3g}" if 0 < found.value < 1 else found.detail
    return found.value >= 1.0, {"mean score": [found.value]}, part


def _world(item: Item, text: str, form: str, jail) -> tuple[bool, dict]:
    return verify(item.extra["task"], text, jail), {}


# The other marks of an answer that never came to its end.
NOTHING = {"instructions": {"prompt, loose": [0.0]}, "gym": {"mean score": [0.0]}}


def _instructions(item: Item, text: str, form: str, jail) -> tuple[bool, dict]:
    answer, key = split_thought(text)[1], item.answer
    follow = checks.strict(answer, key["instructions"], key["kwargs"])
    loosely = checks.loose(answer, key["instructions"], key["kwargs"])
    more = {"instruction, strict": follow, "instruction, loose": loosely, "prompt, loose": [all(loosely)]}
    return all(follow), {name: [float(one) for one in marks] for name, marks in more.items()}


# Each gives: right or wrong, other marks, and where there is something to say, why.
VERIFIERS: dict[str, Callable[[Item, str, str, object], tuple]] = {
    "answer": _answer,
    "letter": _answer,
    "stated": _stated,
    "humaneval": _humaneval,
    "mbpp": _mbpp,
    "check": _check,
    "tools": _tools,
    "instructions": _instructions,
    "gym": _gym,
    "world": _world,
}
