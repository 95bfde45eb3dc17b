"""What gathered POSTs have in common: validated one by one, stored by one statement, answered after its commit."""

from collections.abc import Callable, Sequence
from io import BytesIO
from typing import Any, Generic, NamedTuple, TypeVar

import structlog
from django.contrib.auth.models import User
from django.db import InterfaceError, OperationalError, connections
from django.http import HttpRequest
from django.utils import timezone

from project.gathering import callers, databases
from project.gathering.answers import Answer
from project.gathering.callers import Caller
from project.replicas.read_your_writes import record_writes
from rest import problems
from rest.json import JSONParser
from rest.throttling import Allowance
from rest.usage import Full, QuotaExceeded, Usage
from routers import PRIMARY

Thing = TypeVar("Thing")

MAX_BODY = 16 * 1024
"""Bytes. Validating a larger body would make others wait."""
STATEMENT = f"""
    SELECT asked.number, {callers.COLUMNS}
    FROM unnest(%s::text[]) WITH ORDINALITY AS asked (digest, number)
    {callers.JOINS}
"""  # noqa: S608 names of columns


class Posted(NamedTuple):
    digest: str
    body: bytes
    request_id: str


class Stored(NamedTuple):
    """error: why it is unknown whether the thing was stored: the database went away. None: it was stored."""

    thing: Any
    user_id: int
    allowance: Allowance
    error: Exception | None

    def refusal(self, error: Exception, path: str) -> Answer:
        """Not left to the plain view, which would perhaps store the thing a second time."""
        request = HttpRequest()
        request.path = path
        response = problems.response_for(error, request)
        return Answer(response.status_code, dict(response.items()), response.content, self.user_id, self.allowance)


class Posting(Generic[Thing]):
    """path: of the collection. usage: how many of these things each user has.

    parse: makes a thing of a JSON value, or None if it cannot share a statement; raises if the value is not valid.
    insert: stores things in one transaction.
    """

    def __init__(
        self,
        path: str,
        usage: Usage,
        parse: Callable[[object, User], Thing | None],
        insert: Callable[[list[Thing]], None],
    ) -> None:
        self._path = path
        self._usage = usage
        self._parse = parse
        self._insert = insert

    def store(self, posted: list[Posted]) -> Sequence[Stored | None]:
        """None: nothing was stored, and the plain view says why, or stores it."""
        rows, now = databases.read_before_writing(STATEMENT, [(post.digest,) for post in posted]), timezone.now()
        asking = {number: Caller(*row[1:]) for number, row in rows.items()}
        users = {number: caller.user_id for number, caller in asking.items() if caller.may("POST", self._path, now)}
        things = {number: self._valid(posted[number], user_id) for number, user_id in users.items()}
        valid = {number: thing for number, thing in things.items() if thing is not None}
        allowances = callers.count({number: users[number] for number in valid})
        accepted = {
            number: thing
            for number, thing in valid.items()
            if not allowances[number].is_exceeded and self._has_room(users[number])
        }
        error = self._store(list(accepted.values()))
        record_writes({users[number] for number in accepted})
        outcomes: list[Stored | None] = [None] * len(posted)
        for number, thing in accepted.items():
            outcomes[number] = Stored(thing, users[number], allowances[number], error)
        return outcomes

    def _valid(self, posted: Posted, user_id: int) -> Thing | None:
        with structlog.contextvars.bound_contextvars(request_id=posted.request_id):
            try:
                return self._parse(JSONParser().parse(BytesIO(posted.body)), User(pk=user_id))
            except Exception:
                return None  # the plain view says what is wrong; validation has changed nothing

    def _has_room(self, user_id: int) -> bool:
        try:
            self._usage.take(user_id)
        except (QuotaExceeded, Full):
            return False  # the plain view says so
        return True

    def _store(self, things: list[Thing]) -> Exception | None:
        """Returns an error after which it is unknown whether they are stored; raises one after which they are not."""
        if not things:
            return None
        try:
            self._insert(things)
        except (OperationalError, InterfaceError) as error:
            connections[PRIMARY].close()
            return error
        return None
