"""The embedded world: splits hold by construction, verifiers accept the reference and reject others,
documents are what they say."""

import logging
import random
import re
from itertools import product

import pytest
import tiny

from nbkit.evals.evaluate import evaluate, verdicts
from nbkit.models.engine import Completion
from nbkit.tasks import skills, world
from nbkit.text.equations import equations
from nbkit.verify.errors import GraderError
from nbkit.verify.jail.jail import Jail
from nbkit.verify.jail.tiers import SandboxUnavailable, probe

NAMES = sorted(skills.skills())


def test_the_world_is_large_enough_and_covers_every_domain():
    counts = {d: sum(s.domain == d for s in skills.skills().values()) for d in skills.DOMAINS}
    assert len(NAMES) >= 30 and min(counts.values()) >= 5, counts


@pytest.mark.parametrize("name", NAMES)
def test_splits_share_no_question_and_levels_exist(name):
    spec = skills.skills()[name]
    seen = {}
    for split in spec.splits():
        rng = random.Random(1)
        seen[split] = {
            skills.draw(name, rng.randint(1, spec.levels), split, rng).question for _ in range(150)
        }
    assert not seen["train"] & seen["operands"]
    assert not seen["train"] & seen["template"]
    if spec.composes:
        assert not seen["train"] & seen["composition"]


@pytest.mark.parametrize("name", [n for n in NAMES if not skills.skills()[n].fact])
def test_held_out_operands_are_held_out_in_every_wording(name):
    """`draw` makes its first draft from the same seed, so each held-out draft is offered to "train" once
    and must be refused there, and no other seed may ask for it in any wording or under any free name."""
    spec, asked, held = skills.skills()[name], set(), []
    for level, seed in product(range(1, spec.levels + 1), range(200)):
        asked.add(skills.draw(name, level, "train", random.Random(seed)).question)
        draft = spec.make(random.Random(seed), level)
        operands = sorted((slot, value) for slot, value in draft.slots.items() if slot not in draft.free)
        if skills.held_out(f"{name}|{operands}"):
            held.append(draft)
    assert held
    free = {slot: sorted({draft.slots[slot] for draft in held}) for slot in held[0].free}
    for draft, values in product(held, product(*free.values())):
        slots = draft.slots | dict(zip(free, values, strict=True))
        assert not asked & {template.format(**slots) for template in spec.templates[:-1]}


def test_every_reference_passes_its_verifier_and_another_answer_fails():
    try:
        probe()
    except SandboxUnavailable as error:
        pytest.skip(str(error))
    with Jail() as jail:
        for task in skills.sample(3 * len(NAMES), "train", seed=4):
            assert skills.verify(task, f"<think>{task.chain}</think>{task.answer}", jail), task
            assert skills.verify(task, world.worked(task).split("Solution:")[1], jail), task
            assert not skills.verify(task, f"<think>{task.chain}</think>{task.answer}1 no", jail), task
            assert not skills.verify(task, "", jail), task


def test_arithmetic_in_the_steps_is_true():
    for task in skills.sample(1000, "train", seed=5):
        assert all(equations(task.chain)), task


@pytest.mark.parametrize(
    "answer",
    ["4 * 2", "4*2", "4 × 2", "(4)(2)", "4(2)", "16/2", "16 : 2", "10 - 2", "10−2", "2^3", r"4 \times 2"],
)
def test_the_question_again_is_no_answer(answer):
    task = skills.Task("multiply", "math", 1, "train", "Compute 4 * 2.", (), "8", "number")
    assert not skills.verify(task, answer)
    assert not skills.verify(task, f"<think>4 * 2 = 8</think>{answer}")


@pytest.mark.parametrize("answer", ["8", "4 * 2 = 8", " 8.", "8.0", "+8", "8 apples"])
def test_a_number_is_an_answer(answer):
    task = skills.Task("multiply", "math", 1, "train", "Compute 4 * 2.", (), "8", "number")
    assert skills.verify(task, answer)


@pytest.mark.parametrize("name", NAMES)
def test_no_reference_is_taken_for_an_unworked_expression(name):
    levels = range(1, skills.skills()[name].levels + 1)
    drawn = [skills.draw(name, level, "train", random.Random(level)) for level in levels]
    assert all(skills.worked_out(task.answer) for task in drawn if task.kind == "number")


