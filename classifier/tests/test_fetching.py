"""What is fetched and, above all, what is not: real name servers, real web servers, real TLS."""

import socket
import time
from collections.abc import Iterator
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

import pytest

from classifier import addresses, fetching
from classifier.fetching import Fetched, FetchError, FetchLimits, HostRule
from classifier.tests.name_server import NameServer, name_server
from classifier.tests.odd_sites import (
    OddSite,
    answering,
    certificate,
    dripping,
    in_turn,
    odd_neighbours,
    odd_site,
    redirecting,
)

# Linux answers on all of 127/8: this address stands for a public server, 127.0.0.1 for our own.
PUBLIC = "127.0.0.2"
PERMITTED = (ip_network("127.0.0.2/31"),)
PICTURE = b"\x89PNG and so on"
ENDLESS = b"HTTP/1.1 200 OK\r\n\r\n"


@pytest.fixture
def names() -> Iterator[NameServer]:
    with name_server() as server:
        server.answer("pictures.test", [PUBLIC])
        yield server


@pytest.fixture
def neighbours() -> Iterator[tuple[OddSite, OddSite]]:
    with odd_neighbours(PUBLIC, "127.0.0.1") as neighbours:
        yield neighbours


@pytest.fixture
def site(neighbours: tuple[OddSite, OddSite]) -> OddSite:
    """A server that may be asked, at pictures.test."""
    neighbours[0].answer = answering(PICTURE)
    return neighbours[0]


@pytest.fixture
def inside(neighbours: tuple[OddSite, OddSite]) -> Iterator[OddSite]:
    """A server of our own network, at the same port of 127.0.0.1: nobody may ever connect to it."""
    neighbours[1].answer = answering(b"a secret")
    yield neighbours[1]
    assert neighbours[1].connections == 0


def limits(site: OddSite, **options: Any) -> FetchLimits:
    few: dict[str, Any] = {"max_bytes": 100_000, "seconds": 5.0, "permitted": PERMITTED}
    return FetchLimits(**few | {"ports": frozenset({80, 443, site.port})} | options)


def fetch(
    url: str, names: NameServer, site: OddSite, ca_file: Path | None = None, **options: Any
) -> Fetched:
    return fetching.fetch(url, limits(site, **options), resolve=names.resolve, ca_file=ca_file)


def refusal(
    url: str, names: NameServer, site: OddSite, ca_file: Path | None = None, **options: Any
) -> FetchError:
    with pytest.raises(FetchError) as caught:
        fetch(url, names, site, ca_file, **options)
    return caught.value


# -- what is fetched ------------------------------------------------------------------------------


def test_it_fetches_the_bytes_of_a_picture(names: NameServer, site: OddSite) -> None:
    url = f"http://pictures.test:{site.port}/a/big%20cat.png?size=2#top"
    fetched = fetch(url, names, site)
    assert fetched == Fetched(PICTURE, "big cat.png", url.removesuffix("#top"))


def test_it_asks_by_name_for_plain_bytes_and_says_nothing_of_this_machine(
    names: NameServer, site: OddSite
) -> None:
    fetch(
        f"http://Pictures.TEST:{site.port}?q=\N{LATIN SMALL LETTER U WITH DIAERESIS}", names, site
    )
    (request,) = site.requests
    lines = request.decode().splitlines()
    assert lines[0] == "GET /?q=%C3%BC HTTP/1.1"
    assert f"Host: pictures.test:{site.port}" in lines
    assert "Accept-Encoding: identity" in lines
    said = {line.partition(":")[0] for line in lines[1:] if line}
    assert said == {"Host", "Accept-Encoding", "User-Agent", "Accept", "Connection"}


