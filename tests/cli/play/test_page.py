"""play.html: what it holds, when it is refused, and, in a browser, that it answers."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import play_outputs
import pytest
import tiny
import torch
from browser import Browser, needs_chromium

from nbkit.cli.commands import main
from nbkit.cli.play import checkpoints, page, questions
from nbkit.models.chat_ids import token_ids
from nbkit.models.engine import render, stop_tokens
from nbkit.models.load import load, save
from nbkit.run import provenance
from nbkit.tasks.skills import DOMAINS, Task
from nbkit.tasks.world import base_prompt, eval_tasks, prompt_of
from nbkit.text.tokenizer import train_tokenizer

FORMS = {"FG-WSD base": "base", "cold start": "chat", "RL: + preference": "chat"}


class Elements(HTMLParser):
    """The texts of the script elements by their id, and every address that a browser would load."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.scripts: dict[str, str] = {}
        self.loaded: list[str] = []
        self._inside: str | None = None
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        values = dict(attrs)
        self.loaded += [value for key, value in values.items() if key in ("src", "href")]
        self._inside = values.get("id", "page") if tag == "script" else None

    def handle_endtag(self, tag):
        self._inside = None

    def handle_data(self, data):
        if self._inside:
            self.scripts[self._inside] = self.scripts.get(self._inside, "") + data


@pytest.fixture(scope="module")
def asked() -> tuple[str, str]:
    """Two held-out questions of one domain."""
    first, *rest = eval_tasks(30, "operands")
    return first.question, next(task.question for task in rest if task.domain == first.domain)


def test_report_without_play_writes_no_page_and_with_it_one(outputs, capsys):
    play_outputs.checkpoints()
    assert main(["report", "--profile", "smoke"]) == 0
    assert not (outputs / "smoke/report/play.html").exists()
    assert main(["report", "--profile", "smoke", "--play"]) == 0
    assert (outputs / "smoke/report/index.html").is_file()
    assert f"play: {outputs}/smoke/report/play.html" in capsys.readouterr().out


def test_the_page_holds_everything_and_fetches_nothing(outputs, asked):
    play_outputs.checkpoints()
    play_outputs.evaluation(asked)
    text = page.build("smoke").read_text(encoding="utf-8")
    found = Elements(text)
    data = json.loads(found.scripts["data"])
    assert [(c["label"], c["form"]) for c in data["checkpoints"]] == list(FORMS.items())
    assert len(data["tokenizers"]) == 1, "one copy for all"
    assert [c["tokenizer"] for c in data["checkpoints"]] == [0, 0, 0]
    # What 07 measured stands under the name, where it did.
    assert data["checkpoints"][1]["about"].endswith("in 07 right in 50% [25%, 75%] of 30 questions")
    values = sum(count for _, count in data["checkpoints"][0]["tensors"])
    assert data["checkpoints"][0]["about"] == f"{values / 1e6:.2g}M parameters, completes a document"
    # The weights and the decoder are the files'.
    for i, checkpoint in enumerate(checkpoints.found("smoke")):
        assert found.scripts[f"weights-{i}"] == checkpoints.weights(checkpoint)
    for name in ("decoder.js", "worker.js"):
        assert (page.HERE / name).read_text() in found.scripts["decoder"]
    assert found.scripts["page"] == (page.HERE / "page.js").read_text()
    # Nothing comes from elsewhere, and no place of the template was left.
    assert found.loaded == []
    assert not re.search(r"https?://|@import|url\(", text)
    assert "{{" not in text.replace(found.scripts["decoder"], "").replace(found.scripts["page"], "")
    assert 'id="most" type="number" min="1" max="100000" step="1" value="12"' in text


def test_two_tokenizers_are_both_kept():
    first, second = {"vocab": ["a"]}, {"vocab": ["b"]}
    assert page._shared([first, second, dict(first)]) == ([first, second], [0, 1, 0])


def test_no_text_can_end_the_script_that_holds_it():
    given = {"question": "</script><script>alert(1)</script> <!-- \u2028"}
    written = page._json(given)
    assert "<" not in written
    assert json.loads(written) == given


def test_examples_are_questions_of_07(asked):
    split = {asked[0]: {"a": True, "b": False}, asked[1]: {"a": True, "b": True}}
    evaluation = questions.Evaluated({"example": {"question": asked[1]}}, split, questions=30)
    chosen = questions.examples(evaluation)
    known = {task.question: task for task in eval_tasks(30, "operands")}
    domain = known[asked[0]].domain
    assert (chosen[0][0].question, chosen[0][1]) == (asked[1], f"{domain}: the example of 07")
    assert (known[asked[0]], f"{domain}: some checkpoints were right in 07, some wrong") in chosen
    # One of each other domain, the first, which nothing is known about.
    others = [(task, why) for task, why in chosen if task.domain != domain]
    assert {why for _, why in others} == set(DOMAINS) - {domain}
    assert all(next(t for t in known.values() if t.domain == task.domain) == task for task, _ in others)


def test_without_07_there_are_examples_too(outputs):
    assert questions.evaluated("smoke") == questions.Evaluated()
    assert [why for _, why in questions.examples(questions.Evaluated())] == list(DOMAINS)


