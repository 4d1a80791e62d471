"""Where pictures are: here first, always; then, when an account is configured, at Cloudinary.

A picture has one name, its storage key, in every storage: random, sharded, never from the name
that the client gave its file. ``storages["default"]`` is the folder here, ``storages["cloud"]``
exists only when Cloudinary is configured. What the SDK, the network or the disk raise is
translated here into one of the `StorageError` classes, each with a sentence for a person.

The SDK is imported where it is first used: an installation without Cloudinary does not pay for
it, and it dies at import of a CLOUDINARY_URL that a system check explains better.
"""

import errno
import logging
import os
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import PurePosixPath
from tempfile import SpooledTemporaryFile
from typing import Any

import certifi
import urllib3
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.files.base import ContentFile, File
from django.core.files.storage import FileSystemStorage, Storage, default_storage, storages

from classifier.imaging.formats import EXTENSIONS
from classifier.models import StorageState, Upload

logger = logging.getLogger(__name__)

# No setting allows a larger picture (IMAGE_MAX_BYTES); an answer that goes on is cut off here.
DOWNLOAD_MAX_BYTES = 500_000_000
DOWNLOAD_MEMORY_BYTES = 2_500_000
DOWNLOAD_CHUNK_BYTES = 65_536
DOWNLOAD_SECONDS = 120
DOWNLOAD_URL_SECONDS = 300


class StorageError(Exception):
    """A picture could not be kept, moved, read or deleted; str() is a sentence for a person."""


class PictureMissing(StorageError):
    """The record is there, its picture is not. A page answers 404."""


class StorageUnavailable(StorageError):
    """The storage cannot be used now; a page answers 503. What was accepted is not lost."""


class StorageFull(StorageUnavailable):
    """No room is left for a picture; a page answers 507."""


class CloudUnavailable(StorageUnavailable):
    """The cloud did not answer, or asked to come back later: worth another try."""


class CloudRefused(StorageUnavailable):
    """The cloud said no, and will say so again until somebody changes something."""


class PictureFolder(FileSystemStorage):
    """The folder of pictures here. Their names are random, and never taken already.

    Django's own asks first whether a name is free and makes its folders before each write; here
    both are done only where the write itself says that they are needed.
    """

    def get_available_name(self, name: str, max_length: int | None = None) -> str:
        """Return the name as it is; saving under one that is taken raises FileExistsError."""
        return name

    def _save(self, name: str, content: File[bytes]) -> str:
        path = self.path(name)
        try:
            descriptor = _create(path)
        except FileNotFoundError:
            os.makedirs(os.path.dirname(path), exist_ok=True)
            descriptor = _create(path)
        with open(descriptor, "wb") as file:
            if self.file_permissions_mode is not None:
                os.fchmod(descriptor, self.file_permissions_mode)
            for chunk in content.chunks():
                file.write(chunk)
        return name


def _create(path: str) -> int:
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)


def new_key(media_type: str) -> str:
    """Return a name that nobody can guess (128 random bits), in one of 256 folders.

    More of them would take more room than small pictures do, and each is made when its first
    picture comes; file systems find a file among ten thousands as fast.
    """
    token = secrets.token_hex(16)
    extension = EXTENSIONS.get(media_type, "bin")
    return f"uploads/{token[:2]}/{token}.{extension}"


def keep(content: bytes, media_type: str) -> str:
    """Write a picture to the folder here and return its storage key.

    Call it outside of a transaction, and `discard` the key if the record cannot be written.
    Raises StorageFull or StorageUnavailable; then nothing is left behind.
    """
    key = new_key(media_type)
    try:
        return default_storage.save(key, ContentFile(content))
    except FileExistsError as exc:  # somebody else's, which stays
        raise _local_error(exc) from exc
    except OSError as exc:
        with suppress(OSError):
            default_storage.delete(key)
        raise _local_error(exc) from exc