def test_code_without_a_jail_is_refused():
    task = skills.draw("write_arithmetic", 1, "train", random.Random(0))
    with pytest.raises(ValueError, match="jail"):
        skills.verify(task, task.answer)


def test_shares_are_met_exactly_and_samples_are_deterministic():
    tasks = skills.sample(1000, "train", 7, {"math": 0.5, "science": 0.3, "code": 0.2})
    assert [sum(t.domain == d for t in tasks) for d in ("math", "science", "code")] == [500, 300, 200]
    assert tasks == skills.sample(1000, "train", 7, {"math": 0.5, "science": 0.3, "code": 0.2})
    assert tasks != skills.sample(1000, "train", 8, {"math": 0.5, "science": 0.3, "code": 0.2})


def test_largest_remainder_by_hand():
    assert skills.largest_remainder(10, [1, 1, 1]) == [4, 3, 3]
    assert skills.largest_remainder(7, [0.5, 0.3, 0.2]) == [4, 2, 1]
    assert skills.largest_remainder(0, [1, 2]) == [0, 0]


def test_bad_requests_name_what_is_wanted():
    with pytest.raises(ValueError, match="nope.*wanted one of"):
        skills.draw("nope", 1, "train", random.Random(0))
    with pytest.raises(ValueError, match="level: got 9"):
        skills.draw("add", 9, "train", random.Random(0))
    with pytest.raises(ValueError, match="split: got 'composition' for skill 'add'"):
        skills.draw("add", 1, "composition", random.Random(0))
    with pytest.raises(ValueError, match="unknown domain"):
        skills.sample(5, "train", 0, {"maths": 1.0})


@pytest.mark.parametrize(
    ("text", "call"),
    [
        ('<tool_call>{"name": "a", "arguments": {"x": 1}}</tool_call>', {"name": "a", "arguments": {"x": 1}}),
        ('<tool_call>{"name": "a"}</tool_call>', {"name": "a", "arguments": {}}),
        ("<tool_call>not json</tool_call>", None),
        ('<tool_call>{"name": "a", "arguments": {}}', None),
        ("no call", None),
        (2 * '<tool_call>{"name": "a", "arguments": {}}</tool_call>', None),
    ],
)
def test_tool_calls_are_parsed_strictly(text, call):
    assert skills.parse_tool_call(text) == call


def test_corpus_has_every_tier_in_its_share_and_no_evaluation_question():
    docs = world.corpus(4000, seed=1)
    shares = {t: sum(d["truth_tier"] == t for d in docs) / len(docs) for t in world.TIERS}
    assert all(abs(shares[t] - world.TIERS[t]) < 0.03 for t in world.TIERS), shares
    held = {t.question for t in world.eval_tasks(1000, "operands")}
    lines = {line.removeprefix("Question: ") for d in docs for line in d["text"].split("\n")}
    assert not held & lines
    assert docs == world.corpus(4000, seed=1)


def test_wrong_documents_are_mostly_wrong():
    docs = [
        d
        for d in world.corpus(3000, seed=2)
        if d["truth_tier"] == "wrong" and "Question: What is" in d["text"]
    ]
    stated = [
        m
        for d in docs
        for m in re.findall(r"Question: What is (\d+) \+ (\d+)\?\nSolution: .*\nAnswer: (-?\d+)", d["text"])
    ]
    assert stated and all(int(a) + int(b) != int(c) for a, b, c in stated)


@pytest.mark.parametrize("seed", [0, 2])  # with seed 2 two packages' __init__ came early
def test_natural_text_has_an_id_of_its_own_for_every_piece(seed):
    ids = [doc["id"] for doc in world.natural_text(10_000_000, seed)]
    assert len(ids) > 1000 and len(set(ids)) == len(ids)


def test_natural_text_is_real_and_bounded():
    docs = world.natural_text(50_000, seed=0)
    assert 40_000 < sum(len(d["text"]) for d in docs) < 51_000
    assert all(d["source"] == "stdlib" for d in docs)


