"""Embedded and real questions as one type; real sets through NBKIT_DATA_DIR, their test split never in
training."""

import gzip
import json
import os
from collections import Counter
from pathlib import Path

import pytest

from nbkit.tasks.sets import at_shares, domains_of, evaluation_tasks, real_tasks, training_tasks
from nbkit.tasks.skills import checkable, held_out, verify
from nbkit.tasks.world import chat, instruction, prompt_of, responded
from nbkit.text.tokenizer import CHAT_TEMPLATE, train_tokenizer
from nbkit.text.tool_calls import parse_tool_call
from nbkit.verify.jail.jail import Jail

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"
needs_data = pytest.mark.skipif(
    not (os.environ.get("NBKIT_DATA_DIR") or SHARED.is_dir()),
    reason="set NBKIT_DATA_DIR to the mirrors of the real sets",
)


@pytest.fixture
def mirrors(monkeypatch):
    if not os.environ.get("NBKIT_DATA_DIR"):
        monkeypatch.setenv("NBKIT_DATA_DIR", str(SHARED))


TOOL = {"name": "clock", "description": "Time in a city", "parameters": {"city": "string"}}


def function(name: str, **arguments) -> dict:
    return {"from": "function_call", "value": json.dumps({"name": name, "arguments": arguments})}


def write(folder: Path, file: str, rows: list[dict]) -> None:
    folder.mkdir(exist_ok=True)
    with gzip.open(folder / file, "wt") as out:
        out.writelines(json.dumps(row) + "\n" for row in rows)


@pytest.fixture
def small_mirror(tmp_path, monkeypatch):
    """A few made-up records of each set in the layout of its mirror. Tool names are drawn so that some are
    held out."""
    names = [f"tool_{a}{b}" for a in "abcdefgh" for b in "abcdefgh"]
    chats = [
        {
            "conversations": [
                {"from": "human", "value": f"Ask {name} about town 7"},
                function(name, city="Rome"),
            ],
            "tools": json.dumps([{"type": "function", "function": {**TOOL, "name": name}}]),
        }
        for name in names
    ]
    unseen = next(name for name in names if held_out(name))
    asked = {
        "from": "human",
        "value": f"ASK {unseen}  about town 12",
    }  # a held-out question, but for its form
    back = {"from": "gpt", "value": "Which town?"}
    tools = json.dumps([TOOL])
    chats += [
        {"conversations": [{"from": "human", "value": "What time?"}, back], "tools": tools},
        {"conversations": [asked, back], "tools": tools},
        {"conversations": [{"from": "human", "value": "A chat"}, back], "tools": "[]"},
        chats[0],  # twice
    ]
    several = {
        "tools": tools,
        "messages": [
            {"role": "system", "content": [{"type": "text", "value": "Use the tools."}]},
            {"role": "user", "content": [{"type": "text", "value": "Rome and Oslo?"}]},
            {
                "role": "assistant",
                "content": [
                    {"type": "tool_call", "value": function("clock", city=city)["value"]}
                    for city in ("Rome", "Oslo")
                ],
            },
        ],
    }
    write(tmp_path / "glaive_toolcall", "en_demo.jsonl.gz", chats)
    write(tmp_path / "glaive_toolcall", "reason_tool_use_demo_50.jsonl.gz", [several])
    seed_task = {"instruction": "Write.", "instances": [{"input": "", "output": "Text."}]}
    write(tmp_path / "self_instruct_seed", "seed_tasks.jsonl.gz", [seed_task] * 3)
    write(tmp_path / "self_instruct_seed", "user_oriented_instructions.jsonl.gz", [seed_task])
    code = {
        "text": "Add two numbers.",
        "code": "def add(a, b):\r\n    return a + b",
        "task_id": 700,
        "test_list": ["assert add(1, 2) == 3", "assert add(0.5, 1) == 1.5"],
    }
    write(
        tmp_path / "mbpp",
        "mbpp.jsonl.gz",
        [code, {**code, "task_id": 701, "test_setup_code": "import x"}, {**code, "task_id": 12}],
    )
    monkeypatch.setenv("NBKIT_DATA_DIR", str(tmp_path))
    return unseen


def answer_text(task) -> str:
    """The assistant turn of `chat(task)` as the kit's template renders it."""
    conversation = chat(task)
    turn = (conversation["messages"] if isinstance(conversation, dict) else conversation)[-1]
    chain = turn["reasoning_content"]
    return (f"<think>{chain}</think>" if chain else "") + turn["content"]


