"""The feed on a real database: what it learns by notifications, by polling, and after its connection was cut."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any
from uuid import UUID

import psycopg2
import pytest
from django.db import connection, transaction

from demo.eventually import eventually
from jobs.api.watching import JOBS
from jobs.models import Job
from jobs.models.states import Status
from rest.watch import feed as feed_module
from rest.watch.feed import OVERLAP, Feed, Wish
from rest.watch.sources import Polling, Settled
from rest.watch.table import State, Topic
from tests.support.claims import claim_jobs
from tests.support.factories import WORKER, make_job, make_user
from tests.support.timeouts import PATIENCE

pytestmark = pytest.mark.django_db(transaction=True)

on_postgresql = pytest.mark.skipif(connection.vendor != "postgresql", reason="Only PostgreSQL notifies.")


class Audience:
    """In place of the hub: remembers what was published."""

    def __init__(self) -> None:
        self.watched: set[Topic] = set()
        self.states: list[State] = []
        self.of_owners: list[State] = []
        self.gone: list[Topic] = []
        self.pages: list[tuple[list[State], bool]] = []
        self.readers: list[list[Any]] = []
        self.sent_to_pages: list[Topic] = []
        self.is_closed = False

    @property
    def is_empty(self) -> bool:
        return not self.watched

    def topics(self) -> list[Topic]:
        return list(self.watched)

    def is_watched(self, topic: Topic) -> bool:
        return topic in self.watched

    def publish(self, changes: Sequence[tuple[Topic, State]], gone: Any = ()) -> None:
        self.states += [state for topic, state in changes if isinstance(topic.key, UUID)]
        self.of_owners += [state for topic, state in changes if isinstance(topic.key, int)]
        self.gone += gone

    def publish_page(self, readers: Sequence[Any], states: Sequence[State], *, complete: bool) -> None:
        self.pages.append((list(states), complete))
        self.readers.append(list(readers))

    def send_to_pages(self, topic: Topic) -> None:
        self.sent_to_pages.append(topic)

    def wait_for_delivery(self) -> None:
        pass

    def wait_for(self, condition: Callable[[State], bool]) -> State:
        return eventually(lambda: next(filter(condition, list(self.states)), None), PATIENCE, "the state")

    def wait_for_owners(self, condition: Callable[[State], bool]) -> State:
        """Like wait_for(), for the states that watchers of all of an owner's rows get."""
        return eventually(lambda: next(filter(condition, list(self.of_owners)), None), PATIENCE, "the owner's state")


@pytest.fixture
def audience() -> Audience:
    return Audience()


@pytest.fixture(params=["as the database can", "polling"])
def feed(request: pytest.FixtureRequest, audience: Audience, monkeypatch: pytest.MonkeyPatch) -> Iterator[Feed]:
    monkeypatch.setattr(feed_module, "RECONNECT_AFTER", 0.01)
    if request.param == "polling":
        monkeypatch.setattr(
            feed_module, "source_for", lambda connection, wakeup: Polling(_connected(connection), wakeup)
        )
    yield from run(Feed(audience), audience)


@pytest.fixture
def listening(audience: Audience, monkeypatch: pytest.MonkeyPatch) -> Iterator[Feed]:
    monkeypatch.setattr(feed_module, "RECONNECT_AFTER", 0.01)
    yield from run(Feed(audience), audience)


def run(feed: Feed, audience: Audience) -> Iterator[Feed]:
    feed.start()
    yield feed
    audience.is_closed = True
    feed.ask(Wish(Topic("jobs_job", 0), 0))  # wakes it
    feed.join(PATIENCE)
    assert not feed.is_alive()


def _connected(connection: Any) -> Any:
    connection.ensure_connection()
    return connection


def watch(feed: Feed, audience: Audience, topic: Topic, since: int = 0) -> None:
    audience.watched.add(topic)
    assert feed.ask(Wish(topic, since))


def test_a_watched_row_is_read_at_once_and_after_each_change(feed: Feed, audience: Audience) -> None:
    job = make_job(Status.QUEUED)
    watch(feed, audience, JOBS.row(job.pk))
    first = audience.wait_for(lambda state: state.id == job.pk)
    assert first.values["status"] == "queued"
    claim_jobs(WORKER)
    running = audience.wait_for(lambda state: state.values["status"] == "running")
    assert running.version > first.version
    Job.objects.get(pk=job.pk).cancel()
    audience.wait_for(lambda state: state.values["cancel_requested"])


def test_new_rows_and_changes_of_an_owner_are_read(feed: Feed, audience: Audience) -> None:
    owner = make_user()
    watch(feed, audience, JOBS.of_owner(owner.pk), since=1)
    job, foreign = make_job(Status.QUEUED, user=owner), make_job(Status.QUEUED, user=make_user("grace"))
    audience.wait_for_owners(lambda state: state.id == job.pk)
    Job.objects.get(pk=job.pk).cancel()
    audience.wait_for_owners(lambda state: state.values["status"] == "cancelled")
    assert foreign.pk not in {state.id for state in audience.states}


