"""The table, the readers of its sets, and what a broken file is told."""

import gzip
import json

import pytest

from nbkit.evals.bench import items, made, readers
from nbkit.evals.bench.readers import READERS
from nbkit.evals.bench.table import Decoding, benchmark, benchmarks
from nbkit.run.schemas.evaluation import Evaluate

REPORT = ["aime24", "aime25", "gpqa_diamond", "supergpqa", "bfcl", "fullstack_bench", "arena_hard"]
REPORT += ["multi_challenge", "writingbench"]
# One row of each set in the layout of its hub or mirror, made up.
ROWS = {
    "aime24": {"id": "a", "problem": "How many?", "answer": "204"},
    "aime25": {"id": "b", "problem": "How many?", "answer": "70"},
    "gpqa_diamond": {
        "Record ID": "r1",
        "Question": "Which?",
        "Correct Answer": "iron",
        "Incorrect Answer 1": "zinc",
        "Incorrect Answer 2": "lead",
        "Incorrect Answer 3": "tin",
        "High-level domain": "Chemistry",
    },
    "supergpqa": {"uuid": "u", "question": "Which?", "options": ["a", "b", "c"], "answer_letter": "C"},
    "fullstack_bench": {
        "id": 7,
        "content": "Add.",
        "labels": json.dumps({"programming_language": "python", "category": "Math"}),
        "canonical_solution": "def add(a, b):\n    return a + b",
        "test": {"code": "assert add(1, 2) == 3"},
    },
    "multi_challenge": {
        "QUESTION_ID": "q",
        "AXIS": "INSTRUCTION_RETENTION",
        "TARGET_QUESTION": "In verse?",
        "PASS_CRITERIA": "YES",
        "CONVERSATION": [{"role": "user", "content": "Answer in verse."}],
    },
    "cmmlu": {
        "config": "agronomy",
        "Question": "哪个?",
        "A": "1",
        "B": "2",
        "C": "3",
        "D": "4",
        "Answer": "B",
    },
    "mmlu_pro": {
        "question_id": 3,
        "question": "Which?",
        "options": ["a", "b"],
        "answer": "B",
        "answer_index": 1,
        "category": "law",
        "cot_content": "A: Let's think step by step. It is b. The answer is (B).",
    },
    "hellaswag": {
        "ind": 4,
        "activity_label": "Cooking",
        "ctx_a": "A man [title] cooks.",
        "ctx_b": "he",
        "label": "1",
        "endings": ["sings.", "eats [step] it.", "runs.", "sleeps."],
    },
    "arc_easy": {
        "id": "m",
        "question": "What melts?",
        "answerKey": "3",
        "choices": {"text": ["stone", "sand", "ice"], "label": ["1", "2", "3"]},
    },
}


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def test_every_benchmark_of_the_report_is_there_with_its_decoding():
    assert [b.name for b in benchmarks().values() if b.suite == "chat"] == REPORT
    for name in REPORT:
        found = benchmark(name).decoding
        k = 8 if name.startswith("aime") else 3
        assert found == Decoding(temperature=0.6, top_p=0.95, max_new_tokens=65536, k=k)


def test_the_base_table_of_the_report_is_there():
    names = [b.name for b in benchmarks().values() if b.suite == "base"]
    assert names == ["gsm8k", "cmath", "bbh", "mmlu", "cmmlu", "mmlu_pro"]


def test_each_entry_can_be_used():
    for bench in benchmarks().values():
        assert bench.reads in READERS | made.READERS
        assert bench.mirror or bench.hub or bench.reads in made.READERS, bench.name
        assert bench.chat or bench.answers == "choose", bench.name
        assert bench.answers != "choose" or bench.verifier in ("acc", "acc_norm")


def test_07_offers_what_needs_no_judge():
    choices = Evaluate.about("external_sets")["choices"]
    assert sorted(choices) == sorted(b.name for b in benchmarks().values() if b.answers != "judge")


