"""The refinement loop: checklists and critiques by hand, gold never reaches it, better drafts win, a revision
must improve; its training data is labelled by the reference answers of other tasks."""

import ast
import importlib.util
import json
import os
from collections import Counter
from math import log
from pathlib import Path
from types import SimpleNamespace

import pytest
from fake_endpoint import FakeServer, chat

from nbkit.models.endpoint import Endpoint
from nbkit.models.engine import Completion
from nbkit.models.engines import EndpointEngine
from nbkit.refine import critique, prompts, teacher_data
from nbkit.refine import loop as refine
from nbkit.refine.checklist import Item, checklist, has_content
from nbkit.refine.critique import Critique, inspect, judge, vote
from nbkit.run import files
from nbkit.tasks import sets
from nbkit.tasks.skills import Task, sample
from nbkit.tasks.world import instruction
from nbkit.text.conversations import SURROGATE
from nbkit.verify.errors import GraderError

GOOD = "<think>3 + 4 = 7</think>7"
OFF = "<think>3 + 4 = 8</think>8"


def done(text: str, stop: str = "stop", **options) -> Completion:
    return Completion(text, [1, 2], stop, **options)


class Scripted:
    """Stands in for an engine: answers by a function of (request, number of the sample)."""

    def __init__(self, answer):
        self.answer, self.asked = answer, []

    def sample(self, prompts, n=1, max_new_tokens=64, **sampling):
        assert all(turns[-1]["content"] for turns in prompts)
        self.asked += [turns[-1]["content"] for turns in prompts]
        answers = [[self.answer(turns[-1]["content"], i) for i in range(n)] for turns in prompts]
        return [[a if isinstance(a, Completion) else done(a) for a in group] for group in answers]


@pytest.mark.parametrize(
    ("instruction", "kinds"),
    [
        ("Is 27 even or odd?", ["choice"]),
        ("Name the larger of 3 and 12.", ["choice"]),
        ("What is 3 + 4?", ["number", "supported"]),
        ("Find the speed for 150 km in 5 hours, in km/h?", ["number", "supported", "unit"]),
        ("How many apples are left?", ["number", "supported"]),
        ("Sort 5, 3, 9.", ["items", "ascending"]),
        ("Spell ice backwards.", ["items", "first"]),
        ("Repeat fox 4 times.", ["copies"]),
        ("Put key in quotes.", ["wrapped"]),
        ("What is the first letter of tree?", ["letter"]),
        ("Evaluate [9, 8, 4][2].", ["literal"]),
        ("Use a tool to compute 3 + 4.", ["tool"]),
        ("Write a Python function g that increases x by 4.", ["defines", "runs"]),
        ("Write the Python function f. It must pass: assert f(1) == 2", ["defines", "tests"]),
        ("Describe the sea in at most 20 words.", ["at most words"]),
        ("List three rivers as JSON.", ["json"]),
        ("What is the capital of Egypt?", []),
        (
            "Tom has 3 bags with 10 apples each, sold at 2 dollars. How many dollars in all?",
            ["number", "supported"],
        ),
        ("Write a function in python to rotate a list. assert rot([1], 2) == [1]", []),
        ("Write a Python function named rot. It must pass: assert rot([1], 2) == [1]", ["defines", "tests"]),
        (f"Tools:\n{json.dumps({'name': 'count', 'description': 'how many'})}\nHello?", ["known tool"]),
        ("The tool calc returned 7 points. What is the value?", []),
    ],
)
def test_the_checklist_follows_the_instruction(instruction, kinds):
    items = checklist(instruction)
    assert [item.kind for item in items] == ["finished", "reasons", "arithmetic", *kinds]
    assert has_content(items) == bool(kinds)
    assert all(str(item) and "{" not in str(item) for item in items)


def test_a_model_may_add_items_in_words():
    items = checklist("What is the capital of Egypt?", ["names one city"])
    assert str(items[-1]) == "names one city" and has_content(items)


def test_no_reference_answer_of_the_world_fails_its_own_checklist(jail):
    tasks = (
        sample(300, "train", seed=11) + sample(100, "operands", seed=11) + sample(100, "template", seed=11)
    )
    for task in tasks:
        draft = done(f"<think>{task.chain}</think>{task.answer}")
        unmet = [c for c in inspect(checklist(task.question), draft, jail) if not c.met]
        assert not unmet, (task.question, unmet)


