"""A page of an integration, typed as it stands, in a host's environment.

Owns how a page is typed: its files are written, its commands go to one shell, in order, and what
each prints is compared with what the page shows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.docs.pages import ROOT, commands, fences
from tests.docs.test_examples import is_as_shown

if TYPE_CHECKING:
    from pathlib import Path

    from tests.services.hosts import Host

EXAMPLES = ROOT / "docs" / "examples"
_MARK = "=== end of command"


def type_page(name: str, host: Host, folder: Path, **env: str) -> None:
    """Type all of a page in an empty folder; fail where another thing is printed."""
    typed: list[tuple[str, str]] = []
    for fence in fences(ROOT / "docs" / f"{name}.md"):
        if fence.file is not None:
            target = folder / fence.file
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(fence.text)
        elif fence.language == "console":
            typed += commands(fence)
    assert typed
    lines = [f"set -e\ncd {folder}"]
    lines += [f"{command}\necho '{_MARK}'" for command, _ in typed]
    printed = host.run_shell("\n".join(lines), timeout=400, **env).split(f"{_MARK}\n")
    for (command, shown), each in zip(typed, printed, strict=False):
        assert is_as_shown(each, shown), f"{command}\nshown:\n{shown}\nprinted:\n{each}"
    assert len(printed) == len(typed) + 1, printed[-1]


def files_of(name: str) -> dict[str, str]:
    """Return the files that a page shows, by path."""
    shown = fences(ROOT / "docs" / f"{name}.md")
    return {each.file: each.text for each in shown if each.file is not None}


def files_in(folder: Path) -> dict[str, str]:
    """Return the text of a folder's files, by path."""
    found = [each for each in folder.rglob("*") if each.is_file()]
    return {each.relative_to(folder).as_posix(): each.read_text() for each in found}
