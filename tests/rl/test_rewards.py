"""Every reward of 06 by hand-computed cases, and what is masked when a grader fails."""

import asyncio
from types import SimpleNamespace

import numpy as np
import pytest
import tiny
import torch

from nbkit.models.engine import Completion, user_prompt
from nbkit.rl import rewards
from nbkit.rl.grpo import GRPOSettings, grpo, within_band
from nbkit.rl.judge import PairwiseJudge
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

    async def do(self, function, *arguments):
        return function(self.jail, *arguments)


class BrokenJail:
    def call(self, *arguments, **options):
        return SimpleNamespace(status="infra", detail="out of workers", values=[])


def earned(tasks, completions, jail=None, ids=(1, END)) -> list:
    """Rewards of (index, text) or (index, text, token ids), by `verified`."""
    index, texts = [row[0] for row in completions], [row[1] for row in completions]
    tokens = [list(row[2] if len(row) > 2 else ids) for row in completions]
    reward = rewards.verified(tasks, OneJail(jail), stops=[END, 9])
    return asyncio.run(reward([""] * len(index), texts, index=index, completion_ids=tokens, other=None))


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


def preferred(index, texts, group):
    reward = rewards.preferred([SKY, SUM], Shorter(), group=group, opponents=9, seed=0)
    return reward([""] * len(index), texts, index=index, completion_ids=None)


def test_preference_pays_the_mean_of_wins_within_the_group():
    texts = ["<think>long thoughts</think>a", "bbb", "cc", "dddd", "d", "Answer: d"]
    # a beats bbb and cc, cc beats bbb; in the second group the two "d" tie and both beat "dddd"
    assert preferred([0, 0, 0, 1, 1, 1], texts, 3) == [1.0, 0.0, 0.5, 0.0, 0.75, 0.75]


def test_a_judge_that_fails_masks_its_group_only():
    assert preferred([0, 0, 1, 1], ["a", "fail", "bb", "b"], 2) == [None, None, 0.0, 1.0]


def test_answers_to_different_questions_are_not_compared():
    with pytest.raises(ValueError, match=r"got questions \[0, 1\] in the group at row 2, wanted one"):
        preferred([0, 0, 0, 1], ["a", "b", "c", "d"], 2)


def test_preference_rates_are_wins_against_the_greedy_answer():
    class Policy:
        """Greedily "bb" to every question; samples differ by question."""

        samples = [["a", "a", "bb", "cccc"], ["a", "fail", "a", "a"], ["a"] * 4]

        def sample(self, prompts, n, max_new_tokens, temperature=0.0, seed=None):
            assert (max_new_tokens, n) == (8, 4 if temperature else 1)
            assert (temperature, seed) in ((0.0, None), (1.0, 3))
            texts = self.samples if temperature else [["bb"]] * len(prompts)
            return [[Completion(f"<think>x</think>{text}") for text in group] for group in texts]

    rates = rewards.preference_rates(
        Shorter(), Policy(), ["p"] * 3, [SKY, SKY, SUM], n=4, max_new_tokens=8, seed=3
    )
    assert np.array_equal(rates, [0.5, np.nan, 1.0], equal_nan=True)  # a tie is no win
    assert within_band(rates).tolist() == [True, False, False]


def test_a_step_that_no_grader_could_grade_changes_no_weight(tmp_path):
    """From GraderError to the weights: every reward is None, so the step is masked (docs/formats.md)."""
    model = tiny.model()
    before = [p.clone() for p in model.parameters()]
    prompt = user_prompt(tiny.tokenizer(), NO_REFERENCE.question)
    every_token = range(len(tiny.tokenizer()))  # each completion counts as finished, so each is graded
    history, _ = grpo(
        model,
        tiny.tokenizer(),
        [{"prompt": prompt, "index": 0}] * 2,
        rewards.verified([NO_REFERENCE], OneJail(), every_token),
        GRPOSettings(steps=2, prompts_per_step=2, group=4, lr=1e-2, max_new_tokens=4, seed=0),
        out=tmp_path,
    )
    assert [(row["graded"], row["reward"]) for row in history] == [(0.0, 0.0), (0.0, 0.0)]
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))
