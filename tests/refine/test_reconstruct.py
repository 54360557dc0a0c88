"""Reconstruction keeps a chain only when nothing rejects it, and says why not; what measures it, by hand."""

from types import SimpleNamespace

import pytest
from test_refine import Scripted

from nbkit.evals.chains import all_lead, leads
from nbkit.refine import reconstruct, teacher_data
from nbkit.tasks.skills import Task, sample
from nbkit.verify.errors import GraderError

QUESTION = "What is 3 + 4?"
WRITTEN = "Summary: one step\n<think>3 + 4 = 7</think>"


def build(complete, goes_on="7", verdict="right", solution="7", question=QUESTION, jail=None):
    model = Scripted(lambda request, i: complete)
    (found,), spent = reconstruct.reconstruct(
        [(question, solution)],
        model,
        [Scripted(lambda request, i: goes_on)],
        [Scripted(lambda request, i: verdict)],
        jail,
        reconstruct.ReconstructSettings(continuations=1),
    )
    return found, spent


def test_a_chain_that_holds_is_kept(jail):
    found, spent = build(WRITTEN, jail=jail)
    assert found.kept and found.summary == "one step" and found.response == "<think>3 + 4 = 7</think>7"
    assert spent.tokens == {"complete": 2, "continue": 2, "judge": 2}


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"complete": "garbage"}, "malformed"),
        ({"complete": "Summary: x\n<think>3 + 4 = 8</think>"}, "3 + 4 = 8 is false"),
        ({"complete": "Summary: x\n<think>3 + 5 = 8</think>"}, "the steps do not end in 7"),
        ({"goes_on": "8"}, "a model goes on to '8'"),
        ({"verdict": "wrong: the operands"}, "judged wrong: the operands"),
    ],
)
def test_each_filter_rejects_with_its_reason(jail, changes, reason):
    found, _ = build(**({"complete": WRITTEN} | changes), jail=jail)
    assert not found.kept and found.rejected == reason


def test_a_jail_that_fails_is_an_error_and_no_verdict_on_chains():
    class Broken:
        def call(self, code, name, arguments):
            return SimpleNamespace(status="infra", detail="out of workers", values=[])

    with pytest.raises(GraderError, match="failed on 1 of 1 chains"):
        build(
            "Summary: x\n<think>as asked</think>",
            solution="def f(x): return x",
            question="Write a Python function f that returns x.",
            jail=Broken(),
        )


def test_every_continuation_must_reach_the_solution(jail):
    model = Scripted(lambda request, i: WRITTEN)
    sometimes = Scripted(lambda request, i: "8" if i == 2 else "7")
    for n, kept in ((2, True), (3, False)):
        settings = reconstruct.ReconstructSettings(continuations=n)
        (found,), _ = reconstruct.reconstruct([(QUESTION, "7")], model, [sometimes], [], jail, settings)
        assert found.kept == kept


def test_what_is_rejected_is_not_asked_about_again(jail):
    found, spent = build("garbage", jail=jail)
    assert found.chain == "" and spent.tokens == {"complete": 2}


def test_other_code_that_passes_the_stated_tests_reaches_the_solution(jail):
    question = "Write the Python function f. It must pass: assert f(1) == 2"
    options = dict(complete="Summary: x\n<think>add one</think>", question=question, jail=jail)
    found, _ = build(solution="def f(x): return x + 1", goes_on="def f(y): return 1 + y", **options)
    assert found.kept
    found, _ = build(solution="def f(x): return x + 1", goes_on="def f(y): return 3 + y", **options)
    assert found.rejected.startswith("a model goes on to 'def f(y): return 3 + y'")


def test_outputs_are_parsed_strictly():
    assert reconstruct.parse("Summary: two steps\n<think>a\nb</think>") == ("two steps", "a\nb")
    for bad in (
        "<think>a</think>",
        "Summary: x <think>a",
        "Summary: x",
        "Summary: x<think> </think>",
        "Summary: x<think>a</think> 7",
        "",
    ):
        assert reconstruct.parse(bad) is None


def test_reference_chains_lead_to_their_answers(jail):
    for task in sample(300, "train", seed=21):
        assert leads(task, task.chain, task.answer, jail), task


def test_chains_that_do_not_lead_by_hand():
    sum_ = Task(
        "add",
        "math",
        1,
        "train",
        "What is 13 + 4?",
        ("10 + 0 = 10", "3 + 4 = 7", "10 + 7 = 17"),
        "17",
        "number",
    )
    assert leads(sum_, "13 + 4 = 17", "17")  # another true way
    assert not leads(sum_, "13 + 4 = 18", "18")  # a false step
    assert not leads(sum_, "13 + 4 = 17", "18")  # true steps, another solution
    assert not leads(sum_, "think hard\n13 + 4 = 17", "17")  # a step that nobody can check
    assert not leads(sum_, "", "17")
    fact = Task("capital", "general", 1, "train", "What is the capital of Egypt?", ("Egypt: Cairo",), "Cairo")
    assert leads(fact, "Egypt: Cairo", "Cairo") and not leads(fact, "Egypt: Cairo", "Paris")
    assert not leads(fact, "Egypt: Paris", "Paris")


def test_what_cannot_be_graded_is_masked(monkeypatch):
    def broken(task, response, jail=None):
        raise GraderError("no workers")

    monkeypatch.setattr("nbkit.evals.chains.verify", broken)
    fact = Task("capital", "general", 1, "train", "q", ("Egypt: Cairo",), "Cairo")
    found = all_lead([fact, fact], [("Egypt: Cairo", "Cairo"), ("a lie", "Cairo")], None)
    assert found.mask[:, 0].tolist() == [True, False] and not found[1, 0]


def test_drafts_that_cannot_be_graded_teach_nothing(jail, monkeypatch):
    tasks = sample(4, "train", seed=3)

    def verify(task, response, jail=None):
        if task is tasks[1]:
            raise GraderError("no workers")
        return True

    monkeypatch.setattr(teacher_data, "verify", verify)
    teacher = Scripted(lambda request, i: "<think>3 + 4 = 7</think>7")
    graded, drafted, right = teacher_data.own_drafts(tasks, teacher, jail, candidates=2)
    assert graded == [tasks[0], *tasks[2:]] and len(drafted) == 3 and right == [[True, True]] * 3
