"""The REST API 2.0 of Bitbucket Cloud: commits, refs in pages, and files under `src`."""

from __future__ import annotations

import base64
import re
from typing import ClassVar

from tests.hosts.server import Answer, Host, Request, page

REPOSITORY = "/2.0/repositories/space/repo"


class BitbucketCloudHost(Host):
    """Serves the repository as `space/repo`; the token is `user:app password`.

    As the real one does in some places, it does not take a ref with a slash in a path.
    """

    page_size = 10
    routes: ClassVar = {
        f"GET {REPOSITORY}": "about",
        rf"GET {REPOSITORY}/commits/([^/]+)": "commits",
        rf"GET {REPOSITORY}/refs": "refs",
        rf"GET {REPOSITORY}/refs/(branches|tags)": "some_refs",
        rf"GET {REPOSITORY}/src/([^/]+)/(.+)": "source",
    }

    def refuse(self, request: Request) -> Answer | None:
        """Refuse a request without the right basic credential."""
        given = request.headers.get("Authorization")
        if self.token is None:
            return None
        if given == "Basic " + base64.b64encode(self.token.encode()).decode():
            return None
        return self.error(401 if given else 403, "Access denied.")

    def error(self, status: int, message: str) -> Answer:
        """Return an error body."""
        return Answer.json({"type": "error", "error": {"message": message}}, status)

    def absent(self, what: str) -> Answer:
        """Return 404."""
        return self.error(404, what)

    def about(self, _: Request) -> Answer:
        """Describe the repository."""
        branch = {"type": "branch", "name": self.repository.default()}
        return Answer.json({"full_name": "space/repo", "mainbranch": branch})

    def commits(self, _: Request, ref: str) -> Answer:
        """List commits from a ref."""
        commit = None if "/" in ref else self.repository.resolve(ref)
        if commit is None:
            return self.absent(f"No such commit or branch: {ref}")
        return Answer.json({"values": [{"hash": commit, "type": "commit"}]})

    def refs(self, request: Request) -> Answer:
        """List branches and tags."""
        return self._list(request, self.repository.refs("heads"), self.repository.refs("tags"))

    def some_refs(self, request: Request, kind: str) -> Answer:
        """List branches, or tags."""
        return self._list(request, self.repository.refs("heads" if kind == "branches" else kind))

    def _list(self, request: Request, *found: dict[str, str]) -> Answer:
        number = int(request.query("page", "1"))
        size = min(int(request.query("pagelen", "10")), self.page_size)
        wanted = re.fullmatch(r'name\s*=\s*"(.*)"', request.query("q"))
        refs = [
            {"name": name, "target": {"hash": commit}}
            for each in found
            for name, commit in each.items()
            if wanted is None or name == wanted[1]
        ]
        items, more = page(refs, number, size)
        body = {"values": items, "page": number, "pagelen": size}
        if more:
            body["next"] = f"{self.url}{request.path}?pagelen={size}&page={number + 1}"
        return Answer.json(body)

    def source(self, _: Request, commit: str, path: str) -> Answer:
        """Return a file's content at a commit, or list a folder."""
        resolved = self.repository.resolve(commit)
        if resolved is None:
            return self.absent("Commit not found")
        entry = self.repository.entry(resolved, path)
        if entry is None or entry.kind == "commit":
            return self.absent(f"No such file or directory: {path}")
        if entry.kind == "tree":
            return Answer.json({"values": [], "page": 1})
        kinds = {"Content-Type": "text/x-python"}
        return Answer(200, self.change(self.repository.read(entry.id)), kinds)
