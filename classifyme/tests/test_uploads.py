"""The files of a form: in memory or on the disk, and read in large pieces."""

from typing import Any

import pytest
from django.core.files.uploadedfile import (
    InMemoryUploadedFile,
    SimpleUploadedFile,
    TemporaryUploadedFile,
)
from django.test import RequestFactory
from pytest_django import Settings

from classifyme.uploads import PIECE_BYTES

CONTENT = bytes(range(256)) * 4000


@pytest.mark.parametrize(
    ("most", "kind"), [(2_000_000, InMemoryUploadedFile), (1000, TemporaryUploadedFile)]
)
def test_a_file_is_read_in_large_pieces(most: int, kind: Any, settings: Settings) -> None:
    settings.FILE_UPLOAD_MAX_MEMORY_SIZE = most
    file = SimpleUploadedFile("a.png", CONTENT, "image/png")
    request: Any = RequestFactory().post("/", {"image": file})
    asked_for: list[int] = []
    read = request._stream._read

    def reading(size: int) -> bytes:
        asked_for.append(size)
        content: bytes = read(size)
        return content

    request._stream._read = reading
    uploaded: Any = request.FILES["image"]
    assert isinstance(uploaded, kind)
    assert uploaded.read() == CONTENT
    uploaded.close()
    assert asked_for[:3] == [PIECE_BYTES] * 3
