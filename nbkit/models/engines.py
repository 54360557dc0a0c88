"""The engines of engine.py beside transformers: vLLM in this process, and any OpenAI-compatible endpoint.
Used by 04.

    teacher = engine("https://openrouter.ai/api/v1", "qwen/qwen3-8b", cache="teacher.sqlite")
    teacher = engine("vllm:Qwen/Qwen3-8B", tensor_parallel_size=2)
    teacher = engine("outputs/small/03_sft_cold_start/model")     # a folder, a hub id: transformers
"""

import json
import re
from collections.abc import Sequence
from pathlib import Path

from nbkit.models import endpoint as api
from nbkit.models.chat_ids import token_ids_of
from nbkit.models.engine import (
    Completion,
    Engine,
    Generator,
    Prompt,
    check_sampling,
    completion_of,
    parts,
    render,
    sample_seed,
    stop_tokens,
)
from nbkit.models.load import check_tokenizer, load
from nbkit.text.characters import printable
from nbkit.text.chat import END_THINK, THINK, split_thought

# How servers word a prompt (plus max_tokens) beyond the context: OpenAI, vLLM, SGLang, llama.cpp.
OVERFLOW = re.compile(r"context[ _](length|window|size)|maximum model length|max_model_len", re.IGNORECASE)
CONTINUE = {"continue_final_message": True, "add_generation_prompt": False}  # vLLM's and SGLang's option


def engine(source: str | Path, model: str = "", **options) -> Engine:
    """`source` is the base URL of an OpenAI-compatible server (`model` names the model there), "vllm:" and a
    model, or a model for transformers (folder, hub id). `options` go to Endpoint, VLLM or Generator."""
    source = str(source)
    is_url = source.startswith(("http://", "https://"))
    if is_url != bool(model):
        wanted = "the name of the model at that server" if is_url else "none: source names the model"
        raise ValueError(f"model: got {model!r} for source {source!r}, wanted {wanted}")
    if is_url:
        return EndpointEngine(api.Endpoint(source, model, **options))
    if source.startswith("vllm:"):
        return VLLM(source.removeprefix("vllm:"), **options)
    return Generator(*load(source), **options)


class VLLM:
    """vLLM in this process. `options` go to `vllm.LLM` (dtype, max_model_len, tensor_parallel_size).

    Log-probs are filled whatever `logprobs` says: vLLM's "raw_logprobs" are those of `Completion`. Raises
    ValueError where vLLM is not installed, and for another tokenizer than the model was trained with."""

    def __init__(self, model: str, logprobs: bool = True, **options):
        try:
            import vllm  # noqa: PLC0415 (an optional package)
        except ImportError as error:
            raise ValueError(
                f"source: vllm:{model} needs vLLM ({error}); run `pip install vllm` where there is "
                "a GPU, or name the model without vllm: for transformers"
            ) from error
        self._vllm = vllm
        self.llm = vllm.LLM(model=model, logprobs_mode="raw_logprobs", **options)
        self.tokenizer = self.llm.get_tokenizer()
        self.stop = stop_tokens(self.tokenizer)
        about = self.llm.llm_engine.model_config
        check_tokenizer(getattr(about, "hf_config", None), self.tokenizer, model)
        self.context = about.max_model_len

    def sample(
        self,
        prompts: Sequence[Prompt],
        n: int = 1,
        max_new_tokens: int = 64,
        temperature: float = 0.0,
        top_p: float = 1.0,
        seed: int = 0,
    ) -> list[list[Completion]]:
        """See `Engine`. One request per sample, with a seed of its own; vLLM's prefix cache reads the prompt
        once."""
        # Prompts as ids, encoded by us: vLLM would read spelled control tokens as the tokens.
        check_sampling(n, max_new_tokens, temperature, top_p)
        texts = [render(self.tokenizer, prompt) for prompt in prompts]
        ids = token_ids_of(self.tokenizer, texts)
        results: dict[tuple[int, int], Completion] = {}
        asked, requests, sampling = [], [], []
        # Samples of one prompt side by side, where the prefix cache finds it.
        for i, j in ((i, j) for i in range(len(ids)) for j in range(n)):
            room, own = self.context - len(ids[i]), sample_seed(seed, i, j)
            if room < 1:
                results[i, j] = Completion("", stop="context", logprobs=[], seed=own)
                continue
            asked.append((i, j))
            requests.append(self._vllm.TokensPrompt(prompt_token_ids=ids[i]))
            sampling.append(
                self._vllm.SamplingParams(
                    temperature=temperature,
                    top_p=top_p,
                    max_tokens=min(max_new_tokens, room),
                    seed=own,
                    logprobs=0,  # of the sampled token alone
                    stop_token_ids=self.stop,
                    detokenize=False,  # `completion_of` does, as for the other engine
                )
            )
        # In the order of the requests; those that never fitted have their place already.
        outputs = self.llm.generate(requests, sampling) if requests else []
        for place, output, wanted in zip(asked, outputs, sampling, strict=True):
            results[place] = self._completion(output.outputs[0], wanted, max_new_tokens)
        return [[results[i, j] for j in range(n)] for i in range(len(ids))]

    def _completion(self, answer, wanted, max_new_tokens: int) -> Completion:
        # "abort" and the like: no answer to grade.
        if answer.finish_reason not in ("stop", "length"):
            return Completion("", stop="error", seed=wanted.seed, detail=f"vLLM: {answer.finish_reason}")
        ids = list(answer.token_ids)
        logprobs = [position[token].logprob for token, position in zip(ids, answer.logprobs, strict=True)]
        # Which limit cut it: the caller's, or what the context left of it.
        cut = "length" if wanted.max_tokens == max_new_tokens else "context"
        stops = ids[-1:] if answer.finish_reason == "stop" else []  # vLLM knows more of them, from the model
        return completion_of(self.tokenizer, ids, stops, cut, logprobs=logprobs, seed=wanted.seed)


