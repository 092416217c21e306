"""Which addresses a webhook may have: those of the internet, and no other unless it is allowed.

A service that sends requests wherever it is told is a way into the network around it. So a
host's addresses are looked up once, each is judged, and the connection goes to one that was:
a name that leads elsewhere a moment later changes nothing.
"""

from __future__ import annotations

import asyncio
import ipaddress
import re
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import httpx

from ledger_core.errors import SettingsError

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
LookUp = Callable[[str, int], Awaitable[list[Address]]]

_HOST = re.compile(rb"[A-Za-z0-9._:-]{1,253}")
_METADATA = frozenset(
    map(
        ipaddress.ip_address,
        ("169.254.169.254", "169.254.170.2", "100.100.100.200", "192.0.0.192", "fd00:ec2::254"),
    )
)
"""Where clouds hand out credentials: never a webhook."""
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_TRANSLATED = tuple(map(ipaddress.ip_network, ("64:ff9b:1::/48", "2002::/16", "2001::/32")))


class Undelivered(Exception):
    """Why an alert did not arrive; says nothing of the URL but its host."""


class Again(Undelivered):
    """It may arrive later; after so many seconds, if the other side said."""

    def __init__(self, message: str, after_s: float | None = None) -> None:
        super().__init__(message)
        self.after_s = after_s


@dataclass(frozen=True)
class Target:
    """A webhook. ``url`` is a secret: that of Slack is all that is needed to write there."""

    url: httpx.URL
    allows_private: bool = False

    @property
    def host(self) -> str:
        """The host's name, which may be told."""
        return self.url.host

    @property
    def port(self) -> int:
        return self.url.port or (443 if self.url.scheme == "https" else 80)


def parse_target(url: str, *, allows_private: bool = False) -> Target:
    """Read a webhook's URL. Errors never repeat it."""
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL:
        raise SettingsError("the webhook's URL is none") from None
    is_host = _HOST.fullmatch(parsed.raw_host) is not None
    if parsed.scheme not in ("https", "http") or not is_host or parsed.userinfo:
        raise SettingsError("a webhook's URL is https://HOST/…, without a user in it")
    if parsed.scheme == "http" and not allows_private:
        raise SettingsError("a webhook's URL begins with https")
    return Target(parsed.copy_with(fragment=None), allows_private)


async def look_up(host: str, port: int) -> list[Address]:
    """Ask the system for a host's addresses; raises :class:`OSError`."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [ipaddress.ip_address(str(each[4][0]).partition("%")[0]) for each in found]


async def resolve(target: Target, look_up: LookUp = look_up) -> list[Address]:
    """Return a target's addresses; raise :class:`Undelivered` if one of them is not allowed."""
    try:
        addresses = await look_up(target.host, target.port)
    except OSError:
        raise Again(f"{target.host}: its name leads to no address") from None
    for address in addresses:
        check_address(address, target)
    return list(dict.fromkeys(addresses))


def check_address(address: Address, target: Target) -> None:
    """Raise :class:`Undelivered` unless a request may be sent there."""
    real = _unwrap(address)
    if real in _METADATA or not _may_exist(real):
        raise Undelivered(f"{target.host}: no webhook is asked at such an address")
    if target.url.scheme == "http" and not real.is_loopback:
        raise Undelivered(f"{target.host}: without TLS it must be on this machine")
    if not (real.is_global or target.allows_private):
        raise Undelivered(f"{target.host} leads into a private network (ALERT_ALLOW_PRIVATE)")


def _may_exist(address: Address) -> bool:
    return not (
        address.is_link_local
        or address.is_multicast
        or address.is_unspecified
        or (address.is_reserved and not address.is_loopback)
        or any(address in network for network in _TRANSLATED)
    )


def _unwrap(address: Address) -> Address:
    """Return the IPv4 address that an IPv6 address stands for, if it does."""
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return address.ipv4_mapped
        if address in _NAT64:
            return ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF)
    return address
