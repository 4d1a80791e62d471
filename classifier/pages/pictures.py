"""How a stored picture goes to the browser of somebody who may see it.

What was uploaded is somebody's bytes on our origin: it is sent as the type the decoder found, never
sniffed, in a sandbox where it may load and run nothing, and kept by that one browser only.
"""

from functools import partial

from django.http import HttpRequest, HttpResponse, HttpResponseBase, HttpResponseRedirect
from django.utils.cache import get_conditional_response, patch_vary_headers
from django.utils.http import content_disposition_header

from classifier import classification, imaging, storage
from classifier.models import Upload

# Twice the 208 CSS pixels that the history shows, for screens of double density.
THUMBNAIL_SIDE = 416
# A picture in the cloud, or one in a format that browsers do not show, comes no larger than this.
PICTURE_SIDE = 2048
# For looking at one picture after the other: quick to send, large enough to tell.
PREVIEW_SIDE = 1024

MAX_AGE_SECONDS = 24 * 60 * 60
SANDBOX = "default-src 'none'; sandbox"


def picture(request: HttpRequest, upload: Upload) -> HttpResponseBase:
    """Answer with the picture: as it was sent if a browser can show that, else as a JPEG.

    Raises StorageError, imaging.Busy, and ImageError for a picture that is no longer what it was.
    """
    as_sent = upload.media_type in imaging.BROWSER_FORMATS
    return _respond(request, upload, PICTURE_SIDE, as_sent=as_sent)


def preview(request: HttpRequest, upload: Upload) -> HttpResponseBase:
    """Answer with an upright JPEG that fits a screen. Raises as `picture` does."""
    return _respond(request, upload, PREVIEW_SIDE, as_sent=False)


def thumbnail(request: HttpRequest, upload: Upload) -> HttpResponseBase:
    """Answer with a small upright JPEG. Raises as `picture` does."""
    return _respond(request, upload, THUMBNAIL_SIDE, as_sent=False)


def _respond(request: HttpRequest, upload: Upload, side: int, *, as_sent: bool) -> HttpResponseBase:
    if url := storage.delivery_url(upload, side):
        return _redirect(url)
    variant = "sent" if as_sent else f"{side}.{imaging.DECODER_VERSION}"
    etag = f'"{upload.stored_sha256[:32]}-{variant}"'
    make = partial(_sent, upload) if as_sent else partial(_rendered, upload, side)
    return guarded(get_conditional_response(request, etag=etag) or make(), etag)


def _redirect(url: str) -> HttpResponseBase:
    response = HttpResponseRedirect(url)
    response["Cache-Control"] = "private, no-store"
    return response


def _sent(upload: Upload) -> HttpResponse:
    return _named(_read(upload), upload.media_type, safe_filename(upload))


def _rendered(upload: Upload, side: int) -> HttpResponse:
    # It was accepted once: a limit that was lowered since must not hide it from its owner.
    limits = imaging.Limits(upload.bytes + 1, upload.width * upload.height + 1)
    content = imaging.render(
        _read(upload), max_side=side, limits=limits, patience=classification.PATIENCE_SECONDS
    )
    return _named(content, "image/jpeg", safe_filename(upload, "jpg"))


def _read(upload: Upload) -> bytes:
    with storage.open_upload(upload) as file:
        content: bytes = file.read()
        return content


def _named(content: bytes, media_type: str, filename: str) -> HttpResponse:
    response = HttpResponse(content, content_type=media_type)
    disposition = content_disposition_header(as_attachment=False, filename=filename)
    response["Content-Disposition"] = disposition or "inline"
    return response


def guarded(response: HttpResponse, etag: str) -> HttpResponse:
    response["ETag"] = etag
    response["Cache-Control"] = f"private, max-age={MAX_AGE_SECONDS}"
    response["Content-Security-Policy"] = SANDBOX
    response["Cross-Origin-Resource-Policy"] = "same-origin"
    response["X-Content-Type-Options"] = "nosniff"
    # After signing in or out the same address may have another answer.
    patch_vary_headers(response, ["Cookie"])
    return response


def safe_filename(upload: Upload, extension: str | None = None) -> str:
    """Return a name fit for a header: no path, no control character, never empty."""
    name = upload.filename.replace("\\", "/").rpartition("/")[2]
    name = "".join(c for c in name if c.isprintable()).strip() or f"picture-{upload.id}"
    return name if extension is None else f"{name.rpartition('.')[0] or name}.{extension}"
