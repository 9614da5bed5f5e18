"""Scripts in repositories of GitLab, over REST."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from casflow.storage import http
from casflow.storage.checks import check_blob_id, check_commit, clean_url
from casflow.storage.source import Content, Head, SourceStorage

if TYPE_CHECKING:
    from requests import Response

HOST = "https://gitlab.com"
SECRET = "GITLAB_ACCESS_TOKEN"  # noqa: S105 - a secret's name


class GitLab(SourceStorage):
    """A script in a repository of GitLab.

    Args:
        repo: `namespace/project`, or the project's number.
        path: The script in the repository.
        host: Address of the server; gitlab.com when left out.
        ref: Branch, tag or commit id; the default branch when left out.
        access_token_secret: Name of the secret that holds an access token; `GITLAB_ACCESS_TOKEN`
            is used if it is set.
        options: What every storage of this family takes.
    """

    fields = ("repo", "path", "host", "ref", "access_token_secret", "pin", "on_unreachable")

    def __init__(
        self,
        repo: str | int,
        path: str | None = None,
        host: str | None = None,
        ref: str | None = None,
        access_token_secret: str | None = None,
        **options: Any,
    ) -> None:
        super().__init__(path=path, ref=ref, **options)
        self.repo = str(repo)
        self.host = None if host is None else clean_url(host)
        self.access_token_secret = access_token_secret

    @property
    def address(self) -> str:
        """The API's address and the project."""
        return f"{self.host or HOST}/api/v4/projects/{quote(self.repo, safe='')}"

    def look_up(self, etag: str | None) -> Head | None:
        """Ask for the ref's commit."""
        ref = self.ref or "HEAD"
        condition = {} if etag is None else {"If-None-Match": etag}
        answer = self._get(f"commits/{quote(ref, safe='')}", f"@{ref}", **condition)
        if answer.status_code == 304:  # noqa: PLR2004
            return None
        form = http.json_of(answer, where=self.address)
        return Head(check_commit(form.get("id"), where=self.address), answer.headers.get("ETag"))

    def read(self, commit: str) -> Content:
        """Download the script with its blob id, which is checked."""
        where = f"{self.address}:{self.path}"
        answer = self._get(f"files/{quote(str(self.path), safe='')}?ref={commit}", f":{self.path}")
        form = http.json_of(answer, where=where)
        data = base64.b64decode(form["content"])
        return Content(check_blob_id(data, form["blob_id"], where=where))

    def _get(self, rest: str, what: str, **headers: str) -> Response:
        token = self.token(self.access_token_secret, SECRET)
        where = f"{self.address}{what}"
        address = f"{self.address}/repository/{rest}"
        answer = http.send("GET", address, where=where, auth=http.bearer(token), headers=headers)
        return http.check(answer, where=where, hint=self._hint(token))

    def _hint(self, token: str | None) -> str:
        if token is None:
            return f"check the names; if the project is private, set the secret {SECRET}"
        name = self.access_token_secret or SECRET
        return f"check the names, and that the token in {name} may read the project"