def test_no_proxy_of_the_environment_is_asked(
    names: NameServer, site: OddSite, inside: OddSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{inside.port}")
    assert fetch(f"http://pictures.test:{site.port}/", names, site).content == PICTURE


def test_a_picture_may_come_in_chunks(names: NameServer, site: OddSite) -> None:
    site.answer = answering(b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n", "Transfer-Encoding: chunked")
    assert fetch(f"http://pictures.test:{site.port}/", names, site).content == b"abcde"


def test_a_picture_of_exactly_the_limit_is_fetched(names: NameServer, site: OddSite) -> None:
    site.answer = answering(b"x" * 1000)
    fetched = fetch(f"http://pictures.test:{site.port}/", names, site, max_bytes=1000)
    assert len(fetched.content) == 1000


def test_three_redirects_are_followed_relative_ones_too(names: NameServer, site: OddSite) -> None:
    names.answer("elsewhere.test", [PUBLIC])
    site.answer = in_turn(
        redirecting("/b/"),
        redirecting("c.png?d=\N{LATIN SMALL LETTER U WITH DIAERESIS}", "308 Permanent Redirect"),
        redirecting(f"//elsewhere.test:{site.port}/e.png", "301 Moved Permanently"),
        answering(PICTURE),
    )
    fetched = fetch(f"http://pictures.test:{site.port}/a", names, site)
    assert fetched == Fetched(PICTURE, "e.png", f"http://elsewhere.test:{site.port}/e.png")
    assert [request.split()[1] for request in site.requests] == [
        b"/a",
        b"/b/",
        b"/b/c.png?d=%C3%BC",
        b"/e.png",
    ]


def test_the_next_address_is_tried_where_one_is_dead(names: NameServer, site: OddSite) -> None:
    names.answer("pictures.test", ["127.0.0.3", PUBLIC])
    assert fetch(f"http://pictures.test:{site.port}/", names, site).content == PICTURE


# -- what is refused before anybody is connected to -----------------------------------------------

# {port} is where a server of our own network listens on 127.0.0.1: whoever reads one of these as
# an address of this machine reaches it, and the fixture `inside` tells.
REFUSED_URLS = {
    "loopback": ("http://127.0.0.1:{port}/", "address_not_allowed"),
    "loopback, another address of it": ("http://127.1.2.3/", "address_not_allowed"),
    "loopback, short": ("http://127.1:{port}/", "bad_url"),
    "loopback, three parts": ("http://127.0.1:{port}/", "bad_url"),
    "loopback, decimal": ("http://2130706433:{port}/", "bad_url"),
    "loopback, decimal and overflowing": ("http://6425673729:{port}/", "bad_url"),
    "loopback, octal": ("http://0177.0.0.1:{port}/", "bad_url"),
    "loopback, octal as one number": ("http://017700000001:{port}/", "bad_url"),
    "loopback, leading zeros": ("http://127.000.000.001:{port}/", "bad_url"),
    "loopback, hexadecimal": ("http://0x7f.0x0.0x0.0x1:{port}/", "bad_url"),
    "loopback, hexadecimal as one number": ("http://0x7f000001:{port}/", "bad_url"),
    "loopback, hexadecimal in capitals": ("http://0X7F000001:{port}/", "bad_url"),
    "loopback, spellings mixed": ("http://0x7f.1:{port}/", "bad_url"),
    "loopback, empty hexadecimal": ("http://127.0.0.0x:{port}/", "bad_url"),
    "loopback, trailing dot": ("http://127.0.0.1.:{port}/", "bad_url"),
    "loopback, percent-encoded": ("http://%31%32%37.0.0.1:{port}/", "bad_url"),
    "loopback, percent-encoded dots": ("http://127%2e0%2e0%2e1:{port}/", "bad_url"),
    "loopback, fullwidth digits": (
        "http://\uff11\uff12\uff17.\uff10.\uff10.\uff11:{port}/",
        "bad_url",
    ),
    "loopback, circled digits": ("http://①②⑦.⓪.⓪.①:{port}/", "bad_url"),
    "loopback, ideographic full stop": ("http://127。0。0。1:{port}/", "bad_url"),
    "loopback, halfwidth full stop": ("http://127｡0｡0｡1:{port}/", "bad_url"),
    "loopback, Arabic digits": (
        "http://\u0661\u0662\u0667.\u0660.\u0660.\u0661:{port}/",
        "bad_url",
    ),
    "loopback, five parts": ("http://127.0.0.1.1:{port}/", "bad_url"),
    "loopback in brackets": ("http://[127.0.0.1]:{port}/", "bad_url"),
    "loopback, IPv6": ("http://[::1]:{port}/", "address_not_allowed"),
    "loopback, IPv6 in full": (
        "http://[0000:0000:0000:0000:0000:0000:0000:0001]/",
        "address_not_allowed",
    ),
    "loopback, IPv6 without brackets": ("http://::1/", "bad_url"),
    "localhost": ("http://localhost:{port}/", "host_not_allowed"),
    "localhost, capitals": ("http://LOCALHOST:{port}/", "host_not_allowed"),
    "localhost, trailing dot": ("http://localhost.:{port}/", "bad_url"),
    "localhost, below": ("http://a.localhost:{port}/", "host_not_allowed"),
    "localhost, circled letters": ("http://ⓛⓞⓒⓐⓛⓗⓞⓢⓣ:{port}/", "bad_url"),
    "localhost, long s": ("http://localho\u017ft:{port}/", "bad_url"),
    "localhost, soft hyphen": ("http://local\u00adhost:{port}/", "bad_url"),
    "localhost, zero-width space": ("http://local\u200bhost:{port}/", "bad_url"),
    "a word, Kelvin sign": ("http://boo\u212a.test:{port}/", "bad_url"),
    "unspecified": ("http://0.0.0.0:{port}/", "address_not_allowed"),
    "unspecified, short": ("http://0:{port}/", "bad_url"),
    "unspecified, IPv6": ("http://[::]:{port}/", "address_not_allowed"),
    "this network": ("http://0.1.2.3/", "address_not_allowed"),
    "private, 10": ("http://10.0.0.1/", "address_not_allowed"),
    "private, 172.16": ("http://172.16.0.1/", "address_not_allowed"),
    "private, end of 172.16": ("http://172.31.255.255/", "address_not_allowed"),
    "private, 192.168": ("http://192.168.1.1/", "address_not_allowed"),
    "private, IPv6": ("http://[fc00::1]/", "address_not_allowed"),
    "private, IPv6 and local": ("http://[fd12:3456:789a::1]/", "address_not_allowed"),
    "site-local, IPv6": ("http://[fec0::1]/", "address_not_allowed"),
    "link-local": ("http://169.254.1.1/", "address_not_allowed"),
    "link-local, IPv6": ("http://[fe80::1]/", "address_not_allowed"),
    "link-local, scoped": ("http://[fe80::1%25eth0]/", "bad_url"),
    "link-local, scoped and raw": ("http://[fe80::1%eth0]/", "bad_url"),
    "metadata": ("http://169.254.169.254/latest/meta-data/", "address_not_allowed"),
    "metadata, decimal": ("http://2852039166/latest/meta-data/", "bad_url"),
    "metadata of containers": ("http://169.254.170.2/v2/credentials", "address_not_allowed"),
    "metadata, IPv6": ("http://[fd00:ec2::254]/", "address_not_allowed"),
    "metadata, Google's IPv6": ("http://[fd20:ce::254]/", "address_not_allowed"),
    "metadata, Google's name": ("http://metadata.google.internal/", "host_not_allowed"),
    "metadata, Azure": ("http://168.63.129.16/", "address_not_allowed"),
    "metadata, Alibaba": ("http://100.100.100.200/", "address_not_allowed"),
    "metadata, Oracle": ("http://192.0.0.192/", "address_not_allowed"),
    "carrier-grade NAT": ("http://100.64.0.1/", "address_not_allowed"),
    "carrier-grade NAT, its end": ("http://100.127.255.255/", "address_not_allowed"),
    "benchmarking": ("http://198.18.0.1/", "address_not_allowed"),
    "benchmarking, IPv6": ("http://[2001:2::1]/", "address_not_allowed"),
    "documentation": ("http://192.0.2.1/", "address_not_allowed"),
    "documentation, second": ("http://198.51.100.1/", "address_not_allowed"),
    "documentation, third": ("http://203.0.113.1/", "address_not_allowed"),
    "documentation, IPv6": ("http://[2001:db8::1]/", "address_not_allowed"),
    "documentation, new IPv6": ("http://[3fff::1]/", "address_not_allowed"),
    "protocol assignments": ("http://192.0.0.1/", "address_not_allowed"),
    "6to4 relay": ("http://192.88.99.1/", "address_not_allowed"),
    "multicast": ("http://224.0.0.1/", "address_not_allowed"),
    "multicast, IPv6": ("http://[ff02::1]/", "address_not_allowed"),
    "reserved": ("http://240.0.0.1/", "address_not_allowed"),
    "broadcast": ("http://255.255.255.255/", "address_not_allowed"),
    "IPv4-mapped": ("http://[::ffff:127.0.0.1]:{port}/", "address_not_allowed"),
    "IPv4-mapped, hexadecimal": ("http://[::ffff:7f00:1]:{port}/", "address_not_allowed"),
    "IPv4-mapped, a public one": ("http://[::ffff:8.8.8.8]/", "address_not_allowed"),
    "IPv4-compatible": ("http://[::127.0.0.1]:{port}/", "address_not_allowed"),
    "IPv4-translated": ("http://[::ffff:0:127.0.0.1]:{port}/", "address_not_allowed"),
    "6to4": ("http://[2002:7f00:1::]/", "address_not_allowed"),
    "NAT64": ("http://[64:ff9b::7f00:1]/", "address_not_allowed"),
    "NAT64, local": ("http://[64:ff9b:1::a00:1]/", "address_not_allowed"),
    "Teredo": ("http://[2001:0:4136:e378:8000:63bf:80ff:fffe]/", "address_not_allowed"),
    "ISATAP": ("http://[2a00:1450::5efe:10.0.0.1]/", "address_not_allowed"),
    "ISATAP, of a public address": ("http://[2a00:1450::200:5efe:808:808]/", "address_not_allowed"),
    "discard prefix": ("http://[100::1]/", "address_not_allowed"),
    "segment routing": ("http://[5f00::1]/", "address_not_allowed"),
    "a user name": ("http://user@127.0.0.1:{port}/", "credentials_not_allowed"),
    "a password": ("http://user:secret@pictures.test:{port}/", "credentials_not_allowed"),
    "an empty user name": ("http://@pictures.test:{port}/", "credentials_not_allowed"),
    "a host in front of another": (
        "http://pictures.test@127.0.0.1:{port}/",
        "credentials_not_allowed",
    ),
    "a host in front of a fragment": (
        "http://pictures.test:80#@127.0.0.1:{port}/",
        "address_not_allowed",
    ),
    "a backslash before the user name": ("http://pictures.test\\@127.0.0.1:{port}/", "bad_url"),
    "backslashes for slashes": ("http:\\\\127.0.0.1:{port}/", "bad_url"),
    "NUL in the host": ("http://pictures.test\0.127.0.0.1:{port}/", "bad_url"),
    "a line break in the host": ("http://127.0.0.1\r\n:{port}/", "bad_url"),
    "a line break in the path": ("http://pictures.test:{port}/ HTTP/1.1\r\nX: y", "bad_url"),
    "a tab in the scheme": ("ht\ttp://127.0.0.1:{port}/", "bad_url"),
    "a blank in front": (" http://127.0.0.1:{port}/", "bad_url"),
    "a blank in the host": ("http://127.0.0.1 pictures.test:{port}/", "bad_url"),
    "a broken character": ("http://pictures.test:{port}/\ud800", "bad_url"),
    "no slashes": ("http:127.0.0.1:{port}", "bad_url"),
    "one slash": ("http:/127.0.0.1:{port}", "bad_url"),
    "three slashes": ("http:///127.0.0.1:{port}", "bad_url"),
    "no scheme": ("//127.0.0.1:{port}/", "bad_url"),
    "no host": ("http://:{port}/", "bad_url"),
    "nothing": ("", "bad_url"),
    "a URL too long": ("http://pictures.test:{port}/" + "a" * 2048, "bad_url"),
    "a label too long": (f"http://{'a' * 64}.test:{{port}}/", "bad_url"),
    "an empty label": ("http://pictures..test:{port}/", "bad_url"),
    "a port out of range": ("http://pictures.test:65536/", "bad_url"),
    "a port that is none": ("http://pictures.test:8o/", "bad_url"),
    "two ports": ("http://pictures.test:{port}:80/", "bad_url"),
    "another port": ("http://pictures.test:22/", "port_not_allowed"),
    "port zero": ("http://pictures.test:0/", "port_not_allowed"),
    "file": ("file:///etc/passwd", "scheme_not_allowed"),
    "file, as a host": ("file://127.0.0.1:{port}/etc/passwd", "scheme_not_allowed"),
    "ftp": ("ftp://pictures.test/cat.png", "scheme_not_allowed"),
    "gopher": ("gopher://127.0.0.1:{port}/_GET", "scheme_not_allowed"),
    "data": ("data:image/png;base64,iVBORw0KGgo=", "scheme_not_allowed"),
    "javascript": ("javascript:alert(1)", "scheme_not_allowed"),
    "dict": ("dict://127.0.0.1:{port}/info", "scheme_not_allowed"),
    "a name of one word": ("http://router:{port}/", "host_not_allowed"),
    "a name of the local network": ("http://printer.local:{port}/", "host_not_allowed"),
    "a name of the home network": ("http://nas.home.arpa:{port}/", "host_not_allowed"),
}

# Names are asked for by DNS; each of these leads where no stranger may lead us.
REFUSED_ADDRESSES = {
    "loopback": ["127.0.0.1"],
    "unspecified": ["0.0.0.0"],  # noqa: S104
    "private": ["10.11.12.13"],
    "link-local": ["169.254.10.20"],
    "metadata": ["169.254.169.254"],
    "carrier-grade NAT": ["100.99.98.97"],
    "multicast": ["239.255.255.250"],
    "IPv6 loopback": ["::1"],
    "IPv6 private": ["fd00:ec2::254"],
    "IPv6 link-local": ["fe80::10"],
    "IPv4-mapped": ["::ffff:127.0.0.1"],
    "NAT64": ["64:ff9b::a9fe:a9fe"],
    "6to4": ["2002:a9fe:a9fe::1"],
    "Teredo": ["2001:0:7f00:1::80ff:fffe"],
    "public, then private": [PUBLIC, "10.11.12.13"],
    "private, then public": ["10.11.12.13", PUBLIC],
    "public, then private IPv6": [PUBLIC, "fd12:3456::1"],
    "public, then loopback": [PUBLIC, "127.0.0.1"],
}


def test_there_are_enough_forms() -> None:
    assert len(REFUSED_URLS) + len(REFUSED_ADDRESSES) > 60


@pytest.mark.parametrize("name", REFUSED_URLS)
def test_a_url_is_refused(name: str, names: NameServer, site: OddSite, inside: OddSite) -> None:
    url, code = REFUSED_URLS[name]
    names.answer("metadata.google.internal", [PUBLIC])
    names.answer("router", [PUBLIC])
    if name == "a host in front of a fragment":
        # What stands before the fragment is the host; it leads into our network here.
        names.answer("pictures.test", ["127.0.0.1"])
    assert refusal(url.replace("{port}", str(site.port)), names, site).code == code
    assert site.connections == 0


@pytest.mark.parametrize("name", REFUSED_ADDRESSES)
def test_a_name_with_such_an_address_is_refused(
    name: str, names: NameServer, site: OddSite, inside: OddSite
) -> None:
    names.answer("sly.test", REFUSED_ADDRESSES[name])
    error = refusal(f"http://sly.test:{site.port}/", names, site)
    assert error.code == "address_not_allowed"
    assert site.connections == 0
    for address in REFUSED_ADDRESSES[name]:
        assert address not in str(error)


def test_the_systems_own_names_are_judged_too(site: OddSite, inside: OddSite) -> None:
    # Without a resolver of the test's own: /etc/hosts has this name on every machine.
    only = limits(site, allowed_hosts=(f"localhost:{site.port}",))
    with pytest.raises(FetchError) as caught:
        fetching.fetch(f"http://localhost:{site.port}/", only)
    assert caught.value.code == "address_not_allowed"


@pytest.mark.parametrize(
    "address", ["8.8.8.8", "93.184.215.14", "172.32.0.1", "100.128.0.1", "2606:4700::6810:84e5"]
)
def test_addresses_of_public_servers_are_public(address: str) -> None:
    assert addresses.is_public(ip_address(address))


# -- a name server that changes its mind ----------------------------------------------------------


def test_a_name_is_resolved_once_and_what_was_judged_is_what_is_connected_to(
    names: NameServer, site: OddSite, inside: OddSite
) -> None:
    names.answer("rebind.test", [PUBLIC], ["127.0.0.1"])
    fetched = fetch(f"http://rebind.test:{site.port}/", names, site)
    assert fetched.content == PICTURE
    assert names.asked == ["rebind.test"]
    # The name server has changed its mind by now, as the next question shows.
    assert names.resolve("rebind.test", 80) == ["127.0.0.1"]


def test_the_second_hop_to_the_same_name_is_judged_anew(
    names: NameServer, site: OddSite, inside: OddSite
) -> None:
    names.answer("rebind.test", [PUBLIC], ["127.0.0.1"])
    site.answer = redirecting("/again")
    error = refusal(f"http://rebind.test:{site.port}/", names, site)
    assert error.code == "address_not_allowed"
    assert site.connections == 1
    assert names.asked == ["rebind.test", "rebind.test"]


# -- redirects ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("location", "code"),
    [
        ("http://127.0.0.1:{port}/", "address_not_allowed"),
        ("//127.0.0.1:{port}/", "address_not_allowed"),
        ("http://inside.test:{port}/", "address_not_allowed"),
        ("http://[::ffff:127.0.0.1]:{port}/", "address_not_allowed"),
        ("http://169.254.169.254/latest/meta-data/", "address_not_allowed"),
        ("http://127.1:{port}/", "bad_url"),
        ("http://localhost:{port}/", "host_not_allowed"),
        ("http://user:secret@pictures.test:{port}/", "credentials_not_allowed"),
        ("\\\\127.0.0.1:{port}/", "bad_url"),
        ("http://[", "bad_url"),
        ("http://pictures.test:22/", "port_not_allowed"),
        ("file:///etc/passwd", "scheme_not_allowed"),
        ("gopher://127.0.0.1:{port}/", "scheme_not_allowed"),
    ],
)
def test_a_redirect_leads_nowhere_that_a_url_may_not(
    location: str, code: str, names: NameServer, site: OddSite, inside: OddSite
) -> None:
    names.answer("inside.test", ["127.0.0.1"])
    site.answer = redirecting(location.replace("{port}", str(site.port)))
    assert refusal(f"http://pictures.test:{site.port}/", names, site).code == code
    assert site.connections == 1


def test_a_fourth_redirect_is_one_too_many(names: NameServer, site: OddSite) -> None:
    site.answer = redirecting("/again")
    error = refusal(f"http://pictures.test:{site.port}/", names, site)
    assert error.code == "too_many_redirects"
    assert site.connections == 4


# -- seconds and bytes ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(dripping(ENDLESS, b"x", 0.02), id="a body that drips"),
        pytest.param(dripping(b"HTTP/1.1 200 OK\r\nX: ", b"x", 0.02), id="a header that drips"),
        pytest.param(dripping(b"", b"", 0.02), id="silence"),
        pytest.param(dripping(b"", b"HTTP/1.1 100 Go on\r\n\r\n", 0.02), id="100 for ever"),
        pytest.param(
            dripping(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n", 0.02),
            id="chunks that drip",
        ),
    ],
)
def test_a_slow_answer_ends_with_the_seconds_of_the_whole_fetch(
    answer: Any, names: NameServer, site: OddSite
) -> None:
    site.answer = answer
    started = time.monotonic()
    error = refusal(f"http://pictures.test:{site.port}/", names, site, seconds=0.3)
    assert error.code == "too_slow"
    assert time.monotonic() - started < 2


