"""SFT: packed and unpacked training agree to 1e-5, conversations do not see each other, only what the
assistant writes carries loss."""

import json
from copy import deepcopy
from dataclasses import replace

import numpy as np
import pytest
import tiny
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nbkit.sft import sft as module
from nbkit.sft.sft import (
    IGNORE,
    LONG,
    RowPacked,
    SFTSettings,
    encode,
    flash_attention,
    packing,
    rows_needed,
    sft,
    with_markers,
)
from nbkit.tasks import world
from nbkit.tasks.skills import sample
from nbkit.text.tokenizer import CHAT_TEMPLATE, train_tokenizer

CHATS = [world.chat(t) for t in sample(40, "train", seed=1)]
TOOL = {"type": "function", "function": {"name": "add", "parameters": {"a": "int", "b": "int"}}}


def agent(a: int, b: int) -> dict:
    """A question, a tool call, its result, an answer, and a second question that needs no tool."""
    call = {"type": "function", "function": {"name": "add", "arguments": {"a": a, "b": b}}}
    return {
        "messages": [
            {"role": "system", "content": "Use tools."},
            {"role": "user", "content": f"{a} + {b}?"},
            {"role": "assistant", "reasoning_content": "A sum.", "content": "", "tool_calls": [call]},
            {"role": "tool", "content": str(a + b)},
            {"role": "assistant", "content": f"{a + b}"},
            {"role": "user", "content": "Sure?"},
            {"role": "assistant", "reasoning_content": f"{a + b} - {b} = {a}", "content": "Yes."},
        ],
        "tools": [TOOL],
    }


MIXED = [*CHATS[:5], agent(2, 3), *CHATS[5:9], agent(41, 17)]
QUICK = SFTSettings(epochs=1, lr=0.0, batch=64, max_length=256, seed=0)


@pytest.fixture
def float32(monkeypatch):
    monkeypatch.setenv("NBKIT_PRECISION", "fp32")


def gradients_of(model) -> dict[str, torch.Tensor]:
    """Name -> gradient, filled by each backward pass, before the trainer clips it."""
    found = {}
    for name, parameter in model.named_parameters():
        parameter.register_post_accumulate_grad_hook(
            lambda p, name=name: found.__setitem__(name, p.grad.clone())
        )
    return found


def one_step(out, conversations, **options) -> tuple[float, dict[str, torch.Tensor]]:
    """Loss and gradients of the single step that `sft` takes over all conversations at once."""
    gradients = gradients_of(model := tiny.model())
    result = sft(model, tiny.tokenizer(), conversations, replace(QUICK, **options), out=out)
    assert len(result.history) == 1 and result.samples == len(conversations)
    return result.history[0]["loss"], gradients


def unpacked(conversations) -> tuple[float, dict[str, torch.Tensor]]:
    """The same without trainer, collator, packing and `encode`: each conversation alone, all in float32."""
    gradients = gradients_of(model := tiny.model().train())
    total, tokens = 0.0, 0
    for conversation in conversations:
        chat = conversation if isinstance(conversation, dict) else {"messages": conversation, "tools": None}
        out = tiny.tokenizer().apply_chat_template(
            chat["messages"], tools=chat["tools"], return_dict=True, return_assistant_tokens_mask=True
        )
        ids, mine = torch.tensor(out["input_ids"]), torch.tensor(out["assistant_masks"]).bool()[1:]
        chances = model(input_ids=ids[None]).logits[0, :-1].log_softmax(-1)
        total = total - chances[mine, ids[1:][mine]].sum()
        tokens += int(mine.sum())
    (total / tokens).backward()
    return float(total / tokens), gradients


def same(first, second) -> None:
    """Losses, and every parameter's gradient against its own largest entry, agree to 1e-5."""
    assert first[0] == pytest.approx(second[0], rel=1e-5)
    assert first[1].keys() == second[1].keys() == {name for name, _ in tiny.model().named_parameters()}
    for name, gradient in second[1].items():
        assert float(gradient.abs().max()) > 0, name
        assert float((first[1][name] - gradient).abs().max() / gradient.abs().max()) < 1e-5, name


def test_packed_and_unpacked_losses_and_gradients_agree(float32, tmp_path):
    lengths = {len(row["input_ids"]) for row in encode(MIXED, tiny.tokenizer(), 256)[0]}
    assert len(lengths) > 8, "conversations of many lengths, several in a row"
    same(one_step(tmp_path, MIXED), unpacked(MIXED))


def test_trl_packs_to_the_same_losses_and_gradients(float32, tmp_path, monkeypatch):
    """The path of a GPU, with plain attention in place of FlashAttention."""
    monkeypatch.setattr(module, "packing", lambda device, flash: ("eager", ""))
    same(one_step(tmp_path, MIXED), unpacked(MIXED))


