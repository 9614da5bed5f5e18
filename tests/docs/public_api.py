"""What casflow 0.x promises to keep: public names and their parameters, commands and options.

Owns the recorded list, `public_api.txt`. `uv run python -m tests.docs.public_api` writes it anew,
which is how a new name is recorded; that one goes or changes is a matter for the changelog.
"""

from __future__ import annotations

import importlib
import inspect
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tests.docs.cli_reference import commands

if TYPE_CHECKING:
    from collections.abc import Iterator

RECORDED = Path(__file__).with_name("public_api.txt")
MODULES = ("casflow", "casflow.aio", "casflow.errors", "casflow.results", "casflow.storage")


def lines() -> list[str]:
    """Return a line for each public name, method, command and option."""
    names = [line for module in MODULES for line in _of_module(module)]
    return sorted({*names, *_of_command_line()})


def recorded() -> list[str]:
    """Return the lines as they were recorded."""
    return RECORDED.read_text(encoding="utf-8").splitlines()


def broken(before: list[str], now: list[str]) -> list[str]:
    """Return the lines whose users a change breaks: names that went, and calls that no longer go.

    A parameter that is new and has a default breaks nobody, if it stands behind the others or is
    given by name.
    """
    found = dict(map(_taken_apart, now))
    return [line for line in before if not _is_kept(line, found)]


def _taken_apart(line: str) -> tuple[str, list[str]]:
    name, _, parameters = line.removesuffix(")").partition("(")
    return name, [each for each in parameters.split(", ") if each]


def _is_kept(line: str, found: dict[str, list[str]]) -> bool:
    name, parameters = _taken_apart(line)
    now = found.get(name)
    if now is None:
        return False
    new = [each for each in now if each not in parameters]
    return [each for each in now if each in parameters] == parameters and all(
        each.endswith("=…") or each.startswith("*") for each in new
    )


def _of_module(name: str) -> Iterator[str]:
    module = importlib.import_module(name)
    public = getattr(module, "__all__", None) or [
        each
        for each, value in vars(module).items()
        if inspect.isclass(value) and value.__module__ == name and not each.startswith("_")
    ]
    for each in public:
        yield from _of_object(f"{name}.{each}", getattr(module, each))


def _of_object(path: str, value: object) -> Iterator[str]:
    if not inspect.isclass(value):
        yield f"{path}{_parameters(value)}" if callable(value) else path
        return
    yield f"{path}{_parameters(value)}"
    if issubclass(value, Exception):
        return
    for name, member in inspect.getmembers(value):
        if name.startswith("_") or not _is_ours(member):
            continue
        if callable(member):
            yield f"{path}.{name}{_parameters(member)}"
        else:
            yield f"{path}.{name}"


def _is_ours(member: object) -> bool:
    inner = member.fget if isinstance(member, property) else member
    return callable(inner) and getattr(inner, "__module__", "").startswith("casflow")


def _parameters(value: object) -> str:
    try:
        signature = inspect.signature(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return "(…)"
    parts = []
    for each in signature.parameters.values():
        mark = {each.VAR_POSITIONAL: "*", each.VAR_KEYWORD: "**"}.get(each.kind, "")
        optional = "" if each.default is each.empty else "=…"
        only = "keyword " if each.kind is each.KEYWORD_ONLY else ""
        parts.append(f"{only}{mark}{each.name}{optional}")
    return f"({', '.join(parts)})"


def _of_command_line() -> Iterator[str]:
    for words, command in commands():
        yield " ".join(words)
        for parameter in command.params:
            if isinstance(parameter, click.Option):
                yield from (f"{' '.join(words)} {name}" for name in parameter.opts)


if __name__ == "__main__":
    RECORDED.write_text("\n".join(lines()) + "\n", encoding="utf-8")
