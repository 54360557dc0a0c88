"""Rewards for the steps of a chain, and ways to decide that an answer is right. Used by rewards.py and 06.

A question of the embedded world carries its worked solution, so a chain can be checked step by step:

    step_credit(task, "<think>40 + 10 = 50\\n7 + 5 = 13</think>63")   # 0.5: the first of two steps holds

What decides about the answer itself is a parameter: the same text ("string"), the exact paths of
`nbkit.verify` ("exact": numbers, units, formulas, calls, programs), or these and then an agent with Python
("agentic"), who computes where reading was not enough.
"""

import json
from collections.abc import Callable

from nbkit.tasks.skills import Task, final_answer, verify
from nbkit.text.chat import split_thought
from nbkit.text.equations import stated
from nbkit.verify import agent, extract_answer
from nbkit.verify.errors import GraderError

CHECKS = ("string", "exact", "agentic")


def step_credit(task: Task, text: str) -> float:
    """Share of the chain that holds, 0 to 1: its lines up to the first that does not, over the number of
    steps of the worked solution (or of its own lines, if these are more: what is added pays nothing). A line
    holds if it is the solution's step at that place, or if it is new, its equations are true and arrive at
    results of the solution: true equations about something else pay nothing. 1.0 for a task without steps."""
    if not task.steps:
        return 1.0
    lines = [line.strip() for line in (split_thought(text)[0] or "").split("\n") if line.strip()]
    results = {_result(equation) for equation, _ in stated(task.chain)}
    good = 0
    for place, line in enumerate(lines):
        as_solved = place < len(task.steps) and line == task.steps[place]
        if not as_solved and (line in lines[:place] or not _arrives(line, results)):
            break
        good += 1
    return min(good, len(task.steps)) / max(len(task.steps), len(lines))


def _arrives(line: str, results: set[str]) -> bool:
    found = stated(line)
    return bool(found) and all(holds and _result(equation) in results for equation, holds in found)


def _result(equation: str) -> str:
    return equation.rpartition("=")[2].strip()


def same_text(task: Task, text: str, jail=None) -> bool:
    """Is the final answer the reference, word by word? Programs and calls have no such check: `verify`."""
    if task.kind in ("code", "tool"):
        return verify(task, text, jail)
    return final_answer(text).split() == task.answer.split()


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