@pytest.mark.parametrize(
    ("instruction", "text", "comment"),
    [
        ("What is 3 + 4?", OFF, "3 + 4 = 8 is false"),
        ("What is 3 + 4?", "7", "no reasoning"),
        ("What is 3 + 4?", "<think></think>7", "no reasoning"),
        ("What is 3 + 4?", "<think>3 + 4 = 7</think>many", "not a number"),
        ("What is 3 + 4?", "<think>3 + 4 = 7</think>9", "the steps do not end in 9"),
        ("Find the speed for 6 km in 2 hours, in km/h?", "<think>6 / 2 = 3</think>3 m/s", "the unit is km/h"),
        ("Is 27 even or odd?", "<think>7</think>prime", "not one of even, odd"),
        ("Sort 5, 3, 9.", "<think>x</think>3, 5", "other items"),
        ("Sort 5, 3, 9.", "<think>x</think>5, 3, 9", "not in order"),
        ("Spell ice backwards.", "<think>x</think>i c e", "begins with e"),
        ("Repeat fox 3 times.", "<think>x</think>fox fox", "not 3 times"),
        ("Put key in quotes.", "<think>x</think>key", "not in quotes"),
        ("What is the first letter of tree?", "<think>x</think>q", "not one letter of it"),
        ("Evaluate [9, 8][1:].", "<think>x</think>eight", "not a Python value"),
        ("Use a tool to compute 1 + 1.", "<think>x</think>2", "must call a tool"),
        (
            'Tools:\n{"name": "a"}\nGo.',
            '<think>x</think><tool_call>{"name": "b", "arguments": {}}</tool_call>',
            "calls none of a",
        ),
        ("What is 30 / 9?", "<think>30 / 9 = 3.34</think>3.34", "30 / 9 = 3.34 is false"),
        ("Write a Python function f that lowers x.", "<think>x</think>def g(x): return x", "must define f"),
        ("Write a Python function f that lowers x.", "<think>x</think>def f(x): return y", "does not run"),
        ("Describe it in at most 2 words.", "<think>x</think>one two three", "over 2 words"),
        ("List them as JSON.", "<think>x</think>{a", "not JSON"),
    ],
)
def test_each_check_fires_and_says_what_is_wrong(jail, instruction, text, comment):
    unmet = [c for c in inspect(checklist(instruction), done(text), jail) if not c.met]
    assert comment in [c.comment for c in unmet]
    assert all(c.score == 0 and c.evaluator in ("form", "tool") for c in unmet)


@pytest.mark.parametrize(
    "chain",
    ["10 / 3 = 3.33", "2 * 3 + 4 = 10", "10 - 2 - 3 = 5", "1,000 + 500 = 1,500", "1.5 + 2 = 3.5"],
)
def test_true_equations_of_every_form_are_not_called_false(jail, chain):
    draft = done(f"<think>{chain}</think>{chain.rpartition('= ')[2]}")
    assert all(c.met for c in inspect(checklist("How many are there?"), draft, jail))


def test_functions_of_several_arguments_run(jail):
    items = checklist("Write a Python function add that sums two numbers.")
    assert all(c.met for c in inspect(items, done("<think>x</think>def add(a, b): return a + b"), jail))


@pytest.mark.parametrize("name", ["gsm8k", "mbpp", "glaive_toolcall"])
def test_reference_answers_of_real_sets_pass_their_own_checklists(jail, name, monkeypatch):
    """The rules were written for the embedded world; this is what they do to questions of people."""
    shared = Path(__file__).resolve().parents[3] / "shared" / "data"
    if "NBKIT_DATA_DIR" not in os.environ:
        if not shared.is_dir():
            pytest.skip("set NBKIT_DATA_DIR to the mirrors of the real sets")
        monkeypatch.setenv("NBKIT_DATA_DIR", str(shared))
    tasks = [t for t in sets.real_tasks(name, "train", 100, seed=1) if t.steps or name != "gsm8k"]
    failed = []
    for task in tasks:
        draft = done(f"<think>{task.chain or 'thinking'}</think>{task.answer}")
        failed += [
            (task.question[:80], c) for c in inspect(checklist(instruction(task)), draft, jail) if not c.met
        ]
    assert len(failed) <= 0.03 * len(tasks), failed


