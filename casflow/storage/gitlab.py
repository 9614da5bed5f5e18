"""Scripts in repositories of GitLab, over REST."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from casflow import http
from casflow.storage.rest import RestStorage
from casflow.storage.source import Content
from casflow.storage.validation import (
    check_blob_id,
    check_id,
    clean_url,
    decode_base64,
    refuse_unnamed,
    repository_path,
)

if TYPE_CHECKING:
    from casflow.http import Answer

HOST = "https://gitlab.com"
SECRET = "GITLAB_ACCESS_TOKEN"  # noqa: S105 - a secret's name


class GitLab(RestStorage):
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
        *unnamed: Any,
        path: str | None = None,
        host: str | None = None,
        ref: str | None = None,
        access_token_secret: str | None = None,
        **options: Any,
    ) -> None:
        refuse_unnamed(unnamed, "GitLab", "path=, host=, ref=")
        super().__init__(path=path, ref=ref, **options)
        self.repo = repository_path(str(repo), "namespace/project")
        self.host = None if host is None else clean_url(host)
        self.access_token_secret = access_token_secret

    @property
    def address(self) -> str:
        """The API's address and the project."""
        return f"{self.host or HOST}/api/v4/projects/{quote(self.repo, safe='')}"

    @property
    def is_default_host(self) -> bool:
        """Whether it is gitlab.com."""
        return self.host in (None, HOST)

    def head_request(self) -> tuple[str, dict[str, str]]:
        """Ask for the ref's commit."""
        return f"repository/commits/{quote(self.ref or 'HEAD', safe='')}", {}

    def commit_of(self, answer: Answer) -> object:
        """Take it from its description."""
        return http.read_object(answer, where=self.address).get("id")

    def read(self, commit: str) -> Content:
        """Download the script with its blob id, which is checked."""
        where = f"{self.address}:{self.path}"
        rest = f"repository/files/{quote(str(self.path), safe='')}?ref={commit}"
        answer = self.ask(rest, f":{self.path}")
        form = http.read_object(answer, where=where)
        data = decode_base64(http.member(form, "content", str, where=where), where=where)
        identity = check_id(form.get("blob_id"), where=where)
        return Content(check_blob_id(data, identity, where=where))

    def credential(self) -> tuple[http.Credential, str]:
        """Return that of the access token."""
        return self.token_credential(self.access_token_secret, SECRET, "project")
