"""A picture from an address that a stranger gave: http and https, public servers only, bounded.

Each hop is parsed strictly, its host is resolved once, EVERY address that this gave is judged, and
the connection goes to one of exactly these addresses: no name is resolved a second time, so that
a name server which changes its mind (DNS rebinding) changes nothing. TLS is checked against the
host's name. Seconds and bytes are bounded for all hops together, name servers and headers included.

No proxy, cookie, credential or `.netrc` of this machine is used: a proxy would resolve anew.
"""

import functools
import http.client
import re
import socket
import ssl
import threading
import time
from collections.abc import Buffer, Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from ipaddress import AddressValueError, IPv4Address, IPv6Address, ip_address
from pathlib import Path
from typing import Self
from urllib.parse import quote, unquote, urljoin

import certifi

from classifier import addresses
from classifier.addresses import Address, Network

USER_AGENT = "ClassifyMe (fetches one picture that a person named)"

_DEFAULT_PORTS = {"http": 80, "https": 443}
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_LONGEST_URL = 2048  # characters
_CHUNK_BYTES = 65_536
# Status lines, headers and the framing of chunks, of all hops together.
_OVERHEAD_BYTES = 300_000
# Name servers that never answer keep a thread each for as long as the system's resolver waits.
_MAX_RESOLVING = 32

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*")
_HIERARCHY = re.compile(r"//(?P<authority>[^/?#]*)(?P<target>[^#]*)(?:#.*)?")
_AUTHORITY = re.compile(r"(?P<host>\[[^\[\]]*\]|[^:\[\]]*)(?::(?P<port>[0-9]{0,5}))?")
_LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_NAME = re.compile(rf"(?=.{{1,253}}\Z){_LABEL}(?:\.{_LABEL})*")
# What an address may be spelled as to resolvers of the BSD kind: 2130706433, 0x7f.1, 127.0.0.01.
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
# Names that only a network's own resolver knows: refused unasked, which tells nobody which exist.
_LOCAL_SUFFIXES = (".localhost", ".localdomain", ".local", ".internal", ".home.arpa")
# What may stand in a path or query as it is; everything else is percent-encoded.
_TARGET_CHARACTERS = "!$%&'()*+,-./:;=?@[]_~"

Resolve = Callable[[str, int], Sequence[str]]


class ErrorCode(StrEnum):
    """Why nothing was fetched."""

    DISABLED = "disabled"
    BUSY = "busy"
    BAD_URL = "bad_url"
    SCHEME_NOT_ALLOWED = "scheme_not_allowed"
    CREDENTIALS_NOT_ALLOWED = "credentials_not_allowed"
    HOST_NOT_ALLOWED = "host_not_allowed"
    PORT_NOT_ALLOWED = "port_not_allowed"
    ADDRESS_NOT_ALLOWED = "address_not_allowed"
    DOWNGRADE_NOT_ALLOWED = "downgrade_not_allowed"
    TOO_MANY_REDIRECTS = "too_many_redirects"
    TOO_MANY_BYTES = "too_many_bytes"
    TOO_SLOW = "too_slow"
    UNREACHABLE = "unreachable"
    TLS_FAILED = "tls_failed"
    BAD_STATUS = "bad_status"
    BAD_ANSWER = "bad_answer"


class FetchError(Exception):
    """Nothing was fetched: `code` says why, `str()` is a sentence a person can act on.

    The sentence repeats no address, also none that a redirect led to, and nothing that a server
    said but its status.
    """

    def __init__(self, code: ErrorCode, sentence: str) -> None:
        super().__init__(sentence)
        self.code = code


@dataclass(frozen=True)
class Fetched:
    """The bytes that the last server sent, unjudged; `url` is where they came from in the end."""

    content: bytes
    filename: str
    url: str


