"""Rollouts in which the policy calls Python: the tool, what is read of a turn and what it is told. Used by
grpo.py and job.py.

    user       What is 17 * 23?
    assistant  <tool_call>{"name": "python", "arguments": {"code": "print(17 * 23)"}}</tool_call>
    tool       391                             no loss: the policy did not write it
    assistant  391                             what the reward reads

TRL runs the turns (`GRPOTrainer._tool_call_loop`). Here is what it cannot know: how our chat template writes
a call, that no message and no output may spell a control token, and a jail for the programs.
"""

import contextlib
from collections.abc import Callable, Iterator, Sequence

from transformers.utils import get_json_schema

from nbkit.models.chat_ids import Rendered, token_ids
from nbkit.models.engine import render, user_turn
from nbkit.verify import JailPool, agent

START = "<|im_start|>"
# How transformers reads a turn of our chat template (`parse_response`): the form of Qwen 3's.
TURN = {
    "defaults": {"role": "assistant"},
    "start_anchor": "<|im_start|>assistant\n",
    "fields": {
        "reasoning_content": {"open": "<think>", "close_pattern": r"</think>\s*", "content": "text"},
        "tool_calls": {
            "open": "<tool_call>",
            "close_pattern": r"</tool_call>\s*",
            "repeats": True,
            "content": "json",
            "transform": {"type": "function", "function": "{content}"},
        },
        "content": {"close_pattern": r"<\|im_end\|>\s*", "content": "text"},
    },
}


def tools_of(names: Sequence[str], jails: JailPool) -> tuple[Callable, ...]:
    """The tools that `names` names, as functions. Raises ValueError for an unknown one, SandboxUnavailable
    where nothing can confine what a policy writes."""
    known = {"python": python_tool}
    if unknown := sorted(set(names) - set(known)):
        raise ValueError(f"policy_tools: got {unknown}, wanted some of {sorted(known)}")
    if names:
        jails.start()
    return tuple(known[name](jails) for name in names)


def python_tool(jails: JailPool) -> Callable[[str], str]:
    """The interpreter, in a jail. A program that fails or never ends is told to the policy as such; a jail
    that fails raises, which TRL counts in "tools/failure_frequency" and tells the policy too."""

    def python(code: str) -> str:
        """Run a Python program and see what it prints.

        Args:
            code: The program. Print what you want to see.

        Returns:
            What it printed, or why it failed.
        """
        if not isinstance(code, str):
            raise ValueError(f"code: got {type(code).__name__}, wanted a program as text")
        result = agent.run_python(code, jails)
        if result.status == "infra":
            raise RuntimeError(f"the jail failed: {result.detail}")
        return agent.in_words(result)

    return python


@contextlib.contextmanager
def parsing(tokenizer, tools: bool) -> Iterator[None]:
    """With `tools` the tokenizer reads calls in a turn, until the end of the block: it is saved as it was.
    Raises ValueError for a chat template whose turns are unlike ours."""
    before = getattr(tokenizer, "response_template", None)
    if not tools or before is not None:
        yield
        return
    if TURN["start_anchor"] not in render(tokenizer, user_turn("?")):
        raise ValueError(
            "policy_tools: the chat template of this policy does not begin a turn with "
            f"{TURN['start_anchor']!r}, and its tokenizer has no response_template that says how a call is "
            "read; set one (transformers' documentation of response parsing), or take policy_tools=[]"
        )
    tokenizer.response_template = TURN
    try:
        yield
    finally:
        tokenizer.response_template = None


def prompt_ids(tokenizer, prompts: Sequence[Sequence[dict]], tools: Sequence[Callable]) -> list[list[int]]:
    """The ids of conversations with the schemas of `tools`; no message spells a control token."""
    schemas = [get_json_schema(tool) for tool in tools]
    return [token_ids(tokenizer, render(tokenizer, {"messages": p, "tools": schemas})) for p in prompts]


def suffix_ids(tokenizer, results: Sequence[dict]) -> list[int]:
    """The ids between the end of a turn that called tools and the beginning of the next: `results`, messages
    of the role "tool"."""
    call = {"type": "function", "function": {"name": results[0]["name"], "arguments": {}}}
    turns = [*user_turn("?"), {"role": "assistant", "content": "", "tool_calls": [call]}]
    text = render(tokenizer, [*turns, *results])
    # The policy has written the token that ends its turn, and nothing behind it.
    before = len(render_closed(tokenizer, turns).rstrip())
    return token_ids(tokenizer, Rendered.of(text[before:], [cut - before for cut in text.cuts]))


def render_closed(tokenizer, turns: Sequence[dict]) -> str:
    """The turns, and no beginning of another."""
    return tokenizer.apply_chat_template(list(turns), tokenize=False, add_generation_prompt=False)


def last_turn(tokenizer) -> Callable[[Sequence[int]], list[int]]:
    """A function from the ids of a completion, results of tools and all, to those of its last turn."""
    start = tokenizer.convert_tokens_to_ids(START)
    opening = token_ids(tokenizer, TURN["start_anchor"])

    def last(ids: Sequence[int]) -> list[int]:
        ids = list(ids)
        at = max((i for i, one in enumerate(ids) if one == start), default=-1)
        return ids[at + len(opening) :] if at >= 0 else ids

    return last