def discard(key: str) -> None:
    """Delete the picture here, if it is here. What cannot be deleted is said in the log."""
    try:
        default_storage.delete(key)
    except OSError:
        logger.exception("The picture %s could not be deleted here.", key)


def open_upload(upload: Upload) -> File[bytes]:
    """Open an upload's picture wherever it is now; the caller closes it.

    Raises PictureMissing, StorageUnavailable, CloudUnavailable or CloudRefused.
    """
    if upload.storage_state != StorageState.CLOUD:
        try:
            return _open_here(upload.storage_key)
        except PictureMissing:
            # It may have been carried to the cloud after the row was read.
            upload.refresh_from_db(fields=["storage_state"])
            if upload.storage_state != StorageState.CLOUD:
                raise
    try:
        return cloud().open(upload.storage_key)
    except FileNotFoundError as exc:
        raise PictureMissing("The picture is no longer in the cloud.") from exc


def is_there(upload: Upload) -> bool:
    """Whether the picture is in the folder here or, as its row says, in the cloud."""
    return upload.storage_state == StorageState.CLOUD or default_storage.exists(upload.storage_key)


def delivery_url(upload: Upload, max_side: int) -> str | None:
    """Return a signed URL of the picture, at most ``max_side`` pixels wide and high, as JPEG.

    None: the picture is here, and is shown from here.
    """
    if upload.storage_state != StorageState.CLOUD:
        return None
    return cloud().resized_url(upload.storage_key, max_side)


def read_here(key: str) -> bytes:
    """Return the bytes of a picture that is here. Raises PictureMissing, StorageUnavailable."""
    with _open_here(key) as picture:
        try:
            return bytes(picture.read())
        except OSError as exc:
            raise _local_error(exc) from exc


def cloud_is_configured() -> bool:
    return "cloud" in settings.STORAGES


def cloud() -> "CloudinaryStorage":
    """Return the cloud's storage. Raises StorageUnavailable where none is configured."""
    if not cloud_is_configured():
        raise StorageUnavailable(
            "This picture is in the cloud, and no Cloudinary account is configured here now."
        )
    storage = storages["cloud"]
    if not isinstance(storage, CloudinaryStorage):
        raise ImproperlyConfigured(
            'STORAGES["cloud"] must be a CloudinaryStorage. '
            f"Received: {type(storage).__module__}.{type(storage).__qualname__}"
        )
    return storage


def _open_here(key: str) -> File[bytes]:
    try:
        return default_storage.open(key)
    except FileNotFoundError as exc:
        raise PictureMissing("The picture is no longer here.") from exc
    except OSError as exc:
        raise _local_error(exc) from exc


def _local_error(exc: OSError) -> StorageUnavailable:
    logger.error("The picture folder %s cannot be used: %s", settings.MEDIA_ROOT, exc)
    if exc.errno in (errno.ENOSPC, errno.EDQUOT):
        return StorageFull("There is no room left to keep pictures. Please tell the administrator.")
    return StorageUnavailable(
        "Pictures cannot be kept or read at the moment. Please try again later."
    )