class EndpointEngine:
    """An OpenAI-compatible chat endpoint: conversations only, text only (`ids` is [], `logprobs` None).

    Nothing that the server does is raised but what `Endpoint.complete` raises before its first request (no
    server there, no such model): a request that fails after its retries becomes a completion with stop
    "error", and the next call, with the same cache, asks for those alone. An overflow of the context that the
    server reports has stop "context"; a server that cuts prompts silently cannot be found out."""

    def __init__(self, endpoint: api.Endpoint):
        self.endpoint = endpoint

    def sample(
        self,
        prompts: Sequence[Prompt],
        n: int = 1,
        max_new_tokens: int = 64,
        temperature: float = 0.0,
        top_p: float = 1.0,
        seed: int = 0,
    ) -> list[list[Completion]]:
        """See `Engine`. Seeds do not depend on a prompt's place, so that answers are found in the cache again
        among other prompts. Raises ValueError for raw text and for tools."""
        check_sampling(n, max_new_tokens, temperature, top_p)
        # What an endpoint cannot take is refused before anything is sent.
        for i, prompt in enumerate(prompts):
            if isinstance(prompt, str):
                raise ValueError(
                    f"prompts[{i}]: an endpoint takes conversations, got the text {prompt!r:.60}"
                )
        chats = [parts(prompt) for prompt in prompts]
        if any(tools for _, tools, _ in chats):
            raise ValueError(
                "prompts: an endpoint answers in text only, got tools; describe them in a message"
            )
        results: dict[tuple[int, int], Completion] = {}
        # Answers come back in the order asked; each goes to its prompt and sample.
        for continued in (False, True):  # two calls: how a turn is continued is a setting of the request
            places = [(i, j) for i, chat in enumerate(chats) if chat[2] is continued for j in range(n)]
            seeds = [sample_seed(seed, j) for _, j in places]
            if not places:
                continue
            answers = self.endpoint.complete(
                [as_sent(chats[i][0]) for i, _ in places],
                seeds=seeds,
                max_tokens=max_new_tokens,
                temperature=temperature,
                top_p=top_p,
                **({"extra_body": CONTINUE} if continued else {}),
            )
            for place, own, answer in zip(places, seeds, answers, strict=True):
                results[place] = _from_answer(answer, max_new_tokens, own)
        return [[results[i, j] for j in range(n)] for i in range(len(chats))]


def as_sent(messages: Sequence[dict]) -> list[dict]:
    """Messages as servers want them: arguments of tool calls as JSON, every call with an id."""
    # The kit keeps no ids of calls: made from their places they are the same in every request.
    sent = []
    for i, message in enumerate(messages):
        calls = []
        for j, call in enumerate(message.get("tool_calls", ())):
            arguments = json.dumps(call["function"]["arguments"], ensure_ascii=False)
            calls.append(
                {"id": f"call_{i}_{j}", **call, "function": {**call["function"], "arguments": arguments}}
            )
        sent.append({**message, "tool_calls": calls} if calls else message)
    return sent


def _from_answer(answer: api.Reply | api.Failure, max_new_tokens: int, seed: int) -> Completion:
    # A prompt beyond the context is told by an error: for us it is a cut like any other.
    if isinstance(answer, api.Failure):
        overflow = answer.reason == "HTTP 400" and OVERFLOW.search(answer.detail)
        return Completion(
            "", stop="context" if overflow else "error", seed=seed, detail=f"{answer.reason}: {answer.detail}"
        )
    # Thoughts come beside the text, in it, or both ways.
    text, stop, detail = printable(answer.text), answer.finish_reason, ""
    if answer.reasoning and split_thought(text)[0] is None:  # some servers leave it in the text too
        closed = text or stop != "length"  # cut inside its thought: the thought is not closed
        text = f"{THINK}{printable(answer.reasoning)}{END_THINK if closed else ''}{text}"
    if (
        # Fewer tokens than allowed: the context was full.
        stop == "length"
        and not answer.reasoning  # which some servers leave out of the count
        and answer.completion_tokens is not None
        and answer.completion_tokens < max_new_tokens
    ):
        stop = "context"
    elif stop not in ("stop", "length"):
        stop, detail = "error", f"finish_reason {stop!r}"
    counted = answer.completion_tokens or 0
    return Completion(text, stop=stop, seed=seed, detail=detail, counted=counted)
