"""Git over HTTP: `git http-backend` with real bare repositories behind a check of a token.

Invariant: without the token every request is answered 401, and the repositories are ordinary
ones in a folder, so a test makes and changes them with git itself.
"""

from __future__ import annotations

import base64
import gzip
import os
import subprocess
import tempfile
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any, Self

IDENTITY = {
    "GIT_AUTHOR_NAME": "Test",
    "GIT_AUTHOR_EMAIL": "test@example.com",
    "GIT_COMMITTER_NAME": "Test",
    "GIT_COMMITTER_EMAIL": "test@example.com",
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_TERMINAL_PROMPT": "0",
}


def git(*arguments: str, check: bool = True, **options: Any) -> Any:
    """Run git without the settings of this machine; its output is in `stdout`, as text."""
    environ = {**os.environ, **IDENTITY, **options.pop("env", {})}
    captured = {"capture_output": True, "text": True, "env": environ}
    return subprocess.run(["git", *arguments], check=check, **captured, **options)


@dataclass(frozen=True)
class Repository:
    """A bare repository.

    Attributes:
        folder: Where it is.
        url: Where the server offers it, without the token.
    """

    folder: Path
    url: str

    def commit(self, files: dict[str, str | None], branch: str = "main") -> str:
        """Write a commit onto a branch and return its id; None as a file's text removes it."""
        with tempfile.TemporaryDirectory() as scratch:
            work = {"GIT_DIR": str(self.folder), "GIT_WORK_TREE": scratch}
            work["GIT_INDEX_FILE"] = str(Path(scratch, ".index"))
            tip = self.tip(branch)
            git("read-tree", *([tip] if tip else ["--empty"]), env=work)
            for name, text in files.items():
                self._stage(Path(scratch), name, text, work)
            tree = git("write-tree", env=work).stdout.strip()
            parent = ["-p", tip] if tip else []
            made = git("commit-tree", tree, *parent, "-m", f"Change {', '.join(files)}", env=work)
        git("update-ref", f"refs/heads/{branch}", made.stdout.strip(), cwd=self.folder)
        return made.stdout.strip()

    def _stage(self, scratch: Path, name: str, text: str | None, work: dict[str, str]) -> None:
        if text is None:
            git("update-index", "--force-remove", name, env=work)
            return
        file = scratch / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        git("update-index", "--add", name, env=work, cwd=scratch)

    def tip(self, branch: str = "main") -> str | None:
        """Return the commit that a branch points at, or None."""
        found = git(
            "rev-parse", "-q", "--verify", f"refs/heads/{branch}", check=False, cwd=self.folder
        )
        return found.stdout.strip() or None

    def delete_branch(self, branch: str) -> None:
        """Remove a branch."""
        git("update-ref", "-d", f"refs/heads/{branch}", cwd=self.folder)


class GitServer:
    """A threaded server of the repositories in one folder; a context manager.

    Attributes:
        token: What the password of basic authentication, or a bearer, must be.
        requests: Method, path and query of every request so far.
    """

    def __init__(self, token: str = "test-token") -> None:
        self.token = token
        self.requests: list[str] = []
        self._folder = tempfile.TemporaryDirectory(prefix="casflow-git-")
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
        self._server.daemon_threads = True
        self._server.owner = self  # type: ignore[attr-defined]
        self._thread = Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)

    @property
    def folder(self) -> Path:
        """Folder of the repositories."""
        return Path(self._folder.name)

    @property
    def url(self) -> str:
        """Where the server answers."""
        return f"http://127.0.0.1:{self._server.server_port}"

    def authorized(self, repository: Repository) -> str:
        """Return a repository's URL with the token in it."""
        return repository.url.replace("://", f"://test:{self.token}@")

    def create(self, name: str, files: dict[str, str | None] | None = None) -> Repository:
        """Make a bare repository that serves partial and by-id fetches, with one commit."""
        folder = self.folder / f"{name}.git"
        git("init", "-q", "--bare", "-b", "main", str(folder))
        for setting in (
            "uploadpack.allowFilter",
            "uploadpack.allowAnySHA1InWant",
            "http.receivepack",
        ):
            git("config", setting, "true", cwd=folder)
        repository = Repository(folder, f"{self.url}/{name}.git")
        if files:
            repository.commit(files)
        return repository

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
        self._folder.cleanup()


class _Handler(BaseHTTPRequestHandler):
    """Passes one request on to `git http-backend`, a CGI program."""

    def do_GET(self) -> None:
        self._answer()

    do_POST = do_GET  # noqa: N815 - the base looks it up by this name

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base's name
        """Say nothing; the server keeps its own record."""

    @property
    def _owner(self) -> GitServer:
        return self.server.owner  # type: ignore[attr-defined]

    def _answer(self) -> None:
        self._owner.requests.append(f"{self.command} {self.path}")
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.headers.get("Transfer-Encoding") == "chunked":
            body = self._read_chunks()
        if not self._allowed():
            self._refuse()
            return
        if self.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        command = ["git", "http-backend"]
        done = subprocess.run(
            command, input=body, capture_output=True, env=self._cgi(body), check=False
        )
        self._pass_on(done.stdout)

    def _read_chunks(self) -> bytes:
        pieces = []
        while size := int(self.rfile.readline(), 16):
            pieces.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(pieces)

    def _allowed(self) -> bool:
        kind, _, credential = self.headers.get("Authorization", "").partition(" ")
        if kind.lower() == "basic":
            credential = base64.b64decode(credential).decode().partition(":")[2]
        return credential == self._owner.token

    def _refuse(self) -> None:
        self.send_response(401)
        self.send_header("WWW-Authenticate", 'Basic realm="git"')
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _cgi(self, body: bytes) -> dict[str, str]:
        path, _, query = self.path.partition("?")
        return {
            "PATH": os.environ["PATH"],
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_PROJECT_ROOT": str(self._owner.folder),
            "GIT_HTTP_EXPORT_ALL": "1",
            "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
            "REQUEST_METHOD": self.command,
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "CONTENT_TYPE": self.headers.get("Content-Type", ""),
            "CONTENT_LENGTH": str(len(body)),
            "REMOTE_USER": "test",
            "REMOTE_ADDR": "127.0.0.1",
        }

    def _pass_on(self, output: bytes) -> None:
        head, _, body = output.partition(b"\r\n\r\n")
        headers = dict(line.split(": ", 1) for line in head.decode().splitlines())
        self.send_response(int(headers.pop("Status", "200 OK").split()[0]))
        for name, value in headers.items():
            self.send_header(name, value)
        if "Content-Length" not in headers:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
