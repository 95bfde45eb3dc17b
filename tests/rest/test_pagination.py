"""Lists by cursor: nothing twice, nothing left out, and nonsense is 400."""

import base64
from contextlib import suppress
from itertools import pairwise
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from django.contrib.auth.models import User
from hypothesis import given
from hypothesis import strategies as st
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.test import APIRequestFactory

from jobs.models import Job
from project.login.tokens import NewestTokenFirst
from project.models import Token
from rest.pagination import NewestFirst, characters_of


def page(queryset: Any, paginator: NewestFirst | None = None, view: Any = None, **query: str) -> dict[str, Any]:
    paginator = paginator or NewestFirst()
    request = Request(APIRequestFactory().get("/list/", query))
    body: dict[str, Any] = paginator.get_paginated_response(paginator.paginate_queryset(queryset, request, view)).data
    return body


def follow(queryset: Any, link: str, view: Any = None) -> dict[str, Any]:
    query = {name: values[0] for name, values in parse_qs(urlsplit(link).query).items()}
    return page(queryset, view=view, **query)


def cursor(**fields: str) -> str:
    return base64.b64encode(urlencode(fields).encode()).decode()


@pytest.mark.django_db
@pytest.mark.parametrize("size", ["1", "2", "3", "7", "8"])
def test_pages_of_any_size_show_each_row_once_both_ways(size: str) -> None:
    for number in range(7):
        User.objects.create(username=str(number))
    rows = User.objects.values("id", "username")
    pages = [page(rows, page_size=size)]
    while link := pages[-1]["next"]:
        pages.append(follow(rows, link))
    names = [row["username"] for each in pages for row in each["results"]]
    assert names == ["6", "5", "4", "3", "2", "1", "0"]
    for before, after in pairwise(pages):
        assert follow(rows, after["previous"])["results"] == before["results"]
    assert pages[0]["previous"] is None


class Large:
    """A view whose rows are as large as their first names."""

    row_characters = characters_of("first_name", "last_name")


@pytest.mark.django_db
@pytest.mark.parametrize("sizes", [[4] * 7, [1, 9, 1, 1, 30, 2, 8], [30] * 3, [1] * 5])
def test_pages_of_large_rows_are_shorter_and_show_each_row_once_both_ways(
    sizes: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rest.pagination.MAX_PAGE_CHARACTERS", 10)
    for number, size in enumerate(sizes):
        User.objects.create(username=str(number), first_name="x" * size)
    rows = User.objects.values("id", "username", "first_name")
    seen: list[str] = []
    link: str | None = "/list/?page_size=5"
    while link:
        found = follow(rows, link, Large)
        seen += [row["username"] for row in found["results"]]
        assert len(found["results"]) == 1 or sum(len(row["first_name"]) for row in found["results"]) <= 10
        last, link = found, found["next"]
    assert seen == [str(number) for number in reversed(range(len(sizes)))]
    back = [row["username"] for row in last["results"]]
    while link := last["previous"]:
        last = follow(rows, link, Large)
        back = [row["username"] for row in last["results"]] + back
    assert back == seen


@pytest.mark.django_db
def test_rows_that_are_added_meanwhile_move_nothing() -> None:
    for number in range(4):
        User.objects.create(username=str(number))
    first = page(User.objects.values("id", "username"), page_size="2")
    User.objects.create(username="late")
    second = follow(User.objects.values("id", "username"), first["next"])
    assert [row["username"] for row in second["results"]] == ["1", "0"]


@pytest.mark.django_db
def test_objects_work_as_well_as_rows() -> None:
    User.objects.create(username="ada")
    User.objects.create(username="eve")
    first = page(User.objects.all(), page_size="1")
    assert [user.username for user in follow(User.objects.all(), first["next"])["results"]] == ["ada"]


def test_a_page_has_50_rows_and_at_most_200() -> None:
    def size(**query: str) -> int:
        return NewestFirst().get_page_size(Request(APIRequestFactory().get("/", query)))

    assert (size(), size(page_size="7"), size(page_size="200")) == (50, 7, 200)


@pytest.mark.parametrize("size", ["0", "-1", "201", "abc", "", "1.5", "1e3", " 5", "\u0661", "9" * 5000, "+1", "\0"])
def test_a_size_that_makes_no_sense_is_400(size: str) -> None:
    with pytest.raises(ValidationError) as error:
        page(Job.objects.none(), page_size=size)
    assert "page_size" in error.value.detail


@pytest.mark.parametrize(
    "text",
    [
        "",
        "nonsense!",
        "ü",
        "====",
        base64.b64encode(b"\xff").decode(),
        base64.b64encode(b"p").decode(),
        cursor(p="not-a-uuid"),
        cursor(p=""),
        cursor(p="\0"),
        cursor(o="-1"),
        cursor(o="1001"),
        cursor(o="9" * 5000),
        cursor(o="x"),
        cursor(x="1"),
    ],
)
def test_a_cursor_that_makes_no_sense_is_400(text: str) -> None:
    with pytest.raises(ValidationError) as error:
        page(Job.objects.none(), cursor=text)
    assert "cursor" in error.value.detail


@pytest.mark.parametrize("position", ["2026-01-01", "2026-01-01T00:00:00", "0001-01-01T00:00:00+23:59", "x", "12"])
def test_a_position_that_is_no_moment_in_time_is_400(position: str) -> None:
    with pytest.raises(ValidationError):
        page(Token.objects.none(), NewestTokenFirst(), cursor=cursor(p=position))


@given(st.text(max_size=60) | st.binary(max_size=60).map(lambda raw: base64.b64encode(raw).decode()))
def test_any_cursor_is_read_or_refused(text: str) -> None:
    for queryset, paginator in ((Job.objects.none(), NewestFirst()), (Token.objects.none(), NewestTokenFirst())):
        with suppress(ValidationError):
            page(queryset, paginator, cursor=text)


@pytest.mark.django_db
@pytest.mark.parametrize("query", [{"cursor": cursor(p="x")}, {"cursor": "%%%"}, {"page_size": "0"}])
def test_the_api_answers_nonsense_with_a_problem(client: Any, query: dict[str, str]) -> None:
    client.force_login(User.objects.create(username="ada"))
    for path in ("/api/v1/tokens/", "/api/v1/jobs/"):
        answer = client.get(path, query)
        assert answer.status_code == 400
        assert [error["field"] for error in answer.json()["errors"]] == list(query)
