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
from dataclasses import dataclass

from transformers.utils import get_json_schema
from trl.chat_template_utils import parse_response

from nbkit.models.chat_ids import Rendered, token_ids
from nbkit.models.engine import (
    Completion,
    Generator,
    Prompt,
    completion_of,
    parts,
    render,
    sample_seed,
    user_turn,
)
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
    tokenizer.response_template, read = TURN, tokenizer.parse_response

    def safely(*arguments, **options):
        """TRL takes a turn that cannot be read for text; brackets nested by the thousand are such a one."""
        try:
            return read(*arguments, **options)
        except RecursionError as error:
            raise ValueError("nested too deeply") from error

    tokenizer.parse_response = safely
    try:
        yield
    finally:
        tokenizer.response_template = None
        del tokenizer.parse_response  # the instance's; the class has its own


def prompt_ids(
    tokenizer, prompts: Sequence[Sequence[dict]], tools: Sequence[Callable], context: int = 2**31
) -> list[list[int]]:
    """The ids of conversations with the schemas of `tools`; no message spells a control token. Raises
    ValueError for one that fills the `context` of the policy."""
    schemas = [get_json_schema(tool) for tool in tools]
    made = [token_ids(tokenizer, render(tokenizer, {"messages": p, "tools": schemas})) for p in prompts]
    if (longest := max(map(len, made), default=0)) >= context:
        raise ValueError(
            f"policy_tools: a question has {longest} tokens with the tools, and the policy reads {context}; "
            "take a policy of longer context, or policy_tools=[]"
        )
    return made


def suffix_ids(tokenizer, results: Sequence[dict]) -> list[int]:
    """The ids between the end of a turn that called tools and the beginning of the next: `results`, messages
    of the role "tool"."""
    call = {"type": "function", "function": {"name": results[0]["name"], "arguments": {}}}
    turns = [*user_turn("?"), {"role": "assistant", "content": "", "tool_calls": [call]}]
    text = render(tokenizer, [*turns, *results])
    # The policy has written the token that ends its turn, and nothing behind it.
    before = len(render_closed(tokenizer, turns).rstrip())
    return token_ids(tokenizer, Rendered.of(text[before:], [cut - before for cut in text.cuts]))


@dataclass
class _Row:
    """One completion under way: the place of its question, what the policy has read (`asked` of it the
    question), and what it said last."""

    place: int
    asked: int
    read: list[int]
    said: Completion


class Calling:
    """An Engine (nbkit.models.engine) whose policy may call `tools` in at most `turns` turns, as in training:
    a completion is what it says in its last turn. Questions that bring tools of their own are asked as
    ever."""

    def __init__(self, generator: Generator, tools: Sequence[Callable], turns: int):
        self.generator, self.turns = generator, turns
        self.tools = {tool.__name__: tool for tool in tools}

    def sample(
        self,
        prompts: Sequence[Prompt],
        n: int = 1,
        max_new_tokens: int = 64,
        temperature: float = 0.0,
        top_p: float = 1.0,
        seed: int = 0,
    ) -> list[list[Completion]]:
        """See `Engine`. `max_new_tokens` holds for all turns together, results included."""
        how, tokenizer = (max_new_tokens, temperature, top_p), self.generator.tokenizer
        chats = [parts(prompt)[:2] for prompt in prompts]
        found: list[list[Completion]] = [[] for _ in prompts]
        others = [i for i, (_, own) in enumerate(chats) if own]
        plain = self.generator.sample([prompts[i] for i in others], n, *how, seed)
        for i, group in zip(others, plain, strict=True):
            found[i] = group
        # The first turn of the rest, with the schemas of the tools before the question.
        ours = [i for i, (_, own) in enumerate(chats) if not own]
        messages, context = [chats[i][0] for i in ours], self.generator.context
        asked = prompt_ids(tokenizer, messages, list(self.tools.values()), context)
        groups = self.generator.sample_ids(asked, n, *how, seed) if asked else []
        rows = [
            _Row(i, len(ids), ids, said)
            for i, ids, group in zip(ours, asked, groups, strict=True)
            for said in group
        ]
        with parsing(tokenizer, True):
            for turn in range(1, self.turns + 1):
                going = [row for row in rows if self._called(row, max_new_tokens)]
                if not going:
                    break
                self._next_turn(going, how, sample_seed(seed, turn))
        for row in rows:
            found[row.place].append(row.said)
        return found

    def _called(self, row: _Row, limit: int) -> bool:
        """Did the turn call tools whose results still fit? Then they are run, and are read next."""
        tokenizer = self.generator.tokenizer
        turn = parse_response(tokenizer, row.said.ids, prefix=row.read, tools=list(self.tools.values()))
        if not (row.said.stopped and turn.get("tool_calls")):
            return False
        results = [self._result(call["function"]) for call in turn["tool_calls"]]
        read = [*row.read, *row.said.ids, *suffix_ids(tokenizer, results)]
        if len(read) - row.asked > limit or len(read) >= self.generator.context:
            return False
        row.read = read
        return True

    def _result(self, call: dict) -> dict:
        """The message of a tool; one that raises, or that there is none of, is told as in TRL's loop."""
        try:
            content = str(self.tools[call["name"]](**call["arguments"]))
        except Exception as error:
            content = str({"error": str(error)})
        return {"role": "tool", "name": call["name"], "content": content}

    def _next_turn(self, rows: Sequence[_Row], how: tuple, seed: int) -> None:
        groups = self.generator.sample_ids([row.read for row in rows], 1, *how, seed)
        for row, (said,) in zip(rows, groups, strict=True):
            left = how[0] - (len(row.read) - row.asked)
            row.said = said
            if said.tokens > left:
                ids, stops = said.ids[:left], self.generator.stop
                row.said = completion_of(self.generator.tokenizer, ids, stops, "length", seed=said.seed)


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
