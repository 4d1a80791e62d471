"""Which network addresses are everybody's, and which belong to this machine or its neighbours.

A server that connects where a stranger tells it to must reach nothing that the stranger could
not reach without it. What is public here is deliberately less than what may be routed: of IPv6 only
the global unicast space, and of that nothing that carries an IPv4 address inside.
"""

from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

# IANA's special-purpose registries for IPv4 and IPv6, and services that answer to whoever asks
# from inside a cloud.
_NOT_PUBLIC = tuple(
    ip_network(network)
    for network in (
        "0.0.0.0/8",  # this network
        "10.0.0.0/8",  # private
        "100.64.0.0/10",  # carrier-grade NAT; Alibaba's metadata at 100.100.100.200
        "127.0.0.0/8",  # loopback
        "168.63.129.16/32",  # Azure's platform services
        "169.254.0.0/16",  # link-local, and the metadata of most clouds
        "172.16.0.0/12",  # private
        "192.0.0.0/24",  # protocol assignments; Oracle's metadata at 192.0.0.192
        "192.0.2.0/24",  # documentation
        "192.31.196.0/24",  # AS112
        "192.52.193.0/24",  # automatic multicast tunnelling
        "192.88.99.0/24",  # 6to4 relays
        "192.168.0.0/16",  # private
        "192.175.48.0/24",  # AS112
        "198.18.0.0/15",  # benchmarking
        "198.51.100.0/24",  # documentation
        "203.0.113.0/24",  # documentation
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, broadcast
        "2001::/23",  # protocol assignments: Teredo, benchmarking, ORCHID
        "2001:db8::/32",  # documentation
        "2002::/16",  # 6to4
        "2620:4f:8000::/48",  # AS112
        "3ffe::/16",  # the former 6bone
        "3fff::/20",  # documentation
    )
)
# All else of IPv6 is loopback, mapped and compatible forms, NAT64, local, multicast or unassigned.
_GLOBAL_UNICAST = IPv6Network("2000::/3")
# RFC 5214: the interface identifier of an address that tunnels IPv6 within a site's IPv4.
_ISATAP = frozenset({0x00005EFE, 0x02005EFE})

_PRIVATE = tuple(
    ip_network(network)
    for network in (
        "10.0.0.0/8",
        "100.64.0.0/10",
        "127.0.0.0/8",
        "172.16.0.0/12",
        "192.168.0.0/16",
        "::1/128",
        "fc00::/7",
    )
)
# Inside the private ranges, and never what somebody means by a private host.
_METADATA = frozenset(
    ip_address(address)
    for address in ("100.100.100.200", "fd00:ec2::23", "fd00:ec2::254", "fd20:ce::254")
)


def is_public(address: Address) -> bool:
    """Whether anybody on the Internet could connect to the address by themselves."""
    if isinstance(address, IPv6Address) and not _is_plain_unicast(address):
        return False
    return address.is_global and not any(address in network for network in _NOT_PUBLIC)


def is_private(address: Address) -> bool:
    """Whether a machine of one's own may have the address: private ranges and loopback.

    Neither link-local addresses nor a cloud's metadata service.
    """
    if isinstance(address, IPv6Address) and address.scope_id is not None:
        return False
    return address not in _METADATA and any(address in network for network in _PRIVATE)


def _is_plain_unicast(address: IPv6Address) -> bool:
    if address.scope_id is not None or address not in _GLOBAL_UNICAST:
        return False
    return (int(address) >> 32) & 0xFFFFFFFF not in _ISATAP
