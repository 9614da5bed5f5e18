"""The answers of an injected failure, in the words of the service that the client believes in."""

from __future__ import annotations

import json

_S3_CODES = {
    403: "AccessDenied",
    404: "NoSuchKey",
    409: "ConditionalRequestConflict",
    429: "TooManyRequests",
    500: "InternalError",
    503: "SlowDown",
}
_AZURE_CODES = {
    403: "AuthorizationFailure",
    404: "BlobNotFound",
    409: "OperationTimedOut",
    429: "TooManyRequests",
    500: "InternalError",
    503: "ServerBusy",
}
_GCS_REASONS = {
    403: "forbidden",
    404: "notFound",
    409: "conflict",
    429: "rateLimitExceeded",
    500: "backendError",
    503: "backendError",
}


def error_answer(dialect: str, status: int) -> tuple[dict[str, str], bytes]:
    """Return headers and body of an error as a cloud words it."""
    if dialect == "gcs":
        return _gcs(status)
    if dialect == "plain":
        return {"Content-Type": "text/plain"}, b"broken on purpose\n"
    code = (_AZURE_CODES if dialect == "azure" else _S3_CODES)[status]
    text = f"<Error><Code>{code}</Code><Message>broken on purpose</Message></Error>"
    headers = {"Content-Type": "application/xml"}
    if dialect == "azure":
        headers["x-ms-error-code"] = code
    return headers, f'<?xml version="1.0" encoding="UTF-8"?>\n{text}'.encode()


def _gcs(status: int) -> tuple[dict[str, str], bytes]:
    reason = {"message": "broken on purpose", "domain": "global", "reason": _GCS_REASONS[status]}
    error = {"code": status, "message": "broken on purpose", "errors": [reason]}
    return {"Content-Type": "application/json"}, json.dumps({"error": error}).encode()