def test_the_seconds_are_for_all_hops_together(names: NameServer, site: OddSite) -> None:
    def slowly(connection: socket.socket) -> None:
        time.sleep(0.2)
        redirecting("/again")(connection)

    site.answer = slowly
    error = refusal(f"http://pictures.test:{site.port}/", names, site, seconds=0.5)
    assert error.code == "too_slow"


def test_a_name_server_that_is_silent_ends_it_too(site: OddSite) -> None:
    def never(host: str, port: int) -> list[str]:
        time.sleep(3)
        return []

    started = time.monotonic()
    with pytest.raises(FetchError) as caught:
        fetching.fetch("http://pictures.test/", limits(site, seconds=0.2), resolve=never)
    assert caught.value.code == "too_slow"
    assert time.monotonic() - started < 2


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(answering(b"", "Content-Length: 100001"), id="said before"),
        pytest.param(dripping(ENDLESS, b"x" * 65_536, 0), id="without a length"),
        pytest.param(
            dripping(
                b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
                b"10000\r\n" + b"x" * 65_536 + b"\r\n",
                0,
            ),
            id="in chunks",
        ),
        pytest.param(
            dripping(
                ENDLESS.replace(b"\r\n\r\n", b"\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n"),
                b"Trailer: x\r\n" * 1000,
                0,
            ),
            id="in trailers",
        ),
    ],
)
def test_an_answer_that_is_too_large_is_cut_off(
    answer: Any, names: NameServer, site: OddSite
) -> None:
    site.answer = answer
    error = refusal(f"http://pictures.test:{site.port}/", names, site)
    assert error.code == "too_many_bytes"
    assert "100,000 bytes" in str(error)


