"""The tokenizer loses nothing, the template keeps prefixes, shards hold exactly the tokens they claim."""

import re

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer

from nbkit.text import tokenizer as tokens

TEXTS = [
    "Tom has 12 apples and buys 30 more, so he has 42 apples.",
    "def add(a, b):\n    return a + b\n",
] * 40
CHAT = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "2 + 2?"},
    {"role": "assistant", "reasoning_content": "2 + 2 = 4", "content": "4"},
    {"role": "user", "content": "Time in Rome?"},
    {
        "role": "assistant",
        "content": "",
        "tool_calls": [{"type": "function", "function": {"name": "clock", "arguments": {"city": "Rome"}}}],
    },
    {"role": "tool", "content": "noon"},
    {"role": "assistant", "content": "Noon."},
]


@pytest.fixture(scope="module")
def tokenizer():
    return tokens.train_tokenizer(TEXTS, 400)


@settings(max_examples=300, deadline=None)
@given(text=st.text())  # hypothesis leaves lone surrogates out of what utf-8 can carry
def test_round_trip_loses_nothing(tokenizer, text):
    assert tokenizer.decode(tokenizer(text)["input_ids"]) == text


@pytest.mark.parametrize(
    "text", ["a .  b 's\r\n\t", " 12", "日本 １２ ½²", "<think>x</think><eos>", "\x00\u2028"]
)
def test_round_trip_of_awkward_text(tokenizer, text):
    assert tokenizer.decode(tokenizer(text)["input_ids"]) == text


def test_every_digit_is_one_token(tokenizer):
    pieces = tokenizer.convert_ids_to_tokens(tokenizer("12 apples, 30 more: 42 + 12345")["input_ids"])
    assert [piece for piece in pieces if re.search(r"\d", piece)] == list("12304212345")
    assert not [token for token in tokenizer.get_vocab() if re.search(r"\d", token) and len(token) > 1]
    assert "Ġapples" in pieces, "words still merge"


def test_special_tokens_and_stops(tokenizer):
    assert [tokenizer.convert_tokens_to_ids(token) for token in tokens.SPECIAL_TOKENS] == list(range(8))
    assert (tokenizer.pad_token, tokenizer.eos_token) == ("<pad>", "<eos>")
    assert tokens.stop_ids(tokenizer) == [1, 3]
    shown = tokenizer.decode(
        tokenizer("<think>a</think>b<|im_end|><eos><pad>")["input_ids"], skip_special_tokens=True
    )
    assert shown == "<think>a</think>b", "thinking is part of the answer, control tokens are not"


def test_training_is_deterministic_and_bounded(tokenizer):
    assert tokens.train_tokenizer(TEXTS, 400).get_vocab() == tokenizer.get_vocab()
    assert 264 < len(tokenizer) <= 400
    with pytest.raises(ValueError, match="vocab_size=263 .* at least 264"):
        tokens.train_tokenizer(TEXTS, 263)


def test_saved_tokenizer_is_the_same(tokenizer, tmp_path):
    tokenizer.save_pretrained(tmp_path)
    again = AutoTokenizer.from_pretrained(tmp_path)
    text = "  a .  b 12 <think>日本</think>\n"
    assert again(text)["input_ids"] == tokenizer(text)["input_ids"]
    assert again.chat_template == tokens.CHAT_TEMPLATE
    assert again.decode(again(text)["input_ids"], skip_special_tokens=True) == text


def test_template_renders_exactly(tokenizer):
    assert tokenizer.apply_chat_template(CHAT, tokenize=False) == (
        "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\n2 + 2?<|im_end|>\n"
        "<|im_start|>assistant\n<think>2 + 2 = 4</think>4<|im_end|>\n"
        "<|im_start|>user\nTime in Rome?<|im_end|>\n<|im_start|>assistant\n"
        '<tool_call>{"name": "clock", "arguments": {"city": "Rome"}}</tool_call><|im_end|>\n'
        "<|im_start|>tool\nnoon<|im_end|>\n<|im_start|>assistant\nNoon.<|im_end|>\n"
    )
    tool = {"type": "function", "function": {"name": "clock", "parameters": {}}}
    with_tools = tokenizer.apply_chat_template(CHAT[:1], tools=[tool], tokenize=False)
    assert with_tools.startswith('<|im_start|>tools\n{"type": "function"')


