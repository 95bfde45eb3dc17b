"""GET jobs/: the gathered path answers like the plain one, byte by byte, and leaves to it what is unusual."""

import asyncio
from collections.abc import Iterator
from typing import Any

import orjson
import pytest
from django.contrib.auth.models import User
from django.core.cache import cache

from jobs.models.states import Status
from project.models import Token
from rest.pagination import MAX_PAGE_CHARACTERS
from tests.support.asgi_requests import Answer, Field, ask, asked
from tests.support.factories import make_job
from tests.support.gathering import Paths, World, commit

pytest_plugins = ["tests.support.gathering_fixtures"]
pytestmark = pytest.mark.django_db

PATH = "/api/v1/jobs/"


@pytest.fixture(scope="module")
def lists(world: World) -> Iterator[dict[int, str]]:
    """Tokens by how many jobs their users have."""
    users: list[User] = []

    def make(count: int) -> str:
        users.append(User.objects.create_user(f"has {count}"))
        for number in range(count):
            make_job(Status.SUCCEEDED if number % 2 else Status.QUEUED, user=users[-1], result=number)
        return str(Token.objects.create(users[-1])[1])

    yield {count: commit(lambda count=count: make(count)) for count in (0, 1, 50, 51)}
    for user in users:
        commit(user.delete)


@pytest.fixture(autouse=True)
def _warm(lists: dict[int, str], django_db_blocker: Any) -> Iterator[None]:
    """The plain view has shown its header fields, as it does after a process's first requests."""
    with django_db_blocker.unblock():
        ask("GET", PATH, fields(lists[0]))
        cache.clear()
        yield


def fields(token: str) -> list[Field]:
    return [("host", "testserver"), ("authorization", f"Token {token}"), ("x-request-id", "x")]


def both(paths: Paths, headers: list[Field], **more: Any) -> tuple[Answer, bool]:
    answer, gathered = paths.ask("GET", PATH, headers, **more)
    cache.clear()
    assert answer == paths.ask_plainly("GET", PATH, headers, **more)
    return answer, gathered


@pytest.mark.parametrize("count", [0, 1, 50, 51])
def test_a_first_page_is_the_same_and_leads_to_the_same_next_one(
    paths: Paths, lists: dict[int, str], count: int
) -> None:
    answer, gathered = both(paths, fields(lists[count]))
    page = orjson.loads(answer.body)
    assert (answer.status, gathered, len(page["results"])) == (200, True, min(count, 50))
    assert bool(page["next"]) is (count > 50)


def test_all_kinds_of_jobs_are_listed_the_same(paths: Paths, world: World) -> None:
    answer, gathered = both(paths, fields(world.tokens["ada"]))
    assert (answer.status, gathered) == (200, True)
    assert len(orjson.loads(answer.body)["results"]) == len(world.jobs) - 1


@pytest.mark.parametrize("token", ["deleted", "expired", "gone"])
def test_a_token_that_has_ended_is_refused(paths: Paths, world: World, token: str) -> None:
    answer, gathered = both(paths, fields(world.tokens[token]))
    assert (answer.status, gathered) == (401, False)


@pytest.mark.parametrize("query", [b"page_size=1", b"status=queued", b"cursor=cD0w", b"more=1", b"&"])
def test_a_query_is_left_to_the_plain_view(paths: Paths, lists: dict[int, str], query: bytes) -> None:
    assert not both(paths, fields(lists[1]), query_string=query)[1]


def test_requests_count_against_the_same_limit(lists: dict[int, str], settings: Any) -> None:
    settings.RATE_LIMIT_PER_MINUTE = 2
    assert [ask("GET", PATH, fields(lists[1])).status for _ in range(3)] == [200, 200, 429]


def test_each_of_many_gets_its_own_page(lists: dict[int, str]) -> None:
    async def ask_all() -> list[Answer]:
        return await asyncio.gather(*[asked("GET", PATH, fields(lists[count])) for _ in range(5) for count in lists])

    expected = [min(count, 50) for _ in range(5) for count in lists]
    assert [len(orjson.loads(answer.body)["results"]) for answer in asyncio.run(ask_all())] == expected


@pytest.fixture
def large(world: World) -> Iterator[str]:
    """The token of a user with two jobs, each of which fills a page."""

    def make() -> tuple[User, str]:
        user = User.objects.create_user("has large ones")
        for _ in range(2):
            make_job(Status.SUCCEEDED, user=user, result="x" * (MAX_PAGE_CHARACTERS - 1000))
        return user, Token.objects.create(user)[1]

    user, token = commit(make)
    yield token
    commit(user.delete)


def test_a_page_of_large_jobs_is_left_to_the_plain_view_which_shortens_it(paths: Paths, large: str) -> None:
    answer, gathered = both(paths, fields(large))
    page = orjson.loads(answer.body)
    assert (answer.status, gathered, len(page["results"])) == (200, False, 1)
    assert page["next"]
