"""What a stream or held response rests on: the login of its request, which may end before it does."""

from typing import NamedTuple, cast
from uuid import UUID

from django.contrib.auth.base_user import AbstractBaseUser
from rest_framework.request import Request

LOGIN_KEY = "legwork.login"
"""Key in a request's ASGI scope of its Login."""


class Login(NamedTuple):
    """A user's token or session. password: the hash of the user's password at that time."""

    user_id: int
    password: str
    token_id: UUID | None
    session_key: str | None


def login_of(request: Request) -> Login:
    """The login of an authenticated request."""
    user = cast("AbstractBaseUser", request.user)
    token_id = getattr(request.auth, "pk", None)
    session_key = None if token_id else request._request.session.session_key
    return Login(user.pk, user.password, token_id, session_key)
