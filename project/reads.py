"""What a request may do with the databases: safe methods never write and may read from replicas.

After a write its user reads what it wrote. This is GitLab's way: by the position in the write-ahead log, which the
shared cache keeps for a while.
"""

import re
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import structlog
from django.conf import settings
from django.core.cache import cache
from django.db import DatabaseError, InterfaceError, connections
from django.http import HttpRequest
from django.http.response import HttpResponseBase

from project import replicas
from routers import PRIMARY, Route, pool, route, routed

log = structlog.get_logger(__name__)

SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
KEPT = 30
"""Seconds; by then every replica that is any good has replayed it."""

ASK_POSITION = "SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::bigint"
HAS_REPLAYED = """
    SELECT NOT pg_is_in_recovery()
        OR EXISTS (SELECT FROM pg_stat_wal_receiver) AND pg_wal_lsn_diff(pg_last_wal_replay_lsn(), '0/0') >= %s
"""
"""Who receives nothing may still follow a primary that another one has replaced: the same position means other data."""

READS = re.compile(
    r"\s*\(*\s*(SELECT|WITH|VALUES|SHOW|EXPLAIN|SAVEPOINT|RELEASE|ROLLBACK|BEGIN|DECLARE|FETCH|CLOSE)\b", re.I
)
QUOTED = re.compile(r"'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"")
CHANGES = re.compile(r"\b(INSERT|UPDATE|DELETE|MERGE|TRUNCATE|INTO|NEXTVAL|SETVAL|PG_NOTIFY)\b", re.I)
MAY_WRITE = re.compile(r'\s*(INSERT INTO|UPDATE|DELETE FROM) "?django_session"?\s', re.I)
"""A session ends when its user's password has changed, whatever the method; nothing else is excepted. (Messages of the
admin live in the session or a cookie.)"""


class WriteInSafeMethod(RuntimeError):
    """A view tried to write while it answered GET, HEAD or OPTIONS."""


class ReadsMiddleware:
    """Next to the views: what it routes is theirs and the authentication's."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        return self._safe(request) if request.method in SAFE else self._unsafe(request)

    def _safe(self, request: HttpRequest) -> HttpResponseBase:
        replicas.probe.begin()
        with writing_forbidden(), routed(Route(may_use_replicas=bool(settings.REPLICAS))) as here:
            response = self.get_response(request)
        if response.status_code != 503 or not settings.REPLICAS or not _a_database_failed(here):
            return response
        # A database failed under the request. The primary answers instead, or without it whoever is left; once.
        with writing_forbidden(), routed(Route(may_use_replicas=pool.primary_is_out)):
            return self.get_response(request)

    def process_view(self, request: HttpRequest, *view: Any) -> None:
        """Who comes with a session need not meet the API's authentication, which follows those with a token."""
        if route().may_use_replicas and settings.SESSION_COOKIE_NAME in request.COOKIES:
            user = request.user
            if user.is_authenticated:
                follow(user.pk)

    def _unsafe(self, request: HttpRequest) -> HttpResponseBase:
        with routed(Route()):
            response = self.get_response(request)
        if settings.REPLICAS and response.status_code < 500:
            remember(getattr(request, "user", None))
        return response


def remember(user: Any) -> None:
    """Note how far the primary has written, now that all is committed: this user's reads need that much."""
    if user is None or not user.is_authenticated:
        return
    try:
        with connections[PRIMARY].cursor() as cursor:
            cursor.execute(ASK_POSITION)
            [position] = cursor.fetchone()
        cache.set(_key(user.pk), int(position), KEPT)
    except (DatabaseError, InterfaceError):
        log.warning("position_unknown", exc_info=True)
    except Exception:
        log.warning("cache_unavailable", exc_info=True)


def _a_database_failed(here: Route) -> bool:
    """Whether one has failed under this request; everybody is told who is away. Behind a balancer nobody need be: it
    cuts the connections to a server that it takes out."""
    asked = {here.chosen or PRIMARY, PRIMARY}
    if not any(connections[alias].errors_occurred for alias in asked):
        return False
    for alias in asked - {PRIMARY}:
        if not replicas.answers(alias):
            pool.put_out(alias)
            log.warning("replica_failed", replica=alias)
    pool.primary_is_out = not replicas.answers(PRIMARY)
    return True


def follow(user_id: int) -> bool:
    """From here on this request needs what the user has written lately; whether it now reads from elsewhere."""
    here = route()
    if not here.may_use_replicas or pool.primary_is_out:
        return False
    before = here.chosen
    try:
        here.position = cache.get(_key(user_id), 0)
    except Exception:
        log.warning("cache_unavailable", exc_info=True)
        here.may_use_replicas = False
        return before not in ("", PRIMARY)
    if here.position and not (before and _has_replayed(before, here.position)):
        here.chosen = _caught_up(here.position)
    return before not in ("", here.chosen)


def _caught_up(position: int) -> str:
    """A replica that has replayed so much, by its own word: behind a balancer the probe may have asked another one."""
    chosen = pool.choose(position)
    return chosen if _has_replayed(chosen, position) else PRIMARY


def _has_replayed(alias: str, position: int) -> bool:
    if alias == PRIMARY:
        return True
    try:
        return bool(replicas.ask(alias, HAS_REPLAYED, position)[0])
    except (DatabaseError, InterfaceError):
        pool.put_out(alias)
        return False


def _key(user_id: int) -> str:
    return f"written:{user_id}"


def writing_forbidden() -> ExitStack:
    """In this block no connection of this thread takes anything but reads."""
    stack = ExitStack()
    for connection in connections.all():
        stack.enter_context(connection.execute_wrapper(_only_reads))
    return stack


def _only_reads(execute: Callable[..., Any], sql: str, params: Any, many: bool, context: dict[str, Any]) -> Any:
    if not (is_read(sql) or MAY_WRITE.match(sql)):
        raise WriteInSafeMethod(f"a safe method must not write: {sql[:100]}")
    return execute(sql, params, many, context)


def is_read(sql: str) -> bool:
    """Whether it surely changes nothing; locking rows for an update counts as changing."""
    words = QUOTED.sub("''", sql)
    return bool(READS.match(words)) and not CHANGES.search(words)
