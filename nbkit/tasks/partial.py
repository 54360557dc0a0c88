"""How good a response is, from 0 to 1: near misses get a part. Used by 05, where a student's response must be
*clearly* worse than the teacher's.

    code    the share of its calls that come out right
    tool    0.5 for calls of the right tools with other arguments
    gym     what the library gives (reasoning-gym)
    others  right or wrong

1 is exactly what `verify` calls right.
"""

from nbkit.tasks.skills import Task, library_score, program, verify, wanted_calls
from nbkit.text.tool_calls import called, same_tools
from nbkit.verify.code.blocks import extract_code
from nbkit.verify.code.grade import Call, share_passed

RIGHT_TOOL = 0.5


def partial_credit(task: Task, response: str, jail) -> float:
    """Score of a response to a task that can be checked. Raises as `verify` does."""
    if task.kind == "code" and jail is not None:
        calls = [Call(list(arguments), expected) for arguments, expected in task.calls]
        return share_passed(jail, extract_code(program(response), task.entry), task.entry, calls)
    if task.kind == "gym":
        return library_score(task, response)
    if verify(task, response, jail):
        return 1.0
    if task.kind == "tool" and same_tools(called(response), wanted_calls(task)):
        return RIGHT_TOOL
    return 0.0
