"""The page in Chromium answers 50 questions as torch does, token for token; under node: test_decoder.py."""

from __future__ import annotations

import json
import shutil

import play_outputs
import tiny
import torch
from browser import Browser, needs_chromium

from nbkit.cli.play import page, questions
from nbkit.models.chat_ids import token_ids
from nbkit.models.engine import render, stop_tokens
from nbkit.models.load import SHIPPED, load, new_model, save
from nbkit.tasks.skills import DOMAINS, Task, sample
from nbkit.tasks.world import base_prompt, prompt_of

MOST = 16
# Asks one question after the other in the page's own form; what each card's worker sends last is kept.
ASK_ALL = """
window.answers = [];
(async (asked, most) => {
  at("most").value = most;
  for (const question of asked) {
    at("question").value = question;
    const done = cards.map((card) => new Promise((resolve) => {
      card.worker.addEventListener("message", function hear({data}) {
        if (data.run !== run || data.kind === "part") return;
        card.worker.removeEventListener("message", hear);
        resolve([data.kind, data.text, data.tokens, data.ended]);
      });
    }));
    at("ask").requestSubmit();
    window.answers.push(await Promise.all(done));
  }
})(%s, %d);
"""


def publish() -> dict[str, str]:
    """A random base and the shipped teacher as checkpoints of a profile; returns their forms by folder."""
    base = play_outputs.publish("02_pretrain", ["student_fg"]) / "student_fg"
    save(base, new_model(tiny.tokenizer(), play_outputs.SHAPE, seed=7), tiny.tokenizer())
    chat = play_outputs.publish("06_rl", ["rl"]) / "rl"
    shutil.copytree(SHIPPED, chat)
    return {str(base): "base", str(chat): "chat"}


@torch.inference_mode()
def greedy(model, prompts: list[list[int]], stops: list[int]) -> list[list[int]]:
    """The likeliest token again and again, for all prompts at once: rows are filled up on the right, where a
    causal model does not see it."""
    answers: list[list[int]] = [[] for _ in prompts]
    for _ in range(MOST):
        rows = [prompt + answer for prompt, answer in zip(prompts, answers, strict=True)]
        longest = max(map(len, rows))
        logits_BTV = model(torch.tensor([row + [0] * (longest - len(row)) for row in rows])).logits
        for i, row in enumerate(rows):
            if not answers[i] or answers[i][-1] not in stops:
                answers[i].append(int(logits_BTV[i, len(row) - 1].argmax()))
    return answers


def wanted(folder: str, form: str, asked: list[str]) -> list[list]:
    """[kind, text, tokens, why it ended] of the greedy answers, in float32 from the page's half precision."""
    model, tokenizer = load(folder)
    model, stops = model.half().float(), stop_tokens(tokenizer)
    plain = [Task("", "", 1, "", question, (), "") for question in asked]
    texts = [base_prompt(task.question) if form == "base" else prompt_of(task) for task in plain]
    prompts = [token_ids(tokenizer, render(tokenizer, text)) for text in texts]
    found = []
    for ids in greedy(model, prompts, stops):
        stopped = ids[-1] in stops
        text = tokenizer.decode(ids[:-1] if stopped else ids)
        found.append(["done", text, len(ids), "stop" if stopped else "length"])
    return found


@needs_chromium
def test_fifty_answers_in_a_browser_are_those_of_torch(outputs, tmp_path):
    models = publish()
    asked = [t.question for domain in DOMAINS for t in sample(10, "operands", 2, {domain: 1.0})]
    assert len(asked) == 50
    path = page.build(play_outputs.PROFILE)
    with Browser(tmp_path / "browser") as browser:
        browser.open(path)
        browser.wait_for("typeof ready === 'number' && ready === 2")
        browser.js(ASK_ALL % (json.dumps(asked), MOST))
        browser.wait_for("answers.length === 50", seconds=300)
        got = browser.js("answers")
    for place, (folder, form) in enumerate(models.items()):
        ours = [row[place] for row in got]
        torchs = wanted(folder, form, asked)
        if form == "base":  # where it begins with another question, the page has ended
            assert not any(end in text for _, text, *_ in torchs for end in questions.ENDS)
        assert ours == torchs
    # They are answers of the teacher: many, different, and most of them ended by itself.
    texts = [row[1][1] for row in got]
    assert len(set(texts)) > 40
    assert sum(row[1][3] == "stop" for row in got) > 10
