"""What tools find in a solution, by hand; what a reviser is told of it; and that no answer comes with it."""

import re

import pytest
from test_refine import Scripted, done

from nbkit.refine import loop
from nbkit.refine.checklist import checklist
from nbkit.refine.critique import Critique, Review
from nbkit.refine.findings import EVIDENCE, KINDS, error_of, findings, words
from nbkit.tasks.skills import sample
from nbkit.verify.errors import GraderError

SUM = "What is 3 + 4?"
TESTED = "Write the Python function f. It must pass:\nassert f(1) == 2\nassert f(5) == 6"


def told(question: str, text: str, jail=None, stop: str = "stop") -> list[tuple[str, str]]:
    found = findings(checklist(question), question, done(text, stop), jail)
    return [(one.kind, one.words) for one in found]


def test_a_sound_solution_has_no_findings(jail):
    assert told(SUM, "<think>3 + 4 = 7</think>7", jail) == []


def test_every_false_equation_is_named_with_its_place(jail):
    chain = "<think>9 + 8 = 16\n16 + 5 = 22</think>22"
    assert told("What is 9 + 8 + 5?", chain, jail) == [
        ("equation", "step 1 is false: 9 + 8 = 16"),
        ("equation", "step 2 is false: 16 + 5 = 22"),
    ]


@pytest.mark.parametrize(
    ("question", "chain", "strange"),
    [
        (SUM, "3 + 5 = 8", "step 1 uses 5"),  # true, and about another question
        ("What is 12 + 9?", "12 + 9 = 21\n21 + 8 = 29", "step 2 uses 8"),
        ("What is 9 + 37?", "0 + 30 = 30\n9 + 7 = 16\n30 + 16 = 46", None),  # digits of 37 in their places
        ("Convert 2 km to m.", "1 km = 1000 m\n2 * 1000 = 2000", None),
        ("What is 47 + 1?", "70 + 1 = 71", "step 1 uses 70"),  # 7 is a digit of 47, but not its tens
    ],
)
def test_a_number_that_nothing_gives_is_found(question, chain, strange, jail):
    operands = [
        text
        for kind, text in told(question, f"<think>{chain}</think>{chain.split()[-1]}", jail)
        if kind == "operand"
    ]
    assert [text.partition(",")[0] for text in operands] == ([strange] if strange else [])


def test_each_failing_test_is_named_and_a_passing_one_is_not(jail):
    found = told(TESTED, "<think>add one</think>def f(x): return 2", jail)
    assert found == [("test", "fails the stated test: assert f(5) == 6")]


def test_constraints_and_form_are_told_with_what_was_asked(jail):
    found = told("Sort 5, 3, 9.", "<think>by size</think>9, 5, 3", jail)
    assert found == [("constraint", "not in order; wanted: puts the numbers in increasing order")]
    assert told(SUM, "<think>3 + 4 = 7</think>7", jail, stop="length")[0][0] == "form"


def test_a_jail_that_fails_says_nothing_about_a_draft():
    class Broken:
        def call(self, *arguments, **options):
            raise GraderError("out of workers")

        run = call

    assert told(TESTED, "<think>add one</think>def f(x): return 2", Broken()) == []


def test_findings_name_no_number_of_the_answer(jail):
    """Whatever is wrong, the words hold no number that question and draft do not hold (but the step's)."""
    tasks = [task for task in sample(150, "train", 3) if task.kind == "number"]
    assert len(tasks) > 50
    found = 0
    for task in tasks:
        wrong = "\n".join(re.sub(r"= (\d+)$", lambda m: f"= {int(m[1]) + 1}", step) for step in task.steps)
        draft = f"<think>{wrong}</think>{int(task.answer) + 1}"
        given = set(re.findall(r"\d+", task.question + draft))
        for _, text in told(task.question, draft, jail):
            found += 1
            assert set(re.findall(r"\d+", re.sub(r"step \d+", "", text))) <= given, (task.question, text)
    assert found > 50


