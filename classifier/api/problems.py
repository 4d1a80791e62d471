"""What can go wrong, in the words of RFC 9457: one code for each kind, and the codes are for ever.

Programs branch on `code`; `detail` is a sentence for a person. docs/reference/api-errors.md lists
the codes; a test holds both together.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.core.exceptions import (
    BadRequest,
    PermissionDenied,
    RequestDataTooBig,
    SuspiciousOperation,
    TooManyFieldsSent,
    TooManyFilesSent,
)
from django.http import Http404, HttpRequest, HttpResponse, UnreadablePostError
from django.http.multipartparser import MultiPartParserError
from django.urls import get_script_prefix
from ninja.errors import HttpError, ValidationError

from classifier import classification, imaging, serving, storage
from classifier.corrections import CorrectionRefused
from classifier.explanations import Unexplained
from classifier.fetching import ErrorCode as FetchCode
from classifier.fetching import FetchError

MEDIA_TYPE = "application/problem+json"
# Seconds after which what is unavailable may be there again.
COME_BACK_SECONDS = 5


@dataclass(frozen=True)
class Kind:
    """A kind of problem: its HTTP status, its title, and what it means for who meets it."""

    status: int
    title: str
    meaning: str


KINDS: Mapping[str, Kind] = {
    # --- The request --------------------------------------------------------------------------
    "bad_request": Kind(400, "Bad request", "The request is no valid HTTP request of this site."),
    "bad_json": Kind(400, "Not JSON", "The body is no JSON object."),
    "bad_multipart": Kind(400, "Not a form", "The body is no multipart/form-data that we read."),
    "invalid_request": Kind(
        422,
        "Invalid request",
        "A parameter or field is missing or not what it must be; `errors` says which and why.",
    ),
    "bad_cursor": Kind(422, "Unknown cursor", "The cursor is none that a list here gave."),
    "not_found": Kind(404, "Not found", "There is nothing at this address."),
    "method_not_allowed": Kind(
        405, "Method not allowed", "The address has other methods; `Allow` lists them."
    ),
    "unsupported_media_type": Kind(
        415,
        "Unsupported content type",
        "Send multipart/form-data or application/json, as the operation says.",
    ),
    "request_too_large": Kind(413, "Request too large", "The whole body is larger than allowed."),
    "too_many_items": Kind(413, "Too many pictures", "A batch has more pictures than allowed."),
    # --- Who calls ----------------------------------------------------------------------------
    "token_missing": Kind(
        401, "Token missing", "This needs a token: `Authorization: Bearer cm_…`."
    ),
    "token_invalid": Kind(401, "Token unknown", "No token has this secret."),
    "token_expired": Kind(401, "Token expired", "The token's time has run out."),
    "token_revoked": Kind(
        401, "Token revoked", "The token was taken back, or its person's account is inactive."
    ),
    "scope_missing": Kind(403, "Scope missing", "The token does not have the scope that it takes."),
    "forbidden": Kind(403, "Forbidden", "The caller may not do this."),
    "rate_limited": Kind(
        429, "Too many requests", "The quota is used up; `Retry-After` says for how long."
    ),
    # --- Idempotency-Key ----------------------------------------------------------------------
    "bad_idempotency_key": Kind(
        400, "Bad Idempotency-Key", "The key is empty, too long or not printable ASCII."
    ),
    "idempotency_key_reused": Kind(
        422, "Idempotency-Key used before", "The key came with another request before."
    ),
    "idempotency_in_progress": Kind(
        409, "Still in progress", "The first request with this key is being answered right now."
    ),
    # --- The picture --------------------------------------------------------------------------
    "empty": Kind(400, "Empty picture", "The file has no bytes."),
    "not_an_image": Kind(415, "Not a picture", "The bytes are no picture."),
    "unsupported_format": Kind(
        415, "Format not read", "It is a picture of a format that is not read here."
    ),
    "truncated": Kind(422, "Picture broken", "The picture ends too early or is damaged."),
    "too_many_bytes": Kind(413, "Picture too large", "The file has more bytes than allowed."),
    "too_many_pixels": Kind(413, "Too many pixels", "Decoded, the picture is larger than allowed."),
    "unreadable": Kind(422, "Picture unreadable", "The picture's bytes could not be read."),
    # --- The URL of a picture -----------------------------------------------------------------
    "url_disabled": Kind(403, "No URLs here", "This installation fetches no URLs."),
    "url_busy": Kind(503, "Too many fetches", "Others' URLs are being fetched; try again."),
    "url_bad_url": Kind(422, "No URL", "It is no URL as RFC 3986 writes them."),
    "url_scheme_not_allowed": Kind(422, "Scheme not allowed", "Only http and https are fetched."),
    "url_credentials_not_allowed": Kind(
        422, "Credentials in the URL", "A URL with a user name or password is not fetched."
    ),
    "url_host_not_allowed": Kind(422, "Host not allowed", "This host is not fetched from."),
    "url_port_not_allowed": Kind(422, "Port not allowed", "This port is not fetched from."),
    "url_address_not_allowed": Kind(
        422, "Address not allowed", "The host is not on the public internet."
    ),
    "url_downgrade_not_allowed": Kind(
        422, "Downgrade not allowed", "An https URL leads on to http, which is not followed."
    ),
    "url_too_many_redirects": Kind(422, "Too many redirects", "The URL leads on too often."),
    "url_too_many_bytes": Kind(413, "Too large", "What is at the URL has too many bytes."),
    "url_too_slow": Kind(422, "Too slow", "The server did not send it in time."),
    "url_unreachable": Kind(422, "Unreachable", "The server cannot be reached."),
    "url_tls_failed": Kind(422, "TLS failed", "The server has no valid certificate."),
    "url_bad_status": Kind(422, "Not there", "The server did not answer with a picture."),
    "url_bad_answer": Kind(422, "Not HTTP", "What the server answered is no HTTP."),
    # --- What is asked about ------------------------------------------------------------------
    "prediction_not_found": Kind(
        404, "No such prediction", "There is none with this id that the caller may see."
    ),
    "correction_not_found": Kind(
        404, "No such correction", "The caller has no correction of it to take back."
    ),
    "model_not_found": Kind(404, "No such model", "No model is registered under this name."),
    "version_not_found": Kind(404, "No such version", "The model has no version of this number."),
    "version_archived": Kind(409, "Version archived", "An archived version answers no more."),
    "version_not_active": Kind(
        403, "Version not active", "Without a token only the active version may be asked for."
    ),
    "unknown_label": Kind(422, "Unknown label", "The model has no label of this key."),
    "not_explainable": Kind(
        409, "Not explainable", "The version or its engine has nothing that explains its answers."
    ),
    "picture_gone": Kind(410, "Picture gone", "The picture is no longer kept, or not readable."),
    "not_allowed": Kind(
        403, "Not allowed", "Only who sent the picture, or staff, may correct what was said."
    ),
    # --- This installation --------------------------------------------------------------------
    "no_active_version": Kind(
        503, "Nothing serves", "The model has no version that can answer now."
    ),
    "unusable_answer": Kind(500, "Unusable answer", "The model failed on this picture."),
    "out_of_memory": Kind(503, "Out of memory", "There is no memory for this picture now."),
    "storage_unavailable": Kind(503, "Storage unavailable", "Pictures cannot be kept now."),
    "storage_full": Kind(507, "Storage full", "There is no room left to keep pictures."),
    "unavailable": Kind(503, "Unavailable", "The site cannot answer now."),
    "internal_error": Kind(500, "Internal error", "Something went wrong here; it is in the log."),
}
# The code of an answer that Django or a middleware made, by its status.
CODE_OF_STATUS: Mapping[int, str] = {
    400: "bad_request",
    401: "token_missing",
    403: "forbidden",
    404: "not_found",
    405: "method_not_allowed",
    413: "request_too_large",
    415: "unsupported_media_type",
    422: "invalid_request",
    429: "rate_limited",
    500: "internal_error",
    503: "unavailable",
}


class Problem(Exception):
    """An answer that is an error: a code of `KINDS`, a sentence, headers, further members."""

    def __init__(
        self,
        code: str,
        detail: str = "",
        *,
        headers: Mapping[str, str] | None = None,
        **members: Any,
    ) -> None:
        super().__init__(detail or KINDS[code].meaning)
        self.code = code
        self.headers = dict(headers or {})
        self.members = members
        if self.kind.status == 503:
            self.headers.setdefault("Retry-After", str(COME_BACK_SECONDS))

    @property
    def kind(self) -> Kind:
        return KINDS[self.code]

    def to_json(self, instance: str | None = None) -> dict[str, Any]:
        """Return the members of RFC 9457, section 3.1, the code, and what else there is to say."""
        members: dict[str, Any] = {
            "type": f"{get_script_prefix()}api/v1/docs#{self.code}",
            "title": self.kind.title,
            "status": self.kind.status,
            "detail": str(self),
            "code": self.code,
        }
        if instance is not None:
            members["instance"] = instance
        return members | self.members


def answer(request: HttpRequest, problem: Problem) -> HttpResponse:
    """Return the problem as an answer to the request."""
    content = json.dumps(problem.to_json(request.path))
    status = problem.kind.status
    return HttpResponse(content, content_type=MEDIA_TYPE, status=status, headers=problem.headers)


def of(error: Exception) -> Problem | None:
    """Return the problem that an exception of ours or of Django's is; None if it is a bug."""
    match error:
        case Problem():
            return error
        case imaging.ImageError():
            return Problem(str(error.code), str(error))
        case FetchError():
            return of_fetching(error.code, str(error))
        case ValidationError():
            return Problem("invalid_request", errors=[_error(item) for item in error.errors])
        case HttpError():
            code = CODE_OF_STATUS.get(error.status_code)
            return Problem(code, str(error)) if code else None
        case CorrectionRefused():
            return Problem(error.code, str(error))
        case Unexplained():
            return Problem(error.code, str(error))
        case serving.NoActiveVersion():
            return Problem("no_active_version", str(error))
        case classification.UnusableAnswer():
            return Problem("unusable_answer", str(error))
        case storage.StorageFull():
            return Problem("storage_full", str(error))
        case storage.StorageUnavailable():
            return Problem("storage_unavailable", str(error))
    return _of_django(error)


def of_fetching(code: FetchCode, sentence: str) -> Problem:
    return Problem(f"url_{code}", sentence)


def too_large(most: int, what: str = "a body") -> Problem:
    return Problem("request_too_large", f"Expected {what} of at most {most:,} bytes.")


def _of_django(error: Exception) -> Problem | None:
    match error:
        case Http404():
            return Problem("not_found")
        case PermissionDenied():
            return Problem("forbidden")
        case RequestDataTooBig():
            return too_large(settings.DATA_UPLOAD_MAX_MEMORY_SIZE, "a body without files")
        case TooManyFilesSent():
            most = settings.API_BATCH_MAX_ITEMS
            return Problem("too_many_items", f"Expected at most {most} pictures. Received: more")
        case MultiPartParserError() | TooManyFieldsSent():
            return Problem("bad_multipart")
        case BadRequest() | SuspiciousOperation() | UnreadablePostError():
            return Problem("bad_request")
    return None


def _error(item: Mapping[str, Any]) -> dict[str, str]:
    """Return where an error is and what is wrong, without the value that was sent."""
    return {"where": ".".join(map(str, item["loc"])), "message": str(item["msg"])}
