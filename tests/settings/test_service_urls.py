"""BROKER_URL and CACHE_URL: what cannot work is refused at the start, and what is accepted works, TLS included."""

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.cache.backends.redis import RedisCache
from django.core.exceptions import ImproperlyConfigured
from redis.connection import Connection, SSLConnection
from redis.exceptions import ConnectionError as Refused

from demo.processes import free_port
from jobs.brokers.redis import Redis as RedisBroker
from settings import env
from tests.support.brokers import broker_setting
from tests.support.servers.folders import make_folder, server_user
from tests.support.servers.redis import Redis

CERTIFICATE = (
    "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=redis "
    "-addext subjectAltName=IP:127.0.0.1 -out certificate.pem -keyout key.pem"
)

BAD_REDIS = [
    "redis://127.0.0.1:abc/0",
    "redis://h:99999",
    "redis://h:0/0",
    "redis:127.0.0.1",
    "redis:///0",
    "redis://",
    "rediss://",
    "redis://:6379/0",
    "redis://two words/0",
    "redis://[h/0",
    "redis://h/0?foo=1",
    "redis://h/0?db=1",
    "redis://h/0?socket_timeout=soon",
    "redis://h/0?ssl_cert_reqs=none",
    "redis://h/0#1",
    "redis://h/notanumber",
    "redis://h/0/1",
    "redis://h/-1",
    "rediss://h/0?foo=1",
    "rediss://h/0?ssl_cert_reqs=maybe",
    "rediss://h/0?ssl_check_hostname=",
    "rediss://h/0?ssl_ca_certs=/no/such/file",
    "rediss://h/0?ssl_cert_reqs=none&ssl_cert_reqs=required",
]
BAD_BROKERS = [
    *BAD_REDIS,
    "",
    "nonsense",
    "amqp://host",
    "orm://host",
    "sqs:",
    "sqs://eu-west-1",
    "sqs:///queue",
    "redis://h/0?socket_timeout=60",
    "sqs://[abc/q",
    "sqs://eu west 1/q",
    "sqs://eu-west-1:443/q",
    "sqs://key:secret@eu-west-1/q",
    "sqs://eu-west-1/a/b",
    "sqs://eu-west-1/q.fifo",
    "sqs://eu-west-1/q q",
    f"sqs://eu-west-1/{'q' * 81}",
    "sqs://eu-west-1/q?endpoint=localhost:9324",
    "sqs://eu-west-1/q?endpoint=http://",
    "sqs://eu-west-1/q?endpoint=http://localhost:port",
    "sqs://eu-west-1/q?endpoint=",
    "sqs://eu-west-1/q?endpoint",
    "sqs://eu-west-1/q?enpoint=http://localhost:9324",
    "sqs://eu-west-1/q?endpoint=http://a&endpoint=http://b",
]
GOOD_REDIS = [
    "redis://127.0.0.1",
    "redis://127.0.0.1:6379",
    "redis://cache.example.org:6380/15",
    "redis://user:p%40ss@cache_1:6379/",
    "redis://:pass@[::1]:6379/1",
]
GOOD_BROKERS = [
    *GOOD_REDIS,
    "orm://",
    "rediss://user:pass@broker.example.org:6380/0?ssl_cert_reqs=none",
    "sqs://eu-west-1/legwork",
    "sqs://us-gov-east-1/Leg_work-2?endpoint=https://vpce-1.sqs.example.org/",
    f"sqs://elasticmq/{'q' * 80}?endpoint=http://localhost:9324",
]


def cache(url: str) -> dict[str, Any]:
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("CACHE_URL", url)
        return env.cache("CACHE_URL")


@pytest.mark.parametrize("url", BAD_BROKERS)
def test_an_invalid_broker_url_is_refused_in_one_sentence(url: str) -> None:
    with pytest.raises(ImproperlyConfigured, match=r"\ABROKER_URL [^\n]+\.\Z"):
        broker_setting(url)


@pytest.mark.parametrize("url", [*BAD_REDIS, "", "nonsense", "locmem", "locmem://there", "memcached://there"])
def test_an_invalid_cache_url_is_refused_in_one_sentence(url: str) -> None:
    with pytest.raises(ImproperlyConfigured, match=r"\ACACHE_URL [^\n]+\.\Z"):
        cache(url)


@pytest.mark.parametrize("url", GOOD_BROKERS)
def test_a_valid_broker_url_is_accepted(url: str) -> None:
    assert broker_setting(url)["url"] == url


@pytest.mark.parametrize("url", [*GOOD_REDIS, "rediss://h", "redis://h?socket_timeout=2.5", "locmem://"])
def test_a_valid_cache_url_is_accepted(url: str) -> None:
    assert cache(url).get("LOCATION", url) == url


def test_no_password_is_shown_by_a_refusal() -> None:
    with pytest.raises(ImproperlyConfigured) as refusal:
        broker_setting("redis://user:secret@h:6379/0?foo=1")
    assert "secret" not in str(refusal.value)


@pytest.mark.parametrize(("url", "kind"), [("redis://h", Connection), ("rediss://h?ssl_cert_reqs=none", SSLConnection)])
def test_rediss_is_spoken_over_tls_and_redis_is_not(url: str, kind: type, settings: Any) -> None:
    settings.BROKER = broker_setting(url)
    made = RedisBroker.get_connection().connection_pool.make_connection()
    assert type(made) is kind


@pytest.fixture
def tls() -> Iterator[tuple[Redis, Path]]:
    """A Redis that also speaks TLS, and the certificate that it shows."""
    folder = make_folder("tls")
    subprocess.run(CERTIFICATE.split(), cwd=folder, user=server_user(), check=True, capture_output=True)
    certificate, key = str(folder / "certificate.pem"), str(folder / "key.pem")
    files = {"tls-cert-file": certificate, "tls-key-file": key, "tls-ca-cert-file": certificate}
    with Redis(settings={"tls-port": str(free_port()), "tls-auth-clients": "no", **files}) as server:
        yield server, folder / "certificate.pem"
    shutil.rmtree(folder)


def test_broker_and_cache_work_over_tls(tls: tuple[Redis, Path], settings: Any) -> None:
    server, certificate = tls
    url = f"rediss://127.0.0.1:{server.settings['tls-port']}/0?ssl_ca_certs={certificate}"
    settings.BROKER = broker_setting(url)
    jobs = RedisBroker("legwork")
    jobs.enqueue("a signed package")
    assert [package for _, package in jobs.dequeue()] == ["a signed package"]

    shared = cache(url)
    RedisCache(shared["LOCATION"], {"OPTIONS": shared["OPTIONS"]}).set("key", "value")
    assert server.command("SELECT", "0") == "+OK"
    assert server.command("EXISTS", ":1:key") == ":1"


@pytest.mark.parametrize(("option", "trusted"), [("", False), ("?ssl_cert_reqs=none", True)])
def test_a_certificate_of_an_unknown_authority_is_taken_only_if_the_url_says_so(
    tls: tuple[Redis, Path], option: str, trusted: bool, settings: Any
) -> None:
    server, _ = tls
    settings.BROKER = broker_setting(f"rediss://127.0.0.1:{server.settings['tls-port']}/0{option}")
    connection = RedisBroker.get_connection()
    if trusted:
        assert connection.ping()
    else:
        with pytest.raises(Refused, match="certificate"):
            connection.ping()
