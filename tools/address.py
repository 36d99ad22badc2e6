"""Which addresses on the internet a tool may connect to."""

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any

_SPECIAL_V4 = tuple(
    map(
        ip_network,
        (
            "0.0.0.0/8",
            "10.0.0.0/8",
            "100.64.0.0/10",
            "127.0.0.0/8",
            "169.254.0.0/16",
            "172.16.0.0/12",
            "192.0.0.0/24",
            "192.0.2.0/24",
            "192.88.99.0/24",
            "192.168.0.0/16",
            "198.18.0.0/15",
            "198.51.100.0/24",
            "203.0.113.0/24",
            "224.0.0.0/4",
            "240.0.0.0/4",
        ),
    )
)
"""IANA's registry of special-purpose IPv4 addresses (RFC 6890 and later), multicast and reserved.
The `is_global` of `ipaddress` differs between patch releases of Python."""

_GLOBAL_V6 = ip_network("2000::/3")
_SPECIAL_V6 = tuple(map(ip_network, ("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20")))
"""The only block that IANA gives addresses out of, and what is special in it: Teredo and other
protocols, documentation, 6to4."""

_EMBEDDING = (IPv6Network("::ffff:0:0/96"), IPv6Network("64:ff9b::/96"))
"""IPv4-mapped addresses and NAT64, which reach the IPv4 address in their last 32 bits."""

_ISATAP = (0x0000_5EFE, 0x0200_5EFE)

METADATA = tuple(
    map(
        ip_address,
        (
            "169.254.169.254",  # AWS, Google, Azure and others
            "169.254.170.2",  # AWS ECS
            "169.254.170.23",  # AWS EKS
            "100.100.100.200",  # Alibaba
            "168.63.129.16",  # Azure's wire server, in the midst of public addresses
            "192.0.0.192",  # Oracle
            "fd00:ec2::254",  # AWS
            "fd00:ec2::23",  # AWS EKS
            "fd20:ce::254",  # Google
        ),
    )
)
"""Where clouds hand out credentials to whoever asks from inside: never connected to."""

Network = Any
"""An IPv4 or IPv6 network, as `ipaddress.ip_network` gives it."""


def refusal(address: str, allowed: Sequence[Network] = ()) -> str:
    """Why `address` is not connected to; an empty text if it is public, or in an `allowed` network.

    >>> refusal("93.184.216.34")
    ''
    >>> refusal("::ffff:10.0.0.1")
    '10.0.0.1 is not public'
    >>> refusal("10.0.0.1", [ip_network("10.0.0.0/8")])
    ''
    """
    reached = _reached(ip_address(address))
    if reached in METADATA:
        return f"{reached} hands out credentials"
    if any(reached in network for network in allowed) or _public(reached):
        return ""
    return f"{reached} is not public"


def _reached(address: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    """The address that is reached in the end."""
    if isinstance(address, IPv6Address) and any(address in network for network in _EMBEDDING):
        return IPv4Address(int(address) & 0xFFFF_FFFF)
    return address


def _public(address: IPv4Address | IPv6Address) -> bool:
    if isinstance(address, IPv4Address):
        return not any(address in network for network in _SPECIAL_V4)
    if int(address) >> 32 & 0xFFFF_FFFF in _ISATAP:
        return False
    return address in _GLOBAL_V6 and not any(address in network for network in _SPECIAL_V6)
