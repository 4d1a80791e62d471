"""A small Cloudinary on 127.0.0.1, for the real SDK to talk to.

It keeps what it is sent, recomputes every signature by the rules that Cloudinary publishes (not
with the SDK), and misbehaves when told to: errors, stalls, dropped connections.

- Upload API: parameters sorted and joined, plus the secret, SHA-1 in hexadecimal:
  https://cloudinary.com/documentation/authentication_signatures
- Delivery URLs: the first eight characters of the URL-safe base64 of a SHA-1:
  https://cloudinary.com/documentation/delivery_url_signatures
"""

import base64
import hashlib
import io
import json
import re
import socket
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, cast
from urllib.parse import parse_qs, unquote, urlsplit

from PIL import Image

CLOUD_NAME = "Test-Cloud"
API_KEY = "123456789012345"
API_SECRET = "a-secret-of-the-tests"
STALL = "stall"
DROP = "drop"
STALL_SECONDS = 120
CLOCK_TOLERANCE_SECONDS = 3600
# What authentication_signatures leaves out of the string that is signed.
UNSIGNED = {"file", "cloud_name", "resource_type", "api_key", "signature"}


@dataclass(frozen=True)
class Asset:
    """A picture as Cloudinary keeps it, with the parameters it came with."""

    content: bytes
    type: str
    parameters: dict[str, str]


@dataclass
class CloudinaryServer:
    """What the server keeps and how it shall misbehave; safe to ask while it runs."""

    url: str
    assets: dict[str, Asset] = field(default_factory=dict)
    requests: list[tuple[str, str]] = field(default_factory=list)
    # One entry a request: an HTTP status to answer, STALL or DROP; None behaves.
    faults: deque[int | str | None] = field(default_factory=deque)
    # Answers every request with this when there is no entry left in `faults`.
    broken: int | str | None = None
    stalled: threading.Event = field(default_factory=threading.Event)
    go_on: threading.Event = field(default_factory=threading.Event)

    def options(self, **more: Any) -> dict[str, Any]:
        """Return the options of a CloudinaryStorage that talks to this server."""
        host = urlsplit(self.url).netloc
        return {
            "cloud_name": CLOUD_NAME,
            "api_key": API_KEY,
            "api_secret": API_SECRET,
            "timeout": 20,
            "upload_prefix": self.url,
            "secure": "false",
            "cname": host,
            **more,
        }

    def count(self, action: str) -> int:
        """Return how many requests came for an action such as ``upload`` or ``destroy``."""
        return sum(path.rpartition("/")[2] == action for _method, path in self.requests)


