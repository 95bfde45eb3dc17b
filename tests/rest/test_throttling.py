"""Who the client is, behind any number of proxies."""

from typing import Any

from django.test import RequestFactory

from rest.throttling import address_in, client_address, network_of


def test_the_address_of_a_client_is_the_one_that_the_proxies_saw(settings: Any) -> None:
    def address(*forwarded: str) -> str:
        fields = [(b"x-forwarded-for", value.encode()) for value in forwarded]
        found = address_in({"headers": fields, "client": ("192.0.2.1", 1)})  # type: ignore[typeddict-item]
        more = {"HTTP_X_FORWARDED_FOR": ",".join(forwarded)} if forwarded else {}
        assert client_address(RequestFactory().get("/", REMOTE_ADDR="192.0.2.1", **more)) == found
        return found

    assert address() == address("198.51.100.1") == "192.0.2.1"
    settings.NUM_PROXIES = 1
    assert address() == "192.0.2.1"
    assert address("198.51.100.1") == address("invented, 198.51.100.1") == "198.51.100.1"
    assert address("invented", "198.51.100.1") == "198.51.100.1"
    settings.NUM_PROXIES = 2
    assert address("invented, 198.51.100.1, 192.0.2.7") == address("198.51.100.1, 192.0.2.7") == "198.51.100.1"
    assert address("192.0.2.7") == "192.0.2.7"


def test_an_ipv6_network_is_one() -> None:
    assert network_of("2001:db8::1") == network_of("[2001:db8::2]") != network_of("2001:db8:0:1::1")
    assert network_of("::ffff:192.0.2.1") == network_of(" 192.0.2.1") == "192.0.2.1"
    assert network_of("x" * 200) == "x" * 100