def test_a_row_that_does_not_exist_is_gone(feed: Feed, audience: Audience) -> None:
    job = make_job(Status.SUCCEEDED)
    topic = JOBS.row(job.pk)
    job.delete()
    watch(feed, audience, topic)
    eventually(lambda: topic in audience.gone, PATIENCE, "the end of the row")


def test_pages_are_in_the_order_of_the_changes(feed: Feed, audience: Audience, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feed_module, "PAGE", 2)
    owner = make_user()
    jobs = [make_job(Status.QUEUED, user=owner, version=number) for number in (30, 10, 20)]
    topic = JOBS.of_owner(owner.pk)
    audience.watched.add(topic)
    feed.ask(Wish(topic, 5, object()))  # type: ignore[arg-type]
    feed.ask(Wish(topic, 20, object()))  # type: ignore[arg-type]
    eventually(lambda: len(audience.pages) == 2, PATIENCE, "both pages")
    (first, more), (second, no_more) = audience.pages
    assert [state.id for state in first] == [jobs[1].pk, jobs[2].pk]
    assert [state.id for state in second] == [jobs[0].pk]
    assert (more, no_more) == (False, True)


def test_of_a_burst_only_rows_that_are_watched_by_themselves_are_read_and_others_by_page(
    audience: Audience, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rest.pagination.MAX_PAGE_CHARACTERS", 200)
    monkeypatch.setattr("rest.watch.table.FEW", 1)
    owner, feed = make_user(), Feed(audience)
    rows = [JOBS.row(make_job(Status.QUEUED, user=owner, params={"note": "x" * 60}).pk) for _ in range(5)]
    audience.watched |= {JOBS.of_owner(owner.pk), *rows[:3]}
    for row in rows:
        feed._mark(row)
    feed._read()
    assert audience.sent_to_pages == [JOBS.of_owner(owner.pk)]
    assert {JOBS.row(state.id) for state in audience.states} == set(rows[:3])


def test_if_too_many_of_an_owners_rows_have_changed_they_are_read_by_page(
    audience: Audience, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed_module, "PAGE", 2)
    owner, feed = make_user(), Feed(audience)
    topic = JOBS.of_owner(owner.pk)
    audience.watched.add(topic)
    for told in ([], [topic]):
        for _ in range(2):
            make_job(Status.QUEUED, user=owner)
        feed._mark(topic)
        feed._read()
        assert audience.sent_to_pages == told
    assert len(feed._held) == 2


def test_a_look_covers_all_that_may_have_been_committed_since_the_last_one(audience: Audience) -> None:
    """Also changes of transactions that did not notify and were open at some time since then."""

    class Closing:
        settled = iter((5, 900))

        def settle(self) -> Settled:
            return Settled(next(self.settled), 1000)

        def wait(self, seconds: float) -> bool:
            return False

        def changes(self) -> Iterator[Any]:
            return iter(())

    feed, topic, source = Feed(audience), JOBS.of_owner(1), Closing()
    audience.watched.add(topic)
    feed.ask(Wish(topic, 950))
    feed._note_wishes()
    feed._settle(source)
    feed._settle(source)
    for lowest in (5, 900):
        feed._look_at_all()
        assert feed._owners.pop("jobs_job") == {1: lowest - OVERLAP}


def test_the_changes_that_are_held_back_are_bounded(audience: Audience, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feed_module, "MOST_HELD", 25)
    feed, topic = Feed(audience), JOBS.of_owner(1)
    held = [(topic, State(UUID(int=row), 1, row, {}, characters=10)) for row in range(3)]
    feed._hold(held[:2])
    assert len(feed._held) == 2
    feed._hold(held[2:])
    assert (len(feed._held), audience.sent_to_pages) == (0, [topic])


def test_watchers_at_the_same_position_share_a_page(
    feed: Feed, audience: Audience, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A page is read once for all watchers that come at the same time with the same position."""
    monkeypatch.setattr(feed_module, "PAGE", 2)
    owner = make_user()
    for number in (10, 20, 30):
        make_job(Status.QUEUED, user=owner, version=number)
    topic = JOBS.of_owner(owner.pk)
    first, second, ahead, behind = (object() for _ in range(4))
    with feed._lock:
        audience.watched.add(topic)
        feed._wishes += [Wish(topic, *wish) for wish in ((5, first), (9, second), (10, ahead), (4, behind))]  # type: ignore[arg-type]
    feed.ask(Wish(topic, 0))
    eventually(lambda: len(audience.pages) == 3, PATIENCE, "the pages")
    assert audience.readers == [[first, second], [ahead], [behind]]


@on_postgresql
def test_a_notified_change_is_read(listening: Feed, audience: Audience) -> None:
    job = make_job(Status.QUEUED)
    watch(listening, audience, JOBS.row(job.pk))
    audience.wait_for(lambda state: state.id == job.pk)
    with transaction.atomic():
        Job.objects.filter(pk=job.pk).update(priority=7)
    audience.wait_for(lambda state: state.values["priority"] == 7)


@on_postgresql
def test_changes_during_an_interruption_are_found_after_it(listening: Feed, audience: Audience) -> None:
    owner = make_user()
    one, other = make_job(Status.QUEUED), make_job(Status.QUEUED, user=owner)
    watch(listening, audience, JOBS.row(one.pk))
    watch(listening, audience, JOBS.of_owner(owner.pk), since=1)
    audience.wait_for(lambda state: state.id == one.pk)
    with connection.cursor() as cursor:
        cursor.execute(CUT)
        cursor.execute("ALTER TABLE jobs_job DISABLE TRIGGER USER")
    Job.objects.filter(pk__in=[one.pk, other.pk]).update(priority=7, version=2**52)
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE jobs_job ENABLE TRIGGER USER")
    for job in (one, other):
        audience.wait_for(lambda state, job=job: state.id == job.pk and state.values["priority"] == 7)


@pytest.fixture
def other() -> Iterator[Any]:
    """Another session, for a transaction that stays open."""
    session = psycopg2.connect(**connection.get_connection_params())
    yield session
    session.close()


CUT = """
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE datname = current_database() AND application_name = 'legwork feed'
"""
CANCEL = "UPDATE jobs_job SET status = 'cancelled', cancel_requested = true, finished_at = now() WHERE id = %s"


@on_postgresql
def test_an_owners_changes_are_told_in_the_order_of_their_versions_not_of_their_commits(
    feed: Feed, audience: Audience, other: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed_module, "HOLD_BACK", 2**50)
    owner = make_user()
    early, late = (make_job(Status.QUEUED, user=owner) for _ in range(2))
    watch(feed, audience, JOBS.of_owner(owner.pk), since=1)
    watch(feed, audience, JOBS.row(late.pk))
    other.cursor().execute(CANCEL, [early.pk])
    Job.objects.get(pk=late.pk).cancel()
    audience.wait_for(lambda state: state.id == late.pk and state.values["status"] == "cancelled")
    other.commit()
    audience.wait_for_owners(lambda state: state.id == late.pk and state.values["status"] == "cancelled")
    told = [state.id for state in audience.of_owners if state.values["status"] == "cancelled"]
    assert told[:2] == [early.pk, late.pk]
    assert all(state.version <= state.settled for state in audience.of_owners)


def test_changes_that_are_reported_without_rows_are_looked_at_even_before_they_settle(audience: Audience) -> None:
    class ManyRows:
        """A source that reports, while it settles, more changes than it can name."""

        def settle(self) -> Settled:
            return Settled(7, 7)

        def wait(self, seconds: float) -> bool:
            return True

        def changes(self) -> Iterator[Any]:
            return iter(())

    topic = JOBS.of_owner(1)
    feed, since = Feed(audience), 10**15
    audience.watched.add(topic)
    feed.ask(Wish(topic, since))
    feed._settle(ManyRows())
    assert list(feed._owners["jobs_job"]) == [1]


def test_of_an_owners_changes_with_one_version_only_the_last_has_its_number(audience: Audience) -> None:
    feed = Feed(audience)
    feed._settled = Settled(10, 10)
    ada, grace = JOBS.of_owner(1), JOBS.of_owner(2)
    changes = [(topic, State(UUID(int=row), int(topic.key), 5, {})) for row, topic in enumerate((ada, ada, grace))]
    due = feed._due([*changes, (ada, State(UUID(int=9), 1, 11, {}))])
    assert [state.settled for _, state in due] == [4, 10, 10]


@on_postgresql
def test_a_transaction_that_stays_open_holds_a_change_back_only_for_a_while(
    feed: Feed, audience: Audience, other: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed_module, "HOLD_BACK", 50_000)
    owner = make_user()
    early, late = (make_job(Status.QUEUED, user=owner) for _ in range(2))
    watch(feed, audience, JOBS.of_owner(owner.pk), since=1)
    other.cursor().execute(CANCEL, [early.pk])
    Job.objects.get(pk=late.pk).cancel()
    first = audience.wait_for_owners(lambda state: state.id == late.pk and state.values["status"] == "cancelled")
    other.commit()
    second = audience.wait_for_owners(lambda state: state.id == early.pk and state.values["status"] == "cancelled")
    assert first.settled < second.version < first.version


@on_postgresql
def test_a_page_holds_back_changes_that_are_not_settled(
    feed: Feed, audience: Audience, other: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed_module, "HOLD_BACK", 2**50)
    owner = make_user()
    early, late = (make_job(Status.QUEUED, user=owner) for _ in range(2))
    before = max(early.version, late.version)
    other.cursor().execute(CANCEL, [early.pk])
    Job.objects.get(pk=late.pk).cancel()
    topic = JOBS.of_owner(owner.pk)
    audience.watched.add(topic)
    feed.ask(Wish(topic, before, object()))  # type: ignore[arg-type]
    assert eventually(lambda: list(audience.pages), PATIENCE, "the page") == [([], True)]
    other.commit()
    audience.wait_for_owners(lambda state: state.id == late.pk and state.values["status"] == "cancelled")
    audience.wait_for_owners(lambda state: state.id == early.pk and state.values["status"] == "cancelled")
    assert [state.id for state in audience.of_owners if state.version > before][:2] == [early.pk, late.pk]
