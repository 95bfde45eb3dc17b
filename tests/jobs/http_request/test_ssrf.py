"""Which addresses http.request may call: public unicast ones, and those of hosts that a setting allows."""

from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.http_request.errors import Refused
from jobs.http_request.ssrf import blocked_kind, check_addresses

PUBLIC = "93.1.1.1"


@given(st.ip_addresses())
def test_an_address_that_may_be_called_is_global_for_the_standard_library_too(
    address: IPv4Address | IPv6Address,
) -> None:
    global_unicast = (getattr(address, "ipv4_mapped", None) or address).is_global and not address.is_multicast
    assert blocked_kind(str(address)) or global_unicast


@pytest.mark.parametrize("allowed", ["in.example", "IN.example", "in.example:8080"])
def test_an_allowed_host_may_have_any_address(allowed: str) -> None:
    check_addresses("in.example", 8080, ["10.0.0.7"], [allowed])


@pytest.mark.parametrize("allowed", ["::1", "[::1]", "[::1]:8080"])
def test_an_ipv6_address_is_allowed_with_and_without_brackets(allowed: str) -> None:
    check_addresses("::1", 8080, ["::1"], [allowed])


@pytest.mark.parametrize("allowed", ["in.example:81", "example", "a.in.example", "10.0.0.7"])
def test_allowing_a_host_allows_no_other_host_or_port(allowed: str) -> None:
    with pytest.raises(Refused, match=r"its address is private$"):
        check_addresses("in.example", 8080, [PUBLIC, "10.0.0.7"], [allowed])
