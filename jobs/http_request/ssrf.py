"""Guards http.request against server-side request forgery: decides which addresses may be called. Pure.

client.py resolves the host, has its addresses checked here, and connects to the very address that was checked.
"""

from collections.abc import Collection, Iterable
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

from jobs.http_request.errors import Refused

# IANA's special-purpose registries (RFC 6890), written out: `is_global` differs between Python releases.
_BLOCKED = {
    kind: [ip_network(network) for network in networks.split()]
    for kind, networks in {
        "unspecified": "0.0.0.0/8 ::/128",
        "loopback": "127.0.0.0/8 ::1/128",
        "link-local": "169.254.0.0/16 fe80::/10",
        "private": "10.0.0.0/8 172.16.0.0/12 192.168.0.0/16 fc00::/7 fec0::/10",
        "shared": "100.64.0.0/10",
        "multicast": "224.0.0.0/4 ff00::/8",
        "tunnelled": "192.88.99.0/24 2001::/32 2002::/16",
        "documentation": "192.0.2.0/24 198.51.100.0/24 203.0.113.0/24 2001:db8::/32 3fff::/20",
        # Everything outside 2000::/3, and Azure's address for its virtual machines, which lies in public space.
        "reserved": "192.0.0.0/24 198.18.0.0/15 240.0.0.0/4 168.63.129.16 2001::/23 ::/3 4000::/2 8000::/1",
    }.items()
}
_IPV4_EMBEDDED = (ip_network("::ffff:0:0/96"), ip_network("64:ff9b::/96"))


def check_addresses(host: str, port: int, addresses: Iterable[str], allowed_hosts: Collection[str]) -> None:
    """Raise Refused if any address of the host is blocked, unless the host is allowed.

    allowed_hosts: `intra.example`, `10.0.0.5:8080`, `::1`, `[::1]:8080`; without a port, every port is allowed.
    """
    if _is_allowed(host, port, allowed_hosts):
        return
    for address in addresses:
        # Names the kind, not the address: API users must not learn what a name resolves to in the internal network.
        if kind := blocked_kind(address):
            raise Refused(f"http.request may not call {host}: its address is {kind}")


def check_port(host: str, port: int, allowed_hosts: Collection[str], allowed_ports: Collection[int]) -> None:
    """Raise Refused for a port other than 80, 443 and the allowed ones, unless the host is allowed."""
    if port in (80, 443) or port in allowed_ports or _is_allowed(host, port, allowed_hosts):
        return
    allowed = ", ".join(map(str, sorted({80, 443, *allowed_ports})))
    raise Refused(f"http.request may not call port {port}; it calls the ports {allowed}")


def _is_allowed(host: str, port: int, allowed_hosts: Collection[str]) -> bool:
    bracketed = f"[{host}]" if ":" in host else host
    return not {host, bracketed, f"{bracketed}:{port}"}.isdisjoint(map(str.lower, allowed_hosts))


def blocked_kind(address: str) -> str | None:
    """Why this address may not be called, in a word; None for a public unicast address."""
    ip: IPv4Address | IPv6Address = ip_address(address)
    if any(ip in network for network in _IPV4_EMBEDDED):
        ip = IPv4Address(int(ip) & 0xFFFFFFFF)
    return next((kind for kind, networks in _BLOCKED.items() if any(ip in network for network in networks)), None)
