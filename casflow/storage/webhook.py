"""A flow behind any HTTP service: one request stores it, another returns it.

Owns the templates. Invariant: a template is rendered when its request is sent and never kept
rendered; what the service returns is verified against the registered digest like anything else.
"""

from __future__ import annotations

import re
import string
import warnings
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from casflow import http
from casflow.digests import digest_of
from casflow.errors import (
    ConfigError,
    MissingSecretError,
    NotFoundError,
    UnavailableError,
    WebhookError,
)
from casflow.redaction import find_leak
from casflow.reference import PICKLE, SCRIPT, BlobName, Reference
from casflow.secrets import Secret, redact, remember, variable
from casflow.storage.base import Storage
from casflow.storage.content import draft_pickle, draft_script

if TYPE_CHECKING:
    from casflow.blobs.content import Draft
    from casflow.flow import Flow

VERBS = ("GET", "PATCH", "POST", "PUT")
_TEMPLATE_HINT = "write ${NAME}, which stands for a variable or secret of that name"
_TEMPLATE = re.compile(r"(?<!\$)(?:\$\$)*\$(?:\w|\{)")
_CREDENTIAL_NAME = re.compile(
    r"(?i)^auth$|authorization|cookie|token|secret|passw|api[-_]?key|access[-_]?key|^x-key$"
)
_CREDENTIAL_IN_URL = re.compile(
    r"(?i)://[^/\s:@]*:[^/\s@]+@|[?&](?:sig|token|access_token|api_?key|password)="
)
_RETRIED = frozenset({"GET", "PUT"})
_SMALL = 9 << 20  # bytes of an answer that is no flow, or a small one
_LARGEST = 256 << 20  # bytes of a flow whose size nobody registered


class Webhook(Storage):
    """One flow, stored and returned by HTTP requests.

    Text in the keyword arguments may hold templates such as `${NAME}`, which stand for the
    environment variable, or else the secret, of that name.

    Args:
        build_request_kwargs: What `requests` takes for the request that stores the flow.
        build_request_http_method: Its verb: GET, PATCH, POST or PUT.
        get_flow_request_kwargs: What `requests` takes for the request that returns the flow.
        get_flow_request_http_method: Its verb.
        stored_as_script: Whether a script is stored instead of a pickle.
        flow_script_path: The script.
        options: What every storage takes.
    """

    fields = (
        *("build_request_kwargs", "build_request_http_method", "get_flow_request_kwargs"),
        *("get_flow_request_http_method", "stored_as_script"),
    )

    def __init__(
        self,
        build_request_kwargs: dict[str, Any],
        build_request_http_method: str,
        get_flow_request_kwargs: dict[str, Any],
        get_flow_request_http_method: str,
        stored_as_script: bool = False,  # noqa: FBT001, FBT002 - the original's signature
        flow_script_path: str | None = None,
        **options: Any,
    ) -> None:
        super().__init__(stored_as_script=stored_as_script, **options)
        self.build_request_kwargs = {
            key: value for key, value in build_request_kwargs.items() if key != "data"
        }
        self.build_request_http_method = _checked(build_request_http_method)
        self.get_flow_request_kwargs = get_flow_request_kwargs
        self.get_flow_request_http_method = _checked(get_flow_request_http_method)
        self.flow_script_path = flow_script_path
        if "data" in build_request_kwargs:
            text = "`data` stands for the flow content and should not be set directly"
            warnings.warn(text, RuntimeWarning, stacklevel=2)
        for place in self._literal_credentials():
            text = f"{place} holds a credential as it is; {_TEMPLATE_HINT}"
            warnings.warn(text, RuntimeWarning, stacklevel=2)

    def _literal_credentials(self) -> Iterator[str]:
        """Yield where the requests hold a credential that is no template."""
        yield from literal_credentials(self.build_request_kwargs, "build_request_kwargs")
        yield from literal_credentials(self.get_flow_request_kwargs, "get_flow_request_kwargs")

    # ---- the road down ---------------------------------------------------------------------

    def suggest_script(self, path: Path) -> None:
        """Take the script that makes the flow, where none was named."""
        if self.stored_as_script and not self.flow_script_path:
            self.flow_script_path = str(path)

    def add(self, flow: Flow) -> str:
        """Take a flow in; it takes the place of the one that was here."""
        for each in (self.flows, self.references, self._flows):
            each.clear()
        return super().add(flow)

    def locate(self, flow: Flow) -> str:
        """Return the flow's name: the service alone knows where it puts it."""
        return flow.name

    def store(self, flow: Flow, labels: tuple[str, ...], known: Reference | None) -> None:
        """Send the flow, unless the last registration sent the same.

        Raises:
            ConfigError: A request holds a credential, which the registry would keep.
        """
        for place in self._literal_credentials():
            raise ConfigError("a credential would be stored", where=place, hint=_TEMPLATE_HINT)
        draft = self._draft(flow, labels)
        self.check_loads(draft, known)
        data = draft.data if isinstance(draft.data, bytes) else draft.data.read_bytes()
        made = Reference(
            flow=flow.name,
            blob=BlobName(digest_of(data), 0, len(data)),
            media_type=draft.media_type,
            created=_now(),
            labels=labels,
            environment=draft.environment,
        )
        same = known is not None and known.same_content(made) and self._holds(made.digest)
        if not same:
            self._send(self.build_request_http_method, self.build_request_kwargs, data)
        self.uploaded[flow.name] = 0 if same else len(data)
        self.references[flow.name] = made

    def _holds(self, digest: str) -> bool:
        """Tell whether the service returns the bytes of a digest now."""
        try:
            return digest_of(self._returned()) == digest
        except (NotFoundError, UnavailableError):
            return False

    def _draft(self, flow: Flow, labels: tuple[str, ...]) -> Draft:
        if not self.stored_as_script:
            return draft_pickle(flow, labels)
        if not self.flow_script_path:
            raise WebhookError("flow_script_path must be provided if stored_as_script=True")
        path = Path(self.flow_script_path)
        if not path.is_file():
            raise WebhookError(f"file '{path}' passed to flow_script_path does not exist")
        return draft_script(flow, path, labels)

    # ---- the road up -----------------------------------------------------------------------

    def resolve(self, name: str) -> Reference:
        """Take what the service returns as the flow, for want of a registered digest."""
        data = self._returned()
        blob = BlobName(digest_of(data), 0, len(data))
        self.cache.put(blob.digest, data)
        kind = SCRIPT if self.stored_as_script else PICKLE
        return Reference(name, blob, kind, _now(), tuple(self.labels))

    def download(self, name: str, blob: BlobName, target: BinaryIO) -> str:  # noqa: ARG002
        """Write what the service returns to a file."""
        target.write(self._returned(max(blob.size, _SMALL)))
        return _address(self.get_flow_request_kwargs)

    def _returned(self, limit: int = _LARGEST) -> bytes:
        verb, arguments = self.get_flow_request_http_method, self.get_flow_request_kwargs
        return self._send(verb, arguments, limit=limit)

    def _send(
        self,
        verb: str,
        arguments: dict[str, Any],
        data: bytes | None = None,
        *,
        limit: int = _SMALL,
    ) -> bytes:
        options = render(arguments)
        if data is not None:
            options["data"] = data
        where = _address(arguments)
        try:
            url = options.pop("url")
        except KeyError as error:
            raise ConfigError("the request's arguments name no url", where=where) from error
        seconds = http.seconds_for(limit if data is None else len(data))
        answer = http.send(
            verb, url, where=where, retried=_RETRIED, limit=limit, seconds=seconds, **options
        )
        hint = "check the request's arguments and the secrets that its templates name"
        return http.check(answer, where=where, hint=hint).body


