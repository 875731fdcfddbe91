"""A report as a program sees it: its elements, and its text by section."""

from __future__ import annotations

import base64
from collections import defaultdict
from html.parser import HTMLParser

import cv2
import numpy as np
from typing_extensions import override

BLOCKS = {"td", "th", "dt", "dd", "li", "p", "h1", "h2", "h3", "figcaption", "caption", "div"}
VOID = {"area", "br", "col", "hr", "img", "input", "link", "meta", "wbr"}


class Page(HTMLParser):
    """Reads a page; fails where a tag is not closed in order."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.text: dict[str, str] = defaultdict(str)  # section, or "" for what stands before
        self._open: list[str] = []
        self._section = ""
        self.feed(html)
        self.close()
        assert self._open == []

    @override
    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        self.elements.append((tag, values))
        if tag == "section":
            self._section = values["id"]
        if tag not in VOID:
            self._open.append(tag)

    @override
    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert "svg" in self._open, tag  # only there a slash closes an element
        self.elements.append((tag, {name: value or "" for name, value in attrs}))

    @override
    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag
        if tag in BLOCKS:
            self.text[self._section] += " "
        if tag == "section":
            self._section = ""

    @override
    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] not in {"style", "script"}:
            self.text[self._section] += data

    def all(self, tag: str) -> list[dict[str, str]]:
        """The attributes of each element of this kind."""
        return [values for name, values in self.elements if name == tag]

    def plots(self) -> dict[str, str]:
        """What each plot says to who can't see it, by the first word."""
        alts = [svg["aria-label"] for svg in self.all("svg") if svg.get("role") == "img"]
        return {alt.split()[0]: alt for alt in alts}

    def said(self, section: str) -> str:
        """A section's text, its white space made single spaces."""
        return " ".join(self.text[section].split())


def decoded(src: str) -> np.ndarray:
    """The pixels of a data URI."""
    head, _, text = src.partition(",")
    assert head == "data:image/jpeg;base64"
    data = np.frombuffer(base64.b64decode(text, validate=True), np.uint8)
    pixels = cv2.imdecode(data, cv2.IMREAD_COLOR)
    assert pixels is not None
    return pixels
