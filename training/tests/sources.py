"""Small data sets and a file server that misbehaves, for the tests of what fetches data sets."""

import _thread
import io
import struct
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
from PIL import Image

from training.datasets.cifar10 import LABEL_KEYS, Counts
from training.datasets.dataset import Images, Labels, Split

TINY = Counts(train=5, test=2)


def tiny_splits(seed: int = 0) -> dict[str, Split]:
    """Random pictures, as many of each class as TINY says."""
    rng = np.random.default_rng(seed)
    return {
        name: Split(
            rng.integers(0, 256, (per_label * 10, 32, 32, 3), dtype=np.uint8),
            rng.permutation(np.repeat(np.arange(10), per_label)),
        )
        for name, per_label in (("train", TINY.train), ("test", TINY.test))
    }


# -- the official batches -------------------------------------------------------------------------


def python2_batch(images: Images, labels: Labels) -> bytes:
    """A batch byte by byte as Python 2's cPickle wrote the official ones."""
    rows = images.transpose(0, 3, 1, 2).reshape(len(images), -1)
    return b"".join(
        [
            b"\x80\x02}q\x01(",
            _short("batch_label"),
            _short("a batch"),
            _short("labels"),
            b"](" + b"".join(b"K" + bytes([label]) for label in labels) + b"e",
            _short("data"),
            b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R",
            b"(K\x01" + _integer(len(rows)) + _integer(rows.shape[1]) + b"\x86",
            b"cnumpy\ndtype\nU\x02u1K\x00K\x01\x87R",
            b"(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89",
            b"T" + struct.pack("<i", rows.size) + rows.tobytes(),
            b"tbu.",
        ]
    )


def python2_label_names(names: tuple[str, ...] = LABEL_KEYS) -> bytes:
    return b"\x80\x02}" + _short("label_names") + b"](" + b"".join(map(_short, names)) + b"es."


def _short(text: str) -> bytes:
    return b"U" + bytes([len(text)]) + text.encode()


def _integer(number: int) -> bytes:
    return b"J" + struct.pack("<i", number)


def batch_files(splits: dict[str, Split]) -> Iterator[tuple[str, bytes]]:
    """Name and content of what stands in cifar-10-batches-py/."""
    yield "batches.meta", python2_label_names()
    yield "readme.html", b"<p>CIFAR-10"
    train, test = splits["train"], splits["test"]
    for number, part in enumerate(np.array_split(np.arange(len(train)), 5), start=1):
        yield f"data_batch_{number}", python2_batch(train.images[part], train.labels[part])
    yield "test_batch", python2_batch(test.images[:], test.labels)


def write_tar(path: Path, files: Iterator[tuple[str, bytes]]) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for name, content in files:
            item = tarfile.TarInfo(f"cifar-10-batches-py/{name}")
            item.size = len(content)
            archive.addfile(item, io.BytesIO(content))
    return path


# -- class folders --------------------------------------------------------------------------------


def picture_files(splits: dict[str, Split]) -> Iterator[tuple[str, bytes]]:
    """Name and content of lossless pictures in class folders."""
    for name, split in splits.items():
        for number, (image, label) in enumerate(zip(split.images[:], split.labels, strict=True)):
            yield f"cifar10/{name}/{LABEL_KEYS[label]}/{number}.webp", webp(image)


def webp(image: Images) -> bytes:
    out = io.BytesIO()
    Image.fromarray(image).save(out, "WEBP", lossless=True, exact=True)
    return out.getvalue()


def write_zip(path: Path, files: Iterator[tuple[str, bytes]]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files:
            archive.writestr(name, content)
    return path


def write_folder(path: Path, files: Iterator[tuple[str, bytes]]) -> Path:
    for name, content in files:
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(content)
    return path


# -- a server -------------------------------------------------------------------------------------


@dataclass
class FileServer:
    """Serves one file at any path, with Range and If-Range, and fails as its fields say.

    `drops` are the numbers of body bytes after which each of the next answers ends;
    `statuses` what the next requests are refused with; `requests` what was asked for.
    """

    content: bytes
    etag: str = '"first"'
    url: str = ""
    drops: list[int] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)
    ignores_range: bool = False
    sends_length: bool = True
    interrupts: bool = False  # sends this process a Ctrl-C instead of the rest of an answer
    stalls: threading.Event | None = None
    requests: list[dict[str, str]] = field(default_factory=list)

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        self.requests.append({name.lower(): value for name, value in request.headers.items()})
        if self.statuses:
            request.send_error(self.statuses.pop(0))
            return
        start = self._start(self.requests[-1])
        if start and start >= len(self.content):
            request.send_error(416)
            return
        self._send_head(request, start)
        self._send_body(request, self.content[start:])

    def _start(self, headers: dict[str, str]) -> int:
        if self.ignores_range or headers.get("if-range", self.etag) != self.etag:
            return 0
        return int(headers.get("range", "bytes=0-").removeprefix("bytes=").removesuffix("-"))

    def _send_head(self, request: BaseHTTPRequestHandler, start: int) -> None:
        size = len(self.content)
        request.send_response(206 if start else 200)
        if start:
            request.send_header("Content-Range", f"bytes {start}-{size - 1}/{size}")
        if self.sends_length:
            request.send_header("Content-Length", str(size - start))
        request.send_header("ETag", self.etag)
        request.end_headers()

    def _send_body(self, request: BaseHTTPRequestHandler, body: bytes) -> None:
        request.wfile.write(body[: self.drops.pop(0)] if self.drops else body)
        request.wfile.flush()
        if self.interrupts:
            self.interrupts = False
            # What was sent is read by then. Not a signal: one that nobody waits for any more would
            # end the process that runs the tests.
            threading.Event().wait(0.3)
            _thread.interrupt_main()
        if self.stalls:
            self.stalls.wait(10)


@contextmanager
def serving(content: bytes) -> Iterator[FileServer]:
    """Run a FileServer on a free port of this machine."""
    server = FileServer(content)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            server.answer(self)

        def log_message(self, *_: object) -> None:
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.url = f"http://127.0.0.1:{http.server_port}/cifar-10-python.tar.gz"
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        http.shutdown()
        thread.join()
        http.server_close()
