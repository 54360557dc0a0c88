"""What exact tools find in a solution, in words that a reviser can use: which equation is false, which
number came from nowhere, which stated test fails, which constraint of the instruction is broken. Used by 04.

    found = findings(checklist("What is 30 + 20?"), "What is 30 + 20?", draft, jail)
    # (Finding("equation", "step 1 is false: 30 + 20 = 60"), ...)

A critique names one complaint per item of the checklist; findings name every fault and where it stands.
They come from the instruction and the draft alone: this module imports neither tasks nor their verifier, and
a test holds it to that. They say *that* something is wrong, never what would be right, so that no reference
answer, not even one that a tool could compute, enters what a model is trained on.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from nbkit.models.engine import Completion
from nbkit.refine.checklist import Item, checklist
from nbkit.refine.critique import Review, split_response
from nbkit.refine.draft_checks import CHECKS
from nbkit.text.equations import given, numbers, operands, stated
from nbkit.verify.code.blocks import extract_code
from nbkit.verify.code.grade import grade
from nbkit.verify.code.suites import mbpp_calls
from nbkit.verify.errors import GraderError, settled

# Where the words of a revision request come from. "critique": every complaint of the loop as it stands.
EVIDENCE = ("critique", "judges", "verifier", "both")
# Kinds of error, the hardest evidence first: a draft counts as the first kind that it has.
KINDS = ("equation", "operand", "test", "constraint", "form", "judged", "outvoted", "none")
_EQUATION, _TEST = {"arithmetic", "supported"}, {"tests", "runs"}
_FORM = {"finished", "reasons", "number", "literal", "json", "tool", "defines"}
_HARD = ("form", "tool")


@dataclass(frozen=True)
class Finding:
    """One fault: its kind (of KINDS), and what is wrong in words."""

    kind: str
    words: str


def findings(items: Sequence[Item], question: str, draft: Completion, jail) -> tuple[Finding, ...]:
    """Every fault that tools find in one draft, false equations first. Stated tests run in `jail`, one by
    one; where the jail fails on one, it says nothing about it. `question`: the instruction that `items` were
    read off. On 4,800 reference chains of the embedded world 25 have a finding, all of them subtractions that
    split a digit."""
    chain, answer = split_response(draft.text)
    # The chain line by line: what is false, then what comes from nowhere.
    found = [*_false_steps(chain, answer), *_strange_numbers(question, chain)]
    for item in items:
        # Equations are done, judged items need a model.
        if item.kind in ("arithmetic", "judged"):
            continue
        if item.kind == "tests":
            found += _failing_tests(item.value, answer, jail)
            continue
        check, _ = CHECKS[item.kind]
        try:
            wrong = check(draft, chain, answer, item.value, jail)
        except GraderError:
            continue
        if wrong:
            found.append(Finding(kind_of(item.kind), f"{wrong}; wanted: {item}"))
    return tuple(found)


def kind_of(item_kind: str) -> str:
    """The kind of error that an unmet item of a checklist is."""
    for name, kinds in (("equation", _EQUATION), ("test", _TEST), ("form", _FORM)):
        if item_kind in kinds:
            return name
    return "judged" if item_kind == "judged" else "constraint"


def error_of(review: Review, question: str) -> str:
    """The kind of error (of KINDS) that the loop sees in a draft, from its critiques alone: nothing runs
    again. "none" where every evaluator is content."""
    kinds = {str(item): kind_of(item.kind) for item in checklist(question)}
    found = set()
    for critique in review.critiques:
        if critique.met:
            continue
        if critique.evaluator in _HARD:
            # Items that are not on the list (no draft came) are faults of form.
            found.add(kinds.get(critique.item, "form"))
        else:
            found.add("outvoted" if critique.evaluator == "agreement" else "judged")
    return next((kind for kind in KINDS if kind in found), "none")


def words(review: Review, evidence: str, found: Sequence[Finding] = ()) -> tuple[str, ...]:
    """What a reviser is told about a draft, by `evidence` (of EVIDENCE): the loop's complaints as they stand,
    the vote's among them ("others say 7"); the judges' words; the verifier's findings; or the findings, then
    the judges' words. Raises ValueError for another name."""
    if evidence not in EVIDENCE:
        raise ValueError(f"evidence: got {evidence!r}, wanted one of {EVIDENCE}")
    if evidence == "critique":
        return review.complaints
    told = () if evidence == "judges" else tuple(finding.words for finding in found)
    if evidence == "verifier":
        return told
    # Form and tools are what the findings are about, and a vote names an answer: neither is said here.
    return told + tuple(c.comment for c in review.critiques if not c.met and c.evaluator == "judge")


def evidence_of(review: Review, question: str, evidence: str, jail) -> tuple[str, ...]:
    """`words` for a reviewed draft; tools look at it again where their findings are wanted."""
    if evidence not in ("verifier", "both"):
        return words(review, evidence)
    draft = Completion(review.text, [], "stop" if review.stopped else "length")
    return words(review, evidence, findings(checklist(question), question, draft, jail))


def _false_steps(chain: str, answer: str) -> list[Finding]:
    steps = enumerate(chain.split("\n"), 1)
    places = [*((f"step {number}", step) for number, step in steps), ("the answer", answer)]
    return [
        Finding("equation", f"{place} is false: {equation}")
        for place, text in places
        for equation, holds in stated(text)
        if not holds
    ]


def _strange_numbers(question: str, chain: str) -> list[Finding]:
    """Numbers on the left of an equation that neither the question nor an earlier step gives."""
    known, found = set(numbers(question)), []
    for place, step in enumerate(chain.split("\n"), 1):
        for equation, _ in stated(step):
            left, _, right = equation.rpartition("=")
            strange = [text for text in operands(left)[:50] if not given(Fraction(text), known)]
            if strange:
                told = f"step {place} uses {strange[0]}, which nothing before it gives"
                found.append(Finding("operand", told))
            known |= set(numbers(right))
        known |= set(numbers(step))
    return found


def _failing_tests(tests: Sequence[str], answer: str, jail) -> list[Finding]:
    parsed = mbpp_calls(tests)
    if parsed is None:  # a test that cannot be run without trusting the program says nothing
        return []
    entry, calls = parsed
    found = []
    for text, call in zip(tests, calls, strict=True):
        try:
            passed = (
                settled(grade(jail, extract_code(answer), entry, [call]), "test a draft").status == "pass"
            )
        except GraderError:
            continue
        if not passed:
            found.append(Finding("test", f"fails the stated test: {text}"))
    return found