def test_an_example_with_tools_brings_them(outputs, monkeypatch):
    play_outputs.checkpoints()
    tool = '{"name": "clock", "parameters": {}}'
    task = replace(eval_tasks(1, "operands")[0], tools=(tool,))
    monkeypatch.setattr(questions, "examples", lambda evaluation: [(task, "why")])
    data = json.loads(Elements(page.build("smoke").read_text()).scripts["data"])
    (example,) = data["examples"]
    assert example["tools"] == ["clock"]
    form = example["chat"]
    whole = form["before"] + task.question + form["after"]
    assert whole == render(tiny.tokenizer(), prompt_of(task))
    assert '"clock"' in form["before"] and "clock" not in data["checkpoints"][1]["prompt"]["before"]


def test_a_template_that_repeats_the_question_is_refused():
    tokenizer = tiny.tokenizer().__class__(tokenizer_object=tiny.tokenizer().backend_tokenizer)
    tokenizer.chat_template = "{{ messages[0].content }}{{ messages[0].content }}"
    with pytest.raises(ValueError, match="shows the question 2 times, wanted once"):
        questions.chat_form(tokenizer, Task("", "", 1, "", "x", (), ""))


def test_tools_that_spell_a_token_are_refused():
    task = Task("", "", 1, "", "x", (), "", tools=('{"name": "<think>"}',))
    with pytest.raises(ValueError, match="the tools of 'x' spell an added token"):
        questions.chat_form(tiny.tokenizer(), task)


def test_a_refusal_is_one_line_and_no_page(outputs, capsys, monkeypatch):
    assert main(["report", "--profile", "smoke", "--play"]) == 2, "no outputs at all"
    play_outputs.checkpoints()
    monkeypatch.setattr(checkpoints, "MOST_BYTES", 1000)
    capsys.readouterr()
    assert main(["report", "--profile", "smoke", "--play"]) == 2
    told = capsys.readouterr().err
    assert told.startswith("nbkit: --play: the weights of 3 checkpoints take 0 MB")
    assert not (outputs / "smoke/report/play.html").exists()


def test_a_tokenizer_of_another_model_is_refused(outputs, capsys):
    folder = play_outputs.publish("06_rl", ["rl"]) / "rl"
    save(folder, tiny.model(), tiny.tokenizer())
    train_tokenizer(["another tokenizer of another model"], 320).save_pretrained(folder)
    assert main(["report", "--profile", "smoke", "--play"]) == 2
    assert f"nbkit: tokenizer: {folder} has one with digest" in capsys.readouterr().err
    assert not (outputs / "smoke/report/play.html").exists()


@torch.inference_mode()
def wanted(label: str, question: str, most: int) -> str:
    """The greedy answer in float32, with weights rounded to half precision as in the page."""
    stage, name = next((row[1], row[2]) for row in checkpoints.PUBLISHED if row[0] == label)
    model, tokenizer = load(provenance.run_dir("smoke", stage) / name)
    model = model.half().float()
    task = Task("", "", 1, "", question, (), "")
    prompt = base_prompt(question) if FORMS[label] == "base" else prompt_of(task)
    ids, new = token_ids(tokenizer, render(tokenizer, prompt)), []
    while len(new) < most and not set(new) & set(stop_tokens(tokenizer)):
        new.append(int(model(torch.tensor([ids + new])).logits[0, -1].argmax()))
    return tokenizer.decode([i for i in new if i not in stop_tokens(tokenizer)]).strip()


@needs_chromium
def test_the_page_answers_in_a_browser(outputs, asked, tmp_path):
    play_outputs.checkpoints()
    play_outputs.evaluation(asked)
    path = page.build("smoke")
    with Browser(tmp_path / "browser") as browser:
        browser.open(path, width=390)
        texts = "[...document.querySelectorAll('.card')].map((card) => card.lastChild.textContent)"
        browser.wait_for(f"{texts}.length === 3 && {texts}.every((text) => text === 'ready')")
        # An example is asked at once; its wanted answer is shown.
        browser.js("document.querySelector('#examples button').click()")
        browser.wait_for(f"{texts}.every((text) => /^12 tokens, .* tokens.s, cut there$/.test(text))")
        assert browser.js("document.getElementById('question').value") == asked[0]
        assert browser.js("document.getElementById('wanted').textContent").startswith("wanted: ")
        # All three say what torch says.
        said = browser.js("[...document.querySelectorAll('.said')].map((said) => said.textContent)")
        assert said == [wanted(label, asked[0], 12) for label in FORMS]
        assert len(set(said)) == 3
        # A long answer is stopped by the button.
        browser.js("document.getElementById('most').value = 100000")
        browser.js("document.getElementById('ask').requestSubmit()")
        browser.js("document.getElementById('stop').click()")
        browser.wait_for("document.getElementById('stop').disabled")
        assert browser.js(f"{texts}.every((text) => text.endsWith(', stopped'))")
        assert browser.js("document.documentElement.scrollWidth <= window.innerWidth"), (
            "no sideways scrolling"
        )
