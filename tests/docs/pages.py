"""The pages of the documentation, and what stands in their fences.

Owns how a page is taken apart. A fence of the language `python` is meant to be run, one of the
language `console` shows commands after `$` and what they print, with `…` for what varies.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md")])

_FENCE = re.compile(r'^```(\w+)(?: title="([^"]+)")?\n(.*?)^```$', re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)


@dataclass(frozen=True)
class Fence:
    """A block of a page: its language, the file that it is the text of, its text and line."""

    language: str
    file: str | None
    text: str
    line: int


def fences(page: Path) -> list[Fence]:
    """Return the fences of a page, in order."""
    text = page.read_text(encoding="utf-8")
    return [
        Fence(match[1], match[2], match[3], text.count("\n", 0, match.start()) + 2)
        for match in _FENCE.finditer(text)
    ]


def opening_commands() -> list[str]:
    """Return the commands that stand indented in the README before its first heading."""
    text = (ROOT / "README.md").read_text(encoding="utf-8").partition("\n## ")[0]
    return re.findall(r"^    (\S.*)$", text, re.MULTILINE)


def prose(page: Path) -> str:
    """Return a page without its fences."""
    return _FENCE.sub("", page.read_text(encoding="utf-8"))


def links(page: Path) -> list[str]:
    """Return the targets of a page's links."""
    return _LINK.findall(prose(page))


def anchors(page: Path) -> set[str]:
    """Return the names that links can point at in a page."""
    found = _HEADING.findall(prose(page))
    return {re.sub(r"[^a-z0-9_ -]", "", each.lower()).strip().replace(" ", "-") for each in found}


def commands(fence: Fence) -> list[tuple[str, str]]:
    """Return the commands of a console fence, each with what it is shown to print."""
    parts = re.split(r"^\$ ", fence.text, flags=re.MULTILINE)[1:]
    return [tuple(part.split("\n", 1)) for part in parts]  # type: ignore[misc]


def cells(page: Path) -> list[list[str]]:
    """Return the rows of all tables of a page, without marks of code."""
    lines = [line for line in page.read_text(encoding="utf-8").splitlines() if line[:1] == "|"]
    return [[cell.strip().strip("`") for cell in line.strip("|").split("|")] for line in lines]