# -- answers that are none ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(dripping(b"SSH-2.0-OpenSSH_9.9\r\n", b"", 1), id="another protocol"),
        pytest.param(
            dripping(b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 200 + b"\r\n", b"", 1),
            id="very many headers",
        ),
        pytest.param(
            dripping(b"HTTP/1.1 200 OK\r\nX: " + b"y" * 70_000, b"", 1), id="a huge header"
        ),
        pytest.param(answering(b"\x1f\x8b", "Content-Encoding: gzip"), id="packed"),
        pytest.param(answering(b"only so", "Content-Length: 100"), id="broken off"),
        pytest.param(
            answering(b"ff\r\nonly so", "Transfer-Encoding: chunked"), id="chunks broken off"
        ),
        pytest.param(lambda connection: None, id="nothing"),
    ],
)
def test_an_answer_that_is_none_is_refused(answer: Any, names: NameServer, site: OddSite) -> None:
    site.answer = answer
    error = refusal(f"http://pictures.test:{site.port}/", names, site)
    assert error.code == "bad_answer"


@pytest.mark.parametrize(
    "status", ["204 No Content", "206 Partial", "304 Same", "404 No", "500 No"]
)
def test_only_a_whole_picture_is_taken(status: str, names: NameServer, site: OddSite) -> None:
    site.answer = answering(b"", status=status)
    error = refusal(f"http://pictures.test:{site.port}/", names, site)
    assert error.code == "bad_status"
    assert status.split()[0] in str(error)


