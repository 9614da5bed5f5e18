"""What a user's Dockerfile depends on besides its context.

Owns reading its instructions as far as images are named in them. Invariant: an image that is named
in a way that cannot be resolved here is reported as such, never left out.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_ESCAPE = re.compile(r"^#\s*escape\s*=\s*([`\\])\s*$", re.IGNORECASE)
_DIRECTIVE = re.compile(r"^#\s*\w+\s*=")
_VARIABLE = re.compile(r"\$(?:(\w+)|\{(\w+)(?::?([-+])([^}]*))?\})")
_FROM_FLAG = re.compile(r"^--from=(\S+)$", re.IGNORECASE)
_URL = re.compile(r"(?:^|[\s\"])(?:https?|git|ssh)(?:://|@)")
_BUILDKIT = re.compile(
    r"^(?:RUN\s+--(?:mount|network|security)|COPY\s+--(?:link|chmod|parents))\b|<<"
)


@dataclass(frozen=True, slots=True)
class Inputs:
    """What a build depends on besides its context.

    Attributes:
        images: Images that it starts from or copies from.
        unresolved: Instructions whose inputs cannot be told beforehand.
    """

    images: tuple[str, ...]
    unresolved: tuple[str, ...]


def inputs_of(text: str, arguments: Mapping[str, str]) -> Inputs:
    """Return the images that a Dockerfile names.

    Args:
        text: The Dockerfile.
        arguments: Build arguments.
    """
    values: dict[str, str] = {}
    stages: set[str] = {"scratch"}
    found: list[str] = []
    unresolved: list[str] = []
    for name, rest in _instructions(text):
        if name == "ARG" and len(stages) == 1:
            values |= _defaults(rest, values, arguments)
        elif name == "FROM":
            image, stage = _stage(rest, values)
            found += [image] if image and image.lower() not in stages else []
            unresolved += [] if image else [f"{name} {rest}"]
            stages.add(stage or f"stage {len(stages)}")
        elif name in ("COPY", "ADD"):
            sources = [each for each in _sources(rest) if each.lower() not in stages]
            found += [each for each in sources if "$" not in each]
            if any("$" in each for each in sources) or (name == "ADD" and _URL.search(rest)):
                unresolved.append(f"{name} {rest}")
    return Inputs(tuple(dict.fromkeys(found)), tuple(unresolved))


def _stage(rest: str, values: Mapping[str, str]) -> tuple[str | None, str]:
    """Return the image of a FROM, if it can be told, and the name of the stage."""
    words = [each for each in rest.split() if not each.startswith("--")]
    image = _expand(words[0], values) if words else None
    return image, words[-1].lower() if len(words) > 1 else ""


def _sources(rest: str) -> list[str]:
    """Return what a COPY copies from by `--from`; numbers are stages."""
    matches = filter(None, map(_FROM_FLAG.match, rest.split()))
    return [each[1] for each in matches if not each[1].isdecimal()]


def buildkit_only(text: str) -> str | None:
    """Return the first instruction that only BuildKit knows, or None."""
    for name, rest in _instructions(text):
        line = f"{name} {rest}"
        if _BUILDKIT.search(line):
            return line
    return None


def _instructions(text: str) -> Iterator[tuple[str, str]]:
    """Yield the name of each instruction and the rest of it, continued lines joined."""
    escape, is_head, parts = "\\", True, list[str]()
    for line in text.splitlines():
        stripped = line.strip()
        if is_head and (found := _ESCAPE.match(stripped)):
            escape = found[1]
        is_head = is_head and _DIRECTIVE.match(stripped) is not None
        if not stripped or stripped.startswith("#"):
            continue
        if stripped.endswith(escape):
            parts.append(stripped[:-1])
            continue
        name, _, rest = " ".join([*parts, stripped]).strip().partition(" ")
        parts = []
        yield name.upper(), rest.strip()


def _defaults(rest: str, values: Mapping[str, str], arguments: Mapping[str, str]) -> dict[str, str]:
    found = {}
    for word in rest.split():
        name, has_default, default = word.partition("=")
        if name in arguments:
            found[name] = arguments[name]
        elif has_default and (value := _expand(default.strip("\"'"), values)) is not None:
            found[name] = value
    return found


def _expand(word: str, values: Mapping[str, str]) -> str | None:
    """Return a word with its variables replaced, or None if one has no value here."""
    is_known = True

    def value(found: re.Match[str]) -> str:
        nonlocal is_known
        current = values.get(found[1] or found[2])
        if found[3] == "-" and not current:
            return str(found[4])
        if found[3] == "+":
            return str(found[4]) if current else ""
        is_known = is_known and current is not None
        return current or ""

    text = _VARIABLE.sub(value, word.strip("\"'"))
    return text if is_known and text and "$" not in text else None
