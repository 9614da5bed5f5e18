"""Scripts in repositories of Bitbucket: Server and Data Center, and Cloud.

Server sends no ETag, so a moving ref there costs one small request that is answered in full. What
Cloud does not find under its own path (a ref with a slash) is looked for in all pages of refs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

from casflow import http
from casflow.errors import ConfigError, NotFoundError
from casflow.secrets import Secret, find
from casflow.storage.rest import RestStorage
from casflow.storage.source import Content, Head
from casflow.storage.validation import check_commit, clean_url, not_a_file, refuse_unnamed

if TYPE_CHECKING:
    from casflow.http import Answer

HOST = "https://bitbucket.org"
CLOUD = "https://api.bitbucket.org"
TOKEN = "BITBUCKET_ACCESS_TOKEN"  # noqa: S105 - a secret's name, like the next two
USERNAME = "BITBUCKET_CLOUD_USERNAME"
PASSWORD = "BITBUCKET_CLOUD_APP_PASSWORD"  # noqa: S105


class Bitbucket(RestStorage):
    """A script in a repository of Bitbucket.

    Args:
        project: Key of the project.
        repo: The repository's slug.
        path: The script in the repository.
        workspace: Workspace on Bitbucket Cloud; without it, `host` is a Server or Data Center.
        host: Address of the server.
        ref: Branch, tag or commit id; the default branch when left out.
        access_token_secret: Name of the secret that holds a server's access token;
            `BITBUCKET_ACCESS_TOKEN` is used if it is set.
        cloud_username_secret: Name of the secret that holds the user's name on Cloud.
        cloud_app_password_secret: Name of the secret that holds the app password on Cloud.
        options: What every storage of this family takes.
    """

    fields = (
        *("project", "repo", "path", "workspace", "host", "ref", "access_token_secret"),
        *("cloud_username_secret", "cloud_app_password_secret", "pin", "on_unreachable"),
    )

    def __init__(
        self,
        project: str,
        repo: str,
        *unnamed: Any,
        path: str | None = None,
        workspace: str | None = None,
        host: str | None = None,
        ref: str | None = None,
        access_token_secret: str | None = None,
        cloud_username_secret: str | None = None,
        cloud_app_password_secret: str | None = None,
        **options: Any,
    ) -> None:
        refuse_unnamed(unnamed, "Bitbucket", "path=, workspace=, host=, ref=")
        if workspace is not None and access_token_secret is not None:
            hint = "name cloud_username_secret and cloud_app_password_secret"
            raise ConfigError("Bitbucket Cloud takes no access_token_secret", hint=hint)
        super().__init__(path=path, ref=ref, **options)
        self.project = project
        self.repo = repo
        self.workspace = workspace
        self.host = None if host is None else clean_url(host)
        self.access_token_secret = access_token_secret
        self.cloud_username_secret = cloud_username_secret
        self.cloud_app_password_secret = cloud_app_password_secret

    @property
    def address(self) -> str:
        """The API's address and the repository."""
        if self.workspace is not None:
            host = self.host or CLOUD
            return f"{host}/2.0/repositories/{quote(self.workspace)}/{quote(self.repo)}"
        host = self.host or HOST
        return f"{host}/rest/api/1.0/projects/{quote(self.project)}/repos/{quote(self.repo)}"

    @property
    def is_default_host(self) -> bool:
        """Whether it is Bitbucket's own."""
        return self.host in (None, HOST if self.workspace is None else CLOUD)

    def look_up(self, etag: str | None) -> Head | None:
        """Ask for the newest commit of the ref."""
        try:
            return super().look_up(etag)
        except NotFoundError:
            if self.workspace is None or self.ref is None or "/" not in self.ref:
                raise
            return Head(self._search(self.ref))

    def head_request(self) -> tuple[str, dict[str, str]]:
        """Ask for a list of one commit."""
        if self.workspace is not None:
            ref = quote(self.ref or "HEAD", safe="")
            return f"commits/{ref}?pagelen=1&fields=values.hash", {}
        until = {} if self.ref is None else {"until": self.ref}
        return f"commits?{urlencode({'limit': 1, **until})}", {}

    def commit_of(self, answer: Answer) -> object:
        """Take it from the list."""
        form = http.read_object(answer, where=self.address)
        first = (http.items(form, "values", where=self.address) or [{}])[0]
        return first.get("id") or first.get("hash")

    def _search(self, ref: str) -> str:
        """Return the commit of a ref of Cloud, from all pages of refs."""
        asked = {"pagelen": 100, "q": f'name = "{ref}"'}
        where = f"{self.address}@{ref}"
        pages = http.read_pages(
            f"{self.address}/refs?{urlencode(asked)}",
            lambda url: self.ask_at(url, f"@{ref}"),
            lambda answer: _next_page(answer, where),
            where=where,
        )
        for page in pages:
            for each in http.items(http.read_object(page, where=where), "values", where=where):
                if each.get("name") == ref:
                    commit = http.member(each, "target.hash", str, where=where)
                    return check_commit(commit, where=self.address)
        raise NotFoundError("no such branch, tag or commit", where=where)

    def read(self, commit: str) -> Content:
        """Download the script; Bitbucket gives no blob id."""
        path = quote(str(self.path))
        rest = f"raw/{path}?at={commit}" if self.workspace is None else f"src/{commit}/{path}"
        answer = self.ask(rest, f":{self.path}")
        if "json" in answer.headers.get("Content-Type", ""):
            raise not_a_file("directory", f"{self.address}:{self.path}")
        return Content(answer.body)

    def credential(self) -> tuple[http.Credential, str]:
        """Return that of the server's token, or of the user on Cloud."""
        names = TOKEN if self.workspace is None else f"{USERNAME} and {PASSWORD}"
        hint = f"check the names, and that {names} hold a credential that may read the repository"
        if self.workspace is None:
            return self.token_credential(self.access_token_secret, TOKEN, "repository")
        named = self.cloud_username_secret or self.cloud_app_password_secret
        if not (named or self.is_default_host):
            return http.bearer(None), hint
        user = _read(self.cloud_username_secret, USERNAME)
        password = _read(self.cloud_app_password_secret, PASSWORD)
        if user is None or password is None:
            return http.bearer(None), hint
        return http.basic(user, password), hint


def _next_page(answer: Answer, where: str) -> str | None:
    form = http.read_object(answer, where=where)
    return http.member(form, "next", str, where=where) if form.get("next") else None


def _read(named: str | None, default: str) -> str | None:
    value = find(named or default)
    if value is None and named is not None:
        value = Secret(named).get()
    return None if value is None else str(value).strip()
