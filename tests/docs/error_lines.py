"""The lines of errors that stand in the code, for docs/errors.md.

`python -m tests.docs.error_lines` writes that part of the page again. Invariant: a line is what the
code gives to a class of casflow's errors, with an ellipsis for what is known only when it happens;
nothing is run.
"""

from __future__ import annotations

import ast
import inspect
from typing import TYPE_CHECKING

from casflow import errors
from tests.docs.pages import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PAGE = ROOT / "docs" / "errors.md"
START = "## Every line\n"
_CLASSES = {
    name: each.exit_code
    for name, each in vars(errors).items()
    if inspect.isclass(each) and issubclass(each, errors.CasflowError)
}
_FAMILIES = {
    code: name
    for name, code in (
        ("ConfigError", 2),
        ("NotFoundError", 3),
        ("IntegrityError", 4),
        ("ConflictError", 5),
        ("AccessError", 6),
        ("UnavailableError", 7),
        ("LoadError and others", 1),
    )
}


def lines() -> dict[str, list[tuple[str, str]]]:
    """Return what is said and what to do about it, by family, each once and sorted."""
    found: dict[str, set[tuple[str, str]]] = {name: set() for name in _FAMILIES.values()}
    trees = [ast.parse(each.read_text(encoding="utf-8")) for each in _files()]
    codes = _codes(trees)
    for tree in trees:
        for name, what, hint in _of_tree(tree, codes):
            found[_FAMILIES[codes[name]]].add((what, hint))
    return {name: sorted(rows) for name, rows in found.items()}


def _files() -> list[Path]:
    return sorted((ROOT / "casflow").rglob("*.py"))


def _codes(trees: list[ast.Module]) -> dict[str, int]:
    """Return the exit codes of all classes of errors, those of a single module included."""
    found = dict(_CLASSES)
    for node in (each for tree in trees for each in ast.walk(tree)):
        if isinstance(node, ast.ClassDef):
            bases = [each.id for each in node.bases if isinstance(each, ast.Name)]
            for base in bases:
                if base in found:
                    found.setdefault(node.name, found[base])
    return found


def _of_tree(tree: ast.Module, codes: dict[str, int]) -> Iterator[tuple[str, str, str]]:
    for scope in ast.walk(tree):
        if isinstance(scope, ast.FunctionDef | ast.AsyncFunctionDef | ast.Module):
            yield from _of_scope(scope, codes)


def _of_scope(scope: ast.AST, codes: dict[str, int]) -> Iterator[tuple[str, str, str]]:
    nodes = list(_inside(scope))
    values: dict[str, list[ast.expr]] = {}
    for node in nodes:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            values.setdefault(node.targets[0].id, []).append(node.value)
    for node in nodes:
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name)):
            continue
        name = node.func.id
        if name == "Family" and len(node.args) > 1 and isinstance(node.args[0], ast.Name):
            hint = _texts(node.args[2], {}) if len(node.args) > 2 else [""]
            yield node.args[0].id, _texts(node.args[1], {})[0], hint[0]
        if name in codes and node.args:
            given = {each.arg: each.value for each in node.keywords}
            hint = _texts(given["hint"], values)[-1] if "hint" in given else ""
            for what in _texts(node.args[0], values):
                if what.strip("… "):
                    yield name, what, hint


def _inside(scope: ast.AST) -> Iterator[ast.AST]:
    """Yield what is inside a scope, and not inside a function in it."""
    for child in ast.iter_child_nodes(scope):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        yield child
        yield from _inside(child)


def _texts(value: ast.expr, names: dict[str, list[ast.expr]]) -> list[str]:
    if isinstance(value, ast.Constant):
        return [str(value.value)] if isinstance(value.value, str) else [""]
    if isinstance(value, ast.JoinedStr):
        parts = [
            _texts(each, {})[0] if isinstance(each, ast.Constant) else "…" for each in value.values
        ]
        return ["".join(parts)]
    if isinstance(value, ast.Name) and value.id in names:
        return [text for each in names[value.id] for text in _texts(each, {})]
    if isinstance(value, ast.IfExp):
        return [*_texts(value.body, names), *_texts(value.orelse, names)]
    return ["…"]


def text() -> str:
    """Return that part of the page."""
    parts = [
        START,
        "What casflow says, by family, each with what to do about it; `…` stands for what is",
        "known only when it happens. The command line begins it with `error:` and names a place.",
        "",
    ]
    for family, rows in lines().items():
        parts += [f"### {family}", "", "| what | what to do |", "| --- | --- |"]
        parts += [f"| {_cell(what)} | {_cell(hint)} |" for what, hint in rows]
        parts.append("")
    return "\n".join(parts)


def _cell(value: str) -> str:
    shown = " ".join(value.split()).replace("|", "\\|").replace("<", "&lt;")
    return shown.replace("*", "\\*").replace("[", "\\[")


def write() -> None:
    """Write the page again."""
    before = PAGE.read_text(encoding="utf-8").partition(START)[0].rstrip() + "\n\n"
    PAGE.write_text(before + text(), encoding="utf-8")


if __name__ == "__main__":
    write()
