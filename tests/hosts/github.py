"""GitHub's REST API: commits, contents, blobs, branches and tags, with its limits and errors."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, ClassVar

from tests.hosts.server import Answer, Host, Request, page

if TYPE_CHECKING:
    from tests.hosts.repository import Entry

INLINE = 1_000_000  # bytes; larger files come without their content in JSON
REPOSITORY = "/repos/org/repo"


class GitHubHost(Host):
    """Serves the repository as `org/repo`."""

    inline = INLINE
    limit = 60
    routes: ClassVar = {
        f"GET {REPOSITORY}": "about",
        rf"GET {REPOSITORY}/commits/(.+)": "commit",
        rf"GET {REPOSITORY}/git/ref/(.+)": "ref",
        rf"GET {REPOSITORY}/git/blobs/(.+)": "blob",
        rf"GET {REPOSITORY}/contents/(.+)": "contents",
        rf"GET {REPOSITORY}/branches": "branches",
        rf"GET {REPOSITORY}/tags": "tags",
    }

    def refuse(self, request: Request) -> Answer | None:
        """GitHub hides what a caller may not read: 404 without a token, 401 with a bad one."""
        given = request.headers.get("Authorization")
        if self.token is None or given == f"Bearer {self.token}":
            return None
        if given is None:
            return self.absent("Not Found")
        return self.error(401, "Bad credentials")

    def answer(self, request: Request) -> Answer:
        """Count an answer against the limit, 304 excepted."""
        answer = super().answer(request)
        self.limit -= answer.status != 304
        answer.headers.setdefault("X-RateLimit-Limit", "60")
        answer.headers.setdefault("X-RateLimit-Remaining", str(self.limit))
        return answer

    def error(self, status: int, message: str, **headers: str) -> Answer:
        """Return an error body."""
        body = {"message": message, "documentation_url": "https://docs.github.com/rest"}
        return Answer.json(body, status, **headers)

    def absent(self, what: str) -> Answer:
        """Return 404."""
        return self.error(404, what)

    def about(self, _: Request) -> Answer:
        """Describe the repository."""
        return Answer.json({"full_name": "org/repo", "default_branch": self.repository.default()})

    def commit(self, request: Request, ref: str) -> Answer:
        """Name a ref's commit; the `sha` media type gives its bare id."""
        commit = self.repository.resolve(ref)
        if commit is None:
            return self.error(422, f"No commit found for SHA: {ref}")
        if "vnd.github.sha" in request.headers.get("Accept", ""):
            return Answer(200, commit.encode(), {"Content-Type": "application/vnd.github.sha"})
        return Answer.json({"sha": commit})

    def ref(self, _: Request, ref: str) -> Answer:
        """Return one fully named ref."""
        commit = self.repository.resolve(f"refs/{ref}")
        if commit is None:
            return self.absent("Not Found")
        return Answer.json({"ref": f"refs/{ref}", "object": {"type": "commit", "sha": commit}})

    def contents(self, request: Request, path: str) -> Answer:
        """Return what is at a path, as JSON or raw."""
        commit = self.repository.resolve(request.query("ref", "HEAD"))
        if commit is None:
            return self.absent(f"No commit found for the ref {request.query('ref')}")
        entry = self.repository.entry(commit, path)
        if entry is None:
            return self.absent("Not Found")
        if entry.kind == "tree":
            return Answer.json(
                [self._entry(each) for each in self.repository.entries(commit, path)]
            )
        if "raw" in request.headers.get("Accept", ""):
            return Answer(200, self.change(self.repository.read(entry.id)))
        return Answer.json(self._entry(entry) | self._content(entry))

    def _entry(self, entry: Entry) -> dict[str, object]:
        kinds = {"120000": "symlink", "160000": "submodule", "040000": "dir"}
        return {"type": kinds.get(entry.mode, "file"), "path": entry.path, "sha": entry.id}

    def _content(self, entry: Entry) -> dict[str, object]:
        if entry.kind == "commit":
            return {"submodule_git_url": "git://example.org/x.git", "size": 0}
        data = self.repository.read(entry.id)
        if entry.mode == "120000":
            return {"target": data.decode(), "size": len(data)}
        if len(data) > self.inline:
            return {"content": "", "encoding": "none", "size": len(data)}
        text = base64.encodebytes(self.change(data)).decode()
        return {"content": text, "encoding": "base64", "size": len(data)}

    def blob(self, _: Request, identity: str) -> Answer:
        """Return a blob by its id."""
        data = self.change(self.repository.read(identity))
        text = base64.encodebytes(data).decode()
        return Answer.json({"sha": identity, "content": text, "encoding": "base64"})

    def branches(self, request: Request) -> Answer:
        """List branches."""
        return self._list(request, "heads", "branches")

    def tags(self, request: Request) -> Answer:
        """List tags."""
        return self._list(request, "tags", "tags")

    def _list(self, request: Request, kind: str, name: str) -> Answer:
        number, size = int(request.query("page", "1")), int(request.query("per_page", "30"))
        refs = [
            {"name": ref, "commit": {"sha": commit}}
            for ref, commit in self.repository.refs(kind).items()
        ]
        items, more = page(refs, number, size)
        link = f'<{self.url}{REPOSITORY}/{name}?per_page={size}&page={number + 1}>; rel="next"'
        return Answer.json(items, **({"Link": link} if more else {}))