def test_a_server_that_is_not_there_is_unreachable(names: NameServer, site: OddSite) -> None:
    names.answer("pictures.test", ["127.0.0.3"])
    assert refusal(f"http://pictures.test:{site.port}/", names, site).code == "unreachable"


def test_a_name_that_nobody_knows_is_unreachable(names: NameServer, site: OddSite) -> None:
    assert refusal("http://nobody.test/", names, site).code == "unreachable"


# -- TLS ------------------------------------------------------------------------------------------


@pytest.fixture
def secret(tmp_path: Path) -> Iterator[tuple[OddSite, Path]]:
    """A server with a certificate for pictures.test, and the file that makes it trusted."""
    ca_file, tls = certificate(tmp_path, "pictures.test")
    with odd_site(PUBLIC, tls=tls) as secret:
        secret.answer = answering(PICTURE)
        yield secret, ca_file


def test_a_picture_comes_over_tls(names: NameServer, secret: tuple[OddSite, Path]) -> None:
    site, ca_file = secret
    fetched = fetch(f"https://pictures.test:{site.port}/a.png", names, site, ca_file)
    assert fetched.content == PICTURE
    assert f"Host: pictures.test:{site.port}".encode() in site.requests[0]


def test_a_certificate_for_another_name_is_refused(
    names: NameServer, secret: tuple[OddSite, Path]
) -> None:
    site, ca_file = secret
    names.answer("other.test", [PUBLIC])
    error = refusal(f"https://other.test:{site.port}/", names, site, ca_file)
    assert error.code == "tls_failed"
    assert site.requests == []


