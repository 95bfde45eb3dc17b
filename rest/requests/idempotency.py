"""Idempotency-Key (IETF draft-ietf-httpapi-idempotency-key-header-07): a repeated POST gets the stored response."""

import hashlib
import re
from collections.abc import Callable
from functools import wraps
from typing import Any, cast

import orjson
from django.contrib.auth.models import User
from django.core.files.uploadedfile import UploadedFile
from django.db import IntegrityError, OperationalError, connection, transaction
from django.http import QueryDict
from django.utils.encoding import force_str
from psycopg2.errors import LockNotAvailable
from rest_framework import status
from rest_framework.exceptions import APIException, ErrorDetail, ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

from rest.models import IdempotencyKey

HEADER = "Idempotency-Key"
KEPT_HEADERS = ("Location", "Retry-After")
MAX_LENGTH = 255
STRUCTURED_STRING = re.compile(r'"((?:[ !#-\[\]-~]|\\["\\])*)"')
"""RFC 9651, 3.3.3."""
PRINTABLE = re.compile(r"[!-~]([ -~]*[!-~])?")

Post = Callable[..., Response]


class KeyReused(APIException):
    """The key was used before with another payload."""

    status_code = status.HTTP_422_UNPROCESSABLE_ENTITY
    default_code = "idempotency_key_reused"
    default_detail = "This Idempotency-Key was used for another request; use a new key."


class FirstStillHandled(APIException):
    """The first request with this key has not been answered yet."""

    status_code = status.HTTP_409_CONFLICT
    default_code = "idempotency_key_in_use"
    default_detail = "The first request with this Idempotency-Key is still being handled; try again."
    wait = 1
    """Seconds, for Retry-After."""


def idempotent(post: Post) -> Post:
    """Decorator of a view's post(): stores a successful response in the same transaction as its effects.

    A 204 created nothing and is not stored: the next request with the key is handled anew.

    A second request with the same key, even a concurrent one, waits a second for the first and gets its response;
    after that it raises FirstStillHandled. If the first fails, the rollback removes the key too.
    """

    @wraps(post)
    def post_once(view: Any, request: Request, *args: Any, **kwargs: Any) -> Response:
        given = request.headers.get(HEADER)
        if given is None:
            return post(view, request, *args, **kwargs)
        key, fingerprint = parse_key(given), fingerprint_of(request.path, _payload(request.data))
        try:
            with transaction.atomic():
                record = _reserve(request, key, fingerprint)
                response = post(view, request, *args, **kwargs)
                _store_response(record, request, response)
                return response
        except _KeyExists:
            return _stored_response(request, key, fingerprint)

    return post_once


class _KeyExists(Exception):
    """Another request has committed this key."""


def _reserve(request: Request, key: str, fingerprint: str) -> IdempotencyKey:
    """Insert the key; waits a second while a concurrent request with the same key is uncommitted.

    Raises _KeyExists, FirstStillHandled.
    """
    try:
        with transaction.atomic():
            limit_lock_waits("'1s'")
            return IdempotencyKey.objects.create(user=cast("User", request.user), key=key, fingerprint=fingerprint)
    except IntegrityError:
        raise _KeyExists from None
    except OperationalError as error:
        if isinstance(error.__cause__, LockNotAvailable):
            raise FirstStillHandled from None
        raise
    finally:
        limit_lock_waits("DEFAULT")


def limit_lock_waits(limit: str) -> None:
    """For the rest of this transaction, on PostgreSQL."""
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute(f"SET LOCAL lock_timeout TO {limit}")


def _store_response(record: IdempotencyKey, request: Request, response: Response) -> None:
    if response.status_code == status.HTTP_204_NO_CONTENT:
        record.delete()
        return
    record.status = response.status_code
    record.headers = {name: response[name] for name in KEPT_HEADERS if name in response}
    # Rendered, because the renderer formats times: the replay must be byte for byte the same.
    record.body = force_str(request.accepted_renderer.render(response.data))
    record.save()


def _stored_response(request: Request, key: str, fingerprint: str) -> Response:
    record = IdempotencyKey.objects.get(user=cast("User", request.user), key=key)
    if record.fingerprint != fingerprint:
        raise KeyReused
    headers = record.headers | {"Idempotency-Replayed": "true"}
    return Response(orjson.loads(record.body), status=record.status, headers=headers)


def parse_key(value: str) -> str:
    """The key, from a plain or a structured-field value. Raises ValidationError."""
    quoted = STRUCTURED_STRING.fullmatch(value)
    key = re.sub(r'\\(["\\])', r"\1", quoted[1]) if quoted else value
    if not PRINTABLE.fullmatch(key) or len(key) > MAX_LENGTH:
        detail = f"An Idempotency-Key has 1 to {MAX_LENGTH} printable ASCII characters."
        raise ValidationError({HEADER: [ErrorDetail(detail, "invalid")]})
    return key


def fingerprint_of(path: str, payload: object) -> str:
    """A hash of the path and the payload, JSON; white space and the order of keys do not matter."""
    sorted_payload = orjson.dumps(payload, option=orjson.OPT_SORT_KEYS)
    return hashlib.sha256(path.encode() + b"\n" + sorted_payload).hexdigest()


def _payload(data: object) -> object:
    """The payload as JSON; an uploaded file becomes its digest, so multipart boundaries do not matter."""
    if not isinstance(data, QueryDict):
        return data
    return {
        name: [_digest(value) if isinstance(value, UploadedFile) else value for value in data.getlist(name)]
        for name in data
    }


def _digest(file: Any) -> str:
    digest = hashlib.sha256()
    for chunk in file.chunks():
        digest.update(chunk)
    file.seek(0)
    return digest.hexdigest()
