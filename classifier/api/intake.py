"""What a request brings: pictures as files of a form or named by URLs in JSON.

Both ways in one address is more than a signature can say, so the body is parsed here, and strictly:
its size, the number of its parts and the depth of its JSON are bounded before it is looked at.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any, Protocol

from django.conf import settings
from django.core.files.uploadedfile import UploadedFile
from django.http import HttpRequest
from pydantic import ValidationError

from classifier import bulk, imaging, remote
from classifier.api import schemas
from classifier.api.problems import Problem
from classifier.fetching import Fetched, FetchError

LONGEST_URL = 2048
# In a form they would be passed over, and another model than was meant would answer.
IN_THE_ADDRESS = frozenset({"model", "version", "top", "store"})
# Seconds that a request waits for others' URLs to be fetched.
WAIT_SECONDS = 2.0
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


class Sent(Protocol):
    """One picture of a request."""

    @property
    def name(self) -> str: ...

    def read(self) -> bytes: ...

    def fingerprint(self) -> str:
        """Return what tells it from another picture, without the framing it came in."""
        ...


@dataclass
class SentFile:
    """A file of a form."""

    file: UploadedFile[bytes]

    @property
    def name(self) -> str:
        return self.file.name or ""

    def read(self) -> bytes:
        """Return its bytes; raises ReadError for more than any picture may have."""
        if (self.file.size or 0) > settings.IMAGE_MAX_BYTES:
            allowed = f"{settings.IMAGE_MAX_BYTES:,}"
            sentence = (
                f"Expected a picture of at most {allowed} bytes. Received: {self.file.size:,}"
            )
            raise bulk.ReadError(imaging.ErrorCode.TOO_MANY_BYTES, sentence)
        self.file.seek(0)
        content: bytes = self.file.read()
        return content

    def fingerprint(self) -> str:
        digest = hashlib.sha256()
        self.file.seek(0)
        for chunk in self.file.chunks():
            digest.update(chunk)
        return f"{digest.hexdigest()} {self.name}"


@dataclass
class SentUrl:
    """A picture somewhere else; it has a name when it was fetched."""

    url: str
    name: str = field(default="", init=False)

    def read(self) -> bytes:
        """Fetch it; raises ReadError with the code of what went wrong."""
        try:
            fetched = self._fetch()
        except FetchError as error:
            raise bulk.ReadError(f"url_{error.code}", str(error)) from error
        self.name = fetched.filename
        return fetched.content

    def fingerprint(self) -> str:
        return self.url

    def _fetch(self) -> Fetched:
        return remote.fetch_picture(self.url, wait=WAIT_SECONDS)


@dataclass
class _UrlOfBatch(SentUrl):
    """One of several that share their seconds and bytes."""

    batch: remote.Batch

    def _fetch(self) -> Fetched:
        fetched = self.batch.fetch(self.url)
        if fetched is None:
            sentence = f"A batch may have {settings.API_BATCH_MAX_BYTES:,} bytes in all."
            raise bulk.ReadError("request_too_large", sentence)
        return fetched


def picture(request: HttpRequest) -> Sent:
    """Return the one picture of a request: the file `image`, or {"url": ...}. Raises Problem."""
    if _is_form(request):
        return SentFile(_one(_files(request, "image")))
    return SentUrl(_url(json_object(request, ("url",))["url"], "body.url"))


def pictures(request: HttpRequest) -> Sequence[Sent]:
    """Return the pictures of a batch: the files `images`, or {"urls": [...]}. Raises Problem."""
    if _is_form(request):
        sent: Sequence[Sent] = [SentFile(file) for file in _files(request, "images")]
    else:
        sent = _urls(json_object(request, ("urls",))["urls"])
    if not sent:
        raise invalid("body.urls", "Expected at least one URL.")
    _check_count(len(sent))
    return sent


def turn(pictures: Sequence[Sent]) -> AbstractContextManager[None]:
    """Return what to read the pictures of a batch in: those at URLs one batch at a time.

    Entering it raises FetchError (`busy`) while another batch is read.
    """
    at_urls = any(isinstance(sent, SentUrl) for sent in pictures)
    return remote.batch_turn() if at_urls else nullcontext()


def read(sent: Sent) -> bytes:
    """Return a picture's bytes. Raises Problem."""
    try:
        return sent.read()
    except bulk.ReadError as error:
        raise Problem(error.code, str(error)) from error


def correction(request: HttpRequest) -> str | None:
    """Return the label of a correction, None for none of the labels. Raises Problem."""
    content = json_object(request, ("label",))
    try:
        label = schemas.CorrectionIn.model_validate(content, strict=True).label
    except ValidationError as error:
        raise invalid("body.label", "Expected a text of at most 100 characters, or null") from error
    if label is not None:
        check_text(label, "body.label")
    return label


def check_text(text: str, where: str) -> str:
    """Return the text; raises Problem for characters that no database row can hold."""
    if _UNSTORABLE.search(text):
        raise invalid(where, "Expected text without NUL characters and lone surrogates.")
    return text


def invalid(where: str, message: str) -> Problem:
    return Problem("invalid_request", errors=[{"where": where, "message": message}])


def json_object(request: HttpRequest, names: Iterable[str]) -> dict[str, Any]:
    """Return the JSON object of the body, which has exactly these names. Raises Problem."""
    if request.content_type != "application/json":
        raise Problem("unsupported_media_type")
    try:
        content = json.loads(request.body, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise Problem("bad_json") from error
    if not isinstance(content, dict):
        raise Problem("bad_json", "Expected a JSON object.")
    expected = set(names)
    if missing := sorted(expected - content.keys()):
        raise invalid(f"body.{missing[0]}", "Field required")
    if content.keys() - expected:
        raise invalid("body", f"Expected no field but {', '.join(sorted(expected))}.")
    return content


def _no_constant(word: str) -> None:
    raise ValueError(f"{word} is no JSON number")


def _is_form(request: HttpRequest) -> bool:
    return request.content_type == "multipart/form-data"


def _files(request: HttpRequest, name: str) -> list[UploadedFile[bytes]]:
    if misplaced := sorted(IN_THE_ADDRESS & request.POST.keys()):
        raise invalid(
            f"body.{misplaced[0]}",
            f"Expected it in the address, as ?{misplaced[0]}=..., not in the form.",
        )
    files = request.FILES.getlist(name)
    if not files:
        raise invalid(f"body.{name}", f"Expected a file in the field {name}.")
    return files


def _one(files: Sequence[UploadedFile[bytes]]) -> UploadedFile[bytes]:
    if len(files) > 1:
        raise invalid("body.image", "Expected one file; predictions/batch takes several.")
    return files[0]


def _urls(urls: object) -> list[SentUrl]:
    if not isinstance(urls, list):
        raise invalid("body.urls", "Expected a list of URLs.")
    _check_count(len(urls))
    batch = remote.Batch(settings.API_BATCH_MAX_BYTES)
    checked = [_url(url, f"body.urls.{index}") for index, url in enumerate(urls)]
    return [_UrlOfBatch(url, batch) for url in checked]


def _url(url: object, where: str) -> str:
    if not isinstance(url, str) or not 1 <= len(url) <= LONGEST_URL:
        raise invalid(where, f"Expected a URL of at most {LONGEST_URL} characters.")
    return check_text(url, where)


def _check_count(count: int) -> None:
    if count > settings.API_BATCH_MAX_ITEMS:
        most = settings.API_BATCH_MAX_ITEMS
        raise Problem("too_many_items", f"Expected at most {most} pictures. Received: {count}")