@pytest.mark.parametrize("draft", [done(GOOD, "length"), done(GOOD, "context"), done("", "error"), done("")])
def test_cut_failed_and_empty_drafts_are_not_finished(jail, draft):
    unmet = [c.comment for c in inspect(checklist("What is 3 + 4?"), draft, jail) if not c.met]
    assert unmet[0] == "not finished"


def test_tests_of_the_instruction_run_in_the_jail(jail):
    items = checklist("Write the Python function f. It must pass: assert f(1) == 2")
    right, wrong = (done(f"<think>x</think>def f(x): return x + {k}") for k in (1, 2))
    assert all(c.met for c in inspect(items, right, jail))
    assert [c.evaluator for c in inspect(items, wrong, jail) if not c.met] == ["tool"]


def test_what_a_draft_commits_to():
    number, code, other = (Item("number"),), (Item("defines", ("f",)),), ()
    assert {
        critique.committed(f"<think>x</think>{a}", number) for a in ("18", "$18", "18.0", "It is 18.")
    } == {"18"}
    assert critique.committed("<think>x</think>about 30 people", other) == "about 30 people"
    one, two = "def f(x):\n    return x", "def f(x): return x"
    assert critique.committed(one, code) == critique.committed(two, code)
    inside = "def f(xs):\n    for x in xs:\n        y = x\n        return y"
    outside = "def f(xs):\n    for x in xs:\n        y = x\n    return y"
    assert critique.committed(inside, code) != critique.committed(outside, code)


def test_the_vote_by_hand():
    answers = ["5", "6", "5", "7"]
    found = vote(answers, [1, 1, 1, 1], 4)
    assert [(c.score, c.comment) for c, _ in found] == [
        (0.5, ""),
        (0.25, "others say 5"),
        (0.5, ""),
        (0.25, "others say 5"),
    ]
    assert [agreement for _, agreement in found] == [1 / 3, 0, 1 / 3, 0]
    # judges that doubt both fives turn the vote, 0.2 + 0.2 against 0.9 of 1.4, but not the agreement
    weighted = vote(answers, [0.2, 0.9, 0.2, 0.1], 4)
    assert [c.met for c, _ in weighted] == [False, True, False, False]
    assert weighted[1][0].score == pytest.approx(0.9 / 1.4)
    assert [agreement for _, agreement in weighted] == [1 / 3, 0, 1 / 3, 0]


def test_agreement_is_that_of_other_candidates_only():
    assert [a for _, a in vote(["5", "5", "6", "6"], [1] * 4, 2)] == [1, 1, 0, 0]  # revisions are no evidence
    assert vote(["5"], [1.0], 1)[0][1] == 0  # nobody else to agree
    assert [a for _, a in vote(["", ""], [0.0, 0.0], 2)] == [0, 0]
    six = vote(["7", *["a", "b", "c", "d", "e"]], [1.0, 0, 0, 0, 0, 0], 6)
    assert six[0][0].score == 1 and six[0][1] == 0  # alone in its form is not agreement


def test_what_judges_say_becomes_critiques():
    answers = {
        "a": done("right", logprobs=[log(0.8), log(0.9)]),
        "b": done("wrong: 3 + 4 = 8", logprobs=[log(0.7), 0.0]),
        "c": done("I like it"),
        "d": done("1: met\n2: unmet, no units\n9: unmet\nwrong: the answer"),
        "e": done("Right."),
        "f": done(""),
        "g": done("<think>hm</think>right", logprobs=[log(0.01), 0.0]),
        "h": done("Verdict: wrong, no unit"),
    }
    engine = Scripted(lambda request, i: answers[request])
    items = (Item("finished"), Item("number"))
    got = judge(engine, list("abcdefgha"), [items] * 9, 20)
    assert [(round(c[-1].score, 2), c[-1].comment) for c in got] == [
        (0.8, ""),
        (0.3, "judged wrong: 3 + 4 = 8"),
        (0.5, ""),
        (0.0, "judged wrong: the answer"),
        (1.0, ""),
        (0.5, ""),
        (1.0, ""),
        (0.0, "judged wrong: no unit"),
        (0.8, ""),
    ]
    assert [(c.item, c.score, c.comment) for c in got[3][:-1]] == [
        ("stops by itself", 1.0, ""),
        ("answers with a number", 0.0, "no units"),
    ]
    assert engine.asked == list("abcdefgh")  # equal requests once


def run(teacher, student=None, judges=(), jail=None, question="What is 3 + 4?", **options):
    (result,), spent = refine.refine([question], {"teacher": teacher}, student, list(judges), jail, **options)
    return result, spent


