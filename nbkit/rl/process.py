"""Rewards for the steps of a chain, and ways to decide that an answer is right. Used by rewards.py and 06.

A question of the embedded world carries its worked solution, so a chain can be checked step by step:

    step_credit(task, "<think>40 + 10 = 50\\n7 + 5 = 13</think>63")   # 0.5: the first of two steps holds

What decides about the answer itself is a parameter: the same text ("string"), the exact paths of
`nbkit.verify` ("exact": numbers, units, formulas, calls, programs), or these and then an agent with Python
("agentic"), who computes where reading was not enough.
"""

import json
from collections import Counter
from collections.abc import Callable
from fractions import Fraction

from nbkit.tasks.skills import Task, final_answer, verify
from nbkit.text.chat import split_thought
from nbkit.text.equations import given, numbers, operands, stated
from nbkit.verify import agent, extract_answer
from nbkit.verify.errors import GraderError

CHECKS = ("string", "exact", "agentic")


def step_credit(task: Task, text: str) -> float:
    """Share of the chain that holds, 0 to 1: its lines up to the first that does not, over the number of
    steps of the worked solution (or of its own lines, if these are more: what is added pays nothing). A line
    holds if it is the solution's step at that place, or if its equations are true and each arrives at a
    result of the solution from numbers of the question or of lines before. Each result counts once, and none
    after the last one: true equations about something else pay nothing, nor does "63 + 0 = 63". 1.0 for a
    task without steps."""
    if not task.steps:
        return 1.0
    lines = [line.strip() for line in (split_thought(text)[0] or "").split("\n") if line.strip()]
    solved = [_result(equation) for equation, _ in stated(task.chain)]
    left, known, good = Counter(solved), set(numbers(task.question)), 0
    for place, line in enumerate(lines):
        # After the last result no equation leads anywhere.
        if stated(line) and solved and not left[solved[-1]]:
            break
        as_solved = place < len(task.steps) and line == task.steps[place]
        reached = _reached(line, known, as_solved, line in task.steps)
        # Results are used up as lines arrive at them.
        if reached is None or Counter(reached) - left:
            break
        left -= Counter(reached)
        known |= set(numbers(line))
        good += 1
    return min(good, len(task.steps)) / max(len(task.steps), len(lines))


def _reached(line: str, known: set[Fraction], as_solved: bool, a_step: bool) -> list[Fraction] | None:
    """The results of a line's equations, None where one does not hold. `a_step`: a step of the solution at
    another place may arrive at a number that stood there before (10 - 5 = 5), other lines may not."""
    found, known = stated(line), set(known)
    if as_solved:
        return [_result(equation) for equation, _ in found]
    for equation, holds in found:
        parts = [Fraction(text) for text in operands(equation.rpartition("=")[0])]
        # From the question: constants alone (1 + 1 = 2) come from nowhere.
        from_known = all(given(n, known) for n in parts) and any(given(n, known, ()) for n in parts)
        if not (holds and from_known and (a_step or _result(equation) not in known)):
            return None
        known.add(_result(equation))
    return [_result(equation) for equation, _ in found] or None


def _result(equation: str) -> Fraction:
    return numbers(equation.rpartition("=")[2])[-1]


def same_text(task: Task, text: str, jail=None) -> bool:
    """Is the final answer the reference, word by word? Programs and calls have no such check: `verify`."""
    if task.kind in ("code", "tool"):
        return verify(task, text, jail)
    return final_answer(text).split() == task.answer.split()


def check_of(name: str) -> Callable[[Task, str, object], bool]:
    """The check that one of CHECKS names; "agentic" with the agent that needs no language model. Raises
    ValueError for another name."""
    known = {"string": same_text, "exact": verify, "agentic": agentic(computing)}
    if name not in known:
        raise ValueError(f"verifier: got {name!r}, wanted one of {', '.join(CHECKS)}")
    return known[name]


def agentic(model: agent.Model) -> Callable[[Task, str, object], bool]:
    """`verify`, and where that says no to a number or formula, the judgement of `model` with its tool. It may
    overrule a no only: what the exact paths accept needs no opinion."""

    def check(task: Task, text: str, jail) -> bool:
        if verify(task, text, jail):
            return True
        answer = final_answer(text) if task.kind == "number" else extract_answer(text)
        if task.kind not in ("number", "math") or not answer.strip():
            return False
        judgement = agent.judge(answer, task.answer, model, jail)
        if judgement.status == "infra":
            raise GraderError(f"the agentic verifier failed: {judgement.reason}")
        return judgement.status == "pass"

    return check


def computing(messages: list[dict]) -> str:
    """The agent without a language model: it simplifies the difference of the two answers with the tool, and
    says what came out. For `agentic(computing)`; an endpoint takes its place with
    `nbkit.verify.agent.from_endpoint`."""
    if messages[-1]["content"].strip() in ("True", "False"):
        return f"<verdict>{'equal' if messages[-1]['content'].strip() == 'True' else 'different'}</verdict>"
    if len(messages) > 2:  # the tool failed: it could not be read as mathematics
        return "<verdict>different</verdict>"
    ours, wanted = (line.partition(": ")[2] for line in messages[1]["content"].split("\n")[:2])
    program = (
        "from sympy.parsing.sympy_parser import parse_expr, standard_transformations, "
        "implicit_multiplication_application, convert_xor\n"
        "how = (*standard_transformations, implicit_multiplication_application, convert_xor)\n"
        f"a, b = (parse_expr(text, transformations=how) for text in ({ours}, {wanted}))\n"
        "print((a - b).equals(0))"
    )
    return f"<tool_call>{json.dumps({'name': 'python', 'arguments': {'code': program}})}</tool_call>"
