"""The Python of README, docs and CONTRIBUTING runs, with tiny models in place of real ones."""

import gzip
import json
import random
import re
from pathlib import Path

import pytest
import tiny
import tiny_dpd

from nbkit.models.load import save
from nbkit.tasks.skills import REGISTRY, Draft, draw, skill, verify

ROOT = Path(__file__).resolve().parents[2]
BLOCK = re.compile(r"```python\n(.*?)```", re.DOTALL)
ENDPOINT = '"http://localhost:8000/v1", "Qwen/Qwen3-8B", cache="teacher.sqlite"'


def snippet(page: str, word: str) -> str:
    """The one Python block of a page that holds `word`."""
    (found,) = (b for b in BLOCK.findall((ROOT / page).read_text(encoding="utf-8")) if word in b)
    return found


@pytest.fixture
def models(tmp_path, monkeypatch) -> Path:
    """A working folder with a student and a teacher."""
    for name, seed in (("student", 0), ("teacher", tiny_dpd.TEACHER)):
        save(tmp_path / name, tiny.model(seed=seed), tiny.tokenizer())
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_dpd_on_your_pairs(models):
    code = snippet("README.md", "dpd(").replace("path/to/", f"{models.as_posix()}/")
    names = {"pairs": tiny_dpd.pairs()}
    exec(code, names)
    both = zip(names["student"].parameters(), tiny.model().parameters(), strict=True)
    assert any((a != b).any() for a, b in both)


def test_dpd_page(models):
    code = snippet("docs/dpd.md", "dpd(")
    code = code.replace("path/to/student", "./student").replace("owner/teacher", "./teacher")
    exec(code, {})
    assert (models / "distilled" / "config.json").is_file()


def test_refinement_page(models):
    code = snippet("docs/refinement.md", "refine(").replace(ENDPOINT, '"./student"').replace("2048", "24")
    names = {}
    exec(code, names)
    assert names["found"].question == names["built"].question


def test_evaluation_page(models, monkeypatch):
    monkeypatch.setenv("NBKIT_DATA_DIR", str(models))
    (models / "gsm8k").mkdir()
    row = {"question": "What is 2 + 2?", "answer": "2 + 2 = 4\n#### 4"}
    (models / "gsm8k" / "test.jsonl.gz").write_bytes(gzip.compress(json.dumps(row).encode()))
    code = snippet("docs/evaluation.md", "run_benchmark(").replace("path/to/model", "./student")
    names = {}
    exec(code.replace("limit=50", "limit=50, max_new_tokens=4"), names)
    assert names["result"].overall.n == 1
    assert (models / "evals" / "gsm8k.json").is_file()


def test_grade_code(capsys):
    code = snippet("README.md", "grade(")
    exec(code, {})
    printed = capsys.readouterr().out.strip()
    assert printed == code.strip().splitlines()[-1].removeprefix("    # ")


def test_verifiers_page(capsys):
    code = snippet("docs/verifiers.md", "grade_program(")
    shown = re.sub(r"^    ((?:grade|verdict).*?\))(  #.*)?$", r"    print(\1)", code, flags=re.MULTILINE)
    exec(shown, {})
    assert capsys.readouterr().out.split("\n") == [*["Verdict(status='pass', detail='')"] * 3, "pass", ""]


def test_a_skill_of_your_own(monkeypatch):
    monkeypatch.setattr(REGISTRY, "skills", dict(REGISTRY.skills))
    exec(snippet("CONTRIBUTING.md", "@skill("), {"skill": skill, "Draft": Draft})
    for split in ("train", "operands", "template"):
        task = draw("square", 1, split, random.Random(0))
        assert verify(task, task.answer), split