def test_the_best_draft_wins_and_a_revision_must_be_better(jail):
    def teacher(request, i):
        return "still wrong" if "Revise." in request else (OFF, "8 8", OFF)[i]

    result, spent = run(Scripted(teacher), jail=jail, candidates=3, rounds=2)
    assert result.first == OFF and [r.text for r in result.history] == [OFF, OFF, OFF]
    assert result.final.complaints == ("3 + 4 = 8 is false",) and not result.final.passed
    assert [r.author for r in result.drafts] == ["teacher"] * 3 + ["revision 1", "revision 2"]
    assert spent.tokens == {"draft": 6, "revise": 4} and spent.stops["draft: stop"] == 3


def test_a_revision_that_meets_more_is_taken_and_sees_draft_and_critique(jail):
    teacher = Scripted(lambda request, i: GOOD if "Revise." in request else OFF)
    result, _ = run(teacher, jail=jail, candidates=2, rounds=3)
    assert [r.text for r in result.history] == [OFF, GOOD] and result.final.passed  # and then it stops
    assert teacher.asked[-1] == (
        "What is 3 + 4?\nDraft: 3 + 4 = 8 -> 8\nCritique: 3 + 4 = 8 is false\nRevise."
    )


def test_nothing_is_revised_when_nothing_is_criticised(jail):
    teacher = Scripted(lambda request, i: GOOD)
    result, _ = run(teacher, student=Scripted(lambda request, i: GOOD), jail=jail, candidates=2, rounds=3)
    assert result.final.passed and len(result.history) == 1
    assert [r.author for r in result.drafts] == ["teacher", "teacher", "student"]
    assert result.best_of("student").author == "student" and result.best_of("nobody") == result.final
    assert not any("Revise." in request for request in teacher.asked)


def test_judges_choose_among_drafts_that_pass_every_tool(jail):
    other = "<think>3 + 5 = 8</think>8"
    teacher = Scripted(lambda request, i: (other, other, GOOD)[i])
    opinion = Scripted(lambda request, i: "right" if "7" in request else "wrong: the operands")
    assert run(teacher, jail=jail, candidates=3, rounds=0)[0].final.text == other  # two against one
    result, spent = run(teacher, judges=[opinion], jail=jail, candidates=3, rounds=0)
    assert result.final.text == GOOD and spent.tokens["judge"] == 4
    assert any(c.evaluator == "judge" for c in result.final.critiques)


def test_several_teachers_draft_and_the_first_one_revises(jail):
    first, second = Scripted(lambda r, i: OFF), Scripted(lambda r, i: GOOD)
    (result,), _ = refine.refine(
        ["What is 3 + 4?"], {"a": first, "b": second}, None, [], jail, candidates=2, rounds=1
    )
    assert result.first == OFF and result.final.text == GOOD and result.final.author == "b"


def test_a_teacher_that_says_nothing_leaves_a_record(jail):
    result, spent = run(Scripted(lambda request, i: done("")), jail=jail, candidates=2, rounds=1)
    assert not result.final.passed and result.first == "" and result.final.text == ""
    assert spent.stops == {"draft: stop": 2, "revise: stop": 1}


def test_a_teacher_that_does_not_answer_is_no_teacher_that_errs(jail):
    silent = Scripted(lambda request, i: Completion("", [], "error"))
    with pytest.raises(refine.Unanswered, match="3 of 3 requests got no answer"):
        run(silent, jail=jail, candidates=2, rounds=1)
    few = Scripted(lambda r, i: Completion("", [], "error") if i == 0 else GOOD)
    result, spent = run(
        few, jail=jail, candidates=150, rounds=0
    )  # under 1%: counted, and known to be missing
    assert result.first is None and spent.stops["draft: error"] == 1 and result.final.text == GOOD


def test_drafts_that_the_jail_fails_on_are_dropped_and_counted(jail):
    class Broken:
        def call(self, code, name, arguments):
            return SimpleNamespace(status="infra", detail="out of workers", values=[])

    def answer(request, i):
        return "<think>x</think>def f(x): return x"

    question = "Write a Python function f that returns x."
    with pytest.raises(GraderError, match="failed on 2 drafts"):
        run(Scripted(answer), jail=Broken(), question=question, candidates=2, rounds=0)