def test_a_certificate_of_nobody_we_know_is_refused(
    names: NameServer, secret: tuple[OddSite, Path]
) -> None:
    site, _ = secret
    assert refusal(f"https://pictures.test:{site.port}/", names, site).code == "tls_failed"


def test_the_certificate_is_for_the_name_even_where_the_address_is_right(
    names: NameServer, secret: tuple[OddSite, Path]
) -> None:
    site, ca_file = secret
    error = refusal(f"https://{PUBLIC}:{site.port}/", names, site, ca_file)
    assert error.code == "tls_failed"


def test_a_redirect_from_https_to_http_is_refused(
    names: NameServer, site: OddSite, secret: tuple[OddSite, Path]
) -> None:
    secure, ca_file = secret
    secure.answer = redirecting(f"http://pictures.test:{site.port}/")
    ports = frozenset({site.port, secure.port})
    url = f"https://pictures.test:{secure.port}/"
    error = refusal(url, names, secure, ca_file, ports=ports)
    assert error.code == "downgrade_not_allowed"
    assert site.connections == 0


def test_a_redirect_from_http_to_https_is_followed(
    names: NameServer, site: OddSite, secret: tuple[OddSite, Path]
) -> None:
    secure, ca_file = secret
    site.answer = redirecting(f"https://pictures.test:{secure.port}/")
    ports = frozenset({site.port, secure.port})
    fetched = fetch(f"http://pictures.test:{site.port}/", names, site, ca_file, ports=ports)
    assert fetched.content == PICTURE