def test_template_keeps_prefixes(tokenizer):
    whole = tokenizer.apply_chat_template(CHAT, tokenize=False)
    for end in range(1, len(CHAT)):
        assert whole.startswith(tokenizer.apply_chat_template(CHAT[:end], tokenize=False))
        if CHAT[end]["role"] == "assistant":
            prompt = tokenizer.apply_chat_template(CHAT[:end], tokenize=False, add_generation_prompt=True)
            assert whole.startswith(prompt)
            assert prompt.endswith("<|im_start|>assistant\n")


def test_loss_mask_covers_assistant_turns_with_their_stop(tokenizer):
    out = tokenizer.apply_chat_template(CHAT, return_dict=True, return_assistant_tokens_mask=True)
    masked = [i for i, mask in zip(out["input_ids"], out["assistant_masks"], strict=True) if mask]
    assert tokenizer.decode(masked) == (
        "<think>2 + 2 = 4</think>4<|im_end|>"
        '<tool_call>{"name": "clock", "arguments": {"city": "Rome"}}</tool_call><|im_end|>Noon.<|im_end|>'
    )


@settings(max_examples=60, deadline=None)
@given(texts=st.lists(st.text(max_size=30), max_size=12), seq_len=st.integers(1, 40))
@example(texts=["<|im_end|>"], seq_len=1)  # a control token that a document spells is text
def test_pack_accounts_for_every_token(tokenizer, texts, seq_len):
    docs = [{"id": str(i), "text": text, "source": "t"} for i, text in enumerate(texts)]
    spelled = [tokenizer(text, split_special_tokens=True)["input_ids"] for text in texts]
    expected = [i for ids in spelled for i in [*ids, tokenizer.eos_token_id]]
    rows, dropped = tokens.cut(tokens.encode(docs, tokenizer), seq_len)
    assert rows.shape == (len(expected) // seq_len, seq_len)
    assert rows.dtype == np.uint16
    assert rows.size + dropped == len(expected) == tokens.token_counts(docs, tokenizer).sum()
    assert rows.ravel().tolist() == expected[: rows.size]
    assert np.array_equal(tokens.pack(docs, tokenizer, seq_len), rows)


def test_pack_refuses_and_accepts_plain_text(tokenizer):
    assert tokens.pack(["a", "b"], tokenizer, 2)[0, 1] == tokenizer.eos_token_id
    with pytest.raises(ValueError, match="seq_len=0"):
        tokens.pack(["a"], tokenizer, 0)


def test_pool_round_trip_and_damage(tmp_path):
    rows = np.arange(12, dtype=np.uint16).reshape(3, 4)
    path = tmp_path / "hq.npy"
    tokens.save_pool(path, rows)
    assert np.array_equal(tokens.load_pool(path), rows)
    assert [entry.name for entry in tmp_path.iterdir()] == ["hq.npy"], "no temporary file is left behind"
    with pytest.raises(ValueError, match="int64"):
        tokens.save_pool(path, rows.astype(np.int64))
    path.write_bytes(path.read_bytes()[:-6])
    with pytest.raises(ValueError, match="no complete .npy"):
        tokens.load_pool(path)
    with pytest.raises(ValueError, match="run notebook 01 first"):
        tokens.load_pool(tmp_path / "absent.npy")
    np.save(path, np.zeros(3))
    with pytest.raises(ValueError, match="float64"):
        tokens.load_pool(path)


BROKEN = [
    "\ud800",
    "a\udfffb",
    "\ude00\ud83d",
    "日\udc80本",
    "<eos>\ud800<think>",
    "\udcff" * 50,
    "é \udbff\n",
]


def repair(text: str) -> str:
    return re.sub("[\ud800-\udfff]", "\ufffd", text)


@pytest.mark.parametrize("text", BROKEN)
def test_half_a_surrogate_pair_is_encoded_as_the_replacement_character(tokenizer, text):
    for docs in ([text], [{"text": text}], ["x", text, "y"]):
        clean = [repair(doc if isinstance(doc, str) else doc["text"]) for doc in docs]
        assert tokens.encode(docs, tokenizer).tolist() == tokens.encode(clean, tokenizer).tolist()
        assert tokens.token_counts(docs, tokenizer).tolist() == tokens.token_counts(clean, tokenizer).tolist()
    assert tokens.pack([text] * 40, tokenizer, 8).shape[1] == 8


def test_a_tokenizer_is_trained_on_text_with_half_a_surrogate_pair():
    trained, same = (tokens.train_tokenizer([*TEXTS, *texts], 300) for texts in (BROKEN, map(repair, BROKEN)))
    assert trained.get_vocab() == same.get_vocab()