class CloudinaryStorage(Storage):
    """Pictures at Cloudinary, by its own SDK: signed uploads that only signed URLs show.

    A name such as ``uploads/ab/<token>.jpg`` becomes the public id ``<folder>/uploads/ab/<token>``
    and the format ``jpg``. The delivery type is ``authenticated`` unless said otherwise:
    the original and every size of it need a signature (``private`` protects the original alone).

    ``timeout`` is in seconds, for connecting and for every wait for bytes. ``upload_prefix``,
    ``secure``, ``cname``, ``private_cdn`` and ``secure_distribution`` are the SDK's own, and may be
    text, as in the query of a CLOUDINARY_URL.
    """

    def __init__(
        self,
        *,
        cloud_name: str,
        api_key: str,
        api_secret: str,
        folder: str = "classifyme",
        timeout: float = 20,
        type: str = "authenticated",
        upload_prefix: str = "https://api.cloudinary.com",
        secure: bool | str = True,
        cname: str | None = None,
        private_cdn: bool | str = False,
        secure_distribution: str | None = None,
    ) -> None:
        if type not in ("authenticated", "private"):
            raise ImproperlyConfigured(
                f"Cloudinary's delivery type must be authenticated or private. Received: {type!r}"
            )
        self.folder = folder.strip("/")
        self.timeout = float(timeout)
        # All of it with every call: what is not said the SDK takes from a configuration that
        # is global to the process and read from the environment.
        self._account: dict[str, Any] = {
            "cloud_name": cloud_name,
            "api_key": api_key,
            "api_secret": api_secret,
            "oauth_token": None,
            "signature_algorithm": "sha1",
            "signature_version": 2,
            "upload_prefix": upload_prefix.rstrip("/"),
            "resource_type": "image",
            "type": type,
        }
        self._delivery: dict[str, Any] = {
            "secure": _truth(secure),
            "cname": cname,
            "private_cdn": _truth(private_cdn),
            "secure_distribution": secure_distribution,
            "sign_url": True,
            "auth_token": False,
            "long_url_signature": False,
        }
        self._http = urllib3.PoolManager(cert_reqs="CERT_REQUIRED", ca_certs=certifi.where())

    def public_id(self, name: str) -> str:
        """Return the name of a picture at Cloudinary: with our folder, without its extension."""
        return str(PurePosixPath(self.folder) / PurePosixPath(name).with_suffix(""))

    def get_available_name(self, name: str, max_length: int | None = None) -> str:
        """Return the name itself: keys are random, and a second upload is the first's retry."""
        return name

    def delete(self, name: str) -> None:
        """Delete the picture and, from the delivery network, its copies; one gone is fine."""
        from cloudinary import uploader

        answer = self._call(uploader.destroy, self.public_id(name), invalidate=True)
        if answer.get("result") not in ("ok", "not found"):
            raise CloudRefused(f"Cloudinary did not delete the picture: {answer.get('result')!r}.")

    def exists(self, name: str) -> bool:
        try:
            with self._download(name):
                return True
        except FileNotFoundError:
            return False

    def url(self, name: str | None) -> str:
        """Return the signed URL of the original."""
        return self._signed_url(name or "")

    def resized_url(self, name: str, max_side: int) -> str:
        """Return the signed URL of a JPEG no wider or higher than ``max_side`` pixels.

        Cloudinary turns it upright and leaves the metadata (place, camera) out of it.
        """
        return self._signed_url(name, width=max_side, height=max_side, crop="limit", format="jpg")

    def _save(self, name: str, content: File[Any]) -> str:
        from cloudinary import uploader

        # Bytes in a tuple: the SDK calls a file without a name empty, and takes the file name
        # given here for its own records.
        answer = self._call(
            uploader.upload,
            (PurePosixPath(name).name, content.read()),
            public_id=self.public_id(name),
            upload_preset=None,
            overwrite=True,
            invalidate=True,
            discard_original_filename=True,
        )
        if answer.get("public_id") != self.public_id(name):
            raise CloudRefused(
                "Cloudinary keeps the picture under another name than it was given; "
                "look for an upload preset that renames."
            )
        return name

    def _open(self, name: str, mode: str = "rb") -> File[bytes]:
        """Download the original into memory, or a temporary file where it is large.

        Raises FileNotFoundError, CloudUnavailable or CloudRefused.
        """
        if mode != "rb":
            raise ValueError(f"Pictures in the cloud open for reading, 'rb'. Received: {mode!r}")
        with self._download(name) as response:
            return File(self._spool(response), name=name)

    def _spool(self, response: urllib3.BaseHTTPResponse) -> "SpooledTemporaryFile[bytes]":
        spool = SpooledTemporaryFile(max_size=DOWNLOAD_MEMORY_BYTES)  # noqa: SIM115
        try:
            for chunk in _bounded(response):
                spool.write(chunk)
        except BaseException:
            spool.close()
            raise
        spool.seek(0)
        return spool

    @contextmanager
    def _download(self, name: str) -> Iterator[urllib3.BaseHTTPResponse]:
        """Ask for the original by a signed URL that expires; headers are read, bytes are not."""
        try:
            response = self._http.request(
                "GET",
                self._download_url(name),
                preload_content=False,
                retries=urllib3.Retry(1, redirect=3),
                timeout=self.timeout,
            )
            try:
                _check_status(response.status)
                yield response
            finally:
                # Not back into the pool: what is unread of it may be long.
                response.close()
        except urllib3.exceptions.HTTPError as exc:
            raise CloudUnavailable(f"Cloudinary did not deliver the picture: {exc}") from exc

    def _download_url(self, name: str) -> str:
        from cloudinary import utils

        extension = PurePosixPath(name).suffix.removeprefix(".")
        expires_at = int(time.time()) + DOWNLOAD_URL_SECONDS
        options = {**self._account, "expires_at": expires_at}
        return str(utils.private_download_url(self.public_id(name), extension, **options))

    def _signed_url(self, name: str, **transformation: Any) -> str:
        from cloudinary import utils

        options = {
            "format": PurePosixPath(name).suffix.removeprefix("."),
            **{key: self._account[key] for key in ("cloud_name", "api_secret", "type")},
            **self._delivery,
            **transformation,
        }
        url, _unused = utils.cloudinary_url(self.public_id(name), **options)
        return str(url)

    def _call(self, call: Callable[..., dict[str, Any]], *args: Any, **options: Any) -> Any:
        """Call the SDK with our account and timeout, and translate what it raises.

        It raises its bare Error for what never reached Cloudinary, for an answer that is no JSON
        and for an HTTP status it does not know; GeneralError for 500 and 503.
        """
        from cloudinary import exceptions

        try:
            return call(*args, timeout=self.timeout, **self._account, **options)
        except (exceptions.RateLimited, exceptions.GeneralError) as exc:
            raise CloudUnavailable(f"Cloudinary asks to come back later: {_short(exc)}") from exc
        except exceptions.Error as exc:
            if type(exc) is exceptions.Error:
                raise CloudUnavailable(f"Cloudinary did not answer: {_short(exc)}") from exc
            raise CloudRefused(f"Cloudinary refused: {_short(exc)}") from exc


