"""What a model is asked: a chat, or a document to complete. Used by run.py.

asker = Asker(benchmark("gsm8k"), "base", shots)
asker.prompt(item)                    # five worked examples, then "Question: ...\\nAnswer:"
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass

from nbkit.evals.bench.readers import Item
from nbkit.evals.bench.table import Benchmark
from nbkit.models.engine import Completion, Prompt

_TOOLS = """You may call the functions below. To call some, answer with nothing but one line per call:
<tool_call>{"name": "the function", "arguments": {"argument": "value"}}</tool_call>
If no function fits, or a required argument is missing, say so in words and call none.

Functions, as JSON schemas:
"""


@dataclass(frozen=True)
class Asker:
    """How the questions of a benchmark are put. `form`: "chat" or "base". `shots`: worked examples for the
    form "base"; those of the item's own group, where they have groups. `native_tools`: the model's chat
    template shows tools itself, else they are described in a system turn. Raises ValueError for a form that
    the benchmark has not."""

    bench: Benchmark
    form: str
    shots: Sequence[Item] = ()
    native_tools: bool = False

    def __post_init__(self) -> None:
        if self.form not in ("chat", "base"):
            raise ValueError(f"form: got {self.form!r}, wanted 'chat' or 'base'")
        if self.form == "base" and self.bench.base is None:
            raise ValueError(
                f"form: {self.bench.name} is a conversation, which a model without a chat template cannot "
                "hold; evaluate a chat model, or another benchmark"
            )

    def prompt(self, item: Item, earlier: Sequence[str] = ()) -> Prompt:
        """The prompt of a question. `earlier`: the answers to its turns so far, where it has several."""
        if self.form == "base":
            return self.document(item)
        turns = [{"role": "user", "content": self.bench.chat.format(**item.fields)}]
        for answer, question in zip(earlier, item.turns, strict=False):
            turns += [{"role": "assistant", "content": answer}, {"role": "user", "content": question}]
        messages = [*map(dict, item.before), *turns]
        if not item.tools:
            return messages
        if self.native_tools:
            return {"messages": messages, "tools": [schema(tool) for tool in item.tools]}
        # A template without tools would drop them, and an endpoint takes text only.
        listed = "\n".join(json.dumps(schema(tool), ensure_ascii=False) for tool in item.tools)
        told = _TOOLS + listed
        if messages[0]["role"] == "system":
            told, messages = f"{messages[0]['content']}\n\n{told}", messages[1:]
        return [{"role": "system", "content": told}, *messages]

    def document(self, item: Item) -> str:
        """Heading, worked examples and the question, as text to be continued; no space at its end."""
        own = [shot for shot in self.shots if shot.group in ("", item.group)]
        text = self.bench.shots.text if self.bench.shots else ""
        examples = [text.format(**shot.fields) for shot in own]
        head = self.bench.head.format(**item.fields) if self.bench.head else ""
        return head + "\n\n".join([*examples, self.bench.base.format(**item.fields)])

    def answer(self, completion: Completion) -> tuple[str, str]:
        """(the text to mark, why it ended). A document goes on after its answer: what follows one of the
        benchmark's stop texts is cut off, and it ended there."""
        text, stop = completion.text, completion.stop
        if self.form == "base":
            ends = [place for mark in self.bench.stop if (place := text.find(mark)) >= 0]
            if ends:
                return text[: min(ends)], "stop"
        return text, stop


def schema(tool: dict) -> dict:
    """A function of BFCL with the types of JSON schemas: its "dict", "float" and "any" are names of its
    own."""
    own = {"dict": "object", "float": "number", "tuple": "array", "any": "string"}

    def renamed(value):
        if isinstance(value, dict):
            return {
                key: own.get(v, v) if key == "type" and isinstance(v, str) else renamed(v)
                for key, v in value.items()
            }
        return [renamed(part) for part in value] if isinstance(value, list) else value

    return renamed(dict(tool))
