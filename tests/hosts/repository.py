"""A real bare git repository: written with `git fast-import`, read with `git cat-file`.

Every loopback host of the tests answers from one of these, so that commits, blob ids, file modes
and refs are those that git itself gives.
"""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

FIRST_SECOND = 1_700_000_000  # of the first commit; each further one is a minute younger


@dataclass(frozen=True)
class Link:
    """A symbolic link to commit."""

    target: str


@dataclass(frozen=True)
class Submodule:
    """A submodule to commit."""

    commit: str = "1" * 40


@dataclass(frozen=True)
class Entry:
    """One entry of a tree: its mode, `blob`, `tree` or `commit`, its id, and its path."""

    mode: str
    kind: str
    id: str
    path: str


class Repository:
    """A bare repository in a folder; its default branch is `trunk`, never `master`."""

    def __init__(self, folder: Path, default: str = "trunk") -> None:
        self.folder = folder
        self._count = 0
        self.git("init", "--quiet", "--bare", f"--initial-branch={default}", str(folder))
        self.git("config", "uploadpack.allowFilter", "true")

    def git(self, *arguments: str, stdin: bytes = b"") -> bytes:
        """Run git in the repository and return what it prints."""
        command = ["git", *arguments]
        if arguments[0] != "init":
            command[1:1] = ["--git-dir", str(self.folder)]
        environ = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", "GIT_CONFIG_NOSYSTEM": "1"}
        done = subprocess.run(command, input=stdin, capture_output=True, check=False, env=environ)
        if done.returncode:
            raise LookupError(done.stderr.decode())
        return done.stdout

    def commit(
        self,
        files: Mapping[str, bytes | str | Link | Submodule | None],
        branch: str = "trunk",
        message: str = "A change",
    ) -> str:
        """Commit changed files on top of a branch; None removes one. Returns the commit's id."""
        when = FIRST_SECOND + 60 * self._count
        self._count += 1
        lines = [f"commit refs/heads/{branch}", f"committer A <a@example.org> {when} +0000"]
        stream = "\n".join([*lines, f"data {len(message)}", message, ""]).encode()
        if self.resolve(f"refs/heads/{branch}"):
            stream += f"from refs/heads/{branch}^0\n".encode()
        for path, content in files.items():
            stream += _change(path, content)
        self.git("fast-import", "--quiet", "--force", stdin=stream + b"\n")
        commit = self.resolve(f"refs/heads/{branch}")
        assert commit is not None
        return commit

    def branch(self, name: str, commit: str) -> None:
        """Point a branch at a commit, forwards or backwards."""
        self.git("update-ref", f"refs/heads/{name}", commit)

    def tag(self, name: str, commit: str, *, annotated: bool = False) -> None:
        """Tag a commit."""
        if not annotated:
            self.git("update-ref", f"refs/tags/{name}", commit)
            return
        author = ("-c", "user.name=A", "-c", "user.email=a@example.org")
        self.git(*author, "tag", "--annotate", "--force", "--message=A tag", name, commit)

    def delete(self, branch: str) -> None:
        """Delete a branch."""
        self.git("update-ref", "-d", f"refs/heads/{branch}")

    def default(self, branch: str | None = None) -> str:
        """Set the default branch, if one is given, and return its name."""
        if branch is not None:
            self.git("symbolic-ref", "HEAD", f"refs/heads/{branch}")
        return self.git("symbolic-ref", "--short", "HEAD").decode().strip()

    def resolve(self, name: str) -> str | None:
        """Return the commit that a branch, tag, `HEAD` or commit id names, or None."""
        try:
            command = ("rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}")
            return self.git(*command).decode().strip()
        except LookupError:
            return None

    def refs(self, kind: str) -> dict[str, str]:
        """Return the commits of `heads` or `tags` by short name, sorted."""
        form = "%(refname:lstrip=2) %(objectname) %(*objectname)"
        lines = self.git("for-each-ref", f"--format={form}", f"refs/{kind}").decode().splitlines()
        return {name: ids[-1] for name, *ids in (line.split() for line in lines)}

    def entry(self, commit: str, path: str) -> Entry | None:
        """Return the entry at a path of a commit, or None."""
        found = self._tree(commit, "--", path.rstrip("/")) if path else []
        return found[0] if found else None

    def entries(self, commit: str, folder: str = "") -> list[Entry]:
        """Return the entries of a folder of a commit."""
        return self._tree(f"{commit}:{folder.strip('/')}", "--")

    def _tree(self, *arguments: str) -> list[Entry]:
        lines = self.git("ls-tree", "-z", "--full-tree", *arguments).decode().split("\0")
        heads = ((*line.partition("\t")[0].split(), line.partition("\t")[2]) for line in lines)
        return [Entry(*each) for each in heads if len(each) == 4]

    def read(self, identity: str) -> bytes:
        """Return the content of a blob."""
        return self.git("cat-file", "blob", identity)


def _change(path: str, content: bytes | str | Link | Submodule | None) -> bytes:
    if content is None:
        return f"D {path}\n".encode()
    if isinstance(content, Submodule):
        return f"M 160000 {content.commit} {path}\n".encode()
    mode = "120000" if isinstance(content, Link) else "100644"
    data = content.target if isinstance(content, Link) else content
    data = data.encode() if isinstance(data, str) else data
    return f"M {mode} inline {path}\ndata {len(data)}\n".encode() + data + b"\n"