def test_tool_chats_are_split_by_tool_and_no_question_is_on_both_sides(small_mirror):
    train, test = (real_tasks("glaive_toolcall", split, 1000, seed=0) for split in ("train", "test"))
    called = {parse_tool_call(t.answer)["name"] for t in train if checkable(t)}
    unseen = {parse_tool_call(t.answer)["name"] for t in test}
    assert small_mirror in unseen and not called & unseen and len(called | unseen) == 64
    assert {t.question.casefold() for t in train}.isdisjoint(t.question.casefold() for t in test)
    assert Counter(t.kind for t in train) == {
        "tool": len(called),
        "open": 1,
    }  # neither several calls nor none
    assert all(checkable(t) and verify(t, answer_text(t)) for t in test)
    assert evaluation_tasks(["glaive_toolcall"], 2) == test[:2]
    assert {t.split for t in train} == {"train"} and {t.split for t in test} == {"test"}


def test_tools_are_rendered_and_the_call_is_graded(small_mirror):
    task = next(t for t in real_tasks("glaive_toolcall", "train", 1000, seed=0) if checkable(t))
    (name,) = {json.loads(t)["name"] for t in task.tools}
    assert prompt_of(task) == {
        "messages": [{"role": "user", "content": task.question}],
        "tools": [{**TOOL, "name": name}],
    }
    tokenizer = train_tokenizer(["a"], 300)
    assert tokenizer.chat_template == CHAT_TEMPLATE
    whole, asked = (
        tokenizer.apply_chat_template(c["messages"], tools=c["tools"], tokenize=False, **more)
        for c, more in ((chat(task), {}), (prompt_of(task), {"add_generation_prompt": True}))
    )
    assert asked.startswith('<|im_start|>tools\n{"name": "tool_') and TOOL["description"] in asked
    assert whole == f"{asked}{task.answer}<|im_end|>\n"  # no reasoning in the set: none is made up
    assert not verify(task, task.answer.replace("Rome", "Oslo"))
    assert not verify(task, f"{task.answer}{task.answer}") and not verify(task, "It is noon.")


def test_the_loop_reads_tools_as_text_and_training_gets_them_back(small_mirror):
    task = next(t for t in real_tasks("glaive_toolcall", "train", 50, seed=0) if t.tools)
    text = instruction(task)
    assert text.startswith("Tools:\n") and text.endswith(task.question) and all(t in text for t in task.tools)
    found = responded(task, "<think>a</think>b")
    assert found["messages"][0]["content"] == task.question and len(found["tools"]) == len(task.tools)
    assert found["messages"][1] == {"role": "assistant", "reasoning_content": "a", "content": "b"}


def test_shares_are_met_by_leaving_out_and_by_repeating():
    domains = ["a"] * 80 + ["b"] * 18 + ["c"] * 2
    drawn = at_shares(domains, {"a": 0.5, "b": 0.3, "c": 0.2}, 100, most=4)
    counts = Counter(domains[i] for i in drawn)
    assert counts == {"a": 50, "b": 30, "c": 8}  # c falls short: two samples, four times each
    assert max(Counter(drawn).values()) == 4 and len(set(i for i in drawn if domains[i] == "a")) == 50
    assert len(set(i for i in drawn if domains[i] == "b")) == 18
    assert drawn == at_shares(domains, {"a": 0.5, "b": 0.3, "c": 0.2}, 100, most=4)
    with pytest.raises(ValueError, match="none of 2 samples is of a domain"):
        at_shares(["a", "a"], {"b": 1.0}, 2)


def test_domains_are_those_of_all_sets():
    assert domains_of(["gsm8k", "mbpp"]) == {"math", "code"}
    with pytest.raises(ValueError, match="wanted some of"):
        domains_of(["gsm9k"])


def test_tasks_without_tools_are_plain_message_lists():
    task = training_tasks(["embedded"], 1)[0]
    assert prompt_of(task) == [{"role": "user", "content": task.question}]
    assert chat(task)[:1] == prompt_of(task)


