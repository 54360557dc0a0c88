"""One interface for generation, `Engine`: prompts in, completions with log-probabilities, stop reasons and
seeds out. Used by 02-07.

Here: the transformers engine, fast enough for RL on a CPU. engines.py has vLLM and any OpenAI-compatible
endpoint, and `engine(source)` that picks one.

    generator = Generator(model, tokenizer)
    groups = generator.sample(["<|im_start|>user…"], n=9, temperature=0.6, top_p=0.95)
    groups[0][3].text, groups[0][3].stop             # a raw prompt; "stop", "length", "context" or "error"
    generator.sample([[{"role": "user", "content": "2 + 2?"}]])                       # a conversation

What makes it fast (measured by benchmarks/speed.py): a weight copy in
bf16 where the machine multiplies bf16, a key-value cache that is written in place, one prefill per unique
prompt, attention of one token as two plain products on a CPU, and rows that leave the batch when they are
finished. All but the copy is in decoding.py.
"""

import copy
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import numpy as np
import torch
from tqdm.auto import tqdm

from nbkit.models.chat_ids import Rendered, rendered, token_ids_of
from nbkit.models.decoding import Choice, decode
from nbkit.run import progress
from nbkit.run.precision import dtype
from nbkit.text.characters import printable
from nbkit.text.conversations import conversation

_HERE = "\ue000"  # stands where a continued turn ends while it is rendered: private use, in no text
Prompt = str | Sequence[Mapping[str, Any]] | Mapping[str, Any]  # text, messages, {"messages", "tools"}


@dataclass(frozen=True)
class Completion:
    """One answer.

    `text` is without the token that stopped it; a byte-level token cut inside a character reads U+FFFD. `ids`
    are without the prompt and with the stop token; [] where an endpoint gave text only. `stop`: "stop" (the
    model ended it), "length" (cut by max_new_tokens), "context" (cut by the model's context; no text where
    the prompt left no room), "error" (no answer, `detail` says why). `logprobs` has one value per id where
    asked for: the natural log of its probability under the model's own distribution, at temperature 1 and
    before top-p, whatever the sampling was. `seed` is that of this sample's own stream of random numbers."""

    text: str
    ids: list[int] = field(default_factory=list)
    stop: Literal["stop", "length", "context", "error"] = "stop"
    logprobs: list[float] | None = None
    seed: int = 0
    detail: str = ""
    counted: int = 0  # tokens by the count of an endpoint that gave text only

    @property
    def tokens(self) -> int:
        return len(self.ids) or self.counted

    @property
    def stopped(self) -> bool:
        """Did the model end it by itself?"""
        return self.stop == "stop"


class Engine(Protocol):
    """Anything that completes prompts: `Generator`, and those of engines.py."""

    def sample(
        self,
        prompts: Sequence[Prompt],
        n: int = 1,
        max_new_tokens: int = 64,
        temperature: float = 0.0,
        top_p: float = 1.0,
        seed: int = 0,
    ) -> list[list[Completion]]:
        """`n` completions of every prompt, in their order; temperature 0 is greedy. A prompt is text, a list
        of messages, or {"messages": ..., "tools": ...}; an assistant turn at its end is continued."""
        ...


def count_stops(groups: Sequence[Sequence[Completion]]) -> dict[str, int]:
    """How many completions ended in which way: what was cut, overflowed or failed is to be reported."""
    return dict(Counter(completion.stop for group in groups for completion in group))


def check_sampling(n: int, max_new_tokens: int, temperature: float, top_p: float) -> None:
    for name, value, valid, wanted in (
        ("n", n, n >= 1, "1 or more"),
        ("max_new_tokens", max_new_tokens, max_new_tokens >= 1, "1 or more"),
        ("temperature", temperature, 0 <= temperature < float("inf"), "0 (greedy) or more"),
        ("top_p", top_p, 0 < top_p <= 1, "more than 0, at most 1"),
    ):
        if not valid:
            raise ValueError(f"{name}: got {value}, wanted {wanted}")