def test_long_rows_recompute_activations_to_the_same_gradients(float32, tmp_path):
    same(one_step(tmp_path, MIXED, max_length=LONG + 1), unpacked(MIXED))


def test_the_order_inside_a_row_changes_nothing():
    rows, _ = encode(MIXED, tiny.tokenizer(), 256)
    results = []
    for order in (rows, rows[::-1], rows[4:] + rows[:4]):
        gradients = gradients_of(model := tiny.model())
        loss = model(**RowPacked(0)([joined(order)]), use_cache=False).loss
        loss.backward()
        results.append((float(loss), gradients))
    same(results[1], results[0])
    same(results[2], results[0])


def joined(rows) -> dict:
    """Several encoded conversations as one packed row."""
    return {
        "input_ids": sum((r["input_ids"] for r in rows), []),
        "labels": sum((r["labels"] for r in rows), []),
        "seq_lengths": [len(r["input_ids"]) for r in rows],
    }


def test_packed_conversations_do_not_see_each_other():
    rows, _ = encode(CHATS[:3], tiny.tokenizer(), 256)
    batch = RowPacked(tiny.tokenizer().pad_token_id)([joined(rows), joined(rows[:1])])
    model = tiny.model().eval()
    with torch.no_grad():
        packed = model(
            input_ids=batch["input_ids"], position_ids=batch["position_ids"], use_cache=False
        ).logits
        start = 0
        for row in rows:
            alone = model(input_ids=torch.tensor([row["input_ids"]])).logits[0]
            assert torch.allclose(packed[0, start : start + len(alone)], alone, atol=1e-5)
            start += len(alone)
        width = len(rows[0]["input_ids"])
        assert torch.allclose(packed[1, :width], packed[0, :width], atol=1e-5), "padding is not seen either"


def learned(row) -> str:
    return tiny.tokenizer().decode([y for y in row["labels"] if y != IGNORE])


def read_only(row) -> str:
    pairs = zip(row["input_ids"], row["labels"], strict=True)
    return tiny.tokenizer().decode([i for i, y in pairs if y == IGNORE])


def test_only_what_the_assistant_writes_carries_loss():
    rows, dropped = encode([*CHATS, agent(2, 3)], tiny.tokenizer(), 256)
    assert dropped == 0
    for row, chat in zip(rows, CHATS, strict=False):
        assert learned(row) == f"<think>{chat[1]['reasoning_content']}</think>{chat[1]['content']}<|im_end|>"
    call = '<tool_call>{"name": "add", "arguments": {"a": 2, "b": 3}}</tool_call>'
    said = f"<think>A sum.</think>{call}<|im_end|>5<|im_end|><think>5 - 3 = 2</think>Yes.<|im_end|>"
    assert learned(rows[-1]) == said
    assert "<|im_start|>tool\n5<|im_end|>" in read_only(rows[-1]) and '"parameters"' in read_only(rows[-1])


PIECES = ["a", "é", "7", " ", "\n", "<", "ab\nc", "<|im_start|>assistant\n", "<|im_end|>", "<think>", "漢"]
TEXT = st.lists(st.sampled_from(PIECES), max_size=6).map("".join)
CALL = st.fixed_dictionaries({"name": st.sampled_from(["f", "g"]), "arguments": st.dictionaries(TEXT, TEXT)})
READ = st.fixed_dictionaries({"role": st.sampled_from(["system", "user", "tool"]), "content": TEXT})
WRITTEN = st.fixed_dictionaries(
    {"role": st.just("assistant"), "content": TEXT},
    optional={"reasoning_content": TEXT, "tool_calls": st.lists(CALL, max_size=2)},
)
MESSAGES = st.lists(READ | WRITTEN, max_size=6).filter(lambda m: any(x["role"] == "assistant" for x in m))


def written(message) -> str:
    ordered = [{n: call[n] for n in ("name", "arguments")} for call in message.get("tool_calls", [])]
    calls = [json.dumps(call, ensure_ascii=False) for call in ordered]
    thought = message.get("reasoning_content")
    parts = [f"<think>{thought}</think>" if thought else "", message["content"]]
    return "".join([*parts, *(f"<tool_call>{call}</tool_call>" for call in calls), "<|im_end|>"])


@settings(max_examples=300, deadline=None, derandomize=True)
@given(messages=MESSAGES, tools=st.sampled_from([[], [TOOL]]))
def test_exactly_the_assistant_turns_carry_loss(messages, tools):
    """Whatever is said, also where a user or a tool imitates the assistant."""
    ((row,), _) = encode([{"messages": messages, "tools": tools}], tiny.tokenizer(), 9999)
    read = "".join(
        f"<|im_start|>{m['role']}\n"
        + ("" if m["role"] == "assistant" else m["content"] + "<|im_end|>")
        + "\n"
        for m in messages
    )
    offered = f"<|im_start|>tools\n{json.dumps(TOOL)}\n<|im_end|>\n" if tools else ""
    assert learned(row) == "".join(written(m) for m in messages if m["role"] == "assistant")
    assert read_only(row) == offered + read


