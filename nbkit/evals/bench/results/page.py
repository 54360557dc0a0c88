"""A page to browse right and wrong answers: plain HTML, no script, nothing from the network. Used by
result.py."""

from __future__ import annotations

import json
from html import escape
from typing import TYPE_CHECKING

from nbkit.evals.reasoning import SHARES, format_of

if TYPE_CHECKING:
    from nbkit.evals.bench.readers import Item
    from nbkit.evals.bench.results.result import Record, Result

_MOST_ROWS, _MOST_CHARACTERS = 3000, 20_000  # a page of more is slow to open; the parquet file has all
_STYLE = """
:root { color-scheme: light dark; --line: #8886; --good: #2a7d2a; --bad: #b3372f; }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 0 auto; padding: 1rem; }
h1 { font-size: 1.4rem; }
table { border-collapse: collapse; }
td, th { padding: .2rem .8rem .2rem 0; text-align: left; }
details { border-top: 1px solid var(--line); padding: .4rem 0; }
summary { cursor: pointer; overflow-wrap: anywhere; }
pre { white-space: pre-wrap; overflow-wrap: anywhere; }
pre { border-left: 3px solid var(--line); margin: .4rem 0; padding-left: .8rem; }
b.right { color: var(--good); } b.wrong { color: var(--bad); } .quiet { opacity: .7; }
fieldset { border: 0; padding: 0; margin: 1rem 0; } label { margin-right: 1rem; }
body:has(#only-wrong:checked) details.right, body:has(#only-wrong:checked) details.unmarked { display: none; }
body:has(#only-right:checked) details:not(.right) { display: none; }
body:has(#only-unmarked:checked) details:not(.unmarked) { display: none; }
"""
_KINDS = ("all", "wrong", "right", "unmarked")


def page(result: Result) -> str:
    """The whole page as a text. A question counts as right where its mean mark is at least a half."""
    rows = list(zip(result.tasks, result.shown, result.records, strict=True))
    kinds = [_kind(record) for record in result.records]
    score = str(result.overall) if result.graded else "nothing could be marked"
    buttons = "".join(
        f'<label><input type="radio" name="only" id="only-{kind}"{" checked" if kind == "all" else ""}> '
        f"{kind} ({len(kinds) if kind == 'all' else kinds.count(kind)})</label>"
        for kind in _KINDS
    )
    left = len(rows) - _MOST_ROWS
    more = f"<p>{left:,} more questions are in the parquet file.</p>" if left > 0 else ""
    body = "\n".join(
        _row(item, shown, record, kind)
        for (item, shown, record), kind in list(zip(rows, kinds, strict=True))[:_MOST_ROWS]
    )
    target = result.about["target"]
    title = escape(f"{result.bench.title}: {target.source}")
    doubt = f"<p>This model {escape(target.doubt)}.</p>\n" if target.doubt else ""
    return (
        f'<!doctype html>\n<html lang="en"><meta charset="utf-8"><meta name="viewport" '
        f'content="width=device-width">\n<title>{title}</title>\n<style>{_STYLE}</style>\n<h1>{title}</h1>\n'
        f"<p><b>{escape(score)}</b>, {len(rows):,} questions</p>\n{doubt}{_lengths(result)}\n"
        f"<fieldset>{buttons}</fieldset>\n{body}\n{more}</html>\n"
    )


def _kind(record: Record) -> str:
    if record.values is None:
        return "unmarked"
    return "right" if sum(record.values) / len(record.values) >= 0.5 else "wrong"


def _lengths(result: Result) -> str:
    names = ("n", "mean", "median", "p90", "most")
    rows = "".join(
        f"<tr><td>{name}</td>" + "".join(f"<td>{found[key]:,.0f}</td>" for key in names) + "</tr>"
        for name, found in result.lengths().items()
    )
    heads = "".join(f"<th>{name}</th>" for name in ("tokens of answers", "answers", *names[1:]))
    return f"<table><tr>{heads}</tr>{rows}</table>\n{_format(result)}"


def _format(result: Result) -> str:
    """Why the answers end and what form they have; nothing where choices are compared."""
    if result.bench.answers == "choose":
        return ""
    found = format_of(result.answers)
    heads = "".join(f"<th>{name}</th>" for name in ("share of answers", *SHARES))
    cells = "".join(f"<td>{found[name].mean:.0%}</td>" for name in SHARES)
    return f"<table><tr>{heads}</tr><tr><td></td>{cells}</tr></table>"


def _row(item: Item, shown: str, record: Record, kind: str) -> str:
    """One question, folded."""
    answers = "".join(
        f"<p><b class='{_word(mark.value)}'>{_word(mark.value)}</b> "
        f"<span class=quiet>{escape(one['stop'])}, {one['tokens']:,} tokens {escape(mark.detail)}</span></p>"
        f"<pre>{_text(chr(10).join(one['texts']))}</pre>"
        for one, mark in zip(record.completions, record.marks, strict=True)
    )
    key = answer_text(item)
    wanted = f"<p class=quiet>wanted</p><pre>{_text(key)}</pre>" if key else ""
    head = escape(" ".join(item.question.split())[:140] or item.id)
    return (
        f'<details class="{kind}"><summary><b class="{kind}">{kind}</b> <span class=quiet>{escape(item.id)}'
        f"</span> {head}</summary><pre>{_text(shown)}</pre>{wanted}{answers}</details>"
    )


def _word(value: float | None) -> str:
    if value is None:
        return "unmarked"
    return {1.0: "right", 0.0: "wrong"}.get(value, f"{value:.2f}")


def _text(text: str) -> str:
    cut = f" ... ({len(text) - _MOST_CHARACTERS:,} more characters)" if len(text) > _MOST_CHARACTERS else ""
    return escape(text[:_MOST_CHARACTERS] + cut)


def answer_text(item: Item) -> str:
    """The key as a text; "" where a judge decides."""
    if item.answer is None or isinstance(item.answer, str):
        return item.answer or ""
    return json.dumps(item.answer, ensure_ascii=False, default=str)