def test_a_raw_response_becomes_a_turn():
    turn = world.response_turn("<think>a\nb</think>c")
    assert (turn["reasoning_content"], turn["content"]) == ("a\nb", "c")
    assert world.response_turn("just c") == {"role": "assistant", "content": "just c"}


@pytest.mark.parametrize("split", skills.SPLITS[1:])
def test_evaluation_questions_differ_and_a_smaller_set_begins_a_larger_one(split):
    n = 500 if split == "composition" else 1000
    tasks = world.eval_tasks(n, split)
    assert len({t.question for t in tasks}) == n
    assert tasks[:60] == world.eval_tasks(60, split)
    assert {t.question for t in tasks} <= set(world.eval_texts())
    with pytest.raises(ValueError, match="different ones"):
        world.eval_tasks(10**6, split)


def test_a_grader_failure_is_not_a_wrong_answer():
    with pytest.raises(GraderError):
        skills.verify(UNGRADABLE, "7")


UNGRADABLE = skills.Task("x", "math", 1, "test", "q", (), "", "number")  # its reference is empty
GRADABLE = skills.Task("add", "math", 1, "test", "q", (), "7", "number")


def test_a_question_the_grader_fails_on_is_masked_and_logged(caplog):
    with caplog.at_level(logging.WARNING, logger="nbkit"):
        got = verdicts([GRADABLE, UNGRADABLE, GRADABLE], [["7", "8"], ["7", "7"], [None, "7"]], None, 0.4)
    assert got.tolist() == [[True, False], [None, None], [False, True]]
    assert "failed on 1 of 3 questions" in caplog.text and "x: the answer ''" in caplog.text


def test_nothing_is_logged_when_nothing_fails_and_no_task_is_no_error(caplog):
    assert verdicts([GRADABLE], [["7"]], None).tolist() == [[True]]
    assert verdicts([], [], None).mean(1).shape == (0,)
    assert not caplog.records


@pytest.mark.parametrize(("failures", "of"), [(1, 100), (2, 200)])
def test_the_limit_of_grader_failures_is_a_share_of_all_questions(failures, of):
    tasks = [UNGRADABLE] * failures + [GRADABLE] * (of - failures)
    assert verdicts(tasks, [["7"]] * of, None).mean() == 1.0
    with pytest.raises(GraderError, match=rf"failed on {failures + 1} of .* {of} questions.* x: the"):
        verdicts([UNGRADABLE] + tasks[:-1], [["7"]] * of, None)
    with pytest.raises(ValueError, match="infra_limit: got 2"):
        verdicts(tasks, [["7"]] * of, None, infra_limit=2)


def test_evaluation_leaves_grader_failures_out_of_every_mean():
    class Seven:
        tokenizer = tiny.tokenizer()

        def sample(self, prompts, n, *args, **kwargs):
            return [[Completion("7", [1]), Completion("8", [1])] for _ in prompts]

    lost = skills.Task("y", "code", 1, "test", "q", (), "", "number")
    result = evaluate(Seven(), [GRADABLE, UNGRADABLE, GRADABLE, lost], "chat", None, k=2, infra_limit=0.5)
    whole = evaluate(Seven(), [GRADABLE, GRADABLE], "chat", None, k=2)
    assert (result.infra, whole.infra) == (2, 0) and result.graded == [0, 2]
    assert len(result.correct_QK) == 4, "rows stay those of the tasks"
    assert result.summary() == whole.summary() | {"infra": 2}, "a domain with no graded question has no score"
    with pytest.raises(GraderError, match="failed on 1 of"):
        evaluate(Seven(), [GRADABLE, UNGRADABLE], "chat", None, k=2)


def test_the_name_of_a_function_does_not_make_it_another_task():
    rng = random.Random(0)
    seen = {
        (t.question.replace(f" {t.entry} ", " "), t.chain)
        for t in (skills.draw("write_arithmetic", 1, "train", rng) for _ in range(400))
    }
    held = {
        (t.question.replace(f" {t.entry} ", " "), t.chain)
        for t in (skills.draw("write_arithmetic", 1, "operands", rng) for _ in range(100))
    }
    assert not {c for _, c in seen} & {c for _, c in held}
