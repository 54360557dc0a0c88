"""Tokenizer, chat template and token shards. Notebook 01 writes them; 02-07 read them.

Byte-level BPE: any text round-trips without loss. Every digit is a token of its own, so that a small model
meets each number as its digits. Shape legend: N sequences, T tokens in a stream, S tokens per sequence
(seq_len).

    tokenizer = train_tokenizer(["2 + 2 = 4"] * 9, vocab_size=300)
    rows_NS = pack([{"id": "a", "text": "2 + 2 = 4", "source": "x"}] * 40, tokenizer, seq_len=32)
    save_pool("hq.npy", rows_NS)
"""

import io
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

from nbkit.run import progress
from nbkit.run.files import atomic_write, digest
from nbkit.text.characters import printable
from nbkit.text.chat import END_THINK, THINK

PAD, EOS, IM_START, IM_END = "<pad>", "<eos>", "<|im_start|>", "<|im_end|>"
TOOL_CALL, END_TOOL_CALL = "<tool_call>", "</tool_call>"
SPECIAL_TOKENS = (PAD, EOS, IM_START, IM_END, THINK, END_THINK, TOOL_CALL, END_TOOL_CALL)
# Control tokens vanish in decode(skip_special_tokens=True); thinking and tool calls stay (answer text).
CONTROL_TOKENS = SPECIAL_TOKENS[:4]
STOP_TOKENS = (EOS, IM_END)
MIN_VOCAB = 256 + len(SPECIAL_TOKENS)
# Words, digits, spaces, code, other scripts: two tokenizers that cut text differently differ here.
_PROBE = "The 3 cats  ate 1,024 fish.\n\tdef half(x): return x / 2  # naïve, don't\n猫吃鱼 кот 😀"

# ChatML. Prefix-preserving: rendering a longer conversation never changes the text of its beginning, and the
# generation prompt is exactly what precedes an assistant turn, so a loss mask and a KV cache stay valid.
# {% generation %} marks what the model itself must write, its <|im_end|> included (TRL: assistant_only_loss).
CHAT_TEMPLATE = """\
{%- if tools %}
    {{- '<|im_start|>tools\\n' }}
    {%- for tool in tools %}{{- tool | tojson + '\\n' }}{%- endfor %}
    {{- '<|im_end|>\\n' }}
{%- endif %}
{%- for message in messages %}
    {{- '<|im_start|>' + message.role + '\\n' }}
    {%- if message.role == 'assistant' %}
        {%- generation %}
            {%- if message.reasoning_content %}
                {{- '<think>' + message.reasoning_content + '</think>' }}
            {%- endif %}
            {%- if message.content %}{{- message.content }}{%- endif %}
            {%- if message.tool_calls %}
                {%- for call in message.tool_calls %}
                    {%- set call = call.function if call.function else call %}
                    {%- set body = {'name': call.name, 'arguments': call.arguments} | tojson %}
                    {{- '<tool_call>' + body + '</tool_call>' }}
                {%- endfor %}
            {%- endif %}
            {{- '<|im_end|>' }}
        {%- endgeneration %}
    {%- else %}
        {{- message.content + '<|im_end|>' }}
    {%- endif %}
    {{- '\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}
"""


@progress.doing("training the tokenizer")
def train_tokenizer(texts: Iterable[str], vocab_size: int) -> PreTrainedTokenizerFast:
    """Train a lossless byte-level BPE tokenizer with single-digit tokens and the chat template above.

    Deterministic in the order and content of `texts`. The vocabulary may stay smaller than asked when the
    texts hold too few repeated pairs. Raises ValueError for a vocab_size below 256 bytes + special tokens.
    """
    if vocab_size < MIN_VOCAB:
        raise ValueError(f"vocab_size={vocab_size} is too small: byte-level BPE needs at least {MIN_VOCAB}")
    # Digits stand alone, everything else is bytes: no text is unknown, and numbers are read digit by digit.
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    # Bytes back to text, so that decoding is the exact inverse.
    core.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=list(SPECIAL_TOKENS),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    core.train_from_iterator(map(printable, texts), trainer)
    # As transformers saves and loads it, with the chat template.
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=_show_thinking(core),
        pad_token=PAD,
        eos_token=EOS,
        extra_special_tokens=[IM_START, IM_END],
        clean_up_tokenization_spaces=False,
    )
    tokenizer.chat_template = CHAT_TEMPLATE
    return tokenizer


def _show_thinking(core: Tokenizer) -> Tokenizer:
    """The trainer marks every reserved token as control; unmark those that belong to an answer."""
    # There is no setter for it: the tokenizer is changed in its JSON.
    spec = json.loads(core.to_str())
    for token in spec["added_tokens"]:
        token["special"] = token["content"] in CONTROL_TOKENS
    return Tokenizer.from_str(json.dumps(spec))


