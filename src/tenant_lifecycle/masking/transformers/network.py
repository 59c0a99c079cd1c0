"""Addresses of machines: ranges that are kept for documentation, so that nothing is routed anywhere.

RFC 5737 (IPv4), RFC 3849 (IPv6), locally administered MAC addresses, hosts of RFC 2606.
"""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network, ip_address, ip_interface, ip_network
from urllib.parse import urlsplit

from tenant_lifecycle.masking.classes import DataClass, Guarantee, Rule
from tenant_lifecycle.masking.keying import normal
from tenant_lifecycle.masking.setting import Setting, Transform
from tenant_lifecycle.masking.transformers.kind import Kind, classes

DOCUMENTATION = (IPv4Network("192.0.2.0/24"), IPv4Network("198.51.100.0/24"), IPv4Network("203.0.113.0/24"))
DOCUMENTATION_6 = IPv6Network("2001:db8::/32")
#: Where callbacks go: nobody, RFC 6761.
SINK = "sink.invalid"


def documentation_ip(setting: Setting, value: str) -> str:
    """An address of the ranges, or a network where the value is one; what is no address becomes the range's first."""
    try:
        written = ip_interface(value.strip())
    except ValueError:
        return str(DOCUMENTATION[0][0])
    number = setting.key.number("network.ip", str(written), 1 << 64)
    if written.version == 6:
        address = str(ip_address(int(DOCUMENTATION_6[0]) + number))
    else:
        address = str(DOCUMENTATION[number % 3][1 + (number >> 8) % 254])
    if "/" not in value:
        return address
    length = max(written.network.prefixlen, 32 if written.version == 6 else 24)
    if int(written.ip) == int(written.network.network_address):
        return str(ip_network(f"{address}/{length}", strict=False))
    return f"{address}/{length}"


def is_documentation(value: str) -> bool:
    """Whether the address is of the ranges, or of this machine."""
    address = ip_interface(value.strip()).ip
    return (
        address.is_loopback
        or address.is_unspecified
        or any(address in one for one in (*DOCUMENTATION, DOCUMENTATION_6))
    )


def _ip(_rule: Rule, setting: Setting) -> Transform:
    return lambda value, _row: documentation_ip(setting, value) if value.strip() else value


def local_mac(setting: Setting, value: str) -> str:
    """Locally administered: of no maker."""
    separator = "-" if "-" in value else ":"
    digits = f"{0x02 << 40 | setting.key.number('network.mac', normal(value), 1 << 40):012x}"
    return separator.join(digits[at : at + 2] for at in range(0, 12, 2))


def _mac(_rule: Rule, setting: Setting) -> Transform:
    return lambda value, _row: local_mac(setting, value)


def reserved_url(setting: Setting, value: str) -> str:
    """Scheme kept; host, path and everything that may carry a name or a token made up."""
    try:
        scheme = urlsplit(value).scheme or "https"
    except ValueError:
        scheme = "https"
    digits = setting.key.digest("network.url", value).hex()
    host = setting.key.digest("network.host", _host(value)).hex()[:8]
    return f"{scheme}://host-{host}.example/{digits[:16]}"


def _host(value: str) -> str:
    try:
        return (urlsplit(value).hostname or "").casefold()
    except ValueError:
        return ""


def _url(_rule: Rule, setting: Setting) -> Transform:
    return lambda value, _row: reserved_url(setting, value) if value.strip() else value


def _sink(_rule: Rule, setting: Setting) -> Transform:
    """Where a copy would call out: the sink, and which one of them it was."""
    return lambda value, _row: f"https://{SINK}/{setting.key.digest('network.sink', value).hex()[:16]}"


_PERSONAL = classes(DataClass.DIRECT, DataClass.QUASI, DataClass.SIDE_EFFECT)
KINDS = (
    Kind("ip", Guarantee.LOSSY, _PERSONAL, _ip),
    Kind("mac", Guarantee.NOT_GUARANTEED, _PERSONAL, _mac),
    Kind("url", Guarantee.NOT_GUARANTEED, _PERSONAL, _url),
    Kind("sink", Guarantee.NOT_GUARANTEED, classes(DataClass.SIDE_EFFECT), _sink),
)