def test_a_handshake_that_does_not_end_is_too_slow(names: NameServer, site: OddSite) -> None:
    # It waits for the end of a request, and goes on waiting where it is greeted by TLS.
    started = time.monotonic()
    error = refusal(f"https://pictures.test:{site.port}/", names, site, seconds=0.3)
    assert error.code == "too_slow"
    assert time.monotonic() - started < 2


# -- lists of hosts -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("allowed", "host"),
    [
        ("pictures.test:{port}", "pictures.test"),
        ("Pictures.Test:{port}", "pictures.test"),
        (".test:{port}", "pictures.test"),
        (".pictures.test:{port}", "pictures.test"),
        ("127.0.0.2:{port}", PUBLIC),
    ],
)
def test_an_allowed_host_is_asked_at_its_port(
    allowed: str, host: str, names: NameServer, site: OddSite
) -> None:
    hosts = ("elsewhere.test", allowed.replace("{port}", str(site.port)))
    url = f"http://{host}:{site.port}/"
    fetched = fetch(url, names, site, allowed_hosts=hosts, ports=frozenset({80, 443}))
    assert fetched.content == PICTURE


@pytest.mark.parametrize(
    ("allowed", "code"),
    [
        ("elsewhere.test", "host_not_allowed"),
        (".pictures.test:{port}", "host_not_allowed"),
        ("ictures.test", "host_not_allowed"),
        ("my-pictures.test", "port_not_allowed"),
        ("my-pictures.test:8080", "port_not_allowed"),
    ],
)
def test_a_host_that_is_not_allowed_is_not_asked(
    allowed: str, code: str, names: NameServer, site: OddSite
) -> None:
    names.answer("my-pictures.test", [PUBLIC])
    hosts = (allowed.replace("{port}", str(site.port)),)
    ports = frozenset({80, 443})
    url = f"http://my-pictures.test:{site.port}/"
    error = refusal(url, names, site, allowed_hosts=hosts, ports=ports)
    assert error.code == code
    assert names.asked == []


