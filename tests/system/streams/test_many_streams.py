"""500 streams on one web process while its replica, the process itself and its database fail, one after the other."""

from collections.abc import Iterator
from contextlib import ExitStack

import psycopg2
import pytest

from demo.eventually import eventually
from tests.support.followers import Followers
from tests.support.replica_stack import make_primary
from tests.support.servers.standby import Standby, ask
from tests.support.stack import Stack
from tests.support.timeouts import PATIENCE

pytestmark = [pytest.mark.stack, pytest.mark.xdist_group("many streams")]

STREAMS = 500
LATER = {"kind": "demo.countdown", "run_at": "2100-01-01T00:00:00Z"}
LONG_EVERY, LONG = 25, 2
"""One of so many jobs takes so many seconds, so that it is running during failures."""
RELEASE = """
    UPDATE jobs_job SET status = 'queued', run_at = now()
    WHERE id IN (SELECT id FROM jobs_job WHERE status = 'scheduled' ORDER BY id LIMIT {})
"""
WITHIN = 3 * PATIENCE
SUCCEEDED = "SELECT count(*) FROM jobs_job WHERE status = 'succeeded'"


@pytest.fixture
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Stack, Standby]]:
    with ExitStack() as servers:
        primary = make_primary()
        servers.callback(primary.remove)
        standby = Standby(primary)
        servers.callback(standby.remove)
        standby.start()
        env = {"WORKERS": "2", "IO_WORKERS": "1", "WEB_THREADS": "4", "REPLICA_URLS": standby.url("legwork")}
        folder = tmp_path_factory.mktemp("many_streams")
        yield servers.enter_context(Stack(primary.url("legwork"), folder, env=env)), standby


def test_through_all_failures_every_watcher_is_told_the_end_and_nothing_twice(stack: tuple[Stack, Standby]) -> None:
    legwork, standby = stack
    primary = standby.primary
    database = legwork.env["DATABASE_URL"]
    jobs = post(legwork)

    with Followers(legwork.url, legwork.client().token, jobs) as followers:

        def told(least: int) -> None:
            eventually(lambda: followers.with_the_end >= least, WITHIN, f"{least} watchers knowing the end")

        eventually(lambda: followers.connected == STREAMS, WITHIN, "the opening of all streams")

        ask(database, RELEASE.format(100))
        told(20)
        standby.stop("kill")
        told(80)

        # Some jobs end while the web process is down, and the watchers reconnect while the replica is out.
        ask(database, RELEASE.format(150))
        told(150)
        legwork.kill("web")
        ended = ask(database, SUCCEEDED)[0]
        eventually(lambda: followers.connected == 0, PATIENCE, "the end of all streams")
        ask(database, RELEASE.format(50))
        eventually(lambda: ask(database, SUCCEEDED)[0] >= ended + 50, WITHIN, "the end of more jobs")
        legwork.revive()
        told(280)
        unfinished = [job for job, follower in followers.each.items() if not follower.has_the_end]
        standby.start()

        ask(database, RELEASE.format(100))
        told(330)
        primary.restart("fast")
        eventually(lambda: released(database, 100), PATIENCE, "the release of the last jobs")
        told(STREAMS)

    assert {follower.status for follower in followers.each.values()} == {"succeeded"}
    for job, follower in followers.each.items():
        ids = [event.id for event in follower.told]
        assert ids == sorted(set(ids)), f"told twice, or out of order: {follower}"
        assert follower.told[-1].job == legwork.client().job(job)
    assert all(followers.each[job].connections >= 2 for job in unfinished)
    assert "Traceback" not in legwork.web.log.read_text()


def post(legwork: Stack) -> list[str]:
    """The ids of jobs that are not due yet."""
    bodies = [LATER | {"params": {"seconds": 0 if number % LONG_EVERY else LONG}} for number in range(STREAMS)]
    answer = legwork.client().post("jobs/batch/", {"jobs": bodies}, expect=202).json()
    return [result["id"] for result in answer["results"]]


def released(database: str, count: int) -> bool:
    """False while the database is starting."""
    try:
        ask(database, RELEASE.format(count))
    except psycopg2.OperationalError:
        return False
    return True
