"""The REST API of Bitbucket Server and Data Center: commits, branches and raw files.

It sends no ETag, so a client cannot ask on a condition; its pages say where the next one starts.
"""

from __future__ import annotations

from typing import ClassVar

from tests.hosts.server import Answer, Host, Request

REPOSITORY = "/rest/api/1.0/projects/PROJ/repos/repo"


class BitbucketServerHost(Host):
    """Serves the repository as `PROJ/repo`."""

    routes: ClassVar = {
        f"GET {REPOSITORY}/default-branch": "default",
        f"GET {REPOSITORY}/commits": "commits",
        f"GET {REPOSITORY}/branches": "branches",
        rf"GET {REPOSITORY}/raw/(.+)": "raw",
    }

    def refuse(self, request: Request) -> Answer | None:
        """Refuse a request without the bearer token."""
        given = request.headers.get("Authorization")
        if self.token is None or given == f"Bearer {self.token}":
            return None
        what = "You are not permitted to access this resource"
        return self.error(401, what, "AuthorisationException")

    def error(self, status: int, message: str, exception: str) -> Answer:
        """Return an error body."""
        name = f"com.atlassian.bitbucket.{exception}"
        body = {"errors": [{"context": None, "message": message, "exceptionName": name}]}
        return Answer.json(body, status)

    def absent(self, what: str) -> Answer:
        """Return 404."""
        return self.error(404, what, "repository.NoSuchRepositoryException")

    def _conditional(self, request: Request, answer: Answer) -> Answer:
        return answer

    def default(self, _: Request) -> Answer:
        """Name the default branch."""
        name = self.repository.default()
        return Answer.json({"id": f"refs/heads/{name}", "displayId": name, "type": "BRANCH"})

    def commits(self, request: Request) -> Answer:
        """List commits from a ref; from the default branch when none is named."""
        ref = request.query("until", "HEAD")
        commit = self.repository.resolve(ref)
        if commit is None:
            what = f'Commit "{ref}" does not exist in repository "repo".'
            return self.error(404, what, "commit.NoSuchCommitException")
        return Answer.json({"values": [{"id": commit}], "size": 1, "limit": 1, "isLastPage": False})

    def branches(self, request: Request) -> Answer:
        """List branches."""
        start, limit = int(request.query("start", "0")), int(request.query("limit", "25"))
        refs = list(self.repository.refs("heads").items())
        values = [{"displayId": n, "latestCommit": c} for n, c in refs[start : start + limit]]
        last = start + limit >= len(refs)
        return Answer.json(
            {"values": values, "isLastPage": last, "nextPageStart": None if last else start + limit}
        )

    def raw(self, request: Request, path: str) -> Answer:
        """Return a file's content at a commit."""
        commit = self.repository.resolve(request.query("at", "HEAD"))
        if commit is None:
            return self.error(404, "No such commit", "commit.NoSuchCommitException")
        entry = self.repository.entry(commit, path)
        if entry is None or entry.kind != "blob":
            what = f'The path "{path}" does not exist at revision "{commit}"'
            return self.error(404, what, "content.NoSuchPathException")
        return Answer(200, self.change(self.repository.read(entry.id)))
