"""Downloads that can be interrupted and resumed, of files whose checksum is known beforehand."""

from __future__ import annotations

import hashlib
import http.client
import json
import re
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from urllib.parse import urlsplit

from training.datasets.dataset import DatasetError
from training.datasets.disk import writing

CHUNK_BYTES = 256 * 1024
_WORTH_ANOTHER_TRY = {
    HTTPStatus.REQUEST_TIMEOUT,
    HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE,
    HTTPStatus.TOO_MANY_REQUESTS,
    HTTPStatus.INTERNAL_SERVER_ERROR,
    HTTPStatus.BAD_GATEWAY,
    HTTPStatus.SERVICE_UNAVAILABLE,
    HTTPStatus.GATEWAY_TIMEOUT,
}


class DownloadError(DatasetError):
    """The file cannot be had from this URL; the message says why."""


class _TryAgainError(Exception):
    """The connection failed in a way that may pass."""


@dataclass(frozen=True)
class RemoteFile:
    """A file on the web of which size (bytes) and SHA-256 (hexadecimal) are known."""

    url: str
    size: int
    sha256: str


@dataclass(frozen=True)
class Patience:
    """How long a silent connection is waited for, and the pauses before further tries (seconds).

    The pauses start over whenever a try brought the download further than any before.
    """

    timeout: float = 30.0
    pauses: Sequence[float] = (1.0, 2.0, 4.0, 8.0)


def download(
    remote: RemoteFile,
    target: Path,
    *,
    progress: Callable[[int], None],
    say: Callable[[str], None],
    patience: Patience | None = None,
) -> None:
    """Bring `remote` to `target`; what an earlier call left beside it is resumed.

    Until it is complete and its checksum is right it lies in `target` + ".part", which any
    interruption leaves there. A server that ignores Range is downloaded from in full.

    Args:
        progress: called with the bytes that are here so far.
        say: called with a sentence when something is tried again.

    Raises:
        DownloadError: no such file, another file, or no connection after all tries.
        DatasetError: it cannot be written.
    """
    _Download(remote, target, progress, say, patience or Patience()).run()