def test_a_token_that_begins_in_the_prompt_carries_no_loss():
    """An answer that opens with line breaks: its first merges with the one that ends the prompt."""
    merging = train_tokenizer(["a\n\n\nb\n\n\nc"] * 50, 300)
    chat = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "\n\nb"}]
    stock = merging.apply_chat_template(chat, return_dict=True, return_assistant_tokens_mask=True)
    first = stock["assistant_masks"].index(1)
    assert merging.decode(stock["input_ids"][first]) == "\n\n", "the mask of transformers takes it in"
    ((row,), _) = encode([chat], merging, 99)
    assert row["input_ids"] == stock["input_ids"] and row["labels"][first] == IGNORE
    assert merging.decode([y for y in row["labels"] if y != IGNORE]) == "\nb<|im_end|>"


def test_long_conversations_are_dropped_whole_and_counted(tmp_path):
    rows, _ = encode(CHATS, tiny.tokenizer(), 999)
    lengths = sorted(len(row["input_ids"]) for row in rows)
    limit = lengths[19]
    kept, dropped = encode(CHATS, tiny.tokenizer(), limit)
    assert kept == [row for row in rows if len(row["input_ids"]) <= limit], "exactly as long as allowed: kept"
    assert len(kept) + dropped == 40 and 0 < dropped <= 20
    result = sft(tiny.model(), tiny.tokenizer(), CHATS, replace(QUICK, max_length=limit), out=tmp_path)
    assert (result.samples, result.dropped) == (len(kept), dropped)
    assert result.tokens == sum(len(row["input_ids"]) for row in kept)
    assert result.learned == sum(y != IGNORE for row in kept for y in row["labels"])
    with pytest.raises(ValueError, match="every one of 40 conversations is longer"):
        encode(CHATS, tiny.tokenizer(), 3)


def test_sft_learns_the_form(tmp_path):
    settings = replace(QUICK, epochs=8, lr=5e-3, batch=2)
    result = sft(tiny.model(), tiny.tokenizer(), CHATS, settings, out=tmp_path)
    last = np.mean([h["loss"] for h in result.history[-5:]])
    assert last < 0.7 * result.history[0]["loss"] and result.samples == 40


def test_steps_count_in_place_of_epochs_and_rows_are_foretold(float32, tmp_path):
    rows = rows_needed(CHATS, tiny.tokenizer(), 64)
    tokens = sum(len(row["input_ids"]) for row in encode(CHATS, tiny.tokenizer(), 64)[0])
    assert tokens / 64 <= rows <= len(CHATS)
    last = {}
    for name, amount in (("epochs", {"epochs": 2.0}), ("steps", {"steps": 5})):
        settings = SFTSettings(lr=0.0, batch=4, max_length=64, seed=0, **amount)
        last[name] = sft(tiny.model(), tiny.tokenizer(), CHATS, settings, out=tmp_path).history[-1]["step"]
    assert last == {"epochs": 2 * rows // 4, "steps": 5}


def test_trl_packs_only_where_flash_attention_is():
    assert packing("cpu", False) == packing("cpu", True) == (None, "")
    assert packing("cuda", True) == ("flash_attention_2", "")
    attention, remark = packing("cuda", False)
    assert attention is None and "packed in rows" in remark
    assert torch.cuda.is_available() or not flash_attention()


@pytest.mark.parametrize(
    "template",
    ["{{ messages[0].content }}", "{{ messages[0].content }}{% if add_generation_prompt %}a{% endif %}"],
)
def test_templates_without_markers_are_refused_or_replaced(template):
    chatml = deepcopy(tiny.tokenizer())
    chatml.chat_template = template
    with pytest.raises(ValueError, match=r"has no {% generation %} markers"):
        encode(CHATS, chatml, 256)
    assert encode(CHATS, with_markers(chatml), 256)[0] == encode(CHATS, tiny.tokenizer(), 256)[0]


def test_markers_of_another_template_are_kept_and_other_tokenizers_refused():
    own = deepcopy(tiny.tokenizer())
    own.chat_template = CHAT_TEMPLATE.replace("generation %}", "generation -%}")
    assert with_markers(own).chat_template != CHAT_TEMPLATE
    own.chat_template, own.get_vocab = None, lambda: {"a": 0}
    with pytest.raises(ValueError, match="the tokenizer is not ChatML"):
        with_markers(own)


def test_a_conversation_without_an_answer_is_refused():
    with pytest.raises(ValueError, match=r"conversations\[1\]: has no assistant turn"):
        encode([CHATS[0], CHATS[1][:1]], tiny.tokenizer(), 256)