@dataclass(frozen=True)
class HostRule:
    """Hosts that a setting names: `a.example`, `.example` (it and all below), `[::1]:8080`.

    With a port it stands for that port alone, without one for the usual ports.
    """

    host: str
    below: bool
    port: int | None

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the rule; ValueError if the text is none."""
        try:
            host, port = _split_authority(text.removeprefix("."))
            name, literal = _parse_host(host)
        except FetchError as exc:
            raise ValueError(
                f"Expected HOST, HOST:PORT or .DOMAIN, without scheme or path. Received: {text!r}"
            ) from exc
        below = text.startswith(".")
        if (below and literal is not None) or port == 0 or text.endswith(":"):
            raise ValueError(f"Expected a domain below '.', a port from 1. Received: {text!r}")
        return cls(name, below, port)

    def covers(self, host: str) -> bool:
        return host == self.host or (self.below and host.endswith(f".{self.host}"))

    def opens(self, host: str, port: int, usual: frozenset[int]) -> bool:
        return self.covers(host) and (port in usual if self.port is None else port == self.port)


@dataclass(frozen=True)
class FetchLimits:
    """How much, how long, from where.

    `max_bytes` bounds the body, `seconds` the whole fetch. With `allowed_hosts` only these are
    asked. `private_hosts` are asked besides, and they alone may have private or loopback
    addresses. Addresses in `permitted` count as public. Raises ValueError for a rule that is none.
    """

    max_bytes: int
    seconds: float
    max_redirects: int = 3
    allowed_hosts: tuple[str, ...] = ()
    private_hosts: tuple[str, ...] = ()
    permitted: tuple[Network, ...] = ()
    ports: frozenset[int] = frozenset(_DEFAULT_PORTS.values())
    _allowed: tuple[HostRule, ...] = field(init=False, repr=False)
    _private: tuple[HostRule, ...] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_allowed", tuple(map(HostRule.parse, self.allowed_hosts)))
        object.__setattr__(self, "_private", tuple(map(HostRule.parse, self.private_hosts)))

    def check_host(self, host: str, port: int, *, is_name: bool) -> None:
        """Raise FetchError if the host is not to be asked at this port, whatever its address."""
        if self.is_private(host, port):
            return
        if self._allowed and not self._any(self._allowed, host):
            raise FetchError(
                ErrorCode.HOST_NOT_ALLOWED, "Pictures are not fetched from this host here."
            )
        if is_name and not self._allowed and _is_local_name(host):
            raise FetchError(
                ErrorCode.HOST_NOT_ALLOWED, "The host is not the full name of a public server."
            )
        if not self._opens(self._allowed, host, port):
            raise FetchError(ErrorCode.PORT_NOT_ALLOWED, "Pictures are not fetched from this port.")

    def check_address(self, address: Address, host: str, port: int) -> None:
        """Raise FetchError if the host's address is not one to connect to."""
        if addresses.is_public(address) or any(address in network for network in self.permitted):
            return
        if self.is_private(host, port) and addresses.is_private(address):
            return
        raise FetchError(
            ErrorCode.ADDRESS_NOT_ALLOWED, "The host is not a public server; it is not asked."
        )

    def is_private(self, host: str, port: int) -> bool:
        return any(rule.opens(host, port, self.ports) for rule in self._private)

    def _opens(self, rules: tuple[HostRule, ...], host: str, port: int) -> bool:
        if not rules:
            return port in self.ports
        return any(rule.opens(host, port, self.ports) for rule in rules)

    @staticmethod
    def _any(rules: tuple[HostRule, ...], host: str) -> bool:
        return any(rule.covers(host) for rule in rules)