def test_open_questions_are_trained_on_but_not_scored(small_mirror):
    (task,) = training_tasks(["self_instruct_seed"], 1)
    assert (task.domain, task.kind, task.question, task.answer) == ("general", "open", "Write.", "Text.")
    assert answer_text(task) == "Text." and not checkable(task)
    with pytest.raises(ValueError, match="self_instruct_seed: open questions have no verifier"):
        verify(task, task.answer)
    with pytest.raises(ValueError, match="open questions only; add a set"):
        evaluation_tasks(["self_instruct_seed"], 5)
    assert {t.skill for t in evaluation_tasks(["self_instruct_seed", "mbpp"], 5)} == {"mbpp"}
    with pytest.raises(ValueError, match="self_instruct_seed has no test split"):
        real_tasks("self_instruct_seed", "test", 5, seed=0)
    with pytest.raises(ValueError, match=r"self_instruct_seed has 4 usable train rows, its share asks for 5"):
        training_tasks(["self_instruct_seed", "glaive_toolcall"], 10, {"general": 0.5, "agent": 0.5})
    with pytest.raises(ValueError, match=r"asks for 90; lower the sample count or the share of agent"):
        training_tasks(["glaive_toolcall"], 90)


def test_mbpp_reads_its_step_off_the_example_that_the_question_shows(small_mirror):
    (task,) = real_tasks("mbpp", "train", 5, seed=0)  # 701 needs a setup, 12 is a test row
    assert task.question.endswith("Write the Python function add. It must pass: assert add(1, 2) == 3")
    assert task.chain == "The example gives the signature: add(int, int) -> int."
    assert task.answer == "def add(a, b):\n    return a + b" and task.calls == (((1, 2), 3), ((0.5, 1), 1.5))


def test_shares_and_unknown_sets():
    tasks = training_tasks(["embedded"], 100, {"math": 0.5, "science": 0.3, "code": 0.2}, seed=0)
    assert [sum(t.domain == d for t in tasks) for d in ("math", "science", "code")] == [50, 30, 20]
    with pytest.raises(ValueError, match="task_sets: got 'gsm9k'"):
        training_tasks(["gsm9k"], 10)
    with pytest.raises(ValueError, match="hold no science question"):
        training_tasks(["gsm8k"], 10, {"math": 0.5, "science": 0.5})
    with pytest.raises(ValueError, match="at least one"):
        training_tasks([], 10)


@needs_data
def test_gsm8k_becomes_tasks_with_reasoning_and_a_gradable_answer(mirrors):
    for task in real_tasks("gsm8k", "train", 200, seed=0):
        assert task.steps and "<<" not in task.chain and "####" not in task.chain
        assert verify(task, answer_text(task))
        assert verify(task, f"Some prose. The answer is {task.answer}.")
        assert not verify(task, f"The answer is {task.answer}1.")


@needs_data
def test_mbpp_references_pass_in_the_jail(mirrors):
    tasks = real_tasks("mbpp", "train", 200, seed=0)
    with Jail() as jail:
        assert all(verify(t, answer_text(t), jail) for t in tasks)
        assert not any(verify(t, "<think>x</think>def nothing(): pass", jail) for t in tasks)


@needs_data
def test_tool_and_open_sets_of_the_mirror(mirrors):
    train, test = (real_tasks("glaive_toolcall", split, 1000, seed=0) for split in ("train", "test"))
    assert Counter(t.kind for t in train) == {"tool": 108, "open": 90} and len(test) == 9
    assert all(t.tools and t.domain == "agent" for t in [*train, *test])
    assert all(verify(t, answer_text(t)) for t in [*train, *test] if checkable(t))
    assert not {" ".join(t.question.casefold().split()) for t in train} & {
        " ".join(t.question.casefold().split()) for t in test
    }
    for name, count in (("self_instruct_seed", 427), ("dolly_hh_sft", 1000)):
        tasks = real_tasks(name, "train", 2000, seed=0)
        assert len(tasks) == count and all(t.question.strip() and t.answer.strip() for t in tasks)
        assert not any(t.chain or checkable(t) for t in tasks)


@needs_data
def test_a_smaller_draw_begins_a_larger_one(mirrors):
    assert evaluation_tasks(["gsm8k"], 20) == evaluation_tasks(["gsm8k"], 50)[:20]
    assert real_tasks("gsm8k", "train", 20, seed=1) != real_tasks("gsm8k", "train", 20, seed=2)


@needs_data
def test_train_and_test_of_a_real_set_are_disjoint(mirrors):
    train = {t.question for t in training_tasks(["gsm8k"], 300)}
    test = {t.question for t in evaluation_tasks(["gsm8k"], 300)}
    assert len(test) == 300 and not train & test
    with pytest.raises(ValueError, match="no test split"):
        evaluation_tasks(["math_train"], 5)


@needs_data
def test_a_share_larger_than_the_set_is_named(mirrors):
    with pytest.raises(ValueError, match="mbpp has .* usable train rows"):
        training_tasks(["mbpp"], 5000, {"code": 1.0})
