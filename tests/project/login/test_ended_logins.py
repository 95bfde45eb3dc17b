"""Which logins have ended, as web processes ask the primary about those that have something open."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.contrib.sessions.backends.base import SessionBase
from django.utils import timezone

from project.login.ended_logins import ended_of
from project.models import Session, Token
from rest.watch.login import Login
from tests.support.api_clients import make_token

pytest_plugins = ["tests.support.api_fixtures"]
pytestmark = pytest.mark.django_db


@pytest.fixture
def by_token(ada: User) -> Login:
    make_token(ada)
    return Login(ada.pk, ada.password, Token.objects.get().pk, None)


@pytest.fixture
def by_session(ada: User) -> Login:
    session: SessionBase = Session.get_session_store_class()()
    session.create()
    return Login(ada.pk, ada.password, None, session.session_key)


def test_logins_that_go_on_have_not_ended(by_token: Login, by_session: Login) -> None:
    assert ended_of({by_token, by_session}) == set()


TOKEN_ENDS: dict[str, Callable[[], object]] = {
    "deleted": lambda: Token.objects.all().delete(),
    "expired": lambda: Token.objects.update(expiry=timezone.now() - timedelta(seconds=1)),
}
SESSION_ENDS: dict[str, Callable[[], object]] = {
    "deleted": lambda: Session.objects.all().delete(),
    "expired": lambda: Session.objects.update(expire_date=timezone.now() - timedelta(seconds=1)),
}
BOTH_END: dict[str, Callable[[], object]] = {
    "another password": lambda: User.objects.update(password="another-hash"),
    "deactivated": lambda: User.objects.update(is_active=False),
    "user deleted": lambda: User.objects.all().delete(),
}


@pytest.mark.parametrize("end", TOKEN_ENDS.values(), ids=TOKEN_ENDS)
def test_a_token_ends_alone(end: Callable[[], object], by_token: Login, by_session: Login) -> None:
    end()
    assert ended_of({by_token, by_session}) == {by_token}


@pytest.mark.parametrize("end", SESSION_ENDS.values(), ids=SESSION_ENDS)
def test_a_session_ends_alone(end: Callable[[], object], by_token: Login, by_session: Login) -> None:
    end()
    assert ended_of({by_token, by_session}) == {by_session}


@pytest.mark.parametrize("end", BOTH_END.values(), ids=BOTH_END)
def test_both_end_with_their_user(end: Callable[[], object], by_token: Login, by_session: Login) -> None:
    end()
    assert ended_of({by_token, by_session}) == {by_token, by_session}


@pytest.mark.parametrize("logins", [1, 20])
def test_the_number_of_statements_does_not_grow_with_the_logins(
    logins: int, ada: User, by_session: Login, django_assert_num_queries: Callable[..., object]
) -> None:
    for _ in range(logins):
        make_token(ada)
    tokens = {Login(ada.pk, ada.password, token.pk, None) for token in Token.objects.all()}
    with django_assert_num_queries(3):  # type: ignore[attr-defined]
        assert ended_of({by_session, *tokens}) == set()