@contextmanager
def running_cloudinary() -> Iterator[CloudinaryServer]:
    """Serve on a free port of 127.0.0.1 until the block ends."""
    listener = _Listener(("127.0.0.1", 0), _Conversation)
    listener.cloud = CloudinaryServer(f"http://127.0.0.1:{listener.server_port}")
    thread = threading.Thread(target=listener.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield listener.cloud
    finally:
        listener.cloud.go_on.set()
        listener.shutdown()
        listener.server_close()
        thread.join(timeout=5)


class _Listener(ThreadingHTTPServer):
    cloud: CloudinaryServer
    daemon_threads = True
    block_on_close = False

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hung up is what the tests are about."""


class _Refusal(Exception):
    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class _Conversation(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    @property
    def cloud(self) -> CloudinaryServer:
        return cast(_Listener, self.server).cloud

    def log_message(self, format: str, *args: Any) -> None:
        """Keep the tests' output clean."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        fields = _multipart(self.headers, body)
        self._answer(
            lambda: self._post(
                {k: v.decode() for k, v in fields.items() if k != "file"}, fields.get("file", b"")
            )
        )

    def do_GET(self) -> None:
        self._answer(self._get)

    def _answer(self, ask: Any) -> None:
        path = urlsplit(self.path).path
        self.cloud.requests.append((self.command, path))
        try:
            self._misbehave()
            status, media_type, content = ask()
        except _Refusal as refusal:
            status, media_type = refusal.status, "application/json"
            content = json.dumps({"error": {"message": str(refusal)}}).encode()
        except ConnectionAbortedError:
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
            return
        self.send_response(status)
        self.send_header("Content-Type", media_type)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def _misbehave(self) -> None:
        fault = self.cloud.faults.popleft() if self.cloud.faults else self.cloud.broken
        if fault == STALL:
            self.cloud.stalled.set()
            self.cloud.go_on.wait(STALL_SECONDS)
        elif fault == DROP:
            raise ConnectionAbortedError
        elif isinstance(fault, int):
            raise _Refusal(fault, f"The test asks for {fault}")

    def _post(self, fields: dict[str, str], file: bytes) -> tuple[int, str, bytes]:
        self._check_account(self.path)
        _check_signed(fields)
        action = self.path.rpartition("/")[2]
        if action == "upload":
            return _json(self._upload(fields, file))
        if action == "destroy":
            return _json(self._destroy(fields))
        raise _Refusal(404, f"No such action: {action}")

    def _upload(self, fields: dict[str, str], file: bytes) -> dict[str, Any]:
        if not file:
            raise _Refusal(400, "Empty file")
        asset = Asset(file, fields.get("type", "upload"), fields)
        self.cloud.assets[fields["public_id"]] = asset
        return {"public_id": fields["public_id"], "bytes": len(file), "type": asset.type}

    def _destroy(self, fields: dict[str, str]) -> dict[str, Any]:
        asset = self.cloud.assets.get(fields["public_id"])
        if asset is None or asset.type != fields.get("type", "upload"):
            return {"result": "not found"}
        del self.cloud.assets[fields["public_id"]]
        return {"result": "ok"}

    def _get(self) -> tuple[int, str, bytes]:
        parts = urlsplit(self.path)
        if parts.path.startswith("/v1_1/"):
            self._check_account(parts.path)
            query = {key: values[0] for key, values in parse_qs(parts.query).items()}
            _check_signed(query)
            if int(query.get("expires_at", "0")) < time.time():
                raise _Refusal(401, "The URL has expired")
            return 200, "image/jpeg", self._asset(query["public_id"], query["type"]).content
        return self._deliver(parts.path)

    def _deliver(self, path: str) -> tuple[int, str, bytes]:
        found = re.fullmatch(
            rf"/{CLOUD_NAME}/image/(?P<type>\w+)/s--(?P<signature>[\w-]{{8}})--/"
            r"(?:(?P<transformation>[a-z]+_[^/]+)/)?v\d+/(?P<public_id>.+)\.(?P<format>\w+)",
            unquote(path),
        )
        if found is None:
            raise _Refusal(404, "No signed delivery URL")
        to_sign = f"{found['public_id']}.{found['format']}"
        if found["transformation"]:
            to_sign = f"{found['transformation']}/{to_sign}"
        digest = hashlib.sha1((to_sign + API_SECRET).encode(), usedforsecurity=False).digest()
        if base64.urlsafe_b64encode(digest)[:8].decode() != found["signature"]:
            raise _Refusal(401, "The URL's signature is wrong")
        asset = self._asset(found["public_id"], found["type"])
        return 200, "image/jpeg", _transform(asset.content, found["transformation"] or "")

    def _asset(self, public_id: str, type: str) -> Asset:
        asset = self.cloud.assets.get(public_id)
        if asset is None or asset.type != type:
            raise _Refusal(404, f"No such picture: {public_id}")
        return asset

    def _check_account(self, path: str) -> None:
        if not path.startswith(f"/v1_1/{CLOUD_NAME}/image/"):
            raise _Refusal(401, "cloud_name mismatch")


def _check_signed(parameters: dict[str, str]) -> None:
    if parameters.get("api_key") != API_KEY:
        raise _Refusal(401, "Unknown API key")
    signed = {key: value for key, value in parameters.items() if key not in UNSIGNED and value}
    text = "&".join(f"{key}={value}" for key, value in sorted(signed.items())) + API_SECRET
    digest = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()
    if digest != parameters.get("signature"):
        raise _Refusal(401, "Invalid Signature")
    if abs(time.time() - int(parameters["timestamp"])) > CLOCK_TOLERANCE_SECONDS:
        raise _Refusal(400, "Stale request")


def _multipart(headers: Message, body: bytes) -> dict[str, bytes]:
    """Return the fields of a form as RFC 7578 has them; a file is one of them."""
    boundary = re.search(r'boundary="?([^";]+)', headers["Content-Type"] or "")
    if boundary is None:
        return {}
    fields = {}
    for part in body.split(b"--" + boundary[1].encode())[1:-1]:
        head, _blank, content = part.partition(b"\r\n\r\n")
        name = re.search(rb'name="([^"]+)"', head)
        if name is not None:
            fields[name[1].decode()] = content.removesuffix(b"\r\n")
    return fields


def _transform(content: bytes, transformation: str) -> bytes:
    steps = dict(step.split("_", 1) for step in transformation.split(",") if step)
    if not steps:
        return content
    with Image.open(io.BytesIO(content)) as image:
        image.thumbnail((int(steps["w"]), int(steps["h"])))
        out = io.BytesIO()
        image.convert("RGB").save(out, "JPEG")
    return out.getvalue()


def _json(answer: dict[str, Any]) -> tuple[int, str, bytes]:
    return 200, "application/json", json.dumps(answer).encode()
