"""Reads a page as a browser would: what it loads, where it links to, whether its tags are closed in order."""

from __future__ import annotations

import re
from html.parser import HTMLParser

VOID = {"meta", "link", "img", "br", "hr", "input", "col", "wbr", "source"}
PLAIN = re.compile(r"(?:url\(|@import)\s*[\"']?(?:https?:)?//[^)\s]*")


class Page(HTMLParser):
    """`tags`: all that open; `loaded`: what a browser would fetch; `links`: of <a>; `ids`; `text`: all text;
    `wrong`: tags that close out of order or never."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.loaded: list[str] = []
        self.links: list[str] = []
        self.ids: list[str] = []
        self.text = ""
        self.wrong: list[str] = []
        self._open: list[str] = []
        self.feed(text)
        self.close()
        self.wrong += [f"<{tag}> is never closed" for tag in self._open]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.tags.append(tag)
        if tag in ("script", "iframe", "object", "embed"):
            self.loaded.append(f"{tag} {values}")
        self.loaded += [v for k, v in attrs if v and (k == "src" or (k == "href" and tag == "link"))]
        self.loaded += [f"{k}={v}" for k, v in attrs if k.startswith("on")]
        if tag == "a" and values.get("href"):
            self.links.append(values["href"])
        if values.get("id"):
            self.ids.append(values["id"])
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if not self._open or self._open[-1] != tag:
            self.wrong.append(f"</{tag}> at line {self.getpos()[0]}, open: {self._open[-3:]}")
        if tag in self._open:
            while self._open.pop() != tag:
                pass

    def handle_data(self, data: str) -> None:
        self.text += data


def remote(text: str) -> list[str]:
    """What a browser would load besides what stands in the page itself."""
    return [v for v in Page(text).loaded if not v.startswith("data:")] + PLAIN.findall(text)
