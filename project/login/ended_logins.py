"""Ends streams and held responses whose login has ended: logged out, token deleted or expired, password changed, user
deactivated.

One look at the primary a second in each web process, for the logins of all that is open there; none if nothing is.
"""

import asyncio
from collections.abc import AsyncIterator, Collection
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager

import structlog
from django.contrib.auth.models import User
from django.db import DatabaseError, InterfaceError, close_old_connections
from django.utils import timezone

from project.models import Session, Token
from rest import outage
from rest.watch.hub import hub
from rest.watch.login import Login
from routers import PRIMARY

log = structlog.get_logger(__name__)

LOOK_EVERY = 1.0
"""Seconds between two looks."""


@asynccontextmanager
async def watches_end_with_their_logins() -> AsyncIterator[None]:
    """A block in which the open watches of this event loop end with their logins."""
    task = asyncio.create_task(_end_watches())
    try:
        yield
    finally:
        task.cancel()


async def _end_watches() -> None:
    loop, watches = asyncio.get_running_loop(), hub()
    with ThreadPoolExecutor(1, "ended-logins") as thread:
        while True:
            await asyncio.sleep(LOOK_EVERY)
            if not (logins := watches.logins()):
                continue
            try:
                ended = await loop.run_in_executor(thread, _look, logins)
            except (DatabaseError, InterfaceError) as error:
                if not outage.database.note(error):
                    log.warning("logins_not_checked", error=repr(error))
                continue
            if ended:
                log.info("logins_ended", count=len(ended))
                watches.close_all_of(ended)


def _look(logins: Collection[Login]) -> set[Login]:
    close_old_connections()
    return ended_of(logins)


def ended_of(logins: Collection[Login]) -> set[Login]:
    """Those of these logins that would not be let in now."""
    now = timezone.now()
    tokens = Token.objects.using(PRIMARY).select_related("user").in_bulk([each.token_id for each in logins])
    sessions = Session.objects.using(PRIMARY).filter(expire_date__gt=now)
    keys = set(
        sessions.filter(session_key__in=[each.session_key for each in logins if each.session_key]).values_list(
            "session_key", flat=True
        )
    )
    users = User.objects.using(PRIMARY).filter(is_active=True, pk__in={each.user_id for each in logins})
    passwords = dict(users.values_list("pk", "password"))
    by_token = {pk for pk, token in tokens.items() if token.authenticates(now)}
    return {
        login
        for login in logins
        if not (
            login.token_id in by_token
            if login.token_id
            else login.session_key in keys and passwords.get(login.user_id) == login.password
        )
    }
