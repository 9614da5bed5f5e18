"""The border to the clouds' libraries: their exceptions come in, errors of casflow go out.

Owns the table from codes, statuses and exception types to error families. Invariant: what leaves
is one line without a secret, chained from the original; "absent" is said only when the service
said so, and a refusal, a failing service and a missing bucket are never taken for it.

No library of a cloud is imported: exceptions are told apart by what they carry.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from casflow import certificates
from casflow.errors import (
    AccessError,
    CasflowError,
    ConfigError,
    ConflictError,
    MissingExtraError,
    NotFoundError,
    UnavailableError,
)
from casflow.secrets import redact

if TYPE_CHECKING:
    from collections.abc import Iterator

LONGEST_DETAIL = 200  # characters of the service's own words


class ContendedError(UnavailableError):
    """Two writers met at one key and the service let neither finish; ask again at once."""


class RangeError(CasflowError):
    """The range that was asked for lies behind the object's end; an empty object has no other."""


@dataclass(frozen=True, slots=True)
class Family:
    """How one kind of failure is reported: the error's type, what happened, what to do."""

    error: type[CasflowError]
    what: str
    hint: str | None = None


ABSENT = Family(NotFoundError, "there is no such object")
EXISTS = Family(ConflictError, "there is an object of that name already")
BEYOND = Family(RangeError, "there is nothing in that range")
CONTENDED = Family(ContendedError, "another writer was at work", "try again")
FAILING = Family(UnavailableError, "the service did not answer as it should", "try again later")
THROTTLED = Family(UnavailableError, "the service asks for fewer requests", "try again later")
REFUSED = Family(AccessError, "access was refused", "check the credential and its permissions")
EXPIRED = Family(AccessError, "the credential is not valid any more", "renew it")
SKEWED = Family(AccessError, "this machine's clock is off", "set it to the right time")
NAMELESS = Family(AccessError, "no credential was found", "configure one as for the cloud's tools")
NO_ROOT = Family(
    ConfigError, "there is no such bucket or container", "create it or correct its name"
)
REGION = Family(ConfigError, "the bucket is in another region", "set the region that it is in")
PROXY = Family(AccessError, "the proxy asks for a login", "write it into HTTPS_PROXY, HTTP_PROXY")
CHECKSUMS = Family(
    ConfigError,
    "the service does not take the checksums of this client",
    "set AWS_REQUEST_CHECKSUM_CALCULATION=when_required",
)
WRONG = Family(ConfigError, "the service does not accept the request")
UNKNOWN = Family(
    ConfigError,
    "the service does not know this kind of request",
    "if it is a conditional write (If-None-Match), use another release or service, "
    "or promise exclusive_writer: that nobody else writes there",
)

_BY_CODE = {
    "XAmzContentSHA256Mismatch": CHECKSUMS,
    "InvalidTrailer": CHECKSUMS,
    "MissingContentMD5": CHECKSUMS,
    "NotImplemented": UNKNOWN,
    "NoSuchBucket": NO_ROOT,
    "InvalidBucketName": NO_ROOT,
    "ContainerNotFound": NO_ROOT,
    "InvalidResourceName": NO_ROOT,
    "PermanentRedirect": REGION,
    "AuthorizationHeaderMalformed": REGION,
    "IllegalLocationConstraintException": REGION,
    "ExpiredToken": EXPIRED,
    "ExpiredTokenException": EXPIRED,
    "InvalidToken": EXPIRED,
    "TokenRefreshRequired": EXPIRED,
    "RequestTimeTooSkewed": SKEWED,
    "ConditionalRequestConflict": CONTENDED,
    "OperationAborted": CONTENDED,
    "BlobAlreadyExists": EXISTS,
    "ContainerBeingDeleted": FAILING,
    "RequestTimeout": FAILING,
    "IncompleteBody": FAILING,
    "SlowDown": THROTTLED,
    "Throttling": THROTTLED,
    "ServerBusy": THROTTLED,
}
_BY_STATUS = {
    304: EXISTS,  # older servers answer a conditional write so
    407: PROXY,
    501: UNKNOWN,
    301: REGION,
    401: EXPIRED,
    403: REFUSED,
    404: ABSENT,
    408: FAILING,
    409: CONTENDED,
    412: EXISTS,
    416: BEYOND,
    429: THROTTLED,
}
_BY_TYPE = {
    "NoCredentialsError": NAMELESS,
    "PartialCredentialsError": NAMELESS,
    "DefaultCredentialsError": NAMELESS,
    "CredentialUnavailableError": NAMELESS,
    "CredentialRetrievalError": EXPIRED,
    "TokenRetrievalError": EXPIRED,
    "UnauthorizedSSOTokenError": EXPIRED,
    "RefreshError": EXPIRED,
    "ClientAuthenticationError": REFUSED,
    "ServiceRequestError": FAILING,
    "ServiceResponseError": FAILING,
    "BotoCoreError": WRONG,
    "HTTPClientError": FAILING,
    "ConnectionError": FAILING,
    "ResponseStreamingError": FAILING,
    "IncompleteReadError": FAILING,
    "ResponseParserError": FAILING,
    "ChecksumError": FAILING,
    "FlexibleChecksumError": FAILING,
    "TransportError": FAILING,
    "RequestException": FAILING,
    "ClientError": FAILING,
    "FileExistsError": EXISTS,
    "PermissionError": REFUSED,
    "FileNotFoundError": ABSENT,
    "TimeoutError": FAILING,
    "FSTimeoutError": FAILING,
    "AzureError": FAILING,
    "JSONDecodeError": FAILING,
    "ValueError": WRONG,
    "TypeError": WRONG,
    "OSError": FAILING,
}


