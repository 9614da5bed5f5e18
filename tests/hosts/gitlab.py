"""GitLab's REST API, version 4: project, commits, files, branches and tags."""

from __future__ import annotations

import base64
import hashlib
from typing import TYPE_CHECKING, ClassVar

from tests.hosts.server import Answer, Host, Request, page

if TYPE_CHECKING:
    from tests.hosts.repository import Entry

PROJECT = r"/api/v4/projects/(org%2Frepo|42)"


class GitLabHost(Host):
    """Serves the repository as `org/repo`, project 42."""

    routes: ClassVar = {
        f"GET {PROJECT}": "about",
        rf"GET {PROJECT}/repository/commits/([^/]+)": "commit",
        rf"GET {PROJECT}/repository/files/([^/]+)": "file",
        rf"GET {PROJECT}/repository/files/([^/]+)/raw": "raw",
        rf"GET {PROJECT}/repository/branches": "branches",
        rf"GET {PROJECT}/repository/tags": "tags",
    }

    def refuse(self, request: Request) -> Answer | None:
        """GitLab hides what a caller may not read, and refuses a token that it does not know."""
        given = request.headers.get("Private-Token") or request.headers.get("Authorization")
        if self.token is None or given in (self.token, f"Bearer {self.token}"):
            return None
        if given is None:
            return self.absent("Project Not Found")
        return Answer.json(
            {"error": "invalid_token", "error_description": "Token is expired."}, 401
        )

    def absent(self, what: str) -> Answer:
        """Return 404."""
        return Answer.json({"message": f"404 {what}"}, 404)

    def about(self, _: Request, __: str) -> Answer:
        """Describe the project."""
        return Answer.json({"id": 42, "default_branch": self.repository.default()})

    def commit(self, _: Request, __: str, ref: str) -> Answer:
        """Return the commit of a ref; `HEAD` is the default branch."""
        commit = self.repository.resolve(ref)
        if commit is None:
            return self.absent("Commit Not Found")
        return Answer.json({"id": commit, "short_id": commit[:8]})

    def _found(self, request: Request, path: str) -> tuple[str, Entry] | None:
        commit = self.repository.resolve(request.query("ref", "HEAD"))
        entry = self.repository.entry(commit, path) if commit else None
        if commit is None or entry is None or entry.kind != "blob":
            return None
        return commit, entry

    def file(self, request: Request, _: str, path: str) -> Answer:
        """Return a file with its content in base64."""
        found = self._found(request, path)
        if found is None:
            return self.absent("File Not Found")
        commit, entry = found
        data = self.change(self.repository.read(entry.id))
        return Answer.json(
            {
                "file_path": path,
                "size": len(data),
                "encoding": "base64",
                "content": base64.b64encode(data).decode(),
                "content_sha256": hashlib.sha256(data).hexdigest(),
                "ref": request.query("ref"),
                "blob_id": entry.id,
                "commit_id": commit,
            }
        )

    def raw(self, request: Request, _: str, path: str) -> Answer:
        """Return a file's content."""
        found = self._found(request, path)
        if found is None:
            return self.absent("File Not Found")
        return Answer(200, self.change(self.repository.read(found[1].id)))

    def branches(self, request: Request, _: str) -> Answer:
        """List branches."""
        return self._list(request, "heads")

    def tags(self, request: Request, _: str) -> Answer:
        """List tags."""
        return self._list(request, "tags")

    def _list(self, request: Request, kind: str) -> Answer:
        number, size = int(request.query("page", "1")), int(request.query("per_page", "20"))
        refs = self.repository.refs(kind).items()
        items, more = page(({"name": n, "commit": {"id": c}} for n, c in refs), number, size)
        return Answer.json(items, X_Next_Page=str(number + 1) if more else "")
