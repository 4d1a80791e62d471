"""The OpenAPI document: what the signatures cannot say, said once and used by every operation."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterable, Mapping
from typing import Any

from ninja import NinjaAPI
from ninja.responses import NinjaJSONEncoder

from classifier.api import schemas
from classifier.api.problems import KINDS, MEDIA_TYPE

Json = dict[str, Any]

ALWAYS = ("bad_request", "request_too_large", "rate_limited", "internal_error", "unavailable")
AUTHENTICATION = ("token_missing", "token_invalid", "token_expired", "token_revoked")
ASKED = ("invalid_request",)
KEYS = ("bad_idempotency_key", "idempotency_key_reused", "idempotency_in_progress")
BODY = ("bad_json", "unsupported_media_type")
FORM = ("bad_multipart",)
PICTURE = (
    *("empty", "not_an_image", "unsupported_format", "truncated"),
    *("too_many_bytes", "too_many_pixels", "out_of_memory"),
)
URL = tuple(code for code in KINDS if code.startswith("url_"))
SERVING = ("no_active_version", "unusable_answer", "storage_unavailable", "storage_full")
MODEL = ("model_not_found", "version_not_found")
VERSION = ("version_archived", "version_not_active")

_FILE: Json = {"type": "string", "format": "binary"}


def operation(
    *codes: str,
    anonymous: bool = False,
    key: bool = False,
    body: Mapping[str, Json] | None = None,
    headers: Mapping[int, Mapping[str, str]] | None = None,
) -> Json:
    """Return what to add to an operation: its problems, its body, its headers.

    Args:
        codes: of the problems beside those that every operation has.
        anonymous: whether a token may be left out.
        key: whether it takes an Idempotency-Key.
        body: the schema of the body by media type.
        headers: by status, the answer's headers and what they say.
    """
    every = (*ALWAYS, *AUTHENTICATION, "scope_missing", *(KEYS if key else ()), *codes)
    extra: Json = {"responses": _responses(every)}
    for status, named in (headers or {}).items():
        extra["responses"][status] = {"headers": _headers(named)}
    if anonymous:
        extra["security"] = [{}]
    if key:
        extra["parameters"] = [_header("Idempotency-Key", _KEY, _KEY_SCHEMA)]
    if body is not None:
        content = {media_type: {"schema": schema} for media_type, schema in body.items()}
        extra["requestBody"] = {"required": True, "content": content}
    return extra


def conditional(*codes: str) -> Json:
    """Return what to add to an operation whose answer has an ETag."""
    etag = {"ETag": "Of the answer; send it back as If-None-Match."}
    extra = operation(*codes, anonymous=True, headers={200: etag, 304: etag})
    extra["parameters"] = [
        _header("If-None-Match", "The ETag of an answer at hand.", {"type": "string"})
    ]
    return extra


ONE_PICTURE: Mapping[str, Json] = {
    "multipart/form-data": {
        "type": "object",
        "properties": {"image": _FILE},
        "required": ["image"],
    },
    "application/json": schemas.Url.model_json_schema(),
}
MANY_PICTURES: Mapping[str, Json] = {
    "multipart/form-data": {
        "type": "object",
        "properties": {"images": {"type": "array", "items": _FILE, "minItems": 1}},
        "required": ["images"],
    },
    "application/json": {
        "type": "object",
        "properties": {
            "urls": {
                "type": "array",
                "minItems": 1,
                "items": {"type": "string", "minLength": 1, "maxLength": 2048},
            }
        },
        "required": ["urls"],
        "additionalProperties": False,
    },
}
CORRECTION: Mapping[str, Json] = {"application/json": schemas.CorrectionIn.model_json_schema()}

_KEY = (
    "Of your own making, for example a UUID: the same request sent again with it within 24 hours "
    "is carried out once and answered alike."
)
_KEY_SCHEMA: Json = {
    "type": "string",
    "minLength": 1,
    "maxLength": 255,
    "pattern": "^[!#-~]+$",
}


def _responses(codes: Iterable[str]) -> dict[int, Json]:
    by_status: dict[int, list[str]] = {}
    for code in codes:
        by_status.setdefault(KINDS[code].status, []).append(code)
    return {status: _problem(by_status[status]) for status in sorted(by_status)}


def _problem(codes: Iterable[str]) -> Json:
    return {
        "description": "; ".join(f"`{code}`: {KINDS[code].title}" for code in codes),
        "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
    }


def _headers(named: Mapping[str, str]) -> Json:
    return {
        name: {"description": text, "schema": {"type": "string"}} for name, text in named.items()
    }


def _header(name: str, description: str, schema: Json) -> Json:
    return {
        "in": "header",
        "name": name,
        "required": False,
        "description": description,
        "schema": schema,
    }


@functools.cache
def document(api: NinjaAPI) -> Json:
    """Return the OpenAPI 3.1 document of the API, in JSON's own types."""
    made = dict(api.get_openapi_schema(path_prefix=""))
    made["components"]["schemas"]["Problem"] = schemas.Problem.model_json_schema(
        ref_template="#/components/schemas/{model}"
    )
    problem = made["components"]["schemas"]["Problem"]
    made["components"]["schemas"] |= problem.pop("$defs", {})
    if not made["servers"]:
        del made["servers"]
    plain: Json = json.loads(json.dumps(made, cls=NinjaJSONEncoder))
    return plain


def text(api: NinjaAPI) -> str:
    """Return the document as it stands in docs/reference/openapi.json."""
    return json.dumps(document(api), indent=1, ensure_ascii=False) + "\n"
