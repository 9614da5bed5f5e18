"""A repository at a path of this machine, as git itself reads it: nothing serves it.

What can be counted are the calls of git that ask it, and the only outage is a path that is gone.
"""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING, Any, Self
from unittest import mock

from tests.hosts.server import Answer, Host, Request

if TYPE_CHECKING:
    from tests.hosts.repository import Repository

_ASKING = {"ls-remote": "ls-refs", "fetch": "fetch"}  # as the protocol names them


class GitLocalHost(Host):
    """Keeps a link to the repository, and sees every call of git that asks it."""

    def __init__(self, repository: Repository, token: str | None = None) -> None:
        super().__init__(repository, token)
        self._link = repository.folder.with_name("linked.git")
        self._run = subprocess.run
        self._watch = mock.patch.object(subprocess, "run", self._seen)

    @property
    def url(self) -> str:
        """The path."""
        return str(self._link)

    def start(self) -> Self:
        """Make the path lead to the repository."""
        self._watch.start()
        self._link.symlink_to(self.repository.folder)
        return self

    def stop(self) -> None:
        """Let the path lead nowhere; nothing happens when it does already."""
        if self._link.is_symlink():
            self._link.unlink()
            self._watch.stop()

    fail = slow_down = stop

    def recover(self) -> None:
        """Be there again."""
        if not self._link.is_symlink():
            self.start()

    def _seen(self, command: list[str], **options: Any) -> subprocess.CompletedProcess[Any]:
        done = self._run(command, **options)
        for verb in _ASKING.keys() & set(command):
            self.answer(Request("GET", _ASKING[verb], {}, b"", done.returncode))
        return done

    @property
    def asked(self) -> list[str]:
        """The commands of git's protocol."""
        return [each.target for each in self.log]

    def refuse(self, request: Request) -> Answer | None:
        """Refuse nobody."""

    def dispatch(self, request: Request) -> Answer:
        """Take the exit code of git for the answer."""
        return Answer(request.status)
