"""How good a response is, from 0 to 1: near misses get a part. Used by 05, where a student's response must be
*clearly* worse than the teacher's.

    code    the share of its calls that come out right
    tool    0.5 for a call of the right tool with other arguments
    others  right or wrong

1 is exactly what `verify` calls right.
"""

from nbkit.data.skills import InfraError, Task, final_answer, parse_tool_call, verify
from nbkit.verify.code import Call, extract_code, grade

RIGHT_TOOL = 0.5


def partial_credit(task: Task, response: str, jail) -> float:
    """Score of a response to a task that can be checked. Raises as `verify` does."""
    if verify(task, response, jail):
        return 1.0
    answer = final_answer(response)
    if task.kind == "tool":
        called, wanted = parse_tool_call(answer), parse_tool_call(task.answer)
        return RIGHT_TOOL if called and wanted and called["name"] == wanted["name"] else 0.0
    if task.kind == "code":
        code = extract_code(answer)
        results = [grade(jail, code, task.entry, [Call(list(args), value)]) for args, value in task.calls]
        if failed := [result for result in results if result.status == "infra"]:
            raise InfraError(f"the jail could not grade a {task.skill} answer: {failed[0].detail}")
        passed = sum(result.status == "pass" for result in results) / len(results)
        return min(passed, 1 - 1 / (2 * len(results)))  # all alone but not together: not right
    return 0.0
