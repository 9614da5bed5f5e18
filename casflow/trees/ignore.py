"""What of a folder belongs to its tree: rules in git's dialect, and what must never be pushed.

Owns the built-in rules and the names of the files that hold further ones: `.gitignore` and
`.casflowignore` in each folder, for what lies below it, the deeper and the later rule winning, as
in git; and `.casflowinclude` at the top, which names what is pushed although it looks like a
secret. Matching is done by pathspec. Invariant: a folder that is left out is not looked into.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from pathspec.patterns.gitignore.spec import GitIgnoreSpecPattern

from casflow.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable

RULE_FILES = (".gitignore", ".casflowignore")
INCLUDE_FILE = ".casflowinclude"
BUILT_IN = (
    ".git",
    ".hg/",
    ".svn/",
    ".casflow/",
    "__pycache__/",
    "*.py[co]",
    ".venv/",
    "node_modules/",
    ".mypy_cache/",
    ".pytest_cache/",
    ".ruff_cache/",
    ".tox/",
    ".nox/",
    ".ipynb_checkpoints/",
    ".DS_Store",
    "Thumbs.db",
    "*.swp",
    "*~",
)
SECRETS = (
    ".env",
    ".env.*",
    "!.env.example",
    "!.env.sample",
    "!.env.template",
    "*.pem",
    "*.key",
    "*.p12",
    "*.pfx",
    "*.jks",
    "*.keystore",
    "*.kdbx",
    "id_rsa",
    "id_dsa",
    "id_ecdsa",
    "id_ecdsa_sk",
    "id_ed25519",
    "id_ed25519_sk",
    "credentials.json",
    "service-account*.json",
    "service_account*.json",
    "application_default_credentials.json",
    ".netrc",
    "_netrc",
    ".pgpass",
    ".pypirc",
    ".npmrc",
    ".htpasswd",
    ".git-credentials",
    ".aws/credentials",
    ".docker/config.json",
    ".kube/config",
    "secrets.toml",
    "secrets.y*ml",
    "secrets.json",
)


class Rules:
    """Rules that apply below one folder, in order; the last that matches decides.

    Args:
        lines: Patterns as in a `.gitignore`.
        folder: Path of the folder that they are relative to, ending in `/`, or empty for the top.
        where: The file that they stand in, for messages.

    Raises:
        ConfigError: A line is no pattern.
    """

    def __init__(self, lines: Iterable[str], folder: str = "", where: object = None) -> None:
        self._folder = folder
        self._patterns = []
        for number, line in enumerate(lines, 1):
            try:
                pattern = GitIgnoreSpecPattern(line)
            except ValueError as error:
                at = f"{where}:{number}"
                raise ConfigError(f"not a pattern of git's: {line!r}", where=at) from error
            if pattern.include is not None:
                self._patterns.append(pattern)
        self._patterns.reverse()
        # One look tells that none matches, which is so for nearly all files.
        regexes = [each.regex for each in self._patterns if each.regex is not None]
        groups = [regex.pattern.replace("?P<ps_d>", "?:") for regex in regexes]
        self._any = re.compile("|".join(f"(?:{each})" for each in groups) or r"(?!)")

    def matches(self, path: str, *, is_folder: bool) -> bool | None:
        """Return whether the rules take a path, or None when they do not mention it."""
        if not path.startswith(self._folder):
            return None
        asked = path[len(self._folder) :] + ("/" if is_folder else "")
        if self._any.search(asked) is None:
            return None
        for pattern in self._patterns:
            if pattern.match_file(asked) is not None:
                return bool(pattern.include)
        return None


BUILT_IN_RULES = Rules(BUILT_IN)
SECRET_RULES = Rules(SECRETS)


def is_ignored(chain: Iterable[Rules], path: str, *, is_folder: bool) -> bool:
    """Tell whether a path is left out; of a chain of rules the last that mentions it decides."""
    for rules in reversed(tuple(chain)):
        verdict = rules.matches(path, is_folder=is_folder)
        if verdict is not None:
            return verdict
    return False
