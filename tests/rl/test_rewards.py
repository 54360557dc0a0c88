"""Every reward of 06 by hand-computed cases, and what is masked when a grader fails."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import tiny
import torch

from nbkit.models.engine import Completion, Generator, user_prompt
from nbkit.rl import rewards
from nbkit.rl.judge import PairwiseJudge
from nbkit.rl.loop.rollouts import summary
from nbkit.rl.trl.grpo import GRPOSettings, grpo
from nbkit.tasks.skills import Task
from nbkit.text.tool_calls import tool_call
from nbkit.verify.code.grade import Call
from nbkit.verify.code.synthesis import Suite
from nbkit.verify.errors import GraderError

END = 7  # stands for <|im_end|>
SUM = Task("add", "math", 1, "train", "What is 3 + 4?", (), "7", "number")
SKY = Task("sky", "general", 1, "train", "What colour is the sky?", (), "blue")
RAIN = Task("rain", "agent", 1, "train", "Rain in Oslo?", (), tool_call("weather", city="Oslo"), "tool")
SQUARE = Task("square", "code", 1, "train", "Square x.", (), "", "code", (((2,), 4),), "f")
OPEN = Task("poem", "general", 1, "train", "Write a poem.", (), "", "open")
NO_REFERENCE = Task("add", "math", 1, "train", "What is 3 + 4?", (), "", "number")  # the set's fault
NO_CALL = Task("rain", "agent", 1, "train", "Rain in Oslo?", (), "It rains.", "tool")  # the set's fault


class OneJail:
    """A pool of one jail that lends it at once."""

    def __init__(self, jail=None):
        self.jail = jail

    def map(self, function, rows):
        return [function(self.jail, *row) for row in rows]

    def __getattr__(self, name):
        return getattr(self.jail, name)


class BrokenJail:
    def call(self, *arguments, **options):
        return SimpleNamespace(status="infra", detail="out of workers", values=[])


def earned(tasks, completions, jail=None, ids=(1, END), **options) -> list:
    """Rewards of (index, text) or (index, text, token ids), by `verified`: each a group of its own."""
    groups = []
    for _, text, *tokens in completions:
        own = list(tokens[0]) if tokens else list(ids)
        groups.append([Completion(text, own, "stop" if own and own[-1] in (END, 9) else "length")])
    pool = OneJail(jail) if jail else None
    found = rewards.verified(pool or OneJail(), **options)([tasks[row[0]] for row in completions], groups)
    return [reward for (reward,) in found]


def test_a_finished_right_answer_earns_one():
    tasks = [SUM, SKY]
    given = [
        (0, "<think>3 + 4 = 7</think>7"),
        (0, "8"),
        (1, "blue"),
        (1, "<think>red</think> blue"),
        (0, "7"),
    ]
    assert earned(tasks, given) == [1.0, 0.0, 1.0, 1.0, 1.0]


def test_an_answer_without_a_chain_earns_as_much_unless_steps_are_paid():
    worked = replace(SUM, steps=("3 + 4 = 7",))
    given = [(0, "<think>3 + 4 = 7</think>7"), (0, "7"), (0, "8")]
    assert earned([worked], given) == [1.0, 1.0, 0.0]
    assert earned([worked], given, process=0.25) == [1.0, 0.75, 0.0]
    group = [Completion(text, [1, END], "stop") for _, text in given]
    assert summary([group], np.array([[1.0, 1.0, 0.0]]), np.zeros((1, 3)))["thinks"] == pytest.approx(1 / 3)


def test_a_right_answer_that_was_cut_off_or_is_empty_earns_nothing():
    given = [(0, "7", [1, 2]), (0, "7", []), (0, "7", [END, 1]), (0, "7", [1, 9]), (0, "", [END])]
    assert earned([SUM], given) == [0.0, 0.0, 0.0, 1.0, 0.0]


def test_domains_mix_in_one_step(jail):
    tasks = [SUM, SKY, RAIN, SQUARE]
    square = "<think>x times x</think>```python\ndef f(x):\n    return x * x\n```"
    given = [
        (3, square),
        (2, f"<think>a tool</think>{tool_call('weather', city='Oslo')}"),
        (1, "blue"),
        (0, "7"),
        (3, "def f(x): return x + 3"),
        (2, tool_call("weather", city="Rome")),
        (1, "7"),
        (0, "blue"),
    ]
    assert earned(tasks, given, jail) == [1.0, 1.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0]


def test_a_failed_grader_masks_its_own_completion_only():
    given = [(0, "7"), (1, "7"), (0, "8"), (2, RAIN.answer), (1, "7", [1])]
    assert earned([SUM, NO_REFERENCE, NO_CALL], given) == [1.0, None, 0.0, None, 0.0]


def test_a_jail_that_fails_pays_nothing_and_costs_nothing():
    given = [(0, "def f(x): return x * x"), (1, "7"), (0, "def f(x): return 0")]
    assert earned([SQUARE, SUM], given, BrokenJail()) == [None, 1.0, None]


def test_a_task_that_cannot_be_graded_is_no_failed_grader():
    with pytest.raises(ValueError, match="open questions have no verifier"):
        earned([OPEN], [(0, "Roses are red")])
    with pytest.raises(ValueError, match="pass an open nbkit.verify.jail.jail.Jail"):
        earned([SQUARE], [(0, "def f(x): return x * x")])


def test_only_the_graders_own_error_is_masked():
    def fails(error):
        raise error

    assert rewards.or_masked(fails, GraderError("no worker")) is None
    with pytest.raises(RuntimeError, match="a bug"):
        rewards.or_masked(fails, RuntimeError("a bug"))
    assert rewards.or_masked(max, 1, 2) == 2


def test_synthetic_tests_decide_a_code_question_in_place_of_its_examples(jail):
    suite = Suite("f", "def f(x): return x * x", [Call([3], 9)], [Call([5], 25), Call([0], 0)], [], [], 3)
    task = rewards.with_suite(SQUARE, suite)
    assert task.calls == (((3,), 9), ((5,), 25), ((0,), 0))
    assert (task.question, task.entry, task.kind) == (SQUARE.question, SQUARE.entry, SQUARE.kind)
    remembers = "def f(x): return {2: 4, 3: 9}.get(x)"  # what was shown, and no more
    given = [(0, remembers), (1, remembers), (1, "def f(x): return x ** 2")]
    assert earned([SQUARE, task], given, jail) == [1.0, 0.0, 1.0]


class Shorter(PairwiseJudge):
    """Prefers the shorter answer, is torn between equally long ones, and fails on answers that say so."""

    def __init__(self):
        pass

    def prefer(self, triples):
        if any("fail" in first + second for _, first, second in triples):
            raise GraderError("the judge gave no verdict")
        return np.array([0.5 + 0.5 * np.sign(len(b) - len(a)) for _, a, b in triples])


def group(*texts):
    return [Completion(text, [1, END], "length" if text == "cut" else "stop") for text in texts]


def preferred(groups, references, tasks=(SKY, SUM)):
    return rewards.preferred(Shorter(), lambda asked: references)(tasks, groups)


def test_preference_pays_the_mean_of_wins_over_fixed_references():
    groups = [group("<think>long thoughts</think>a", "bbb", "cc"), group("dddd", "d", "Answer: d")]
    # "bb" and "cccc": a and "cc" tie with one of equal length; in the second group "d" is the reference
    assert preferred(groups, [["bb", "cccc"], ["d", "d"]]) == [[1.0, 0.5, 0.75], [0.0, 0.5, 0.5]]


def test_a_group_that_improves_as_a_whole_is_paid_for_it():
    """Inside the group its wins would cancel: the mean would be one half, whatever it learned."""
    ((*earned,),) = preferred([group("a", "b", "c", "d")], [["bb"]], [SKY])
    assert earned == [1.0] * 4


def test_a_preferred_answer_that_was_cut_off_loses():
    assert preferred([group("a", "cut")], [["bb"]], [SKY]) == [[1.0, 0.0]]


def test_a_judge_that_fails_masks_its_question_only():
    assert preferred([group("a", "fail"), group("bb", "b")], [["cc"], ["cc"]]) == [[None, None], [0.5, 1.0]]


def test_references_that_were_cut_off_are_left_out_and_sampled_again():
    class Start:
        asked = []

        def sample(self, prompts, n, limit, temperature, seed):
            self.asked.append((len(prompts), seed))
            # At the first asking the second question's answers are cut off, both of them.
            return [group("cut", "later")] if self.asked[1:] else [group("cut", "whole"), group("cut", "cut")]

    start = Start()
    assert rewards.fixed_references(start, 2, 6, seed=0)([SKY, SUM]) == [["whole"], ["later"]]
    assert [n for n, _ in start.asked] == [2, 1] and len({seed for _, seed in start.asked}) == 2


def test_without_a_reference_an_answer_that_ends_has_won():
    assert preferred([group("a", "cut")], [[]], [SKY]) == [[1.0, 0.0]]


def test_references_are_those_of_the_start_and_the_same_at_every_asking(monkeypatch):
    # A third of the vocabulary ends a turn: an untrained model ends, too.
    stops = list(range(0, 320, 3))
    monkeypatch.setattr("nbkit.models.engine.stop_tokens", lambda tokenizer, stop=(): stops)
    tokenizer = tiny.tokenizer()
    start = tiny.model()
    references = rewards.fixed_references(Generator(start, tokenizer), 3, 6, seed=4)
    first = references([SKY, SUM])
    with torch.no_grad():  # the trained policy moves, the generator has weights of its own
        for parameter in start.parameters():
            parameter.add_(torch.randn_like(parameter))
    assert references([SKY, SUM]) == first and all(first)
    assert rewards.fixed_references(Generator(tiny.model(), tokenizer), 3, 6, seed=4)([SKY, SUM]) == first


def test_steps_that_hold_are_paid_a_share():
    task = Task(
        "add", "math", 1, "train", "What is 30 + 12?", ("30 + 10 = 40", "40 + 2 = 42"), "42", "number"
    )
    given = [
        (0, "<think>30 + 10 = 40\n40 + 2 = 42</think>42"),
        (0, "<think>30 + 10 = 40\n40 + 2 = 43</think>43"),
        (0, "42"),
        (0, "<think>30 + 10 = 40\n40 + 2 = 42</think>42", [1, 2]),
    ]
    assert earned([task], given, process=0.4) == pytest.approx([1.0, 0.2, 0.6, 0.0])


def test_a_program_that_remembers_the_public_test_loses(jail):
    suite = Suite("f", "def f(x): return x * x", [Call([3], 9)], [Call([5], 25), Call([0], 0)], [], [], 3)
    special = "def f(x):\n    if x == 3: return 9\n    return x + 2"
    assert earned([rewards.with_suite(SQUARE, suite)], [(0, special)], jail) == [0.0]


def test_trl_gets_the_same_rewards_in_its_own_order():
    def grade(tasks, groups):
        return [[float(len(c.ids)) if c.stopped else None for c in group] for group in groups]

    tokenizer = tiny.tokenizer()
    (stop,) = tokenizer.encode("<|im_end|>", add_special_tokens=False)
    reward = rewards.as_trl(grade, [SKY, SUM], tokenizer, [stop], 2)
    ids = [[5, stop], [5, 6], [5, 6, 7, stop], [stop]]
    assert reward([""] * 4, [""] * 4, index=[1, 1, 0, 0], completion_ids=ids, more=1) == [2.0, None, 4.0, 1.0]
    with pytest.raises(
        ValueError, match=r"got questions \[0, 1\] in the group at row 0, wanted one; got group=2"
    ):
        reward([""] * 2, [""] * 2, index=[0, 1], completion_ids=ids[:2])


def test_a_step_that_no_grader_could_grade_changes_no_weight(tmp_path):
    """From GraderError to the weights: every reward is None, so the step is masked (docs/formats.md)."""
    model = tiny.model()
    before = [p.clone() for p in model.parameters()]
    prompt = user_prompt(tiny.tokenizer(), NO_REFERENCE.question)
    every_token = range(len(tiny.tokenizer()))  # each completion counts as finished, so each is graded
    tasks = [NO_REFERENCE] * 2
    history, _ = grpo(
        model,
        tiny.tokenizer(),
        [{"prompt": prompt, "index": i} for i in range(2)],
        rewards.as_trl(rewards.verified(OneJail()), tasks, tiny.tokenizer(), every_token, 4),
        GRPOSettings(steps=2, prompts_per_step=2, group=4, lr=1e-2, max_new_tokens=4, seed=0),
        out=tmp_path,
    )
    assert [(row["graded"], row["reward"]) for row in history] == [(0.0, 0.0), (0.0, 0.0)]
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))
