"""The real git protocol over HTTP: `git http-backend` behind a check of the credential."""

from __future__ import annotations

import base64
import os
import re
import subprocess
from urllib.parse import urlsplit

from tests.hosts.server import Answer, Host, Request


class GitHost(Host):
    """Serves the repository as `org/repo.git`; the token is `user:password`."""

    newest_protocol = True  # else the first one, in which a commit that no ref names is refused

    def refuse(self, request: Request) -> Answer | None:
        """Ask for basic credentials, as the hosts do."""
        if self.token is None:
            return None
        if request.headers.get("Authorization") == f"Basic {_basic(self.token)}":
            return None
        return Answer(401, b"", {"WWW-Authenticate": 'Basic realm="git"'})

    @property
    def asked(self) -> list[str]:
        """The commands of git's protocol."""
        return re.findall(r"command=(ls-refs|fetch)", "".join(str(each.body) for each in self.log))

    def absent(self, what: str) -> Answer:
        """Return 404."""
        return Answer(404, what.encode())

    def _conditional(self, request: Request, answer: Answer) -> Answer:
        return answer

    def dispatch(self, request: Request) -> Answer:
        """Run the backend, which is a CGI program."""
        prefix = "/org/repo.git/"
        if not request.path.startswith(prefix):
            return self.absent("repository not found")
        parts = urlsplit(request.target)
        done = subprocess.run(
            ["git", "http-backend"],
            input=request.body,
            capture_output=True,
            check=False,  # it fails where the real one answers with an error packet
            env={
                "PATH": os.environ["PATH"],
                "GIT_PROJECT_ROOT": str(self.repository.folder),
                "GIT_HTTP_EXPORT_ALL": "1",
                "PATH_INFO": "/" + request.path.removeprefix(prefix),
                "REQUEST_METHOD": request.method,
                "QUERY_STRING": parts.query,
                "CONTENT_TYPE": request.headers.get("Content-Type", ""),
                "HTTP_CONTENT_ENCODING": request.headers.get("Content-Encoding", ""),
                "GIT_PROTOCOL": request.headers.get("Git-Protocol", "") * self.newest_protocol,
            },
        )
        return _parse(done.stdout)


def _basic(credential: str) -> str:
    return base64.b64encode(credential.encode()).decode()


def _parse(output: bytes) -> Answer:
    head, _, body = output.partition(b"\r\n\r\n")
    pairs = (line.partition(": ") for line in head.decode().split("\r\n"))
    headers = {name: value for name, _, value in pairs}
    status = int(headers.pop("Status", "200 OK").split()[0])
    return Answer(status, body, headers)