class _Download:
    def __init__(
        self,
        remote: RemoteFile,
        target: Path,
        progress: Callable[[int], None],
        say: Callable[[str], None],
        patience: Patience,
    ) -> None:
        self.remote, self.target, self.patience = remote, target, patience
        self.progress, self.say = progress, say
        self.part = target.with_name(f"{target.name}.part")
        self.origin = target.with_name(f"{target.name}.part.json")
        self.joined = False  # whether the part is put together from several answers
        self.opener = _opener()

    def run(self) -> None:
        _check_url(self.remote.url)
        if self.target.is_file() and _sha256(self.target) == self.remote.sha256:
            return
        self.joined = self._size() > 0
        self._fetch()
        if _sha256(self.part) != self.remote.sha256:
            self._start_over_or_refuse()
        with writing(self.target):
            self.part.replace(self.target)
            self.origin.unlink(missing_ok=True)

    def _start_over_or_refuse(self) -> None:
        """Pieces of two editions of the file are no reason to give up; a whole wrong file is."""
        joined, self.joined = self.joined, False
        self._discard()
        if joined:
            self.say("The resumed download does not have the right checksum; starting over.")
            self._fetch()
            if _sha256(self.part) == self.remote.sha256:
                return
            self._discard()
        raise DownloadError(
            f"What {self.remote.url} gives does not have the expected SHA-256 "
            f"{self.remote.sha256}: it is damaged or another file, and was deleted."
        )

    def _fetch(self) -> None:
        failures, furthest = 0, self._size()
        while self._size() != self.remote.size:
            try:
                self._receive()
            except _TryAgainError as error:
                if self._size() > furthest:
                    failures, furthest = 0, self._size()
                self._pause(failures, error)
                failures += 1

    def _pause(self, failures: int, error: _TryAgainError) -> None:
        if failures == len(self.patience.pauses):
            kept = "What has arrived is kept; run the command again to go on."
            raise DownloadError(
                f"{self.remote.url} could not be downloaded: {error}. "
                + (kept if self._size() else "Try again later.")
            ) from error
        seconds = self.patience.pauses[failures]
        sentence = str(error)
        self.say(f"{sentence[0].upper()}{sentence[1:]}; trying again in {seconds:g} s.")
        time.sleep(seconds)

    def _receive(self) -> None:
        """Ask for what is still missing and append what comes until the connection ends."""
        offset = self._size()
        if offset > self.remote.size:
            self._discard()
            offset = 0
        with self._open(offset) as response:
            start = self._accepted_start(response, offset)
            self.joined = start > 0
            with writing(self.part), self.part.open("ab") as file:
                if start < offset:
                    file.truncate(start)
                self._remember(response)
                received = start
                for chunk in _chunks(response):
                    received += len(chunk)
                    if received > self.remote.size:
                        raise self._other_file("more than that")
                    file.write(chunk)
                    self.progress(received)
        if received < self.remote.size:
            raise _TryAgainError(
                f"the connection ended after {received:,} of {self.remote.size:,} bytes"
            )

    def _open(self, offset: int) -> http.client.HTTPResponse:
        request = urllib.request.Request(  # noqa: S310 (_check_url lets only http and https in)
            self.remote.url, headers=self._headers(offset)
        )
        try:
            with _network():
                response: http.client.HTTPResponse = self.opener.open(
                    request, timeout=self.patience.timeout
                )
                return response
        except urllib.error.HTTPError as error:
            with error:
                raise self._refusal(error) from error

    def _refusal(self, error: urllib.error.HTTPError) -> Exception:
        sentence = f"the server answered {error.code} {error.reason}"
        if error.code == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            self._discard()
            sentence = f"the server's file ends before {self.remote.size:,} bytes"
        if error.code in _WORTH_ANOTHER_TRY:
            return _TryAgainError(sentence)
        return DownloadError(f"{self.remote.url} could not be downloaded: {sentence}.")

    def _headers(self, offset: int) -> dict[str, str]:
        headers = {"Accept-Encoding": "identity", "User-Agent": "ClassifyMe"}
        if offset:
            headers["Range"] = f"bytes={offset}-"
            if validator := self._validator():
                headers["If-Range"] = validator
        return headers

    def _accepted_start(self, response: http.client.HTTPResponse, offset: int) -> int:
        """Where the answer's bytes belong: at `offset` if the server kept to the range, else 0."""
        if response.status != HTTPStatus.PARTIAL_CONTENT:
            self._check_announced(response.headers.get("Content-Length", ""))
            return 0
        content_range = response.headers.get("Content-Range", "")
        match = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", content_range.strip())
        if not match or int(match[1]) != offset:
            self._discard()
            raise _TryAgainError(f"the server answered with another range: {content_range!r}")
        self._check_announced(match[2])
        return offset

    def _check_announced(self, size: str) -> None:
        if size.isdecimal() and int(size) != self.remote.size:
            raise self._other_file(f"{int(size):,}")

    def _other_file(self, received: str) -> DownloadError:
        return DownloadError(
            f"Expected a file of {self.remote.size:,} bytes at {self.remote.url}. "
            f"Received: {received}. The URL leads to something else."
        )

    # -- what an earlier call left ---------------------------------------------------------

    def _size(self) -> int:
        return self.part.stat().st_size if self.part.exists() else 0

    def _discard(self) -> None:
        with writing(self.part):
            self.part.unlink(missing_ok=True)
            self.origin.unlink(missing_ok=True)

    def _remember(self, response: http.client.HTTPResponse) -> None:
        """Note which edition of the file this is; a weak ETag does not promise equal bytes."""
        etag = response.headers.get("ETag", "")
        validator = etag if etag.startswith('"') else response.headers.get("Last-Modified", "")
        self.origin.write_text(json.dumps({"url": self.remote.url, "validator": validator}))

    def _validator(self) -> str:
        """The edition of which the part is, if it came from this URL; the checksum has the say."""
        try:
            origin = json.loads(self.origin.read_text())
            return str(origin["validator"]) if origin["url"] == self.remote.url else ""
        except (OSError, ValueError, LookupError, TypeError):
            return ""


def _check_url(url: str) -> None:
    try:
        parts = urlsplit(url)
        valid = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        valid = False
    if not valid or re.search(r"[\s\x00-\x1f]", url):
        raise DownloadError(f"Expected a URL that starts with http:// or https://. Received: {url}")


def _opener() -> urllib.request.OpenerDirector:
    """An opener for HTTP alone: the default one would also read file: and ftp: for a redirect."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPRedirectHandler(),
        urllib.request.HTTPErrorProcessor(),
    ):
        opener.add_handler(handler)
    return opener


def _chunks(response: http.client.HTTPResponse) -> Iterator[bytes]:
    while True:
        with _network():
            chunk = response.read1(CHUNK_BYTES)
        if not chunk:
            return
        yield chunk


@contextmanager
def _network() -> Iterator[None]:
    """Say what failed between here and the server; an answer that is an error passes through."""
    try:
        yield
    except urllib.error.HTTPError:
        raise
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", error)
        if isinstance(reason, ssl.SSLCertVerificationError):
            raise DownloadError(
                f"The server's certificate is not valid: {reason.verify_message}."
            ) from error
        if isinstance(reason, TimeoutError):
            raise _TryAgainError("the server does not answer in time") from error
        cause = getattr(reason, "strerror", None) or reason
        raise _TryAgainError(f"no connection to the server ({cause})") from error


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
