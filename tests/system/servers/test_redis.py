"""The private Redis that other tests use."""

from collections.abc import Iterator

import pytest

from tests.support.servers.redis import Redis


@pytest.fixture
def redis() -> Iterator[Redis]:
    with Redis() as server:
        yield server


def test_it_answers_commands(redis: Redis) -> None:
    assert redis.command("RPUSH", "queue", "a", "b") == ":2"
    assert redis.command("FLUSHALL") == "+OK"
    assert redis.command("LLEN", "queue") == ":0"


@pytest.mark.parametrize("mode", ["fast", "kill"])
def test_it_comes_back_at_the_same_address_with_nothing_left(redis: Redis, mode: str) -> None:
    address = redis.url()
    redis.command("SET", "key", "value")
    redis.restart(mode)
    assert redis.url() == address
    assert redis.command("GET", "key") == "$-1"


def test_it_may_be_told_to_keep_what_it_holds() -> None:
    with Redis(settings={"appendonly": "yes", "appendfsync": "always"}) as server:
        server.command("SET", "key", "value")
        server.restart("kill")
        assert server.command("EXISTS", "key") == ":1"


def test_a_removed_server_leaves_nothing(redis: Redis) -> None:
    redis.remove()
    assert not redis.folder.exists()
    with pytest.raises(ConnectionError):
        redis.command("PING")