def test_an_unknown_name_is_told_the_nearest():
    with pytest.raises(ValueError, match="tasks: got 'gsm8', .* did you mean 'gsm8k'"):
        benchmark("gsm8")


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"k": 3}, "k: got 3 answers per question at temperature 0"),
        ({"k": 0}, "k: got 0, wanted 1 or more"),
        ({"temperature": -1.0}, "temperature: got -1.0"),
        ({"top_p": 0.0}, "top_p: got 0.0"),
        ({"max_new_tokens": 0}, "max_new_tokens: got 0"),
    ],
)
def test_decoding_that_cannot_be(values, told):
    with pytest.raises(ValueError, match=told):
        Decoding(**values)


@pytest.mark.parametrize("name", ROWS)
def test_a_row_of_each_hub_layout_is_read(name, tmp_path):
    found = items.load(benchmark(name), data=write(tmp_path / "rows.jsonl", [ROWS[name]]))
    (item,) = found.items
    wanted = {
        "aime24": "204",
        "aime25": "70",
        "supergpqa": "C",
        "mmlu_pro": "B",
        "cmmlu": "B",
        "hellaswag": "eats it.",
        "arc_easy": "ice",
        "gpqa_diamond": item.answer,
        "fullstack_bench": item.answer,
        "multi_challenge": {"asked": "In verse?", "wanted": "YES"},
    }
    assert item.answer == wanted[name]
    assert found.left_out == 0


def test_gpqa_keeps_the_right_letter_and_hides_its_place():
    rows = [ROWS["gpqa_diamond"] | {"Question": f"Which {i}?"} for i in range(40)]
    found = [readers.gpqa(row, i) for i, row in enumerate(rows)]
    for item in found:
        assert item.fields["options"].split("\n")[item.gold] == f"({item.answer}) iron"
    assert {item.answer for item in found} == set("ABCD")


def test_hellaswag_is_cleaned_as_the_harness_cleans_it(tmp_path):
    (item,) = items.load(benchmark("hellaswag"), data=write(tmp_path / "h.jsonl", [ROWS["hellaswag"]])).items
    assert item.question == "Cooking: A man. cooks. He"
    assert item.choices[1] == "eats it."


def test_rows_of_other_languages_are_left_out_and_counted(tmp_path):
    other = ROWS["fullstack_bench"] | {"id": 8, "labels": {"programming_language": "go"}}
    found = items.load(
        benchmark("fullstack_bench"), data=write(tmp_path / "f.jsonl", [ROWS["fullstack_bench"], other])
    )
    assert (len(found.items), found.left_out) == (1, 1)


@pytest.mark.parametrize(
    ("name", "rows", "told"),
    [
        (
            "aime24",
            [{"id": "a", "task": "How many?", "answer": "1"}],
            "no column 'problem or question or Problem'",
        ),
        ("aime24", [{"id": "a", "problem": "How many?"}], "no column 'answer or expected_answer"),
        ("gsm8k", [{"question": "2 + 2?", "answer": ""}], "row 1 cannot be used: answer is ''"),
        ("aime24", [ROWS["aime24"], ROWS["aime24"]], "rows 1 and 2 have the same id 'a'"),
        (
            "supergpqa",
            [ROWS["supergpqa"] | {"answer_letter": "Z"}],
            "answer is 'Z', wanted the place or letter of one of 3",
        ),
        (
            "ifeval",
            [{"key": 1, "prompt": "x", "instruction_id_list": ["a"], "kwargs": []}],
            "1 instructions and 0 kwargs",
        ),
        ("multi_challenge", [ROWS["multi_challenge"] | {"PASS_CRITERIA": "maybe"}], "wanted YES or NO"),
        ("fullstack_bench", [ROWS["fullstack_bench"] | {"labels": {}}], "holds no row that can be scored"),
        # A null is no text: it would be asked as the word None.
        ("gsm8k", [{"question": None, "answer": "#### 4"}], "row 1 cannot be used: question is None"),
        ("cmath", [{"question": "2 + 2?", "grade": 1, "answer": ""}], "answer is '', wanted a text"),
        ("aime24", [ROWS["aime24"] | {"answer": None}], "row 1: column 'answer' is empty"),
        ("supergpqa", [ROWS["supergpqa"] | {"options": ["a", None, "c"]}], "options has an empty one"),
        ("gpqa_diamond", [ROWS["gpqa_diamond"] | {"Incorrect Answer 2": None}], "Incorrect Answer 2 is None"),
        ("cmmlu", [ROWS["cmmlu"] | {"C": None}], "C is None, wanted a text"),
        ("hellaswag", [ROWS["hellaswag"] | {"label": ""}], "columns without a value: label"),
        ("arc_easy", [ROWS["arc_easy"] | {"answerKey": ""}], "columns without a value: answerKey"),
        (
            "blimp",
            [{"UID": "x", "pairID": 0, "sentence_good": "It is.", "sentence_bad": None}],
            "choice 2 is None, wanted a text",
        ),
    ],
)
def test_bad_rows_are_named(name, rows, told, tmp_path):
    with pytest.raises(ValueError, match=told):
        items.load(benchmark(name), data=write(tmp_path / "bad.jsonl", rows))