def sample_seed(seed: int, *place: int) -> int:
    """The seed of one sample, from that of the call and the sample's place in it: 31 bits, which every
    engine takes. Hashed, so that calls with seeds 0 and 1 share no stream."""
    return int(np.random.SeedSequence((seed, *place)).generate_state(1)[0] >> 1)


def parts(prompt: Sequence[Mapping] | Mapping) -> tuple[list[dict], list | None, bool]:
    """(messages, tools, whether the last turn is the assistant's to continue) of a conversation."""
    messages, tools = conversation(prompt, "prompts", prompt=True)
    last = messages[-1]
    if last["role"] != "assistant":
        return messages, tools, False
    if last.get("tool_calls"):
        raise ValueError(
            "prompts: an assistant turn that ends in tool_calls cannot be continued; add the tool's"
        )
    return messages, tools, True


def render(tokenizer, prompt: Prompt) -> str:
    """The text the model reads. Raw text stays as it is; a conversation goes through the chat template, up to
    the end of its last assistant turn if it ends in one, else with the generation prompt: `Rendered` text,
    which `token_ids_of` encodes so that no message spells a control token."""
    if isinstance(prompt, str):
        return prompt if isinstance(prompt, Rendered) else printable(prompt)
    # A mark at the end of the last turn shows where the template puts it.
    messages, tools, continued = parts(prompt)
    if continued:  # not continue_final_message: it drops the space at the end of what is continued
        messages[-1]["content"] += _HERE

    def template(messages: list[dict], tools: list | None) -> tuple[str, list[int]]:
        text = tokenizer.apply_chat_template(
            messages, tools=tools, tokenize=False, add_generation_prompt=not continued
        )
        return text, [text.rfind(_HERE)] if continued else [len(text)]

    text, (end,) = rendered(messages, tools, tokenizer, template)
    if not continued:
        return text
    # A template may leave a last assistant turn out.
    if end < 0:
        raise ValueError(
            "prompts: the chat template does not show the assistant turn at the end, so it cannot be "
            "continued; end with a user turn"
        )
    return Rendered.of(text[:end], [cut for cut in text.cuts if cut < end])


def user_turn(content: str) -> list[dict]:
    """A conversation of one user turn."""
    return [{"role": "user", "content": content}]


def user_prompt(tokenizer, content: str) -> str:
    """One user turn and the start of the answer, rendered."""
    return render(tokenizer, user_turn(content))


def completion_of(tokenizer, ids: list[int], stops: Sequence[int], cut: str, **fields) -> Completion:
    """A completion from its token ids: "stop" where they end in one of `stops`, else `cut`."""
    # The stop token belongs to the ids (it was learned, it has a log-prob) and not to the text.
    stopped = bool(ids) and ids[-1] in stops
    text = tokenizer.decode(ids[:-1] if stopped else ids, skip_special_tokens=False)
    return Completion(text, ids, "stop" if stopped else cut, **fields)


def stop_tokens(tokenizer, stop: Sequence[str] = ("<|im_end|>", "<eos>")) -> list[int]:
    """Ids that end a completion: those of `stop` that the tokenizer knows, and its own end of sequence."""
    known = tokenizer.get_vocab()
    # Base models end in <eos>, chats in <|im_end|>, and each may write the other's.
    own = [] if tokenizer.eos_token_id is None else [tokenizer.eos_token_id]
    return sorted({known[token] for token in stop if token in known} | set(own))


