"""Django's password check with a limit on wrong guesses; used for tokens/, session/ and the admin's login form."""

import unicodedata
from typing import Any

from django.conf import settings
from django.contrib.auth.backends import ModelBackend
from django.contrib.auth.models import User
from django.http import HttpRequest
from rest_framework.exceptions import Throttled

from rest.throttling import Window, client_address


class ThrottledBackend(ModelBackend):
    """After PASSWORD_TRIES_PER_MINUTE wrong passwords for an account or from an address, raises Throttled.

    Also for the right password, and whether or not the account exists. Right passwords are not counted.
    """

    def authenticate(
        self, request: HttpRequest | None, username: str | None = None, password: str | None = None, **kwargs: Any
    ) -> User | None:
        if request is None:
            return super().authenticate(request, username, password, **kwargs)
        tries = _windows(request, username or kwargs.get("username") or "")
        _raise_if_exceeded(tries, [window.count() + 1 for window in tries])
        user = super().authenticate(request, username, password, **kwargs)
        # Again after the check: other requests may have used up the tries while the slow hash was computed.
        _raise_if_exceeded(tries, [window.count() + 1 if user else window.add() for window in tries])
        return user


def _windows(request: HttpRequest, username: str) -> list[Window]:
    account = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", username).casefold()).strip()
    return [Window("password-account", account), Window("password-address", client_address(request))]


def _raise_if_exceeded(windows: list[Window], tries: list[int]) -> None:
    limit = settings.PASSWORD_TRIES_PER_MINUTE
    waits = [window.seconds_left() for window, tried in zip(windows, tries, strict=True) if tried > limit]
    if waits:
        raise Throttled(max(waits), "Too many wrong passwords.")