def stop_ids(tokenizer: PreTrainedTokenizerFast) -> list[int]:
    """Ids that end a generation (pass as `eos_token_id` to generate): <eos> and <|im_end|>."""
    return [tokenizer.convert_tokens_to_ids(token) for token in STOP_TOKENS]


def tokenizer_digest(tokenizer: PreTrainedTokenizerBase) -> str:
    """sha256 (64 hex digits) of how a tokenizer turns text into ids: its vocabulary and the ids of a probing
    text, so that no other version of a file's layout changes it. Chat template, padding and truncation, which
    may be set anew for the same model, are not part of it."""
    ids = tokenizer.encode(_PROBE, add_special_tokens=False)
    return digest([sorted(tokenizer.get_vocab().items()), ids])


def _texts(docs: Iterable[Mapping | str]) -> list[str]:
    return [printable(doc if isinstance(doc, str) else doc["text"]) for doc in docs]


def _ids(texts: Sequence[str], tokenizer: PreTrainedTokenizerFast, batch: int = 1024) -> Iterable[list[int]]:
    """Ids of plain documents: a control token that one spells ("<eos>" in a text about tokenizers) is text,
    not the end of a document."""
    core = tokenizer.backend_tokenizer
    for start in progress.each(range(0, len(texts), batch), "tokenizing, batch"):
        # The setting is put back: the same tokenizer encodes chats, where the tokens do count.
        before, core.encode_special_tokens = core.encode_special_tokens, True
        try:
            encodings = core.encode_batch_fast(texts[start : start + batch], add_special_tokens=False)
        finally:
            core.encode_special_tokens = before
        for encoding in encodings:
            yield encoding.ids


def token_counts(docs: Iterable[Mapping | str], tokenizer: PreTrainedTokenizerFast) -> np.ndarray:
    """Tokens of each document, its closing <eos> included: int64, shape (number of docs,)."""
    return np.array([len(ids) + 1 for ids in _ids(_texts(docs), tokenizer)], dtype=np.int64)


def encode(docs: Iterable[Mapping | str], tokenizer: PreTrainedTokenizerFast) -> np.ndarray:
    """Token stream, shape (T,): each document, then <eos>. uint16 if the vocabulary fits it, else uint32."""
    # Two bytes per token wherever the vocabulary allows: half the disk and memory of a pool.
    dtype = np.uint16 if len(tokenizer) <= 2**16 else np.uint32
    pieces: list[np.ndarray] = [np.zeros(0, dtype)]
    for ids in _ids(_texts(docs), tokenizer):
        pieces.append(np.array([*ids, tokenizer.eos_token_id], dtype=dtype))
    return np.concatenate(pieces)


def cut(stream_T: np.ndarray, seq_len: int) -> tuple[np.ndarray, int]:
    """Cut a stream into rows (N, seq_len); also returns how many tail tokens were dropped (< seq_len)."""
    if seq_len < 1:
        raise ValueError(f"seq_len={seq_len}: want at least 1 token per sequence")
    n_rows = len(stream_T) // seq_len
    return stream_T[: n_rows * seq_len].reshape(n_rows, seq_len), len(stream_T) - n_rows * seq_len


def pack(docs: Iterable[Mapping | str], tokenizer: PreTrainedTokenizerFast, seq_len: int) -> np.ndarray:
    """Documents joined by <eos> in rows (N, seq_len), the tail dropped; `cut(encode(...))` counts it."""
    return cut(encode(docs, tokenizer), seq_len)[0]


def save_pool(path: str | Path, rows_NS: np.ndarray) -> None:
    """Write token rows (N, S) as .npy, atomically. Raises ValueError for another shape or dtype."""
    if rows_NS.ndim != 2 or rows_NS.dtype not in (np.uint16, np.uint32):
        raise ValueError(
            f"a pool is uint16/uint32 of shape (N, S); got {rows_NS.dtype} of shape {rows_NS.shape}"
        )
    buffer = io.BytesIO()
    np.save(buffer, rows_NS, allow_pickle=False)
    atomic_write(path, buffer.getvalue())


def load_pool(path: str | Path) -> np.ndarray:
    """Read-only memory map (N, S) of a saved pool. Raises ValueError for a file that is not one."""
    try:
        rows_NS = np.load(path, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError as error:
        raise ValueError(f"no token pool at {path}: run notebook 01 first") from error
    except (ValueError, EOFError, OSError) as error:
        raise ValueError(f"{path} is no complete .npy token pool ({error}): run notebook 01 again") from error
    if rows_NS.ndim != 2 or rows_NS.dtype not in (np.uint16, np.uint32):
        raise ValueError(f"{path}: want uint16/uint32 rows (N, S), got {rows_NS.dtype} {rows_NS.shape}")
    return rows_NS


def whole_tokens(name: str, value: int) -> int:
    """A token count as Python's exact integer: numpy's would overflow unnoticed inside a Fraction. Raises
    ValueError for other numbers."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 0:
        raise ValueError(f"{name}={value}: want a whole number of tokens, 0 or more")
    return int(value)