@dataclass(frozen=True)
class Target:
    """A URL that was read strictly: what is judged is what is connected to."""

    scheme: str
    host: str
    port: int
    path: str
    literal: Address | None

    @property
    def url(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        port = "" if self.port == _DEFAULT_PORTS[self.scheme] else f":{self.port}"
        return f"{self.scheme}://{host}{port}{self.path}"

    @property
    def filename(self) -> str:
        """The last part of the path, decoded; empty if there is none."""
        return unquote(self.path.partition("?")[0].rpartition("/")[2])


def fetch(
    url: str,
    limits: FetchLimits,
    *,
    resolve: Resolve | None = None,
    ca_file: Path | None = None,
) -> Fetched:
    """Return what the server at the URL sends. Raises FetchError.

    `resolve` takes a host and a port and returns its addresses as text (the system's resolver
    when None); OSError says that there are none. `ca_file` replaces the authorities that are
    trusted. A redirect from https to http is refused: what was asked for in secret stays so.
    """
    errand = _Errand(limits, resolve or resolve_by_system, ca_file)
    target = parse(url)
    for _ in range(limits.max_redirects + 1):
        answer = errand.ask(target)
        if isinstance(answer, Fetched):
            return answer
        target = answer
    raise FetchError(
        ErrorCode.TOO_MANY_REDIRECTS,
        f"The URL was redirected more than {limits.max_redirects} times.",
    )


def resolve_by_system(host: str, port: int) -> list[str]:
    """Return the host's addresses as text, as the system knows them. Raises OSError."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(sockaddr[0]) for *_, sockaddr in found))


# -- reading a URL --------------------------------------------------------------------------------


def parse(url: str) -> Target:
    """Return the URL in parts, its host in one spelling. Raises FetchError.

    What different programs read differently is refused rather than guessed at.
    """
    _check_characters(url)
    scheme, colon, rest = url.partition(":")
    scheme = scheme.lower()
    if scheme not in _DEFAULT_PORTS:
        foreign = colon and _SCHEME.fullmatch(scheme)
        code = ErrorCode.SCHEME_NOT_ALLOWED if foreign else ErrorCode.BAD_URL
        raise FetchError(code, "Expected a URL that begins with http:// or https://.")
    parts = _HIERARCHY.fullmatch(rest)
    if parts is None:
        raise _bad_url(f"Expected // after {scheme}:, as in {scheme}://example.org/cat.jpg.")
    host, port = _split_authority(parts["authority"])
    name, literal = _parse_host(host)
    target = quote(parts["target"], safe=_TARGET_CHARACTERS)
    path = target if target.startswith("/") else f"/{target}"
    return Target(scheme, name, _DEFAULT_PORTS[scheme] if port is None else port, path, literal)


def _check_characters(url: str) -> None:
    if len(url) > _LONGEST_URL:
        raise _bad_url(f"Expected a URL of at most {_LONGEST_URL} characters.")
    if any(character <= " " or "\x7f" <= character <= "\xa0" for character in url):
        raise _bad_url("A URL has no blanks, line breaks or control characters in it.")
    if "\\" in url or any("\ud800" <= character <= "\udfff" for character in url):
        raise _bad_url("A URL has no backslashes or broken characters in it.")


def _split_authority(authority: str) -> tuple[str, int | None]:
    if "@" in authority:
        raise FetchError(
            ErrorCode.CREDENTIALS_NOT_ALLOWED, "A user name or password may not be in the URL."
        )
    parts = _AUTHORITY.fullmatch(authority)
    if parts is None or int(parts["port"] or 0) > 65_535:
        raise _bad_url("The URL's host and port cannot be read.")
    return parts["host"], int(parts["port"]) if parts["port"] else None


def _parse_host(text: str) -> tuple[str, Address | None]:
    """Return the host in its one spelling and, if it is an address, that."""
    # Before lower(), which makes ASCII of the Kelvin sign.
    if not text.isascii():
        raise _bad_url("Write the host's name in ASCII: letters of other scripts as xn--...")
    host = text.lower()
    if host.startswith("["):
        literal = _literal(IPv6Address, host[1:-1])
        return str(literal), literal
    if _NUMBER.fullmatch(host.rpartition(".")[2]):
        literal = _literal(IPv4Address, host)
        return str(literal), literal
    if not _NAME.fullmatch(host):
        raise _bad_url("The URL's host is not a name as servers have them.")
    return host, None


def _literal(kind: type[IPv4Address] | type[IPv6Address], text: str) -> Address:
    try:
        if "%" not in text:
            return kind(text)
    except AddressValueError:
        pass
    raise _bad_url("Write an address as four decimal numbers, or as IPv6 in brackets.")


def _is_local_name(host: str) -> bool:
    return "." not in host or host.endswith(_LOCAL_SUFFIXES) or host == "home.arpa"


def _bad_url(sentence: str) -> FetchError:
    return FetchError(ErrorCode.BAD_URL, sentence)


# -- what a fetch may take ------------------------------------------------------------------------


class _Allowance:
    """What is left of the seconds and bytes of one fetch, all its hops together."""

    def __init__(self, limits: FetchLimits) -> None:
        self._seconds = limits.seconds
        self._deadline = time.monotonic() + limits.seconds
        self._max_bytes = limits.max_bytes
        self._left = limits.max_bytes + _OVERHEAD_BYTES

    def seconds_left(self) -> float:
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise self.too_slow()
        return left

    def take(self, count: int) -> None:
        self._left -= count
        if self._left < 0:
            raise self.too_many_bytes()

    def too_slow(self) -> FetchError:
        sentence = f"The picture did not arrive within {self._seconds:g} seconds."
        return FetchError(ErrorCode.TOO_SLOW, sentence)

    def too_many_bytes(self) -> FetchError:
        sentence = f"What is at the URL is larger than {self._max_bytes:,} bytes."
        return FetchError(ErrorCode.TOO_MANY_BYTES, sentence)


class _Socket(socket.socket):
    """A socket whose every wait ends with the allowance: a slow drip gains nothing by dripping."""

    allowance: _Allowance

    def recv_into(self, buffer: Buffer, nbytes: int = 0, flags: int = 0) -> int:
        self.settimeout(self.allowance.seconds_left())
        count = super().recv_into(buffer, nbytes, flags)
        self.allowance.take(count)
        return count


class _TlsSocket(ssl.SSLSocket):
    allowance: _Allowance

    def recv_into(self, buffer: Buffer, nbytes: int | None = None, flags: int = 0) -> int:
        self.settimeout(self.allowance.seconds_left())
        count = super().recv_into(buffer, nbytes, flags)
        self.allowance.take(count)
        return count


@functools.cache
def _tls(ca_file: Path | None) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=ca_file)
    if ca_file is None:
        # A slim image may have no authorities of its own.
        context.load_verify_locations(certifi.where())
    context.set_alpn_protocols(["http/1.1"])
    context.sslsocket_class = _TlsSocket
    return context


# -- asking one server ----------------------------------------------------------------------------


class _Connection(http.client.HTTPConnection):
    """HTTP over a connection that stands already; it never opens one of its own."""

    def __init__(self, target: Target, connected: socket.socket) -> None:
        super().__init__(target.host, target.port)
        # Decides whether the header Host names the port.
        self.default_port = _DEFAULT_PORTS[target.scheme]
        self.sock = connected

    def connect(self) -> None:
        raise http.client.NotConnected


class _Errand:
    """One fetch: what it may take, and how names become addresses."""

    def __init__(self, limits: FetchLimits, resolve: Resolve, ca_file: Path | None) -> None:
        self._limits = limits
        self._resolve = resolve
        self._ca_file = ca_file
        self._allowance = _Allowance(limits)

    def ask(self, target: Target) -> Fetched | Target:
        """Return the picture, or where the server says that it is. Raises FetchError."""
        self._limits.check_host(target.host, target.port, is_name=target.literal is None)
        found = self._addresses(target)
        for address in found:
            self._limits.check_address(address, target.host, target.port)
        with self._faults_translated(), closing(self._open(target, found)) as connection:
            headers = {"User-Agent": USER_AGENT, "Accept": "image/*", "Connection": "close"}
            connection.request("GET", target.path, headers=headers)
            with connection.getresponse() as response:
                return self._answer(target, response)

    def _addresses(self, target: Target) -> list[Address]:
        if target.literal is not None:
            return [target.literal]
        seconds = self._allowance.seconds_left()
        try:
            found = _in_time(lambda: self._resolve(target.host, target.port), seconds)
        except TimeoutError as exc:
            raise self._allowance.too_slow() from exc
        except (OSError, UnicodeError) as exc:
            raise _unreachable() from exc
        if not found:
            raise _unreachable()
        return [ip_address(text) for text in found]

    def _open(self, target: Target, found: Sequence[Address]) -> _Connection:
        """Connect to one of the addresses, which were judged; over TLS where https asks for it."""
        plain = self._dial(found, target.port)
        if target.scheme == "http":
            return _Connection(target, plain)
        try:
            # The timeout of the socket bounds the handshake as a whole.
            plain.settimeout(self._allowance.seconds_left())
            wrapped = _tls(self._ca_file).wrap_socket(plain, server_hostname=target.host)
        except BaseException:
            plain.close()
            raise
        assert isinstance(wrapped, _TlsSocket)  # noqa: S101  # the context's class of sockets
        wrapped.allowance = self._allowance
        return _Connection(target, wrapped)

    def _dial(self, found: Sequence[Address], port: int) -> _Socket:
        """Try one address after another, each for its share of the time. Raises OSError."""
        error = OSError("no address")
        for number, address in enumerate(found):
            try:
                return self._connected(address, port, 1 / (len(found) - number))
            except OSError as exc:
                error = exc
        raise error

    def _connected(self, address: Address, port: int, share: float) -> _Socket:
        family = socket.AF_INET if address.version == 4 else socket.AF_INET6
        plain = _Socket(family, socket.SOCK_STREAM)
        try:
            plain.allowance = self._allowance
            plain.settimeout(self._allowance.seconds_left() * share)
            plain.connect((str(address), port))
        except BaseException:
            plain.close()
            raise
        return plain

    def _answer(self, target: Target, response: http.client.HTTPResponse) -> Fetched | Target:
        location = response.getheader("Location")
        if response.status in _REDIRECTS and location:
            return _redirected(target, location)
        if response.status != 200:
            raise FetchError(
                ErrorCode.BAD_STATUS, f"The server answered with status {response.status}."
            )
        if response.getheader("Content-Encoding", "identity").strip().lower() != "identity":
            # Nobody asked for it, and a few bytes may unpack to any number.
            raise _bad_answer("The server sends the picture packed, which is not unpacked here.")
        return Fetched(self._body(response), target.filename, target.url)

    def _body(self, response: http.client.HTTPResponse) -> bytes:
        if (response.length or 0) > self._limits.max_bytes:
            raise self._allowance.too_many_bytes()
        body = bytearray()
        while chunk := response.read(_CHUNK_BYTES):
            body += chunk
            if len(body) > self._limits.max_bytes:
                raise self._allowance.too_many_bytes()
        if response.length:
            raise _bad_answer("The server broke off before the end of the picture.")
        return bytes(body)

    @contextmanager
    def _faults_translated(self) -> Iterator[None]:
        try:
            yield
        except TimeoutError as exc:
            raise self._allowance.too_slow() from exc
        except ssl.SSLError as exc:
            raise FetchError(
                ErrorCode.TLS_FAILED,
                "The server could not prove by TLS that it is the one asked for.",
            ) from exc
        except http.client.HTTPException as exc:
            raise _bad_answer("The server does not answer as HTTP asks for.") from exc
        except OSError as exc:
            raise _unreachable() from exc


def _redirected(target: Target, location: str) -> Target:
    # Servers put raw UTF-8 there, which http.client has read as Latin-1.
    encoded = "".join(
        character if character.isascii() else quote(character.encode("latin-1"))
        for character in location
    )
    _check_characters(encoded)
    try:
        following = parse(urljoin(target.url, encoded))
    except ValueError as exc:
        raise _bad_url("The redirect's URL cannot be read.") from exc
    if target.scheme == "https" and following.scheme == "http":
        raise FetchError(
            ErrorCode.DOWNGRADE_NOT_ALLOWED, "The URL was redirected from https to http."
        )
    return following


def _unreachable() -> FetchError:
    return FetchError(ErrorCode.UNREACHABLE, "The server cannot be reached.")


def _bad_answer(sentence: str) -> FetchError:
    return FetchError(ErrorCode.BAD_ANSWER, sentence)


# -- name servers that keep one waiting -----------------------------------------------------------

_resolving = threading.BoundedSemaphore(_MAX_RESOLVING)


def _in_time[T](call: Callable[[], T], seconds: float) -> T:
    """Return what the call returns; TimeoutError when it takes longer. Its thread goes on then."""
    if not _resolving.acquire(timeout=seconds):
        raise TimeoutError
    future: Future[T] = Future()

    def run() -> None:
        try:
            future.set_result(call())
        except BaseException as exc:  # noqa: BLE001  # it is raised where the result is asked for
            future.set_exception(exc)
        finally:
            _resolving.release()

    threading.Thread(target=run, name="resolving", daemon=True).start()
    return future.result(timeout=seconds)
