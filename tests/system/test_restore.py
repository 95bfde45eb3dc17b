"""Backups as docs/operations/backup.md has them: what happens with jobs and mail of the time after the backup."""

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from demo.eventually import eventually
from tests.support.cluster_stack import ClusterStack
from tests.support.servers.backups import Archive, PointInTime, dump, restore
from tests.support.servers.postgresql import PostgreSQL
from tests.support.servers.redis import Redis
from tests.support.servers.simulator import Simulator
from tests.support.servers.standby import ask
from tests.support.timeouts import PATIENCE

pytestmark = [pytest.mark.stack, pytest.mark.xdist_group("restore")]

PAUSE = 0.1
SENT = {"sent", "delivered"}


@pytest.fixture
def mailgun() -> Iterator[Simulator]:
    with Simulator() as running:
        yield running


@pytest.fixture
def server() -> Iterator[PostgreSQL]:
    with PostgreSQL(durable=True) as running:
        yield running


def make_cluster_stack(url: str, folder: Path, mailgun: Simulator, broker: str) -> ClusterStack:
    """A stack without a cluster."""
    folder.mkdir()
    settled = {"MAIL_SETTLED_AFTER": "3", "MAIL_CHECK_DNS": "0"}
    return ClusterStack(url, folder, clusters=0, env={**mailgun.env, **settled, "BROKER_URL": broker})


def post_mail(stack: ClusterStack, local: str) -> dict[str, Any]:
    body = {"to": f"{local}@example.org", "subject": "Hi", "text": "There"}
    posted: dict[str, Any] = stack.client().post("mail/messages/", body, expect=202).json()
    return posted


def told(job: dict[str, Any]) -> list[object]:
    return [job[name] for name in ("status", "attempt", "started_at", "finished_at", "result")]


def wait_until_sent(stack: ClusterStack, message: dict[str, Any]) -> dict[str, Any]:
    def sent() -> dict[str, Any] | None:
        found: dict[str, Any] = stack.client().get(f"mail/messages/{message['id']}/", expect=200).json()
        return found if found["status"] in SENT else None

    found = eventually(sent, PATIENCE, f"{message['to']} being sent", pause=PAUSE)
    assert found
    return found


def test_after_a_restore_nothing_that_was_finished_runs_and_no_mail_goes_out_twice(
    server: PostgreSQL, mailgun: Simulator, redis_server: Redis, tmp_path: Path
) -> None:
    """Redis still holds the ids of jobs that the restored database does not know."""
    file = tmp_path / "legwork.dump"
    broker = redis_server.url(5)
    with make_cluster_stack(server.create_database("before"), tmp_path / "before", mailgun, broker) as stack:
        cluster = stack.start_cluster(io_workers=1)
        finished = stack.wait(stack.post("demo.countdown", {"seconds": 0}), "succeeded")
        cluster.stop()
        waiting = stack.post("demo.countdown", {"seconds": 0})
        mail = [post_mail(stack, f"mail{number}") for number in range(3)]
        dump(server.url("before"), file)
        cluster.start()
        for message in mail:
            wait_until_sent(stack, message)
        stack.wait(waiting, "succeeded")
        cluster.stop()
        lost = stack.post("demo.countdown", {"seconds": 0})
        never_sent = post_mail(stack, "lost")
    restored = restore(file, server.url(), "after")
    with make_cluster_stack(restored, tmp_path / "after", mailgun, broker) as stack:
        assert "3 messages" in stack.manage("after_restore")
        stack.start_cluster(io_workers=1)
        for message in mail:
            wait_until_sent(stack, message)
        stack.wait(waiting, "succeeded")
        assert told(stack.client().job(finished["id"])) == told(finished)
        assert not stack.events("job_started", job_id=finished["id"])
        for unknown in (f"jobs/{lost['id']}/", f"mail/messages/{never_sent['id']}/"):
            stack.client().get(unknown, expect=404)
        stack.wait(stack.post("demo.countdown", {"seconds": 0}), "succeeded")
    assert [mailgun.accepted(message["id"]) for message in mail] == [1, 1, 1]


def test_a_point_in_time_before_a_mistake_is_restored() -> None:
    archive = Archive()
    with PostgreSQL(durable=True, settings=archive.settings) as source:
        url = source.create_database("legwork")
        later = PointInTime(source, archive)
        try:
            ask(url, "CREATE TABLE job AS SELECT 1 AS number")
            (moment,) = ask(url, "SELECT clock_timestamp()")
            ask(url, "DROP TABLE job")
            (segment,) = ask(url, "SELECT pg_walfile_name(pg_switch_wal())")
            eventually(lambda: (archive.folder / segment).exists(), PATIENCE, "the archive", pause=PAUSE)
            later.recover_to(_as_text(moment))
            later.start()
            eventually(lambda: ask(later.url(), "SELECT NOT pg_is_in_recovery()")[0], PATIENCE, "recovery", pause=PAUSE)
            assert ask(later.url("legwork"), "SELECT number FROM job") == (1,)
        finally:
            later.remove()
            archive.remove()


def _as_text(moment: datetime) -> str:
    return moment.isoformat(" ")