def _bounded(response: urllib3.BaseHTTPResponse) -> Iterator[bytes]:
    """Yield the body as it comes; neither more bytes nor more time than any picture needs."""
    received = 0
    deadline = time.monotonic() + DOWNLOAD_SECONDS
    for chunk in response.stream(DOWNLOAD_CHUNK_BYTES):
        received += len(chunk)
        if received > DOWNLOAD_MAX_BYTES:
            raise CloudRefused("Cloudinary's answer is larger than any picture kept here.")
        if time.monotonic() > deadline:
            raise CloudUnavailable("Cloudinary delivers the picture too slowly.")
        yield chunk


def _check_status(status: int) -> None:
    if status == 404:
        raise FileNotFoundError("Cloudinary does not have this picture.")
    if status in (408, 420, 425, 429) or status >= 500:
        raise CloudUnavailable(f"Cloudinary asks to come back later (HTTP {status}).")
    if status != 200:
        raise CloudRefused(f"Cloudinary refused to deliver the picture (HTTP {status}).")


def _truth(value: bool | str) -> bool:
    return value.lower() in ("true", "1", "yes", "on") if isinstance(value, str) else value


def _short(exc: Exception) -> str:
    """Return the error's text; a gateway may have put a whole page of HTML into it."""
    text = str(exc) or type(exc).__name__
    return text if len(text) <= 300 else f"{text[:300]} ..."
