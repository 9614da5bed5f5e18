"""Scripts in repositories of AWS CodeCommit.

One listing of the script's folder tells the commit that a branch, a tag or the default branch
names, and what kind of thing the path is. Invariant: boto3 signs a request and reads its answer;
what sends it is `casflow.http`, so that it is bounded in bytes and time as all others are.
"""

from __future__ import annotations

import os
from functools import partial
from pathlib import PurePosixPath
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from casflow import http
from casflow.blobs.s3 import given_credentials, remember_credentials
from casflow.config import ca_bundle
from casflow.errors import (
    AccessError,
    CasflowError,
    ConfigError,
    IntegrityError,
    MissingExtraError,
    NotFoundError,
    UnavailableError,
)
from casflow.secrets import redact
from casflow.storage.source import Content, Head, SourceStorage
from casflow.storage.validation import check_blob_id, check_commit, not_a_file

if TYPE_CHECKING:
    from collections.abc import Mapping

_KINDS = {"symbolicLinks": "symbolic link", "subModules": "submodule", "subFolders": "directory"}
_CREDENTIALS = frozenset({"aws_access_key_id", "aws_secret_access_key", "aws_session_token"})


class CodeCommit(SourceStorage):
    """A script in a repository of CodeCommit.

    Args:
        repo: Name of the repository.
        path: The script in the repository.
        commit: Branch, tag or commit id; the default branch when left out.
        client_options: What boto3's client takes; credentials among it are used here but never
            written.
        options: What every storage of this family takes.
    """

    fields = ("repo", "path", "commit", "client_options", "pin", "on_unreachable")

    def __init__(
        self,
        repo: str,
        path: str | None = None,
        commit: str | None = None,
        client_options: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> None:
        super().__init__(path=path, ref=commit, **options)
        self.repo = repo
        self.commit = commit
        self._client_options = dict(client_options or {})
        remember_credentials(self._client_options)

    @property
    def client_options(self) -> dict[str, Any] | None:
        """What the client takes, without credentials."""
        kept = {key: each for key, each in self._client_options.items() if key not in _CREDENTIALS}
        if "@" in str(kept.get("endpoint_url")):
            del kept["endpoint_url"]
        return kept or None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_client_options": self.client_options or {}}

    @property
    def address(self) -> str:
        """The endpoint or region, and the repository."""
        options = self._client_options
        host = options.get("endpoint_url") or options.get("region_name") or "the default region"
        return f"codecommit at {host}/{self.repo}"

    def look_up(self, etag: str | None) -> Head | None:  # noqa: ARG002 - the protocol has none
        """List the script's folder at the ref, which names its commit."""
        folder = str(PurePosixPath(str(self.path)).parent)
        asked = {} if self.ref is None else {"commitSpecifier": self.ref}
        path = "" if folder == "." else folder
        found = self._call("get_folder", folderPath=path, **asked)
        self._check_kind(found)
        return Head(check_commit(found.get("commitId"), where=self.address))

    def _check_kind(self, folder: Mapping[str, Any]) -> None:
        for key, kind in _KINDS.items():
            if any(each.get("absolutePath") == self.path for each in folder.get(key, ())):
                raise not_a_file(kind, f"{self.address}:{self.path}")

    def read(self, commit: str) -> Content:
        """Download the script with its blob id, which is checked."""
        found = self._call("get_file", commitSpecifier=commit, filePath=self.path)
        where = f"{self.address}:{self.path}"
        if found.get("fileMode") == "SYMLINK":
            raise not_a_file("symbolic link", where)
        data, identity = found.get("fileContent"), found.get("blobId")
        if not isinstance(data, bytes) or not isinstance(identity, str):
            raise IntegrityError("the answer holds no file with its id", where=where)
        return Content(check_blob_id(data, identity, where=where))

    def _call(self, action: str, **asked: Any) -> dict[str, Any]:
        client = self._client()  # first, for it says which extra to install
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            return dict(getattr(client, action)(repositoryName=self.repo, **asked))
        except (ClientError, BotoCoreError) as error:
            raise self._error(error) from error
        except CasflowError:
            raise
        except _UNREADABLE as error:  # botocore trusts the service to keep to its own model
            what = f"the answer to {action} cannot be read ({type(error).__name__})"
            raise IntegrityError(what, where=self.address) from error
        finally:
            client.close()

    def _client(self) -> Any:
        try:
            import boto3
            from botocore.config import Config
        except ImportError as error:
            raise MissingExtraError("boto3", "git") from error
        options = {**self._client_options, **given_credentials()}
        if "verify" not in options and not os.environ.get("AWS_CA_BUNDLE"):
            options |= {} if (bundle := ca_bundle()) is None else {"verify": bundle}
        session = boto3.session.Session(profile_name=options.pop("profile_name", None))
        # What a host does not answer is asked again by `send`, and what it limits by botocore.
        defaults = Config(connect_timeout=10, read_timeout=60, retries={"max_attempts": 1})
        given = options.pop("config", None)
        config = options["config"] = defaults if given is None else defaults.merge(given)
        client = session.client("codecommit", **options)
        sent = {
            "timeout": (config.connect_timeout, config.read_timeout),
            "verify": options.get("verify", os.environ.get("AWS_CA_BUNDLE") or True),
            "proxies": config.proxies,
            "cert": config.client_cert,
        }
        client.meta.events.register("before-send.codecommit", partial(self._send, sent))
        return client

    def _send(self, options: Mapping[str, Any], request: Any, **_: Any) -> Any:
        """Send a request that botocore signed, and return the answer as botocore reads it."""
        from botocore.awsrequest import AWSResponse

        headers = {name: _text(value) for name, value in request.headers.items()}
        answer = http.send(
            *(request.method, request.url),
            where=self.address,
            retried=frozenset({request.method}),  # all that is asked for here only reads
            headers=headers,
            data=request.body,
            allow_redirects=False,
            **options,
        )
        raw = SimpleNamespace(stream=lambda: [answer.body])
        return AWSResponse(request.url, answer.status, answer.headers, raw)

    def _error(self, error: Any) -> CasflowError:
        code = getattr(error, "response", {}).get("Error", {}).get("Code", type(error).__name__)
        where = f"{self.address}:{self.path}@{self.ref or 'the default branch'}"
        if code.endswith("DoesNotExistException"):
            hint = "check the names of the repository, the ref and the path"
            return NotFoundError(f"not found ({code})", where=where, hint=hint)
        if code == "FileTooLargeException":
            return ConfigError("the file is over CodeCommit's limit of 6 MB", where=where)
        if code in _ACCESS_ERRORS or "AccessDenied" in code or "Token" in code:
            hint = "check the AWS credentials and their policy"
            return AccessError(f"the request was refused ({code})", where=where, hint=hint)
        if code in ("NoRegionError", "ParamValidationError") or code.startswith("Invalid"):
            text = redact(str(error))
            return ConfigError(f"the request cannot be made ({text})", where=where)
        return UnavailableError(f"the service failed ({code})", where=where, hint="try again later")


def _text(value: str | bytes) -> str:
    return value if isinstance(value, str) else value.decode("latin-1")


_UNREADABLE = (ValueError, TypeError, LookupError, AttributeError, RecursionError)
_ACCESS_ERRORS = frozenset(
    {
        "UnrecognizedClientException",
        "InvalidSignatureException",
        "MissingAuthenticationTokenException",
        "NoCredentialsError",
        "PartialCredentialsError",
    }
)