def test_results_survive_their_files(jail, tmp_path):
    result, spent = run(Scripted(lambda r, i: f"\u2028{OFF}"), jail=jail, candidates=2, rounds=1)
    refine.save(tmp_path, [result, result], spent)
    assert refine.read(tmp_path) == ([result, result], spent)
    assert (spent + spent).tokens["draft"] == 8


def test_general_prompts_let_a_model_write_the_checklist(jail):
    def model(request, i):
        if "List what" in request:
            return "- says seven\nnoise\n- is short"
        return "5: unmet, not short\nright" if "Requirements:" in request else GOOD

    teacher = Scripted(model)
    result, _ = run(teacher, judges=[teacher], jail=jail, prompts=prompts.GENERAL, candidates=1, rounds=0)
    assert result.checklist[-2:] == ("says seven", "is short")
    judged = [r for r in teacher.asked if "Requirements:" in r]
    assert "6. says seven" in judged[0] and "7. is short" in judged[0]


def test_an_endpoint_may_teach_and_a_second_call_asks_only_what_failed(jail, tmp_path, monkeypatch):
    """Two answers of the first call are lost (the server is down for them); nothing else is asked twice."""
    monkeypatch.setenv("TQDM_DISABLE", "1")

    def answer(request):
        text = request["messages"][-1]["content"]
        if "List what" in text:
            return chat("- is a number")
        if "Requirements:" in text:
            return chat("right")
        return chat(GOOD if "Critique:" in text else OFF)

    def loop():
        endpoint = Endpoint(server.url, "tiny", retries=0, concurrency=1, cache=tmp_path / "teacher.sqlite")
        teacher = EndpointEngine(endpoint)
        return run(teacher, judges=[teacher], jail=jail, prompts=prompts.GENERAL, candidates=3, rounds=1)

    with FakeServer() as server:
        server.answer = answer
        server.script = [chat("- is a number"), chat(OFF), 500, 500]
        with pytest.raises(refine.Unanswered):
            loop()
        before = len(server.requests)
        result, spent = loop()
        assert spent.stops["draft: stop"] == 3 and result.first == OFF
        assert result.final.text == GOOD and result.final.author == "revision 1"
        again = [r["messages"][-1]["content"] for r in server.requests[before:]]
        assert sum("Requirements:" not in text and "Critique:" not in text for text in again) == 2


def test_bad_calls_are_refused():
    with pytest.raises(ValueError, match="0 questions"):
        refine.refine([], {"teacher": None}, None, [], None)


GOLD = (
    "nbkit.tasks.skills",
    "nbkit.tasks.world",
    "nbkit.tasks.sets",
    "nbkit.tasks.bank",
    "nbkit.refine.teacher_data",
)


def imported(module: str, seen: set[str]) -> set[str]:
    """The modules of nbkit that `module` imports, directly or not; into the verifiers themselves it does not
    go: they are handed answers, they do not fetch any."""
    spec = importlib.util.find_spec(module)
    for node in ast.walk(ast.parse(Path(spec.origin).read_text())):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom):
            package = module if spec.submodule_search_locations else module.rpartition(".")[0]
            base = importlib.util.resolve_name("." * node.level + (node.module or ""), package)
            names = [base, *(f"{base}.{alias.name}" for alias in node.names)]
        for name in names:
            if name.startswith("nbkit") and name not in seen and _is_module(name):
                seen.add(name)
                if not name.startswith("nbkit.verify"):
                    imported(name, seen)
    return seen


