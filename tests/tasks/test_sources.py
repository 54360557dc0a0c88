"""Resolution order, refusals and damaged files on tiny files; row forms on the mirror if present."""

import gzip
import json
import os
import re
from pathlib import Path

import pyarrow
import pytest
from pyarrow import parquet

from nbkit.tasks import adapters, sources

ROWS = [
    {"question": f"What is {i} + {i}?", "answer": f"It is <<{i}+{i}={2 * i}>>{2 * i}.\n#### {2 * i}"}
    for i in range(1, 9)
]


def write_gz(path: Path, rows: list[dict]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with gzip.open(path, "wt", encoding="utf-8") as out:
        out.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    return path


@pytest.fixture
def mirror(tmp_path, monkeypatch):
    write_gz(tmp_path / "gsm8k" / "train.jsonl.gz", ROWS)
    write_gz(tmp_path / "gsm8k" / "test.jsonl.gz", ROWS[:2])
    monkeypatch.setenv("NBKIT_DATA_DIR", str(tmp_path))
    return tmp_path


def test_mirror_and_adapter(mirror):
    rows = sources.load("gsm8k")
    assert len(rows) == 8
    assert rows[2] == {
        "prompt": "What is 3 + 3?",
        "response": "It is 6.\n#### 6",
        "answer": "6",
        "domain": "math",
    }
    held_out = sources.load("gsm8k", split="test", purpose="eval")
    assert [row["question"] for row in held_out] == ["What is 1 + 1?", "What is 2 + 2?"]


def test_limit_is_a_seeded_sample_in_file_order(mirror):
    first, again, other = (sources.load("gsm8k", limit=4, seed=seed) for seed in (0, 0, 1))
    assert first == again != other
    everything = sources.load("gsm8k")
    places = [everything.index(row) for row in first]
    assert places == sorted(set(places)) and len(places) == 4
    assert sources.load("gsm8k", limit=99) == everything
    with pytest.raises(ValueError, match="limit=0"):
        sources.load("gsm8k", limit=0)


def test_refusals_name_the_next_step(mirror, monkeypatch):
    with pytest.raises(ValueError, match="unknown data set 'gsm9k': did you mean 'gsm8k'"):
        sources.load("gsm9k")
    with pytest.raises(ValueError, match=r"gsm8k \(test\) is for evaluation only"):
        sources.load("gsm8k", split="test")
    with pytest.raises(ValueError, match=r"bbh \(test\) is for evaluation only"):
        sources.load("bbh", split="test")
    with pytest.raises(ValueError, match=r"gsm8k has no split 'val'; it has \['test', 'train'\]"):
        sources.load("gsm8k", split="val")
    with pytest.raises(ValueError, match="purpose='play'"):
        sources.load("gsm8k", purpose="play")
    with pytest.raises(ValueError, match="holds no folder 'corpus_tex'"):
        sources.load("corpus_tex")
    monkeypatch.delenv("NBKIT_DATA_DIR")
    with pytest.raises(ValueError, match=r"NBKIT_DATA_DIR is not set; point it at a mirror or give hub:"):
        sources.load("corpus_tex")


def test_every_evaluation_set_refuses_training():
    held = [name for name, source in sources.SOURCES.items() if source.kind == "eval"]
    assert len(held) >= 15
    for name in held:
        for split in sources.SOURCES[name].files:
            with pytest.raises(ValueError, match="evaluation only"):
                sources.load(name, split=split)


def test_damaged_files_name_file_and_row(mirror, tmp_path):
    path = tmp_path / "gsm8k" / "train.jsonl.gz"
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(ValueError, match=r"train\.jsonl\.gz is damaged or cut off"):
        sources.load("gsm8k")
    path.write_bytes(b"not gzip at all")
    with pytest.raises(ValueError, match=r"train\.jsonl\.gz is damaged"):
        sources.load("gsm8k")
    write_gz(path, [ROWS[0], {"question": "no answer"}])
    with pytest.raises(
        ValueError, match=r"gsm8k \(train\) record 2 has unexpected fields: KeyError\('answer'\)"
    ):
        sources.load("gsm8k")
    broken = tmp_path / "broken.jsonl"
    broken.write_text('{"text": "fine"}\n{"text": "cut')
    with pytest.raises(ValueError, match=r"broken\.jsonl row 2 is broken JSON"):
        sources.load(str(broken))
    broken.write_text('{"text": "fine"}\n[1]\n')
    with pytest.raises(ValueError, match="row 2 is no JSON object but list"):
        sources.load(str(broken))
    broken.write_bytes(b'{"text": "\xff"}\n')
    with pytest.raises(ValueError, match="damaged"):
        sources.load(f"file:{broken}")


def test_local_files_of_all_three_kinds(tmp_path):
    rows = [{"text": "one"}, {"text": "two", "id": "own"}]
    plain = tmp_path / "own.jsonl"
    plain.write_text("\n".join(json.dumps(row) for row in rows) + "\n\n")
    expected = [
        {"id": "own-0", "text": "one", "source": "own"},
        {"id": "own", "text": "two", "source": "own"},
    ]
    assert sources.load(f"file:{plain}") == expected
    assert sources.load(str(write_gz(tmp_path / "own.jsonl.gz", rows))) == expected
    table = tmp_path / "own.parquet"
    parquet.write_table(pyarrow.table({"text": ["one", "two"], "id": ["a", "b"]}), table)
    assert [row["id"] for row in sources.load(f"file:{table}")] == ["a", "b"]
    table.write_bytes(table.read_bytes()[:40])
    with pytest.raises(ValueError, match=r"own\.parquet is no complete parquet"):
        sources.load(str(table))
    with pytest.raises(ValueError, match="no such data file"):
        sources.load("file:absent.jsonl")
    with pytest.raises(ValueError, match="want one of"):
        (tmp_path / "own.csv").write_text("a,b")
        sources.load(f"file:{tmp_path / 'own.csv'}")


def test_hub_path_on_a_local_folder(tmp_path, monkeypatch):
    """`datasets.load_dataset` takes a folder in place of owner/name: the same code without network."""
    folder = tmp_path / "owner" / "name"
    folder.mkdir(parents=True)
    for split, rows in (("train", ROWS), ("test", ROWS[:3])):
        (folder / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    assert sources.load("hub:owner/name") == ROWS
    assert sources.load("hub:owner/name@main#default?test") == ROWS[:3]
    monkeypatch.delenv("NBKIT_DATA_DIR", raising=False)
    registered = sources.Source("sft", "MIT", adapters.gsm8k, {"train": ()}, "hub:owner/name")
    monkeypatch.setitem(sources.SOURCES, "own", registered)
    assert sources.load("own", limit=8)[0]["answer"] == "2", (
        "a registered set without a mirror comes from its hub"
    )
    with pytest.raises(ValueError, match=r"cannot load hub:owner/name.*set NBKIT_DATA_DIR to a mirror"):
        sources.load("hub:owner/name?absent")
    with pytest.raises(ValueError, match="want hub:OWNER/NAME@REVISION"):
        sources.load("hub:")


def test_training_sets_load_from_their_hub_addresses(tmp_path, monkeypatch):
    """Local folders in the layout of the hub's, in place of the hub: the registry's own addresses."""
    call = {"from": "function_call", "value": '{"name": "clock", "arguments": {"city": "Rome"}}'}
    chat = {"conversations": [{"from": "human", "value": "Time?"}, call], "tools": '[{"name": "clock"}]'}
    task = {"task_id": 601, "text": "Add.", "code": "def f(): pass", "test_list": ["assert f() is None"]}
    layouts = {
        "openai/gsm8k/main/train-00000-of-00001.parquet": ROWS,
        "google-research-datasets/mbpp/full/train-00000-of-00001.parquet": [task, {**task, "task_id": 11}],
        "llamafactory/glaive_toolcall_en/default/train/0000.parquet": [chat],
    }
    for path, rows in layouts.items():
        file = tmp_path / path
        file.parent.mkdir(parents=True)
        parquet.write_table(pyarrow.Table.from_pylist(rows), file)
    for folder, config in (("openai/gsm8k", "main"), ("google-research-datasets/mbpp", "full")):
        names = f"  - split: train\n    path: {config}/train-*\n"
        card = f"---\nconfigs:\n- config_name: {config}\n  data_files:\n{names}---\n"
        (tmp_path / folder / "README.md").write_text(card)
    instruction = {"id": "seed_task_0", "name": "n", "instruction": "Name it.", "is_classification": False}
    seed_tasks = tmp_path / "HuggingFaceH4" / "self-instruct-seed" / "tasks.jsonl"
    seed_tasks.parent.mkdir(parents=True)
    instances = [{"input": "a", "output": "b"}, {"input": "c", "output": "d"}]
    seed_tasks.write_text(json.dumps({**instruction, "instances": instances}) + "\n")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("NBKIT_DATA_DIR", raising=False)
    assert [row["answer"] for row in sources.load("gsm8k")] == [str(2 * i) for i in range(1, 9)]
    assert [row["id"] for row in sources.load("mbpp")] == [601], "row 11 belongs to the test split"
    assert sources.load("self_instruct_seed") == [
        {"prompt": "Name it.\n\na", "response": "b", "domain": "general"}
    ]
    (row,) = sources.load("glaive_toolcall")
    assert row["messages"][1]["tool_calls"][0]["function"] == json.loads(call["value"])
    assert row["tools"] == [{"name": "clock"}]


def test_hub_addresses_of_the_registry_parse():
    pinned = 0
    for name, source in sources.SOURCES.items():
        if source.hub:
            match = sources._HUB.fullmatch(source.hub)
            assert match and match["revision"] and match["split"] is None, name
            pinned += len(match["revision"]) == 40
    assert pinned >= 6
    for name in ("gsm8k", "mbpp", "self_instruct_seed", "glaive_toolcall"):  # what 03 and 04 train on
        assert re.search("@[0-9a-f]{40}", sources.SOURCES[name].hub), name


def test_tool_conversations_become_chat_messages():
    call = '{"name": "clock", "arguments": {"city": "Rome"}}'
    first = {"from": "human", "value": "Time?"}
    turns = [first, {"from": "function_call", "value": call}, {"from": "observation", "value": "noon"}]
    row = adapters.glaive(
        {"conversations": [*turns, {"from": "gpt", "value": "Noon."}], "tools": "[]"}, "g", 0
    )
    assert [message["role"] for message in row["messages"]] == ["user", "assistant", "tool", "assistant"]
    assert row["messages"][1]["tool_calls"] == [{"type": "function", "function": json.loads(call)}]
    parts = [
        {"type": "reasoning", "value": "hm"},
        {"type": "text", "value": "ok"},
        {"type": "tool_call", "value": call},
    ]
    row = adapters.glaive({"messages": [{"role": "assistant", "content": parts}], "tools": None}, "g", 0)
    assert row["messages"] == [
        {
            "role": "assistant",
            "content": "ok",
            "reasoning_content": "hm",
            "tool_calls": [{"type": "function", "function": json.loads(call)}],
        }
    ]


def test_multiple_choice_and_turns():
    row = adapters.choices({"question": "q", "choices": ["a", "b"], "answer": 1, "subject": "s"}, "mmlu", 0)
    assert row == {"question": "q", "answer": "b", "choices": ["a", "b"], "gold": 1, "domain": "s"}
    row = adapters.choices(
        {"sentence": "x _", "option1": "a", "option2": "b", "answer": "2", "gold": 1}, "w", 0
    )
    assert row["answer"] == "b"
    row = adapters.open_question({"turns": ["one", "two"], "question_id": 5}, "mt", 0)
    assert row == {"turns": ["one", "two"], "question_id": 5, "question": "one", "answer": None}


REAL = Path(
    os.environ.get("NBKIT_DATA_DIR") or Path(__file__).resolve().parents[2].parent / "shared" / "data"
)
COUNTS = {
    "gsm8k": 7473,
    "mbpp": 374,
    "convincing_args": 11650,
    "glaive_toolcall": 350,
    "corpus_textbook": 1105,
}


@pytest.mark.skipif(
    not REAL.is_dir(), reason="no data mirror: set NBKIT_DATA_DIR to check the registry against it"
)
@pytest.mark.parametrize("name", list(sources.SOURCES))
def test_registry_against_the_mirror(name, monkeypatch):
    monkeypatch.setenv("NBKIT_DATA_DIR", str(REAL))
    if not (REAL / name).is_dir():
        pytest.skip(f"the mirror holds no {name}")
    source = sources.SOURCES[name]
    wanted = {
        "corpus": {"id", "text", "source", "domain"},
        "preference": {"prompt", "chosen", "rejected"},
        "eval": {"question", "answer"},
        "rl": {"prompt", "answer", "domain"},
        "sft": {"messages", "tools", "domain"}
        if name == "glaive_toolcall"
        else {"prompt", "response", "domain"},
    }[source.kind]
    for split in source.files:
        purpose = "eval" if source.eval_only or split == "test" else "train"
        rows = sources.load(name, split, purpose=purpose)
        assert rows
        assert all(wanted <= set(row) for row in rows)
        if source.kind == "corpus":
            assert len({row["id"] for row in rows}) == len(rows)
            assert sum(bool(row["text"].strip()) for row in rows) > 0.99 * len(rows)
        if split == "train" and name in COUNTS:
            assert len(rows) == COUNTS[name]
    if name == "mbpp":
        assert {row["id"] for row in sources.load(name)} == set(range(601, 975))
        assert {row["id"] for row in sources.load(name, "test", purpose="eval")} == set(range(11, 511))