def _checked(verb: str) -> str:
    if verb not in VERBS:
        raise WebhookError(f"HTTP method {verb!r} not recognized", hint=f"use {', '.join(VERBS)}")
    return verb


def _address(arguments: Mapping[str, Any]) -> str:
    """Return a request's address as it is written, templates unrendered."""
    return redact(str(arguments.get("url", "a webhook")))


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="microseconds")


class _Values(Mapping[str, str]):
    """What names in templates stand for: the environment variable, else the secret."""

    def __getitem__(self, name: str) -> str:
        value = variable(name)
        if value is not None:
            return value
        try:
            text = str(Secret(name).get())
        except MissingSecretError as error:
            what = f"Template value '{name}' does not refer to an environment variable or secret."
            raise WebhookError(what) from error
        remember(text)
        return text

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 0


def literal_credentials(value: Any, place: str, name: str = "") -> Iterator[str]:
    """Yield the places in a request's arguments that hold a credential instead of a template."""
    if isinstance(value, Mapping):
        for key, each in value.items():
            yield from literal_credentials(each, f"{place}[{key!r}]", str(key))
    elif isinstance(value, list | tuple):
        for at, each in enumerate(value):
            yield from literal_credentials(each, f"{place}[{at}]", name)
    elif isinstance(value, str) and _is_credential(name, value):
        yield place


def _is_credential(name: str, value: str) -> bool:
    if find_leak(value.encode(errors="replace")) is not None:
        return True
    if not value or _TEMPLATE.search(value):
        return False
    return bool(_CREDENTIAL_NAME.search(name) or _CREDENTIAL_IN_URL.search(value))


def render(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return a copy in which the templates of all text in nested dictionaries are rendered.

    Raises:
        WebhookError: A name is neither an environment variable nor a secret.
        ConfigError: A `$` stands where no name follows.
    """
    return {key: _rendered(value) for key, value in arguments.items()}


def _rendered(value: Any) -> Any:
    if isinstance(value, dict):
        return render(value)
    if not isinstance(value, str):
        return value
    try:
        return string.Template(value).substitute(_Values())
    except ValueError as error:
        if isinstance(error, WebhookError):
            raise
        raise ConfigError(str(error), where=repr(value), hint="write a plain $ as $$") from error
