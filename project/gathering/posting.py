"""What gathered POSTs have in common: validated one by one, stored by one statement, answered after its commit."""

from collections.abc import Callable, Mapping, Sequence
from io import BytesIO
from typing import Generic, NamedTuple, Self, TypeVar

import structlog
from django.contrib.auth.models import User
from django.db import IntegrityError, InterfaceError, OperationalError, connections, transaction
from django.http import HttpRequest
from django.utils import timezone
from psycopg2.errors import LockNotAvailable
from rest_framework.exceptions import ValidationError

from project.gathering import callers, databases
from project.gathering.answers import Answer
from project.gathering.callers import Caller
from project.gathering.heads import base_url
from project.gathering.requests import Asked
from project.replicas.read_your_writes import record_writes
from rest import problems
from rest.json import JSONParser
from rest.models import IdempotencyKey
from rest.requests.idempotency import KEPT_HEADERS, fingerprint_of, limit_lock_waits, parse_key
from rest.usage import Full, QuotaExceeded, Usage
from routers import PRIMARY

Thing = TypeVar("Thing")

MAX_BODY = 16 * 1024
"""Bytes. Validating a larger body would make others wait."""
ACCEPTED = 202
LOCK_WAIT = "'100ms'"
"""For a transaction that has inserted one of the Idempotency-Keys: all posts of the statement wait."""
STATEMENT = f"""
    SELECT asked.number, {callers.COLUMNS}, used.id IS NOT NULL
    FROM unnest(%s::text[], %s::text[]) WITH ORDINALITY AS asked (digest, key, number)
    {callers.JOINS}
    LEFT JOIN rest_idempotencykey AS used ON used.user_id = owner.id AND used.key = asked.key
"""  # noqa: S608 names of columns


class KeyTaken(Exception):
    """Another request has used one of the Idempotency-Keys since they were looked up, or is using it."""


class Posted(NamedTuple):
    """path, url: of the collection. key: the Idempotency-Key, "" without one."""

    digest: str
    key: str
    body: bytes
    request_id: str
    path: str
    url: str

    @classmethod
    def of(cls, asked: Asked, path: str, body: bytes) -> Self | None:
        """None if it would keep others waiting, or its key is not valid: for the plain view."""
        try:
            key = "" if asked.key is None else parse_key(asked.key)
        except ValidationError:
            return None
        url = base_url(asked.origin) + path
        return None if len(body) > MAX_BODY else cls(asked.digest, key, body, asked.request_id, path, url)


class Draft(NamedTuple, Generic[Thing]):
    """A valid post. fingerprint: of its payload, "" without an Idempotency-Key."""

    thing: Thing
    fingerprint: str


class Shown(NamedTuple):
    """What is answered of a stored thing. fields: of the header."""

    fields: Mapping[str, str]
    body: bytes


class Posting(Generic[Thing]):
    """usage: how many of these things each user has.

    parse: makes a thing of a JSON value, or None if it cannot share a statement; raises if the value is not valid.
    insert: stores things in one transaction. show: takes a thing that is not stored yet and the collection's URL.
    """

    def __init__(
        self,
        usage: Usage,
        parse: Callable[[object, User], Thing | None],
        insert: Callable[[list[Thing]], None],
        show: Callable[[Thing, str], Shown],
    ) -> None:
        self._usage = usage
        self._parse = parse
        self._insert = insert
        self._show = show

    def store(self, posted: list[Posted]) -> Sequence[Answer | None]:
        """None: nothing was stored, and the plain view says why, or stores it."""
        rows = databases.read_before_writing(STATEMENT, [(post.digest, post.key) for post in posted])
        users = self._users(posted, rows)
        drafts = {number: self._draft(posted[number], user_id) for number, user_id in users.items()}
        valid = {number: draft for number, draft in drafts.items() if draft is not None}
        allowances = callers.count({number: users[number] for number in valid})
        accepted = {
            number: draft
            for number, draft in valid.items()
            if not allowances[number].is_exceeded and self._has_room(users[number])
        }
        shown = {number: self._show(draft.thing, posted[number].url) for number, draft in accepted.items()}
        keys = [
            _key(users[number], posted[number].key, draft.fingerprint, shown[number])
            for number, draft in accepted.items()
            if posted[number].key
        ]
        answers: list[Answer | None] = [None] * len(posted)
        try:
            error = self._store([draft.thing for draft in accepted.values()], keys)
        except KeyTaken:
            return answers
        record_writes({users[number] for number in accepted})
        for number, (fields, body) in shown.items():
            answer = Answer(ACCEPTED, fields, body, users[number], allowances[number])
            answers[number] = answer if error is None else _refusal(answer, error, posted[number].path)
        return answers

    def _users(self, posted: Sequence[Posted], rows: Mapping[int, databases.Row]) -> dict[int, int]:
        """The users of those that may post and use their Idempotency-Key for the first time."""
        now, keys, users = timezone.now(), set[tuple[int, str]](), dict[int, int]()
        for number, (_, *columns, is_used) in rows.items():
            caller, key = Caller(*columns), posted[number].key
            is_first = not key or (not is_used and (caller.user_id, key) not in keys)
            if is_first and caller.may("POST", posted[number].path, now):
                users[number] = caller.user_id
                keys.add((caller.user_id, key))
        return users

    def _draft(self, posted: Posted, user_id: int) -> Draft[Thing] | None:
        with structlog.contextvars.bound_contextvars(request_id=posted.request_id):
            try:
                data = JSONParser().parse(BytesIO(posted.body))
                # Before the payload is validated, which may change it.
                fingerprint = fingerprint_of(posted.path, data) if posted.key else ""
                thing = self._parse(data, User(pk=user_id))
                return None if thing is None else Draft(thing, fingerprint)
            except Exception:
                return None  # the plain view says what is wrong; validation has changed nothing

    def _has_room(self, user_id: int) -> bool:
        try:
            self._usage.take(user_id)
        except (QuotaExceeded, Full):
            return False  # the plain view says so
        return True

    def _store(self, things: list[Thing], keys: list[IdempotencyKey]) -> Exception | None:
        """Returns an error after which it is unknown whether they are stored; raises one after which they are not."""
        if not things:
            return None
        try:
            if keys:
                with transaction.atomic():
                    _take(keys)
                    self._insert(things)
            else:
                self._insert(things)
        except (OperationalError, InterfaceError) as error:
            connections[PRIMARY].close()
            return error
        return None


def _take(keys: list[IdempotencyKey]) -> None:
    """Raises KeyTaken, after which the transaction must be rolled back."""
    limit_lock_waits(LOCK_WAIT)
    try:
        IdempotencyKey.objects.bulk_create(keys)
    except IntegrityError:
        raise KeyTaken from None
    except OperationalError as error:
        if isinstance(error.__cause__, LockNotAvailable):
            raise KeyTaken from None
        raise


def _key(user_id: int, key: str, fingerprint: str, shown: Shown) -> IdempotencyKey:
    headers = {name: shown.fields[name] for name in KEPT_HEADERS if name in shown.fields}
    body = shown.body.decode()
    return IdempotencyKey(
        user_id=user_id, key=key, fingerprint=fingerprint, status=ACCEPTED, headers=headers, body=body
    )


def _refusal(answer: Answer, error: Exception, path: str) -> Answer:
    """Not left to the plain view, which would perhaps store the thing a second time."""
    request = HttpRequest()
    request.path = path
    response = problems.response_for(error, request)
    fields = dict(response.items())
    return answer._replace(status=response.status_code, fields=fields, body=response.content)
