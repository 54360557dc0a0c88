"""The refinement loop: checks by hand, gold never reaches it, better drafts win; reconstruction keeps only
consistent chains."""

import inspect

import pytest
import tiny

from nbkit import reconstruct, refine
from nbkit.data.equations import equations
from nbkit.data.skills import sample
from nbkit.generate import Completion
from nbkit.verify.jail import Jail, SandboxUnavailable, probe


@pytest.fixture(scope="module")
def jail():
    try:
        probe()
    except SandboxUnavailable as error:
        pytest.skip(str(error))
    with Jail() as opened:
        yield opened


def done(text: str, stopped: bool = True) -> Completion:
    return Completion(text, [1], "stop" if stopped else "length")


class Scripted:
    """Stands in for a Generator: answers by a function of the prompt."""

    tokenizer = tiny.tokenizer()

    def __init__(self, answer):
        self.answer, self.prompts = answer, []

    def sample(self, prompts, n=1, *args, **kwargs):
        self.prompts += list(prompts)
        return [[done(self.answer(p, i)) for i in range(n)] for p in prompts]


def test_checklists_follow_the_instruction():
    assert "defines g" in refine.checklist("Write a Python function g that increases x by 4.")
    assert "defines f" in refine.checklist("Define f(xs) in Python: return the sum.")
    assert "calls a tool" in refine.checklist("Use a tool to compute 3 + 4.")
    assert "calls a tool" not in refine.checklist("Which tool fits: calc, weather or alarm? Task: 3 * 4.")
    assert "calls a tool" not in refine.checklist("The tool calc returned 7 points. What is the value?")
    assert len(refine.checklist("What is 3 + 4?")) == 4


def test_no_reference_answer_of_the_world_fails_its_own_checklist(jail):
    for task in sample(300, "train", seed=11):
        got = refine.review(
            task.question, done(f"<think>{task.chain}</think>{task.answer}"), task.answer, jail
        )
        assert not got.failures, (task.question, got.failures)


@pytest.mark.parametrize(
    ("question", "text", "stopped", "majority", "failure"),
    [
        ("What is 3 + 4?", "<think>3 + 4 = 8</think>8", True, "8", "wrong: 3 + 4 = 8"),
        ("What is 3 + 4?", "<think>3 + 4 = 7</think>7", False, "7", "not finished"),
        ("What is 3 + 4?", "7", True, "7", "no reasoning"),
        ("What is 3 + 4?", "<think>3 + 4 = 7</think>7", True, "9", "others say 9"),
        ("Use a tool to compute 1 + 1.", "<think>x</think>2", True, "2", "must call a tool"),
        (
            "Write a Python function f that lowers x by 2.",
            "<think>x</think>def g(x): return x - 2",
            True,
            "def g(x): return x - 2",
            "must define f",
        ),
        (
            "Write a Python function f that lowers x by 2.",
            "<think>x</think>def f(x): return y",
            True,
            "def f(x): return y",
            "does not run",
        ),
    ],
)
def test_each_check_fires(jail, question, text, stopped, majority, failure):
    assert refine.review(question, done(text, stopped), majority, jail).failures == (failure,)


def test_best_draft_wins_and_a_revision_must_improve(jail):
    def teacher(prompt, i):
        if "Revise." in prompt:
            return "<think>3 + 4 = 7</think>7"
        return ("<think>3 + 4 = 8</think>8", "8 8", "<think>3 + 4 = 8</think>8")[i]

    student = Scripted(lambda p, i: "no")
    (result,) = refine.refine(["What is 3 + 4?"], Scripted(teacher), student, jail, candidates=3, rounds=1)
    assert result.history[0].draft == result.history[1].draft == "<think>3 + 4 = 8</think>8"
    assert result.history[1].failures == ("wrong: 3 + 4 = 8",)
    # the revision fixes the arithmetic but leaves the majority: one failure against one, so it is not taken
    assert result.final.draft == "<think>3 + 4 = 8</think>8" and len(result.history) == 3


def test_the_loop_stops_when_nothing_fails(jail):
    teacher = Scripted(lambda p, i: "<think>3 + 4 = 7</think>7")
    (result,) = refine.refine(["What is 3 + 4?"], teacher, teacher, jail, candidates=2, rounds=3)
    assert not result.final.failures and len(result.history) == 2
    assert not any("Revise." in p for p in teacher.prompts)


def test_gold_cannot_steer_the_loop():
    for function in (refine.refine, refine.review, refine.checklist, reconstruct.reconstruct):
        names = set(inspect.signature(function).parameters)
        assert not names & {"task", "tasks", "gold", "answer", "answers"}, function
        assert "verify(" not in inspect.getsource(function)


def test_revision_data_spoils_the_draft_and_keeps_the_truth():
    tasks = sample(200, "train", seed=12)
    for task, chat in zip(tasks, refine.revision_chats(tasks, seed=0), strict=True):
        assert chat[0]["content"].startswith(task.question) and chat[0]["content"].endswith("Revise.")
        assert chat[1]["content"] == task.answer
        draft = chat[0]["content"].split("\nDraft: ")[1].split("\nCritique: ")[0]
        assert "wrong:" not in chat[0]["content"] or not all(equations(draft))


def test_reconstruction_is_parsed_strictly():
    assert reconstruct.parse("Summary: two steps\n<think>a\nb</think>") == ("two steps", "a\nb")
    for bad in ("<think>a</think>", "Summary: x <think>a", "Summary: x", "Summary: x<think> </think>", ""):
        assert reconstruct.parse(bad) is None


def test_only_chains_that_reach_their_solution_are_consistent():
    def model(prompt, i):
        if "Summarise" in prompt:
            return "garbage" if "4 + 4" in prompt else "Summary: s\n<think>chain</think>"
        return "7" if "3 + 4" in prompt else "0"

    got = reconstruct.reconstruct(
        ["What is 3 + 4?", "What is 1 + 1?", "What is 4 + 4?"], ["7", "2", "8"], Scripted(model)
    )
    assert [r.consistent for r in got] == [True, False, False]
    assert got[0].messages[1] == {"role": "assistant", "reasoning_content": "chain", "content": "7"}


def test_real_questions_get_working_checks_and_revision_data(jail):
    question = "Write a function to find the larger number.\nWrite the Python function larger. "
    question += "It must pass: assert larger(1, 2) == 2"
    assert "defines larger" in refine.checklist(question)
    draft = "<think>x</think>Here it is:\n```python\ndef larger(a):\n    return a\n```"
    assert refine.review(question, done(draft), refine.committed(draft), jail).failures == ()
    prose = (
        "so she sells 9 eggs and each of them brings 2 dollars, which makes 18 in total. The answer is 18."
    )
    assert refine.committed(f"<think>x</think>{prose}") == "18"
    from nbkit.data.skills import Task

    tasks = [
        Task("gsm8k", "math", 1, "train", f"q{i}", (f"{i} + 1 = {i + 1}",), str(i + 1), "math")
        for i in range(5)
    ]
    assert len(refine.revision_chats(tasks, seed=0)) == 5
