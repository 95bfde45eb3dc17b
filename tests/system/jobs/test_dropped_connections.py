"""A network that drops a worker's connection without a word: the worker has a new one long before its lease is over."""

import json
import socket
import subprocess
import sys

import pytest
from django.db import connection

from jobs.models.queue.leases import LEASE
from jobs.worker.heartbeat import CHECK_EVERY, RENEW_EVERY
from settings import env
from tests.support.timeouts import PATIENCE, lost_time

TOLD_WITHIN = max(
    env.NETWORK["tcp_user_timeout"] / 1000,
    env.NETWORK["keepalives_idle"] + env.NETWORK["keepalives_interval"] * env.NETWORK["keepalives_count"],
)
"""Seconds until the client of a dropped connection is told, with a request that was acknowledged and without."""
SLACK = 2.0
UNSHARE = ["unshare", "--net"]


def can_have_a_network_of_its_own() -> bool:
    try:
        return subprocess.run([*UNSHARE, "ip", "rule"], capture_output=True, check=False).returncode == 0
    except OSError:
        return False


def test_after_a_dropped_connection_there_is_time_for_several_tries_to_renew_the_lease() -> None:
    worst = RENEW_EVERY + TOLD_WITHIN + CHECK_EVERY + env.NETWORK["connect_timeout"]
    assert worst + 3 * (CHECK_EVERY + env.NETWORK["connect_timeout"]) < LEASE.total_seconds()
    assert worst < 20


@pytest.mark.django_db
@pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite is reached without a network.")
def test_the_connection_to_the_database_has_these_limits() -> None:
    connection.ensure_connection()
    with socket.socket(fileno=connection.connection.fileno()) as found:
        try:
            options = {
                "tcp_user_timeout": found.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT),
                "keepalives_idle": found.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE),
                "keepalives_interval": found.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL),
                "keepalives_count": found.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT),
            }
            assert found.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        finally:
            found.detach()
    assert options == {name: env.NETWORK[name] for name in options}


@pytest.mark.skipif(not can_have_a_network_of_its_own(), reason="It needs root and the programs unshare and ip.")
def test_a_dropped_connection_ends_as_soon_as_its_limits_say() -> None:
    with lost_time() as lost:
        command = [*UNSHARE, sys.executable, "-m", "tests.system.jobs.dropped_connections"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=3 * PATIENCE, check=False)
    assert done.returncode == 0, done.stderr
    seconds = json.loads(done.stdout.splitlines()[-1])
    assert sorted(seconds) == ["answer lost", "not acknowledged"]
    assert max(seconds.values()) < TOLD_WITHIN + SLACK + lost()
