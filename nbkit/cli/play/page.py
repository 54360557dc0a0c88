"""`nbkit report --play`: one HTML file that holds the checkpoints and runs them. Used by commands.py."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from transformers import AutoConfig, AutoTokenizer

from nbkit.cli.play import checkpoints, questions
from nbkit.cli.play.checkpoints import Checkpoint
from nbkit.models.engine import stop_tokens
from nbkit.models.load import check_tokenizer
from nbkit.run import files
from nbkit.tasks.skills import Task

HERE = Path(__file__).parent
_PLACE = re.compile(r"\{\{(\w+)\}\}")


def build(profile: str) -> Path:
    """Write outputs/<profile>/report/play.html from the published checkpoints; returns its path. Raises
    ValueError, before anything is written, where there is none, where one is of an architecture that the
    page does not compute or has another model's tokenizer, and where the weights are too large for a page."""
    models = checkpoints.found(profile)
    # All that can be refused is looked at before any weight is read.
    shapes = [checkpoints.shape(model) for model in models]
    tensors = [checkpoints.counts(model) for model in models]
    checkpoints.check_size(tensors)
    evaluation = questions.evaluated(profile)
    tokenizers, places = _shared([checkpoints.tokenizer_spec(model) for model in models])
    described = []
    for model, shape, counted, place in zip(models, shapes, tensors, places, strict=True):
        about = {
            "label": model.label,
            "form": model.form,
            "about": _about(model, counted, evaluation.metrics),
        }
        described.append({**about, "shape": shape, "tensors": counted, "tokenizer": place, **_asked(model)})
    data = {"checkpoints": described, "tokenizers": tokenizers, "examples": _examples(models, evaluation)}
    path = files.outputs_root() / profile / "report" / "play.html"
    parts = {"profile": html.escape(profile), "most": str(evaluation.most), "data": _json(data)}
    files.atomic_write(path, _filled(parts, [checkpoints.weights(model) for model in models]))
    return path


def _shared(specs: Sequence[dict]) -> tuple[list[dict], list[int]]:
    """The different tokenizers, and the place in them of each: checkpoints of one run share theirs."""
    different: list[dict] = []
    for spec in specs:
        if spec not in different:
            different.append(spec)
    return different, [different.index(spec) for spec in specs]


def _about(model: Checkpoint, counted: Sequence[tuple[str, int]], metrics: Mapping[str, Any]) -> str:
    """One line under the name: size, form, and what 07 measured."""
    size = f"{sum(count for _, count in counted) / 1e6:.2g}M parameters"
    form = "completes a document" if model.form == "base" else "answers in chat"
    if not (result := metrics.get("results", {}).get(model.label)):
        return f"{size}, {form}"
    # As on the ladder, where the splits are known.
    unseen = result.get("by_split", {}).get("operands")
    score, kind = (unseen, " with unseen operands") if unseen else (result["overall"], "")
    low, high = f"{score['low']:.0%}", f"{score['high']:.0%}"
    right = f"{score['mean']:.0%} [{low}, {high}] of {score['n']} questions{kind}"
    return f"{size}, {form}; in 07 right in {right}"


def _asked(model: Checkpoint) -> dict[str, Any]:
    """What ends its answers, and the text around a question without tools."""
    tokenizer = AutoTokenizer.from_pretrained(model.folder)
    check_tokenizer(AutoConfig.from_pretrained(model.folder), tokenizer, model.folder)
    plain = Task("", "", 1, "", "", (), "")
    prompt = questions.base_form() if model.form == "base" else questions.chat_form(tokenizer, plain)
    return {"prompt": prompt, "stops": stop_tokens(tokenizer)}


def _examples(models: Sequence[Checkpoint], evaluation: questions.Evaluated) -> list[dict[str, Any]]:
    """The example questions; those with tools bring the form of a prompt that offers them."""
    chats = [model for model in models if model.form == "chat"]
    rows = []
    for task, why in questions.examples(evaluation):
        row: dict[str, Any] = {"question": task.question, "wanted": task.answer, "why": why}
        if task.tools and chats:
            tokenizer = AutoTokenizer.from_pretrained(chats[-1].folder)
            row["chat"] = questions.chat_form(tokenizer, task)
            row["tools"] = [json.loads(tool).get("name", "") for tool in task.tools]
        rows.append(row)
    return rows


def _json(data: Any) -> str:
    """JSON that may stand inside a script element: no text in it can end the element."""
    return json.dumps(data, separators=(",", ":")).replace("<", "\\u003c")


def _filled(parts: Mapping[str, str], packed: Sequence[str]) -> str:
    """page.html with its places filled in: the scripts, the weights and `parts`."""
    scripts = {
        name: (HERE / name).read_text(encoding="utf-8") for name in ("decoder.js", "worker.js", "page.js")
    }
    elements = [
        f'<script type="text/plain" id="weights-{i}">{text}</script>' for i, text in enumerate(packed)
    ]
    # The worker's code stands behind the decoder's, in one text.
    values = {
        **parts,
        "weights": "\n".join(elements),
        "decoder": scripts["decoder.js"] + scripts["worker.js"],
        "page": scripts["page.js"],
    }
    template = (HERE / "page.html").read_text(encoding="utf-8")
    return _PLACE.sub(lambda place: values[place[1]], template)
