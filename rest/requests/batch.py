"""Batch POSTs: each item is accepted or refused by itself, and the response lists the outcomes in the items' order."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol, TypeVar

from rest_framework import serializers, status
from rest_framework.exceptions import ValidationError
from rest_framework.response import Response

from rest.openapi.parts import ORIGIN, UUID_EXAMPLE, example
from rest.requests.field_errors import FieldError, first_errors
from rest.requests.fields import ListField

Item = TypeVar("Item")

MAX_BATCH_ERRORS = 500
"""Errors listed for a whole batch. Once there are so many, each further refused item lists only its first one."""


class HasId(Protocol):
    @property
    def pk(self) -> Any: ...


def parse_each(items: Iterable[object], parse: Callable[[object], Item]) -> list[Item | list[FieldError]]:
    """The result of parse for each item, or the first errors of the ValidationError that it raised."""
    outcomes: list[Item | list[FieldError]] = []
    listed = 0
    for item in items:
        try:
            outcomes.append(parse(item))
        except ValidationError as error:
            errors = first_errors(error.detail)[: max(1, MAX_BATCH_ERRORS - listed)]
            listed += len(errors)
            outcomes.append(errors)
    return outcomes


def batch_response(outcomes: Sequence[HasId | list[FieldError]], url: Callable[[Any], str]) -> Response:
    """202 with the id and url of each accepted item and the errors of each refused one. url: of an id."""
    results: list[dict[str, Any]] = [
        {"errors": outcome} if isinstance(outcome, list) else {"id": outcome.pk, "url": url(outcome.pk)}
        for outcome in outcomes
    ]
    refused = sum("errors" in result for result in results)
    body = {"results": results, "accepted": len(results) - refused, "refused": refused}
    return Response(body, status=status.HTTP_202_ACCEPTED)


class ItemsField(ListField):
    """A list whose items the view validates one by one. item: the serializer that describes one."""

    item: serializers.Serializer[Any] | type[serializers.Serializer[Any]]


class FieldErrorResponse(serializers.Serializer[Any]):
    field = serializers.CharField(allow_blank=True)
    code = serializers.CharField()
    detail = serializers.CharField()


class BatchResult(serializers.Serializer[Any]):
    """The id and url of an accepted item, or the errors of a refused one."""

    id = serializers.UUIDField(required=False)
    url = serializers.URLField(required=False)
    errors = FieldErrorResponse(many=True, required=False)  # type: ignore[assignment]


@example(
    results=[
        {"id": UUID_EXAMPLE, "url": f"{ORIGIN}/api/v1/jobs/{UUID_EXAMPLE}/"},
        {"errors": [{"field": "kind", "code": "unknown", "detail": "There is no kind make.coffee; see job-kinds/."}]},
    ],
    accepted=1,
    refused=1,
)
class BatchResponse(serializers.Serializer[Any]):
    results = BatchResult(many=True)
    accepted = serializers.IntegerField(min_value=0)
    refused = serializers.IntegerField(min_value=0)
