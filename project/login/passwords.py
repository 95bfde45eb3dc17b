"""Django's password check with a limit on wrong guesses; used for tokens/, session/ and the admin's login form.

Wrong passwords are counted by account and by network. Whoever has logged in from a network before, or has a session of
the account, is not locked out by what others try.
"""

import unicodedata
from contextlib import suppress
from hashlib import sha256
from typing import Any

from django.conf import settings
from django.contrib.auth import SESSION_KEY
from django.contrib.auth.backends import ModelBackend
from django.contrib.auth.models import User
from django.core.cache import cache
from django.http import HttpRequest
from rest_framework.exceptions import Throttled

from project.models import Token
from rest.throttling import Window, client_network

REMEMBERED_FOR = 30 * 24 * 3600
"""Seconds that a network counts as known to an account after a login."""
MAX_NAME = 200
"""Characters of a user name that are looked at."""


class ThrottledBackend(ModelBackend):
    """After PASSWORD_TRIES_PER_MINUTE wrong passwords for an account or from a network, raises Throttled.

    Also for the right password, and whether or not the account exists. Right passwords have a limit of their own, of
    the account alone: only their owner can use it up.
    """

    def authenticate(
        self, request: HttpRequest | None, username: str | None = None, password: str | None = None, **kwargs: Any
    ) -> User | None:
        if request is None:
            return super().authenticate(request, username, password, **kwargs)
        tries = _windows(request, username or kwargs.get("username") or "")
        _raise_if_exceeded(tries, [window.count() + 1 for window in tries])
        logins = Window("logins", _account(username or ""))
        if logins.count() >= settings.LOGINS_PER_MINUTE:
            raise Throttled(logins.seconds_left(), "Too many logins; use one token for many requests.")
        old_hash = User.objects.filter(username=username).values_list("password", flat=True).first()
        user = super().authenticate(request, username, password, **kwargs)
        if user and old_hash and user.password != old_hash:
            Token.objects.keep_after_rehash(user, old_hash)
        # Again after the check: other requests may have used up the tries while the slow hash was computed.
        _raise_if_exceeded(tries, [window.count() + 1 if user else window.add() for window in tries])
        if user:
            logins.add()
            _remember(request, username or "")
        return user


def _windows(request: HttpRequest, username: str) -> list[Window]:
    """The counts that apply. Somebody who is known has counts of their own, which nobody else can use up."""
    account, network = _account(username), client_network(request)
    if session_key := _own_session(request, account):
        return [Window("password-session", session_key)]
    if _is_remembered(request, username):
        return [Window("password-known", f"{account} {network}")]
    return [Window("password-account", account), Window("password-address", network)]


def _account(username: str) -> str:
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", username[:MAX_NAME]).casefold()).strip()


def _own_session(request: HttpRequest, account: str) -> str:
    """The key of the request's session, if it is this account's."""
    session = getattr(request, "session", None)
    if session is None or settings.SESSION_COOKIE_NAME not in request.COOKIES:
        return ""
    user = User.objects.filter(pk=session.get(SESSION_KEY), is_active=True).first()
    return session.session_key if user and _account(user.username) == account else ""


def _remember(request: HttpRequest, username: str) -> None:
    with suppress(Exception):  # without the cache no network counts as known
        cache.set(_known_key(request, username), True, REMEMBERED_FOR)


def _is_remembered(request: HttpRequest, username: str) -> bool:
    try:
        return bool(cache.get(_known_key(request, username)))
    except Exception:
        return False


def _known_key(request: HttpRequest, username: str) -> str:
    who = f"{_account(username)} {client_network(request)}"
    return f"password-known:{sha256(who.encode('utf-8', 'replace')).hexdigest()}"


def _raise_if_exceeded(windows: list[Window], tries: list[int]) -> None:
    limit = settings.PASSWORD_TRIES_PER_MINUTE
    waits = [window.seconds_left() for window, tried in zip(windows, tries, strict=True) if tried > limit]
    if waits:
        raise Throttled(max(waits), "Too many wrong passwords.", code="too_many_passwords")