def test_an_allowed_host_is_no_private_host(
    names: NameServer, site: OddSite, inside: OddSite
) -> None:
    names.answer("inside.test", ["127.0.0.1"])
    url = f"http://inside.test:{site.port}/"
    error = refusal(url, names, site, allowed_hosts=(f"inside.test:{site.port}",))
    assert error.code == "address_not_allowed"


@pytest.mark.parametrize("allowed", [(), ("elsewhere.test",)])
def test_a_private_host_may_be_of_our_own_network(
    allowed: tuple[str, ...], names: NameServer, site: OddSite
) -> None:
    names.answer("inside", ["127.0.0.1"])
    with odd_site("127.0.0.1") as inside:
        inside.answer = answering(PICTURE)
        private = (f"inside:{inside.port}",)
        fetched = fetch(
            f"http://inside:{inside.port}/",
            names,
            site,
            private_hosts=private,
            allowed_hosts=allowed,
        )
    assert fetched.content == PICTURE


@pytest.mark.parametrize("address", ["169.254.169.254", "fd00:ec2::254", "100.100.100.200", "::"])
def test_even_a_private_host_is_no_metadata_service(
    address: str, names: NameServer, site: OddSite
) -> None:
    names.answer("inside.test", [address])
    error = refusal("http://inside.test/", names, site, private_hosts=("inside.test",))
    assert error.code == "address_not_allowed"


def test_another_port_of_a_private_host_is_not_private(names: NameServer, site: OddSite) -> None:
    names.answer("inside.test", ["127.0.0.1"])
    error = refusal("http://inside.test/", names, site, private_hosts=("inside.test:9000",))
    assert error.code == "address_not_allowed"


@pytest.mark.parametrize(
    "text",
    [
        *("", ".", "*", "*.test", "http://a.test", "a.test/x", "a@b.test", "a.test:", "a.test:0"),
        *("::1", "127.1", ".127.0.0.1", "a b.test", "a.test:65536", "b\u00fccher.test"),
    ],
)
def test_a_rule_that_is_none_says_what_was_expected(text: str) -> None:
    with pytest.raises(ValueError, match=r"Expected .* Received: "):
        HostRule.parse(text)