class Generator:
    """The transformers engine: samples from a frozen copy of `model` (weights at the time of construction;
    `refresh` copies them again). `batch` rows run at once. `logprobs` fills those of the completions.
    `progress` is the label of a tqdm bar over completions (none if empty; TQDM_DISABLE=1 hides it)."""

    def __init__(
        self,
        model,
        tokenizer,
        stop: Sequence[str] = ("<|im_end|>", "<eos>"),
        batch: int = 256,
        logprobs: bool = False,
        progress: str = "",
    ):
        self.tokenizer, self.batch, self.logprobs, self.progress = tokenizer, batch, logprobs, progress
        self.stop = stop_tokens(tokenizer, stop)
        self.device = next(model.parameters()).device
        self.dtype = dtype()
        self.context = getattr(model.config, "max_position_embeddings", None) or 2**31
        # A fresh module, because deepcopy of a model that TRL has patched would run the original's weights.
        config = copy.deepcopy(model.config)
        config.use_cache = True
        # Initial values are thrown away: drawing them must not move anyone's random numbers.
        with torch.random.fork_rng(devices=[]):
            self.model = type(model)(config).to(self.device).eval()
        if self.device.type == "cpu":
            self.model.set_attn_implementation("nbkit_cpu")
        for parameter in self.model.parameters():
            # parameters only: rotary frequencies in bf16 would shift the positions of long prompts
            parameter.data = parameter.data.to(self.dtype)
        self.refresh(model)

    def refresh(self, model) -> None:
        # `copy_` casts as well: the copy may be in bf16, what is trained is in float32.
        with torch.no_grad():
            source = dict(model.named_parameters())
            for name, parameter in self.model.named_parameters():
                parameter.copy_(source[name])

    def sample(
        self,
        prompts: Sequence[Prompt],
        n: int = 1,
        max_new_tokens: int = 64,
        temperature: float = 0.0,
        top_p: float = 1.0,
        seed: int = 0,
    ) -> list[list[Completion]]:
        """See `Engine`. A sample depends on the seed and its place among the prompts, not on `batch` or on
        the other prompts (but for rounding, which can turn a near tie)."""
        if not prompts:
            return []
        texts = [render(self.tokenizer, prompt) for prompt in prompts]
        ids = token_ids_of(self.tokenizer, texts)
        return self.sample_ids(ids, n, max_new_tokens, temperature, top_p, seed)

    @torch.inference_mode()
    def sample_ids(
        self,
        ids: Sequence[list[int]],
        n: int,
        max_new_tokens: int,
        temperature: float,
        top_p: float,
        seed: int,
        first: int = 0,
    ) -> list[list[Completion]]:
        """`sample` for prompts that are tokens already. Equal prompts in a batch are read once. `first`: the
        place of the first prompt, where these are a part of more: each gets the samples that it would get
        among all of them."""
        check_sampling(n, max_new_tokens, temperature, top_p)
        if any(not row for row in ids):
            raise ValueError("prompts: got an empty prompt, wanted at least one token")
        # Prompts of like length in one batch: little padding. Each sample has a seed of its own.
        by_length = sorted(range(len(ids)), key=lambda i: len(ids[i]))
        rows = [(i, j) for i in by_length for j in range(n)]
        seeds = {(i, j): sample_seed(seed, first + i, j) for i, j in rows}
        # A prompt that fills the context gets an empty completion.
        results = {
            place: Completion("", [], "context", [] if self.logprobs else None, seeds[place])
            for place in rows
            if len(ids[place[0]]) >= self.context
        }
        rows = rows[: len(rows) - len(results)]  # the longest are at the end
        choice = Choice(self.stop, temperature, top_p, self.logprobs)
        hidden = not self.progress or os.environ.get("TQDM_DISABLE") == "1"
        with (
            tqdm(total=len(rows), desc=self.progress, disable=hidden) as bar,
            progress.doing("generating", len(rows)) as part,
        ):

            def finished(count: int) -> None:
                bar.update(count)
                part(count)

            for start in range(0, len(rows), self.batch):
                chunk = rows[start : start + self.batch]
                prompts = [ids[i] for i, _ in chunk]
                # Uniform numbers from each sample's own generator: the batch changes nothing.
                budgets = [min(max_new_tokens, self.context - len(prompt)) for prompt in prompts]
                draws_BT = torch.empty(len(chunk), max(budgets) if temperature else 0)
                for row, place in enumerate(chunk):
                    draws_BT[row].uniform_(generator=torch.Generator().manual_seed(seeds[place]))
                sampled = decode(self.model, prompts, budgets, choice, draws_BT, finished)
                for place, budget, (new, logprobs) in zip(chunk, budgets, sampled, strict=True):
                    # Why it ended, if it did not stop by itself.
                    cut = "length" if budget == max_new_tokens else "context"
                    results[place] = completion_of(
                        self.tokenizer, new, self.stop, cut, logprobs=logprobs, seed=seeds[place]
                    )
        return [[results[i, j] for j in range(n)] for i in range(len(ids))]