def _is_module(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:
        return False


@pytest.mark.parametrize("module", ["checklist", "critique", "prompts", "loop", "reconstruct"])
def test_modules_of_the_loop_cannot_reach_reference_answers(module):
    found = imported(f"nbkit.refine.{module}", set())
    assert not [name for name in found if name.startswith((*GOLD, "nbkit.evals"))]
    verifiers = {name.removeprefix("nbkit.verify.") for name in found if name.startswith("nbkit.verify.")}
    tools = {"answers", "answers.compare", "answers.extract", "answers.extract.answer", "jail", "jail.jail"}
    tools |= {"code", "code.blocks", "code.grade", "code.suites", "errors"}
    assert verifiers <= tools, "tools that are handed everything they compare"
    assert GOLD[0] in imported("nbkit.refine.teacher_data", set()), "the walk finds what is there"


def test_the_notebook_lets_no_reference_answer_into_the_loop():
    """No cell that makes what the loop reads or decides names a verifier, a mark or an answer."""
    cells = json.loads((Path(__file__).parents[2] / "notebooks" / "04_sft_overall.ipynb").read_text())[
        "cells"
    ]
    loop = {"asked", "parts", "refined", "usable", "solved", "built", "kept", "rebuilt", "everyone", "trusty"}
    forbidden = {
        "verify",
        "verdicts",
        "leads",
        "all_lead",
        "answer",
        "steps",
        "chain_of",
        "right",
        "right_QK",
        "lead",
    }
    made = set()
    for cell in cells:
        if cell["cell_type"] != "code":
            continue
        nodes = list(ast.walk(ast.parse("".join(cell["source"]))))
        stored = {n.id for n in nodes if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
        if stored & loop:
            made |= stored & loop
            read = {n.id for n in nodes if isinstance(n, ast.Name)} | {
                n.attr for n in nodes if isinstance(n, ast.Attribute)
            }
            assert not read & forbidden, (stored & loop, read & forbidden)
    assert made == loop


def drafted(task: Task, *texts: str, jail=None) -> refine.Refined:
    teacher = Scripted(lambda request, i: texts[i])
    (found,), _ = refine.refine(
        [task.question], {"t": teacher}, None, [], jail, candidates=len(texts), rounds=0
    )
    return found


def test_roles_are_trained_on_labelled_drafts(jail):
    task = Task("add", "math", 1, "train", "What is 3 + 4?", ("3 + 4 = 7",), "7", "number")
    found = drafted(task, OFF, GOOD, OFF, jail=jail)
    right = [[False, True, False]]
    chats = teacher_data.judge_chats([task], [found], right)
    assert [c[1]["content"] for c in chats] == ["wrong: 3 + 4 = 8", "right"]  # equal drafts once
    assert chats[0][0]["content"] == "What is 3 + 4?\nDraft: 3 + 4 = 8 -> 8\nRight or wrong?"
    revision = teacher_data.revise_chats([task], [found], right, seed=0)[0]
    assert "Draft: " in revision[0]["content"] and revision[0]["content"].endswith("Revise.")
    assert revision[1]["content"] == "7" and revision[1]["reasoning_content"] == "3 + 4 = 7"
    assert teacher_data.draft_chats([task]) == [[{"role": "user", "content": "What is 3 + 4?"}, revision[1]]]
    assert (
        teacher_data.complete_chats([task])[0][1]["content"]
        == "Summary: 1 step, last 3 + 4 = 7\n<think>3 + 4 = 7</think>"
    )


def test_first_faults_by_hand():
    task = Task("add", "math", 1, "train", "q", ("3 + 4 = 7", "7 * 2 = 14"), "14", "number")
    assert teacher_data.first_fault(task, "<think>3 + 4 = 7\n7 * 2 = 15</think>15") == "7 * 2 = 15"
    assert teacher_data.first_fault(task, "<think>3 + 4 = 7\n7 * 2 = 14</think>15") == "the answer"


def test_trust_needs_every_check_and_a_share_of_the_vote():
    met, unmet = Critique("a", "form", 1.0), Critique("a", "tool", 0.0, "no")
    vote_, judged = Critique("b", "agreement", 0.3), Critique("c", "judge", 0.1, "judged wrong")
    review = critique.Review("x", "t", True, (met, vote_, judged), 0.8)
    assert review.trusted(0.8) and not review.trusted(0.81) and not review.passed
    assert review.trusted(0.8, judged=0.1) and not review.trusted(0.8, judged=0.11)
    assert not critique.Review("x", "t", True, (met, unmet, vote_), 1.0).trusted(0.5)


@pytest.mark.parametrize("text", ["\ud800", "a\udfffb", "\ude00\ud83d", "\\ud800 \u2028", "\x00\x1b é 😀"])
def test_any_text_can_be_saved(tmp_path, text):
    review = critique.Review(text, text, True, (Critique(text, "judge", 0.0, text),))
    result = refine.Refined(text, (text,), text, (review,), (review,))
    refine.save(tmp_path, [result, result], refine.Spent(stops=Counter({text: 1})))
    (again, _), spent = refine.read(tmp_path)
    clean = SURROGATE.sub("\ufffd", text)
    assert again.question == again.final.text == again.final.critiques[0].comment == clean
    assert spent.stops == {text: 1}
    files.write_json(tmp_path / "any.json", {"text": text})
    assert files.read_json(tmp_path / "any.json") == {"text": text}
