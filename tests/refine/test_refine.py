"""The refinement loop: checklists and critiques by hand, gold never reaches it, better drafts win, a revision
must improve; its training data is labelled by the reference answers of other tasks."""

from collections import Counter
from types import SimpleNamespace

import pytest
from fake_endpoint import FakeServer, chat

from nbkit.models.endpoint import Endpoint
from nbkit.models.engine import Completion
from nbkit.models.engines import EndpointEngine
from nbkit.refine import critique, prompts
from nbkit.refine import loop as refine
from nbkit.refine.critique import Critique
from nbkit.run import files
from nbkit.text.characters import SURROGATE
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


def run(teacher, student=None, judges=(), jail=None, question="What is 3 + 4?", **options):
    settings = refine.RefineSettings(**options)
    (result,), spent = refine.refine([question], {"teacher": teacher}, student, list(judges), jail, settings)
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
    settings = refine.RefineSettings(candidates=2, rounds=1)
    (result,), _ = refine.refine(["What is 3 + 4?"], {"a": first, "b": second}, None, [], jail, settings)
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
