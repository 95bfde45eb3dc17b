"""Ends streams and held responses whose login has ended: logged out, token deleted or expired, password changed, user
deactivated.

One look at the primary a second in each web process, for the logins of all that is open there; none if nothing is.
"""

import asyncio
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from functools import partial

import structlog
from django.contrib.auth.models import User
from django.utils import timezone

from project.models import Session, Token
from rest import outage
from rest.background import repeated
from rest.watch.hub import Hub, hub
from rest.watch.login import Login
from routers import PRIMARY

log = structlog.get_logger(__name__)

LOOK_EVERY = 1.0
"""Seconds between two looks."""


@contextmanager
def watches_end_with_their_logins() -> Iterator[None]:
    """A block in which the open watches of this event loop end with their logins."""
    look = partial(_end_watches, hub(), asyncio.get_running_loop())
    with repeated(look, every=LOOK_EVERY, name="ended logins"):
        yield


def _end_watches(watches: Hub, loop: asyncio.AbstractEventLoop) -> None:
    try:
        ended = ended_of(watches.logins())
    except Exception as error:
        if not outage.database.note(error):
            log.warning("logins_not_checked", exc_info=True)
        return
    if ended:
        log.info("logins_ended", count=len(ended))
        with suppress(RuntimeError):  # the loop was closed, and its watches with it
            loop.call_soon_threadsafe(watches.close_all_of, ended)


def ended_of(logins: Collection[Login]) -> set[Login]:
    """Those of these logins that would not be let in now."""
    by_token = {login for login in logins if login.token_id}
    return _ended_tokens(by_token) | _ended_sessions(set(logins) - by_token)


def _ended_tokens(logins: Collection[Login]) -> set[Login]:
    ids, now = {login.token_id for login in logins}, timezone.now()
    tokens = Token.objects.using(PRIMARY).select_related("user").in_bulk(ids)
    live = {pk for pk, token in tokens.items() if token.authenticates(now)}
    return {login for login in logins if login.token_id not in live}


def _ended_sessions(logins: Collection[Login]) -> set[Login]:
    keys = {login.session_key for login in logins}
    sessions = Session.objects.using(PRIMARY).filter(session_key__in=keys, expire_date__gt=timezone.now())
    live = set(sessions.values_list("session_key", flat=True))
    users = User.objects.using(PRIMARY).filter(pk__in={login.user_id for login in logins}, is_active=True)
    passwords = dict(users.values_list("pk", "password"))
    return {
        login for login in logins if login.session_key not in live or passwords.get(login.user_id) != login.password
    }
