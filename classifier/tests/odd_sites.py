"""Web servers on loopback addresses that answer byte by byte as a test tells them."""

import errno
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

Answer = Callable[[socket.socket], None]

# Longer than any test waits: an answer that goes on until the other side hangs up.
LONG = 60.0

_CERTIFICATE = """
[req]
distinguished_name = name
x509_extensions = own
prompt = no
[name]
CN = {name}
[own]
subjectAltName = DNS:{name}
basicConstraints = critical, CA:TRUE
keyUsage = critical, digitalSignature, keyCertSign
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
"""


class OddSite:
    """A server that counts who connects, keeps what they ask, and answers with `answer`."""

    def __init__(self, address: str, port: int, tls: ssl.SSLContext | None) -> None:
        self.answer: Answer = answering(b"")
        self.requests: list[bytes] = []
        self.connections = 0
        self._tls = tls
        self._server = socket.create_server((address, port))
        self.port: int = self._server.getsockname()[1]
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        # Closing alone does not wake the thread that waits for connections.
        self._server.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._server.close()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._server.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._meet, args=(connection,), daemon=True).start()

    def _meet(self, connection: socket.socket) -> None:
        connection.settimeout(LONG)
        # The other side hangs up whenever it has had enough.
        with connection, suppress(OSError):
            if self._tls is None:
                self._speak(connection)
            else:
                with self._tls.wrap_socket(connection, server_side=True) as secret:
                    self._speak(secret)

    def _speak(self, connection: socket.socket) -> None:
        request = b""
        while b"\r\n\r\n" not in request and (chunk := connection.recv(65_536)):
            request += chunk
        self.requests.append(request)
        if request:
            self.answer(connection)


@contextmanager
def odd_site(
    address: str = "127.0.0.1", port: int = 0, tls: ssl.SSLContext | None = None
) -> Iterator[OddSite]:
    """Run a server until the end of the block."""
    site = OddSite(address, port, tls)
    try:
        yield site
    finally:
        site.stop()


@contextmanager
def odd_neighbours(one: str, other: str) -> Iterator[tuple[OddSite, OddSite]]:
    """Run two servers at the same port of two addresses until the end of the block."""
    while True:
        with odd_site(one) as first:
            try:
                second = OddSite(other, first.port, None)
            except OSError as error:
                # The other address has some program's connection at this port: take another.
                if error.errno != errno.EADDRINUSE:
                    raise
                continue
            try:
                yield first, second
            finally:
                second.stop()
            return


def answering(body: bytes, *headers: str, status: str = "200 OK") -> Answer:
    """An answer of one piece, with its length unless the headers say something of that kind."""
    said = list(headers)
    if not any(line.lower().startswith(("content-length", "transfer-")) for line in said):
        said.append(f"Content-Length: {len(body)}")
    head = "\r\n".join([f"HTTP/1.1 {status}", *said, "", ""]).encode()
    return lambda connection: connection.sendall(head + body)


def redirecting(location: str, status: str = "302 Found") -> Answer:
    return answering(b"", f"Location: {location}", status=status)


def dripping(begin: bytes, drop: bytes, pause: float) -> Answer:
    """Some bytes, and then a few more now and then, without an end."""

    def answer(connection: socket.socket) -> None:
        connection.sendall(begin)
        end = time.monotonic() + LONG
        while time.monotonic() < end:
            connection.sendall(drop)
            time.sleep(pause)

    return answer


def in_turn(*answers: Answer) -> Answer:
    """One answer after another, a request each; the last again and again."""
    left = list(answers)

    def answer(connection: socket.socket) -> None:
        (left.pop(0) if len(left) > 1 else left[0])(connection)

    return answer


def certificate(folder: Path, name: str) -> tuple[Path, ssl.SSLContext]:
    """Return a new self-signed certificate's file and a server's context that has it."""
    config, key, file = (folder / f"{name}.{kind}" for kind in ("cnf", "key", "pem"))
    config.write_text(_CERTIFICATE.format(name=name))
    curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    files = ["-config", str(config), "-keyout", str(key), "-out", str(file)]
    subprocess.run(["openssl", "req", "-x509", *curve, *files], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file, key)
    return file, context