FAULTS = (
    Critique("every equation that it states holds", "tool", 0.0, "3 + 4 = 8 is false"),
    Critique("is right", "judge", 0.1, "judged wrong: the sum"),
    Critique("agrees with the other drafts", "agreement", 0.2, "others say 7"),
)


def review(*critiques: Critique) -> Review:
    return Review("<think>3 + 4 = 8</think>8", "teacher", True, critiques)


def test_evidence_decides_what_a_reviser_is_told(jail):
    found = findings(checklist(SUM), SUM, done("<think>3 + 4 = 8</think>8"), jail)
    assert {kind: words(review(*FAULTS), kind, found) for kind in EVIDENCE} == {
        "critique": ("3 + 4 = 8 is false", "judged wrong: the sum", "others say 7"),
        "judges": ("judged wrong: the sum",),
        "verifier": ("step 1 is false: 3 + 4 = 8",),
        "both": ("step 1 is false: 3 + 4 = 8", "judged wrong: the sum"),
    }
    with pytest.raises(ValueError, match="evidence: got 'gold', wanted one of"):
        words(review(*FAULTS), "gold")


def test_the_kind_of_error_is_that_of_the_hardest_evidence():
    first, judged, outvoted = FAULTS
    assert error_of(review(outvoted, judged, first), SUM) == "equation"
    assert error_of(review(outvoted, judged), SUM) == "judged"
    assert error_of(review(outvoted), SUM) == "outvoted"
    assert error_of(review(Critique("stops by itself", "form", 0.0, "not finished")), SUM) == "form"
    assert error_of(review(Critique("stops by itself", "form", 1.0)), SUM) == "none"
    assert set(KINDS) >= {"equation", "judged", "outvoted", "form", "none"}


def revising(evidence: str, jail, **options):
    teacher = Scripted(lambda request, i: "8" if "Revise." in request else "<think>3 + 4 = 8</think>8")
    settings = loop.RefineSettings(candidates=1, rounds=1, evidence=evidence, **options)
    (found,), _ = loop.refine([SUM], {"t": teacher}, None, [], jail, settings)
    return found, [request for request in teacher.asked if "Revise." in request]


def test_the_loop_tells_the_reviser_the_chosen_evidence(jail):
    assert "Critique: 3 + 4 = 8 is false\n" in revising("critique", jail)[1][0]
    assert "Critique: step 1 is false: 3 + 4 = 8\n" in revising("verifier", jail)[1][0]


def test_a_reviser_without_evidence_is_not_asked(jail):
    found, requests = revising("judges", jail)  # there is no judge
    assert requests == [] and [r.author for r in found.drafts] == ["t"]


def test_several_revisions_of_a_draft_all_join_the_drafts(jail):
    found, requests = revising("both", jail, revisions=3)
    assert len(requests) == 1 and [r.author for r in found.drafts] == ["t"] + ["revision 1"] * 3


def test_the_same_drafts_are_revised_from_each_kind_of_evidence(jail):
    found, _ = revising("critique", jail)
    passed, _ = run_once(jail, lambda request, i: "<think>3 + 4 = 7</think>7")
    teacher = Scripted(lambda request, i: f"revision {i}")
    settings = loop.RefineSettings(revisions=2, evidence="verifier")
    made = loop.revise_best([passed, found], teacher, jail, settings)
    assert {number: [c.text for c in group] for number, group in made.items()} == {
        1: ["revision 0", "revision 1"]
    }
    assert teacher.asked == [
        "What is 3 + 4?\nDraft: 3 + 4 = 8 -> 8\nCritique: step 1 is false: 3 + 4 = 8\nRevise."
    ]
    assert loop.revise_best([passed], teacher, jail, settings) == {}
    assert loop.revise_best([found], teacher, jail, loop.RefineSettings(evidence="judges")) == {}


def run_once(jail, answer):
    settings = loop.RefineSettings(candidates=1, rounds=0)
    (found,), spent = loop.refine([SUM], {"t": Scripted(answer)}, None, [], jail, settings)
    return found, spent