def test_a_smaller_limit_is_part_of_a_larger_one(tmp_path):
    path = write(tmp_path / "m.jsonl", [{"id": i, "problem": f"{i}?", "answer": str(i)} for i in range(50)])
    five, ten = ([item.id for item in items.load(benchmark("aime24"), n, path).items] for n in (5, 10))
    assert set(five) < set(ten)
    assert ten == sorted(ten, key=int)
    with pytest.raises(ValueError, match="limit: got 0"):
        items.load(benchmark("aime24"), 0, path)


def test_no_data_says_where_it_is_looked_for(monkeypatch, tmp_path):
    monkeypatch.setenv("NBKIT_DATA_DIR", str(tmp_path))
    with pytest.raises(ValueError, match="bfcl: no data; wanted NBKIT_DATA_DIR/bfcl_v4/bfcl_v4.jsonl.gz"):
        items.load(benchmark("bfcl"))
    with pytest.raises(ValueError, match="data: .* is no file"):
        items.load(benchmark("bfcl"), data=str(tmp_path / "none.jsonl"))


def test_hub_sets_are_loaded_with_their_parts(tmp_path, monkeypatch):
    """The real loading code, on a folder in the layout of a hub's set."""
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    home = tmp_path / "set"
    home.mkdir()
    write(
        home / "one.jsonl",
        [{"UID": "one", "pairID": 0, "sentence_good": "He is.", "sentence_bad": "He are."}],
    )
    write(
        home / "two.jsonl", [{"UID": "two", "pairID": 1, "sentence_good": "I am.", "sentence_bad": "I is."}]
    )
    lines = "".join(
        f"- config_name: {n}\n  data_files:\n  - split: train\n    path: {n}.jsonl\n" for n in ("one", "two")
    )
    (home / "README.md").write_text(f"---\nconfigs:\n{lines}---\n")
    rows = list(items.hub_rows(f"{home}@main#*?train"))
    assert [row["config"] for row in rows] == ["one", "two"]
    assert [row["UID"] for row in items.hub_rows(f"{home}@main#two?train")] == ["two"]


def test_shots_are_of_each_group(tmp_path, monkeypatch):
    monkeypatch.setenv("NBKIT_DATA_DIR", str(tmp_path))
    (tmp_path / "mmlu").mkdir()
    row = {"question": "Which?", "choices": ["a", "b", "c", "d"], "answer": 1}
    rows = [row | {"subject": s, "question": f"{s}{i}?"} for s in ("law", "art") for i in range(5)]
    with gzip.open(tmp_path / "mmlu" / "dev.jsonl.gz", "wt") as handle:
        handle.write("".join(json.dumps(one) + "\n" for one in rows))
    bench = benchmark("mmlu")
    assert [shot.fields["question"] for shot in items.shots(bench, 1)] == ["law0?", "art0?"]
    assert len(items.shots(bench)) == 10
    assert items.shots(bench, 0) == []
    with pytest.raises(ValueError, match="wanted 9 worked examples.* give --shots 5"):
        items.shots(bench, 9)
