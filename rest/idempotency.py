"""Idempotency-Key (IETF draft-ietf-httpapi-idempotency-key-header-07): a POST that is sent again is answered again."""

import hashlib
import re
from collections.abc import Callable
from functools import wraps
from typing import Any, cast

import orjson
from django.contrib.auth.models import User
from django.core.files.uploadedfile import UploadedFile
from django.db import IntegrityError, transaction
from django.http import QueryDict
from django.utils.encoding import force_str
from rest_framework import status
from rest_framework.exceptions import APIException, ErrorDetail, ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

from rest.models import IdempotencyKey

HEADER = "Idempotency-Key"
KEPT_HEADERS = ("Location", "Retry-After")
LONGEST = 255
STRUCTURED_STRING = re.compile(r'"((?:[ !#-\[\]-~]|\\["\\])*)"')
"""RFC 9651, 3.3.3."""
PRINTABLE = re.compile(r"[!-~]([ -~]*[!-~])?")

Post = Callable[..., Response]


class KeyReused(APIException):
    """The key came before with another payload."""

    status_code = status.HTTP_422_UNPROCESSABLE_ENTITY
    default_code = "idempotency_key_reused"
    default_detail = "This Idempotency-Key was used for another request; take a new one."


def idempotent(post: Post) -> Post:
    """A view's post() whose successful answers are stored with what they did, in one transaction.

    So a second request with the same key, even at the same moment, waits for the first and gets its answer; when the
    first fails nothing of it is left, the key included.
    """

    @wraps(post)
    def answered_once(view: Any, request: Request, *args: Any, **kwargs: Any) -> Response:
        key = _key(request.headers.get(HEADER))
        if key is None:
            return post(view, request, *args, **kwargs)
        fingerprint = _fingerprint(request)
        try:
            with transaction.atomic():
                record = _begin(request, key, fingerprint)
                response = post(view, request, *args, **kwargs)
                _complete(record, request, response)
                return response
        except _Taken:
            return _replayed(request, key, fingerprint)

    return answered_once


class _Taken(Exception):
    """The key is in use."""


def _begin(request: Request, key: str, fingerprint: str) -> IdempotencyKey:
    try:
        with transaction.atomic():
            return IdempotencyKey.objects.create(user=cast("User", request.user), key=key, fingerprint=fingerprint)
    except IntegrityError:
        raise _Taken from None


def _complete(record: IdempotencyKey, request: Request, response: Response) -> None:
    record.status = response.status_code
    record.headers = {name: response[name] for name in KEPT_HEADERS if name in response}
    # As it is sent: the renderer has its own way of writing times, and the answer is to be the same to the letter.
    record.body = force_str(request.accepted_renderer.render(response.data))
    record.save()


def _replayed(request: Request, key: str, fingerprint: str) -> Response:
    record = IdempotencyKey.objects.get(user=cast("User", request.user), key=key)
    if record.fingerprint != fingerprint:
        raise KeyReused
    headers = record.headers | {"Idempotency-Replayed": "true"}
    return Response(orjson.loads(record.body), status=record.status, headers=headers)


def _key(value: str | None) -> str | None:
    """The key itself, of a plain or a structured-field value; raises ValidationError."""
    if value is None:
        return None
    quoted = STRUCTURED_STRING.fullmatch(value)
    key = re.sub(r'\\(["\\])', r"\1", quoted[1]) if quoted else value
    if not PRINTABLE.fullmatch(key) or len(key) > LONGEST:
        detail = f"An Idempotency-Key has 1 to {LONGEST} printable ASCII characters."
        raise ValidationError({HEADER: [ErrorDetail(detail, "invalid")]})
    return key


def _fingerprint(request: Request) -> str:
    """The same for the same resource and the same JSON or form, however it is spaced, ordered and divided."""
    payload = orjson.dumps(_payload(request.data), option=orjson.OPT_SORT_KEYS)
    return hashlib.sha256(request.path.encode() + b"\n" + payload).hexdigest()


def _payload(data: object) -> object:
    """What was sent, as JSON; in a form, a file stands as its digest."""
    if not isinstance(data, QueryDict):
        return data
    return {name: [_value(value) for value in data.getlist(name)] for name in data}


def _value(value: Any) -> Any:
    return _digest(value) if isinstance(value, UploadedFile) else value


def _digest(file: Any) -> str:
    digest = hashlib.sha256()
    for chunk in file.chunks():
        digest.update(chunk)
    file.seek(0)
    return digest.hexdigest()
