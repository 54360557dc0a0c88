"""What each item of a checklist asks of a draft by form and tools: one check per kind. Used by critique.py.

A check is given the draft, its chain, its answer, what the item asks for and the jail; it returns what is
wrong in words, "" where nothing is. Drafts are text of a model: none makes a check raise, all are read in
linear time.
"""

import ast
import json
import re
import warnings
from fractions import Fraction

from nbkit.refine.checklist import BRACKETS
from nbkit.text.chat import split_thought
from nbkit.text.equations import numbers, stated
from nbkit.text.tool_calls import called
from nbkit.verify.answers.extract.answer import extract_answer
from nbkit.verify.code.blocks import extract_code
from nbkit.verify.code.grade import grade
from nbkit.verify.code.suites import mbpp_calls
from nbkit.verify.errors import settled
from nbkit.verify.jail.results import CallError

_LONGEST_PROGRAM = 100_000  # characters; the parser of Python takes minutes for some longer ones
_SAMPLES = (3, [2, 1], "ab")  # one input that a function accepts will do: its type is unknown


def last_number(text: str) -> Fraction | None:
    return next(reversed(numbers(text)), None)


def parsed(code: str, mode: str = "exec") -> ast.Module | ast.Expression | None:
    """The syntax tree of a program of a model, which may be anything; None where it is no program."""
    if len(code) > _LONGEST_PROGRAM:
        return None
    try:
        with warnings.catch_warnings():  # an invalid escape in a model's string is no news for the reader
            warnings.simplefilter("ignore")
            return ast.parse(code, mode=mode)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def _arithmetic(draft, chain, answer, value, jail) -> str:
    wrong = [equation for equation, holds in stated(draft.text) if not holds]
    return f"{wrong[0]} is false" if wrong else ""


def _reasons(draft, chain, answer, value, jail) -> str:
    # One chain, at the start, and no second one in the answer.
    good = draft.text.startswith("<think>") and chain and split_thought(answer)[0] is None
    return "" if good else "no reasoning"


def _number(draft, chain, answer, value, jail) -> str:
    return "" if last_number(extract_answer(answer)) is not None else "not a number"


def _supported(draft, chain, answer, value, jail) -> str:
    """The last step must name the answer's number, if the chain has any equation."""
    # A chain without equations (a lookup, a choice) has no last step to compare with.
    answered, ends = last_number(extract_answer(answer)), numbers(chain.split("\n")[-1])
    if answered is None or not ends or "=" not in chain:
        return ""
    return "" if answered in ends else f"the steps do not end in {answered}"


def _unit(draft, chain, answer, value, jail) -> str:
    other = re.search(r"\d ?([A-Za-z]+(?:/\w+)?)\b", answer)
    return f"the unit is {value[0]}" if other and other[1] != value[0] else ""


def _items(draft, chain, answer, value, jail) -> str:
    got = answer.split(", ") if ", " in answer else answer.split()
    return "" if sorted(got) == sorted(value) else "other items"


def _ascending(draft, chain, answer, value, jail) -> str:
    found = numbers(answer)
    return "" if found == sorted(found) else "not in order"


def _copies(draft, chain, answer, value, jail) -> str:
    words = answer.split()
    return "" if len(words) == int(value[0]) and len(set(words)) == 1 else f"not {value[0]} times"


def _literal(draft, chain, answer, value, jail) -> str:
    tree = parsed(answer, "eval")
    try:
        # "" for what does not parse: literal_eval refuses it as it refuses a call or a name.
        ast.literal_eval(tree or "")
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return "not a Python value"
    return ""


def _wrapped(draft, chain, answer, value, jail) -> str:
    left, right = BRACKETS[value[0]]
    return (
        "" if answer.startswith(left) and answer.endswith(right) and len(answer) > 2 else f"not in {value[0]}"
    )


def _tool(draft, chain, answer, value, jail) -> str:
    return "" if len(called(draft.text) or ()) == 1 else "must call a tool"


def _known_tool(draft, chain, answer, value, jail) -> str:
    """Text may be the right answer too: a question back, or a refusal."""
    if "<tool_call>" not in answer:
        return ""
    # A marked call that cannot be read counts as a call of no known tool.
    calls = called(draft.text) or [{"name": None}]
    return "" if all(call["name"] in value for call in calls) else f"calls none of {', '.join(value)}"


def _function(answer: str, name: str) -> ast.FunctionDef | None:
    tree = parsed(extract_code(answer))
    body = tree.body if tree else []
    return next((node for node in body if isinstance(node, ast.FunctionDef) and node.name == name), None)


def _defines(draft, chain, answer, value, jail) -> str:
    return "" if _function(answer, value[0]) else f"must define {value[0]}"


def _runs(draft, chain, answer, value, jail) -> str:
    function = _function(answer, value[0])
    # The types of the arguments are unknown: numbers, a list and a text are tried in turn.
    count = len(function.args.args) if function else 1
    code = extract_code(answer)
    # The jail's own failure must not count against the draft.
    results = [settled(jail.call(code, value[0], [[sample] * count]), "run a draft") for sample in _SAMPLES]
    ran = any(r.status == "ok" and not isinstance(r.values[0], CallError) for r in results)
    return "" if ran else "does not run"


def _tests(draft, chain, answer, value, jail) -> str:
    tests = mbpp_calls(value)
    if tests is None:
        return ""  # a test that cannot be run without trusting the program says nothing
    verdict = grade(jail, extract_code(answer), *tests)
    return (
        ""
        if settled(verdict, "test a draft").status == "pass"
        else f"fails: {verdict.detail[:80] or value[0]}"
    )


CHECKS = {
    "finished": (lambda d, c, a, v, j: "" if d.stopped and a else "not finished", "form"),
    "reasons": (_reasons, "form"),
    "arithmetic": (_arithmetic, "tool"),
    "number": (_number, "form"),
    "supported": (_supported, "tool"),
    "unit": (_unit, "form"),
    "choice": (
        lambda d, c, a, v, j: "" if a.strip(".").lower() in v else f"not one of {', '.join(v)}",
        "form",
    ),
    "items": (_items, "tool"),
    "ascending": (_ascending, "tool"),
    "first": (lambda d, c, a, v, j: "" if re.split(r"[, ]", a)[0] == v[0] else f"begins with {v[0]}", "tool"),
    "copies": (_copies, "tool"),
    "literal": (_literal, "tool"),
    "wrapped": (_wrapped, "form"),
    "letter": (lambda d, c, a, v, j: "" if len(a) == 1 and a in v[0] else "not one letter of it", "form"),
    "tool": (_tool, "form"),
    "known tool": (_known_tool, "form"),
    "defines": (_defines, "tool"),
    "runs": (_runs, "tool"),
    "tests": (_tests, "tool"),
    "at most words": (
        lambda d, c, a, v, j: "" if len(a.split()) <= int(v[0]) else f"over {v[0]} words",
        "form",
    ),
    "json": (lambda d, c, a, v, j: "" if _is_json(a) else "not JSON", "form"),
}


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True