def translate(error: BaseException, *, where: object) -> CasflowError:
    """Return the error of casflow that a failure of a cloud's library stands for.

    Args:
        error: What the library raised.
        where: The address that it was about.
    """
    if isinstance(error, ImportError):
        return _missing(error)
    if certificates.find_distrust(error) is not None:
        what = redact(certificates.describe(error))
        return AccessError(what, where=redact(str(where)), hint=certificates.HINT)
    family = _family(error)
    return family.error(_message(family, error), where=redact(str(where)), hint=family.hint)


def _missing(error: ImportError) -> CasflowError:
    package = (error.name or "").split(".")[0]
    extra = {"gcsfs": "gcs", "google": "gcs", "adlfs": "azure", "azure": "azure"}.get(package, "s3")
    return MissingExtraError(package or str(error), extra)


def _family(error: BaseException) -> Family:
    chain = list(_chain(error))
    for each in chain:
        if (family := _BY_CODE.get(_code(each))) is not None:
            return family
    for each in chain:
        if (family := _of_status(_status(each))) is not None:
            return family
    return _of_type(error) or FAILING


def _of_status(status: int | None) -> Family | None:
    if status is None or status < 300:  # noqa: PLR2004 - a success says nothing
        return None
    return _BY_STATUS.get(status) or (FAILING if status >= 500 else WRONG)  # noqa: PLR2004


def _of_type(error: BaseException) -> Family | None:
    for base in type(error).__mro__:
        if base.__name__ in _BY_TYPE:
            return _BY_TYPE[base.__name__]
    return None


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__


def _code(error: BaseException) -> str:
    response = getattr(error, "response", None)
    if isinstance(response, dict):
        return str(response.get("Error", {}).get("Code", ""))
    code = getattr(error, "error_code", None)
    return str(getattr(code, "value", code) or "")


def _status(error: BaseException) -> int | None:
    """Return the HTTP status that an exception of botocore, Azure or gcsfs carries."""
    response = getattr(error, "response", None)
    if isinstance(response, dict):
        return _number(response.get("ResponseMetadata", {}).get("HTTPStatusCode"))
    if any(base.__name__ == "BadHttpMessage" for base in type(error).__mro__):
        return None  # aiohttp's own code for an answer that breaks off
    if type(error) is OSError and str(error).startswith("Forbidden: "):
        return 403  # gcsfs keeps the status in its words only
    code = getattr(error, "status_code", None) or getattr(error, "code", None)
    return _number(code)


def _number(value: Any) -> int | None:
    return int(value) if str(value).isdecimal() else None


def _message(family: Family, error: BaseException) -> str:
    if family in (ABSENT, EXISTS, BEYOND, NO_ROOT):
        return family.what
    words = " ".join(redact(str(error)).split()) or type(error).__name__
    return f"{family.what} ({words[:LONGEST_DETAIL]})"
